//! Causes at this end that look like a peer that is not there: a source address to which the peer knows no way back, and an address of one
//! link that was given with another link. They are tried for a moment, after everything else has failed.
//!
//! It refuses to connect to any other address than the one that was asked for, and says nothing on what opens.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use pathproof_sys::interfaces::{self, Interface};
use pathproof_sys::socket::may_pass;

use super::{Facts, has, is_silent, link_of};

/// How long another source and another link have for an answer: the kernel asks twice.
const ASIDE: Duration = Duration::from_millis(1200);
/// In less time nothing is tried.
const ASIDE_MIN: Duration = Duration::from_millis(300);
/// Most sources that are tried.
const SOURCES_MAX: usize = 4;
/// Most links that are tried.
const LINKS_MAX: usize = 16;

/// How an attempt was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// Somebody took the connection.
    Opened,
    /// Somebody refused it.
    Refused,
}

/// What was answered at last.
#[derive(Debug, Default)]
pub(super) struct Answered {
    /// From these sources, and from the kernel's choice it was not.
    pub sources: Vec<IpAddr>,
    /// On these links.
    pub links: Vec<(String, Answer)>,
}

impl Answered {
    /// Tries, for at most `room`, what `cause` leaves open.
    pub(super) fn to(address: SocketAddr, cause: &io::Error, facts: &Facts, room: Duration) -> Answered {
        let wait = ASIDE.min(room);
        let may_be_ours = is_silent(cause) || may_pass(cause) || link_of(address).is_some();
        let is_an_answer = cause.kind() == io::ErrorKind::ConnectionRefused;
        if wait < ASIDE_MIN || is_an_answer || !may_be_ours || facts.tied_to.is_some() {
            return Answered::default();
        }
        let all = interfaces::list().unwrap_or_default();
        match link_of(address) {
            Some(link) => {
                let links = on_links(address, &other_links(&all, address, link), wait);
                Answered { links, ..Answered::default() }
            }
            None => {
                let sources = from_sources(address, &other_sources(&all, facts, address), wait);
                Answered { sources, ..Answered::default() }
            }
        }
    }

    /// What to do where an answer has shown the cause.
    pub(super) fn advice(&self, address: SocketAddr, facts: &Facts) -> Option<String> {
        let (ip, port) = (address.ip(), address.port());
        if let Some((own, (nic, chosen))) = self.sources.first().zip(facts.nic.as_ref().zip(facts.source)) {
            let not_its_own = if facts.is_of_nic { "" } else { ", though it is none of that NIC's" };
            return Some(format!(
                "it answers {own}, an address of {nic}, and not {chosen}, which this host chooses as source{not_its_own}: give the route the \
                 source {own} (ip route get {ip} shows it, ip route change ... src {own} sets it), or let the peer answer {chosen}: a route \
                 back to it there, and no firewall that drops it"
            ));
        }
        if self.links.is_empty() {
            return None;
        }
        let told = |(nic, answer): &(String, Answer)| match answer {
            Answer::Opened => format!("on {nic} it takes connections: name the peer as [{ip}%{nic}]:{port}"),
            Answer::Refused => format!(
                "on {nic} somebody has it and refuses port {port}: if that is the peer, start `pathproof serve` there and name it as \
                 [{ip}%{nic}]:{port}"
            ),
        };
        Some(self.links.iter().map(told).collect::<Vec<_>>().join("; "))
    }
}

/// Other addresses of the NIC that the peer could answer.
fn other_sources(all: &[Interface], facts: &Facts, address: SocketAddr) -> Vec<IpAddr> {
    let (Some(name), Some(chosen)) = (&facts.nic, facts.source) else { return vec![] };
    let Some(nic) = all.iter().find(|one| one.name == *name && !one.is_loopback()) else { return vec![] };
    let is_of_a_link = |own: IpAddr| match own {
        IpAddr::V4(four) => four.is_link_local(),
        IpAddr::V6(six) => six.is_unicast_link_local(),
    };
    let own = nic.addresses.iter().map(|(own, _)| *own);
    let own = own.filter(|own| own.is_ipv4() == address.is_ipv4() && *own != chosen && *own != address.ip());
    own.filter(|own| is_of_a_link(*own) == is_of_a_link(address.ip())).take(SOURCES_MAX).collect()
}

/// From which of them the peer answers while it does not answer the kernel's choice: a peer that has come up meanwhile answers that, too.
fn from_sources(address: SocketAddr, sources: &[IpAddr], wait: Duration) -> Vec<IpAddr> {
    if sources.is_empty() {
        return vec![];
    }
    let chosen = std::iter::once((address, None));
    let questions = chosen.chain(sources.iter().map(|source| (address, Some(*source)))).collect();
    let mut answers = ask(questions, wait).into_iter();
    if answers.next().flatten().is_some() {
        return vec![];
    }
    sources.iter().zip(answers).filter_map(|(source, answer)| answer.map(|_| *source)).collect()
}

