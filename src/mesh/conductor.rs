//! Rank 0: waits for the others, says who measures with whom, and keeps the document.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use crossbeam_channel::bounded;
use pathproof_api::{Clock, Tick};
use pathproof_engine::mesh::message::{Order, Report, Row, ToRank};
use pathproof_engine::mesh::{Errand, Ledger, Made};
use pathproof_model::mesh::{MeshDoc, RoundKind};
use pathproof_model::{ErrorKind, StepError};
use pathproof_report::harmless_json;

use super::links::{Came, Link, Links, News};
use super::rank;
use super::rendezvous::Meeting;
use super::{Addresses, Mesh};
use crate::interrupt::{self, Interrupt};
use crate::terminal;

/// How often rank 0 says that it is there, at least; and six times within the limit of a round, so that who answers nothing for so long is
/// missed.
const STILL: Duration = Duration::from_secs(5);
/// How often it looks whether the user wants to stop.
const LOOK: Duration = Duration::from_millis(200);
/// How much longer than its limit an order is waited for: the report crosses, and the host may be busy.
const REPORT: Duration = Duration::from_secs(5);
/// Rounds in which a rank may be late before it is taken for one that hangs.
const LATE_MAX: u32 = 2;
/// How long rank 0's own part may take to end.
const LEAVE: Duration = Duration::from_secs(10);
/// How often people hear how far it is.
const TOLD: Duration = Duration::from_secs(10);
/// Ranks that are listed by their numbers.
const LISTED_MAX: usize = 32;

/// A mesh under way.
pub(super) struct Conductor<'a> {
    /// What was typed.
    pub mesh: &'a Mesh,
    /// What became known so far.
    pub ledger: Ledger,
    interrupt: &'a Interrupt,
    links: Links,
    begun: Tick,
    said: Tick,
    told: Tick,
    late: BTreeMap<u32, u32>,
}

/// Conducts a mesh from the first rank to the last word.
pub(super) fn conduct(mesh: &Mesh, interrupt: &Interrupt) -> Result<MeshDoc> {
    let links = Links::open(mesh)?;
    let port = links.addresses.first().context("rank 0 listens nowhere")?.port();
    // Rank 0 is a rank like the others, and finds itself by loopback.
    let v6_alone = links.addresses.iter().all(|address| address.is_ipv6());
    let own = Meeting::Host { host: if v6_alone { "::1" } else { "127.0.0.1" }.into(), port };
    std::thread::scope(|scope| {
        let (ended, own_end) = bounded(1);
        scope.spawn(move || {
            let _ = ended.send(rank::take_part(mesh, &own, interrupt));
        });
        publish(mesh, port)?;
        let mut conductor = Conductor::new(mesh, interrupt, links);
        let gathered = conductor.gather(|| own_end.try_recv().ok().and_then(Result::err));
        mesh.meeting.withdraw();
        let done = gathered.map(|()| conductor.measure());
        conductor.links.say_to_all(&ToRank::Bye);
        // Its lines end with it, and those of the ranks with those.
        let doc = conductor.finish();
        let _ = own_end.recv_timeout(LEAVE);
        done.map(|()| doc)
    })
}

/// Writes where rank 0 is, with every address that others may reach.
fn publish(mesh: &Mesh, port: u16) -> Result<()> {
    let environment = crate::host::observe().environment;
    let is_link_local = |ip: &IpAddr| matches!(ip, IpAddr::V6(v6) if v6.segments()[0] & 0xffc0 == 0xfe80);
    let addresses =
        environment.nics.iter().filter(|nic| nic.up != Some(false)).flat_map(|nic| &nic.addresses);
    let mut known: Vec<IpAddr> =
        addresses.map(|known| known.address).filter(|ip| !is_link_local(ip)).collect();
    // Those that lead to other hosts first.
    known.sort_by_key(IpAddr::is_loopback);
    let known: Vec<_> = known.into_iter().map(|ip| super::at(ip, port)).collect();
    mesh.meeting.publish(&known)
}

