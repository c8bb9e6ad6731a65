//! What is replaced, however it is written, and what stays.

use super::*;

fn pseudonyms() -> Pseudonyms {
    let mut names = Pseudonyms::new([7; 32]);
    names.hide("hv1.corp.example", "host");
    names.hide("stor2", "host");
    names.hide("a", "user");
    names
}

#[test]
fn no_name_and_no_address_is_left() {
    let text = "HV1 asked stor2:7797 (10.91.1.2:7797, [fd12:3456:789a:1::22]) over 52:54:00:ab:cd:ef and 00-15-5D-AB-CD-EF; \
                //stor2/vms on hv1.corp.example. fe80::5054:ff:feab:cdef%eth0, guid 5054:00ff:feab:cdef, ::ffff:192.168.7.9";
    let told = pseudonyms().text(text);
    for gone in [
        "HV1",
        "hv1",
        "stor2",
        "corp",
        "10.91.1.2",
        "fd12:3456",
        "ab:cd:ef",
        "AB-CD-EF",
        "feab",
        "192.168.7.9",
    ] {
        assert!(!told.contains(gone), "{gone}: {told}");
    }
    for kept in [
        "host1 asked host2:7797 (10.",
        ".2:7797",
        "52:54:00:",
        "00:15:5d:",
        "fe80::",
        "%eth0",
        "//host2/vms on host1.",
        "192.168.",
    ] {
        assert!(told.contains(kept), "{kept}: {told}");
    }
    assert_eq!(told, pseudonyms().text(text), "the same every time");
    assert_ne!(told, Pseudonyms::new([8; 32]).text(text));
}

#[test]
fn what_names_nobody_stays() {
    let names = pseudonyms();
    for text in [
        "127.0.0.1:7797 and ::1 on lo, 0.0.0.0, [::]:7797, 255.255.255.0, 224.0.0.1, ff02::1, 1.25 ms, 94.1 %",
        "2026-11-29T08:10:11.5Z took 12:30, a hot path at 9000 bytes; 00:00:00:00:00:00, ff:ff:ff:ff:ff:ff",
        "mlx5_0 fw 16.35.2000 driver 5.15.0-1.el8, a.b, 0x80072746, storage2, stor22",
    ] {
        assert_eq!(names.text(text), text);
    }
    assert_eq!(names.text("a"), "user1", "where it stands alone");
}

#[test]
fn a_hardware_address_is_replaced_however_it_is_written() {
    let mut names = pseudonyms();
    names.hide_hardware("0c:42:a1:ab:cd:ef");
    let text = "MAC=52:54:00:12:34:56:52:54:00:65:43:21:08:00 5254.0012.3456 525400-123456 enx525400123456 \
                0c42a1abcdef 0x0c42a10300abcdef 0x0e42a1fffeabcdef 80:00:00:48:fe:80:00:00:00:00:00:00:0c:42:a1:03:00:ab:cd:ef";
    let told = names.text(text);
    for gone in ["12:34:56", "65:43:21", "0012.3456", "400123456", "abcdef", "ab:cd:ef"] {
        assert!(!told.contains(gone), "{gone}: {told}");
    }
    // The type of the frame, the makers, and what only looks like an address.
    for kept in ["MAC=52:54:00:", ":08:00 ", "525400-123456", "enx525400", " 0c42a1", "0x0c42a1", "80:00:00:"]
    {
        assert!(told.contains(kept), "{kept}: {told}");
    }
    let text =
        "enx0c42a1abcdef.100 on mlx5_0c42a1abcdef, ifname=eth0:52:54:00:12:34:56, nics.enx525400123456";
    let told = names.text(text);
    for kept in ["enx0c42a1", ".100 on mlx5_0c42a1", "ifname=eth0:52:54:00:", "nics.enx525400"] {
        assert!(told.contains(kept), "{kept}: {told}");
    }
    assert!(!told.contains("abcdef") && !told.contains("12:34:56") && !told.contains("123456"), "{told}");
    let other = "0123456789ab 0xffff888100abcdef ff:ff:ff:ff:ff:ff";
    assert_eq!(names.text(other), other);
}

#[test]
fn addresses_and_names_are_found_within_words() {
    let mut names = pseudonyms();
    names.hide("a-very-long-host-name", "host");
    names.learn("Hostname set to <stor2.lab.example>. Cannot read /home/alice/x, see stor2.json and /home/");
    let text = "ip=10.91.1.2::10.91.1.1:255.255.255.0:hv1:eth0 peer:fd12:3456::7 10.91.1.2-10.91.1.9 10.91.1.2.7797 \
                stor9.corp.example stor2.lab.example db7.lan A-VERY-LONG-HOS /home/alice/.ssh CORP\\alice alice@stor2";
    let told = names.text(text);
    for gone in
        ["10.91.1", "hv1", "fd12:3456", "stor9", "corp", "CORP", "lab", "db7", "VERY", "alice", "stor2"]
    {
        assert!(!told.contains(gone), "{gone}: {told}");
    }
    for kept in
        [":255.255.255.0:host1:eth0", ".7797 ", ".domain1 ", ".lan ", "/home/user2/.ssh", "user2@host2"]
    {
        assert!(told.contains(kept), "{kept}: {told}");
    }
    assert_eq!(names.text("see stor2.json, v10.91.1.2"), "see host2.json, v10.91.1.2");
    let told = names.text("from fd12:3456::1-fd12:3456::9, 10.91.1.2-fd12:3456::9");
    assert!(!told.contains("fd12:3456") && !told.contains("10.91.1"), "{told}");
}

