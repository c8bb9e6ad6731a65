//! What is said of a peer that was not reached: how that went, by which way its packets would go, and what to do about it.
//!
//! It refuses to blame what no answer shows: where the kernel's own tables do not tell what is wrong, the way is said and what may be.

mod answered;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use pathproof_model::{ErrorKind, StepError};
use pathproof_sys::interfaces::{self, Interface};
use pathproof_sys::socket::may_pass;
use pathproof_sys::{neighbours, routes};

use answered::Answered;

/// Most addresses of a name that are told beside the one that is spoken of.
const BESIDE_MAX: usize = 4;

/// How the attempts at each address of a name have ended.
pub(super) struct Unreached {
    patience: Duration,
    ends: Vec<(SocketAddr, io::Error)>,
}

impl Unreached {
    /// Of addresses of which nothing has been heard yet; `patience` is the time that all of them have.
    pub(super) fn new(addresses: &[SocketAddr], patience: Duration) -> Unreached {
        let silent = || io::Error::from(io::ErrorKind::TimedOut);
        Unreached { patience, ends: addresses.iter().map(|address| (*address, silent())).collect() }
    }

    /// An attempt has ended. One that had less time than it takes the network to say something tells nothing new.
    pub(super) fn ended(&mut self, address: SocketAddr, cause: io::Error) {
        let known = self.ends.iter_mut().find(|(other, _)| *other == address);
        if let Some((_, end)) = known
            && (is_silent(end) || !is_silent(&cause))
        {
            *end = cause;
        }
    }

    /// What is to be said. `room` is the time in which a cause at this end may still be tried.
    pub(super) fn said(&self, room: Duration) -> StepError {
        let Some((address, cause)) = self.ends.iter().min_by_key(|(_, cause)| rank(cause)) else {
            return StepError::new(ErrorKind::Invalid, "no address was dialled; give an IP address".into());
        };
        let facts = Facts::of(*address);
        let answered = Answered::to(*address, cause, &facts, room);
        let mut said = words(*address, cause, self.patience, &facts, &answered);
        let others = self.ends.iter().filter(|(other, _)| other != address).take(BESIDE_MAX);
        let others: Vec<String> =
            others.map(|(other, end)| format!("{} ({})", shown(*other, None), in_short(end))).collect();
        if !others.is_empty() {
            said.message = format!("{}; dialled beside it: {}", said.message, others.join(", "));
        }
        said
    }
}

fn is_silent(cause: &io::Error) -> bool {
    matches!(cause.kind(), io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock)
}

/// Of several addresses the one whose end says most is spoken of: an answer before the network's word, that before silence, and what this
/// host cannot even begin last.
fn rank(cause: &io::Error) -> u8 {
    use io::ErrorKind as Io;
    match cause.kind() {
        Io::ConnectionRefused => 0,
        Io::AddrNotAvailable if crate::local_ports::are_few() => 0,
        Io::TimedOut | Io::WouldBlock => 2,
        Io::NetworkUnreachable | Io::AddrNotAvailable => 3,
        _ => 1,
    }
}

fn in_short(cause: &io::Error) -> String {
    match cause.kind() {
        io::ErrorKind::ConnectionRefused => "refused".into(),
        _ if is_silent(cause) => "no answer".into(),
        _ => cause.to_string(),
    }
}

/// The number of the link of an address that has a meaning on one link only; 0 where none was given.
fn link_of(address: SocketAddr) -> Option<u32> {
    match address {
        SocketAddr::V6(six) if six.ip().is_unicast_link_local() => Some(six.scope_id()),
        SocketAddr::V4(_) | SocketAddr::V6(_) => None,
    }
}

/// An address as it is typed: with its link's name in the place of the number. `link` is that name, where it is known already.
fn shown(address: SocketAddr, link: Option<&str>) -> String {
    let Some(index) = link_of(address) else { return address.to_string() };
    match link.map(str::to_owned).or_else(|| interfaces::name_of(index)) {
        Some(nic) => format!("[{}%{nic}]:{}", address.ip(), address.port()),
        None => address.to_string(),
    }
}

/// What this host knows of the way to an address.
#[derive(Debug, Default)]
struct Facts {
    /// What every socket of this process is tied to, be it a VRF or a NIC: what the kernel says of routes does not hold for it.
    tied_to: Option<String>,
    /// The NIC that packets leave by.
    nic: Option<String>,
    /// The source that the kernel chooses.
    source: Option<IpAddr>,
    /// That source is an address of the NIC.
    is_of_nic: bool,
    /// The router that they go through.
    router: Option<IpAddr>,
    /// Nothing of this host's leads there.
    no_route: bool,
    /// Whether the router, or the peer where there is none between, has told its hardware address.
    next_answers: Option<bool>,
    /// VRFs of this host.
    vrfs: Vec<String>,
}

