//! What texts promise: flags that exist, links that lead somewhere, findings that are raised, one table of exit codes.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use clap::{CommandFactory, Parser};
use pathproof_model::finding::CATALOGUE;

use crate::support::*;

fn project(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// The files below `folders` with this ending.
fn files(folders: &[&str], ending: &str) -> Vec<PathBuf> {
    let mut open: Vec<PathBuf> = folders.iter().map(|folder| project(folder)).collect();
    let mut found = Vec::new();
    while let Some(path) = open.pop() {
        if path.is_dir() {
            open.extend(std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        } else if path.to_string_lossy().ends_with(ending) {
            found.push(path);
        }
    }
    assert!(found.len() > 5, "hardly any {ending} in {folders:?}");
    found
}

/// The sources of the program, without their tests.
fn sources() -> Vec<(PathBuf, String)> {
    const SOURCES: [&str; 9] = [
        "src",
        "sys/src",
        "bench/model/src",
        "bench/engine/src",
        "bench/report/src",
        "transports/api/src",
        "transports/tcp/src",
        "transports/multi/src",
        "transports/rdma/src",
    ];
    let tests = |path: &PathBuf| path.ends_with("tests.rs");
    let of = |path: PathBuf| {
        let text = read(&path);
        let code = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default().to_owned();
        (path, code)
    };
    files(&SOURCES, ".rs").into_iter().filter(|path| !tests(path)).map(of).collect()
}

fn documents() -> Vec<PathBuf> {
    let mut all = files(&["docs"], ".md");
    all.extend([project("README.md"), project("CONTRIBUTING.md")]);
    all
}

/// Every long flag of every command, aliases included.
fn known_flags() -> BTreeSet<String> {
    fn collect(command: &clap::Command, into: &mut BTreeSet<String>) {
        for argument in command.get_arguments() {
            into.extend(argument.get_long().map(Into::into));
            into.extend(argument.get_all_aliases().unwrap_or_default().into_iter().map(String::from));
        }
        command.get_subcommands().for_each(|sub| collect(sub, into));
    }
    let mut command = pathproof::cli::Cli::command();
    command.build();
    let mut known = BTreeSet::new();
    collect(&command, &mut known);
    known
}

/// The words of a text that look like long flags.
fn flags(text: &str) -> impl Iterator<Item = &str> {
    let ends = |c: char| !(c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
    text.match_indices("--").filter_map(move |(at, _)| {
        // Not within a word, nor a rule of dashes.
        if text[..at].chars().next_back().is_some_and(|c| c.is_alphanumeric() || "-<!".contains(c)) {
            return None;
        }
        let flag = text[at + 2..].split(ends).next()?.trim_end_matches('-');
        flag.starts_with(|c: char| c.is_ascii_lowercase()).then_some(flag)
    })
}

#[test]
fn every_flag_that_a_text_names_exists() {
    let known = known_flags();
    assert!(known.contains("expect-rate") && known.contains("self"), "{known:?}");
    let mut unknown = Vec::new();
    for entry in CATALOGUE {
        for flag in flags(entry.meaning).chain(flags(entry.next)).filter(|flag| !known.contains(*flag)) {
            unknown.push(format!("{}: --{flag}", entry.code));
        }
    }
    for (path, code) in sources() {
        for line in code.lines().filter(|line| !line.trim_start().starts_with("//")) {
            let own = !["apt-get", "srun ", "mpirun "].iter().any(|other| line.contains(other));
            for flag in flags(line).filter(|_| own).filter(|flag| !known.contains(*flag)) {
                unknown.push(format!("{}: --{flag}", path.display()));
            }
        }
    }
    // Lines about other programs have flags of theirs.
    const OTHERS: [&str; 24] = [
        "scripts/",
        "cargo",
        "smbd",
        "perftest",
        "iperf3",
        "sockperf",
        "clippy",
        "nextest",
        "qemu-system",
        "git ",
        "ip link",
        "mlnx_qos",
        "firewall-cmd",
        "nmap",
        "systemctl",
        "virsh",
        "journalctl",
        "ethtool",
        "traceroute",
        "srun ",
        "mpirun",
        "mpiexec",
        "clush",
        "kubectl",
    ];
    // These are about the scripts, which are no part of the program.
    let of_scripts = |path: &PathBuf| path.ends_with("CI.md") || path.ends_with("LAB.md");
    for path in documents().into_iter().filter(|path| !of_scripts(path)) {
        let text = read(&path);
        let own = text.lines().filter(|line| !OTHERS.iter().any(|other| line.contains(other)));
        for flag in own.flat_map(flags).filter(|flag| !known.contains(*flag)) {
            unknown.push(format!("{}: --{flag}", path.display()));
        }
    }
    assert!(unknown.is_empty(), "flags that do not exist are named:\n{}", unknown.join("\n"));
}

/// The words of our own command on a line that shows what to type: without variables before it, what a shell does with it, and what is said
/// of it behind. `None` for a line about something else.
fn typed(line: &str) -> Option<Vec<String>> {
    // What is said of a command stands apart from it.
    let said = line.trim().split("  ").next()?;
    let words = shlex::split(said)?;
    let at = words.iter().position(|word| word == "pathproof" || word.ends_with("/pathproof"))?;
    let variable = |word: &String| {
        let name = word.split_once('=').map_or("", |(name, _)| name);
        !name.is_empty() && name.chars().all(|c| c.is_ascii_uppercase() || c == '_')
    };
    let own = |word: &&String| !["|", ">", ";", "&", "&&"].contains(&word.as_str());
    words[..at].iter().all(variable).then(|| words[at..].iter().take_while(own).cloned().collect())
}

/// The lines of a document that show what to type: blocks of a shell or of no language, and what is set in by four spaces.
fn shown(text: &str) -> Vec<&str> {
    let mut found = vec![];
    // The language of the block that we are in.
    let mut block: Option<&str> = None;
    for line in text.lines() {
        match (line.trim_start().strip_prefix("```"), block) {
            (Some(_), Some(_)) => block = None,
            (Some(language), None) => block = Some(language.trim()),
            (None, Some("sh" | "")) => found.push(line),
            (None, None) if line.starts_with("    ") => found.push(line),
            _ => {}
        }
    }
    found
}

/// The examples below the help of a command and of those below it.
fn examples(command: &clap::Command, into: &mut Vec<String>) {
    let below = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    into.extend(below.lines().filter(|line| line.starts_with("  pathproof ")).map(String::from));
    command.get_subcommands().for_each(|sub| examples(sub, into));
}

#[test]
fn every_command_that_a_text_shows_can_be_typed() {
    let (mut tried, mut wrong) = (0, vec![]);
    let mut try_line = |place: &str, line: &str| {
        let Some(words) = typed(line) else { return };
        tried += 1;
        if let Err(error) = pathproof::cli::Cli::try_parse_from(&words) {
            wrong.push(format!("{place}: {}\n{error}", line.trim()));
        }
    };
    for path in documents() {
        for line in shown(&read(&path)) {
            try_line(&path.display().to_string(), line);
        }
    }
    let mut of_help = vec![];
    examples(&pathproof::cli::Cli::command(), &mut of_help);
    for line in &of_help {
        try_line("the help", line);
    }
    assert!(tried > 80 && of_help.len() > 30, "{tried} commands were tried, {} of the help", of_help.len());
    assert!(wrong.is_empty(), "commands that cannot be typed are shown:\n{}", wrong.join("\n"));
}

#[test]
fn a_command_is_known_when_it_is_seen() {
    let words = |line: &str| typed(line).map(|words| words.join(" "));
    let check = Some("pathproof check stor2".to_owned());
    for line in [
        "pathproof check stor2",
        "PATHPROOF_KEY=copper-lantern pathproof check stor2      # on the other: what it's for",
        "    pathproof check stor2 | jq '.verdicts[]'",
        "pathproof check stor2 ; pathproof mtu stor2",
        "  pathproof check stor2     this host's path",
    ] {
        assert_eq!(words(line), check, "{line}");
    }
    assert_eq!(words("target/release/pathproof serve &").as_deref(), Some("target/release/pathproof serve"));
    for line in ["systemctl start pathproof", "scripts/lab/vm -- pathproof check --self", "pathproof: began"]
    {
        assert_eq!(words(line), None, "{line}");
    }
    assert_eq!(shown("a\n```sh\nb\n```\n    c\n```toml\nd\n```\n```\ne\n```\n"), ["b", "    c", "e"]);
}

#[test]
fn the_first_page_fits_three_screens_and_shows_the_picture() {
    let text = read(&project("README.md"));
    let lines = text.lines().count();
    // A browser shows some forty lines at once.
    assert!(lines <= 120, "{lines} lines");
    assert!(text.contains("](docs/pictures/report.png)\n") && text.contains("\n!["), "no picture");
    let mut code = false;
    for line in text.lines() {
        code ^= line.starts_with("```");
        let wide = line.chars().count();
        assert!(
            code || line.starts_with('|') || line.starts_with('!') || wide <= 130,
            "{wide} columns: {line}"
        );
    }
    // Each command of the page that has them all exists, and none is missing there.
    let all = read(&project("docs/COMMANDS.md"));
    for command in pathproof::cli::Cli::command().get_subcommands().filter(|command| !command.is_hide_set()) {
        let name = command.get_name();
        assert!(
            all.contains(&format!("`pathproof {name}")) || name == "help",
            "docs/COMMANDS.md lacks {name}"
        );
    }
}

#[test]
fn every_finding_of_the_catalogue_is_raised_somewhere() {
    let code: String = sources()
        .into_iter()
        .filter(|(path, _)| !path.ends_with("finding/catalogue.rs"))
        .map(|(_, c)| c)
        .collect();
    let silent: Vec<&str> = CATALOGUE
        .iter()
        .map(|entry| entry.code)
        .filter(|finding| !code.contains(&format!("\"{finding}\"")))
        .collect();
    assert!(silent.is_empty(), "nothing raises {silent:?}");
}

#[test]
fn links_and_paths_in_the_documents_lead_somewhere() {
    let mut broken = Vec::new();
    for path in documents() {
        let text = read(&path);
        let folder = path.parent().unwrap();
        for (at, _) in text.match_indices("](") {
            let target = text[at + 2..].split([')', ' ', '\n']).next().unwrap_or_default();
            let file = target.split('#').next().unwrap_or_default();
            if !target.contains("://") && !file.is_empty() && !folder.join(file).exists() {
                broken.push(format!("{}: link to {target}", path.display()));
            }
        }
        // Files of the project are named in code type, from its top.
        for word in text.split('`').skip(1).step_by(2) {
            let ours = ["src/", "sys/", "bench/", "transports/", "tests/", "scripts/", "docs/", "results/"];
            let plain = word.chars().all(|c| c.is_ascii_alphanumeric() || "/._-".contains(c));
            if plain && ours.iter().any(|top| word.starts_with(top)) && !project(word).exists() {
                broken.push(format!("{}: `{word}`", path.display()));
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

/// The rows of the table of exit codes in a text.
fn exit_code_rows(text: &str) -> Vec<String> {
    let mut lines = text.lines().skip_while(|line| !line.starts_with("| exit code |"));
    let _head = (lines.next(), lines.next());
    lines.take_while(|line| line.starts_with('|')).map(String::from).collect()
}

#[test]
fn the_table_of_exit_codes_stands_alike_in_help_and_documents() {
    let rows = exit_code_rows(&read(&project("README.md")));
    assert_eq!(rows, exit_code_rows(&read(&project("docs/RESULT-FORMAT.md"))));
    let codes: Vec<&str> = rows.iter().filter_map(|row| row.split('|').nth(1)).map(str::trim).collect();
    assert_eq!(codes, ["0", "1", "2", "3", "130", "143"]);
    for args in [&["--help"][..], &["check", "--help"]] {
        let output = run(args);
        let help = String::from_utf8_lossy(&output.stdout).into_owned();
        let (_, table) = help.split_once("Exit codes:").unwrap_or_else(|| panic!("{args:?}: {help}"));
        for code in &codes {
            assert!(table.contains(code), "{args:?} does not name {code}");
        }
    }
}

#[test]
fn a_result_says_which_commit_made_it() {
    if !project(".git").exists() && std::env::var_os("PATHPROOF_COMMIT").is_none() {
        return skip("there is no repository to take a commit from");
    }
    let output = run(&["bench", "pingpong", "--self", "--time", "100ms", "--format", "json"]);
    let commit = document(&output)["tool"]["commit"].as_str().expect("a commit").to_owned();
    let hash = commit.trim_end_matches("-dirty");
    assert!(hash.len() >= 7 && hash.chars().all(|c| c.is_ascii_hexdigit()), "{commit}");
}
