//! Small charts as SVG: lines over an axis, and bars.
//!
//! By hand: what is drawn are polylines and rectangles whose colours follow the page from light to dark by classes; the SVG backend of
//! `plotters` writes colours as fixed attributes (docs/DEPENDENCIES.md).

use super::Markup;

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 220.0;
const LEFT: f64 = 78.0;
const BOTTOM: f64 = 26.0;
const TOP: f64 = 8.0;
const RIGHT: f64 = 30.0;
/// Colours that the style sheet has.
const COLOURS: [&str; 6] = ["s0", "s1", "s2", "s3", "s4", "s5"];
/// Lines that a chart has at most: as many as there are colours.
pub(super) const LINES_MAX: usize = COLOURS.len();

/// A named line of points.
pub(super) struct Series {
    pub name: String,
    pub points: Vec<(f64, f64)>,
}

/// A mark on an axis.
pub(super) type AxisTick = (f64, String);

/// An axis: from where to where, and what stands beside it.
pub(super) struct Axis {
    pub from: f64,
    pub to: f64,
    pub ticks: Vec<AxisTick>,
}

impl Axis {
    /// From nothing to a round number above `most`, in about four steps.
    pub(super) fn from_zero(most: f64, shown: impl Fn(f64) -> String) -> Axis {
        let most = if most.is_finite() && most > 0.0 { most } else { 1.0 };
        let rough = most / 4.0;
        let power = 10f64.powf(rough.log10().floor());
        let step =
            [1.0, 2.0, 2.5, 5.0, 10.0].into_iter().map(|n| n * power).find(|n| *n >= rough).unwrap_or(rough);
        let to = (most / step).ceil() * step;
        let ticks = (0..=4u8).map(|n| f64::from(n) * step).filter(|at| *at <= to * 1.001);
        Axis { from: 0.0, to, ticks: ticks.map(|at| (at, shown(at))).collect() }
    }

    fn place(&self, at: f64, from: f64, to: f64) -> f64 {
        let width = self.to - self.from;
        let share = if width > 0.0 { ((at - self.from) / width).clamp(0.0, 1.0) } else { 0.0 };
        from + share * (to - from)
    }
}

fn x(axis: &Axis, at: f64) -> f64 {
    axis.place(at, LEFT, WIDTH - RIGHT)
}

fn y(axis: &Axis, at: f64) -> f64 {
    axis.place(at, HEIGHT - BOTTOM, TOP)
}

fn frame(caption: &str, note: &str, inner: Markup) -> Markup {
    let mut figure = Markup::said("figcaption", "", caption);
    figure.push(Markup(format!("<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"")));
    figure.push(Markup::text(caption));
    figure.push(Markup("\">\n".into()));
    figure.push(inner);
    figure.push(Markup("</svg>\n".into()));
    if !note.is_empty() {
        figure.push(Markup::said("p", "class=\"soft\"", note));
    }
    Markup::element("figure", "", figure)
}

fn axes(across: &Axis, up: &Axis) -> Markup {
    let (bottom, right) = (HEIGHT - BOTTOM, WIDTH - RIGHT);
    let mut all = Markup(format!("<path class=\"axis\" d=\"M{LEFT} {TOP}V{bottom}H{right}\"/>\n"));
    for (at, label) in &up.ticks {
        let at = y(up, *at);
        all.push(Markup(format!("<path class=\"axis\" d=\"M{LEFT} {at:.1}H{right}\"/>")));
        all.push(label_at(LEFT - 6.0, at + 4.0, "end", label));
    }
    for (at, label) in &across.ticks {
        all.push(label_at(x(across, *at), HEIGHT - 8.0, "middle", label));
    }
    all
}

fn label_at(x: f64, y: f64, anchor: &'static str, label: &str) -> Markup {
    let mut text = Markup(format!("<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">"));
    text.push(Markup::text(label));
    text.push(Markup("</text>\n".into()));
    text
}

/// Lines, and the names of their colours.
pub(super) fn lines(caption: &str, note: &str, across: &Axis, up: &Axis, series: &[Series]) -> Markup {
    let mut inner = axes(across, up);
    let mut names = Markup::default();
    for (series, colour) in series.iter().zip(COLOURS) {
        // What is no number breaks the line.
        let parts = series.points.split(|(a, b)| !a.is_finite() || !b.is_finite());
        for part in parts.filter(|part| !part.is_empty()) {
            let points: Vec<String> =
                part.iter().map(|(a, b)| format!("{:.1},{:.1}", x(across, *a), y(up, *b))).collect();
            let points = points.join(" ");
            inner.push(Markup(format!("<polyline class=\"line {colour}\" points=\"{points}\"/>\n")));
        }
        let mut entry = Markup(format!(
            "<svg width=\"22\" height=\"8\" aria-hidden=\"true\"><path class=\"line {colour}\" d=\"M0 4H20\"/></svg> "
        ));
        entry.push(Markup::text(&series.name));
        names.push(Markup::element("li", "", entry));
    }
    let mut all = frame(caption, note, inner);
    all.push(Markup::element("ul", "class=\"legend\"", names));
    all
}

/// One bar a name, from the left.
pub(super) fn bars(caption: &str, note: &str, bars: &[(String, f64, String)]) -> Markup {
    const ROW: f64 = 20.0;
    const NAMES: f64 = 240.0;
    // Room for the longest, with letters of 11 pixels.
    let letters = bars.iter().map(|bar| bar.2.chars().count()).max().unwrap_or(0);
    let labels = 14.0 + 6.6 * letters as f64;
    let most = bars.iter().map(|bar| bar.1).fold(0.0, f64::max).max(f64::MIN_POSITIVE);
    let height = ROW * bars.len() as f64 + 4.0;
    let mut svg = Markup(format!("<svg viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-label=\""));
    svg.push(Markup::text(caption));
    svg.push(Markup("\">\n".into()));
    for (at, (name, value, label)) in bars.iter().enumerate() {
        let top = at as f64 * ROW;
        let width = (value / most).clamp(0.0, 1.0) * (WIDTH - NAMES - labels);
        svg.push(label_at(NAMES - 8.0, top + 14.0, "end", name));
        svg.push(Markup(format!(
            "<rect class=\"bar\" x=\"{NAMES}\" y=\"{:.1}\" width=\"{width:.1}\" height=\"{:.1}\"/>",
            top + 3.0,
            ROW - 6.0
        )));
        svg.push(label_at(NAMES + width + 6.0, top + 14.0, "start", label));
    }
    svg.push(Markup("</svg>\n".into()));
    let mut figure = Markup::said("figcaption", "", caption);
    figure.push(svg);
    if !note.is_empty() {
        figure.push(Markup::said("p", "class=\"soft\"", note));
    }
    Markup::element("figure", "", figure)
}
