//! What hosts are expected to look like: their NICs, speeds, MTUs, addresses and data center bridging, written down on a good day
//! (`devices --write-state`) and held against later ones (`devices --expect`, `check --expect-state`).
//!
//! What a file does not name is held against nothing, and what a host does not tell is "cannot tell", never a pass.

use std::fmt::{Display, Write};
use std::net::IpAddr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::criteria;
use crate::environment::{DcbApplication, Environment, Nic};
use crate::judge::names::EXPECTED_STATE;
use crate::units::BitsPerSecond;
use crate::{Check, NicAddress};

/// The hosts of a fabric as they are to be: a TOML file with a `[[host]]` for each, so that files of single hosts can be put one behind the other.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ExpectedState {
    /// The hosts.
    #[serde(rename = "host")]
    pub hosts: Vec<HostState>,
}

/// One host as it is to be.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HostState {
    /// Its host name; one that ends in `*` means every host whose name begins so.
    pub name: String,
    /// Its NICs.
    #[serde(default, rename = "nic")]
    pub nics: Vec<NicState>,
}

/// One NIC as it is to be. What is absent is not expected.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NicState {
    /// Interface name.
    pub name: String,
    /// Whether it has a carrier.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub carrier: Option<bool>,
    /// Link speed in bit/s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub speed_bits_per_s: Option<u64>,
    /// Interface MTU, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ip_mtu_bytes: Option<u32>,
    /// `ADDRESS/PREFIX` that it must have; it may have others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub addresses: Option<Vec<String>>,
    /// Name of the RDMA device on it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rdma_device: Option<String>,
    /// Priorities that are paused instead of dropped, all of them (PFC).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pfc_priorities: Option<Vec<u8>>,
    /// Percent of each traffic class (ETS).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ets_percent: Option<Vec<u8>>,
    /// Entries that its application priority table must have; it may have others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub applications: Option<Vec<DcbApplication>>,
}

/// Names in such a file whose values may be typed with units.
const QUANTITIES: [&str; 2] = ["speed_bits_per_s", "ip_mtu_bytes"];

impl ExpectedState {
    /// Whether a quantity has this name, its unit included (for [`crate::typed_units::in_plain_numbers`]).
    pub fn has_key(name: &str) -> bool {
        QUANTITIES.contains(&name)
    }

    /// The state with its addresses as they are compared, or what cannot be meant.
    pub fn checked(mut self) -> Result<ExpectedState, String> {
        if self.hosts.is_empty() {
            return Err("it names no host; pathproof devices --write-state FILE makes one".into());
        }
        for host in &mut self.hosts {
            if host.name.trim_end_matches('*').is_empty() && host.name != "*" {
                return Err("a host has no name; * means every host".into());
            }
            for at in 0..host.nics.len() {
                let (before, rest) = host.nics.split_at_mut(at);
                let nic = &mut rest[0];
                if before.iter().any(|other| other.name == nic.name) {
                    return Err(format!("{} has two NICs called {}", host.name, nic.name));
                }
                for address in nic.addresses.iter_mut().flatten() {
                    *address = canonical(address)
                        .ok_or_else(|| format!("{}: {address:?} is not ADDRESS/PREFIX", nic.name))?;
                }
            }
        }
        Ok(self)
    }

    /// What is expected of a host: of those with its name the one that shares an address with it, else the first; a whole name before
    /// the beginning of one.
    pub fn of(&self, host: &Environment) -> Option<&HostState> {
        let name = host.hostname.as_deref().unwrap_or_default();
        let own: Vec<String> = host.nics.iter().flat_map(|nic| &nic.addresses).map(written).collect();
        let shares = |one: &&HostState| {
            one.nics.iter().flat_map(|nic| nic.addresses.iter().flatten()).any(|a| own.contains(a))
        };
        let of = |wanted: &dyn Fn(&HostState) -> bool| {
            let named: Vec<&HostState> = self.hosts.iter().filter(|one| wanted(one)).collect();
            named.iter().copied().find(shares).or_else(|| named.first().copied())
        };
        let beginning =
            |one: &HostState| one.name.strip_suffix('*').is_some_and(|begins| name.starts_with(begins));
        of(&|one| one.name == name).or_else(|| of(&beginning))
    }

    /// The names of its hosts, for people.
    pub fn names(&self) -> String {
        self.hosts.iter().map(|host| host.name.as_str()).collect::<Vec<_>>().join(", ")
    }

