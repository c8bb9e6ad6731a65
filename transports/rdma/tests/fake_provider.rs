//! Error paths that no device gives on demand, over a double of `libibverbs.so.1` (`tests/fake/ibverbs.c`) built
//! with the system's compiler; also the cost of our own layer, and that it allocates nothing after connect. Without
//! compiler or headers it says SKIPPED, and fails if PATHPROOF_REQUIRE_LAB=1 demanded it.
#![expect(clippy::print_stderr, reason = "a skipped test must say so, and costs are shown")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::ffi::{CString, c_int, c_uint, c_void};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use pathproof_api::{
    Access, Completion, CompletionStatus, Lane, LaneSpec, Op, Pages, PreparedLane, Region, RegionId, Role,
    SendReports, Transport, TransportError, Wait, WaitMode,
};
use pathproof_rdma::ffi::{LoadError, VerbsLibrary};
use pathproof_rdma::offer::Address;
use pathproof_rdma::transport::options::{REGISTRATION, Registration};
use pathproof_rdma::{RdmaTransport, Sysfs};
use pathproof_sys::clock::RealClock;

struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

// SAFETY: every call is passed on unchanged to the system's allocator; counting a thread-local cell allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let _ = ALLOCATIONS.try_with(|count| count.set(count.get() + 1));
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// `struct fake` of the double.
#[repr(C)]
struct State {
    devices: c_int,
    open_errno: c_int,
    reg_errno: c_int,
    inline_max: c_int,
    post_errno: c_int,
    post_after: c_int,
    status: c_int,
    silent: c_int,
    phantom: c_int,
    modify_errno: c_int,
    open_objects: c_int,
    posts: c_int,
    polls: c_int,
    max_qp_wr: c_int,
    notify_errno: c_int,
}

/// One instance of the double with its own state: every test loads its own copy of the file.
struct Fake {
    folder: PathBuf,
    library: Arc<VerbsLibrary>,
    handle: *mut c_void,
}

fn build(folder: &Path, flags: &[&str]) -> Option<PathBuf> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fake/ibverbs.c");
    let target = folder.join("libibverbs-double.so");
    let built = Command::new("cc")
        .args(["-shared", "-fPIC", "-O2", "-w", "-o"])
        .arg(&target)
        .args(flags)
        .arg(&source)
        .output();
    match built {
        Ok(output) if output.status.success() => return Some(target),
        Ok(output) => {
            eprintln!("SKIPPED: the double does not build: {}", String::from_utf8_lossy(&output.stderr))
        }
        Err(error) => eprintln!("SKIPPED: no C compiler ({error}); apt-get install gcc libibverbs-dev"),
    }
    assert!(
        std::env::var_os("PATHPROOF_REQUIRE_LAB").is_none_or(|v| v != "1"),
        "PATHPROOF_REQUIRE_LAB=1, but the double could not be built"
    );
    None
}

fn folder(name: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("pathproof-fake-{name}-{}", std::process::id()));
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap();
    folder
}

