//! What somebody is named for, in a sentence, and whom the user's own limits name.

use pathproof_model::mesh::{Suspect, SuspectKind, Who};
use pathproof_model::units::BitsPerSecond;

use super::Grid;
use super::cover::cover;

/// Hosts of a group that are listed.
const LISTED_MAX: usize = 12;

/// Who is below what the user said that a pair must carry.
pub fn below(
    goodput_bits_per_s: &Grid<f64>,
    ip_mtu_bytes: &Grid<u32>,
    expect_bits_per_s: Option<u64>,
    expect_ip_mtu_bytes: Option<u32>,
) -> Vec<Suspect> {
    let mut named = Vec::new();
    if let Some(least) = expect_bits_per_s {
        let least = least as f64;
        for (who, explained) in cover(&goodput_bits_per_s.map(|_, _, rate| Some(*rate < least))) {
            let rates =
                goodput_bits_per_s.known().filter(|(from, to, _)| who.explains(*from as u32, *to as u32));
            let lowest = rates.map(|(.., rate)| *rate).min_by(f64::total_cmp);
            named.push(Suspect {
                cells_explained: explained,
                measured: lowest,
                usual: Some(least),
                effect: lowest.map(|rate| rate / least - 1.0),
                ..Suspect::new(SuspectKind::Limit, who)
            });
        }
    }
    if let Some(least) = expect_ip_mtu_bytes {
        for (who, explained) in cover(&ip_mtu_bytes.map(|_, _, bytes| Some(*bytes < least))) {
            let sizes = ip_mtu_bytes.known().filter(|(from, to, _)| who.explains(*from as u32, *to as u32));
            let lowest = sizes.map(|(.., bytes)| f64::from(*bytes)).min_by(f64::total_cmp);
            named.push(Suspect {
                cells_explained: explained,
                measured: lowest,
                usual: Some(f64::from(least)),
                ..Suspect::new(SuspectKind::Limit, who)
            });
        }
    }
    named
}

/// Who and what for.
pub fn tell(suspect: &Suspect, name: &dyn Fn(u32) -> String) -> String {
    let who = who(&suspect.who, name);
    let one_way = match suspect.who {
        Who::Sender { .. } => " as sender",
        Who::Receiver { .. } => " as receiver",
        Who::Host { .. } | Who::Pair { .. } | Who::Group { .. } => "",
    };
    let percent = suspect.effect.map(|effect| format!("{:.0} %", 100.0 * effect.abs()));
    let percent = percent.unwrap_or_else(|| "some".into());
    let bytes = |figure: Option<f64>| figure.map_or_else(|| "?".into(), |bytes| format!("{bytes:.0}"));
    match suspect.kind {
        SuspectKind::Reach => match &suspect.who {
            Who::Pair { from, to } => format!("nothing from {} arrives at {}", name(*from), name(*to)),
            Who::Sender { rank } => format!("nothing from {} arrives anywhere", name(*rank)),
            Who::Receiver { rank } => format!("nothing arrives at {}", name(*rank)),
            Who::Host { .. } | Who::Group { .. } => format!("{who} reaches nobody and is reached by nobody"),
        },
        SuspectKind::Mtu => {
            let (has, usual) = (bytes(suspect.measured), bytes(suspect.usual));
            format!("{who}{one_way}: IP packets of at most {has} bytes, where {usual} are usual")
        }
        SuspectKind::Loss => {
            let (again, usual) = (bytes(suspect.measured), bytes(suspect.usual));
            format!(
                "{who}: about {again} segments sent again in a stream, where {usual} are usual; look at cable, port and error counters"
            )
        }
        SuspectKind::Goodput => {
            let again = suspect.repetitions;
            format!(
                "{who}{one_way}: {percent} slower than the others, and again in {again} repetitions in quiet"
            )
        }
        SuspectKind::Contention => {
            format!(
                "{who}: {percent} slower while others send, full alone; what they share towards the others is too narrow"
            )
        }
        SuspectKind::Limit => {
            let (has, least) = (suspect.measured.unwrap_or(0.0), suspect.usual.unwrap_or(0.0));
            if least > 65_535.0 {
                let (has, least) = (BitsPerSecond(has as u64), BitsPerSecond(least as u64));
                return format!("{who}{one_way}: {has}, where at least {least} was asked for");
            }
            format!("{who}{one_way}: IP packets of at most {has:.0} bytes, where {least:.0} were asked for")
        }
    }
}

fn who(who: &Who, name: &dyn Fn(u32) -> String) -> String {
    match who {
        Who::Host { rank } | Who::Sender { rank } | Who::Receiver { rank } => name(*rank),
        Who::Pair { from, to } => format!("{} to {}", name(*from), name(*to)),
        Who::Group { ranks } => {
            let listed: Vec<String> = ranks.iter().take(LISTED_MAX).map(|rank| name(*rank)).collect();
            let more = ranks.len().saturating_sub(LISTED_MAX);
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            format!("{}{more}", listed.join(", "))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_absolute_limit_names_what_relative_figures_never_would() {
        // All are slow alike: half of a fabric that is slow is usual to it.
        let mut rates = Grid::new(4);
        let mut sizes = Grid::new(4);
        for from in 0..4 {
            for to in (0..4).filter(|to| *to != from) {
                rates.set(from, to, Some(9e9));
                sizes.set(from, to, Some(if from == 2 { 1500 } else { 9000 }));
            }
        }
        assert_eq!(below(&rates, &sizes, None, None), []);
        assert_eq!(below(&rates, &sizes, Some(9_000_000_000), Some(1500)), []);
        let slow = below(&rates, &sizes, Some(20_000_000_000), None);
        assert!(!slow.is_empty() && slow.iter().all(|suspect| suspect.kind == SuspectKind::Limit));
        let small = below(&rates, &sizes, None, Some(9000));
        assert_eq!(small.len(), 1);
        assert_eq!((&small[0].who, small[0].measured), (&Who::Sender { rank: 2 }, Some(1500.0)));
        let said = tell(&small[0], &|rank| format!("host{rank}"));
        assert_eq!(said, "host2 as sender: IP packets of at most 1500 bytes, where 9000 were asked for");
    }
}
