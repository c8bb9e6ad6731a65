//! The path MTU towards a host that runs no agent, by ICMP echo with DF.
//!
//! The reply is as large as the request, so the figure is the smaller of both directions; the result says so and
//! does not pretend to know which one limits.

use std::net::{IpAddr, SocketAddr, ToSocketAddrs};

use pathproof_api::Clock;
use pathproof_dgram::wire::ProbeKey;
use pathproof_dgram::{EchoSocket, cached_path_mtu, floor_bytes};
use pathproof_engine::mtu::{self, Ends, Search, SearchConfig};
use pathproof_model::{
    Direction, Environment, ErrorKind, MtuLimit, MtuPath, MtuSpec, Step, StepError, StepKind, StepSpec,
};
use pathproof_sys::errqueue::Family;
use pathproof_sys::routes::{self, Route};

use super::drive::{Job, Prober, drive};
use super::pairs::{self, Endpoint};
use super::{check_spec, device, family_of, measured, probe_error};
use pathproof_sys::clock::RealClock;

/// An echo that reached anybody at all takes longer than one to an agent: the peer's kernel may limit its rate.
const LOSS_TIMER_NS: u64 = 200_000_000;

/// Searches the path to every address of `host`, or to the first of each family that is wanted.
pub fn agentless(
    host: &str,
    spec: &MtuSpec,
    environment: &Environment,
    seed: u64,
    clock: &RealClock,
    interrupted: &dyn Fn() -> bool,
) -> Result<Step, StepError> {
    check_spec(spec)?;
    let started = clock.now();
    let mut jobs = Vec::new();
    let mut about = Vec::new();
    for (here, to) in candidates(host, spec, environment)? {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&seed.to_be_bytes());
        key[8..12].copy_from_slice(&std::process::id().to_be_bytes());
        key[12..16].copy_from_slice(&(jobs.len() as u32).to_be_bytes());
        let cached = cached_path_mtu(here.address, device(&here), SocketAddr::new(to, 9)).ok();
        let local_mtu = here.ip_mtu_bytes.or(cached);
        let ceiling = [local_mtu, spec.expect_ip_mtu_bytes].into_iter().flatten().max().unwrap_or(9000);
        let config = SearchConfig {
            seed: seed.wrapping_add(jobs.len() as u64),
            loss_timer_ns: LOSS_TIMER_NS,
            hint_bytes: [local_mtu, spec.expect_ip_mtu_bytes].into_iter().flatten().collect(),
            ..SearchConfig::new(floor_bytes(Family::of(here.address)), ceiling)
        };
        let socket = EchoSocket::open(here.address, device(&here), ProbeKey::new(key))
            .map_err(|error| probe_error(&error))?;
        jobs.push(Job { prober: Prober::Echo(socket, to), search: Search::new(config), error: None });
        about.push((here, to, cached.filter(|cached| local_mtu.is_some_and(|mtu| *cached < mtu))));
    }
    drive(&mut jobs, clock, interrupted, |_| {});
    let mut step = Step::new(StepKind::Mtu, "path MTU by echo");
    step.spec = Some(StepSpec::Mtu(spec.clone()));
    step.elapsed_ns = clock.now().ns_since(started);
    step.detail.paths =
        Some(jobs.iter().zip(about).map(|(job, (here, to, cached))| path(job, here, to, cached)).collect());
    if interrupted() {
        step.error = Some(super::interrupted());
    }
    Ok(step)
}

fn path(job: &Job, here: Endpoint, to: IpAddr, cached: Option<u32>) -> MtuPath {
    let report = job.search.report();
    let route = super::route_below(to, &here);
    let ends = Ends { sender_ip_mtu_bytes: here.ip_mtu_bytes, receiver_ip_mtu_bytes: None };
    let limit = match mtu::classify(&report, ends) {
        // It is the reply that came in fragments, and replies may: the way back carries less than the way out.
        MtuLimit::Fragmented => MtuLimit::Remote,
        limit => limit,
    };
    MtuPath {
        local_nic: here.nic,
        remote_nic: None,
        local_address: here.address,
        remote_address: to,
        family: family_of(here.address),
        direction: Direction::Both,
        method: "echo".into(),
        local_ip_mtu_bytes: here.ip_mtu_bytes,
        remote_ip_mtu_bytes: None,
        cached_ip_mtu_bytes: cached,
        route,
        ..measured(&report, limit, job.error.as_ref())
    }
}

/// From which NIC and address to which address: the first of each family that has a route, or all NICs named.
fn candidates(
    host: &str,
    spec: &MtuSpec,
    environment: &Environment,
) -> Result<Vec<(Endpoint, IpAddr)>, StepError> {
    let invalid = |message: String| StepError { kind: ErrorKind::Invalid, message };
    let resolved: Vec<IpAddr> = (host, 0)
        .to_socket_addrs()
        .map_err(|e| {
            invalid(format!("cannot resolve {host:?}: {e}; check the spelling or give an IP address"))
        })?
        .map(|address| address.ip())
        .collect();
    let wanted = |ip: &IpAddr| spec.families.is_empty() || spec.families.contains(&family_of(*ip));
    let targets: Vec<IpAddr> = [true, false]
        .into_iter()
        .filter_map(|four| resolved.iter().copied().find(|ip| ip.is_ipv4() == four && wanted(ip)))
        .collect();
    if targets.is_empty() {
        let has = if resolved.iter().any(IpAddr::is_ipv4) { "IPv4" } else { "IPv6" };
        return Err(invalid(format!("{host} has only {has} addresses; give another --family")));
    }
    let mut found = Vec::new();
    for to in targets {
        if spec.nics.is_empty() {
            let Some(Route { interface: nic, source: address, .. }) = routes::to(to) else { continue };
            let known = environment.nics.iter().find(|n| n.name == nic);
            let ip_mtu_bytes = known.and_then(|n| n.ip_mtu_bytes);
            found.push((Endpoint { nic, address, prefix_len: None, port: 0, ip_mtu_bytes }, to));
            continue;
        }
        let of_family = MtuSpec { families: vec![family_of(to)], ..spec.clone() };
        // A NIC without an address of this family is no obstacle for the other family.
        let endpoints = match pairs::endpoints(environment, &of_family, to) {
            Ok(endpoints) => endpoints,
            Err(error) if error.kind == ErrorKind::Unsupported => continue,
            Err(error) => return Err(error),
        };
        for nic in &spec.nics {
            found.extend(endpoints.iter().find(|e| e.nic == *nic).map(|e| (e.clone(), to)));
        }
    }
    if found.is_empty() {
        return Err(StepError {
            kind: ErrorKind::System,
            message: format!(
                "there is no route to {host}; check addresses and links, or name a NIC with --nic"
            ),
        });
    }
    Ok(found)
}
