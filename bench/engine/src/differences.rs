//! What two hosts are set to differently, from the facts that they exchange: what loses packets first, then what costs speed, harmless
//! ones last. What a host does not tell is no difference.

mod ports;

use std::collections::BTreeSet;

use pathproof_model::environment::{Dcb, RdmaDevice};
use pathproof_model::units::{BitsPerSecond, Nanoseconds};
use pathproof_model::{
    ClockOffset, Environment, Finding, HostDifference, Nic, NodeId, ResultDoc, SrIov, Weight,
};

use crate::networks::networks;

/// Most pairs of NICs that are compared.
const PAIRS_MAX: usize = 16;
/// Longest value that is told.
const VALUE_CHARS_MAX: usize = 60;

/// A fact of a NIC.
struct OfNic {
    fact: &'static str,
    weight: Weight,
    why: &'static str,
    value: fn(&Environment, &Nic) -> Option<String>,
}

/// What must agree between the two NICs of a network, and what may differ.
const OF_NICS: &[OfNic] = &[
    OfNic {
        fact: "IP MTU",
        weight: Weight::Grave,
        why: "what is larger than the smaller one does not arrive there",
        value: |_, nic| nic.ip_mtu_bytes.map(|bytes| bytes.to_string()),
    },
    OfNic {
        fact: "duplex",
        weight: Weight::Grave,
        why: "at the half duplex end whatever meets something sent is lost",
        value: |_, nic| nic.full_duplex.map(|full| if full { "full" } else { "half" }.into()),
    },
    OfNic {
        fact: "RDMA transport",
        weight: Weight::Grave,
        why: "RoCE, iWARP and InfiniBand do not understand each other",
        value: |host, nic| rdma(host, nic)?.transport.clone(),
    },
    OfNic {
        fact: "priorities with PFC",
        weight: Weight::Grave,
        why: "one end is paused where the other drops",
        value: |_, nic| {
            let pfc = dcb(nic)?.pfc.as_ref()?;
            Some(list(pfc.enabled_priorities.iter().map(u8::to_string)))
        },
    },
    OfNic {
        fact: "priority of RoCE",
        weight: Weight::Grave,
        why: "what one end protects the other treats as something else",
        value: |_, nic| Some(dcb(nic)?.roce_priority(None)?.0.to_string()),
    },
    OfNic {
        fact: "priority of SMB Direct",
        weight: Weight::Grave,
        why: "what one end protects the other treats as something else",
        value: |_, nic| Some(dcb(nic)?.smb_priority()?.to_string()),
    },
    OfNic {
        fact: "traffic classes of the priorities",
        weight: Weight::Costly,
        why: "a priority has a share of its own in one direction and shares it in the other",
        value: |_, nic| Some(list(dcb(nic)?.ets.as_ref()?.class_of_priority.iter().map(u8::to_string))),
    },
    OfNic {
        fact: "ETS shares",
        weight: Weight::Costly,
        why: "each direction shares the link in another way",
        value: |_, nic| Some(list(dcb(nic)?.ets.as_ref()?.bandwidth_percent.iter().map(u8::to_string))),
    },
    OfNic {
        fact: "speed",
        weight: Weight::Costly,
        why: "the faster end fills the queues before the slower one",
        value: |_, nic| nic.speed_bits_per_s.map(|speed| BitsPerSecond(speed).to_string()),
    },
    OfNic {
        fact: "RDMA path MTU",
        weight: Weight::Costly,
        why: "a connection has the smaller one, with more packets for the same data",
        value: |host, nic| rdma(host, nic)?.rdma_path_mtu_bytes.map(|bytes| bytes.to_string()),
    },
    OfNic {
        fact: "TCP segmentation offload",
        weight: Weight::Costly,
        why: "the end without it needs more processor to send",
        value: |_, nic| offload(nic, "tcp-segmentation-offload"),
    },
    OfNic {
        fact: "segmentation by the kernel (GSO)",
        weight: Weight::Costly,
        why: "the end without it needs more processor to send",
        value: |_, nic| offload(nic, "generic-segmentation-offload"),
    },
    OfNic {
        fact: "receive offload",
        weight: Weight::Costly,
        why: "the end without it needs more processor to receive",
        value: |_, nic| offload(nic, "generic-receive-offload"),
    },
    OfNic {
        fact: "receive checksums",
        weight: Weight::Costly,
        why: "the end without them needs more processor to receive",
        value: |_, nic| offload(nic, "rx-checksumming"),
    },
    OfNic {
        fact: "transmit checksums",
        weight: Weight::Costly,
        why: "the end without them needs more processor to send",
        value: |_, nic| offload(nic, "tx-checksumming"),
    },
    OfNic {
        fact: "pause frames",
        weight: Weight::Costly,
        why: "one end waits where the other loses what there is no buffer for",
        value: |_, nic| nic.pause.as_ref().map(|pause| pause.words().into()),
    },
    OfNic {
        fact: "receive side scaling",
        weight: Weight::Costly,
        why: "SMB Multichannel uses such a pair only where no other has it at both ends",
        value: |_, nic| nic.receive_queues.map(|queues| if queues > 1 { "yes" } else { "one queue" }.into()),
    },
    OfNic {
        fact: "SR-IOV",
        weight: Weight::Costly,
        why: "packets pass a virtual switch at one end and not at the other",
        value: |_, nic| nic.sr_iov.as_ref().map(SrIov::words),
    },
    OfNic {
        fact: "reverse path filter",
        weight: Weight::Costly,
        why: "the strict end drops what comes by another way than it would answer",
        value: |_, nic| nic.reverse_path_filter.map(|filter| filter.to_string()),
    },
    OfNic {
        fact: "receive offload of the NIC (LRO)",
        weight: Weight::Harmless,
        why: "",
        value: |_, nic| offload(nic, "large-receive-offload"),
    },
    OfNic { fact: "driver", weight: Weight::Harmless, why: "", value: |_, nic| nic.driver.clone() },
    OfNic {
        fact: "receive queues",
        weight: Weight::Harmless,
        why: "",
        value: |_, nic| nic.receive_queues.map(|queues| queues.to_string()),
    },
    OfNic {
        fact: "transmit queues",
        weight: Weight::Harmless,
        why: "",
        value: |_, nic| nic.transmit_queues.map(|queues| queues.to_string()),
    },
    OfNic { fact: "name", weight: Weight::Harmless, why: "", value: |_, nic| Some(nic.name.clone()) },
    OfNic { fact: "kind", weight: Weight::Harmless, why: "", value: |_, nic| nic.kind.clone() },
];

