//! The path MTU towards a host that runs no agent, by ICMP echo with DF.
//!
//! The reply is as large as the request, so the figure is the smaller of both directions; the result says so and
//! does not pretend to know which one limits.

use std::net::{IpAddr, SocketAddr, ToSocketAddrs};

use pathproof_dgram::wire::ProbeKey;
use pathproof_dgram::{EchoSocket, cached_path_mtu, floor_bytes};
use pathproof_engine::mtu::{self, Ends, Search, SearchConfig};
use pathproof_model::{
    Direction, Environment, ErrorKind, Finding, MtuMethod, MtuPath, MtuSpec, NodeId, NodeSpec, ResultDoc,
    Step, StepError, StepSpec,
};
use pathproof_sys::errqueue::Family;
use pathproof_sys::routes::{self, Route};

use super::drive::{ECHO_LOSS_TIMER_NS, EndedBy, Job, Prober, drive};
use super::fallback::limit_by_echo;
use super::pairs::{self, Endpoint};
use super::{Mtu, check_spec, device, family_of, measured, probe_error, spec_of};
use crate::interrupt;
use crate::steps::{Alone, Kind, Lone, no_ending, remaining, stopped, whole};

/// The kind.
pub struct Echo;

impl Kind for Echo {
    fn name(&self, _spec: &StepSpec) -> String {
        "path MTU by echo".into()
    }

    fn duration_ns(&self, spec: &StepSpec) -> u64 {
        Mtu.duration_ns(spec)
    }

    fn need_ns(&self, spec: &StepSpec) -> u64 {
        Mtu.need_ns(spec)
    }

    fn fit(&self, spec: &StepSpec, left_ns: u64) -> Option<StepSpec> {
        whole(spec, self.need_ns(spec), left_ns)
    }
}

impl Alone for Echo {
    fn make(
        &self,
        lone: &mut Lone<'_>,
        step: &mut Step,
        doc: &mut ResultDoc,
    ) -> Result<Vec<Finding>, StepError> {
        let spec = spec_of(lone.spec);
        check_spec(&spec)?;
        let here = doc.environment(NodeId::CLIENT).cloned().unwrap_or_default();
        let Some(NodeSpec::Foreign { host }) = doc.node(spec.node).map(|node| &node.spec) else {
            let message = "no host was named to send echo requests to".into();
            return Err(StepError::new(ErrorKind::Invalid, message));
        };
        // A name server that is slow does not hold up a signal.
        let patience = remaining(lone);
        let (host, wanted, from) = (host.clone(), spec.clone(), here.clone());
        let found = interrupt::unless(lone.interrupt, patience, move || candidates(&host, &wanted, &from))??;
        let (mut jobs, about): (Vec<_>, Vec<_>) = found
            .into_iter()
            .enumerate()
            .map(|(number, (here, to))| job(number, here, to, &spec, lone.seed))
            .collect::<Result<Vec<_>, _>>()?
            .into_iter()
            .unzip();
        let ends = EndedBy::User(lone.interrupt, lone.until);
        let cut = drive(&mut jobs, lone.clock, ends, Some(&mut *lone.progress));
        if cut.map_err(|error| no_ending(&error))? {
            step.error = stopped(lone.interrupt, lone.clock, lone.until);
        }
        let paths: Vec<MtuPath> =
            jobs.iter().zip(about).map(|(job, (here, to, cached))| path(job, here, to, cached)).collect();
        let context = mtu::Context {
            expect_ip_mtu_bytes: spec.expect_ip_mtu_bytes,
            client: Some(&here),
            ..mtu::Context::default()
        };
        let findings = mtu::findings(&paths, context);
        step.detail.paths = Some(paths);
        Ok(findings)
    }
}

/// What is known of a path beside what the search finds: where it begins and ends, and what the kernel remembers of it.
type About = (Endpoint, IpAddr, Option<u32>);

/// The search of one path.
fn job(
    number: usize,
    here: Endpoint,
    to: IpAddr,
    spec: &MtuSpec,
    seed: u64,
) -> Result<(Job, About), StepError> {
    let mut key = [0; 32];
    key[..8].copy_from_slice(&seed.to_be_bytes());
    key[8..12].copy_from_slice(&std::process::id().to_be_bytes());
    key[12..16].copy_from_slice(&(number as u32).to_be_bytes());
    let cached = cached_path_mtu(here.address, device(&here), SocketAddr::new(to, 9)).ok();
    let local_mtu = here.ip_mtu_bytes.or(cached);
    let ceiling = [local_mtu, spec.expect_ip_mtu_bytes].into_iter().flatten().max().unwrap_or(9000);
    let config = SearchConfig {
        seed: seed.wrapping_add(number as u64),
        loss_timer_ns: ECHO_LOSS_TIMER_NS,
        hint_bytes: [local_mtu, spec.expect_ip_mtu_bytes].into_iter().flatten().collect(),
        ..SearchConfig::new(floor_bytes(Family::of(here.address)), ceiling)
    };
    let socket = EchoSocket::open(here.address, device(&here), ProbeKey::new(key))
        .map_err(|error| probe_error(&error))?;
    let cached = cached.filter(|cached| local_mtu.is_some_and(|mtu| *cached < mtu));
    let job = Job::new(Prober::Echo(socket, to), Search::new(config));
    Ok((job, (here, to, cached)))
}

fn path(job: &Job, here: Endpoint, to: IpAddr, cached: Option<u32>) -> MtuPath {
    let report = job.search.report();
    let route = super::route_below(to, &here);
    let ends = Ends { sender_ip_mtu_bytes: here.ip_mtu_bytes, receiver_ip_mtu_bytes: None };
    let limit = limit_by_echo(mtu::classify(&report, ends));
    MtuPath {
        local_nic: here.nic,
        remote_nic: None,
        local_address: here.address,
        remote_address: to,
        family: family_of(here.address),
        direction: Direction::Both,
        local_ip_mtu_bytes: here.ip_mtu_bytes,
        remote_ip_mtu_bytes: None,
        cached_ip_mtu_bytes: cached,
        route,
        ..measured(MtuMethod::Echo, &report, limit, job.error.as_ref())
    }
}

/// From which NIC and address to which address: the first of each family that has a route, or all NICs named.
fn candidates(
    host: &str,
    spec: &MtuSpec,
    environment: &Environment,
) -> Result<Vec<(Endpoint, IpAddr)>, StepError> {
    let invalid = |message: String| StepError::new(ErrorKind::Invalid, message);
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
            let route = routes::to(to).map_err(|error| {
                StepError::new(
                    ErrorKind::System,
                    format!("the kernel does not say how it reaches {to} (netlink: {error}); run again"),
                )
            })?;
            let Some(Route { interface: nic, source: address, .. }) = route else { continue };
            let known = environment.nics.iter().find(|n| n.name == nic);
            let ip_mtu_bytes = known.and_then(|n| n.ip_mtu_bytes);
            // The routes chose this NIC.
            let goes_by_routes = false;
            let endpoint = Endpoint {
                nic,
                address,
                prefix_len: None,
                port: 0,
                ip_mtu_bytes,
                counts_standard: false,
                goes_by_routes,
                leads_inside: false,
            };
            found.push((endpoint, to));
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
        return Err(StepError::new(
            ErrorKind::System,
            format!("there is no route to {host}; check addresses and links, or name a NIC with --nic"),
        ));
    }
    Ok(found)
}
