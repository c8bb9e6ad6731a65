//! Why a bulk transfer over TCP moved nothing although its connection was made: the size of its segments, or something else.
//!
//! The handshake and small segments fit every path, full segments may not. But a stall alone proves nothing, and neither do
//! small segments that flow afterwards: so they do after any outage. Size is named as the cause only when all of this holds:
//!
//! 1. Full segments stall and small ones flow, each time, in turn, twice.
//! 2. Probes found an edge on that path, in that direction, below what a full segment needs.
//! 3. The receiving host did not drop the segments for their checksums.
//!
//! It is excluded when full segments flow again, when small ones stall as well, or when probes of that size pass; and
//! otherwise not known. The runs answer this question and no other: nothing judges them.

use std::net::{IpAddr, SocketAddr};

use pathproof_model::{
    Direction, End, ErrorKind, Finding, LaneResult, LaneRole, MtuPath, MtuSpec, Probes, ResultDoc, Step,
    StepKind, StepSpec, TrafficSpec,
};

use pathproof_tcp::CONGESTION;

use crate::lane_options::CONSTRAIN;
use crate::registry::manners;
use crate::steps::checksum;

/// Small segments: what every IPv4 path must take (RFC 9293 §3.7.1).
const SMALL_SEGMENT_BYTES: u32 = 536;
/// Length of one run. The first retransmissions of a lost segment fall into it (RFC 6298).
const RUN_NS: u64 = 600_000_000;
/// Full and small, twice.
const RUNS: usize = 4;

/// The next short run that would tell why the first stalled transfer stalled; `doc.steps` from `first` on are those made so
/// far. `None` when nothing stalled, or no run can tell more.
pub fn follow_up(doc: &ResultDoc, first: usize) -> Option<StepSpec> {
    let (stall, runs) = question(doc, first)?;
    match weigh(doc, &stall, runs) {
        Weighed::Ask(spec) => Some(*spec),
        Weighed::Is(_) => None,
    }
}

/// What the stalled transfer and the runs after it come to.
pub fn findings(doc: &ResultDoc, first: usize) -> Option<Finding> {
    let (stall, runs) = question(doc, first)?;
    let conclusion = match weigh(doc, &stall, runs) {
        Weighed::Is(conclusion) => conclusion,
        Weighed::Ask(_) => Conclusion::Unknown("there was no time to try small segments in turn".into()),
    };
    Some(conclusion.finding(doc, &stall, runs))
}

fn question(doc: &ResultDoc, first: usize) -> Option<(Stall<'_>, &[Step])> {
    let (planned, runs) = doc.steps.split_at_checked(first)?;
    Some((planned.iter().find_map(Stall::of)?, runs))
}

/// A transfer whose every lane in one direction fell silent and stayed so.
struct Stall<'a> {
    step: &'a Step,
    spec: &'a TrafficSpec,
    direction: Direction,
    /// Segment size of the sender.
    segment_bytes: u64,
    /// Addresses of client and server, where the lanes know them.
    between: Option<(IpAddr, IpAddr)>,
}

