//! What every rank does: it runs an agent, meets rank 0, and carries out orders until it is told that this was all.
//!
//! It carries out nothing that its own user did not type: an order for a task that its patterns do not have, for a plane that it does not
//! know, or with itself, is answered with a refusal.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use crossbeam_channel::{select, tick};
use pathproof_engine::mesh::kept::{Head, Line};
use pathproof_engine::mesh::message::{
    FromRank, Hello, Order, Report, Row, TO_RANK_BYTES_MAX, Task, ToRank, Told, VERSION,
};
use pathproof_model::environment::Observed;
use pathproof_model::mesh::{MESH_SCHEMA, Pattern};
use pathproof_model::{ErrorKind, Limits};

use super::kept::Kept;
use super::knock::Knocks;
use super::line::{Speaker, read_aside};
use super::measure::{self, Partner};
use super::rendezvous::{Meeting, Met, meet};
use super::{Mesh, at, may_be_dialled, stopped};
use crate::encoding::hex;
use crate::host;
use crate::interrupt::Interrupt;
use crate::registry::Registry;
use crate::secure::{Access, Key, random_bytes};
use crate::serve::{Listening, Settings};

/// Rank 0 says every few seconds that it is there. After so long a silence it is not.
const SILENCE: Duration = Duration::from_secs(60);
/// How often a rank looks whether its user wants it to stop.
const LOOK: Duration = Duration::from_millis(200);
/// Words to each other rank, and the pause between them.
const WORDS: (u32, Duration) = (3, Duration::from_millis(60));
/// How long words are waited for that others say later.
const LINGER: Duration = Duration::from_millis(700);
/// Ports that are tried for one that is free for connections and for datagrams.
const PORTS_TRIED: u32 = 16;

/// A rank that has met rank 0.
struct Part<'a> {
    mesh: &'a Mesh,
    observed: Observed,
    registry: Registry,
    interrupt: &'a Interrupt,
    knocks: Knocks,
    rank_0: IpAddr,
    rows: Vec<Row>,
    kept: Option<Kept>,
}

/// Takes part to the end.
pub fn take_part(mesh: &Mesh, meeting: &Meeting, interrupt: &Interrupt) -> Result<()> {
    let token = hex(&random_bytes::<16>().context("no random numbers for a key")?);
    let observed = host::observe();
    let (port, knocks) = open_agent(mesh, &token)?;
    let Met { writer, reader, local, rank_0 } =
        meet(meeting, &mesh.access, mesh.wait, &mesh.clock, interrupt)?;
    tracing::info!(%local, %rank_0, "met rank 0");
    let mut speaker = Speaker::new(writer);
    let hello = Hello {
        version: VERSION,
        rank: mesh.place.rank,
        size: mesh.place.size,
        settings: mesh.settings.clone(),
        port,
        token,
        environment: observed.environment.clone(),
    };
    speaker.say(&FromRank::Hello(Box::new(hello))).context("rank 0 was lost")?;
    // Rank 0 hears that this rank is there whatever it is busy with.
    let speaker = Arc::new(Mutex::new(speaker));
    let answers = speaker.clone();
    let inbox = read_aside::<ToRank>(reader, TO_RANK_BYTES_MAX, move |message| {
        if matches!(message, ToRank::Still) {
            // Where it cannot be said the line has ended, and whoever reads it is told.
            let _ = lock(&answers).say(&FromRank::Still);
        }
    })?;
    let registry = Registry::new(&mesh.clock);
    let mut part =
        Part { mesh, observed, registry, interrupt, knocks, rank_0: rank_0.ip(), rows: vec![], kept: None };
    let look = tick(LOOK);
    // Until all are there nothing is said but that rank 0 is there.
    let mut heard = mesh.clock.deadline(SILENCE);
    loop {
        let message = select! {
            recv(inbox) -> message => message.unwrap_or_else(|_| Err("its line ended".into())),
            recv(look) -> _ => {
                stopped(interrupt)?;
                if heard.is_over() {
                    bail!(
                        "rank 0 has said nothing for {} s; it hangs, or the network to it does: see what it printed, and start the mesh again",
                        SILENCE.as_secs()
                    );
                }
                continue;
            }
        };
        heard = mesh.clock.deadline(SILENCE);
        match message {
            Err(why) => bail!(
                "rank 0 was lost: {why}; what the ranks kept with --details is put together by pathproof merge FOLDER"
            ),
            Ok(ToRank::Refused(why)) => bail!("{why}"),
            Ok(ToRank::Bye) => return Ok(()),
            Ok(ToRank::Still) => {}
            Ok(ToRank::Table(rows)) => {
                part.rows = rows;
                part.begin_to_keep();
            }
            Ok(ToRank::Order(order)) => {
                let report = part.carry_out(&order);
                if let Some(kept) = &mut part.kept {
                    kept.add(&Line { order, report: report.clone() });
                }
                if lock(&speaker).say(&FromRank::Report(report)).is_err() {
                    bail!(
                        "rank 0 was lost while this rank reported; what the ranks kept with --details is put together by pathproof merge FOLDER"
                    );
                }
            }
        }
    }
}

