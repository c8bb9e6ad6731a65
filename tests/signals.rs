//! A signal ends every command with the code of that signal, whatever it is doing.

use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::support::*;

fn ended_by(signal: &str, args: &[&str], wait: Duration) -> Option<i32> {
    let mut child = pathproof(args).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    std::thread::sleep(wait);
    let sent = Command::new("kill").args([&format!("-{signal}"), &child.id().to_string()]).status();
    assert!(sent.is_ok_and(|status| status.success()), "{args:?} had ended before SIG{signal}");
    wait_within(&mut child, Duration::from_secs(5)).code()
}

#[test]
fn every_command_ends_with_the_code_of_its_signal() {
    // It takes connections and says nothing, as a server does that hangs.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let (port, peer) =
        (silent.local_addr().unwrap().port().to_string(), silent.local_addr().unwrap().to_string());
    let scratch = Scratch::new("signals");
    let result = scratch.path("smb.json");
    let commands: [&[&str]; 6] = [
        &["serve", "--listen", "127.0.0.1:0"],
        &["smb", "127.0.0.1", "--port", &port, "--wait", "60s", "-o", &result],
        &["channels", "--smb", "127.0.0.1", "--port", &port, "--wait", "60s"],
        &["channels", &peer],
        &["bench", "stream", &peer],
        &["check", &peer],
    ];
    for (signal, code) in [("TERM", 143), ("INT", 130), ("HUP", 143)] {
        for args in commands {
            assert_eq!(
                ended_by(signal, args, Duration::from_millis(400)),
                Some(code),
                "{args:?}, SIG{signal}"
            );
        }
        let doc: serde_json::Value = serde_json::from_slice(&std::fs::read(&result).unwrap()).unwrap();
        assert_eq!(doc["exit_code"], code, "{doc:#}");
        assert!(doc["error"]["message"].as_str().unwrap().contains(&format!("SIG{signal}")), "{doc:#}");
    }
}