impl Facts {
    fn of(address: SocketAddr) -> Facts {
        if let Some(tied_to) = tied_to() {
            return Facts { tied_to: Some(tied_to), ..Facts::default() };
        }
        let all = interfaces::list().unwrap_or_default();
        let vrfs = all.iter().filter(|one| one.is_vrf()).map(|one| one.name.clone()).collect();
        let mut facts = Facts { vrfs, ..Facts::default() };
        match link_of(address) {
            Some(index) => facts.nic = all.iter().find(|one| one.index == index).map(|one| one.name.clone()),
            None => match routes::to(address.ip()) {
                Ok(Some(route)) => {
                    (facts.nic, facts.source) = (Some(route.interface), Some(route.source));
                    facts.router = route.router;
                }
                Ok(None) => facts.no_route = true,
                Err(_) => {}
            },
        }
        let nic = all.iter().find(|one| Some(&one.name) == facts.nic.as_ref());
        facts.is_of_nic = nic.zip(facts.source).is_some_and(|(nic, source)| has(nic, source));
        let next = facts.router.unwrap_or(address.ip());
        let known = neighbours::list().unwrap_or_default();
        let entry =
            known.iter().find(|one| one.address == next && Some(&one.interface) == facts.nic.as_ref());
        facts.next_answers = entry.map(|entry| entry.mac.is_some() && !entry.failed);
        facts
    }

    /// By which way the question went, as far as is known.
    fn asked(&self) -> Option<String> {
        let over = self.tied_to.as_ref().or(self.nic.as_ref())?;
        let from = self.source.map_or_else(String::new, |source| format!(" from {source}"));
        let router = self.router.map_or_else(String::new, |router| format!(" through the router {router}"));
        Some(format!("asked over {over}{from}{router}"))
    }

    /// What to do where nobody answers for the next address on the way.
    fn nobody(&self, ip: IpAddr) -> Option<String> {
        let nic = self.nic.as_ref().filter(|_| self.next_answers == Some(false))?;
        Some(match self.router {
            Some(router) => format!(
                "the router {router} does not answer on {nic}: check the link, that the router is up, and the route (ip route get {ip})"
            ),
            None => format!(
                "nobody on {nic} answers for {ip}: check the address, the link and its VLAN, and that the peer is up"
            ),
        })
    }

    /// Where the peer may be that this host's own routes do not show.
    fn vrf(&self) -> String {
        if self.vrfs.is_empty() {
            return String::new();
        }
        format!(
            "; this host has VRFs ({}): a peer in one is reached by `ip vrf exec VRF pathproof ...`",
            self.vrfs.join(", ")
        )
    }
}

/// The device to which the system ties every socket of this process, if it does (`ip vrf exec`).
fn tied_to() -> Option<String> {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).ok()?;
    String::from_utf8(socket.device().ok()??).ok()
}

fn has(nic: &Interface, address: IpAddr) -> bool {
    nic.addresses.iter().any(|(own, _)| *own == address)
}

fn words(
    address: SocketAddr,
    cause: &io::Error,
    patience: Duration,
    facts: &Facts,
    answered: &Answered,
) -> StepError {
    let (kind, said, next) = told(address, cause, patience, facts);
    let next = answered.advice(address, facts).unwrap_or(next);
    StepError::new(kind, format!("{said}; {next}"))
}

