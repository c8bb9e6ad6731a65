use super::*;

fn doc(size: u32) -> MeshDoc {
    MeshDoc::new(size, MeshSettings::default(), &[])
}

/// Every figure of every pair with as many digits as a fabric of 400 Gbit/s gives, and facts as long as they may be.
#[test]
fn a_document_of_256_hosts_fits_into_4_mb() {
    let mut doc = doc(256);
    for rank in 0..256 {
        let facts = (0..24).map(|fact| (format!("a fact with a name {fact:02}"), "x".repeat(32))).collect();
        doc.ranks.push(Rank { rank, host: format!("node-with-a-name-{rank:03}"), facts, ..Rank::default() });
        doc.planes[0].addresses.push(Some(std::net::Ipv4Addr::from(0x0a5b_0000 + rank).into()));
    }
    for from in 0..256 {
        for to in 0..256 {
            let cell = Cell {
                goodput_bits_per_s: Some(380_123_456_789 + from as u64),
                worst_second_bits_per_s: Some(379_123_456_789 + to as u64),
                retransmits: Some(12),
                ip_mtu_bytes: Some(9000),
                rtt_p50_ns: Some(23_456),
                rtt_p99_ns: Some(123_456),
                reason: None,
            };
            doc.planes[0].matrices.put(256, (from, to), &cell);
        }
    }
    for number in 1..=600 {
        let kind = RoundKind::Up;
        doc.rounds.push(Round {
            number,
            kind,
            plane: 0,
            started_ns: 1 << 40,
            elapsed_ns: 1 << 31,
            exchanges: 128,
            failed: 0,
        });
    }
    let bytes = serde_json::to_vec(&doc).unwrap().len();
    assert!(bytes <= 4 << 20, "{bytes} bytes");
    assert!(bytes > 2 << 20, "{bytes} bytes: the figures are not in it");
}

#[test]
fn what_is_not_known_is_null_with_a_reason_and_the_first_reason_stays() {
    let mut matrices = Matrices::default();
    assert!(matrices.is_empty());
    matrices.put(3, (0, 1), &Cell { goodput_bits_per_s: Some(7), ..Cell::default() });
    matrices.put(3, (0, 2), &Cell { reason: Some("rank 2 died".into()), ..Cell::default() });
    matrices.put(3, (0, 2), &Cell { reason: Some("and so".into()), ..Cell::default() });
    matrices.put(3, (1, 1), &Cell { goodput_bits_per_s: Some(9), ..Cell::default() });
    matrices.put(3, (0, 3), &Cell { goodput_bits_per_s: Some(9), ..Cell::default() });
    assert!(!matrices.is_empty());
    assert_eq!(matrices.goodput_bits_per_s[0], [None, Some(7), None]);
    assert_eq!(matrices.goodput_bits_per_s[1], [None; 3]);
    assert_eq!(matrices.code[0], [None, Some(0), Some(1)]);
    assert_eq!((matrices.reason(0, 2), matrices.reason(0, 1)), (Some("rank 2 died"), None));
    // A figure that comes later does not take the one before away.
    matrices.put(3, (0, 1), &Cell { ip_mtu_bytes: Some(1500), ..Cell::default() });
    assert_eq!(matrices.goodput_bits_per_s[0][1], Some(7));
}

#[test]
fn a_peer_cannot_fill_the_list_of_reasons() {
    let mut matrices = Matrices::default();
    for number in 0..1000 {
        let reason = Some(format!("reason {number}"));
        matrices.put(8, (number % 8, (number + 1) % 8), &Cell { reason, ..Cell::default() });
    }
    assert!(matrices.reasons.len() <= 65, "{}", matrices.reasons.len());
}

#[test]
fn nothing_measured_is_never_fit_and_a_dead_rank_is_not_either() {
    let mut empty = doc(4);
    empty.conclude();
    assert_eq!((empty.outcome, empty.exit_code), (RunOutcome::None, Some(2)));
    let mut well = doc(2);
    well.planes[0].matrices.put(2, (0, 1), &Cell { goodput_bits_per_s: Some(7), ..Cell::default() });
    well.conclude();
    assert_eq!((well.outcome, well.exit_code), (RunOutcome::Fit, Some(0)));
    let mut noisy = MeshDoc { unclear: vec!["too noisy".into()], ..well.clone() };
    noisy.conclude();
    assert_eq!(noisy.exit_code, Some(3));
    let dead = Dead { rank: 1, host: None, round: None, reason: "it never came".into() };
    let mut missing = MeshDoc { dead: vec![dead], ..noisy };
    missing.conclude();
    assert_eq!((missing.outcome, missing.exit_code), (RunOutcome::NotFit, Some(1)));
}
