//! A mesh as a page of its own: what the text says, and a map of all pairs for each plane, ordered by group.

use std::fmt::Write as _;

use pathproof_model::mesh::{MeshDoc, Plane};
use pathproof_model::units::BitsPerSecond;

use super::{Markup, blocks, whole};
use crate::mesh::{Tenths, answer, order, said, tenths};

/// Width of a map.
const SIDE: usize = 768;
/// Hosts of which each cell tells its figures to who points at it.
const TOLD_MAX: usize = 64;

/// A mesh for a browser.
pub fn mesh_html(doc: &MeshDoc) -> String {
    let mut below = blocks::all(&said(doc));
    for plane in &doc.planes {
        below.push(map(doc, plane));
    }
    whole(&answer(doc), &below, &format!("a mesh of {} ranks", doc.size), (&doc.tool, &doc.started_at))
}

/// A square for each direction of each pair; without figures there is no map.
fn map(doc: &MeshDoc, plane: &Plane) -> Markup {
    let Some(usual) = plane.usual_goodput_bits_per_s.filter(|usual| *usual > 0) else {
        return Markup::default();
    };
    let order = order(doc);
    let side = (SIDE / order.len().max(1)).clamp(2, 24);
    let whole = side * order.len();
    let mut cells = String::new();
    for (y, from) in order.iter().enumerate() {
        let mut x = 0;
        while x < order.len() {
            let cell = tenths(plane, usual, *from, order[x]);
            // Neighbours that look alike are one bar, unless each has something to tell.
            let alike = |to: &&u32| order.len() > TOLD_MAX && tenths(plane, usual, *from, **to) == cell;
            let wide = order[x..].iter().take_while(alike).count().max(1);
            let (at_x, at_y, width) = (x * side, y * side, wide * side);
            let _ = write!(
                cells,
                "<rect class=\"{}\" x=\"{at_x}\" y=\"{at_y}\" width=\"{width}\" height=\"{side}\">",
                class(cell)
            );
            if order.len() <= TOLD_MAX {
                cells.push_str(&Markup::said("title", "", told(doc, plane, (*from, order[x]))).0);
            }
            cells.push_str("</rect>\n");
            x += wide;
        }
    }
    let head = plane.net.as_ref().map_or_else(String::new, |net| format!(" on {net}"));
    let mut figure = Markup::said("figcaption", "", format!("Goodput of every pair{head}"));
    figure.push(Markup::said(
        "p",
        "class=\"soft\"",
        format!(
            "a row for each sender, a column for each receiver in the same order, by group; green is {} or more of it, red little, violet \
             could not be measured, pale was not to be",
            BitsPerSecond(usual)
        ),
    ));
    figure.push(Markup(format!(
        "<svg viewBox=\"0 0 {whole} {whole}\" width=\"{whole}\" height=\"{whole}\" role=\"img\" shape-rendering=\"crispEdges\">\n{cells}</svg>\n"
    )));
    Markup::element("figure", "", figure)
}

fn class(cell: Tenths) -> &'static str {
    const KNOWN: [&str; 10] = ["h0", "h1", "h2", "h3", "h4", "h5", "h6", "h7", "h8", "h9"];
    match cell {
        Tenths::Itself => "hi",
        Tenths::Known(tenths) => KNOWN.get(tenths as usize).copied().unwrap_or("h9"),
        Tenths::Failed => "hx",
        Tenths::Open => "ho",
    }
}

/// What there is to say of a cell.
fn told(doc: &MeshDoc, plane: &Plane, (from, to): (u32, u32)) -> String {
    let (row, column) = (from as usize, to as usize);
    let rate = plane.matrices.goodput_bits_per_s.get(row).and_then(|row| *row.get(column)?);
    let said = match (rate, plane.matrices.reason(row, column)) {
        (Some(rate), _) => BitsPerSecond(rate).to_string(),
        (None, Some(why)) => why.to_owned(),
        (None, None) => "not to be measured".into(),
    };
    format!("{} to {}: {said}", doc.name(from), doc.name(to))
}