    /// Puts a host in place of that of the same name and addresses, or behind the others.
    pub fn put(&mut self, host: HostState) {
        let own = |one: &HostState| -> Vec<String> {
            one.nics.iter().flat_map(|nic| nic.addresses.iter().flatten().cloned()).collect()
        };
        let addresses = own(&host);
        let of_name = |one: &&mut HostState| one.name == host.name;
        let several = self.hosts.iter().filter(|one| one.name == host.name).count() > 1;
        let same = self.hosts.iter_mut().filter(of_name);
        match same.into_iter().find(|one| !several || own(one).iter().any(|a| addresses.contains(a))) {
            Some(place) => *place = host,
            None => self.hosts.push(host),
        }
    }

    /// As the file that it is read from.
    pub fn to_toml(&self) -> String {
        let mut text = String::from(
            "# What these hosts are to look like, for pathproof check PEER --expect-state FILE and pathproof devices --expect FILE.\n\
             # Delete what does not matter: what is not named is not held against anything. A name may end in * (every host that begins so).\n",
        );
        for host in &self.hosts {
            let _ = writeln!(text, "\n[[host]]\nname = {}", quoted(&host.name));
            for nic in &host.nics {
                nic.write(&mut text);
            }
        }
        text
    }
}

impl HostState {
    /// A host as it is: its NICs that have an address or an RDMA device.
    pub fn observed(host: &Environment) -> HostState {
        let nics = host.nics.iter().filter(|nic| !nic.is_loopback()).map(NicState::observed);
        let matters = |nic: &NicState| nic.addresses.is_some() || nic.rdma_device.is_some();
        HostState { name: host.hostname.clone().unwrap_or_default(), nics: nics.filter(matters).collect() }
    }

    /// What differs, and what cannot be determined; a pass where nothing does.
    pub fn checks(&self, host: &Environment) -> Vec<Check> {
        let name = host.hostname.as_deref().unwrap_or(&self.name);
        let mut held = Held { place: String::new(), as_expected: 0, checks: vec![] };
        for expected in &self.nics {
            held.place = format!("{name}: {}", expected.name);
            match host.nics.iter().find(|nic| nic.name == expected.name) {
                Some(nic) => expected.hold(nic, &mut held),
                None => held.fails("there is no such NIC"),
            }
        }
        if held.checks.is_empty() {
            let (settings, nics) = (held.as_expected, self.nics.len());
            let text = format!("{name}: all {settings} settings of {nics} NICs are as expected");
            held.checks.push(Check::pass(EXPECTED_STATE, text));
        }
        held.checks
    }
}

impl NicState {
    fn observed(nic: &Nic) -> NicState {
        let lasting = |one: &&NicAddress| match one.address {
            IpAddr::V4(ip) => !ip.is_link_local(),
            IpAddr::V6(ip) => !ip.is_unicast_link_local(),
        };
        let addresses: Vec<String> = nic.addresses.iter().filter(lasting).map(written).collect();
        let dcb = nic.dcb.as_ref();
        NicState {
            name: nic.name.clone(),
            carrier: nic.carrier,
            speed_bits_per_s: nic.speed_bits_per_s,
            ip_mtu_bytes: nic.ip_mtu_bytes,
            addresses: (!addresses.is_empty()).then_some(addresses),
            rdma_device: nic.rdma_device.clone(),
            pfc_priorities: dcb.and_then(|dcb| dcb.pfc.as_ref()).map(|pfc| pfc.enabled_priorities.clone()),
            ets_percent: dcb.and_then(|dcb| dcb.ets.as_ref()).map(|ets| ets.bandwidth_percent.clone()),
            applications: dcb.and_then(|dcb| dcb.applications.clone()).filter(|table| !table.is_empty()),
        }
    }

