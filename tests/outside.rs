//! What comes from outside and goes to a terminal: typed words, files, peers.

use std::process::Output;

use crate::support::{run, stderr};

/// Clears the screen, forges lines, turns sentences round, in one word without spaces.
const HOSTILE: &str = "x\u{1b}[2J\u{1b}]0;t\u{7}\r\n\tFIT:ok\nFIT:\u{9b}31m\u{7f}\u{85}\u{202e}\u{2066}\u{200b}\u{2028}\u{2029}\u{feff}";

fn both(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), stderr(output))
}

fn assert_harmless(text: &str, what: &str) {
    let harmful = |c: &char| {
        c.is_control() && *c != '\n' || "\u{202e}\u{2066}\u{200b}\u{2028}\u{2029}\u{feff}".contains(*c)
    };
    assert!(!text.chars().any(|c| harmful(&c)), "{what}: {:?}", text);
    assert!(!text.lines().any(|line| line.starts_with("FIT")), "{what}: {text:?}");
}

#[test]
fn typed_words_are_told_back_harmless() {
    let plain = HOSTILE.replace(char::is_whitespace, "");
    let missing = format!("/nowhere/{HOSTILE}");
    for args in [
        vec!["check", HOSTILE],
        vec!["check", &plain],
        vec!["check", "--self", "--over", HOSTILE],
        vec!["check", "--self", "--criteria", &missing],
        vec!["check", "--self", "--plan", &missing],
        vec!["check", "--self", "--key-file", &missing],
        vec!["check", "--self", "-o", &missing],
        vec!["check", HOSTILE, "--no-such-option"],
        vec!["check", "--self", HOSTILE],
        vec![HOSTILE],
        vec!["bench", "stream", "--self", "--rate", HOSTILE],
        vec!["bench", "stream", "--self", "--option", HOSTILE],
        vec!["serve", "--limits", HOSTILE],
        vec!["report", &missing],
        vec!["smb", HOSTILE],
        vec!["migrate", "--self", "--dirty", HOSTILE],
    ] {
        let output = run(&args);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {}", both(&output));
        assert!(!output.stderr.is_empty(), "{args:?} says nothing");
        assert_harmless(&both(&output), &format!("{args:?}"));
    }
}

#[test]
fn files_are_told_back_harmless() {
    let folder = std::env::temp_dir().join(format!("pathproof-outside-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let quoted = HOSTILE.chars().map(|c| format!("\\u{:04x}", u32::from(c))).collect::<String>();
    let fleet = file(
        "fleet.toml",
        &format!(
            "[path]\ngoodput = \"1Gbit/s\"\n[[host]]\nname = \"{quoted}\"\n[[host.guest]]\nname = \"{quoted}\"\nmemory = \"1GB\"\n"
        ),
    );
    let criteria = file("criteria.toml", &format!("[latency]\n\"{quoted}\" = 1\n"));
    let plan = file("plan.toml", &format!("command = \"x\"\n[[steps]]\nkind = \"{quoted}\"\n"));
    let schema = file("schema.json", &format!("{{\"schema\": \"{quoted}\"}}"));
    let broken = file("broken.json", HOSTILE);
    let answered = run(&["migrate", "--plan", &fleet]);
    assert_eq!(answered.status.code(), Some(0), "{}", both(&answered));
    assert!(both(&answered).contains("\\u{1b}[2J"), "{}", both(&answered));
    assert_harmless(&both(&answered), "a fleet plan");
    for args in [
        vec!["check", "--self", "--criteria", &criteria],
        vec!["check", "--self", "--plan", &plan],
        vec!["report", &schema],
        vec!["report", &broken],
    ] {
        let output = run(&args);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {}", both(&output));
        assert_harmless(&both(&output), &format!("{args:?}"));
    }
    std::fs::remove_dir_all(folder).unwrap();
}
