//! The lines of all ranks, as rank 0 has them: who came, who said something, who is gone.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use crossbeam_channel::{Receiver, Sender, bounded};
use pathproof_engine::mesh::message::{FROM_RANK_BYTES_MAX, FromRank, Hello, Order, Report, ToRank};
use pathproof_model::Limits;

use super::Mesh;
use super::line::{self, Speaker};
use crate::host;
use crate::secure::SecureReader;
use crate::serve::{Listening, Settings};
use pathproof_sys::clock::Deadline;

/// News that wait to be read, before lines are read no further.
const NEWS: usize = 256;
/// Connections beside those of the ranks: of ranks that come twice.
const MORE: u32 = 16;
/// Whoever has proved the key says within this who it is, or gives its place to somebody else.
const HELLO: Duration = Duration::from_secs(10);
/// Words of rank 0 in a row that a rank may leave without an answer.
const UNANSWERED_MAX: u32 = 5;

/// What happened on a line.
pub enum News {
    /// Somebody introduced himself.
    Came(Box<Came>),
    /// A report.
    Said {
        /// The line.
        line: u64,
        /// What it says.
        report: Report,
    },
    /// A rank says that it is there.
    Still {
        /// The line.
        line: u64,
    },
    /// A line ended.
    Lost {
        /// The line.
        line: u64,
        /// How, in words.
        why: String,
    },
}

/// Somebody who came.
pub struct Came {
    /// The line.
    pub line: u64,
    /// Who it says that it is.
    pub hello: Hello,
    /// To answer.
    pub speaker: Speaker,
    /// Where it came from.
    pub from: SocketAddr,
    /// The address at which it found rank 0.
    pub local: SocketAddr,
}

impl Came {
    /// The name of its host, or where it came from.
    pub fn host(&self) -> String {
        name(&self.hello, self.from)
    }

    /// Tells it that it has no place.
    pub fn send_away(mut self, why: &str) {
        let _ = self.speaker.say(&ToRank::Refused(why.into()));
    }
}

/// A rank that is there.
pub struct Link {
    /// The line.
    pub line: u64,
    /// How it introduced itself.
    pub hello: Hello,
    /// Where it came from.
    pub from: SocketAddr,
    /// The address at which it found rank 0.
    pub local: SocketAddr,
    speaker: Speaker,
    /// Orders on which it has not reported.
    owed: u32,
    /// Words of rank 0 since it was heard.
    unanswered: u32,
}

impl Link {
    /// The name of its host, or where it came from.
    pub fn host(&self) -> String {
        name(&self.hello, self.from)
    }
}

fn name(hello: &Hello, from: SocketAddr) -> String {
    hello.environment.hostname.clone().unwrap_or_else(|| from.ip().to_string())
}

/// All lines.
pub struct Links {
    news: Receiver<News>,
    /// The ranks that are there.
    pub ranks: BTreeMap<u32, Link>,
    /// Where rank 0 listens.
    pub addresses: Vec<SocketAddr>,
}

impl Links {
    /// Listens for ranks.
    pub fn open(mesh: &Mesh) -> Result<Links> {
        let (sender, news) = bounded(NEWS);
        let lines = AtomicU64::new(0);
        let clock = mesh.clock.clone();
        let instead = move |(writer, reader), local: SocketAddr, from: SocketAddr| {
            let line = lines.fetch_add(1, Ordering::Relaxed);
            let hello_by = clock.deadline(HELLO);
            attend(line, Speaker::new(writer), (reader, hello_by), (local, from), &sender);
        };
        let settings = Settings {
            access: mesh.access.clone(),
            limits: Limits { clients: mesh.place.size + MORE, ..Limits::default() },
            device: None,
            observe: Arc::new(host::observe),
            clock: mesh.clock.clone(),
            tells: false,
            grace: Default::default(),
        };
        let listening = Listening::for_another(mesh.meeting.port(), settings, Arc::new(instead))
            .context("rank 0 cannot listen where the others are to meet it; name another port with --rendezvous HOST:PORT")?;
        let addresses = listening.addresses();
        listening.run_in_background();
        Ok(Links { news, ranks: BTreeMap::new(), addresses })
    }

    /// What happens next, within a time.
    pub fn news(&self, within: Duration) -> Option<News> {
        self.news.recv_timeout(within).ok()
    }

    /// The rank of a line, while it is there.
    pub fn rank_of(&self, line: u64) -> Option<u32> {
        self.ranks.iter().find(|(_, link)| link.line == line).map(|(rank, _)| *rank)
    }

