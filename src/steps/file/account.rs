//! Puts what came of a file into the step: figures, channels, NICs. Asks nobody anything.

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::Ordering;

use pathproof_api::{LoanForm, MessagePipe, TcpConnection};
use pathproof_engine::record::LatencyHistogram;
use pathproof_model::{
    DirectChannel, DirectKeys, Direction, End, ErrorKind, FileDetail, FileDirect, FileOver, FileRate,
    FileSpec, Finding, HistogramName, KeyOf, LaneResult, LaneRole, NicShare, NodeId, RdmaEnd, RdmaProof,
    ResultDoc, Step, StepError, Summary,
};
use pathproof_rdma::Sysfs;
use pathproof_rdma::proof::Snapshot;
use pathproof_smb2::connection::{Connection, Protection};
use pathproof_smb2::share::Session;
use pathproof_smb2::{Cipher, SigningAlgorithm};

use super::Made;
use super::carrier::Link;
use super::lane::{Carried, Channel, KeyEnds, Pool, Tally};
use super::lent::Lent;
use super::open::sentence;
use crate::steps::lane_record;

/// What the RDMA devices of this host had counted before the first connection; nothing where none is to be used.
pub struct Counted(Option<Snapshot>);

impl Counted {
    /// Before a step over this.
    pub fn before(over: FileOver) -> Counted {
        Counted((over == FileOver::Smbd).then(|| Snapshot::take(&Sysfs::default())))
    }

    /// What carried so much file data, as far as the device counted it.
    fn proof(&self, direct: &FileDirect, port: u8, data_bytes: u64) -> Option<RdmaProof> {
        let carried = Snapshot::take(&Sysfs::default()).since(self.0.as_ref()?, &direct.device, port);
        let end = RdmaEnd {
            end: End::Client,
            device: direct.device.clone(),
            port,
            fabric: direct.fabric,
            application_bytes: Some(data_bytes),
            ..RdmaEnd::default()
        };
        Some(RdmaProof::weigh(vec![match carried {
            None => end,
            Some(carried) => RdmaEnd {
                netdev: carried.netdev,
                device_bytes: carried.bytes,
                device_bytes_source: carried.bytes_source.map(Into::into),
                device_packets: carried.packets,
                counters: carried.moved,
                ..end
            },
        }]))
    }
}

/// Both ends of a channel, what it goes over, and the NIC of this end.
struct Ends {
    over: FileOver,
    local: Option<String>,
    remote: SocketAddr,
    nic: Option<String>,
}

impl Ends {
    /// The channel of this number, before anything is known of what it carried.
    fn lane(&self, at: usize, spec: &FileSpec) -> LaneResult {
        LaneResult {
            lane: at as u32,
            end: End::Client,
            role: role(spec),
            over: Some(self.over),
            local: self.local.clone(),
            remote: Some(self.remote.to_string()),
            nics: self.nic.iter().cloned().collect(),
            ..LaneResult::default()
        }
    }
}

/// What is known before anything moves.
pub struct Account {
    detail: FileDetail,
    ends: Vec<Ends>,
    /// Port of the RDMA device.
    port: u8,
    missing: Vec<(SocketAddr, String)>,
}

impl Account {
    /// `links` are all connections of the session, the one that it began with first, also where it carries no data; `lent` is the memory of one that
    /// does.
    pub fn of(
        session: &Session,
        links: &[&Link],
        lent: Option<&Lent>,
        path: &str,
        (missing, in_messages): (Vec<(SocketAddr, String)>, Option<String>),
        doc: &ResultDoc,
    ) -> Account {
        let agreed = &session.agreed;
        let protection = match session.protection {
            Protection::Open => "none".into(),
            Protection::Signed => {
                format!("signed by {}", agreed.signing.unwrap_or(SigningAlgorithm::AES_CMAC))
            }
            Protection::Sealed => format!("encrypted by {}", agreed.cipher.unwrap_or(Cipher::AES_128_CCM)),
        };
        let nic = |address: IpAddr| {
            let here = doc.environment(NodeId::CLIENT)?;
            let of = |nic: &&pathproof_model::environment::Nic| {
                nic.addresses.iter().any(|own| own.address == address.to_canonical())
            };
            here.nics.iter().find(of).map(|nic| nic.name.clone())
        };
        let ends = links.iter().map(|link| Ends {
            over: link.pipe().kind().over(),
            local: link.pipe().local_name(),
            remote: link.address(),
            nic: link.pipe().local().and_then(nic),
        });
        let first = links.first();
        let adapter = links.iter().find_map(|link| Some((link.pipe().limits(), link.pipe().adapter()?)));
        let direct = adapter.map(|(limits, adapter)| FileDirect {
            device: adapter.device.clone(),
            fabric: lane_record::fabric(adapter.fabric),
            in_messages,
            channel: lent.map(|lent| match lent.form() {
                Some(_) => DirectChannel::V1Invalidate,
                None => DirectChannel::V1,
            }),
            one_sided_bytes_max: limits.one_sided_bytes_max.unwrap_or(0),
            message_bytes_max: limits.send_bytes_max,
            ..FileDirect::default()
        });
        Account {
            port: adapter.map_or(0, |(_, adapter)| adapter.port),
            detail: FileDetail {
                address: first.map_or_else(String::new, |first| first.address().to_string()),
                dialect: agreed.dialect.to_string(),
                protection,
                max_read_bytes: agreed.max_read_bytes.into(),
                max_write_bytes: agreed.max_write_bytes.into(),
                name: path.replace('\\', "/"),
                direct,
                ..FileDetail::default()
            },
            ends: ends.collect(),
            missing,
        }
    }

