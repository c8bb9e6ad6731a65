//! The contract that every lane passes, as checks over a connected pair.
//!
//! Both ends are driven from one thread by turns (`Wait::No` or short waits), so the same suite runs over the
//! simulator, sockets and queue pairs. A failed check returns the sentence that says which clause was broken.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::{Completion, CompletionStatus, Lane, LaneSpec, Op, Region, RegionId, TransportError, Verb, Wait};

/// One connected pair with a region attached at each end, remotely writable and readable where the transport
/// can do that.
pub struct Pair {
    /// The dialling end.
    pub a: Box<dyn Lane>,
    /// The accepting end.
    pub b: Box<dyn Lane>,
    /// Region of `a`.
    pub region_a: Arc<Region>,
    /// Region of `b`.
    pub region_b: Arc<Region>,
    /// Its name on `a`.
    pub id_a: RegionId,
    /// Its name on `b`.
    pub id_b: RegionId,
}

/// Makes connected pairs; implemented by each transport's tests.
pub trait Connect {
    /// A pair after `spec`, with regions of `region_bytes`.
    fn connect(&mut self, spec: &LaneSpec, region_bytes: u64) -> Result<Pair, TransportError>;
}

/// A broken clause, in words.
pub type Broken = String;

const PATIENCE: Duration = Duration::from_secs(20);

/// Runs every check that the lanes' capabilities allow. `base` carries the framing and options to use.
pub fn check(connect: &mut dyn Connect, base: &LaneSpec) -> Result<(), Broken> {
    messages_arrive_whole_and_in_order(connect, base)?;
    every_operation_completes_once(connect, base)?;
    memory_of_a_completed_send_is_free(connect, base)?;
    poll_respects_spare_capacity(connect, base)?;
    backpressure_is_a_count(connect, base)?;
    one_sided_writes_land_and_only_there(connect, base)?;
    a_closed_peer_is_reported_in_time(connect, base)?;
    a_dropped_lane_never_hangs(connect, base)?;
    Ok(())
}

fn spec(base: &LaneSpec, depth: u32, message_bytes_max: u32) -> LaneSpec {
    LaneSpec { depth, message_bytes_max, ..base.clone() }
}

fn made(connect: &mut dyn Connect, spec: &LaneSpec, bytes: u64) -> Result<Pair, Broken> {
    connect.connect(spec, bytes).map_err(|e| format!("the pair did not connect: {e}"))
}

/// Fills `len` bytes at `offset` with a pattern that depends on `seed` and position.
fn pattern(region: &Region, offset: u64, len: u32, seed: u64) {
    let bytes: Vec<u8> = (0..len).map(|i| pattern_byte(seed, i)).collect();
    region.copy_in(offset, &bytes).expect("the check stays inside its region");
}

fn pattern_byte(seed: u64, at: u32) -> u8 {
    (seed.wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(at % 61) as u8) ^ (at as u8) ^ ((at >> 8) as u8)
}

fn matches(region: &Region, offset: u64, len: u32, seed: u64) -> bool {
    let mut bytes = vec![0; len as usize];
    region.copy_out(offset, &mut bytes).expect("the check stays inside its region");
    bytes.iter().enumerate().all(|(i, b)| *b == pattern_byte(seed, i as u32))
}

/// Submits all of `ops`, polling both lanes while one pushes back, until `expect_a` and `expect_b` completions
/// have come.
fn run(
    pair: &mut Pair,
    ops_a: &[Op],
    ops_b: &[Op],
    expect_a: usize,
    expect_b: usize,
) -> Result<(Vec<Completion>, Vec<Completion>), Broken> {
    let (mut from_a, mut from_b) = (Vec::with_capacity(expect_a + 8), Vec::with_capacity(expect_b + 8));
    let (mut next_a, mut next_b) = (0, 0);
    let start = Instant::now();
    while from_a.len() < expect_a || from_b.len() < expect_b || next_a < ops_a.len() || next_b < ops_b.len() {
        if start.elapsed() > PATIENCE {
            return Err(format!(
                "after {} s: {}/{} accepted and {}/{expect_a} completed at a, {}/{} and {}/{expect_b} at b",
                PATIENCE.as_secs(),
                next_a,
                ops_a.len(),
                from_a.len(),
                next_b,
                ops_b.len(),
                from_b.len()
            ));
        }
        let words = |e: TransportError| e.to_string();
        if next_b < ops_b.len() {
            next_b += pair.b.submit(&ops_b[next_b..]).map_err(words)?;
        }
        if next_a < ops_a.len() {
            next_a += pair.a.submit(&ops_a[next_a..]).map_err(words)?;
        }
        pair.a.poll(&mut from_a, Wait::No).map_err(words)?;
        pair.b.poll(&mut from_b, Wait::AtMost(Duration::from_micros(200))).map_err(words)?;
    }
    Ok((from_a, from_b))
}

