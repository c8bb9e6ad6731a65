//! What may cross, and what must not.

use std::collections::BTreeMap;

use super::*;
use crate::CommandName;
use crate::migrate::{InjectedFault, PolicyName, Tracker};

/// Specifications in which everything that can hold a word holds one of this end's own affairs.
fn full_of_secrets() -> Vec<StepSpec> {
    let secret = |name: &str| format!("SECRET-{name}");
    let mut options: BTreeMap<String, String> =
        ["device", "gid", "port", "paths", "constrain", "policy", "connections", "anything"]
            .into_iter()
            .map(|name| (name.to_owned(), secret(name)))
            .collect();
    options.insert("congestion".into(), "cubic".into());
    options.insert("registration".into(), "window".into());
    let traffic = |over: &str| TrafficSpec {
        over: over.into(),
        verb: Some(Verb::Write),
        fail: vec![secret("fail")],
        singles: true,
        follows_path_mtu: Some(0x5EC2E7),
        options: options.clone(),
        ..TrafficSpec::default()
    };
    let migrate = MigrateSpec {
        over: "multi".into(),
        pattern: format!("replay={}", secret("log")),
        policy: PolicyName::HyperV2008R2,
        tracker: Tracker::PagemapScan,
        fault: Some(InjectedFault::LostPage),
        disk: Some(DiskSpec { bytes: 7, file: Some(secret("file")), writes_bytes_per_s: 0x5EC2E7 }),
        options: options.clone(),
        ..MigrateSpec::default()
    };
    vec![
        StepSpec::Facts,
        StepSpec::Mtu(MtuSpec { nics: vec![secret("nic")], ..MtuSpec::default() }),
        StepSpec::Stream(traffic("tcp")),
        StepSpec::Pingpong(traffic("rdma")),
        StepSpec::Request(traffic("multi")),
        StepSpec::Migrate(migrate),
    ]
}

#[test]
fn t10_nothing_of_this_ends_own_affairs_crosses() {
    let plan = Plan {
        command: CommandName::Other("SECRET".into()),
        seed: 1,
        nodes: vec![],
        steps: full_of_secrets(),
    };
    let crossed = serde_json::to_string(&plan.request().unwrap()).unwrap();
    for own in ["SECRET", "hyperv", "pagemap", "lost-page"] {
        assert!(!crossed.contains(own), "{own}: {crossed}");
    }
    assert!(crossed.contains("cubic") && crossed.contains("window"), "what both ends need does: {crossed}");
}

#[test]
fn t10_what_the_other_end_makes_of_it_has_no_file_device_pattern_or_fault() {
    for spec in full_of_secrets() {
        let theirs = StepRequest::of(&spec).unwrap().to_spec();
        let text = serde_json::to_string(&theirs).unwrap();
        assert!(!text.contains("SECRET"), "{text}");
        assert_eq!(StepRequest::of(&theirs), StepRequest::of(&spec), "and it is the same request again");
        if let StepSpec::Migrate(migrate) = theirs {
            let disk = migrate.disk.unwrap();
            assert_eq!((disk.file, disk.writes_bytes_per_s, migrate.fault), (None, 0, None));
            assert_eq!(migrate.pattern, MigrateSpec::default().pattern);
        } else if let Some(traffic) = theirs.traffic() {
            let own = (&traffic.fail, traffic.singles, traffic.follows_path_mtu);
            assert_eq!(own, (&vec![], false, None));
        }
    }
}

#[test]
fn t10_a_word_that_is_not_listed_cannot_be_read() {
    let json = |with: &str| {
        let mut value =
            serde_json::to_value(StepRequest::of(&StepSpec::Stream(TrafficSpec::default())).unwrap())
                .unwrap();
        let (at, what) = with.split_once('=').unwrap();
        value[at] = serde_json::from_str(what).unwrap();
        serde_json::from_value::<StepRequest>(value)
    };
    assert!(json("depth=9").is_ok() && json(r#"port="smb""#).is_ok());
    for hostile in [
        r#"options={"fail":"eth0@1s"}"#,
        r#"file="/etc/shadow""#,
        r#"over="sim""#,
        r#"verb="/dev/zero""#,
        r#"port="ssh""#,
        r#"port=22"#,
        r#"size_bytes=3221225472000"#,
        r#"lanes=-1"#,
        r#"beside=[{"file":"/etc/shadow"}]"#,
        r#"beside=[{"kind":"migrate","direction":"out","lanes":1,"size_bytes":1,"depth":1,"load":"open"}]"#,
        r#"lane={"device":"mlx5_0"}"#,
        r#"lane={"paths":"10.0.0.1,,10.0.0.2:1"}"#,
        r#"lane={"congestion":"../../../etc/passwd"}"#,
        r#"lane={"congestion":""}"#,
    ] {
        assert!(json(hostile).is_err(), "{hostile}");
    }
    let disk = r#"{"kind":"migrate","over":"tcp","memory_bytes":4096,"parallel":1,"lanes":1,"chunk_bytes":4096,
        "disk":{"bytes":1,"file":"/etc/shadow"},"lane":{}}"#;
    assert!(serde_json::from_str::<StepRequest>(disk).is_err());
}

#[test]
fn what_would_choose_a_device_of_the_peers_is_refused_with_the_way_out() {
    let options = [("peer_device".to_owned(), "mlx5_1".to_owned())].into();
    let spec = StepSpec::Stream(TrafficSpec { over: "rdma".into(), options, ..TrafficSpec::default() });
    assert!(StepRequest::of(&spec).unwrap_err().contains("serve --device"));
    let large = TrafficSpec { size_bytes: 1 << 32, ..TrafficSpec::default() };
    assert!(StepRequest::of(&StepSpec::Stream(large)).unwrap_err().contains("4 GiB"));
}