/// A speaker is whole, whoever had it last.
fn lock(speaker: &Mutex<Speaker>) -> MutexGuard<'_, Speaker> {
    speaker.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Opens the agent, and ears for datagrams at the same port.
fn open_agent(mesh: &Mesh, token: &str) -> Result<(u16, Knocks)> {
    let settings = |mesh: &Mesh| Settings {
        access: Access::Key(Key::new(token)),
        limits: limits(mesh),
        device: None,
        observe: Arc::new(host::observe),
        clock: mesh.clock.clone(),
        tells: false,
        grace: Default::default(),
    };
    let mut why = None;
    for _ in 0..PORTS_TRIED {
        // The first family's port is the system's choice, and the other's is to be the same.
        let any = std::net::TcpListener::bind(SocketAddr::from(([0; 8], 0)))
            .or_else(|_| std::net::TcpListener::bind(SocketAddr::from(([0; 4], 0))))
            .context("no port to listen on")?;
        let port = any.local_addr().context("no port to listen on")?.port();
        drop(any);
        let opened = Listening::everywhere(port, settings(mesh));
        match opened.and_then(|agent| Ok((agent, Knocks::listen(port, token, mesh.place.size)?))) {
            Ok((agent, knocks)) => {
                agent.run_in_background();
                return Ok((port, knocks));
            }
            Err(error) => why = Some(error),
        }
    }
    Err(why
        .unwrap_or_else(|| anyhow::anyhow!("no port is free; see which are taken (ss -tlnp)"))
        .context("cannot open this rank's agent"))
}

/// One peer for what is between two, several for what many do, and nobody twice.
pub(super) fn has_peers_of_such_a_task(order: &Order, size: u32) -> bool {
    let distinct: BTreeSet<u32> = order.peers.iter().copied().collect();
    let once = distinct.len() == order.peers.len() && distinct.last().is_none_or(|last| *last < size);
    let count = order.peers.len();
    once && match order.task {
        Task::Knock => count == 0,
        Task::Survey | Task::Send | Task::Fetch | Task::Exchange | Task::Latency | Task::Drip => count == 1,
        Task::Gather | Task::Spread => count > 0,
    }
}

/// What the agent grants: what this rank's own user measures with, and room for all ranks at once.
fn limits(mesh: &Mesh) -> Limits {
    let own = &mesh.settings;
    Limits {
        clients: mesh.place.size.max(8),
        lanes: own.lanes.max(1).saturating_mul(2),
        step_ns: own.round_limit_ns.max(60_000_000_000),
        ..Limits::default()
    }
}