fn all_ok(completions: &[Completion]) -> Result<(), Broken> {
    match completions.iter().find(|c| c.status != CompletionStatus::Ok) {
        Some(bad) => Err(format!("operation {} ended as {:?}", bad.tag, bad.status)),
        None => Ok(()),
    }
}

/// Messages of many sizes, both directions.
pub fn messages_arrive_whole_and_in_order(connect: &mut dyn Connect, base: &LaneSpec) -> Result<(), Broken> {
    const SLOT: u64 = 256 * 1024;
    let sizes: [u32; 9] = [1, 2, 63, 64, 4096, 4097, 65_536, 100_001, 262_144];
    let mut pair = made(connect, &spec(base, 16, SLOT as u32), SLOT * sizes.len() as u64)?;
    for round in 0..2u64 {
        let (source, target) = if round == 0 {
            (pair.region_a.clone(), pair.region_b.clone())
        } else {
            (pair.region_b.clone(), pair.region_a.clone())
        };
        let (mut sends, mut recvs) = (vec![], vec![]);
        let (id_source, id_target) = if round == 0 { (pair.id_a, pair.id_b) } else { (pair.id_b, pair.id_a) };
        for (i, len) in sizes.iter().enumerate() {
            let at = SLOT * i as u64;
            pattern(&source, at, *len, 100 * round + i as u64);
            sends.push(Op::send(i as u64, id_source, at, *len));
            recvs.push(Op::recv(1000 + i as u64, id_target, at, *len));
        }
        let n = sizes.len();
        let (from_a, from_b) = if round == 0 {
            run(&mut pair, &sends, &recvs, n, n)?
        } else {
            run(&mut pair, &recvs, &sends, n, n)?
        };
        all_ok(&from_a)?;
        all_ok(&from_b)?;
        let received = if round == 0 { &from_b } else { &from_a };
        for (i, (completion, len)) in received.iter().zip(sizes).enumerate() {
            if completion.tag != 1000 + i as u64 || completion.len != len {
                return Err(format!("receive {i} of {len} bytes completed as {completion:?}"));
            }
            if !matches(&target, SLOT * i as u64, len, 100 * round + i as u64) {
                return Err(format!("message {i} of {len} bytes arrived changed"));
            }
        }
    }
    Ok(())
}

/// Ten times the depth, each tag exactly once.
pub fn every_operation_completes_once(connect: &mut dyn Connect, base: &LaneSpec) -> Result<(), Broken> {
    const COUNT: u64 = 160;
    let mut pair = made(connect, &spec(base, 16, 4096), 4096 * 2)?;
    let sends: Vec<Op> = (0..COUNT).map(|i| Op::send(i, pair.id_a, 0, 1024)).collect();
    let recvs: Vec<Op> = (0..COUNT).map(|i| Op::recv(i, pair.id_b, 4096, 1024)).collect();
    let (from_a, from_b) = run(&mut pair, &sends, &recvs, COUNT as usize, COUNT as usize)?;
    for (name, completions) in [("send", from_a), ("receive", from_b)] {
        all_ok(&completions)?;
        let tags: Vec<u64> = completions.iter().map(|c| c.tag).collect();
        if tags != (0..COUNT).collect::<Vec<_>>() {
            return Err(format!("{name} tags came back as {tags:?}"));
        }
    }
    Ok(())
}

