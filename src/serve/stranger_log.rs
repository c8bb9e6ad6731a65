//! One line a second at most about those who were turned away at the door: what they did, with a count. A log that every
//! stranger can fill hides what matters, and costs the server more than the stranger.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use pathproof_sys::clock::Tick;

const APART: Duration = Duration::from_secs(1);

/// What has not been said yet.
#[derive(Default)]
pub struct StrangerLog {
    counts: BTreeMap<&'static str, u32>,
    latest: Option<IpAddr>,
    said: Option<Tick>,
}

impl StrangerLog {
    /// Notes that somebody was turned away. Said at the next [`StrangerLog::line`] that is due.
    pub fn note(&mut self, from: IpAddr, why: &'static str) {
        *self.counts.entry(why).or_default() += 1;
        self.latest = Some(from);
    }

    /// When the next line is due, if there is anything to say.
    pub fn due(&self, now: Tick) -> Option<Tick> {
        (!self.counts.is_empty()).then(|| self.said.map_or(now, |said| said + APART))
    }

    /// The line that is due, if one is.
    pub fn line(&mut self, now: Tick) -> Option<String> {
        self.due(now).filter(|due| *due <= now)?;
        self.said = Some(now);
        let counts: Vec<String> =
            std::mem::take(&mut self.counts).into_iter().map(|(why, n)| format!("{n} × {why}")).collect();
        let latest = self.latest.take().map(|ip| format!("; the last one from {ip}")).unwrap_or_default();
        Some(format!("turned away: {}{latest}", counts.join(", ")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t8_the_first_is_named_at_once_and_a_thousand_are_one_line() {
        let (mut log, start) = (StrangerLog::default(), Tick(0));
        let from = IpAddr::from([10, 0, 0, 9]);
        assert_eq!((log.due(start), log.line(start)), (None, None));
        log.note(from, "wrong key");
        assert_eq!(log.line(start).unwrap(), "turned away: 1 × wrong key; the last one from 10.0.0.9");
        let mut lines = 0;
        for n in 0..1000 {
            let now = start + Duration::from_millis(n);
            log.note(from, if n % 2 == 0 { "silent" } else { "wrong key" });
            lines += usize::from(log.line(now).is_some());
        }
        assert_eq!(lines, 0);
        let after = start + APART;
        assert_eq!(log.due(after), Some(after));
        let line = log.line(after).unwrap();
        assert!(line.contains("500 × silent") && line.contains("500 × wrong key"), "{line}");
        assert_eq!(log.due(after), None, "nothing is left to wake up for");
    }
}