/// What happened, and what to do unless an answer has shown that.
fn told(
    address: SocketAddr,
    cause: &io::Error,
    patience: Duration,
    facts: &Facts,
) -> (ErrorKind, String, String) {
    use io::ErrorKind as Io;
    let (ip, port, seconds) = (address.ip(), address.port(), patience.as_secs_f64().ceil());
    let peer = shown(address, facts.nic.as_deref());
    match cause.kind() {
        Io::ConnectionRefused => (
            ErrorKind::Refused,
            format!(
                "{peer} refused the connection: no program listens there at that address and port, or a firewall rejects it"
            ),
            "start `pathproof serve` there, or give its port as HOST:PORT".into(),
        ),
        _ if is_silent(cause) => {
            let usual = || format!("check the address, the route and any firewall on the way{}", facts.vrf());
            let asked = facts.asked().map_or_else(String::new, |asked| format!(" ({asked})"));
            let said = format!("{peer} did not answer within {seconds} s{asked}");
            (ErrorKind::Timeout, said, facts.nobody(ip).unwrap_or_else(usual))
        }
        Io::AddrNotAvailable if crate::local_ports::are_few() => (
            ErrorKind::Resource,
            format!("this host has nothing left to connect to {peer} with"),
            crate::local_ports::advice(cause).unwrap_or_default(),
        ),
        // Linux says so, rather than "unreachable", when the family is switched off.
        Io::AddrNotAvailable => {
            let family = if address.is_ipv6() { "IPv6" } else { "IPv4" };
            let on =
                link_of(address).and(facts.nic.as_ref()).map_or_else(String::new, |nic| format!(" on {nic}"));
            let said = format!("this host has no {family} address{on} from which {peer} can be reached");
            (
                ErrorKind::System,
                said,
                "give it one, or name the peer by an address of the other family".into(),
            )
        }
        Io::InvalidInput if link_of(address) == Some(0) => (
            ErrorKind::Invalid,
            format!("{ip} is an address of one link, and it is not said of which"),
            format!("name the peer as [{ip}%NIC]:{port} (`pathproof devices` lists the NICs)"),
        ),
        _ if may_pass(cause) => {
            let asked = facts.asked().map_or_else(String::new, |asked| format!("; {asked}"));
            let said = format!("there was no way to {peer} for {seconds} s ({cause}{asked})");
            (ErrorKind::System, said, no_way(address, cause, facts))
        }
        // What rules and routes say that refuse: "prohibit" and "blackhole".
        Io::PermissionDenied | Io::InvalidInput if facts.no_route => (
            ErrorKind::System,
            format!("a route or rule of this host lets nothing go to {peer} ({cause})"),
            format!(
                "see which (ip route get {ip}, ip rule), and allow it, or name another address of the peer{}",
                facts.vrf()
            ),
        ),
        Io::PermissionDenied => (
            ErrorKind::System,
            format!("this host forbids connections to {peer} ({cause})"),
            "allow it where that is set (SELinux, limits of the service or control group that this runs in)"
                .into(),
        ),
        _ => match crate::descriptors::advice(cause) {
            Some(advice) => {
                (ErrorKind::Resource, format!("this host has nothing left to connect to {peer} with"), advice)
            }
            None => (
                ErrorKind::System,
                format!("cannot connect to {peer}: {cause}"),
                format!("see how this host would go there (ip route get {ip})"),
            ),
        },
    }
}

