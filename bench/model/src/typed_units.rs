//! Quantities of a TOML file as people type them: `time = "5s"` for `time_ns = 5_000_000_000`. Plans and criteria are read through here.
//!
//! Only the text changes: a key gets the name that has the unit in it, and its value becomes a number, each where it stood. So whoever reads
//! the text afterwards names the right line.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::units::{Grammar, RATES, SIZES, TIMES};

/// What a name ends in that has its unit in it, and how such a quantity is typed.
const ENDINGS: [(&str, &Grammar); 3] = [("_ns", &TIMES), ("_bits_per_s", &RATES), ("_bytes", &SIZES)];

/// What is named like this is a size that nobody counts in thousands.
const IP_MTU: &str = "ip_mtu";

/// Why a quantity cannot be used, and where it stands.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {reason}")]
pub struct TypedUnitsError {
    line: usize,
    reason: String,
}

/// The text with plain numbers where quantities were typed with units. `known` says which names there are; what they do not explain is
/// left for its reader to refuse.
pub fn in_plain_numbers(text: &str, known: impl Fn(&str) -> bool) -> Result<String, TypedUnitsError> {
    let table = DeTable::parse(text).map_err(|error| {
        let at = error.span().map_or(0, |span| span.start);
        TypedUnitsError { line: line_of(text, at), reason: error.message().to_owned() }
    })?;
    let mut edits = vec![];
    find(table.get_ref(), "", &known, &mut edits)
        .map_err(|(at, reason)| TypedUnitsError { line: line_of(text, at), reason })?;
    edits.sort_by_key(|(place, _): &(Range<usize>, String)| std::cmp::Reverse(place.start));
    let mut plain = text.to_owned();
    for (place, instead) in edits {
        // A string may have been several lines long.
        let lines = "\n".repeat(text.get(place.clone()).unwrap_or_default().matches('\n').count());
        plain.replace_range(place, &(instead + &lines));
    }
    Ok(plain)
}

/// The line of a byte, counted from one.
pub fn line_of(text: &str, at: usize) -> usize {
    1 + text.as_bytes().iter().take(at).filter(|byte| **byte == b'\n').count()
}

type Edits = Vec<(Range<usize>, String)>;

/// Notes what must be written otherwise in a table, which stands at `path`.
fn find(
    table: &DeTable<'_>,
    path: &str,
    known: &dyn Fn(&str) -> bool,
    edits: &mut Edits,
) -> Result<(), (usize, String)> {
    for (key, value) in table.iter() {
        let name = key.get_ref().as_ref();
        let path = if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
        let fail = |reason: String| (value.span().start, format!("{path}: {reason}"));
        if let DeValue::String(typed) = value.get_ref() {
            let Some((full, grammar)) = quantity(name, known) else { continue };
            if full != name && table.iter().any(|(other, _)| other.get_ref().as_ref() == full) {
                return Err(fail(format!("it is given twice, once as {full}")));
            }
            let count = grammar.read(typed).map_err(|why| fail(why.to_string()))?;
            if full.contains(IP_MTU) && !is_in_bytes(typed, grammar) {
                return Err(fail(format!(
                    "{typed} is no IP MTU; give a number of bytes, such as 9000 (9K could be 9000 or 9216)"
                )));
            }
            // What TOML can hold.
            if i64::try_from(count).is_err() {
                return Err(fail(format!("{typed} is too large")));
            }
            edits.push((key.span(), full));
            edits.push((value.span(), count.to_string()));
        } else {
            within(value, &path, known, edits)?;
        }
    }
    Ok(())
}

fn within(
    value: &Spanned<DeValue<'_>>,
    path: &str,
    known: &dyn Fn(&str) -> bool,
    edits: &mut Edits,
) -> Result<(), (usize, String)> {
    match value.get_ref() {
        DeValue::Table(table) => find(table, path, known, edits),
        DeValue::Array(values) => values.iter().try_for_each(|value| within(value, path, known, edits)),
        _ => Ok(()),
    }
}

/// Whether a size has no unit but that of a byte.
fn is_in_bytes(typed: &str, grammar: &Grammar) -> bool {
    let unit = typed.trim_start().trim_start_matches(|digit: char| digit.is_ascii_digit() || digit == '_');
    grammar.read(&format!("1{unit}")) == Ok(1)
}

/// The full name of a quantity and how it is typed, where `name` means one.
fn quantity(name: &str, known: &dyn Fn(&str) -> bool) -> Option<(String, &'static Grammar)> {
    ENDINGS.into_iter().find_map(|(ending, grammar)| {
        let full = if name.ends_with(ending) { name.to_owned() } else { format!("{name}{ending}") };
        // A name that is one by itself takes text of its own.
        (known(&full) && (full == name || !known(name))).then_some((full, grammar))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: [&str; 5] = ["time_ns", "size_bytes", "rate_bits_per_s", "kind", "expect_ip_mtu_bytes"];

    fn plain(text: &str) -> Result<String, String> {
        in_plain_numbers(text, |name| NAMES.contains(&name)).map_err(|error| error.to_string())
    }

    #[test]
    fn quantities_become_numbers_where_they_stand() {
        let typed = "seed = 7 # \"1s\"\n[[steps]]\nkind = \"1s\"\ntime = \"1h30m\"\n[[steps]]\nsize_bytes = '1M'\n\
                     rate = \"10G\"\nflows = [{ \"time\" = \"5ms\" }, { time_ns = 3 }]\n";
        let read = "seed = 7 # \"1s\"\n[[steps]]\nkind = \"1s\"\ntime_ns = 5400000000000\n[[steps]]\nsize_bytes = 1048576\n\
                    rate_bits_per_s = 10000000000\nflows = [{ time_ns = 5000000 }, { time_ns = 3 }]\n";
        assert_eq!(plain(typed).as_deref(), Ok(read));
        assert_eq!(plain(read).as_deref(), Ok(read), "numbers stay");
        let odd = "time = \"\"\"\n5s\"\"\"\nnonsense = \"5s\"\n";
        let mtu = plain("expect_ip_mtu = \" 9_000 B\"");
        assert_eq!(mtu.as_deref(), Ok("expect_ip_mtu_bytes = 9000"), "an MTU is a number of bytes");
        assert_eq!(plain(odd).as_deref(), Ok("time_ns = 5000000000\n\nnonsense = \"5s\"\n"), "lines stay");
    }

    #[test]
    fn what_cannot_be_read_is_told_with_its_line() {
        for (text, told) in [
            ("[[steps]]\ntime = \"5 parsecs\"", "line 2: steps.time: cannot read \"5 parsecs\" as a time"),
            ("time = \"5s\"\ntime_ns = 3", "line 1: time: it is given twice, once as time_ns"),
            ("size = \"1TB/s\"", "line 1: size: cannot read"),
            ("\ntime = \"200000d\"", "line 2: time: 200000d is too large"),
            ("\nexpect_ip_mtu = \"9K\"", "line 2: expect_ip_mtu: 9K is no IP MTU"),
            ("expect_ip_mtu_bytes = \"9kB\"", "line 1: expect_ip_mtu_bytes: 9kB is no IP MTU"),
            ("seed = 1\n\ntime = \"5s", "line 3: "),
        ] {
            let error = plain(text).unwrap_err();
            assert!(error.starts_with(told), "{text}: {error}");
        }
    }
}
