//! The options of a stripe: over which paths, by which share, and how long silence is tolerated.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use pathproof_api::{LaneOption, Takes, TransportError};

/// Most paths of one lane.
pub const PATHS_MAX: usize = 32;

/// Unacknowledged bytes on a path that do not move for so long, while another path is well, mean that it is
/// dead. A lost segment alone costs TCP 200 to 400 ms.
const STALL: Duration = Duration::from_millis(500);

/// One path as the dialling end sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathSpec {
    /// Address that the dialler binds to.
    pub local: Option<IpAddr>,
    /// Device that the dialler binds to.
    pub device: Option<String>,
    /// Where it connects to; `None` leaves the lane's own.
    pub remote: Option<SocketAddr>,
}

impl PathSpec {
    /// In the form that the option `paths` takes.
    pub fn to_option(&self) -> String {
        let local = self.local.map(|a| a.to_string()).unwrap_or_default();
        let remote = self.remote.map(|a| a.to_string()).unwrap_or_default();
        format!("{local},{},{remote}", self.device.as_deref().unwrap_or_default())
    }

    fn parse(text: &str) -> Option<PathSpec> {
        let mut fields = text.split(',').map(str::trim);
        let (local, device, remote) = (fields.next()?, fields.next()?, fields.next()?);
        if fields.next().is_some() {
            return None;
        }
        fn given<T: std::str::FromStr>(text: &str) -> Option<Option<T>> {
            if text.is_empty() { Some(None) } else { text.parse().ok().map(Some) }
        }
        let spec = PathSpec { local: given(local)?, device: given(device)?, remote: given(remote)? };
        let mixed = match (spec.local, spec.remote) {
            (Some(local), Some(remote)) => local.is_ipv4() != remote.is_ipv4(),
            _ => false,
        };
        (!mixed).then_some(spec)
    }

    pub(crate) fn name(&self) -> String {
        let local = self.local.map_or_else(|| "any address".into(), |a| a.to_string());
        let device = self.device.as_ref().map(|d| format!(" on {d}")).unwrap_or_default();
        let remote = self.remote.map_or_else(|| "the peer".into(), |a| a.ip().to_string());
        format!("{local}{device} to {remote}")
    }
}

/// How work is shared out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Share {
    /// To the path with the fewest outstanding messages, as SMB does.
    Fewest,
    /// To the path that would be done first at the rate it has shown.
    Weighted,
}

/// What [`Plan::take`] reads.
pub const OPTIONS: &[LaneOption] = &[
    LaneOption::new("paths", Takes::Text("LOCAL,DEVICE,REMOTE:PORT;…"), "the paths, each part may be empty"),
    LaneOption::new("share", Takes::OneOf(&["fewest", "weighted"]), "how work is shared out"),
    LaneOption::new("stall_ms", Takes::Number(10, 60_000), "silence after which a path is given up, in ms"),
    LaneOption::new("rejoin", Takes::OneOf(&["yes", "no"]), "whether a dead path is reconnected"),
];

/// All options.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The paths.
    pub paths: Vec<PathSpec>,
    /// How work is shared out.
    pub share: Share,
    /// How long silence is tolerated.
    pub stall: Duration,
    /// Whether a dead path is reconnected.
    pub rejoin: bool,
}

impl Plan {
    /// Takes the options of a stripe out of `options`, leaving those of the inner transport.
    pub fn take(options: &mut BTreeMap<String, String>) -> Result<Plan, TransportError> {
        let invalid = |what: String| TransportError::invalid(what);
        let paths = match options.remove("paths") {
            None => vec![PathSpec { local: None, device: None, remote: None }],
            Some(text) => text
                .split(';')
                .map(|one| {
                    PathSpec::parse(one).ok_or_else(|| {
                        invalid(format!(
                            "{one:?} is not a path; write LOCAL,DEVICE,REMOTE:PORT, each of which may be empty"
                        ))
                    })
                })
                .collect::<Result<_, _>>()?,
        };
        if paths.len() > PATHS_MAX {
            return Err(invalid(format!("{} paths are too many; {PATHS_MAX} is the limit", paths.len())));
        }
        let share = match options.remove("share").as_deref() {
            None | Some("weighted") => Share::Weighted,
            Some("fewest") => Share::Fewest,
            Some(other) => {
                return Err(invalid(format!("share={other} is unknown; it takes fewest or weighted")));
            }
        };
        let stall = match options.remove("stall_ms") {
            None => STALL,
            Some(text) => match text.parse() {
                Ok(ms @ 10..=60_000) => Duration::from_millis(ms),
                _ => return Err(invalid(format!("stall_ms={text} is not 10 to 60000"))),
            },
        };
        let rejoin = match options.remove("rejoin").as_deref() {
            None | Some("yes") => true,
            Some("no") => false,
            Some(other) => return Err(invalid(format!("rejoin={other} is unknown; it takes yes or no"))),
        };
        Ok(Plan { paths, share, stall, rejoin })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    #[test]
    fn options_are_taken_and_the_rest_is_left() {
        let mut given = options(&[
            ("paths", "10.0.1.1,v1,10.0.1.2:7797;fe80::1,,[fe80::2]:7797;,,"),
            ("share", "fewest"),
            ("congestion", "reno"),
        ]);
        let plan = Plan::take(&mut given).unwrap();
        assert_eq!(given.keys().collect::<Vec<_>>(), ["congestion"]);
        assert_eq!((plan.share, plan.stall, plan.rejoin), (Share::Fewest, STALL, true));
        let texts: Vec<String> = plan.paths.iter().map(PathSpec::to_option).collect();
        assert_eq!(texts.join(";"), "10.0.1.1,v1,10.0.1.2:7797;fe80::1,,[fe80::2]:7797;,,");
    }

    #[test]
    fn nonsense_is_refused_in_words() {
        for (key, value) in [
            ("paths", "10.0.1.1"),
            ("paths", "x,v1,10.0.1.2:7797"),
            ("paths", "10.0.1.1,v1,10.0.1.2"),
            ("paths", "10.0.1.1,,[fe80::2]:7797"),
            ("paths", ",,,"),
            ("share", "most"),
            ("stall_ms", "0"),
            ("rejoin", "maybe"),
        ] {
            let error = Plan::take(&mut options(&[(key, value)])).unwrap_err().to_string();
            assert!(error.contains(value), "{error}");
        }
        let many = vec![",,"; 33].join(";");
        assert!(Plan::take(&mut options(&[("paths", &many)])).is_err());
    }
}