/// The memory of a send belongs to the caller again as soon as it has completed: what is written there then is no part
/// of that message, wherever its bytes are by then.
pub fn memory_of_a_completed_send_is_free(connect: &mut dyn Connect, base: &LaneSpec) -> Result<(), Broken> {
    const DEPTH: u64 = 16;
    const LEN: u32 = 65_536;
    const COUNT: u64 = 20 * DEPTH;
    const WRITTEN_AFTER: u8 = 0xFF;
    let len = u64::from(LEN);
    let mut pair = made(connect, &spec(base, DEPTH as u32, LEN), 2 * DEPTH * len)?;
    let (source, target) = (pair.region_a.clone(), pair.region_b.clone());
    let words = |e: TransportError| e.to_string();
    let place = |number: u64| number % DEPTH * len;
    let carried = |number: u64| (number % u64::from(WRITTEN_AFTER)) as u8;
    let mut message = vec![0; LEN as usize];
    let (mut sends, mut recvs) = (Vec::new(), Vec::new());
    let (mut sent, mut posted, mut finished, mut arrived) = (0, 0, 0, 0);
    let (mut from_a, mut from_b) = (Vec::with_capacity(64), Vec::with_capacity(64));
    let start = Instant::now();
    while arrived < COUNT {
        if start.elapsed() > PATIENCE {
            return Err(format!("{finished} sends completed and {arrived} of {COUNT} messages came"));
        }
        recvs.clear();
        let room = posted..COUNT.min(arrived + DEPTH);
        recvs.extend(room.map(|n| Op::recv(n, pair.id_b, DEPTH * len + place(n), LEN)));
        posted += pair.b.submit(&recvs).map_err(words)? as u64;
        // As many at once as there is memory for, so that a lane which asks for few completions shows it.
        sends.clear();
        for number in sent..COUNT.min(finished + DEPTH) {
            source.fill(place(number), len, carried(number)).map_err(|e| e.to_string())?;
            sends.push(Op::send(number, pair.id_a, place(number), LEN));
        }
        sent += pair.a.submit(&sends).map_err(words)? as u64;
        from_a.clear();
        pair.a.poll(&mut from_a, Wait::No).map_err(words)?;
        all_ok(&from_a)?;
        for done in &from_a {
            source.fill(place(done.tag), len, WRITTEN_AFTER).map_err(|e| e.to_string())?;
            finished += 1;
        }
        from_b.clear();
        pair.b.poll(&mut from_b, Wait::AtMost(Duration::from_micros(200))).map_err(words)?;
        all_ok(&from_b)?;
        for done in &from_b {
            target.copy_out(DEPTH * len + place(done.tag), &mut message).map_err(|e| e.to_string())?;
            if message.iter().any(|byte| *byte != carried(done.tag)) {
                return Err(format!(
                    "message {} arrived changed: its memory was written after its send had completed",
                    done.tag
                ));
            }
            arrived += 1;
        }
    }
    Ok(())
}

/// `poll` adds at most the spare capacity, and loses nothing by it.
pub fn poll_respects_spare_capacity(connect: &mut dyn Connect, base: &LaneSpec) -> Result<(), Broken> {
    let mut pair = made(connect, &spec(base, 8, 64), 4096)?;
    let recvs: Vec<Op> = (0..8).map(|i| Op::recv(i, pair.id_b, 64 * i, 64)).collect();
    let sends: Vec<Op> = (0..8).map(|i| Op::send(i, pair.id_a, 64 * i, 64)).collect();
    let words = |e: TransportError| e.to_string();
    let (mut posted, mut sent, mut got) = (0, 0, vec![]);
    let mut from_a = Vec::with_capacity(64);
    let mut few = Vec::with_capacity(3);
    let spare = few.capacity();
    let start = Instant::now();
    while got.len() < 8 {
        if start.elapsed() > PATIENCE {
            return Err(format!("only {} of 8 receives completed", got.len()));
        }
        posted += pair.b.submit(&recvs[posted..]).map_err(words)?;
        sent += pair.a.submit(&sends[sent..]).map_err(words)?;
        pair.a.poll(&mut from_a, Wait::No).map_err(words)?;
        few.clear();
        let n = pair.b.poll(&mut few, Wait::AtMost(Duration::from_millis(1))).map_err(words)?;
        if n != few.len() || few.capacity() != spare {
            return Err(format!(
                "poll said {n}, added {}, capacity {spare} -> {}",
                few.len(),
                few.capacity()
            ));
        }
        got.extend(few.iter().map(|c| c.tag));
    }
    if got != (0..8).collect::<Vec<_>>() { Err(format!("tags came back as {got:?}")) } else { Ok(()) }
}