/// Settings of the kernel that bear on what passes between the hosts, each with what a difference leads to; all others are harmless.
const SETTINGS: &[(&str, &str)] = &[
    ("net.core.default_qdisc", "each end queues what it sends in another way"),
    ("net.core.netdev_max_backlog", "the end with less room loses what comes in bursts"),
    ("net.core.rmem_max", "a program that sets its receive buffer gets another one at each end"),
    ("net.core.wmem_max", "a program that sets its send buffer gets another one at each end"),
    ("net.ipv4.tcp_congestion_control", "each direction shares a full link in another way"),
    ("net.ipv4.tcp_ecn", "congestion is marked one way and dropped the other"),
    ("net.ipv4.tcp_mtu_probing", "one end finds its way out of an MTU black hole, the other does not"),
    ("net.ipv4.tcp_rmem", "each direction has another largest window"),
    ("net.ipv4.tcp_wmem", "each direction has another largest window"),
    ("net.ipv4.tcp_sack", "off at one end is off for both"),
    ("net.ipv4.tcp_timestamps", "off at one end is off for both"),
    ("net.ipv4.tcp_window_scaling", "off at one end is off for both, and the window ends at 64 KiB"),
    ("net.ipv4.ip_no_pmtu_disc", "one end lets routers fragment what it sends"),
    ("net.ipv4.conf.all.rp_filter", "the strict end drops what comes by another way than it would answer"),
    ("cpu0.scaling_governor", "the end that saves power wakes up later"),
];

fn dcb(nic: &Nic) -> Option<&Dcb> {
    nic.dcb.as_ref()
}

/// The RDMA device of a NIC.
fn rdma<'a>(host: &'a Environment, nic: &Nic) -> Option<&'a RdmaDevice> {
    host.rdma.iter().find(|device| device.netdev.as_ref() == Some(&nic.name))
}

fn offload(nic: &Nic, name: &str) -> Option<String> {
    nic.offloads.get(name).map(|on| if *on { "on" } else { "off" }.into())
}

fn list(items: impl Iterator<Item = String>) -> String {
    let items: Vec<String> = items.collect();
    if items.is_empty() { "none".into() } else { items.join(" ") }
}

/// Further apart than this Kerberos takes no ticket (RFC 4120, section 5.5.1 leaves it to the server, and all say five minutes).
const TICKETS_NS: u64 = 300_000_000_000;
/// Further apart than this what both hosts write into their logs cannot be put in order.
const LOGS_NS: u64 = 1_000_000_000;

