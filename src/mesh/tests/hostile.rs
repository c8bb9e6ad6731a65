//! Rank 0 with ranks that hang, lie, say too much or nothing: what that costs, and whom.
//!
//! All but rank 0 are stubs on this host, so rank 0's own figures are not there; what is said of it is not looked at.

use pathproof_model::mesh::Dead;
use pathproof_model::{ErrorKind, Limits};

use super::*;
use crate::secure;
use crate::serve::{Listening, Settings};

const SIZE: u32 = 6;

/// What a stub hears and may answer; whether it goes on.
type Hears = fn(u32, &mut Speaker, &ToRank) -> Option<bool>;

/// A mesh in which each stub does what `hears` says, and what a healthy one does where that says nothing.
fn conducted(hears: Hears) -> MeshDoc {
    conducted_with(1, hears)
}

/// The same with stubs whose agents are at a port of this host, as they say.
fn conducted_with(agent: u16, hears: Hears) -> MeshDoc {
    let clock = clock();
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let environment = Arc::new(crate::host::observe().environment);
    let (_raise, interrupt) = Interrupt::pair();
    let mesh = |rank| {
        let mut mesh = of_size((rank, SIZE), port, &clock);
        mesh.settings.sampled_rounds = None;
        mesh.settings.round_limit_ns = 3_000_000_000;
        mesh
    };
    for rank in 1..SIZE {
        let (mesh, environment, interrupt) = (mesh(rank), environment.clone(), interrupt.clone());
        std::thread::spawn(move || {
            play(&mesh, &environment, &interrupt, agent, |speaker, message| {
                if let Some(goes_on) = hears(rank, speaker, &message) {
                    return goes_on;
                }
                match message {
                    ToRank::Order(order) => {
                        speaker.say(&FromRank::Report(healthy((rank, SIZE), &order))).is_ok()
                    }
                    ToRank::Still => speaker.say(&FromRank::Still).is_ok(),
                    ToRank::Table(_) => true,
                    ToRank::Bye | ToRank::Refused(_) => false,
                }
            });
        });
    }
    conductor::conduct(&mesh(0), &interrupt).unwrap()
}

fn reasons(doc: &MeshDoc) -> Vec<(u32, &str)> {
    doc.dead.iter().map(|Dead { rank, reason, .. }| (*rank, reason.as_str())).collect()
}

/// Nobody is named but rank 0, which no stub speaks to.
fn nobody_is_named(doc: &MeshDoc) {
    for suspect in &doc.suspects {
        let of_rank_0 = match suspect.who {
            Who::Host { rank } | Who::Sender { rank } | Who::Receiver { rank } => rank == 0,
            Who::Pair { from, to } => from == 0 || to == 0,
            Who::Group { .. } => false,
        };
        assert!(of_rank_0, "{suspect:?}");
    }
}

/// What is not known between two stubs.
fn unknown(doc: &MeshDoc) -> Vec<(usize, usize)> {
    let matrix = &doc.planes[0].matrices.goodput_bits_per_s;
    let pairs = (1..SIZE as usize).flat_map(|from| (1..SIZE as usize).map(move |to| (from, to)));
    pairs.filter(|(from, to)| from != to && matrix[*from][*to].is_none()).collect()
}

/// The last rank is asked by all others and asks nobody: where its process is stopped, its kernel still answers, and so does its connection.
#[test]
fn a_rank_that_hangs_is_missed_and_nobody_is_named_for_what_it_did_not_answer() {
    let doc = conducted(|rank, speaker, message| match message {
        ToRank::Order(order) if rank == 5 => Some(
            order.task != Task::Knock || {
                speaker.say(&FromRank::Report(healthy((rank, SIZE), order))).is_ok()
            },
        ),
        ToRank::Still if rank == 5 => Some(true),
        ToRank::Order(order) if order.peers == [5] => {
            let told = Told { peer: 5, error: Some(ErrorKind::Timeout), ..Told::default() };
            let report = Report { number: order.number, told: vec![told], ..Report::default() };
            Some(speaker.say(&FromRank::Report(report)).is_ok())
        }
        _ => None,
    });
    let [(5, why)] = reasons(&doc)[..] else { panic!("{:?}", doc.dead) };
    assert!(why.contains("hangs"), "{why}");
    nobody_is_named(&doc);
    assert!(unknown(&doc).iter().all(|(from, to)| *from == 5 || *to == 5), "{:?}", unknown(&doc));
}

#[test]
fn a_rank_that_reports_what_nobody_asked_for_is_let_go_and_the_rest_is_measured() {
    let doc = conducted(|rank, speaker, message| match message {
        ToRank::Order(order) if rank == 2 => {
            let report = || FromRank::Report(healthy((rank, SIZE), order));
            Some((0..100).all(|_| speaker.say(&report()).is_ok()))
        }
        _ => None,
    });
    let [(2, why)] = reasons(&doc)[..] else { panic!("{:?}", doc.dead) };
    assert!(why.contains("nobody had asked"), "{why}");
    nobody_is_named(&doc);
    assert!(unknown(&doc).iter().all(|(from, to)| *from == 2 || *to == 2), "{:?}", unknown(&doc));
}

#[test]
fn a_rank_that_says_what_no_rank_says_is_let_go() {
    let doc = conducted(|rank, speaker, message| match message {
        ToRank::Order(_) if rank == 3 => Some(speaker.say(&"all is well").is_ok()),
        _ => None,
    });
    let [(3, why)] = reasons(&doc)[..] else { panic!("{:?}", doc.dead) };
    assert!(why.contains("cannot be read"), "{why}");
    nobody_is_named(&doc);
}