impl Part<'_> {
    /// From here on what this rank finds is on this host, too, where that was asked for.
    fn begin_to_keep(&mut self) {
        let Some(folder) = self.mesh.details.as_deref() else { return };
        let (mesh, environment) = (self.mesh, &self.observed.environment);
        let host = environment.hostname.clone().unwrap_or_default();
        let head = Head {
            schema: MESH_SCHEMA.into(),
            tool: crate::run::tool(),
            started_at: crate::wall::now_rfc3339(),
            rank: mesh.place.rank,
            size: mesh.place.size,
            settings: mesh.settings.clone(),
            nets: mesh.net_names.clone(),
            group: mesh.group(mesh.place.rank, &host),
            addresses: self.row(mesh.place.rank).map(|row| row.addresses.clone()).unwrap_or_default(),
            host,
            environment: environment.clone(),
        };
        self.kept = Some(Kept::begin(folder, &head));
    }

    fn carry_out(&mut self, order: &Order) -> Report {
        let report = Report { number: order.number, ..Report::default() };
        let refused = |why: &str| {
            tracing::warn!("refused an order of rank 0: {why}");
            let told = order.peers.iter().map(|peer| Told {
                peer: *peer,
                error: Some(ErrorKind::Refused),
                ..Told::default()
            });
            Report { told: told.collect(), ..report.clone() }
        };
        if !self.may(order.task) {
            return refused("it is for a pattern that was not typed here");
        }
        if order.plane as usize >= self.mesh.planes() {
            return refused("it is for a plane that is not known here");
        }
        if !has_peers_of_such_a_task(order, self.mesh.place.size) {
            return refused("no such task has these peers");
        }
        if order.task == Task::Knock {
            self.knock(order.plane);
            return Report { heard: self.knocks.heard(order.plane), ..report };
        }
        let mut known = Vec::new();
        let mut told = Vec::new();
        for peer in &order.peers {
            match self.peer(*peer, order.plane) {
                Some(peer) => known.push(peer),
                None => told.push(Told { peer: *peer, error: Some(ErrorKind::Refused), ..Told::default() }),
            }
        }
        let own = self
            .row(self.mesh.place.rank)
            .and_then(|row| row.addresses.get(order.plane as usize).copied()?);
        let asked = measure::Asked {
            task: order.task,
            number: order.number,
            own,
            peers: known,
            mesh: self.mesh,
            observed: &self.observed,
            registry: &self.registry,
            interrupt: self.interrupt,
        };
        let (mut measured, common) = asked.measure();
        measured.extend(told);
        Report { told: measured, common, ..report }
    }

    /// Whether this rank's own user asked for such a thing.
    fn may(&self, task: Task) -> bool {
        let has = |pattern| self.mesh.settings.patterns.contains(&pattern);
        match task {
            Task::Knock | Task::Survey | Task::Send | Task::Fetch | Task::Drip => true,
            Task::Exchange => has(Pattern::Bisect),
            Task::Gather | Task::Latency => has(Pattern::Incast) || has(Pattern::Outcast),
            Task::Spread => has(Pattern::Outcast),
        }
    }

    fn row(&self, rank: u32) -> Option<&Row> {
        self.rows.iter().find(|row| row.rank == rank)
    }

    /// Another rank, where it may be dialled.
    fn peer(&self, rank: u32, plane: u32) -> Option<Partner> {
        let row = self.row(rank).filter(|_| rank != self.mesh.place.rank)?;
        let address = row.addresses.get(plane as usize).copied()??;
        may_be_dialled(address, self.rank_0, &self.mesh.nets).then(|| Partner {
            rank,
            address,
            port: row.port,
            token: row.token.clone(),
        })
    }

    fn knock(&self, plane: u32) {
        let others = self.rows.iter().filter_map(|row| self.peer(row.rank, plane));
        let others: Vec<Partner> = others.collect();
        for _ in 0..WORDS.0 {
            for peer in &others {
                self.knocks.say(at(peer.address, peer.port), &peer.token, plane, self.mesh.place.rank);
            }
            if self.interrupt.pause(WORDS.1).is_err() {
                return;
            }
        }
        let _ = self.interrupt.pause(LINGER);
    }
}