/// Those of this host and another node of a document, with their clocks and the ports of switches that they are at; `None` where the facts of
/// one are not known.
pub fn of_document(doc: &ResultDoc, other: NodeId) -> Option<Vec<HostDifference>> {
    let hosts = (doc.environment(NodeId::CLIENT)?, doc.environment(other)?);
    let mut found = differences(hosts.0, hosts.1);
    found.extend(ports::of_ports(hosts, other, &doc.switch_ports()));
    let node = doc.nodes.iter().find(|node| node.id == other);
    found.extend(node.and_then(|node| clocks(node.clock?)));
    found.sort_by_key(|one| one.weight);
    Some(found)
}

/// Clocks that are further apart than the round trip leaves open.
fn clocks(clock: ClockOffset) -> Option<HostDifference> {
    let (weight, why) = match clock.apart_ns() {
        apart if apart > TICKETS_NS => (Weight::Grave, "Kerberos refuses the tickets of the other one"),
        apart if apart > LOGS_NS => (Weight::Costly, "the logs of both hosts cannot be put in one order"),
        _ => return None,
    };
    let way = if clock.offset_ns < 0 { "behind" } else { "ahead" };
    let (by, more_or_less) = (Nanoseconds(clock.offset_ns.unsigned_abs()), Nanoseconds(clock.uncertainty_ns));
    let there = format!("{by} {way} (give or take {more_or_less})");
    differs("clock", weight, why, ("as it is".into(), there))
}

/// The differences, the gravest first.
pub fn differences(here: &Environment, there: &Environment) -> Vec<HostDifference> {
    let mut found: Vec<HostDifference> = pairs(here, there)
        .into_iter()
        .flat_map(|(own, other)| of_pair((here, own), (there, other)))
        .collect();
    found.extend(of_hosts(here, there));
    found.sort_by_key(|one| one.weight);
    found
}

/// The NICs of both hosts that lie in one network: those of one name first, the others as they come.
fn pairs<'a>(here: &'a Environment, there: &'a Environment) -> Vec<(&'a Nic, &'a Nic)> {
    let mut known = BTreeSet::new();
    let mut pairs = vec![];
    for network in networks(here, there) {
        let of = |node: NodeId| {
            let names = network.nics.iter().filter(move |nic| nic.node == node);
            names.map(|nic| nic.nic.clone()).collect::<BTreeSet<_>>()
        };
        let (own, mut others) = (of(NodeId::CLIENT), of(NodeId::SERVER));
        for name in &own {
            let other = others.take(name).or_else(|| {
                let free = others.iter().find(|other| !own.contains(*other)).cloned()?;
                others.take(&free)
            });
            pairs.extend(other.map(|other| (name.clone(), other)));
        }
    }
    pairs.retain(|pair| known.insert(pair.clone()));
    let find = |host: &'a Environment, name: &str| host.nics.iter().find(|nic| nic.name == name);
    let both = pairs.iter().filter_map(|(own, other)| Some((find(here, own)?, find(there, other)?)));
    both.take(PAIRS_MAX).collect()
}

fn of_pair(own: (&Environment, &Nic), other: (&Environment, &Nic)) -> Vec<HostDifference> {
    let (here, there) = (own.1, other.1);
    let nics = Some([here.name.clone(), there.name.clone()]);
    let facts = OF_NICS.iter().filter_map(|rule| {
        let values = (rule.value)(own.0, own.1).zip((rule.value)(other.0, other.1))?;
        differs(rule.fact, rule.weight, rule.why, values)
    });
    // Versions are of one thing only where that is the same.
    let same = here.driver.is_some() && here.driver == there.driver;
    let why = "the same adapter may behave in two ways";
    let versions = [
        ("driver version", here.driver_version.clone().zip(there.driver_version.clone())),
        ("firmware", here.firmware.clone().zip(there.firmware.clone())),
    ];
    let versions = versions.into_iter().filter_map(|(fact, values)| {
        let weight = if same { Weight::Costly } else { Weight::Harmless };
        differs(fact, weight, if same { why } else { "" }, values?)
    });
    let found = facts.chain(versions).chain(rings(here, there, same));
    found.map(|one| HostDifference { nics: nics.clone(), ..one }).collect()
}

