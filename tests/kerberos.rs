//! Logging on with a ticket: a KDC and a smbd of our own.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use serde_json::Value;

use crate::file::{Smbd, USER};
use crate::support::{Scratch, document, pathproof, run_within, skip, stderr};

/// A realm on loopback with a user who has a ticket; ends on drop.
struct Realm(Scratch);

impl Realm {
    /// `None` where there is no KDC; that fails the test where the lab was asked for.
    fn start(name: &str) -> Option<Realm> {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string();
        let realm = Realm(Scratch::new(name));
        let dir = realm.0.path("realm");
        let output =
            script().args(["--port", &port, "start", &dir, USER, "cifs/localhost"]).output().unwrap();
        if output.status.code() == Some(77) {
            skip(&stderr(&output));
            return None;
        }
        assert!(output.status.success(), "{}", stderr(&output));
        Some(realm)
    }

    fn path(&self, name: &str) -> String {
        self.0.path(&format!("realm/{name}"))
    }

    /// A smbd that takes this realm's tickets.
    fn smbd(&self, name: &str, options: &[&str]) -> Option<Smbd> {
        let keytab = format!("dedicated keytab file = {}", self.path("keytab"));
        let takes = ["realm = LAB.TEST", "kerberos method = dedicated keytab", &keytab];
        let set = takes.iter().flat_map(|line| ["--set", line]);
        Smbd::start(name, &set.chain(options.iter().copied()).collect::<Vec<_>>())
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.run_with(arguments, &self.path("ccache"))
    }

    fn run_with(&self, arguments: &[&str], cache: &str) -> Output {
        let mut command = pathproof(arguments);
        command.env("KRB5_CONFIG", self.path("krb5.conf")).env("KRB5CCNAME", format!("FILE:{cache}"));
        run_within(command, Duration::from_secs(60))
    }
}

impl Drop for Realm {
    fn drop(&mut self) {
        let _ = script().args(["stop", &self.0.path("realm")]).output();
    }
}

fn script() -> Command {
    Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/lab/kerberos"))
}

/// A short look at a share, by tickets.
fn file(realm: &Realm, smbd: &Smbd, more: &[&str]) -> Value {
    let share = format!("//localhost:{}/share", smbd.port);
    let brief = ["--size", "64KiB", "--file-size", "8MiB", "--time", "300ms", "--verify", "--format", "json"];
    let output = realm.run(&[&["bench", "file", &share, "--kerberos"], &brief[..], more].concat());
    let document = document(&output);
    assert_eq!(output.status.code(), Some(0), "{}\n{:#}", stderr(&output), document["verdicts"]);
    document["steps"][0].clone()
}

const ENCRYPTED: &str = "server smb encrypt = required";

#[test]
fn a_ticket_opens_a_share_and_its_channels_signed_and_encrypted() {
    let Some(realm) = Realm::start("kerberos-share") else { return };
    for (options, protection) in [
        (&[][..], "none"),
        (&["--signing", "mandatory"], "signed by AES-GMAC"),
        (&["--share-set", ENCRYPTED], "encrypted by AES-128-GCM"),
        // Here the cipher's key comes from all 32 bytes of the ticket's, and the signer's from the first 16.
        (
            &["--share-set", ENCRYPTED, "--set", "server smb3 encryption algorithms = AES-256-GCM"],
            "encrypted by AES-256-GCM",
        ),
        (&["--share-set", ENCRYPTED, "--max-protocol", "SMB3_02"], "encrypted by AES-128-CCM"),
    ] {
        let Some(smbd) = realm.smbd("kerberos-smbd", options) else { return };
        // A second channel proves its owner by a logon of its own.
        let step = file(&realm, &smbd, &["--over", "multi", "--channels", "2", "--address", "127.0.0.1"]);
        assert_eq!(step["summary"]["verified"], true, "{options:?}: {step:#}");
        assert_eq!(step["lanes"].as_array().unwrap().len(), 2, "{step:#}");
        assert_eq!(step["file"]["protection"], protection, "{step:#}");
        assert!(smbd.files().is_empty());
    }
}

#[test]
fn a_ticket_asks_what_only_an_account_is_told() {
    let Some(realm) = Realm::start("kerberos-ask") else { return };
    let Some(smbd) = realm.smbd("kerberos-asked", &["--encrypt", "required"]) else { return };
    let port = smbd.port.to_string();
    let ask = |host: &str, cache: &str| {
        document(&realm.run_with(&["smb", host, "--port", &port, "--kerberos", "--format", "json"], cache))
    };
    let outcome = |document: &Value| {
        let attempts = document["smb"]["attempts"].as_array().unwrap();
        let logon = attempts.iter().find(|attempt| attempt["way"] == "credentials");
        logon.unwrap_or_else(|| panic!("{attempts:?}"))["outcome"].as_str().unwrap().to_owned()
    };
    let told = ask("localhost", &realm.path("ccache"));
    assert_eq!(outcome(&told), "answered");
    assert_eq!(told["smb"]["encryption_required"], true);
    // Whoever has no ticket, and whoever names the server otherwise than its key, gets the library's words and what to do.
    let without = outcome(&ask("localhost", &realm.path("nothing")));
    assert!(without.contains("kinit") && without.contains("--password-file"), "{without}");
    let otherwise = outcome(&ask("127.0.0.1", &realm.path("ccache")));
    assert!(otherwise.contains("cifs/NAME"), "{otherwise}");
}

#[test]
fn a_ticket_and_an_account_are_not_given_together() {
    let both = ["--kerberos", "--user", "lab", "--password-file", "/nowhere"];
    for command in
        [&["smb", "localhost"][..], &["bench", "file", "//localhost/share"], &["check", "//localhost/share"]]
    {
        let output = run_within(pathproof(&[command, &both].concat()), Duration::from_secs(20));
        assert_eq!(output.status.code(), Some(2), "{command:?}");
        assert!(stderr(&output).contains("cannot be used with"), "{}", stderr(&output));
    }
}