    fn hold(&self, nic: &Nic, held: &mut Held) {
        let link = |up: bool| if up { "carrier" } else { "no carrier" };
        held.against("", self.carrier.map(link), nic.carrier.map(link), "");
        let speeds = [self.speed_bits_per_s, nic.speed_bits_per_s].map(|speed| speed.map(BitsPerSecond));
        held.against("link speed ", speeds[0], speeds[1], "");
        held.against("IP MTU ", self.ip_mtu_bytes, nic.ip_mtu_bytes, "");
        // A NIC without one says so: it is known.
        let device = self.rdma_device.as_deref();
        held.against("RDMA device ", device, Some(nic.rdma_device.as_deref().unwrap_or("none")), "");
        let own: Vec<String> = nic.addresses.iter().map(written).collect();
        for address in self.addresses.iter().flatten() {
            match own.contains(address) {
                true => held.as_expected += 1,
                false if own.is_empty() => held.fails(&format!("has no address, expected {address}")),
                false => held.fails(&format!("has {}, and not the expected {address}", own.join(", "))),
            }
        }
        let why = nic.dcb_absent.as_deref().map_or_else(String::new, |why| format!(" ({why})"));
        let dcb = nic.dcb.as_ref();
        let sorted = |priorities: &[u8]| {
            let mut sorted = priorities.to_vec();
            sorted.sort_unstable();
            Numbers(sorted)
        };
        let found = dcb.and_then(|dcb| dcb.pfc.as_ref()).map(|pfc| sorted(&pfc.enabled_priorities));
        held.against("PFC priorities ", self.pfc_priorities.as_deref().map(sorted), found, &why);
        let found = dcb.and_then(|dcb| dcb.ets.as_ref()).map(|ets| Numbers(ets.bandwidth_percent.clone()));
        held.against("ETS percent ", self.ets_percent.clone().map(Numbers), found, &why);
        let table = dcb.and_then(|dcb| dcb.applications.as_ref());
        for entry in self.applications.iter().flatten() {
            let known =
                |one: &&DcbApplication| (one.selector, one.protocol) == (entry.selector, entry.protocol);
            let found = table.map(|table| table.iter().find(known).map(|one| one.priority));
            let found = found.map(|priority| priority.map_or("none".to_owned(), |one| one.to_string()));
            let what = format!("priority of {} {} ", entry.selector.word(), entry.protocol);
            held.against(&what, Some(entry.priority.to_string()), found, &why);
        }
    }

    fn write(&self, text: &mut String) {
        let mut line = |key: &str, value: Option<String>| {
            if let Some(value) = value {
                let _ = writeln!(text, "{key} = {value}");
            }
        };
        line("\n[[host.nic]]\nname", Some(quoted(&self.name)));
        line("carrier", self.carrier.map(|up| up.to_string()));
        line("speed", self.speed_bits_per_s.map(|speed| quoted(&criteria::rate(speed))));
        line("ip_mtu_bytes", self.ip_mtu_bytes.map(|mtu| mtu.to_string()));
        let list = |all: &[String]| format!("[{}]", all.join(", "));
        let texts = |all: &Vec<String>| list(&all.iter().map(|one| quoted(one)).collect::<Vec<_>>());
        let numbers = |all: &Vec<u8>| list(&all.iter().map(u8::to_string).collect::<Vec<_>>());
        line("addresses", self.addresses.as_ref().map(texts));
        line("rdma_device", self.rdma_device.as_deref().map(quoted));
        line("pfc_priorities", self.pfc_priorities.as_ref().map(numbers));
        line("ets_percent", self.ets_percent.as_ref().map(numbers));
        let entry = |one: &DcbApplication| {
            let selector = quoted(one.selector.word());
            format!("{{ selector = {selector}, protocol = {}, priority = {} }}", one.protocol, one.priority)
        };
        let entries = |all: &Vec<DcbApplication>| list(&all.iter().map(entry).collect::<Vec<_>>());
        line("applications", self.applications.as_ref().map(entries));
    }
}

/// What came of holding one against the other.
struct Held {
    place: String,
    as_expected: usize,
    checks: Vec<Check>,
}

impl Held {
    fn against<T: PartialEq + Display>(
        &mut self,
        what: &str,
        expected: Option<T>,
        found: Option<T>,
        why: &str,
    ) {
        match (expected, found) {
            (None, _) => {}
            (Some(expected), Some(found)) if expected == found => self.as_expected += 1,
            (Some(expected), Some(found)) => self.fails(&format!("{what}{found}, expected {expected}")),
            (Some(expected), None) => {
                let text = format!("{}: {what}is not known{why}, expected {expected}", self.place);
                self.checks.push(Check::inconclusive(EXPECTED_STATE, text));
            }
        }
    }

    fn fails(&mut self, what: &str) {
        self.checks.push(Check::fail(EXPECTED_STATE, format!("{}: {what}", self.place)));
    }
}

