//! A file as a rung of a ladder: what the server said of itself decides whether it can be measured and how, and what cannot be is told with its
//! reason instead of failing.

use std::net::{IpAddr, SocketAddr};

use pathproof_model::{
    FileDetail, FileOver, FileSpec, Finding, NodeId, ResultDoc, SmbInterface, SmbServer, Step,
};

/// What goes into a message whatever the server's limit for fragments: a unit of credits.
const MESSAGE_BYTES: u64 = 64 << 10;

/// Why a rung cannot be measured.
pub struct Impossible {
    why: String,
    /// Its finding, where somebody should be told.
    code: Option<&'static str>,
}

impl Impossible {
    fn absent(why: &str) -> Impossible {
        Impossible { why: why.into(), code: Some("SMB-DIRECT-ABSENT") }
    }

    fn quietly(why: &str) -> Impossible {
        Impossible { why: why.into(), code: None }
    }

    /// Both ends have RDMA, and SMB Direct does not answer.
    pub fn unreachable(why: String) -> Impossible {
        Impossible { why, code: Some("SMB-DIRECT-UNREACHABLE") }
    }
}

/// The step as this server takes it, where it is a rung.
pub fn adapted(mut spec: FileSpec, doc: &ResultDoc) -> FileSpec {
    let Some(smb) = doc.smb.as_ref().filter(|_| spec.rung) else { return spec };
    let most = smb.max_read_bytes.min(smb.max_write_bytes).max(8);
    spec.size_bytes = spec.size_bytes.min(most / 8 * 8);
    if spec.over == FileOver::Smbd {
        if smb.signing_required || smb.encryption_required == Some(true) {
            spec.size_bytes = spec.size_bytes.min(MESSAGE_BYTES);
        }
        if spec.addresses.is_empty() {
            spec.addresses = rdma_addresses(smb, doc);
        }
    }
    spec.file_bytes = spec.file_bytes / spec.size_bytes * spec.size_bytes;
    spec
}

fn listed(smb: &SmbServer) -> impl Iterator<Item = &SmbInterface> {
    // Index 0 is what clients skip.
    smb.interfaces.iter().filter(|nic| nic.index != 0)
}

fn asked(smb: &SmbServer) -> Option<IpAddr> {
    smb.address.parse::<SocketAddr>().ok().map(|address| address.ip())
}

/// The server's addresses with RDMA, that which it was asked at first. An address of this host leads to no other one.
fn rdma_addresses(smb: &SmbServer, doc: &ResultDoc) -> Vec<IpAddr> {
    let own: Vec<IpAddr> = doc.environment(NodeId::CLIENT).map_or_else(Vec::new, |here| {
        here.nics.iter().flat_map(|nic| &nic.addresses).map(|one| one.address).collect()
    });
    let asked = asked(smb);
    let with_rdma = listed(smb).filter(|nic| nic.rdma).map(|nic| nic.address);
    let mut addresses: Vec<IpAddr> =
        with_rdma.filter(|address| Some(*address) == asked || !own.contains(address)).collect();
    addresses
        .retain(|address| !(address.is_loopback() || address.is_multicast() || address.is_unspecified()));
    addresses.sort_by_key(|address| Some(*address) != asked);
    addresses.dedup();
    addresses
}

/// Why a rung cannot be measured, as far as that is known before anybody is called.
pub fn impossible(spec: &FileSpec, doc: &ResultDoc) -> Option<Impossible> {
    if !spec.rung {
        return None;
    }
    let smb = doc.smb.as_ref()?;
    match spec.over {
        FileOver::Tcp => None,
        FileOver::Multi if !smb.multichannel => {
            Some(Impossible::quietly("the server offers no Multichannel"))
        }
        FileOver::Multi => {
            let mut addresses: Vec<IpAddr> = listed(smb).map(|nic| nic.address).collect();
            addresses.sort_unstable();
            addresses.dedup();
            (addresses.len() < 2).then(|| {
                Impossible::quietly(match addresses.len() {
                    0 => "the server tells none of its NICs, so there is no second pair",
                    _ => "the server lists one address, so there is no second pair of NICs",
                })
            })
        }
        FileOver::Smbd => {
            let here = doc.environment(NodeId::CLIENT);
            if here.is_some_and(|here| here.rdma.is_empty()) {
                return Some(Impossible::absent("this host has no RDMA device"));
            }
            let none = !smb.interfaces.is_empty() && !listed(smb).any(|nic| nic.rdma);
            none.then(|| Impossible::absent("the server lists no NIC with RDMA"))
        }
    }
}

