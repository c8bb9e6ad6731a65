//! A soak on the whole of a terminal: the time line as bars, figures, and the latest events. It reads no keys: Ctrl-C ends a soak as
//! it ends every run, and the report follows.

use std::io::{self, Write};

use pathproof_model::soak::{Soak, SoakFigures};
use pathproof_model::units::{BitsPerSecond, Nanoseconds};
use pathproof_report::{Look, Shown};
use ratatui::backend::CrosstermBackend;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Style};
use ratatui::text::Line;
use ratatui::widgets::{Block, Borders, Paragraph, Sparkline, Wrap};
use ratatui::{Frame, Terminal};

use super::lines::{answers, away};
use crate::terminal::{self, Cursor};
use crate::watch::{Teller, Telling};

const ENTER: &str = "\x1b[?1049h\x1b[2J\x1b[?25l";
const LEAVE: &str = "\x1b[?25h\x1b[?1049l";

/// The screen.
pub struct Screen {
    terminal: Terminal<CrosstermBackend<Picture>>,
    teller: Teller,
    // Dropped after what leaves the screen has been told.
    _telling: Telling,
    look: Look,
    second: u64,
}

/// What a picture is written into before it is told at one stroke.
struct Picture {
    teller: Teller,
    bytes: Vec<u8>,
}

impl Write for Picture {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if !self.bytes.is_empty() {
            self.teller.tell(String::from_utf8_lossy(&std::mem::take(&mut self.bytes)).into_owned());
        }
        Ok(())
    }
}

impl Screen {
    /// The screen, where standard error is a terminal whose cursor moves.
    pub fn open() -> Option<Screen> {
        let (cursor, look) = terminal::watched_by()?;
        if cursor == Cursor::Stays {
            return None;
        }
        let (teller, telling) = Teller::begin(terminal::draw).ok()?;
        let picture = Picture { teller: teller.clone(), bytes: vec![] };
        let terminal = Terminal::new(CrosstermBackend::new(picture)).ok()?;
        teller.tell(ENTER.into());
        Some(Screen { terminal, teller, _telling: telling, look, second: u64::MAX })
    }

    /// Draws anew, once a second, unless the terminal is held.
    pub fn show(&mut self, soak: &Soak, peer: &str, doing: &str, away: bool) {
        let second = soak.elapsed_ns / 1_000_000_000;
        if second == self.second || !self.teller.is_idle() {
            return;
        }
        self.second = second;
        let look = self.look;
        // A terminal that cannot be asked for its size shows nothing; the document has it all.
        let _ = self.terminal.draw(|frame| picture(frame, &look, soak, peer, doing, away));
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        self.teller.tell(LEAVE.into());
    }
}

/// The picture for a terminal of any size: what has no room is left out from below.
fn picture(frame: &mut Frame<'_>, look: &Look, soak: &Soak, peer: &str, doing: &str, away: bool) {
    let shown = |text: String| look.letters(Shown::new(text).as_str());
    let colour = |colour| if look.colour { Style::new().fg(colour) } else { Style::new() };
    let [head, figures, lost, slow, events, foot] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(3),
        Constraint::Length(4),
        Constraint::Length(4),
        Constraint::Min(0),
        Constraint::Length(1),
    ])
    .areas(frame.area());
    let (state, style) = match away {
        true => ("AWAY", colour(Color::Red)),
        false => ("watching", colour(Color::Green)),
    };
    let of = soak.time_ns.map(|ns| format!(" of {}", Nanoseconds(ns))).unwrap_or_default();
    let title = shown(format!("{state} {peer}  {}{of}", Nanoseconds(soak.elapsed_ns)));
    frame.render_widget(Paragraph::new(Line::styled(title, style)), head);
    frame.render_widget(
        Paragraph::new(now(soak).into_iter().map(|l| Line::raw(shown(l))).collect::<Vec<_>>()),
        figures,
    );
    let width = usize::from(lost.width.saturating_sub(2));
    let values = |of: &dyn Fn(&SoakFigures) -> u64| -> Vec<u64> {
        let from = soak.slots.len().saturating_sub(width);
        soak.slots[from..].iter().map(|slot| of(&slot.figures)).collect()
    };
    let each = Nanoseconds(soak.slot_ns);
    let mut bars = |area: Rect, title: String, data: &[u64], colour: Style| {
        let block = Block::new().borders(Borders::TOP).title(shown(title));
        frame.render_widget(Sparkline::default().block(block).data(data.iter().copied()).style(colour), area);
    };
    let losses = values(&|figures| figures.lost);
    bars(lost, format!(" datagrams lost, a bar is {each} "), &losses, colour(Color::Red));
    let times = values(&|figures| figures.response_ns.map_or(0, |times| times.p99_max));
    let most = times.iter().copied().max().unwrap_or(0);
    bars(slow, format!(" response, 99 of 100; highest {} ", Nanoseconds(most)), &times, colour(Color::Cyan));
    let rows = usize::from(events.height.saturating_sub(1));
    let latest = soak.events.iter().rev().take(rows);
    let latest: Vec<Line<'_>> = latest
        .map(|event| {
            let style = if event.kind.is_bad() { colour(Color::Red) } else { Style::new() };
            Line::styled(shown(format!("{} {}: {}", event.at, event.kind.word(), event.text)), style)
        })
        .collect();
    let all: u64 = soak.counts.values().sum();
    let block = Block::new().borders(Borders::TOP).title(shown(format!(" events: {all}, the latest first ")));
    let latest = Paragraph::new(latest).wrap(Wrap { trim: true });
    frame.render_widget(latest.block(block), events);
    frame.render_widget(Paragraph::new(shown(format!("{doing}; Ctrl-C ends it with a report"))), foot);
}