/// Numbers as they are shown.
#[derive(PartialEq)]
struct Numbers(Vec<u8>);

impl Display for Numbers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0.as_slice() {
            [] => f.write_str("none"),
            all => f.write_str(&all.iter().map(u8::to_string).collect::<Vec<_>>().join(", ")),
        }
    }
}

fn written(one: &NicAddress) -> String {
    format!("{}/{}", one.address, one.prefix_len)
}

/// An address with its prefix as this program writes it.
fn canonical(text: &str) -> Option<String> {
    let (address, prefix) = text.trim().split_once('/')?;
    let (address, prefix_len): (IpAddr, u8) = (address.parse().ok()?, prefix.parse().ok()?);
    let most = if address.is_ipv4() { 32 } else { 128 };
    (prefix_len <= most).then(|| written(&NicAddress { address, prefix_len }))
}

/// As a string of TOML.
fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::environment::{Dcb, DcbEts, DcbPfc, DcbSelector};
    use crate::typed_units::in_plain_numbers;
    use crate::{Outcome, Verdict};

    fn host() -> Environment {
        let roce = DcbApplication { selector: DcbSelector::DgramPort, protocol: 4791, priority: 3 };
        let dcb = Dcb {
            pfc: Some(DcbPfc { enabled_priorities: vec![3], classes_max: Some(8) }),
            ets: Some(DcbEts { bandwidth_percent: vec![50, 50], ..DcbEts::default() }),
            applications: Some(vec![roce]),
        };
        let address = |text: &str, prefix_len| NicAddress { address: text.parse().unwrap(), prefix_len };
        let nic = Nic {
            name: "e1".into(),
            carrier: Some(true),
            speed_bits_per_s: Some(25_000_000_000),
            ip_mtu_bytes: Some(9000),
            addresses: vec![address("10.9.1.1", 24), address("fe80::1", 64)],
            rdma_device: Some("mlx5_0".into()),
            dcb: Some(dcb),
            ..Nic::default()
        };
        let loopback = Nic {
            name: "lo".into(),
            kind: Some("loopback".into()),
            addresses: vec![address("127.0.0.1", 8)],
            ..Nic::default()
        };
        Environment { hostname: Some("hv1".into()), nics: vec![loopback, nic], ..Environment::default() }
    }

    fn read(text: &str) -> Result<ExpectedState, String> {
        let plain = in_plain_numbers(text, ExpectedState::has_key).map_err(|error| error.to_string())?;
        toml::from_str::<ExpectedState>(&plain).map_err(|error| error.to_string())?.checked()
    }

    fn texts(state: &ExpectedState, host: &Environment) -> Vec<(Outcome, String)> {
        let checks = state.of(host).map_or_else(Vec::new, |one| one.checks(host));
        checks.into_iter().map(|check| (check.outcome, check.text)).collect()
    }

    #[test]
    fn what_is_written_of_a_host_reads_back_and_passes_on_it() {
        let state = ExpectedState { hosts: vec![HostState::observed(&host())] };
        let text = state.to_toml();
        assert!(
            text.contains("speed = \"25G\"") && !text.contains("fe80") && !text.contains("\"lo\""),
            "{text}"
        );
        assert_eq!(read(&text).unwrap(), state, "{text}");
        let told = texts(&state, &host());
        assert_eq!(told, [(Outcome::Pass, "hv1: all 8 settings of 1 NICs are as expected".to_owned())]);
        // Files of two hosts, one behind the other.
        let other = ExpectedState { hosts: vec![HostState { name: "hv2".into(), nics: vec![] }] };
        assert_eq!(read(&(text + &other.to_toml())).unwrap().names(), "hv1, hv2");
    }

    #[test]
    fn each_difference_is_named_and_what_is_not_known_is_no_pass() {
        let state = ExpectedState { hosts: vec![HostState::observed(&host())] };
        let mut other = host();
        let nic = &mut other.nics[1];
        nic.ip_mtu_bytes = Some(1500);
        nic.speed_bits_per_s = None;
        nic.carrier = Some(false);
        nic.rdma_device = None;
        nic.addresses.remove(0);
        let dcb = nic.dcb.as_mut().unwrap();
        dcb.pfc.as_mut().unwrap().enabled_priorities = vec![4, 3];
        dcb.ets.as_mut().unwrap().bandwidth_percent = vec![40, 60];
        dcb.applications = Some(vec![]);
        assert_eq!(
            texts(&state, &other),
            [
                (Outcome::Fail, "hv1: e1: no carrier, expected carrier".to_owned()),
                (Outcome::Inconclusive, "hv1: e1: link speed is not known, expected 25.00 Gbit/s".to_owned()),
                (Outcome::Fail, "hv1: e1: IP MTU 1500, expected 9000".to_owned()),
                (Outcome::Fail, "hv1: e1: RDMA device none, expected mlx5_0".to_owned()),
                (Outcome::Fail, "hv1: e1: has fe80::1/64, and not the expected 10.9.1.1/24".to_owned()),
                (Outcome::Fail, "hv1: e1: PFC priorities 3, 4, expected 3".to_owned()),
                (Outcome::Fail, "hv1: e1: ETS percent 40, 60, expected 50, 50".to_owned()),
                (Outcome::Fail, "hv1: e1: priority of dgram-port 4791 none, expected 3".to_owned()),
            ]
        );
        other.nics[1].dcb = None;
        other.nics[1].dcb_absent = Some("the driver has none".into());
        let open = texts(&state, &other);
        let unknown = "hv1: e1: PFC priorities is not known (the driver has none), expected 3";
        assert!(open.contains(&(Outcome::Inconclusive, unknown.to_owned())), "{open:#?}");
        other.nics.remove(1);
        assert_eq!(texts(&state, &other), [(Outcome::Fail, "hv1: e1: there is no such NIC".to_owned())]);
        let verdict = Verdict::of("state", state.hosts[0].checks(&other)).unwrap();
        assert_eq!(verdict.outcome, Outcome::Fail);
    }

    #[test]
    fn what_a_file_does_not_name_is_not_held_against_anything() {
        let state =
            read("[[host]]\nname = \"hv*\"\n[[host.nic]]\nname = \"e1\"\nspeed = \"25gbit\"").unwrap();
        assert_eq!(texts(&state, &host()).len(), 1);
        assert_eq!(texts(&state, &host())[0].0, Outcome::Pass);
        let elsewhere = Environment { hostname: Some("stor1".into()), ..host() };
        assert!(state.of(&elsewhere).is_none());
    }

    #[test]
    fn of_several_hosts_of_one_name_the_address_tells() {
        let mut state = ExpectedState { hosts: vec![HostState::observed(&host())] };
        let mut twin = host();
        twin.nics[1].addresses[0].address = "10.9.1.2".parse().unwrap();
        state.hosts.push(HostState::observed(&twin));
        assert_eq!(state.of(&twin), state.hosts.get(1));
        assert_eq!(state.of(&host()), state.hosts.first());
        // Written again, each stays in its place; another host comes behind them.
        twin.nics[1].ip_mtu_bytes = Some(1500);
        state.put(HostState::observed(&twin));
        assert_eq!((state.hosts.len(), state.hosts[1].nics[0].ip_mtu_bytes), (2, Some(1500)));
        state.put(HostState { name: "hv3".into(), nics: vec![] });
        assert_eq!(state.names(), "hv1, hv1, hv3");
        let whole = HostState { name: "hv1".into(), nics: vec![] };
        let begins = HostState { name: "hv*".into(), nics: vec![] };
        let both = ExpectedState { hosts: vec![begins, whole.clone()] };
        assert_eq!(both.of(&host()), Some(&whole), "a whole name counts before the beginning of one");
    }

    #[test]
    fn what_cannot_be_meant_is_refused_with_its_place() {
        for (text, why) in [
            ("host = []", "names no host"),
            ("[[host]]\nname = \"a\"\nmtu = 9", "mtu"),
            ("[[host]]\nname = \"\"", "no name"),
            (
                "[[host]]\nname = \"a\"\n[[host.nic]]\nname = \"e\"\naddresses = [\"10.9.0.1\"]",
                "ADDRESS/PREFIX",
            ),
            (
                "[[host]]\nname = \"a\"\n[[host.nic]]\nname = \"e\"\naddresses = [\"10.9.0.1/33\"]",
                "ADDRESS/PREFIX",
            ),
            ("[[host]]\nname = \"a\"\n[[host.nic]]\nname = \"e\"\n[[host.nic]]\nname = \"e\"", "two NICs"),
            ("[[host]]\nname = \"a\"\n[[host.nic]]\nname = \"e\"\nspeed = \"fast\"", "fast"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
    }
}
