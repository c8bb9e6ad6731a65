//! The only way to standard output and standard error: whatever goes there is made of [`Shown`] or of a rendered
//! document, so nothing from outside steers the terminal or forges a line. `clippy.toml` forbids every other way.
#![expect(clippy::disallowed_methods, reason = "this is the place that the others must go through")]

use std::ffi::OsString;
use std::fmt::{self, Display};
use std::io::{self, IsTerminal, Write};

use anyhow::{Context, Result};
use pathproof_model::ResultDoc;
use pathproof_report::page::Block;
use pathproof_report::{Line, Look, Render, Shown, json_text};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::format::{Format, Full, Writer};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;

/// Says one sentence on standard error. Where that is closed nobody listens, which is no reason to stop.
pub fn say(sentence: impl Display) {
    let _ = writeln!(io::stderr(), "pathproof: {}", Shown::new(sentence.to_string()));
}

/// Says several lines on standard error, as they are.
pub fn say_lines(lines: impl IntoIterator<Item = impl Into<Line>>) {
    let text: String = lines.into_iter().map(|line| line.into().text().to_owned() + "\n").collect();
    let _ = io::stderr().write_all(text.as_bytes());
}

/// Draws on standard error what was made of [`Shown`] and of our own movements of the cursor.
pub fn draw(text: &str) -> io::Result<()> {
    io::stderr().write_all(text.as_bytes())
}

/// One line of a stream for programs on standard output, at once.
pub fn stream(line: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(line.as_bytes())?;
    out.flush()
}

/// Prints lines on standard output. A reader that closes the pipe has seen enough.
pub fn print_lines(lines: impl IntoIterator<Item = impl Into<Line>>) -> Result<()> {
    let text: String = lines.into_iter().map(|line| line.into().text().to_owned() + "\n").collect();
    print(text.as_bytes())
}

/// Prints blocks on standard output, as wide as that is and in the letters and colours that it has.
pub fn print_blocks(blocks: &[Block]) -> Result<()> {
    let look = look(Look::PAGE);
    let lines = pathproof_report::lines(&look.with_room_for_letters(), blocks);
    let text: String = lines.iter().map(|line| line.paint(&look) + "\n").collect();
    print(text.as_bytes())
}

/// Prints a JSON value on standard output.
pub fn print_json(value: &impl serde::Serialize) -> Result<()> {
    print((json_text(value)? + "\n").as_bytes())
}

/// Prints what a renderer makes of a document.
pub fn print_document(doc: &ResultDoc, renderer: &dyn Render) -> Result<()> {
    let mut text = Vec::new();
    renderer.render(doc, &mut text)?;
    print(&text)
}

/// Prints text that this program holds in itself: manuals, completions.
pub fn print_own(text: &[u8]) -> Result<()> {
    print(text)
}

fn print(text: &[u8]) -> Result<()> {
    match io::stdout().write_all(text).and_then(|()| io::stdout().flush()) {
        Err(e) if e.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other.context("cannot print the report"),
    }
}

/// What a report may look like on standard output, where `usual` is what it looks like in a file.
pub fn look(usual: Look) -> Look {
    let size = terminal_size::terminal_size_of(io::stdout());
    let typed = std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok());
    let columns = size.map(|(width, _)| usize::from(width.0)).or(typed).filter(|columns| *columns > 0);
    let rows = size.map(|(_, height)| usize::from(height.0).saturating_sub(1));
    Look {
        columns: columns.map_or(usual.columns, |columns| columns.clamp(COLUMNS_MIN, COLUMNS_MAX)),
        // The usual screen is the least that there is room for; a taller one is for what was left out.
        rows: rows.map_or(usual.rows, |rows| rows.clamp(usual.rows, ROWS_MAX)),
        colour: wants_colour(io::stdout().is_terminal(), |name| std::env::var_os(name)),
        ascii: knows_ascii_alone(|name| std::env::var(name).ok()),
    }
}

/// Narrower, a table is no table.
const COLUMNS_MIN: usize = 60;
/// Wider lines are not read, but followed with a finger.
const COLUMNS_MAX: usize = 120;
/// A first screen is short on a tall terminal too.
const ROWS_MAX: usize = 40;

/// By the conventions of no-color.org and bixense.com/clicolors.
fn wants_colour(to_terminal: bool, variable: impl Fn(&str) -> Option<OsString>) -> bool {
    let set = |name| variable(name).filter(|value| !value.is_empty());
    if set("NO_COLOR").is_some() {
        return false;
    }
    set("CLICOLOR_FORCE").is_some_and(|value| value != "0")
        || (to_terminal && set("TERM").is_none_or(|term| term != "dumb"))
}

/// Whether the user's locale has no letters but those of ASCII. Where none is set, as in containers, terminals have them.
fn knows_ascii_alone(variable: impl Fn(&str) -> Option<String>) -> bool {
    let locale =
        ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().filter_map(variable).find(|value| !value.is_empty());
    locale.is_some_and(|locale| !locale.to_ascii_lowercase().replace('-', "").ends_with("utf8"))
}

/// Whether somebody looks at standard error.
pub fn is_watched() -> bool {
    io::stderr().is_terminal()
}

