//! What a report is printed as.

use std::borrow::Cow;
use std::path::Path;

use anyhow::Result;
use clap::{Args, ValueEnum};
use pathproof_model::ResultDoc;
use pathproof_model::mesh::MeshDoc;
use pathproof_report::{Csv, Hlog, Html, Json, Junit, Look, OpenMetrics, Render, Screen, Text};

use crate::{mesh, terminal};

/// Formats of a report.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people: the answer on one screen, everything with --full.
    #[default]
    Text,
    /// The result document.
    Json,
    /// HdrHistogram interval log.
    Hlog,
    /// JUnit XML, for CI: a case for each check.
    Junit,
    /// A table with one row a figure.
    Csv,
    /// One page for a browser or a mail, with charts; needs no network.
    Html,
    /// For Prometheus' textfile collector.
    Openmetrics,
}

/// What a report is to look like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Args)]
pub struct Shape {
    /// Format of the report on standard output.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    /// As --format json.
    #[arg(short = 'J', long, hide = true, conflicts_with = "format")]
    json: bool,
    /// Print everything that the document holds for people, not the first screen alone.
    #[arg(long)]
    pub full: bool,
}

impl Shape {
    /// The format.
    pub fn format(self) -> Format {
        if self.json { Format::Json } else { self.format }
    }

    /// The same in another format.
    pub fn in_format(self, format: Format) -> Shape {
        Shape { format, json: false, ..self }
    }

    /// The same for a mesh, where there is such a form of one.
    pub fn of_a_mesh(self) -> Option<MeshFormat> {
        match self.format() {
            Format::Text => Some(MeshFormat::Text),
            Format::Json => Some(MeshFormat::Json),
            Format::Junit => Some(MeshFormat::Junit),
            Format::Html => Some(MeshFormat::Html),
            Format::Hlog | Format::Csv | Format::Openmetrics => None,
        }
    }

    /// Prints a document on standard output. It stands in `file`, if anywhere.
    pub fn print(self, doc: &ResultDoc, file: Option<&Path>) -> Result<()> {
        let renderer: &dyn Render = match self.format() {
            Format::Text if self.full => &Text { look: terminal::look(Look::PAGE) },
            Format::Text => &Screen { look: terminal::look(Look::SCREEN), more: more(file) },
            Format::Json => &Json,
            Format::Hlog => &Hlog,
            Format::Junit => &Junit,
            Format::Csv => &Csv,
            Format::Html => &Html,
            Format::Openmetrics => &OpenMetrics,
        };
        terminal::print_document(doc, renderer)
    }
}

/// Formats of the report of a mesh.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum MeshFormat {
    /// For people.
    #[default]
    Text,
    /// The document.
    Json,
    /// JUnit XML, for CI.
    Junit,
    /// One page for a browser, with a map of all pairs.
    Html,
}

impl MeshFormat {
    /// Prints a mesh on standard output.
    pub fn print(self, doc: &MeshDoc) -> Result<()> {
        match self {
            MeshFormat::Text => terminal::print_blocks(&pathproof_report::mesh(doc)),
            MeshFormat::Json => terminal::print_own(mesh::json(doc).as_bytes()),
            MeshFormat::Junit => terminal::print_own(pathproof_report::mesh_junit(doc).as_bytes()),
            MeshFormat::Html => terminal::print_own(pathproof_report::mesh_html(doc).as_bytes()),
        }
    }
}

/// What to type for the rest.
fn more(file: Option<&Path>) -> String {
    match file {
        Some(file) => {
            let name = file.display().to_string();
            // As a shell reads it back.
            let typed = shlex::try_quote(&name).map_or_else(|_| name.clone(), Cow::into_owned);
            format!("pathproof report {typed} --full")
        }
        None => "--full shows all, -o FILE keeps it".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_for_the_rest_is_one_that_a_shell_takes() {
        assert_eq!(more(Some(Path::new("hv2.json"))), "pathproof report hv2.json --full");
        assert_eq!(more(Some(Path::new("hv2 monday.json"))), "pathproof report 'hv2 monday.json' --full");
    }
}