/// Figures that cannot be, of pairs that it was asked for and of others.
#[test]
fn a_rank_that_lies_does_so_about_its_own_cells() {
    let doc = conducted(|rank, speaker, message| match message {
        ToRank::Order(order) if rank == 1 && order.task != Task::Knock => {
            let cell = Cell { goodput_bits_per_s: Some(u64::MAX), rtt_p50_ns: Some(1), ..Cell::default() };
            let slow = Cell { goodput_bits_per_s: Some(1), ip_mtu_bytes: Some(99), ..Cell::default() };
            let mut report = healthy((rank, SIZE), order);
            report.told.iter_mut().for_each(|told| told.out = cell.clone());
            report.told.extend((2..5).map(|peer| Told {
                peer,
                out: slow.clone(),
                back: slow.clone(),
                ..Told::default()
            }));
            Some(speaker.say(&FromRank::Report(report)).is_ok())
        }
        _ => None,
    });
    assert_eq!(reasons(&doc), []);
    let matrices = &doc.planes[0].matrices;
    assert_eq!(matrices.goodput_bits_per_s[1][2], None);
    assert!(
        matrices.reason(1, 2).is_some_and(|why| why.contains("understand")),
        "{:?}",
        matrices.reason(1, 2)
    );
    assert!(unknown(&doc).iter().all(|(from, to)| *from == 1 || *to == 1), "{:?}", unknown(&doc));
    assert_eq!(doc.planes[0].usual_ip_mtu_bytes, Some(9000));
    let others: Vec<_> = doc.suspects.iter().filter(|suspect| !of_rank_1(&suspect.who)).collect();
    nobody_is_named(&MeshDoc { suspects: others.into_iter().cloned().collect(), ..doc.clone() });
}

fn of_rank_1(who: &Who) -> bool {
    match who {
        Who::Host { rank } | Who::Sender { rank } | Who::Receiver { rank } => *rank == 1,
        Who::Pair { from, to } => *from == 1 || *to == 1,
        Who::Group { .. } => false,
    }
}

fn settings(access: &Access, clock: &RealClock) -> Settings {
    Settings {
        access: access.clone(),
        limits: Limits::default(),
        device: None,
        observe: Arc::new(crate::host::observe),
        clock: clock.clone(),
        tells: false,
        grace: Default::default(),
    }
}

/// What a rank gives out as the key of its agent opens nothing there: its cells say so, and it counts for nobody's figure.
#[test]
fn a_rank_whose_token_opens_no_door_has_that_in_its_cells() {
    let other = settings(&Access::Key(Key::new("not what it said")), &clock());
    let agent = Listening::bind(&["127.0.0.1:0".parse().unwrap()], other).unwrap();
    let port = agent.addresses()[0].port();
    agent.run_in_background();
    let doc = conducted_with(port, |_, _, _| None);
    assert_eq!(reasons(&doc), []);
    let matrices = &doc.planes[0].matrices;
    for rank in 1..SIZE as usize {
        assert_eq!(matrices.goodput_bits_per_s[0][rank], None);
        let why = matrices.reason(0, rank).unwrap_or_default();
        assert!(why.contains("refused"), "{rank}: {why:?}");
    }
    assert_eq!(unknown(&doc), []);
    nobody_is_named(&doc);
}

/// Whoever has proved the key and says nothing, or says it a byte at a time, does not keep the place of a rank.
#[test]
fn who_does_not_say_in_time_who_it_is_is_sent_away() {
    let clock = clock();
    let (sender, ended) = crossbeam_channel::bounded(8);
    let own = clock.clone();
    let instead = move |(_writer, reader), _, _| {
        let until = own.deadline(Duration::from_millis(300));
        let why = line::read::<FromRank>(reader, 1000, Some(until), |_| true);
        let _ = sender.send(why);
    };
    let access = Access::Key(Key::new("of all ranks"));
    let listening = Listening::for_another(0, settings(&access, &clock), Arc::new(instead)).unwrap();
    let port = listening.addresses()[0].port();
    listening.run_in_background();
    let met = || {
        let stream = std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
        secure::connect(stream, &access, clock.deadline(Duration::from_secs(20))).unwrap()
    };
    let silent = met();
    assert!(ended.recv().unwrap().contains("did not say in time"));
    let (mut writer, _reader) = met();
    // The first bytes of a message that never ends: each is a piece of its own.
    let trickle = [&1000u32.to_le_bytes()[..], &[b' '; 996]].concat();
    let mut bytes = trickle.chunks(1);
    let why = loop {
        if let Ok(why) = ended.recv_timeout(Duration::from_millis(20)) {
            break why;
        }
        let _ = writer.send(bytes.next().expect("it was not sent away"));
    };
    assert!(why.contains("did not say in time"), "{why}");
    drop(silent);
}

#[test]
fn an_order_names_such_peers_as_its_task_has() {
    let order = |task, peers: &[u32]| Order {
        number: 1,
        plane: 0,
        kind: RoundKind::Again,
        task,
        peers: peers.into(),
    };
    let may = |task, peers: &[u32]| rank::has_peers_of_such_a_task(&order(task, peers), 4);
    assert!(may(Task::Knock, &[]) && may(Task::Send, &[1]) && may(Task::Gather, &[1, 2, 3]));
    // Many streams at once are nothing that a user who asked for pairs has typed.
    for (task, peers) in [
        (Task::Send, &[1, 2][..]),
        (Task::Drip, &[1, 2]),
        (Task::Gather, &[1, 1]),
        (Task::Spread, &[]),
        (Task::Survey, &[4]),
        (Task::Knock, &[1]),
    ] {
        assert!(!may(task, peers), "{task:?} {peers:?}");
    }
}