    /// `begun` is what the kernel counted of a connection that the session began with and that carried no data.
    pub fn fill(
        mut self,
        step: &mut Step,
        spec: &FileSpec,
        pool: &Pool,
        (begun, channels): (Option<TcpConnection>, Vec<Channel>),
        made: &Made,
        before: Counted,
    ) -> Vec<Finding> {
        let mut findings = vec![];
        let window_ns = made.window.map(|window| window.end.ns_since(window.start)).filter(|ns| *ns > 0);
        let mut whole = Whole { cpu_ns: Some(0), ..Whole::default() };
        let ends = std::mem::take(&mut self.ends);
        let carry_nothing = ends.len().saturating_sub(channels.len());
        let mut channels = channels.into_iter();
        for (at, ends) in ends.iter().enumerate() {
            let lane = LaneResult { window_ns: window_ns.unwrap_or(0), ..ends.lane(at, spec) };
            if at < carry_nothing {
                Account::share(ends.nic.as_deref(), (0, 0), 0, step);
                step.lanes.push(LaneResult { connection: begun.map(lane_record::connection), ..lane });
            } else if let Some(channel) = channels.next() {
                whole.add(&channel.tally);
                findings.extend(self.channel(channel, ends, lane, made, step));
            }
        }
        findings.extend(self.direct(&whole.keys, &before, step));
        for (at, (address, why)) in self.missing.iter().enumerate() {
            step.chosen.insert(format!("no channel {}", at + 1), format!("{address}: {why}"));
        }
        let wrong = pool.wrong_blocks.load(Ordering::Acquire);
        let stale = pool.stale_blocks.load(Ordering::Acquire);
        let first_wrong = pool.first_wrong.load(Ordering::Acquire);
        if stale > 0 && self.detail.channels_lost > 0 {
            let evidence = format!(
                "{}: {}: {stale} of {wrong} pieces that are wrong hold what had been written there before, and a channel was lost {}",
                step.name,
                self.detail.address,
                Times(self.detail.channels_lost)
            );
            findings.push(Finding::new("SMB-LATE-WRITE", evidence));
        }
        for (name, way) in [(HistogramName::Read, &whole.read), (HistogramName::Write, &whole.write)] {
            if way.service.count() > 0 {
                step.histograms.push(way.service.to_record(name, None));
            }
        }
        let verified = match wrong {
            0 if !made.checked => None,
            wrong => Some(wrong == 0),
        };
        step.direction = Some(match (spec.reads, spec.writes) {
            (0, _) => Direction::Out,
            (_, 0) => Direction::In,
            _ => Direction::Both,
        });
        step.summary = Summary { verified, ..whole.summary(window_ns) };
        step.detail.file = Some(FileDetail {
            read: whole.read.rate(window_ns),
            write: whole.write.rate(window_ns),
            compared_bytes: pool.compared_bytes.load(Ordering::Acquire),
            wrong_blocks: wrong,
            stale_blocks: stale,
            first_wrong_byte: (first_wrong != u64::MAX).then_some(first_wrong),
            flush_ns: made.flush_ns,
            replayed_requests: pool.replayed.load(Ordering::Acquire).into(),
            ..self.detail
        });
        findings
    }