impl<'a> Stall<'a> {
    fn of(step: &'a Step) -> Option<Stall<'a>> {
        let spec = step.spec.as_ref()?.traffic()?;
        let ours = step.kind == StepKind::Stream
            && step.follows_up.is_none()
            && manners(&spec.over).segments
            && spec.max_segment_bytes.is_none();
        let interrupted = step.error.as_ref().is_some_and(|e| e.kind == ErrorKind::Interrupted);
        // A hole swallows the segments that are sent again, too: where none were, the path is only slow.
        if !ours || interrupted || step.total(|flow| flow.retransmits) == Some(0) {
            return None;
        }
        let silent = |end: End| {
            let mut lanes = receivers(step).filter(|lane| lane.end == end).peekable();
            lanes.peek().is_some() && lanes.all(stays_silent)
        };
        let direction = match (silent(End::Server), silent(End::Client)) {
            (true, _) => Direction::Out,
            (false, true) => Direction::In,
            (false, false) => return None,
        };
        let segment_bytes = step.lanes.iter().filter_map(|lane| lane.send_segment_bytes).max()?;
        let address =
            |text: &Option<String>| Some(text.as_ref()?.parse::<SocketAddr>().ok()?.ip().to_canonical());
        let client = step.lanes.iter().find(|lane| lane.end == End::Client);
        let between = client.and_then(|lane| Some((address(&lane.local)?, address(&lane.remote)?)));
        Some(Stall { step, spec, direction, segment_bytes, between })
    }

    /// IP packet that a full segment needs: TCP header with time stamps (RFC 7323), and that of IP.
    fn needed_ip_bytes(&self) -> u64 {
        let ip = if self.between.is_some_and(|(client, _)| client.is_ipv6()) { 40 } else { 20 };
        self.segment_bytes + 32 + ip
    }

    fn run(&self, size: Size) -> StepSpec {
        let mut spec = self.spec.clone();
        (spec.lanes, spec.direction) = (1, self.direction);
        spec.max_segment_bytes = (size == Size::Small).then_some(SMALL_SEGMENT_BYTES);
        (spec.warmup_ns, spec.time_ns, spec.cooldown_ns) = (0, RUN_NS, 0);
        // A receiver counts whole messages: small ones show a slow flow, but one must fill a segment.
        spec.size_bytes = (2 * self.segment_bytes).next_power_of_two().max(16 << 10);
        (spec.verify, spec.rate_bits_per_s) = (false, None);
        (spec.singles, spec.watch_links, spec.follows_path_mtu) = (false, false, None);
        spec.fail.clear();
        spec.beside.clear();
        spec.options.retain(|name, _| [CONSTRAIN.name, CONGESTION.name].contains(&name.as_str()));
        StepSpec::Stream(spec)
    }
}

fn receivers(step: &Step) -> impl Iterator<Item = &LaneResult> {
    step.own_lanes().filter(|lane| lane.role == LaneRole::Receive)
}

/// Whether nothing came any more, long before the end of the window.
fn stays_silent(lane: &LaneResult) -> bool {
    lane.silences.iter().flatten().any(|silence| !silence.came_back)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Size {
    Full,
    Small,
}

/// What one run showed.
enum ShortRun {
    Flowed,
    Stalled,
    /// It did not come about.
    Unknown(String),
}

impl ShortRun {
    fn of(run: &Step) -> ShortRun {
        let ran = receivers(run).any(|lane| lane.window_ns > 0);
        match (ran, run.total(|flow| flow.bytes)) {
            (true, Some(bytes)) if bytes > 0 => ShortRun::Flowed,
            (true, _) => ShortRun::Stalled,
            (false, _) => {
                let why = run.error.as_ref().map_or("it did not start", |error| &error.message);
                ShortRun::Unknown(format!("a short run to compare with could not be made: {why}"))
            }
        }
    }
}

/// What is known of the path from probes.
enum Probed {
    /// A full segment fits.
    Carries(u32),
    /// It does not: so much does.
    Edge(u32),
    Unknown,
}

impl Probed {
    fn of(doc: &ResultDoc, stall: &Stall<'_>) -> Probed {
        let needed = stall.needed_ip_bytes();
        let same = |path: &&MtuPath| {
            let way = path.direction == stall.direction || path.direction == Direction::Both;
            let pair = (path.local_address, path.remote_address);
            // A stripe stalls only when all its paths do, so all of them are in question.
            way && (manners(&stall.spec.over).several_nics
                || stall.between.is_some_and(|between| between == pair))
        };
        let paths: Vec<&MtuPath> =
            doc.steps.iter().filter_map(|s| s.detail.paths.as_ref()).flatten().filter(same).collect();
        let fits = |path: &&MtuPath| path.proven_ip_bytes.is_some_and(|proven| u64::from(proven) >= needed);
        let edges =
            paths.iter().filter_map(|path| path.ip_mtu_bytes).filter(|edge| u64::from(*edge) < needed);
        match (edges.min(), paths.iter().filter_map(|path| path.proven_ip_bytes).min()) {
            (Some(edge), _) => Probed::Edge(edge),
            (None, Some(proven)) if paths.iter().all(fits) => Probed::Carries(proven),
            _ => Probed::Unknown,
        }
    }
}

enum Weighed {
    /// This has to be asked first.
    Ask(Box<StepSpec>),
    Is(Conclusion),
}

enum Conclusion {
    Cause(u32),
    Excluded(String),
    Unknown(String),
}

fn weigh(doc: &ResultDoc, stall: &Stall<'_>, runs: &[Step]) -> Weighed {
    let receiver = if stall.direction == Direction::In { End::Client } else { End::Server };
    if let Some(errors) =
        std::iter::once(stall.step).chain(runs).find_map(|step| checksum::errors_at(step, receiver))
    {
        let who = if receiver == End::Client { "this host" } else { "the peer" };
        let why = format!("{who} dropped {errors} segments for their checksum meanwhile");
        return Weighed::Is(Conclusion::Excluded(why));
    }
    let probed = Probed::of(doc, stall);
    if let Probed::Carries(bytes) = probed {
        return Weighed::Is(Conclusion::Excluded(format!("probes found that the path carries {bytes}")));
    }
    let asked = doc.steps.iter().any(|step| step.kind.traits().probes == Probes::Sized);
    if matches!(probed, Probed::Unknown) && !asked {
        let families = stall.between.map(|(client, _)| if client.is_ipv6() { 6 } else { 4 });
        let spec = MtuSpec { families: families.into_iter().collect(), ..MtuSpec::default() };
        return Weighed::Ask(Box::new(StepSpec::Mtu(spec)));
    }
    let mut turn = Size::Full;
    let streams = runs.iter().filter(|run| run.kind == StepKind::Stream);
    for run in streams.clone() {
        match (turn, ShortRun::of(run)) {
            (_, ShortRun::Unknown(why)) => return Weighed::Is(Conclusion::Unknown(why)),
            (Size::Full, ShortRun::Flowed) => {
                return Weighed::Is(Conclusion::Excluded(
                    "full segments flowed when they were tried again".into(),
                ));
            }
            (Size::Small, ShortRun::Stalled) => {
                let small = format!("segments of {SMALL_SEGMENT_BYTES} bytes stalled as well");
                return Weighed::Is(Conclusion::Excluded(small));
            }
            (Size::Full, ShortRun::Stalled) => turn = Size::Small,
            (Size::Small, ShortRun::Flowed) => turn = Size::Full,
        }
    }
    if streams.count() < RUNS {
        return Weighed::Ask(Box::new(stall.run(turn)));
    }
    Weighed::Is(match probed {
        Probed::Edge(edge) => Conclusion::Cause(edge),
        _ => Conclusion::Unknown(format!(
            "segments of {SMALL_SEGMENT_BYTES} bytes flowed each time and full ones stalled each time, but no probe \
             found the size at which that changes"
        )),
    })
}

impl Conclusion {
    fn finding(self, doc: &ResultDoc, stall: &Stall<'_>, runs: &[Step]) -> Finding {
        let (segment, needed) = (stall.segment_bytes, stall.needed_ip_bytes());
        let again = stall.step.total(|flow| flow.retransmits);
        let story = format!(
            "{}: the connection stood, but stalled with segments of {segment} bytes, which need IP packets of {needed}",
            stall.step.name
        );
        let brought = |size: Size| -> u64 {
            let of_size = |run: &&Step| {
                let spec = run.spec.as_ref().and_then(StepSpec::traffic);
                spec.is_some_and(|spec| spec.max_segment_bytes.is_some() == (size == Size::Small))
            };
            runs.iter().filter(of_size).filter_map(|run| run.total(|flow| flow.bytes)).sum()
        };
        let (code, edge, evidence) = match self {
            Conclusion::Cause(edge) => {
                let evidence = format!(
                    "{story}, while the path carries {edge}. Tried again in turn, full segments stalled both times, and \
                     segments of {SMALL_SEGMENT_BYTES} bytes flowed both times"
                );
                ("MTU-BULK-CAUSE", Some(edge), evidence)
            }
            Conclusion::Excluded(why) => ("MTU-BULK-EXCLUDED", None, format!("{story}; {why}")),
            Conclusion::Unknown(why) => ("MTU-BULK-UNKNOWN", None, format!("{story}; {why}")),
        };
        let at = doc.steps.iter().position(|step| std::ptr::eq(step, stall.step));
        let finding = Finding::new(code, evidence)
            .with("send_segment_bytes", segment)
            .with("needed_ip_bytes", needed)
            .with("retransmits", again)
            .with("path_ip_mtu_bytes", edge)
            .with("full_bytes", brought(Size::Full))
            .with("small_segment_bytes", SMALL_SEGMENT_BYTES)
            .with("small_bytes", brought(Size::Small));
        Finding { step: at, ..finding }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::steps::traffic::received::fill;
    use pathproof_model::{Evidence, FollowUp, MtuLimit, NodeId, StepError, TcpCounts, Tool};

    /// A stream whose receiver heard so much in each tenth of a second.
    fn stream(received: &[u64]) -> Step {
        let mut step = Step::new(StepKind::Stream, "stream");
        let spec = TrafficSpec { over: "tcp".into(), ..TrafficSpec::default() };
        step.direction = Some(spec.direction);
        step.spec = Some(StepSpec::Stream(spec));
        step.summary.bytes = Some(received.iter().sum());
        step.summary.retransmits = Some(4);
        let (local, remote) = (Some("10.0.0.1:4000".into()), Some("10.0.0.2:7797".into()));
        let window_ns = received.len() as u64 * 100_000_000;
        let lane = LaneResult { send_segment_bytes: Some(9562), window_ns, ..LaneResult::default() };
        step.lanes.push(LaneResult { end: End::Client, role: LaneRole::Send, local, remote, ..lane.clone() });
        step.lanes.push(LaneResult { end: End::Server, role: LaneRole::Receive, ..lane });
        fill(&mut step, &[received]);
        step
    }

    /// What probes found.
    fn probed(edge: Option<u32>) -> Step {
        let mut step = Step::new(StepKind::Mtu, "path MTU");
        step.detail.paths = Some(vec![MtuPath {
            local_nic: "e0".into(),
            remote_nic: Some("e0".into()),
            local_address: [10, 0, 0, 1].into(),
            remote_address: [10, 0, 0, 2].into(),
            family: 4,
            direction: Direction::Out,
            method: pathproof_model::MtuMethod::Agent,
            ip_mtu_bytes: edge,
            limit: if edge.is_some() { MtuLimit::Blackhole } else { MtuLimit::Unknown },
            numbers: None,
            proven_ip_bytes: edge,
            reason: None,
            local_ip_mtu_bytes: Some(9614),
            remote_ip_mtu_bytes: Some(9614),
            cached_ip_mtu_bytes: None,
            route: None,
            routers: vec![],
            largest_fragment_bytes: None,
            throttled: false,
            fitting_sent: 9,
            fitting_lost: 0,
            probes: 20,
            loss_rounds: 1,
            fragments: None,
            elapsed_ns: 1,
            tried: vec![],
        }]);
        step
    }

    fn doc(steps: Vec<Step>) -> ResultDoc {
        ResultDoc { steps, ..ResultDoc::new(Tool::default(), "") }
    }

    /// Runs the questions; a path answers each by what came in six slices, or not at all.
    fn ask(
        mut doc: ResultDoc,
        answer: impl Fn(usize, &StepSpec) -> Option<u64>,
    ) -> (Vec<StepSpec>, Option<Finding>) {
        let first = doc.steps.len();
        let mut asked = vec![];
        while let Some(spec) = follow_up(&doc, first) {
            assert!(asked.len() < 10, "it keeps asking");
            let mut run = match (&spec, answer(asked.len(), &spec)) {
                (StepSpec::Mtu(_), edge) => probed(edge.map(|edge| edge as u32)),
                (_, Some(bytes)) => stream(&[bytes; 6]),
                (_, None) => {
                    let mut failed = stream(&[]);
                    let message = "no answer".into();
                    failed.error = Some(StepError::new(ErrorKind::Timeout, message));
                    failed
                }
            };
            run.spec = Some(spec.clone());
            run.follows_up = Some(FollowUp::Cause);
            doc.steps.push(run);
            asked.push(spec);
        }
        (asked, findings(&doc, first))
    }

    fn is_small(spec: &StepSpec) -> bool {
        spec.traffic().is_some_and(|traffic| traffic.max_segment_bytes == Some(536))
    }

    /// A path that loses full segments, whenever they are sent.
    fn hole(_: usize, spec: &StepSpec) -> Option<u64> {
        Some(if is_small(spec) { 1000 } else { 0 })
    }

    fn code(finding: Option<Finding>) -> String {
        finding.map_or("nothing".into(), |finding| finding.code)
    }

    #[test]
    fn a_hole_is_the_cause_where_probes_found_its_edge_and_runs_in_turn_agree() {
        let (asked, finding) = ask(doc(vec![probed(Some(9216)), stream(&[0; 30])]), hole);
        let small: Vec<bool> = asked.iter().map(is_small).collect();
        assert_eq!(small, [false, true, false, true]);
        let finding = finding.unwrap();
        assert_eq!(finding.code, "MTU-BULK-CAUSE");
        assert_eq!(finding.values["send_segment_bytes"], 9562);
        assert_eq!((finding.step, &finding.values["path_ip_mtu_bytes"]), (Some(1), &9216.into()));
    }

    #[test]
    fn where_nothing_was_probed_that_is_the_first_question() {
        let probe = |found: Option<u64>| {
            move |at, spec: &StepSpec| if matches!(spec, StepSpec::Mtu(_)) { found } else { hole(at, spec) }
        };
        let (asked, finding) = ask(doc(vec![stream(&[0; 30])]), probe(Some(9216)));
        assert_eq!((asked.len(), code(finding)), (5, "MTU-BULK-CAUSE".into()));
        // Without an edge, size is not named, however well the runs agree.
        let (asked, finding) = ask(doc(vec![stream(&[0; 30])]), probe(None));
        assert_eq!((asked.len(), code(finding)), (5, "MTU-BULK-UNKNOWN".into()));
    }

    #[test]
    fn never_where_probes_of_that_size_pass() {
        let (asked, finding) = ask(doc(vec![probed(Some(9614)), stream(&[0; 30])]), hole);
        assert_eq!((asked.len(), code(finding)), (0, "MTU-BULK-EXCLUDED".into()));
    }

    #[test]
    fn never_where_the_receiver_dropped_segments_for_their_checksum() {
        let mut stalled = stream(&[0; 30]);
        let tcp = TcpCounts { checksum_errors: Some(12), ..TcpCounts::still() };
        stalled.evidence = vec![Evidence { node: NodeId::SERVER, tcp: Some(tcp), ..Evidence::default() }];
        let (asked, finding) = ask(doc(vec![probed(Some(9216)), stalled]), hole);
        assert_eq!((asked.len(), code(finding)), (0, "MTU-BULK-EXCLUDED".into()));
    }

    #[test]
    fn an_outage_asks_nothing_where_it_passed_and_is_excluded_where_it_did_not() {
        let mut outage = [9; 40];
        outage[10..25].fill(0);
        let (asked, finding) = ask(doc(vec![probed(Some(9216)), stream(&outage)]), hole);
        assert_eq!((asked.len(), code(finding)), (0, "nothing".into()));
        outage[25..].fill(0);
        let healed = |_, _: &StepSpec| Some(1000);
        let (asked, finding) = ask(doc(vec![probed(Some(9216)), stream(&outage)]), healed);
        assert_eq!((asked.len(), code(finding)), (1, "MTU-BULK-EXCLUDED".into()));
        // Down for the first full run only: the second one flows.
        let late = |at, spec: &StepSpec| if at == 0 { Some(0) } else { hole(at, spec).map(|_| 1000) };
        let (asked, finding) = ask(doc(vec![probed(Some(9216)), stream(&outage)]), late);
        assert_eq!((asked.len(), code(finding)), (3, "MTU-BULK-EXCLUDED".into()));
    }

    #[test]
    fn what_stalls_at_every_size_is_not_about_size_and_what_cannot_be_tried_is_not_known() {
        let dead = |_, _: &StepSpec| Some(0);
        let (asked, finding) = ask(doc(vec![probed(Some(9216)), stream(&[0; 30])]), dead);
        assert_eq!((asked.len(), code(finding)), (2, "MTU-BULK-EXCLUDED".into()));
        let refused = |_, _: &StepSpec| None;
        let (asked, finding) = ask(doc(vec![probed(Some(9216)), stream(&[0; 30])]), refused);
        assert_eq!((asked.len(), code(finding)), (1, "MTU-BULK-UNKNOWN".into()));
    }

    #[test]
    fn a_slow_path_and_one_starved_lane_of_several_ask_nothing() {
        let mut slow = stream(&[0; 30]);
        slow.summary.retransmits = Some(0);
        assert!(ask(doc(vec![slow]), hole).0.is_empty(), "nothing was lost");
        let mut two = stream(&[0; 30]);
        let other = stream(&[5; 30]);
        two.lanes.extend(other.lanes.into_iter().map(|lane| LaneResult { lane: 1, ..lane }));
        fill(&mut two, &[&[0; 30], &[5; 30]]);
        assert!(ask(doc(vec![two]), hole).0.is_empty(), "the other lane flows");
    }
}