/// A lane that is offered more than it can hold takes fewer, and takes the rest later.
pub fn backpressure_is_a_count(connect: &mut dyn Connect, base: &LaneSpec) -> Result<(), Broken> {
    let mut pair = made(connect, &spec(base, 4, 4096), 4096)?;
    let recvs: Vec<Op> = (0..4096).map(|i| Op::recv(i, pair.id_b, 0, 16)).collect();
    let accepted = pair.b.submit(&recvs).map_err(|e| format!("more than the depth is not an error: {e}"))?;
    if accepted == 0 || accepted >= recvs.len() {
        return Err(format!("{accepted} of {} receives accepted at depth 4", recvs.len()));
    }
    Ok(())
}

/// One-sided writes place their bytes and nothing else. Skipped where the lane has no such verb.
pub fn one_sided_writes_land_and_only_there(
    connect: &mut dyn Connect,
    base: &LaneSpec,
) -> Result<(), Broken> {
    let mut pair = made(connect, &spec(base, 8, 65_536), 1 << 20)?;
    if !pair.a.caps().can(Verb::Write) {
        return Ok(());
    }
    pair.region_b.fill(0, 1 << 20, 0xEE).map_err(|e| e.to_string())?;
    let places: [(u64, u32, u64); 3] = [(0, 4096, 8192), (4096, 65_536, 131_072), (100, 7, 999_983)];
    let mut ops = vec![];
    for (i, (from, len, to)) in places.iter().enumerate() {
        // One after the other, because their sources overlap on purpose.
        pattern(&pair.region_a, *from, *len, i as u64);
        ops.clear();
        ops.push(Op::write(i as u64, pair.id_a, *from, *len, *to));
        // A message behind the write proves that it has been placed: a lane keeps order.
        ops.push(Op::send(100, pair.id_a, 0, 8));
        let recv = [Op::recv(200, pair.id_b, 512 * 1024, 8)];
        let (from_a, from_b) = run(&mut pair, &ops, &recv, 2, 1)?;
        all_ok(&from_a)?;
        all_ok(&from_b)?;
        if !matches(&pair.region_b, *to, *len, i as u64) {
            return Err(format!("a write of {len} bytes to {to} did not arrive as sent"));
        }
    }
    let mut all = vec![0; 1 << 20];
    pair.region_b.copy_out(0, &mut all).map_err(|e| e.to_string())?;
    let inside = |at: u64| {
        places.iter().any(|(_, len, to)| (*to..*to + u64::from(*len)).contains(&at))
            || (512 * 1024..512 * 1024 + 8).contains(&at)
    };
    match all.iter().enumerate().find(|(at, byte)| **byte != 0xEE && !inside(*at as u64)) {
        Some((at, _)) => Err(format!("byte {at} outside every write was changed")),
        None => Ok(()),
    }
}

/// After the peer closes, pending receives do not wait forever.
pub fn a_closed_peer_is_reported_in_time(connect: &mut dyn Connect, base: &LaneSpec) -> Result<(), Broken> {
    let mut pair = made(connect, &spec(base, 4, 64), 4096)?;
    let recv = [Op::recv(1, pair.id_b, 0, 64)];
    pair.b.submit(&recv).map_err(|e| e.to_string())?;
    pair.a.close().map_err(|e| format!("an idle lane closes cleanly: {e}"))?;
    let start = Instant::now();
    let mut out = Vec::with_capacity(4);
    while start.elapsed() < Duration::from_secs(10) {
        match pair.b.poll(&mut out, Wait::AtMost(Duration::from_millis(50))) {
            Err(_) => return Ok(()),
            Ok(_) if out.iter().any(|c| c.status != CompletionStatus::Ok) => return Ok(()),
            Ok(_) if !out.is_empty() => return Err("a receive completed though nothing was sent".into()),
            Ok(_) => {}
        }
    }
    Err("ten seconds after the peer closed nothing was reported".into())
}

/// Dropping either end with operations outstanding returns.
pub fn a_dropped_lane_never_hangs(connect: &mut dyn Connect, base: &LaneSpec) -> Result<(), Broken> {
    let mut pair = made(connect, &spec(base, 4, 65_536), 1 << 18)?;
    let sends: Vec<Op> = (0..4).map(|i| Op::send(i, pair.id_a, 0, 65_536)).collect();
    pair.a.submit(&sends).map_err(|e| e.to_string())?;
    let start = Instant::now();
    drop(pair);
    if start.elapsed() > Duration::from_secs(5) {
        return Err(format!("dropping took {} ms", start.elapsed().as_millis()));
    }
    Ok(())
}
