//! Pure rendering of a result document: text for people, JSON, CSV and an HdrHistogram log
//! for programs, JUnit for CI, OpenMetrics for monitoring.
//!
//! **Invariant**: a renderer sees the document and nothing else. What it needs and does not find there, the
//! document was missing; so a report can be made a year later on another machine.
//!
//! **Invariant**: what a page says (`page`, in blocks) knows nothing of how it looks (`text`).
//!
//! **Invariant**: text reaches a terminal as [`Shown`] only. A page is made of blocks and [`Line`]s, and those of nothing
//! else.
#![forbid(unsafe_code)]

use std::io;

use pathproof_model::ResultDoc;

mod comparison;
mod courses;
mod csv;
mod hlog;
mod html;
mod json;
mod junit;
mod layout;
mod look;
mod mesh;
mod openmetrics;
pub mod page;
mod plain;
mod screen;
mod shown;
mod text;

pub use comparison::comparison;
pub use csv::Csv;
pub use hlog::Hlog;
pub use html::{Html, mesh_html};
pub use json::{Json, json_text};
pub use junit::Junit;
pub use layout::{Line, clipped};
pub use look::Look;
pub use mesh::{mesh, mesh_junit};
pub use openmetrics::OpenMetrics;
pub use screen::Screen;
pub use shown::{Shown, harmless_json};
pub use text::{Text, lines};

/// Writes a document in one form.
pub trait Render {
    /// Writes the whole of `doc` to `out`.
    fn render(&self, doc: &ResultDoc, out: &mut dyn io::Write) -> io::Result<()>;
}