    /// Takes in who came; `Err` with the words that it hears where it has no place.
    pub fn take_in(&mut self, came: Came, mesh: &Mesh) -> Result<u32, String> {
        let Came { line, hello, mut speaker, from, local } = came;
        let why = refusal(&hello, mesh, self.ranks.get(&hello.rank));
        if let Some(why) = why {
            let _ = speaker.say(&ToRank::Refused(why.clone()));
            return Err(why);
        }
        let rank = hello.rank;
        self.ranks.insert(rank, Link { line, hello, from, local, speaker, owed: 0, unanswered: 0 });
        Ok(rank)
    }

    /// Says something to a rank; whether it could be said.
    pub fn say(&mut self, rank: u32, message: &ToRank) -> bool {
        self.ranks.get_mut(&rank).is_some_and(|link| link.speaker.say(message).is_ok())
    }

    /// Gives an order to a rank; whether it could be said.
    pub fn order(&mut self, rank: u32, order: Order) -> bool {
        let said = self.say(rank, &ToRank::Order(order));
        if let Some(link) = self.ranks.get_mut(&rank) {
            link.owed += u32::from(said);
        }
        said
    }

    /// A report came: from whom, and whether one was asked for.
    pub fn reported(&mut self, line: u64) -> Option<(u32, bool)> {
        let (rank, link) = self.ranks.iter_mut().find(|(_, link)| link.line == line)?;
        let asked = link.owed > 0;
        link.owed = link.owed.saturating_sub(1);
        link.unanswered = 0;
        Some((*rank, asked))
    }

    /// A rank says that it is there.
    pub fn heard(&mut self, line: u64) {
        if let Some(link) = self.ranks.values_mut().find(|link| link.line == line) {
            link.unanswered = 0;
        }
    }

    /// Tells all that rank 0 is there: those to whom it could not be said, and those that leave it without an answer each time.
    pub fn still(&mut self) -> (Vec<u32>, Vec<u32>) {
        let silent = self.ranks.iter().filter(|(_, link)| link.unanswered >= UNANSWERED_MAX);
        let silent: Vec<u32> = silent.map(|(rank, _)| *rank).collect();
        let gone = self.say_to_all(&ToRank::Still);
        self.ranks.values_mut().for_each(|link| link.unanswered += 1);
        (gone, silent)
    }

    /// Whether all that are there have been heard since they were last told that rank 0 is.
    pub fn have_all_answered(&self) -> bool {
        self.ranks.values().all(|link| link.unanswered == 0)
    }

    /// Says something to all; those to whom it could not be said.
    pub fn say_to_all(&mut self, message: &ToRank) -> Vec<u32> {
        let ranks: Vec<u32> = self.ranks.keys().copied().collect();
        ranks.into_iter().filter(|rank| !self.say(*rank, message)).collect()
    }
}

/// Why somebody has no place here.
fn refusal(hello: &Hello, mesh: &Mesh, there: Option<&Link>) -> Option<String> {
    let rank = hello.rank;
    let (here, size) = (&mesh.place, hello.size);
    if hello.version != pathproof_engine::mesh::message::VERSION {
        return Some("rank 0 is of another build; use one build on all hosts".into());
    }
    if size != here.size || rank >= here.size {
        return Some(format!(
            "this is rank {rank} of {size}, and rank 0 was started as one of {}; are two jobs at one meeting place?",
            here.size
        ));
    }
    if hello.settings != mesh.settings {
        return Some(format!(
            "rank {rank} was started with other options than rank 0; start all ranks with the same command line"
        ));
    }
    there.map(|there| {
        format!(
            "rank {rank} came twice: {} ({}) has it already; {}",
            there.host(),
            there.from.ip(),
            here.engine.when_twice()
        )
    })
}

/// One line, on its own thread, from the first word to its end.
fn attend(
    line: u64,
    speaker: Speaker,
    (reader, hello_by): (SecureReader, Deadline),
    (local, from): (SocketAddr, SocketAddr),
    sender: &Sender<News>,
) {
    let mut speaker = Some(speaker);
    let why = line::read::<FromRank>(reader, FROM_RANK_BYTES_MAX, Some(hello_by), |message| {
        let news = match (message, speaker.take()) {
            (FromRank::Hello(hello), Some(speaker)) => {
                News::Came(Box::new(Came { line, hello: *hello, speaker, from, local }))
            }
            (FromRank::Report(report), None) => News::Said { line, report },
            (FromRank::Still, None) => News::Still { line },
            // Out of turn: it is no rank of ours.
            (FromRank::Hello(_) | FromRank::Report(_) | FromRank::Still, _) => return false,
        };
        sender.send(news).is_ok()
    });
    let _ = sender.send(News::Lost { line, why });
}
