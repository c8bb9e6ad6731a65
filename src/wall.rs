//! The wall clock, as a label, and as something that two hosts may differ in: no duration of a measurement is ever computed from it.

use std::time::{SystemTime, UNIX_EPOCH};

use pathproof_model::WallStamps;

/// Now, in ns since 1970; `None` where the clock is set to before that, or to after the year 2554.
pub fn now_ns() -> Option<u64> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).ok()?;
    u64::try_from(since.as_nanos()).ok()
}

/// The stamps of an answer that is given now to what was heard at `heard_ns`.
pub fn stamps_since(heard_ns: Option<u64>) -> Option<WallStamps> {
    heard_ns.zip(now_ns()).map(|(heard_ns, answered_ns)| WallStamps { heard_ns, answered_ns })
}

/// Now, as RFC 3339 in UTC.
pub fn now_rfc3339() -> String {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
    rfc3339(seconds)
}

/// Civil date from days (Hinnant's algorithm), proleptic Gregorian.
fn rfc3339(seconds: u64) -> String {
    let (days, rest) = ((seconds / 86_400) as i64, seconds % 86_400);
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let day_of_era = z.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_index = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_index + 2) / 5 + 1;
    let month = if month_index < 10 { month_index + 3 } else { month_index - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let (h, m, s) = (rest / 3600, rest / 60 % 60, rest % 60);
    format!("{year:04}-{month:02}-{day:02}T{h:02}:{m:02}:{s:02}Z")
}

#[cfg(test)]
mod tests {
    #[test]
    fn known_dates() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_795_227_284, "2026-11-21T02:14:44Z"),
        ] {
            assert_eq!(super::rfc3339(seconds), text);
        }
    }
}
