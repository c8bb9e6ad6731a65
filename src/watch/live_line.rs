//! What runs now, on one line of a terminal: the step, how far it is, and the last second's rates and round trip. Where standard
//! error is no terminal there is nothing; a terminal that cannot move its cursor (TERM=dumb) gets a line for each step.
//!
//! It has no colour, so there is none to be switched off.

use pathproof_model::stream::{Count, FlowSample, RoundTripBy};
use pathproof_model::units::{BitsPerSecond, Nanoseconds};
use pathproof_report::{Look, Shown, clipped};
use pathproof_sys::clock::{Clock, RealClock, Tick};

use super::teller::{Teller, Telling};
use super::{Observer, RunEvent};
use crate::terminal::{self, Cursor};

/// How often the line is drawn at most, in ns.
const DRAWN_NS: u64 = 250_000_000;
/// Columns of the bar.
const BAR: usize = 20;
/// Flows whose figures are shown; of more the others are counted.
const FLOWS_MAX: usize = 4;

/// The line.
pub struct LiveLine {
    teller: Teller,
    // Dropped after what follows here has been told.
    _telling: Telling,
    cursor: Cursor,
    look: Look,
    clock: RealClock,
    state: State,
    begun: Tick,
    drawn: Tick,
}

/// What it shows.
#[derive(Debug, Default)]
struct State {
    number: u32,
    of: usize,
    name: String,
    share: Option<f64>,
    elapsed_ns: u64,
    flows: Vec<FlowSample>,
    counts: Vec<Count>,
}

impl LiveLine {
    /// A line on standard error, if that is a terminal.
    pub fn new(clock: &RealClock) -> Option<LiveLine> {
        let (cursor, look) = terminal::watched_by()?;
        let (teller, telling) = Teller::begin(terminal::draw).ok()?;
        let (state, clock, zero) = (State::default(), clock.clone(), Tick(0));
        Some(LiveLine { teller, _telling: telling, cursor, look, clock, state, begun: zero, drawn: zero })
    }

    fn draw(&mut self, now: Tick) {
        if self.cursor == Cursor::Moves && now >= self.drawn {
            self.drawn = now.plus_ns(DRAWN_NS);
            self.state.elapsed_ns = now.ns_since(self.begun);
            let look =
                Look { columns: terminal::columns_of_error().unwrap_or(self.look.columns), ..self.look };
            self.teller.tell_if_idle(format!("\r{}\x1b[K", line(&self.state, &look)));
        }
    }

    fn clear(&mut self) {
        if self.cursor == Cursor::Moves {
            self.teller.tell("\r\x1b[K".into());
        }
    }
}

impl Observer for LiveLine {
    fn event(&mut self, event: &RunEvent<'_>) {
        let now = self.clock.now();
        match event {
            RunEvent::Opened { .. } => {}
            RunEvent::StepStarted { number, of, name, .. } => {
                (self.begun, self.drawn) = (now, now);
                self.state = State { number: *number, of: *of, name: (*name).to_owned(), ..State::default() };
                if self.cursor == Cursor::Stays {
                    self.teller.tell(self.look.letters(&head(&self.state)) + "\n");
                }
                self.draw(now);
            }
            RunEvent::Progress { glance, .. } => {
                self.state.share = glance.share;
                self.state.counts.clone_from(&glance.counts);
                if let Some(second) = &glance.second {
                    self.state.flows.clone_from(second);
                    self.drawn = now;
                }
                self.draw(now);
            }
            RunEvent::StepEnded { .. } => self.clear(),
        }
    }
}

impl Drop for LiveLine {
    fn drop(&mut self) {
        self.clear();
    }
}

fn head(state: &State) -> String {
    Shown::new(format!("{}/{}  {}", state.number + 1, state.of, state.name)).into_string()
}

/// The line as far as there is room for it: what runs first, then its figures, then how far it is.
fn line(state: &State, look: &Look) -> String {
    // A line that fills the last column wraps on some terminals.
    let room = look.columns.saturating_sub(1);
    let mut parts = vec![];
    parts.extend(state.flows.iter().take(FLOWS_MAX).map(figures));
    if state.flows.len() > FLOWS_MAX {
        parts.push(format!("and {} more", state.flows.len() - FLOWS_MAX));
    }
    parts.extend(state.counts.iter().map(counted));
    parts.push(how_far(state));
    let mut line = clipped(room, &look.letters(&head(state)));
    for part in parts.iter().filter(|part| !part.is_empty()) {
        let longer = format!("{line}  {}", look.letters(Shown::new(part).as_str()));
        if Shown::new(&longer).columns() <= room {
            line = longer;
        }
    }
    line
}

