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

/// The commands that a help text lists.
fn listed(help: &str) -> Vec<String> {
    let commands = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let commands = commands.take_while(|line| line.starts_with("  "));
    let names =
        commands.filter(|line| !line.starts_with("   ")).filter_map(|line| line.split_whitespace().next());
    names.filter(|name| *name != "help").map(str::to_owned).collect()
}

/// What people read first is compared as a whole. Where a change is wanted: `INSTA_UPDATE=always cargo nextest run -p
/// pathproof --test tests help`.
#[test]
fn the_help_of_every_command_is_the_stored_one() {
    let mut open: Vec<Vec<String>> = vec![vec![]];
    let mut seen = 0;
    while let Some(command) = open.pop() {
        let mut args: Vec<&str> = command.iter().map(String::as_str).collect();
        args.push("--help");
        let help = run(&args);
        assert!(help.status.success(), "{args:?}");
        let help = String::from_utf8(help.stdout).unwrap();
        open.extend(listed(&help).into_iter().map(|name| [command.as_slice(), &[name]].concat()));
        let name =
            ["help"].into_iter().chain(command.iter().map(String::as_str)).collect::<Vec<_>>().join("-");
        insta::with_settings!({ omit_expression => true, prepend_module_to_snapshot => false }, {
            insta::assert_snapshot!(name, help);
        });
        seen += 1;
    }
    assert!(seen > 10, "only {seen} commands");
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

/// What bash offers for the last of these words.
fn offered(words: &[&str]) -> Vec<String> {
    let script = r#"
source "$1"; shift
COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) COMP_LINE="$*" COMP_POINT=${#COMP_LINE}
_pathproof pathproof "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
printf '%s\n' "${COMPREPLY[@]}"
"#;
    let scratch = Scratch::new("completions");
    let file = scratch.path("pathproof.bash");
    std::fs::write(&file, run(&["completions", "bash"]).stdout).unwrap();
    let mut bash = std::process::Command::new("bash");
    // `complete` is of interactive shells in some builds of bash, and `compgen` of all.
    bash.args(["--norc", "-c", script, "bash", &file]).args(words);
    let output = run_within(bash, std::time::Duration::from_secs(30));
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect()
}

#[test]
fn a_shell_completes_values_and_not_names_of_options_alone() {
    for (words, wanted) in [
        (&["pathproof", "che"][..], &["check"][..]),
        (&["pathproof", "check", "stor2", "--profile", "hy"], &["hyperv"]),
        (&["pathproof", "check", "stor2", "--format", "ju"], &["junit"]),
        (&["pathproof", "check", "stor2", "--over", "sm"], &["smbd"]),
        (&["pathproof", "bench", "stream", "stor2", "--verb", "se"], &["send"]),
        (&["pathproof", "migrate", "stor2", "--policy", "hyperv-"], &["hyperv-2008r2"]),
        (&["pathproof", "bench", "file", "//stor2/vms", "--over", "sm"], &["smbd"]),
        (&["pathproof", "contend", "hv2", "--over", "mu"], &["multi"]),
        (&["pathproof", "explain", "MTU-BLACKH"], &["MTU-BLACKHOLE"]),
        (&["pathproof", "man", "chec"], &["check"]),
        // What there is not, and what a file is named for: that is the shell's own affair.
        (&["pathproof", "explain", "MTU-NEVER"], &[]),
        (&["pathproof", "report", "/nonexistent/resu"], &[]),
    ] {
        assert_eq!(offered(words), wanted, "{words:?}");
    }
    let codes = offered(&["pathproof", "explain", ""]);
    assert!(codes.len() > 100 && codes.contains(&"goodput".to_owned()), "{codes:?}");
    for shell in ["zsh", "fish"] {
        let text = String::from_utf8(run(&["completions", shell]).stdout).unwrap();
        for part in ["MTU-BLACKHOLE", "hyperv", "smbd", "openmetrics"] {
            assert!(text.contains(part), "{part} is missing for {shell}");
        }
    }
    // Choices of the completions bind nobody: the command itself knows the nearest right word.
    assert!(stderr(&run(&["explain", "MTU-BLACKHOLD"])).contains("the nearest is MTU-BLACKHOLE"));
}

#[test]
fn a_finding_is_explained_and_a_wrong_code_gets_the_nearest_right_one() {
    let all = run(&["explain"]);
    let all = String::from_utf8(all.stdout).unwrap();
    let codes: Vec<&str> = all.lines().filter_map(|line| line.split_whitespace().next()).collect();
    assert!(codes.len() > 80 && codes.contains(&"MTU-BLACKHOLE"), "{all}");
    let page = run(&["explain", "mtu-blackhole"]);
    assert!(page.status.success());
    let page = String::from_utf8(page.stdout).unwrap();
    for part in [
        "MTU-BLACKHOLE (error)\n\nMeans\n",
        "\nRecognised by\n",
        "\nWhat else looks like it\n",
        "ping -M do",
        "\nLinux\n",
        "Set-NetAdapterAdvancedProperty",
        "\nSwitches\n",
    ] {
        assert!(page.contains(part), "{part:?} is missing in\n{page}");
    }
    let wrong = run(&["explain", "MTU-BLACKHOLD"]);
    assert_eq!((wrong.status.code(), wrong.stdout.len()), (Some(2), 0));
    assert!(
        String::from_utf8_lossy(&wrong.stderr).contains("the nearest is MTU-BLACKHOLE"),
        "{}",
        stderr(&wrong)
    );
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
