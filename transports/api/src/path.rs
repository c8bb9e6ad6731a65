//! One path of a lane over several NICs.

use std::net::{IpAddr, SocketAddr};

/// A path as the dialling end sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PathSpec {
    /// Address that the dialler binds to.
    pub local: Option<IpAddr>,
    /// Device that the dialler binds to.
    pub device: Option<String>,
    /// Where it connects to; `None` leaves the lane's own.
    pub remote: Option<SocketAddr>,
}

impl PathSpec {
    /// As it is typed: `LOCAL,DEVICE,REMOTE:PORT`, each of which may be empty.
    pub fn to_option(&self) -> String {
        let local = self.local.map(|a| a.to_string()).unwrap_or_default();
        let remote = self.remote.map(|a| a.to_string()).unwrap_or_default();
        format!("{local},{},{remote}", self.device.as_deref().unwrap_or_default())
    }

    /// What was typed.
    pub fn parse(text: &str) -> Option<PathSpec> {
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
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_read_as_it_is_written() {
        for text in ["10.0.1.1,v1,10.0.1.2:7797", "fe80::1,,[fe80::2]:7797", ",,"] {
            assert_eq!(PathSpec::parse(text).map(|path| path.to_option()).as_deref(), Some(text));
        }
        for nonsense in
            ["10.0.1.1", "x,v1,10.0.1.2:7797", "10.0.1.1,v1,10.0.1.2", "10.0.1.1,,[fe80::2]:7797", ",,,"]
        {
            assert_eq!(PathSpec::parse(nonsense), None, "{nonsense}");
        }
    }
}