/// Whether standard output is a terminal.
pub fn is_shown() -> bool {
    io::stdout().is_terminal()
}

/// What a terminal can do with what it shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cursor {
    /// Draw it anew in its place.
    Moves,
    /// Nothing: TERM=dumb.
    Stays,
}

/// How a line that changes may look on standard error, if that is a terminal.
pub fn watched_by() -> Option<(Cursor, Look)> {
    let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
    let cursor = if dumb { Cursor::Stays } else { Cursor::Moves };
    let ascii = knows_ascii_alone(|name| std::env::var(name).ok());
    let columns = columns_of_error().unwrap_or(Look::SCREEN.columns);
    let colour = wants_colour(is_watched(), |name| std::env::var_os(name));
    is_watched().then_some((cursor, Look { columns, ascii, colour, ..Look::SCREEN }))
}

/// How wide the terminal at standard error is now.
pub fn columns_of_error() -> Option<usize> {
    terminal_size::terminal_size_of(io::stderr()).map(|(width, _)| usize::from(width.0))
}

/// Says what is wrong with the command line that was typed, or prints the help that was asked for.
pub fn say_usage<P: clap::Parser>(error: &clap::Error, typed: &[OsString]) {
    if !error.use_stderr() {
        // Help and version are our own words.
        let _ = error.print();
        return;
    }
    // What was typed stands in the message in many places: the same mistake, made with harmless words, is told.
    let harmless = typed.iter().map(|word| OsString::from(Shown::new(word.to_string_lossy()).into_string()));
    let text = match P::try_parse_from(harmless) {
        Err(mut same) if same.kind() == error.kind() => {
            // "To pass '-t' as a value, use '-- -t'" is never what was meant here.
            same.remove(clap::error::ContextKind::Suggested);
            same.render().to_string()
        }
        _ => format!("error: {}", Shown::new(error.render().to_string().trim_start_matches("error: "))),
    };
    say_lines(text.trim_end().lines());
}

/// Sends the log to standard error, one line for each event, whatever stands in it.
pub fn start_logging(wanted: Targets) {
    let lines = tracing_subscriber::fmt::layer().with_writer(io::stderr).event_format(OneLine::default());
    // A second initialisation (tests in one process) keeps the first.
    let _ = tracing_subscriber::registry().with(lines).with(wanted).try_init();
}

/// The usual form of a log line, made harmless.
struct OneLine(Format<Full>);

impl Default for OneLine {
    fn default() -> Self {
        OneLine(Format::default().with_target(false))
    }
}

impl<S, N> FormatEvent<S, N> for OneLine
where
    S: tracing::Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &tracing::Event<'_>,
    ) -> fmt::Result {
        let mut text = String::new();
        self.0.format_event(context, Writer::new(&mut text), event)?;
        writeln!(writer, "{}", Shown::new(text.strip_suffix('\n').unwrap_or(&text)))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn colours_are_there_for_who_wants_them() {
        let wants = |to_terminal, set: &[(&str, &str)]| {
            let value =
                |name: &str| set.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).into());
            wants_colour(to_terminal, value)
        };
        assert!(wants(true, &[]) && wants(true, &[("TERM", "xterm"), ("NO_COLOR", "")]));
        assert!(
            !wants(false, &[]) && !wants(true, &[("NO_COLOR", "1")]) && !wants(true, &[("TERM", "dumb")])
        );
        assert!(wants(false, &[("CLICOLOR_FORCE", "1")]) && !wants(false, &[("CLICOLOR_FORCE", "0")]));
        assert!(!wants(true, &[("CLICOLOR_FORCE", "1"), ("NO_COLOR", "1")]), "who wants none gets none");
    }

    #[test]
    fn the_locale_says_which_letters_there_are() {
        let ascii = |set: &[(&str, &str)]| {
            let value = |name: &str| {
                set.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
            };
            knows_ascii_alone(value)
        };
        assert!(ascii(&[("LANG", "C")]) && ascii(&[("LC_ALL", "POSIX"), ("LANG", "en_US.UTF-8")]));
        assert!(!ascii(&[]) && !ascii(&[("LANG", "C.UTF-8")]) && !ascii(&[("LANG", "de_DE.utf8")]));
    }

    #[test]
    fn an_event_is_one_line_of_the_log_whatever_stands_in_it() {
        let hostile = "x\u{1b}[2J\r\n2026-01-01T00:00:00Z  INFO forged \u{202e}\u{9b}31m\u{2028}";
        let kept = Kept::default();
        let writer = kept.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_writer(move || writer.clone())
            .event_format(OneLine::default())
            .finish();
        tracing::subscriber::with_default(subscriber, || {
            tracing::warn!(command = %hostile, "refused: {hostile}");
            tracing::warn!(?hostile, "second");
            tracing::warn!("{hostile}");
        });
        let log = String::from_utf8(kept.0.lock().unwrap().clone()).unwrap();
        assert_eq!(log.lines().count(), 3, "{log}");
        assert!(
            log.chars().all(|c| c == '\n' || !(c.is_control() || "\u{202e}\u{2028}".contains(c))),
            "{log}"
        );
        assert!(log.lines().all(|line| line.contains(" WARN ")), "{log}");
    }
}