    /// Puts one channel into the step, as `lane`. One that stayed away is a finding.
    fn channel(
        &mut self,
        channel: Channel,
        ends: &Ends,
        lane: LaneResult,
        made: &Made,
        step: &mut Step,
    ) -> Option<Finding> {
        let (tally, at) = (channel.tally, lane.lane);
        if let (Some(direct), Some(messages)) = (&mut self.detail.direct, tally.messages) {
            direct.placed_bytes += tally.placed_bytes;
            direct.sent_bytes += messages.sent_bytes;
            direct.received_bytes += messages.received_bytes;
            direct.fragments += messages.fragments;
        }
        let local = channel.connection.as_ref().and_then(|link| link.pipe().local_name());
        let stats = channel.connection.map(Connection::close).unwrap_or_default();
        let absence = channel.absence.as_ref();
        // One that had no time to come back, because all was broken off, is not said to stay away.
        let error = absence.filter(|_| made.error.is_none()).map(|absence| {
            let message = match &absence.again {
                Some(again) => {
                    format!("{}; and not made again: {}", sentence(&absence.error), sentence(again))
                }
                None => sentence(&absence.error),
            };
            StepError::new(ErrorKind::PeerLost, message)
        });
        let moved = (tally.write.bytes, tally.read.bytes);
        Account::share(ends.nic.as_deref(), moved, channel.losses, step);
        step.lanes.push(LaneResult {
            local: local.or(lane.local),
            bytes: tally.read.bytes + tally.write.bytes,
            messages: tally.read.operations + tally.write.operations,
            cpu_ns: tally.cpu_ns,
            connection: stats.connection.map(lane_record::connection),
            service_ns: service(&tally.read, &tally.write).summary(),
            error: error.clone(),
            ..lane
        });
        let returned = channel.losses - u32::from(absence.is_some());
        self.detail.channels_lost += channel.losses;
        self.detail.channels_returned += returned;
        if let Some(why) = channel.last_error {
            let back = match returned {
                0 => String::new(),
                times => format!(
                    ", made again {} within {:.1} s",
                    Times(times),
                    channel.longest_away.as_secs_f64()
                ),
            };
            let why = error.as_ref().map_or(why, |error| error.message.clone());
            step.chosen
                .insert(format!("channel {at}"), format!("lost {}{back}: {why}", Times(channel.losses)));
        }
        let error = error?;
        let evidence = format!("{}: channel {at} to {}: {}", step.name, ends.remote, error.message);
        Some(Finding::new("SMB-CHANNEL-LOST", evidence))
    }

    /// What carried the data over SMB Direct, and what became of the keys of its memory: a finding where some lived on.
    fn direct(&mut self, keys: &KeyEnds, before: &Counted, step: &mut Step) -> Option<Finding> {
        let direct = self.detail.direct.as_mut()?;
        // In messages the payload holds the data; beside them there is only what the server moved by itself.
        let data_bytes = match direct.in_messages {
            Some(_) => direct.sent_bytes.saturating_add(direct.received_bytes),
            None => direct.placed_bytes,
        };
        step.detail.proof = before.proof(direct, self.port, data_bytes);
        let of = keys.of()?;
        direct.keys = Some(of);
        step.chosen.insert("memory keys".into(), told(&of));
        let why = left(&of)?;
        let evidence = format!("{}: {}: {why}", step.name, self.detail.address);
        Some(Finding::new("SMB-KEYS-LEFT", evidence))
    }

    /// Adds what a channel moved to what its NIC carried.
    fn share(nic: Option<&str>, (sent, received): (u64, u64), losses: u32, step: &mut Step) {
        let Some(nic) = nic else { return };
        let nics = step.detail.nics.get_or_insert_default();
        if !nics.iter().any(|share| share.nic == nic) {
            nics.push(NicShare { end: End::Client, nic: nic.into(), ..NicShare::default() });
        }
        let Some(share) = nics.iter_mut().find(|share| share.nic == nic) else { return };
        share.connections += 1;
        share.lane_sent_bytes += sent;
        share.lane_received_bytes += received;
        share.deaths += u64::from(losses);
    }
}

/// What all channels did together.
#[derive(Default)]
struct Whole {
    read: Carried,
    write: Carried,
    /// Unknown where one of them does not know its own.
    cpu_ns: Option<u64>,
    keys: KeyEnds,
}

impl Whole {
    fn add(&mut self, tally: &Tally) {
        self.read.add(&tally.read);
        self.write.add(&tally.write);
        self.cpu_ns = self.cpu_ns.zip(tally.cpu_ns).map(|(sum, one)| sum + one);
        self.keys.add(&tally.keys);
    }

    /// The figures of a window of this length.
    fn summary(&self, window_ns: Option<u64>) -> Summary {
        let bytes = self.read.bytes + self.write.bytes;
        let operations = self.read.operations + self.write.operations;
        Summary {
            goodput_bits_per_s: window_ns.map(|ns| per_second(bytes.saturating_mul(8), ns)),
            iops: window_ns.map(|ns| per_second(operations, ns)),
            bytes: window_ns.map(|_| bytes),
            window_ns,
            messages: window_ns.map(|_| operations),
            service_ns: service(&self.read, &self.write).summary(),
            load: Some("closed".into()),
            cpu_client_ns: self.cpu_ns,
            ..Summary::default()
        }
    }
}

