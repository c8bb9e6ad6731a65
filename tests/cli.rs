//! Help, man page, completions, devices: what can be had without a peer.

use crate::support::*;

#[test]
fn help_names_every_command_and_goes_to_stdout() {
    let output = run(&["--help"]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success());
    for command in ["serve", "check", "bench", "report", "completions", "man"] {
        assert!(text.contains(command), "{command} is missing in\n{text}");
    }
}

#[test]
fn man_page_and_completions_are_made_from_the_same_definition() {
    let man = run(&["man"]);
    let man = String::from_utf8_lossy(&man.stdout);
    for part in [".TH pathproof ", ".TH pathproof-check ", ".TH pathproof-bench-stream ", "\\-\\-criteria"] {
        assert!(man.contains(part), "{part:?} is missing");
    }
    for shell in ["bash", "zsh", "fish"] {
        let output = run(&["completions", shell]);
        assert!(String::from_utf8_lossy(&output.stdout).contains("json-stream"), "{shell}");
    }
}

#[test]
fn a_mistyped_option_is_exit_code_2_and_nothing_on_stdout() {
    for args in [
        &["check", "--sefl"][..],
        &["bench", "stream", "host", "--size", "12 parsecs"],
        &["bench", "stream", "--self", "--over", "pigeon"],
        &["devices", "--format", "hlog"],
        &["serve", "--key", "short"],
        &["nonsense"],
    ] {
        let output = run(args);
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        assert!(output.stdout.is_empty(), "{args:?}");
        assert!(!output.stderr.is_empty(), "{args:?}");
    }
}