/// Sizes of rings: a descriptor of one make may hold a packet where that of another holds many.
fn rings(here: &Nic, there: &Nic, same: bool) -> impl Iterator<Item = HostDifference> {
    let sizes = here.rings.as_ref().zip(there.rings.as_ref());
    let both = |own: Option<u32>, other: Option<u32>| Some((own?.to_string(), other?.to_string()));
    let why = "the end with fewer buffers loses what comes in bursts";
    let received = sizes.and_then(|(own, other)| both(own.receive, other.receive)).and_then(|values| {
        let weight = if same { Weight::Costly } else { Weight::Harmless };
        differs("receive ring", weight, if same { why } else { "" }, values)
    });
    let sent = sizes.and_then(|(own, other)| both(own.transmit, other.transmit));
    let sent = sent.and_then(|values| differs("transmit ring", Weight::Harmless, "", values));
    received.into_iter().chain(sent)
}

fn of_hosts(here: &Environment, there: &Environment) -> Vec<HostDifference> {
    type Read = fn(&Environment) -> Option<String>;
    const WHOLE: &[(&str, Read)] = &[
        ("kernel", |host| host.kernel.clone()),
        ("operating system", |host| host.operating_system.clone()),
        ("virtualization", |host| host.virtualization.clone()),
        ("processor", |host| host.cpu_model.clone()),
        ("processors", |host| host.cpus.map(|cpus| cpus.to_string())),
        ("NUMA nodes", |host| host.numa_nodes.map(|nodes| nodes.to_string())),
        ("clock source", |host| host.clock_source.clone()),
    ];
    let whole = WHOLE
        .iter()
        .filter_map(|(fact, read)| differs(fact, Weight::Harmless, "", read(here).zip(read(there))?));
    let settings = here.settings.iter().filter_map(|(name, own)| {
        let other = there.settings.get(name)?;
        let why = SETTINGS.iter().find(|(known, _)| known == name).map(|(_, why)| *why);
        let weight = if why.is_some() { Weight::Costly } else { Weight::Harmless };
        differs(name, weight, why.unwrap_or_default(), (own.clone(), other.clone()))
    });
    whole.chain(settings).collect()
}

fn differs(fact: &str, weight: Weight, why: &str, (here, there): (String, String)) -> Option<HostDifference> {
    let cut = |value: &str| value.chars().take(VALUE_CHARS_MAX).collect();
    (here != there).then(|| HostDifference {
        weight,
        nics: None,
        fact: fact.into(),
        here: cut(&here),
        there: cut(&there),
        why: why.into(),
    })
}