impl<'a> Conductor<'a> {
    fn new(mesh: &'a Mesh, interrupt: &'a Interrupt, links: Links) -> Conductor<'a> {
        let begun = mesh.clock.now();
        let ledger = Ledger::new(MeshDoc {
            tool: crate::run::tool(),
            started_at: crate::wall::now_rfc3339(),
            ..MeshDoc::new(mesh.place.size, mesh.settings.clone(), &mesh.net_names)
        });
        Conductor { mesh, ledger, interrupt, links, begun, said: begun, told: begun, late: BTreeMap::new() }
    }

    /// Waits until all are there, or for as long as was said.
    fn gather(&mut self, own_failed: impl Fn() -> Option<anyhow::Error>) -> Result<()> {
        let (size, until) = (self.mesh.place.size, self.mesh.clock.deadline(self.mesh.wait));
        while self.links.ranks.len() < size as usize && !until.is_over() {
            if let Some(why) = own_failed() {
                return Err(why);
            }
            super::stopped(self.interrupt)?;
            self.still();
            match self.links.news(LOOK.min(until.left())) {
                Some(News::Came(came)) => self.welcome(*came),
                // Before the mesh has begun it may come again.
                Some(News::Lost { line, why }) => self.let_go(line, &why),
                Some(News::Still { line }) => self.links.heard(line),
                Some(News::Said { line, .. }) => self.let_go(line, "it reported before anything was asked"),
                None => {}
            }
        }
        self.name_the_missing();
        if self.links.ranks.len() < 2 {
            bail!(
                "{}",
                self.ledger
                    .doc
                    .dead
                    .first()
                    .map_or("nobody came; see what the other ranks printed", |dead| &dead.reason)
            );
        }
        self.introduce();
        Ok(())
    }

    fn welcome(&mut self, came: Came) {
        let host = came.host();
        match self.links.take_in(came, self.mesh) {
            Ok(rank) => tracing::info!(rank, host, "came"),
            Err(why) => self.note(format!("{host} was sent away: {why}")),
        }
    }

    fn let_go(&mut self, line: u64, why: &str) {
        if let Some(rank) = self.links.rank_of(line) {
            self.links.ranks.remove(&rank);
            tracing::warn!(rank, "left before the mesh began: {why}");
        }
    }

    /// Who never came, with what that is like.
    fn name_the_missing(&mut self) {
        let size = self.mesh.place.size;
        let missing: Vec<u32> = (0..size).filter(|rank| !self.links.ranks.contains_key(rank)).collect();
        if missing.is_empty() {
            return;
        }
        let listed: Vec<String> = missing.iter().take(LISTED_MAX).map(u32::to_string).collect();
        let more = if missing.len() > LISTED_MAX { " …" } else { "" };
        let said = format!(
            "{} of {size} ranks came within {} s, missing: {}{more}. {}; else look whether those hosts reach rank 0",
            self.links.ranks.len(),
            self.mesh.wait.as_secs(),
            listed.join(" "),
            self.mesh.place.engine.when_missing(size)
        );
        terminal::say(&said);
        for rank in missing {
            self.ledger.lose(rank, None, format!("it never came; {said}"));
        }
    }

    /// Tells all where the others are, and puts what they said of themselves into the document.
    fn introduce(&mut self) {
        let home = self.home();
        let mut rows = Vec::new();
        for (rank, link) in &self.links.ranks {
            let addresses = self.addresses(link, home);
            let host = link.host();
            self.ledger.enter(
                (*rank, host.clone()),
                self.mesh.group(*rank, &host),
                &link.hello.environment,
                &addresses,
            );
            let (port, token) = (link.hello.port, link.hello.token.clone());
            rows.push(Row { rank: *rank, addresses, port, token });
        }
        self.ledger.compare();
        self.name_who_share_a_host(home);
        for rank in self.links.say_to_all(&ToRank::Table(rows)) {
            self.lose(rank, "its line ended");
        }
        self.keep();
    }

    /// Ranks that an engine put on one host measure that host's own memory. On loopback all do, and are meant to.
    fn name_who_share_a_host(&mut self, home: IpAddr) {
        let mut hosts = BTreeMap::<(IpAddr, String), Vec<u32>>::new();
        for (rank, link) in &self.links.ranks {
            let from = Some(link.from.ip()).filter(|from| !from.is_loopback()).unwrap_or(home);
            if !from.is_loopback() {
                hosts.entry((from, link.host())).or_default().push(*rank);
            }
        }
        let engine = self.mesh.place.engine;
        for ((_, host), ranks) in hosts.into_iter().filter(|(_, ranks)| ranks.len() > 1) {
            let listed: Vec<String> = ranks.iter().take(LISTED_MAX).map(u32::to_string).collect();
            self.note(format!(
                "{} ranks are on {host}: {}. What they measure among them is no network; one rank a host, please ({})",
                ranks.len(),
                listed.join(" "),
                engine.one_a_host()
            ));
        }
    }

    /// This host's address, as the others found it.
    fn home(&self) -> IpAddr {
        let others = self.links.ranks.iter().filter(|(rank, _)| **rank != 0).map(|(_, link)| link.local.ip());
        let mut found: Vec<IpAddr> = others.collect();
        found.sort_by_key(IpAddr::is_loopback);
        found.first().copied().unwrap_or(IpAddr::from([127, 0, 0, 1]))
    }

    /// A rank's address on each plane: one of its own within the network that was named, else where it came from.
    fn addresses(&self, link: &Link, home: IpAddr) -> Addresses {
        if self.mesh.nets.is_empty() {
            let from = link.from.ip();
            return vec![Some(if from.is_loopback() { home } else { from })];
        }
        let own =
            || link.hello.environment.nics.iter().flat_map(|nic| &nic.addresses).map(|known| known.address);
        self.mesh.nets.iter().map(|net| own().find(|address| net.contains(*address))).collect()
    }

    /// The ranks that are there.
    pub fn alive(&self) -> Vec<u32> {
        self.links.ranks.keys().copied().collect()
    }

    /// Whether the mesh is to end now.
    pub fn is_stopped(&self) -> bool {
        self.ledger.doc.error.is_some()
    }

    /// One round: all errands at once, and what came of them by rank. Whoever does not answer costs what it was to measure.
    pub fn round(
        &mut self,
        kind: RoundKind,
        plane: usize,
        mut errands: Vec<Errand>,
    ) -> BTreeMap<u32, Report> {
        errands.retain(|errand| self.links.ranks.contains_key(&errand.rank));
        if errands.is_empty() || self.is_stopped() {
            return BTreeMap::new();
        }
        let number = self.ledger.next_round();
        let started = self.mesh.clock.now();
        let mut awaited = BTreeSet::new();
        for errand in &errands {
            let Errand { rank, task, peers } = errand.clone();
            let order = Order { number, plane: plane as u32, kind, task, peers };
            if self.links.order(rank, order) {
                awaited.insert(rank);
            } else {
                self.lose(rank, "its line ended");
            }
        }
        let reports = self.reports(number, &mut awaited);
        if !self.is_stopped() {
            for rank in awaited {
                self.is_late(rank);
            }
        }
        let made = Made {
            kind,
            plane,
            errands,
            reports,
            started_ns: started.ns_since(self.begun),
            elapsed_ns: self.mesh.clock.now().ns_since(started),
        };
        self.ledger.take_in(&made);
        self.keep();
        self.tell_how_far();
        made.reports
    }

    /// The reports of a round; who did not report stays in `awaited`.
    fn reports(&mut self, number: u32, awaited: &mut BTreeSet<u32>) -> BTreeMap<u32, Report> {
        let until = self.mesh.clock.deadline(self.mesh.order_limit() + REPORT);
        let mut reports = BTreeMap::new();
        while !awaited.is_empty() && !until.is_over() && self.goes_on() {
            // One of a round that is over is waited for by nobody any more.
            let told = self.hear(LOOK.min(until.left())).filter(|(_, report)| report.number == number);
            if let Some((rank, report)) = told
                && awaited.remove(&rank)
            {
                self.late.remove(&rank);
                reports.insert(rank, report);
            }
            awaited.retain(|rank| self.links.ranks.contains_key(rank));
        }
        reports
    }

    /// Whether the user lets it go on; and all hear that rank 0 is there.
    fn goes_on(&mut self) -> bool {
        if self.interrupt.is_raised() {
            self.ledger.doc.error.get_or_insert_with(interrupt::error);
            return false;
        }
        self.still();
        true
    }

    /// What happens next, within a time: a report, where it is one that was asked for.
    fn hear(&mut self, within: Duration) -> Option<(u32, Report)> {
        match self.links.news(within)? {
            News::Said { line, report } => match self.links.reported(line)? {
                (rank, true) => return Some((rank, report)),
                (rank, false) => self.lose(rank, "it reported what nobody had asked it for"),
            },
            News::Still { line } => self.links.heard(line),
            News::Lost { line, why } => {
                if let Some(rank) = self.links.rank_of(line) {
                    self.lose(rank, &why);
                }
            }
            News::Came(came) => {
                let (host, rank) = (came.host(), came.hello.rank);
                // Late, or twice: in both cases the table is out.
                came.send_away(
                    "the mesh has begun without this rank; start all ranks within --wait of each other, and each once",
                );
                self.note(format!("{host} came as rank {rank} after the mesh had begun, and was sent away"));
            }
        }
        None
    }

    /// Waits until all have said that they are there, or are taken for ones that hang: a rank that is only asked by others is missed by
    /// nobody else, and what it did not answer would be held against those that asked.
    pub fn call_the_roll(&mut self) {
        self.say_still();
        while self.goes_on() && !self.links.have_all_answered() {
            // No order is out: whoever reports now was late.
            let _ = self.hear(LOOK);
        }
    }

    /// A rank that did not report in time.
    fn is_late(&mut self, rank: u32) {
        let late = self.late.entry(rank).or_default();
        *late += 1;
        if *late >= LATE_MAX {
            let limit = self.mesh.order_limit().as_secs();
            self.lose(rank, &format!("it hangs: it did not report within {limit} s, twice in a row"));
        }
    }

    fn still(&mut self) {
        if self.mesh.clock.now() >= self.said + STILL.min(self.mesh.order_limit() / 6) {
            self.say_still();
        }
    }

    fn say_still(&mut self) {
        self.said = self.mesh.clock.now();
        let (gone, silent) = self.links.still();
        for rank in gone {
            self.lose(rank, "its line ended");
        }
        for rank in silent {
            self.lose(rank, "it hangs: its connection stands, and it answers nothing");
        }
    }

    fn tell_how_far(&mut self) {
        let now = self.mesh.clock.now();
        if now < self.told + TOLD {
            return;
        }
        self.told = now;
        let rounds = self.ledger.doc.rounds.len();
        let passed_s = now.ns_since(self.begun) / 1_000_000_000;
        terminal::say(format!(
            "{rounds} rounds in {passed_s} s; about {} s are left before suspects are measured again",
            self.ledger.left_ns() / 1_000_000_000
        ));
    }

    /// A rank that is gone. Where the user stopped everything, that is no fault of its own.
    fn lose(&mut self, rank: u32, why: &str) {
        if self.links.ranks.remove(&rank).is_none() || self.interrupt.is_raised() {
            return;
        }
        let round = self.ledger.next_round();
        terminal::say(format!("rank {rank} was lost in round {round}: {why}"));
        self.ledger.lose(rank, Some(round), why.to_owned());
    }

    fn note(&mut self, said: String) {
        terminal::say(&said);
        self.ledger.note(said);
    }

    /// Writes the document as far as it goes.
    pub fn keep(&self) {
        let Some(file) = self.mesh.file.as_ref().filter(|file| file.is_file()) else { return };
        if let Err(error) = file.write_json(json(&self.ledger.doc).as_bytes()) {
            tracing::warn!("{error:#}");
        }
    }

    /// The document, finished and written.
    fn finish(self) -> MeshDoc {
        let mut doc = self.ledger.doc;
        doc.ended_at = Some(crate::wall::now_rfc3339());
        doc.conclude();
        if doc.error.as_ref().is_some_and(|error| error.kind.is_interruption()) {
            doc.exit_code = Some(interrupt::exit_code());
        }
        let written = self.mesh.file.as_ref().map_or(Ok(()), |file| file.write_json(json(&doc).as_bytes()));
        if let Err(error) = written {
            doc.error.get_or_insert(StepError::new(ErrorKind::System, format!("{error:#}")));
            doc.conclude();
        }
        doc
    }
}

/// The document as it is written.
pub fn json(doc: &MeshDoc) -> String {
    harmless_json(&serde_json::to_string(doc).unwrap_or_default()) + "\n"
}