/// Keeps the reason in the step; what somebody should be told of it, once.
pub fn left_out(impossible: Impossible, step: &mut Step, doc: &ResultDoc) -> Vec<Finding> {
    let told = |code: &&str| doc.findings.iter().any(|finding| finding.code == *code);
    let finding = impossible.code.filter(|code| !told(code));
    let finding = finding.map(|code| Finding::new(code, impossible.why.clone()));
    step.detail.file =
        Some(FileDetail { not_possible: Some(impossible.why), removed: Some(true), ..FileDetail::default() });
    finding.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use pathproof_model::{Environment, Node, Tool};

    fn doc(rdma_here: bool, nics: &[(u32, &str, bool)]) -> ResultDoc {
        let mut doc = ResultDoc::new(Tool::default(), "then");
        let device = pathproof_model::RdmaDevice { name: "mlx5_0".into(), ..Default::default() };
        let rdma = if rdma_here { vec![device] } else { vec![] };
        doc.nodes = vec![Node::here(Some(Environment { rdma, ..Environment::default() }))];
        let interface = |&(index, address, rdma): &(u32, &str, bool)| SmbInterface {
            index,
            speed_bits_per_s: None,
            rss: true,
            rdma,
            address: address.parse().unwrap(),
        };
        doc.smb = Some(SmbServer {
            address: "10.0.0.2:445".into(),
            multichannel: true,
            max_read_bytes: 8 << 20,
            max_write_bytes: 8 << 20,
            interfaces: nics.iter().map(interface).collect(),
            ..SmbServer::default()
        });
        doc
    }

    fn spec(over: FileOver) -> FileSpec {
        FileSpec { over, rung: true, ..FileSpec::default() }
    }

    fn why(over: FileOver, doc: &ResultDoc) -> Option<String> {
        impossible(&spec(over), doc).map(|impossible| impossible.why)
    }

    #[test]
    fn what_one_end_lacks_is_said_of_that_end() {
        let two = [(1, "10.0.0.2", false), (2, "10.0.1.2", true)];
        assert_eq!(why(FileOver::Smbd, &doc(true, &two)), None);
        assert!(why(FileOver::Smbd, &doc(false, &two)).unwrap().contains("this host"));
        assert!(why(FileOver::Smbd, &doc(true, &two[..1])).unwrap().contains("the server"));
        assert_eq!(why(FileOver::Smbd, &doc(true, &[])), None, "a list that it does not tell says nothing");
        assert_eq!(why(FileOver::Multi, &doc(true, &two)), None);
        assert!(why(FileOver::Multi, &doc(true, &two[..1])).unwrap().contains("one address"));
        assert!(
            why(FileOver::Multi, &doc(true, &[(0, "10.0.0.3", true), two[0]])).is_some(),
            "index 0 is none"
        );
        let bench = FileSpec { rung: false, ..spec(FileOver::Smbd) };
        assert!(impossible(&bench, &doc(false, &two)).is_none(), "who asks for SMB Direct gets an error");
    }

    #[test]
    fn smb_direct_goes_to_the_addresses_that_have_it_and_that_which_was_asked_first() {
        let nics =
            [(1, "10.0.1.2", true), (2, "10.0.0.2", true), (3, "10.0.2.2", false), (4, "127.0.0.1", true)];
        let adapted = adapted(spec(FileOver::Smbd), &doc(true, &nics));
        assert_eq!(adapted.addresses, ["10.0.0.2", "10.0.1.2"].map(|a| a.parse::<IpAddr>().unwrap()));
    }

    #[test]
    fn a_server_that_takes_less_is_asked_for_less() {
        let mut doc = doc(true, &[]);
        doc.smb.as_mut().unwrap().max_write_bytes = 65_536;
        let small = adapted(spec(FileOver::Tcp), &doc);
        assert_eq!((small.size_bytes, small.file_bytes), (65_536, 128 << 20));
        doc.smb = Some(SmbServer { signing_required: true, ..doc.smb.unwrap() });
        doc.smb.as_mut().unwrap().max_write_bytes = 8 << 20;
        assert_eq!(adapted(spec(FileOver::Tcp), &doc).size_bytes, 1 << 20);
        assert_eq!(adapted(spec(FileOver::Smbd), &doc).size_bytes, 64 << 10, "in messages");
    }
}