/// The grave ones as one finding.
pub fn finding(found: &[HostDifference]) -> Option<Finding> {
    let grave: Vec<String> = found
        .iter()
        .filter(|one| one.weight == Weight::Grave)
        .map(|one| {
            let nics = one.nics.iter().map(|[own, other]| format!(" of {own} and {other}"));
            format!("{}{}: {} here and {} there", one.fact, nics.collect::<String>(), one.here, one.there)
        })
        .collect();
    (!grave.is_empty()).then(|| Finding::new("HOSTS-DIFFER", grave.join("; ")).with("count", grave.len()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use pathproof_model::NicAddress;
    use pathproof_model::environment::{
        DcbApplication, DcbEts, DcbPfc, DcbSelector, PauseSettings, RingSizes,
    };

    fn host(last: u8) -> Environment {
        let nic = Nic {
            name: format!("e{}", last % 2),
            driver: Some("mlx5_core".into()),
            firmware: Some("22.1".into()),
            ip_mtu_bytes: Some(9000),
            full_duplex: Some(true),
            receive_queues: Some(8),
            addresses: vec![NicAddress { address: [10, 0, 0, last].into(), prefix_len: 24 }],
            ..Nic::default()
        };
        Environment { kernel: Some("6.1".into()), nics: vec![nic], ..Environment::default() }
    }

    fn told(change: impl Fn(&mut Environment)) -> Vec<(Weight, String)> {
        let mut other = host(2);
        change(&mut other);
        let found = differences(&host(1), &other);
        found.into_iter().map(|one| (one.weight, one.fact)).filter(|(_, fact)| fact != "name").collect()
    }

    #[test]
    fn the_gravest_comes_first_and_what_is_not_told_is_no_difference() {
        assert_eq!(told(|_| {}), []);
        let all = told(|host| {
            host.kernel = Some("6.8".into());
            host.nics[0].firmware = Some("22.9".into());
            host.nics[0].ip_mtu_bytes = Some(1500);
        });
        assert_eq!(
            all,
            [
                (Weight::Grave, "IP MTU".to_owned()),
                (Weight::Costly, "firmware".into()),
                (Weight::Harmless, "kernel".into())
            ]
        );
        let unknown = told(|host| {
            host.kernel = None;
            host.nics[0].ip_mtu_bytes = None;
            host.nics[0].receive_queues = None;
        });
        assert_eq!(unknown, []);
    }

    #[test]
    fn clocks_differ_only_where_the_round_trip_leaves_no_doubt() {
        let of = |offset_ms: i64, uncertainty_ms: u64| {
            let clock =
                ClockOffset { offset_ns: offset_ms * 1_000_000, uncertainty_ns: uncertainty_ms * 1_000_000 };
            clocks(clock).map(|one| (one.weight, one.there))
        };
        assert_eq!(of(900, 1), None);
        assert_eq!(of(1500, 600), None, "it may be 900 ms");
        assert_eq!(of(-1500, 1), Some((Weight::Costly, "1.50 s behind (give or take 1.00 ms)".into())));
        assert_eq!(of(400_000, 1).unwrap().0, Weight::Grave);
    }

    #[test]
    fn a_virtual_function_at_one_end_and_a_whole_adapter_at_the_other_differ() {
        let functions =
            |count| Some(SrIov { is_virtual: false, functions: Some(count), functions_max: Some(8) });
        let (mut here, mut there) = (host(1), host(2));
        let differ = |here: &Environment, there: &Environment| {
            differences(here, there)
                .into_iter()
                .find(|one| one.fact == "SR-IOV")
                .map(|one| (one.here, one.there))
        };
        here.nics[0].sr_iov = functions(0);
        assert_eq!(differ(&here, &there), None, "what one does not tell");
        there.nics[0].sr_iov = functions(4);
        assert_eq!(differ(&here, &there), Some(("off".into(), "4 virtual functions".into())));
        there.nics[0].sr_iov = Some(SrIov { is_virtual: true, ..SrIov::default() });
        assert_eq!(differ(&here, &there), Some(("off".into(), "a virtual function itself".into())));
        here.nics[0].sr_iov = there.nics[0].sr_iov.clone();
        assert_eq!(differ(&here, &there), None);
    }

    #[test]
    fn versions_of_two_makes_and_numbers_of_queues_are_harmless() {
        let other = told(|host| {
            host.nics[0].driver = Some("ice".into());
            host.nics[0].firmware = Some("4.2".into());
            host.nics[0].receive_queues = Some(16);
        });
        assert!(other.len() == 3 && other.iter().all(|(weight, _)| *weight == Weight::Harmless), "{other:?}");
        let one_queue = told(|host| host.nics[0].receive_queues = Some(1));
        assert_eq!(one_queue[0], (Weight::Costly, "receive side scaling".into()));
    }

    #[test]
    fn fewer_receive_buffers_cost_and_what_two_makes_count_differently_is_harmless() {
        let rings = |receive, transmit| {
            Some(RingSizes { receive: Some(receive), transmit: Some(transmit), ..RingSizes::default() })
        };
        let (mut here, mut there) = (host(1), host(2));
        let differ = |here: &Environment, there: &Environment| {
            let found = differences(here, there).into_iter().filter(|one| one.fact.ends_with(" ring"));
            found.map(|one| (one.weight, one.fact, one.here, one.there)).collect::<Vec<_>>()
        };
        here.nics[0].rings = rings(1024, 512);
        assert_eq!(differ(&here, &there), [], "what one does not tell");
        there.nics[0].rings = rings(1024, 512);
        assert_eq!(differ(&here, &there), []);
        there.nics[0].rings = rings(8192, 1024);
        let receive = |weight| (weight, "receive ring".to_owned(), "1024".to_owned(), "8192".to_owned());
        let transmit = (Weight::Harmless, "transmit ring".to_owned(), "512".to_owned(), "1024".to_owned());
        assert_eq!(differ(&here, &there), [receive(Weight::Costly), transmit.clone()]);
        there.nics[0].driver = Some("ice".into());
        assert_eq!(differ(&here, &there), [receive(Weight::Harmless), transmit]);
        there.nics[0].rings = Some(RingSizes { receive_max: Some(9), ..RingSizes::default() });
        assert_eq!(differ(&here, &there), [], "how many there could be is no setting");
    }

    #[test]
    fn pauses_and_segmentation_at_one_end_alone_cost_something() {
        let paused = |receive, transmit| {
            let mut other = host(2);
            other.nics[0].pause = Some(PauseSettings { receive, transmit, negotiated: true });
            let mut own = host(1);
            own.nics[0].pause =
                Some(PauseSettings { receive: true, transmit: true, ..PauseSettings::default() });
            let found = differences(&own, &other).into_iter().find(|one| one.fact == "pause frames");
            found.map(|one| (one.weight, one.here, one.there))
        };
        assert_eq!(paused(true, true), None, "how they came about is no difference");
        let differs = (Weight::Costly, "obeyed and sent".to_owned(), "off".to_owned());
        assert_eq!(paused(false, false), Some(differs));
        let segmented = |name: &str| {
            let with = |last, on| {
                let mut host = host(last);
                host.nics[0].offloads.insert(name.into(), on);
                host
            };
            let found = differences(&with(1, true), &with(2, false));
            found.into_iter().filter(|one| one.fact != "name").map(|one| one.weight).collect::<Vec<_>>()
        };
        for name in ["tcp-segmentation-offload", "generic-segmentation-offload", "generic-receive-offload"] {
            assert_eq!(segmented(name), [Weight::Costly], "{name}");
        }
        assert_eq!(segmented("large-receive-offload"), [Weight::Harmless]);
    }

    #[test]
    fn pfc_is_compared_where_both_ends_tell_it() {
        let pfc = |priorities: &[u8]| {
            Some(Dcb {
                pfc: Some(DcbPfc { enabled_priorities: priorities.to_vec(), classes_max: None }),
                ..Dcb::default()
            })
        };
        let (mut here, mut there) = (host(1), host(2));
        here.nics[0].dcb = pfc(&[3]);
        assert!(finding(&differences(&here, &there)).is_none());
        there.nics[0].dcb = pfc(&[]);
        let said = finding(&differences(&here, &there)).unwrap();
        assert_eq!(said.evidence, "priorities with PFC of e1 and e0: 3 here and none there");
        there.nics[0].dcb = pfc(&[3]);
        assert!(finding(&differences(&here, &there)).is_none());
    }

    #[test]
    fn smb_direct_is_compared_by_its_priority_its_class_and_its_path_mtu() {
        let with = |last: u8, priority, class: u8, mtu| {
            let mut host = host(last);
            let smb = DcbApplication { selector: DcbSelector::StreamPort, protocol: 445, priority };
            let mut class_of_priority = vec![0; 8];
            class_of_priority[3] = class;
            host.nics[0].dcb = Some(Dcb {
                applications: Some(vec![smb]),
                ets: Some(DcbEts { class_of_priority, ..DcbEts::default() }),
                ..Dcb::default()
            });
            let netdev = Some(host.nics[0].name.clone());
            host.rdma = vec![RdmaDevice { netdev, rdma_path_mtu_bytes: Some(mtu), ..RdmaDevice::default() }];
            host
        };
        let here = with(1, 3, 1, 4096);
        let told = |there: &Environment| {
            let found = differences(&here, there).into_iter().filter(|one| one.fact != "name");
            found.map(|one| (one.weight, one.fact, one.here, one.there)).collect::<Vec<_>>()
        };
        assert_eq!(told(&with(2, 3, 1, 4096)), []);
        let differ = |weight, fact: &str, here: &str, there: &str| {
            (weight, fact.to_owned(), here.to_owned(), there.to_owned())
        };
        assert_eq!(
            told(&with(2, 4, 0, 1024)),
            [
                differ(Weight::Grave, "priority of SMB Direct", "3", "4"),
                differ(
                    Weight::Costly,
                    "traffic classes of the priorities",
                    "0 0 0 1 0 0 0 0",
                    "0 0 0 0 0 0 0 0"
                ),
                differ(Weight::Costly, "RDMA path MTU", "4096", "1024"),
            ]
        );
    }

    #[test]
    fn nics_of_one_network_are_compared_by_name_before_they_are_by_place() {
        let with = |name: &str, last: u8, mtu: u32| Nic {
            name: name.into(),
            ip_mtu_bytes: Some(mtu),
            addresses: vec![NicAddress { address: [10, 0, 0, last].into(), prefix_len: 24 }],
            ..Nic::default()
        };
        let here =
            Environment { nics: vec![with("a", 1, 1500), with("b", 2, 9000)], ..Environment::default() };
        let there =
            Environment { nics: vec![with("b", 3, 9000), with("c", 4, 1500)], ..Environment::default() };
        let all = differences(&here, &there);
        assert!(
            all.iter().all(|one| one.fact == "name" && one.nics == Some(["a".into(), "c".into()])),
            "{all:?}"
        );
    }
}