/// What to do where the network, or this host, says that there is no way.
fn no_way(address: SocketAddr, cause: &io::Error, facts: &Facts) -> String {
    use io::ErrorKind as Io;
    let (ip, port) = (address.ip(), address.port());
    if facts.no_route {
        return format!(
            "this host's own routes and rules lead nowhere for it (ip route get {ip}): give it a route, or an address of that network{}",
            facts.vrf()
        );
    }
    if let Some(nobody) = facts.nobody(ip) {
        return nobody;
    }
    // A link of this host's that is down says nothing of who is behind it.
    let is_from_there = matches!(cause.kind(), Io::HostUnreachable | Io::NetworkUnreachable);
    match facts.router {
        _ if !is_from_there || facts.next_answers != Some(true) => {
            "check addresses, routes and links, and that the peer is up".into()
        }
        Some(router) => format!(
            "the router {router} answers, so either a router has no way on, or a firewall rejects this in these words (firewalld at the peer \
             does): see where a trace ends (traceroute {ip}), and open {port}/tcp at the peer"
        ),
        None => format!(
            "a device answers for {ip} on its network, so either a firewall there rejects this in these words (firewalld does: open \
             {port}/tcp at the peer), or a router answers in the peer's place and finds nobody, or the peer came up only now: run again"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::answered::Answer;
    use super::*;

    const FIVE: Duration = Duration::from_secs(5);

    fn silent() -> io::Error {
        io::ErrorKind::TimedOut.into()
    }

    /// EHOSTUNREACH, whose number decides.
    fn no_route_to_host() -> io::Error {
        io::Error::from_raw_os_error(113)
    }

    fn at(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    fn routed() -> Facts {
        Facts {
            nic: Some("e0".into()),
            source: Some([10, 77, 0, 1].into()),
            router: Some([10, 9, 1, 254].into()),
            next_answers: Some(true),
            ..Facts::default()
        }
    }

    fn said(address: &str, cause: &io::Error, facts: &Facts, answered: &Answered) -> String {
        words(at(address), cause, FIVE, facts, answered).message
    }

    #[test]
    fn a_source_is_blamed_where_another_one_is_answered() {
        let own = Answered { sources: vec![[10, 9, 1, 1].into()], ..Answered::default() };
        let mut facts = routed();
        let told = said("10.9.2.1:7797", &silent(), &facts, &own);
        assert!(
            told.contains(
                "it answers 10.9.1.1, an address of e0, and not 10.77.0.1, which this host chooses"
            ) && told.contains("though it is none of that NIC's")
                && told.contains("src 10.9.1.1"),
            "{told}"
        );
        facts.is_of_nic = true;
        let told = said("10.9.2.1:7797", &silent(), &facts, &own);
        assert!(told.contains("10.77.0.1") && !told.contains("none of that NIC's"), "{told}");
        // Nothing was answered: the way is said, and nobody is blamed.
        let told = said("10.9.2.1:7797", &silent(), &facts, &Answered::default());
        assert_eq!(
            told,
            "10.9.2.1:7797 did not answer within 5 s (asked over e0 from 10.77.0.1 through the router 10.9.1.254); check the address, the \
             route and any firewall on the way"
        );
    }

    #[test]
    fn an_address_of_a_link_is_named_with_the_link_on_which_it_answers() {
        let facts = Facts { nic: Some("e1".into()), ..Facts::default() };
        let on = |answer| Answered { links: vec![("e0".into(), answer)], ..Answered::default() };
        let told = said("[fe80::b%3]:7797", &no_route_to_host(), &facts, &on(Answer::Opened));
        assert!(told.starts_with("there was no way to [fe80::b%e1]:7797 for 5 s"), "{told}");
        assert!(told.ends_with("on e0 it takes connections: name the peer as [fe80::b%e0]:7797"), "{told}");
        let told = said("[fe80::b%3]:7797", &no_route_to_host(), &facts, &on(Answer::Refused));
        assert!(told.contains("on e0 somebody has it and refuses port 7797: if that is the peer"), "{told}");
        // Of which link was never said.
        let invalid = io::ErrorKind::InvalidInput.into();
        let told = said("[fe80::b]:7797", &invalid, &Facts::default(), &Answered::default());
        assert!(told.contains("it is not said of which; name the peer as [fe80::b%NIC]:7797"), "{told}");
    }

    #[test]
    fn no_way_is_told_by_who_says_so() {
        let told = |facts: &Facts| said("10.9.2.1:7797", &no_route_to_host(), facts, &Answered::default());
        let near = Facts { nic: Some("e0".into()), next_answers: Some(false), ..Facts::default() };
        assert!(told(&near).contains("nobody on e0 answers for 10.9.2.1"), "{}", told(&near));
        let far = Facts { next_answers: Some(false), ..routed() };
        assert!(told(&far).contains("the router 10.9.1.254 does not answer on e0"), "{}", told(&far));
        assert!(told(&routed()).contains("firewalld at the peer does"), "{}", told(&routed()));
        let rejected = Facts { next_answers: Some(true), ..near };
        assert!(told(&rejected).contains("open 7797/tcp at the peer"), "{}", told(&rejected));
        let none = Facts { no_route: true, vrfs: vec!["red".into()], ..Facts::default() };
        let said = told(&none);
        assert!(said.contains("own routes and rules lead nowhere") && said.contains("ip vrf exec"), "{said}");
        let unknown = told(&Facts::default());
        assert!(unknown.ends_with("check addresses, routes and links, and that the peer is up"), "{unknown}");
        let tied = told(&Facts { tied_to: Some("red".into()), ..Facts::default() });
        assert!(tied.contains("; asked over red)"), "{tied}");
    }

    #[test]
    fn what_this_host_forbids_is_not_the_networks() {
        let denied = io::Error::from(io::ErrorKind::PermissionDenied);
        let told = |facts: &Facts| said("10.9.2.1:7797", &denied, facts, &Answered::default());
        let by_route = told(&Facts { no_route: true, ..Facts::default() });
        assert!(by_route.contains("a route or rule of this host"), "{by_route}");
        assert!(told(&routed()).contains("SELinux"), "{}", told(&routed()));
    }

    #[test]
    fn of_several_addresses_the_one_that_says_most_is_spoken_of() {
        let (four, six) = (at("192.0.2.1:7797"), at("[2001:db8::1]:7797"));
        let mut unreached = Unreached::new(&[six, four], FIVE);
        unreached.ended(four, io::ErrorKind::ConnectionRefused.into());
        // ENETUNREACH.
        unreached.ended(six, io::Error::from_raw_os_error(101));
        // An attempt that began late had no time to be told.
        unreached.ended(six, silent());
        let said = unreached.said(Duration::ZERO);
        assert_eq!(said.kind, ErrorKind::Refused);
        assert!(said.message.starts_with("192.0.2.1:7797 refused the connection"), "{}", said.message);
        assert!(said.message.contains("dialled beside it: [2001:db8::1]:7797 ("), "{}", said.message);
        assert!(!said.message.contains("no answer"), "{}", said.message);
        let one = Unreached::new(&[four], FIVE).said(Duration::ZERO);
        assert_eq!(one.kind, ErrorKind::Timeout);
        assert!(!one.message.contains("dialled beside"), "{}", one.message);
    }
}