/// `out 4.69 Gbit/s  in 0.98 Gbit/s  round trip 38.00 us`: what there is of it.
fn figures(flow: &FlowSample) -> String {
    let mut words = vec![];
    words.extend(flow.name.clone());
    let rate = |way: &str, bits: Option<u64>| {
        bits.filter(|bits| *bits > 0).map(|bits| format!("{way} {}", BitsPerSecond(bits)))
    };
    match (flow.round_trip_by, flow.sent_bits_per_s, flow.received_bits_per_s) {
        // Of an exchange the time is the answer, and not how many bytes went to and fro.
        (Some(RoundTripBy::Exchanges), _, _) => {}
        (_, Some(0), Some(0)) if flow.messages_per_s == Some(0) => words.push("nothing moves".into()),
        (_, sent, received) => {
            words.extend(rate("out", sent));
            words.extend(rate("in", received));
        }
    }
    words.extend(flow.round_trip_ns.map(|ns| format!("round trip {}", Nanoseconds(ns))));
    words.join("  ")
}

/// `2 of 6 paths`, or `57 probes` of which nobody knows how many it takes.
fn counted(count: &Count) -> String {
    let of = count.of.map_or_else(String::new, |of| format!(" of {of}"));
    format!("{}{of} {}", count.done, count.what.name())
}

/// A bar and the time left where the share is known, else the time since the step began.
fn how_far(state: &State) -> String {
    let seconds = |ns: f64| (ns / 1e9).ceil() as u64;
    match state.share {
        Some(share) if share > 0.0 => {
            let done = ((share * BAR as f64) as usize).min(BAR);
            let left = seconds(state.elapsed_ns as f64 / share - state.elapsed_ns as f64);
            format!("[{}{}] {left} s left", "=".repeat(done), " ".repeat(BAR - done))
        }
        _ => format!("{} s", state.elapsed_ns / 1_000_000_000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream() -> State {
        let flow = FlowSample {
            sent_bits_per_s: Some(4_690_000_000),
            received_bits_per_s: Some(0),
            messages_per_s: Some(4473),
            round_trip_ns: Some(38_000),
            round_trip_by: Some(RoundTripBy::Kernel),
            name: None,
        };
        let name = "tcp stream out, 4 lanes, 128 KiB".to_owned();
        let (flows, elapsed_ns) = (vec![flow], 4_000_000_000);
        State { number: 2, of: 12, name, share: Some(0.5), elapsed_ns, flows, ..State::default() }
    }

    fn at(columns: usize) -> Look {
        Look { columns, ..Look::SCREEN }
    }

    #[test]
    fn a_wide_terminal_shows_what_runs_its_rate_direction_and_round_trip() {
        assert_eq!(
            line(&stream(), &at(120)),
            "3/12  tcp stream out, 4 lanes, 128 KiB  out 4.69 Gbit/s  round trip 38.0 µs  [==========          ] 4 s left"
        );
        let ascii = line(&stream(), &Look { ascii: true, ..at(120) });
        assert!(ascii.is_ascii() && ascii.contains("38.0 us"), "{ascii}");
    }

    #[test]
    fn a_narrow_one_loses_the_bar_then_the_figures_and_never_wraps() {
        assert_eq!(
            line(&stream(), &at(80)),
            "3/12  tcp stream out, 4 lanes, 128 KiB  out 4.69 Gbit/s  round trip 38.0 µs"
        );
        for columns in 2..130 {
            let shown = Shown::new(line(&stream(), &at(columns)));
            assert!(shown.columns() < columns, "{columns}: {shown}");
        }
        assert_eq!(line(&stream(), &at(22)), "3/12  tcp stream out…");
    }

    #[test]
    fn an_exchange_shows_its_time_and_a_stall_is_said() {
        let mut state = stream();
        state.flows[0].round_trip_by = Some(RoundTripBy::Exchanges);
        assert!(!line(&state, &at(120)).contains("Gbit/s"));
        state.flows[0] = FlowSample {
            sent_bits_per_s: Some(0),
            received_bits_per_s: Some(0),
            messages_per_s: Some(0),
            ..FlowSample::default()
        };
        assert!(line(&state, &at(120)).contains("nothing moves"));
        // What is unknown is not said to stand still.
        state.flows[0] = FlowSample::default();
        assert!(!line(&state, &at(120)).contains("nothing"));
    }

    #[test]
    fn what_has_no_rate_shows_what_it_counts() {
        use pathproof_model::stream::Counted;
        let count = |what, done, of| Count { what, done, of };
        let counts = vec![count(Counted::Paths, 2, Some(6)), count(Counted::Probes, 57, None)];
        let state = State { name: "path MTU".into(), of: 3, counts, ..State::default() };
        assert_eq!(line(&state, &at(80)), "1/3  path MTU  2 of 6 paths  57 probes  0 s");
    }

    #[test]
    fn a_name_from_outside_moves_no_cursor() {
        let state = State { name: "eth0\x1b[2J\r".into(), of: 1, ..State::default() };
        assert!(line(&state, &at(80)).chars().all(|c| !c.is_control()));
    }
}