/// The times of both ways in one distribution.
fn service(read: &Carried, write: &Carried) -> LatencyHistogram {
    let mut both = LatencyHistogram::new();
    both.merge(&read.service);
    both.merge(&write.service);
    both
}

impl KeyEnds {
    fn add(&mut self, other: &KeyEnds) {
        self.form = self.form.or(other.form);
        self.by_server += other.by_server;
        self.here += other.here;
    }

    fn of(&self) -> Option<DirectKeys> {
        Some(DirectKeys {
            of: match self.form? {
                LoanForm::Window => KeyOf::Window,
                LoanForm::Registration => KeyOf::Registration,
            },
            // None at all is as well an adapter that does not tell.
            ended_by_server: (self.by_server > 0).then_some(self.by_server),
            not_reported: self.here,
        })
    }
}

/// What became of keys, for people.
fn told(keys: &DirectKeys) -> String {
    let of = match keys.of {
        KeyOf::Window => "memory windows",
        KeyOf::Registration | KeyOf::Other => "registrations",
    };
    match (keys.ended_by_server, keys.not_reported) {
        (Some(ended), 0) => format!("of {of}: {ended}, all ended by the server"),
        (Some(ended), left) => format!("of {of}: {ended} ended by the server, {left} ended here"),
        (None, left) => {
            format!("of {of}: {left}, ended here: the adapter reports none that the server ended")
        }
    }
}

/// What is wrong with the ends of keys. An adapter that has windows reports those that a peer ends, as far as any is known; soft-iWARP
/// has none and reports nothing.
fn left(keys: &DirectKeys) -> Option<String> {
    let DirectKeys { of, ended_by_server, not_reported } = *keys;
    match (ended_by_server, of) {
        _ if not_reported == 0 => None,
        (Some(ended), _) => Some(format!(
            "{not_reported} of {} memory keys lived on that were to end with the answers; they were ended here",
            ended.saturating_add(not_reported)
        )),
        (None, KeyOf::Window) => Some(format!(
            "none of {not_reported} memory keys is reported to have ended with its answer: the server left them alive, or the adapter does not \
             tell; they were ended here"
        )),
        (None, _) => None,
    }
}

/// How often.
struct Times(u32);

impl std::fmt::Display for Times {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            1 => f.write_str("once"),
            times => write!(f, "{times} times"),
        }
    }
}

fn role(spec: &FileSpec) -> LaneRole {
    match (spec.reads, spec.writes) {
        (0, _) => LaneRole::Send,
        (_, 0) => LaneRole::Receive,
        _ => LaneRole::Both,
    }
}

impl Carried {
    fn add(&mut self, other: &Carried) {
        self.operations += other.operations;
        self.bytes += other.bytes;
        self.service.merge(&other.service);
    }

    fn rate(&self, window_ns: Option<u64>) -> Option<FileRate> {
        (self.operations > 0).then(|| FileRate {
            operations: self.operations,
            bytes: self.bytes,
            goodput_bits_per_s: window_ns.map(|ns| per_second(self.bytes.saturating_mul(8), ns)),
            iops: window_ns.map(|ns| per_second(self.operations, ns)),
            service_ns: self.service.summary(),
        })
    }
}

fn per_second(count: u64, ns: u64) -> u64 {
    u64::try_from(u128::from(count) * 1_000_000_000 / u128::from(ns.max(1))).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(form: LoanForm, by_server: u64, here: u64) -> DirectKeys {
        KeyEnds { form: Some(form), by_server, here }.of().unwrap()
    }

    #[test]
    fn keys_of_which_nothing_is_reported_are_not_taken_for_ended_by_the_server() {
        let silent = keys(LoanForm::Registration, 0, 5);
        assert_eq!((silent.ended_by_server, silent.not_reported), (None, 5), "unknown, not zero");
        assert_eq!(left(&silent), None, "soft-iWARP tells nothing of any server");
        assert!(told(&silent).contains("reports none"), "{}", told(&silent));
        let none = left(&keys(LoanForm::Window, 0, 5)).unwrap();
        assert!(none.contains("none of 5") && none.contains("does not tell"), "{none}");
        let some = left(&keys(LoanForm::Window, 3, 2)).unwrap();
        assert!(some.contains("2 of 5"), "{some}");
        assert_eq!(left(&keys(LoanForm::Window, 5, 0)), None);
        assert_eq!(KeyEnds::default().of(), None, "on another channel there are none");
    }
}