impl Fake {
    fn new(name: &str) -> Option<Fake> {
        let folder = folder(name);
        let path = build(&folder, &[])?;
        let path = path.to_str().unwrap();
        let library = VerbsLibrary::load(path).unwrap();
        let c_path = CString::new(path).unwrap();
        // SAFETY: a library that is already loaded; this only takes another handle to it.
        let handle = unsafe { libc::dlopen(c_path.as_ptr(), libc::RTLD_NOW) };
        assert!(!handle.is_null());
        let port = folder.join("sys/class/infiniband/fake0/ports/1");
        for (path, content) in [
            ("../../node_type", "1: CA"),
            ("state", "4: ACTIVE"),
            ("link_layer", "Ethernet"),
            ("gids/0", "0000:0000:0000:0000:0000:ffff:0a00:0001"),
            ("gid_attrs/types/0", "RoCE v2"),
            ("gid_attrs/ndevs/0", "eth77"),
        ] {
            let path = port.join(path);
            fs::create_dir_all(port.join("gids")).unwrap();
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        Some(Fake { folder, library, handle })
    }

    fn symbol(&self, name: &str) -> *mut c_void {
        let name = CString::new(name).unwrap();
        // SAFETY: an open handle and a C string.
        let at = unsafe { libc::dlsym(self.handle, name.as_ptr()) };
        assert!(!at.is_null());
        at
    }

    #[expect(
        clippy::mut_from_ref,
        reason = "the state belongs to C; one test, one thread, one use at a time"
    )]
    fn state(&self) -> &mut State {
        // SAFETY: the double's function of this type, returning its static state of this layout.
        unsafe {
            let get: extern "C" fn() -> *mut State = std::mem::transmute(self.symbol("fake_state"));
            &mut *get()
        }
    }

    fn event(&self, kind: c_int, of_queue_pair: bool) {
        // SAFETY: the double's function of this type.
        let event: extern "C" fn(c_int, c_int) = unsafe { std::mem::transmute(self.symbol("fake_event")) };
        event(kind, c_int::from(of_queue_pair));
    }

    /// Makes a message of so many bytes arrive.
    fn arrive(&self) -> extern "C" fn(c_uint) {
        // SAFETY: the double's function of this type.
        unsafe { std::mem::transmute(self.symbol("fake_arrive")) }
    }

    fn transport(&self) -> RdmaTransport {
        RdmaTransport::with(self.library.clone(), Sysfs::at(self.folder.join("sys")), &RealClock::new())
    }

    fn prepared(&self, spec: &LaneSpec) -> Result<(Box<dyn PreparedLane>, RegionId), TransportError> {
        let mut prepared = self.transport().prepare(Role::Dial, spec)?;
        let region = Arc::new(Region::new(1 << 20, Pages::Default).unwrap());
        let id = prepared.attach(&region, Access::RemoteReadWrite)?;
        Ok((prepared, id))
    }

    fn lane(&self, spec: &LaneSpec) -> (Box<dyn Lane>, RegionId) {
        let (prepared, id) = self.prepared(spec).unwrap();
        let offer = prepared.offer();
        (prepared.connect(&offer, Duration::from_secs(1)).unwrap(), id)
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn spin() -> LaneSpec {
    LaneSpec { wait_mode: WaitMode::Spin, ..LaneSpec::default() }
}

#[test]
fn a_missing_library_and_an_old_one_are_told_apart() {
    match VerbsLibrary::load("libibverbs-that-does-not-exist.so.1") {
        Err(LoadError::Library { library, .. }) => assert!(library.contains("does-not-exist")),
        other => panic!("{other:?}"),
    }
    let folder = folder("old");
    if let Some(path) = build(&folder, &["-DOLD"]) {
        match VerbsLibrary::load(path.to_str().unwrap()) {
            Err(LoadError::Symbol { symbol, .. }) => assert_eq!(symbol, "ibv_get_async_event"),
            other => panic!("{other:?}"),
        }
    }
    let _ = fs::remove_dir_all(&folder);
}

#[test]
fn no_device_no_permission_and_no_lockable_memory_each_name_their_remedy() {
    let Some(fake) = Fake::new("missing") else { return };
    fake.state().devices = 0;
    let text = fake.transport().prepare(Role::Dial, &spin()).err().unwrap().to_string();
    assert!(text.contains("ib_uverbs"), "{text}");
    fake.state().devices = 1;

    fake.state().open_errno = libc::EACCES;
    let text = fake.transport().prepare(Role::Dial, &spin()).err().unwrap().to_string();
    assert!(text.contains("/dev/infiniband/uverbs"), "{text}");
    fake.state().open_errno = 0;

    fake.state().reg_errno = libc::ENOMEM;
    let text = fake.prepared(&spin()).err().unwrap().to_string();
    assert!(text.contains("ulimit -l") || text.contains("no memory or no keys"), "{text}");
    fake.state().reg_errno = 0;
    assert_eq!(fake.state().open_objects, 0, "nothing is left open by what failed");
}

#[test]
fn an_unreachable_peer_names_addresses_and_the_check() {
    let Some(fake) = Fake::new("subnet") else { return };
    let (prepared, _) = fake.prepared(&spin()).unwrap();
    let offer = prepared.offer();
    fake.state().modify_errno = libc::ENETUNREACH;
    let text = prepared.connect(&offer, Duration::from_secs(1)).err().unwrap().to_string();
    assert!(text.contains("10.0.0.1") && text.contains("ping -I eth77"), "{text}");
    assert_eq!(fake.state().open_objects, 0);
}

#[test]
fn deeper_queues_and_more_inline_than_the_device_has_are_reduced_and_shown() {
    let Some(fake) = Fake::new("clamp") else { return };
    fake.state().max_qp_wr = 64;
    fake.state().inline_max = 60;
    let (lane, _) = fake.lane(&LaneSpec { depth: 100_000, ..spin() });
    assert!(lane.caps().depth_max < 64, "{:?}", lane.caps());
    let stats = lane.close().unwrap();
    assert!(stats.chosen["inline"].contains("up to 32 bytes"), "{stats:?}");
    assert!(stats.chosen["depth"].contains("100000 asked"), "{stats:?}");
}

#[test]
fn a_refused_post_keeps_what_was_taken_and_ends_the_lane() {
    let Some(fake) = Fake::new("post") else { return };
    let (mut lane, id) = fake.lane(&spin());
    fake.state().post_errno = libc::EIO;
    fake.state().post_after = 2;
    let ops: Vec<Op> = (0..4).map(|i| Op::write(i, id, 0, 64, 0)).collect();
    let text = lane.submit(&ops).unwrap_err().to_string();
    assert!(text.contains("posting a send on fake0"), "{text}");
    assert!(lane.submit(&ops).is_err(), "the lane stays ended");
    let start = Instant::now();
    drop(lane);
    assert!(start.elapsed() < Duration::from_secs(1));
    assert_eq!(fake.state().open_objects, 0);
}

#[test]
fn a_failed_completion_carries_its_status_and_the_next_poll_says_it_in_words() {
    let Some(fake) = Fake::new("status") else { return };
    for (status, word) in [(12, "retry"), (10, "key"), (13, "receive")] {
        let (mut lane, id) = fake.lane(&spin());
        fake.state().status = status;
        assert_eq!(lane.submit(&[Op::write(7, id, 0, 64, 0)]).unwrap(), 1);
        let mut out = Vec::with_capacity(8);
        lane.poll(&mut out, Wait::No).unwrap();
        assert_eq!((out[0].tag, out[0].status), (7, CompletionStatus::Failed(status as u32)));
        let text = lane.poll(&mut out, Wait::No).unwrap_err().to_string();
        assert!(text.contains(word) && text.contains("fake0"), "{text}");
        fake.state().status = 0;
    }
}

#[test]
fn a_completion_nobody_asked_for_is_an_error_and_not_a_result() {
    let Some(fake) = Fake::new("phantom") else { return };
    let (mut lane, _) = fake.lane(&spin());
    fake.state().phantom = 1;
    let mut out = Vec::with_capacity(8);
    let text = lane.poll(&mut out, Wait::No).unwrap_err().to_string();
    assert!(out.is_empty() && text.contains("cannot be trusted"), "{text}");
}

#[test]
fn events_of_the_device_and_of_the_queue_pair_end_a_waiting_lane() {
    let Some(fake) = Fake::new("event") else { return };
    for (kind, of_queue_pair, word) in
        [(10, false, "port went down"), (8, false, "removed"), (3, true, "no right")]
    {
        let (mut lane, id) = fake.lane(&spin());
        lane.submit(&[Op::recv(1, id, 0, 64)]).unwrap();
        fake.event(kind, of_queue_pair);
        let mut out = Vec::with_capacity(8);
        let start = Instant::now();
        let error = loop {
            assert!(start.elapsed() < Duration::from_secs(5), "event {kind} was not noticed");
            if let Err(error) = lane.poll(&mut out, Wait::AtMost(Duration::from_millis(100))) {
                break error.to_string();
            }
        };
        assert!(error.contains(word), "{error}");
    }
}

#[test]
fn a_message_waits_for_a_receive_at_the_peer() {
    for wait_mode in [WaitMode::Spin, WaitMode::Block] {
        let Some(fake) = Fake::new(&format!("credit-{wait_mode:?}")) else { return };
        let (mut lane, id) = fake.lane(&LaneSpec { wait_mode, ..spin() });
        // The double never writes into the cell where the peer's receives are counted.
        assert_eq!(lane.submit(&[Op::send(1, id, 0, 64)]).unwrap(), 0, "{wait_mode:?}");
        let mut out = Vec::with_capacity(8);
        assert_eq!(lane.poll(&mut out, Wait::AtMost(Duration::from_millis(2))).unwrap(), 0);
        assert_eq!(lane.submit(&[Op::write(2, id, 0, 64, 0)]).unwrap(), 1, "a write needs no receive");
        drop(lane);
        assert_eq!(fake.state().open_objects, 0);
    }
}

#[test]
fn a_message_that_is_not_valid_uses_up_no_receive_at_the_peer() {
    let Some(fake) = Fake::new("credit-kept") else { return };
    let (prepared, id) = fake.prepared(&spin()).unwrap();
    let offer = prepared.offer();
    let cell = Address::decode(&offer.0).unwrap().credit_base as usize as *const AtomicU64;
    let mut lane = prepared.connect(&offer, Duration::from_secs(1)).unwrap();
    // SAFETY: an aligned word of the lane's own memory, which lives as long as the lane; everybody reaches it by atomics.
    unsafe { &*cell }.store(1, Ordering::Relaxed);
    for _ in 0..3 {
        assert!(lane.submit(&[Op::send(1, id, 1 << 20, 64)]).is_err(), "it lies outside the region");
    }
    assert_eq!(lane.submit(&[Op::send(2, id, 0, 64)]).unwrap(), 1);
    assert_eq!(lane.submit(&[Op::send(3, id, 0, 64)]).unwrap(), 0, "the peer had one receive");
}

#[test]
fn a_silent_device_does_not_hang_close_or_drop() {
    let Some(fake) = Fake::new("silent") else { return };
    fake.state().silent = 1;
    let (mut lane, id) = fake.lane(&spin());
    lane.submit(&[Op::write(1, id, 0, 64, 0)]).unwrap();
    let start = Instant::now();
    lane.close().unwrap();
    assert!(start.elapsed() < Duration::from_secs(4));
    assert_eq!(fake.state().open_objects, 0);
}

#[test]
fn unsignalled_sends_complete_in_order_even_into_little_capacity() {
    let Some(fake) = Fake::new("moderation") else { return };
    let (mut lane, id) = fake.lane(&LaneSpec { depth: 16, ..spin() });
    let ops: Vec<Op> = (0..40).map(|i| Op::write(i, id, 0, 64, 0)).collect();
    let (mut next, mut tags) = (0, Vec::new());
    while tags.len() < ops.len() {
        let taken = lane.submit(&ops[next..]).unwrap();
        assert!(taken <= 16);
        next += taken;
        let mut few: Vec<Completion> = Vec::with_capacity(3);
        lane.poll(&mut few, Wait::No).unwrap();
        assert!(few.len() <= 3);
        tags.extend(few.iter().map(|c| c.tag));
    }
    assert_eq!(tags, (0..40).collect::<Vec<_>>());
}

#[test]
fn what_came_is_handed_over_without_asking_the_device_again() {
    let Some(fake) = Fake::new("once") else { return };
    let (mut lane, id) = fake.lane(&spin());
    let receives: Vec<Op> = (0..3).map(|i| Op::recv(i, id, 64 * i, 64)).collect();
    assert_eq!(lane.submit(&receives).unwrap(), 3);
    let mut out = Vec::with_capacity(8);
    for wait in [Wait::No, Wait::AtMost(Duration::from_secs(1))] {
        fake.arrive()(8);
        out.clear();
        let before = fake.state().polls;
        assert_eq!(lane.poll(&mut out, wait).unwrap(), 1, "{wait:?}");
        assert_eq!(fake.state().polls - before, 1, "{wait:?}");
    }
}

#[test]
fn completions_that_may_be_told_late_are_asked_for_by_the_quarter_and_settled_at_the_end() {
    let Some(fake) = Fake::new("late") else { return };
    let late = LaneSpec { depth: 16, send_reports: SendReports::Late, ..spin() };
    let (mut lane, id) = fake.lane(&late);
    let mut out = Vec::with_capacity(16);
    let told: Vec<usize> = (0..9)
        .map(|at| {
            assert_eq!(lane.submit(&[Op::write(at, id, 0, 64, 0)]).unwrap(), 1);
            lane.poll(&mut out, Wait::No).unwrap()
        })
        .collect();
    assert_eq!(told, [0, 0, 0, 4, 0, 0, 0, 4, 0]);
    let start = Instant::now();
    let stats = lane.close().unwrap();
    assert!(start.elapsed() < Duration::from_millis(90), "nothing is waited for in vain");
    assert_eq!(stats.counters["lane_sent_bytes"], 9 * 64, "the ninth as well");
    assert_eq!(fake.state().posts, 9 + 2, "what asks for it, and the goodbye");

    let (mut lane, id) = fake.lane(&late);
    fake.state().status = 12;
    assert_eq!(lane.submit(&[Op::write(7, id, 0, 64, 0)]).unwrap(), 1);
    out.clear();
    assert_eq!(lane.poll(&mut out, Wait::AtMost(Duration::from_secs(5))).unwrap(), 1);
    assert_eq!(out[0].status, CompletionStatus::Failed(12), "who fails is told at once");
    fake.state().status = 0;
}

#[test]
fn a_lane_that_sleeps_until_its_answer_is_ended_by_who_watches_over_it() {
    let Some(fake) = Fake::new("stopper") else { return };
    assert!(fake.lane(&spin()).0.stopper().is_none(), "who spins looks by itself");
    assert!(fake.lane(&LaneSpec::default()).0.stopper().is_none(), "and who waits for sends has a limit");
    let (mut lane, id) = fake.lane(&LaneSpec { send_reports: SendReports::Late, ..LaneSpec::default() });
    assert_eq!(lane.submit(&[Op::recv(1, id, 0, 64)]).unwrap(), 1);
    let stopper = lane.stopper().unwrap();
    assert!(stopper.looks());
    let (sender, ended) = std::sync::mpsc::channel();
    let waits = std::thread::spawn(move || {
        let said = lane.poll(&mut Vec::with_capacity(8), Wait::AtMost(Duration::MAX));
        let _ = sender.send(said.map_err(|error| error.to_string()));
        lane
    });
    // Where there is no news, a look changes nothing.
    stopper.look();
    assert!(ended.recv_timeout(Duration::from_millis(50)).is_err());
    stopper.stop();
    let said = ended.recv_timeout(Duration::from_secs(5)).expect("the wait has no limit, and ends");
    assert!(said.unwrap_err().contains("waiting for completions on fake0"));
    waits.join().unwrap().close().unwrap();
    // The lane is gone: there is nothing to be stopped any more.
    stopper.stop();
    stopper.look();
}

#[test]
fn a_device_that_announces_nothing_ends_a_wait_at_once() {
    let Some(fake) = Fake::new("announce") else { return };
    let (mut lane, id) = fake.lane(&LaneSpec { send_reports: SendReports::Late, ..LaneSpec::default() });
    assert_eq!(lane.submit(&[Op::recv(1, id, 0, 64)]).unwrap(), 1);
    fake.state().notify_errno = libc::EIO;
    let said = lane.poll(&mut Vec::with_capacity(8), Wait::AtMost(Duration::from_secs(5)));
    assert!(said.unwrap_err().to_string().contains("announcement of completions on fake0"));
}

#[test]
fn who_registers_each_message_hears_of_each() {
    let Some(fake) = Fake::new("late-chunks") else { return };
    let mut spec = LaneSpec { depth: 16, send_reports: SendReports::Late, ..spin() };
    spec.options.set(&REGISTRATION, Registration::PerChunk);
    let (mut lane, id) = fake.lane(&spec);
    let mut out = Vec::with_capacity(16);
    for at in 0..4 {
        assert_eq!(lane.submit(&[Op::write(at, id, 0, 4096, 0)]).unwrap(), 1);
        out.clear();
        assert_eq!(lane.poll(&mut out, Wait::No).unwrap(), 1, "its memory may be used again");
    }
}

/// What our layer adds to the provider's own cost, and that it allocates nothing. Costs are asserted in
/// optimised builds only.
#[test]
fn the_hot_path_is_cheap_and_allocates_nothing() {
    let Some(fake) = Fake::new("hot") else { return };
    let (mut lane, id) = fake.lane(&LaneSpec { depth: 64, ..spin() });
    let sends: Vec<Op> = (0..32).map(|i| Op::write(i, id, 64 * i, 2, 0)).collect();
    let recvs: Vec<Op> = (0..32).map(|i| Op::recv(i, id, 64 * i, 64)).collect();
    let mut out: Vec<Completion> = Vec::with_capacity(64);
    let arrive = fake.arrive();
    const ROUNDS: u32 = 20_000;
    let before = ALLOCATIONS.with(Cell::get);
    let (mut best_post, mut best_poll) = (f64::MAX, f64::MAX);
    for _ in 0..5 {
        let (mut posting, mut collected) = (Duration::ZERO, 0);
        for _ in 0..ROUNDS / 5 {
            assert_eq!(lane.submit(&recvs).unwrap(), 32);
            let start = Instant::now();
            assert_eq!(lane.submit(&sends).unwrap(), 32);
            posting += start.elapsed();
            for _ in 0..32 {
                arrive(2);
            }
            out.clear();
            while out.len() < 64 {
                collected += lane.poll(&mut out, Wait::No).unwrap();
            }
        }
        assert_eq!(collected as u32, ROUNDS / 5 * 64);
        best_post = best_post.min(posting.as_nanos() as f64 / f64::from(ROUNDS / 5 * 32));
        let start = Instant::now();
        for _ in 0..ROUNDS * 10 {
            out.clear();
            lane.poll(&mut out, Wait::No).unwrap();
        }
        best_poll = best_poll.min(start.elapsed().as_nanos() as f64 / f64::from(ROUNDS * 10));
    }
    assert_eq!(ALLOCATIONS.with(Cell::get), before, "allocations between connect and close");
    let provider = provider_cost(&fake);
    eprintln!(
        "per send {best_post:.1} ns, per empty poll {best_poll:.1} ns; the double's own: {:.1} and {:.1} ns",
        provider.0, provider.1
    );
    if !cfg!(debug_assertions) {
        assert!(best_post - provider.0 <= 5.0 * margin(), "a post costs {best_post:.1} ns");
        assert!(best_poll - provider.1 <= 5.0 * margin(), "an empty poll costs {best_poll:.1} ns");
    }
}

/// Shared machines are noisy: the limit is asserted with room.
fn margin() -> f64 {
    2.0
}

/// The same calls made directly through the provider's table.
fn provider_cost(fake: &Fake) -> (f64, f64) {
    use pathproof_rdma::ffi::{IbvSendWr, IbvWc};
    let list = &fake.library;
    let mut count = 0;
    // SAFETY: the double's own functions, used as a program would; the context is closed below.
    unsafe {
        let devices = (list.ibv_get_device_list)(&mut count);
        let context = (list.ibv_open_device)(*devices);
        let domain = (list.ibv_alloc_pd)(context);
        let queue = (list.ibv_create_cq)(context, 128, std::ptr::null_mut(), std::ptr::null_mut(), 0);
        let mut init: pathproof_rdma::ffi::IbvQpInitAttr = std::mem::zeroed();
        let pair = (list.ibv_create_qp)(domain, &mut init);
        let post = (*context).ops.post_send.unwrap();
        let poll = (*context).ops.poll_cq.unwrap();
        let mut requests = vec![IbvSendWr::empty(); 32];
        for i in 0..31 {
            requests[i].next = &raw mut requests[i + 1];
        }
        let mut bad = std::ptr::null_mut();
        let mut completions = vec![IbvWc::default(); 32];
        let (mut best_post, mut best_poll) = (f64::MAX, f64::MAX);
        for _ in 0..5 {
            let start = Instant::now();
            for _ in 0..4000 {
                post(pair, requests.as_mut_ptr(), &mut bad);
            }
            best_post = best_post.min(start.elapsed().as_nanos() as f64 / (4000.0 * 32.0));
            let start = Instant::now();
            for _ in 0..200_000 {
                poll(queue, 32, completions.as_mut_ptr());
            }
            best_poll = best_poll.min(start.elapsed().as_nanos() as f64 / 200_000.0);
        }
        (list.ibv_destroy_qp)(pair);
        (list.ibv_destroy_cq)(queue);
        (list.ibv_dealloc_pd)(domain);
        (list.ibv_close_device)(context);
        (best_post, best_poll)
    }
}