fn now(soak: &Soak) -> Vec<String> {
    let total = &soak.total;
    let rate = |way: &str, range: Option<pathproof_model::soak::SoakRange>| {
        range.map(|range| format!("{way} {} to {}", BitsPerSecond(range.min), BitsPerSecond(range.max)))
    };
    let rates: Vec<String> =
        [rate("out", total.out_bits_per_s), rate("in", total.in_bits_per_s)].into_iter().flatten().collect();
    // Each of the lines fits 80 columns.
    let mut path: Vec<String> = vec![];
    path.extend(total.ip_mtu_bytes.map(|mtu| match mtu.min == mtu.max {
        true => format!("path IP MTU {}", mtu.min),
        false => format!("path IP MTU {} to {}", mtu.min, mtu.max),
    }));
    path.push(format!("carriers came or went {} times", total.carrier_changes));
    path.extend(away(total));
    [answers(total), rates, path].map(|words| words.join(", ")).into()
}

#[cfg(test)]
mod tests {
    use pathproof_model::soak::{SoakEvent, SoakEventKind, SoakSlot};
    use ratatui::backend::TestBackend;

    use super::*;

    fn drawn(columns: u16, rows: u16) -> String {
        let figures = SoakFigures { sent: 300, lost: 3, ..SoakFigures::default() };
        let slot = SoakSlot { start_ns: 0, figures };
        let event = SoakEvent {
            at_ns: 1,
            at: "2026-11-29T03:10:00Z".into(),
            kind: SoakEventKind::PeerLost,
            text: "reset \x1b[2J".into(),
        };
        let mut soak = Soak {
            elapsed_ns: 3_600_000_000_000,
            slot_ns: 10_000_000_000,
            slots: vec![slot; 700],
            events: vec![event; 50],
            total: figures,
            ..Soak::default()
        };
        soak.counts.insert(SoakEventKind::PeerLost, 50);
        let mut terminal = Terminal::new(TestBackend::new(columns, rows)).unwrap();
        terminal.draw(|frame| picture(frame, &Look::SCREEN, &soak, "hv2", "datagram loss", true)).unwrap();
        terminal.backend().to_string()
    }

    #[test]
    fn a_screen_shows_state_figures_bars_and_events() {
        let screen = drawn(80, 24);
        for part in [
            "AWAY hv2  60.0 min",
            "3 of 300 datagrams lost",
            "datagrams lost, a bar is 10.00 s",
            "events: 50",
            "2026-11-29T03:10:00Z peer-lost: reset",
            "Ctrl-C ends it",
        ] {
            assert!(screen.contains(part), "{part:?} in\n{screen}");
        }
        assert!(!screen.contains('\x1b'), "{screen:?}");
    }

    #[test]
    fn a_terminal_of_any_size_is_drawn_on() {
        for (columns, rows) in [(1, 1), (20, 5), (40, 10), (300, 100)] {
            drawn(columns, rows);
        }
    }
}