#[test]
fn an_account_is_hidden_with_its_domain_and_without_it() {
    let mut names = pseudonyms();
    names.hide("LAB\\bob", "user");
    names.hide("carol@lab.example", "user");
    let told = names.text("bob, LAB\\bob and carol@lab.example logged on; carol may not");
    assert_eq!(told, "user2, domain2\\user2 and user3@domain2 logged on; user3 may not");
}

/// Samba tells its NetBIOS name in the place of a GUID.
#[test]
fn a_uuid_is_another_one_and_that_of_nobody_stays() {
    let [guid, nobody] = ["746f7473-0072-0000-0000-000000000000", "00000000-0000-0000-0000-000000000000"];
    let told = pseudonyms().text(guid);
    assert!(told != guid && told.len() == guid.len() && !told.contains("746f7473"), "{told}");
    assert_eq!(pseudonyms().text(nobody), nobody);
    assert_eq!(told, pseudonyms().text(guid), "the same every time");
}

#[test]
fn a_secret_is_left_out() {
    let mut names = pseudonyms();
    names.leave_out("copper-lantern-otter-violet");
    names.leave_out("");
    for (text, told) in [
        ("key copper-lantern-otter-violet.", "key (left out)."),
        (
            "root=/dev/sda1 rd.iscsi.password=pa$$w0rd! quiet",
            "root=/dev/sda1 rd.iscsi.password=(left out) quiet",
        ),
        ("username=lab,password=\"a b\",vers=3", "username=lab,password=\"(left out)\",vers=3"),
        ("pathproof check x --key hidden-words --quick", "pathproof check x --key (left out) --quick"),
        ("password=$%! quiet,token= quiet", "password=(left out) quiet,token=(left out) quiet"),
        ("smb://lab:pa$$@storage/x", "smb://lab:(left out)@storage/x"),
        ("bypass=1 tokens=2 --key-file k", "bypass=1 tokens=2 --key-file k"),
    ] {
        assert_eq!(names.text(text), told);
    }
}

#[test]
fn what_a_document_calls_its_own_parts_stays_and_so_do_versions() {
    let mut names = Pseudonyms::new([1; 32]);
    for host in ["client", "storage", "goodput", "localhost.localdomain"] {
        names.hide(host, "host");
    }
    // Whose account is called like the system says nothing of who it is.
    names.hide("ubuntu", "user");
    assert_eq!(names.text("Ubuntu 24.04"), "Ubuntu 24.04");
    let doc = serde_json::json!({"goodput_bits_per_s": 7, "goodput": "client", "class": "storage", "firmware": "14.32.10.10"});
    assert_eq!(names.value(doc.clone()), doc);
    assert_eq!(names.text("localhost and goodput"), "localhost and host1");
}

#[test]
fn what_is_one_network_stays_one() {
    let names = Pseudonyms::new([3; 32]);
    let ip = |text: &str| names.text(text).parse::<IpAddr>().unwrap();
    let IpAddr::V4(one) = ip("10.91.1.2") else { panic!() };
    let IpAddr::V4(two) = ip("10.91.1.254") else { panic!() };
    let IpAddr::V4(other) = ip("10.91.2.2") else { panic!() };
    assert_eq!(one.octets()[..3], two.octets()[..3]);
    assert_ne!(one.octets()[..3], other.octets()[..3]);
    assert_eq!((one.octets()[0], one.octets()[3], two.octets()[3]), (10, 2, 254));
    let network = names.text("fd00:1:2:3::/64");
    let within = names.text("fd00:1:2:3::7");
    assert!(within.starts_with(network.strip_suffix("::/64").unwrap()), "{network} {within}");
    assert_eq!(
        names.text("10.91.1.0/24"),
        format!("{}.{}.{}.0/24", one.octets()[0], one.octets()[1], one.octets()[2])
    );
}

#[test]
fn keys_and_values_of_a_document_are_changed_alike() {
    let doc = serde_json::json!({"nics.eth0": {"mac": "52:54:00:ab:cd:ef"}, "stor2": ["stor2", 7, null]});
    let told = pseudonyms().value(doc);
    assert_eq!(told["host2"], serde_json::json!(["host2", 7, null]));
    assert!(told["nics.eth0"]["mac"].as_str().unwrap().starts_with("52:54:00:"));
    assert!(!told.to_string().contains("ab:cd:ef"));
}