/// The other links on which this host speaks by such addresses, with their numbers; one where the address is its own is none.
fn other_links(all: &[Interface], address: SocketAddr, but: u32) -> Vec<(u32, String)> {
    let speaks = |one: &Interface| {
        let mut own = one.addresses.iter().map(|(own, _)| *own);
        own.any(|own| matches!(own, IpAddr::V6(six) if six.is_unicast_link_local()))
    };
    let is_up = |one: &Interface| one.is_up && one.carrier != Some(false) && !one.is_loopback();
    let others = all.iter().filter(|one| one.index != but && is_up(one) && speaks(one));
    let others = others.filter(|one| !has(one, address.ip())).take(LINKS_MAX);
    others.map(|one| (one.index, one.name.clone())).collect()
}

/// On which of them somebody answers for the address.
fn on_links(address: SocketAddr, links: &[(u32, String)], wait: Duration) -> Vec<(String, Answer)> {
    let there = |link: u32| match address {
        SocketAddr::V6(mut six) => {
            six.set_scope_id(link);
            SocketAddr::V6(six)
        }
        SocketAddr::V4(_) => address,
    };
    let answers = ask(links.iter().map(|(link, _)| (there(*link), None)).collect(), wait);
    let named = links.iter().map(|(_, nic)| nic.clone());
    named.zip(answers).filter_map(|(nic, answer)| Some((nic, answer?))).collect()
}

/// Connects to each address, from a source where one is given, all at once; what opens is closed again.
fn ask(questions: Vec<(SocketAddr, Option<IpAddr>)>, wait: Duration) -> Vec<Option<Answer>> {
    let begin = |(to, from): (SocketAddr, Option<IpAddr>)| {
        let attempt = move || match super::super::attempt(to, wait, None, from) {
            Ok(_) => Some(Answer::Opened),
            Err(why) if why.kind() == io::ErrorKind::ConnectionRefused => Some(Answer::Refused),
            Err(_) => None,
        };
        std::thread::Builder::new().name("dial".into()).spawn(attempt).ok()
    };
    let threads: Vec<_> = questions.into_iter().map(begin).collect();
    threads.into_iter().map(|thread| thread?.join().ok().flatten()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    const FIVE: Duration = Duration::from_secs(5);

    fn at(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    fn routed() -> Facts {
        let (nic, source) = (Some("e0".into()), Some([10, 77, 0, 1].into()));
        Facts { nic, source, ..Facts::default() }
    }

    fn interface(index: u32, name: &str, addresses: &[&str]) -> Interface {
        Interface {
            index,
            name: name.into(),
            kind: Some("ethernet".into()),
            is_up: true,
            carrier: Some(true),
            addresses: addresses.iter().map(|address| (address.parse().unwrap(), 24)).collect(),
            ..Interface::default()
        }
    }

    #[test]
    fn only_what_could_be_answered_is_tried() {
        let lo =
            Interface { kind: Some("loopback".into()), ..interface(1, "lo", &["10.77.0.1", "10.77.0.2"]) };
        let e0 = interface(2, "e0", &["10.9.1.1", "169.254.3.4", "fd09::1", "fe80::1"]);
        let dark = Interface { carrier: Some(false), ..interface(3, "e1", &["fe80::2"]) };
        let e2 = interface(4, "e2", &["fe80::3"]);
        let own = interface(5, "e3", &["fe80::b"]);
        let all = [lo, e0, dark, e2, own];
        let sources = |facts: &Facts, address: &str| other_sources(&all, facts, at(address));
        assert_eq!(sources(&routed(), "10.9.2.1:1"), [IpAddr::from([10, 9, 1, 1])]);
        let chosen = Facts { source: Some([10, 9, 1, 1].into()), ..routed() };
        assert!(sources(&chosen, "10.9.2.1:1").is_empty());
        let local = Facts { nic: Some("lo".into()), ..routed() };
        assert!(sources(&local, "10.77.0.3:1").is_empty());
        // Not the one that was asked, not one without a carrier, not one on which the address is this host's own.
        let links = other_links(&all, at("[fe80::b%2]:1"), 2);
        assert_eq!(links, [(4, "e2".to_owned())]);
    }

    #[test]
    fn a_source_is_not_blamed_where_the_chosen_one_is_answered_now() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let sources = [IpAddr::from([127, 0, 0, 2])];
        assert!(from_sources(address, &sources, FIVE).is_empty());
        let asked = || ask(vec![(address, None), (address, Some(sources[0]))], FIVE);
        assert_eq!(asked(), [Some(Answer::Opened); 2]);
        drop(listener);
        assert_eq!(asked(), [Some(Answer::Refused); 2]);
    }
}
