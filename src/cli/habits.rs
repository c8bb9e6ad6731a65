//! What somebody meant by words that are another program's, or of another command here: one sentence with what to type.

use std::ffi::OsString;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Command, CommandFactory as _};

use super::{Cli, iperf};

/// What to type instead, where a command line was refused for something that has a place elsewhere.
pub fn hint(error: &clap::Error, args: &[OsString]) -> Option<String> {
    let typed: Vec<&str> = args.iter().skip(1).map(|arg| arg.to_str()).collect::<Option<_>>()?;
    let mut root = Cli::command();
    root.build();
    let (commands, rest) = commands(&root, &typed);
    match (error.kind(), context(error)?) {
        (ErrorKind::InvalidSubcommand, word) if commands == ["bench"] => {
            let again = std::iter::once("stream").chain(rest.iter().copied());
            let host = error.get(ContextKind::SuggestedSubcommand).is_none();
            host.then(|| {
                format!("{word} is no kind of measurement; for a host, type: {}", line(&["bench"], again))
            })
        }
        (ErrorKind::UnknownArgument, word) if !word.starts_with('-') => one_too_many(&commands, &rest, word),
        (ErrorKind::UnknownArgument, word) => unknown(&root, &commands, &rest, word),
        _ => None,
    }
}

/// The word that was refused.
fn context(error: &clap::Error) -> Option<&str> {
    [ContextKind::InvalidArg, ContextKind::InvalidSubcommand].into_iter().find_map(|kind| {
        match error.get(kind) {
            Some(ContextValue::String(word)) => Some(word.as_str()),
            _ => None,
        }
    })
}

/// The commands that were named, and what follows them.
fn commands<'a>(root: &Command, typed: &[&'a str]) -> (Vec<&'a str>, Vec<&'a str>) {
    let (mut at, mut named, mut rest) = (root, vec![], vec![]);
    for word in typed {
        match at.find_subcommand(word).filter(|_| rest.is_empty()) {
            Some(sub) => {
                named.push(*word);
                at = sub;
            }
            None => rest.push(*word),
        }
    }
    (named, rest)
}

/// A word more than the command takes.
fn one_too_many(commands: &[&str], rest: &[&str], word: &str) -> Option<String> {
    let plain = || rest.iter().copied().filter(|typed| !typed.starts_with('-'));
    match commands {
        ["report"] => Some(format!(
            "one run is reported at a time; to hold two against each other, type: {}",
            line(&["compare"], plain())
        )),
        // Of another program's word that host was taken for, too (`pathproof ping HOST`).
        ["check"] => Some(format!(
            "a check is of one host. Type: pathproof check {word}; for many hosts pathproof mesh --help says more, and pathproof --help lists all commands"
        )),
        ["serve"] => Some(format!("where to listen is an option. Type: pathproof serve --listen {word}")),
        _ => None,
    }
}

fn line<'a>(commands: &[&'a str], rest: impl IntoIterator<Item = &'a str>) -> String {
    let words = ["pathproof"].into_iter().chain(commands.iter().copied()).chain(rest);
    words.collect::<Vec<_>>().join(" ")
}

fn unknown(root: &Command, commands: &[&str], rest: &[&str], word: &str) -> Option<String> {
    // As `--port=5000` it is one word.
    let flag = word.split(['=', ' ']).next()?;
    match flag.trim_start_matches('-') {
        "p" | "port" => {
            let at = rest.iter().position(|typed| *typed == flag || typed.starts_with(&format!("{flag}=")))?;
            let (port, after) = match rest[at].split_once('=') {
                Some((_, port)) => (port, at + 1),
                None => (*rest.get(at + 1)?, at + 2),
            };
            let others = rest[..at].iter().chain(rest.get(after..)?);
            let mut others: Vec<String> = others.map(|word| (*word).to_owned()).collect();
            let peer = others.iter_mut().find(|word| !word.starts_with('-'))?;
            if let Some((_, host)) = peer.rsplit_once('@') {
                let (host, typed) = (host.to_owned(), peer.clone());
                *peer = host;
                return Some(format!(
                    "ssh's own port belongs into ~/.ssh/config or into a command of yours. Type: {} --via 'ssh -p {port} {typed}'",
                    line(commands, others.iter().map(String::as_str))
                ));
            }
            *peer = iperf::at(peer, port);
            let again = line(commands, others.iter().map(String::as_str));
            Some(format!("a port belongs to its host. Type: {again}"))
        }
        "u" | "udp" => Some(
            "there is no flood of UDP. Type: pathproof check PEER, which counts datagrams at a low pace (row `lost`), or pathproof bench packets \
             PEER, which searches the packet rate at which loss begins"
                .into(),
        ),
        "w" | "window" => Some(
            "the kernel sizes windows by itself; a check says where its limits hold the path back. Type: pathproof check PEER".into(),
        ),
        "c" | "client" => {
            let at = rest.iter().position(|typed| *typed == flag || typed.starts_with(&format!("{flag}=")))?;
            let (host, after) = match rest[at].split_once('=') {
                Some((_, host)) => (host, at + 1),
                None => (*rest.get(at + 1)?, at + 2),
            };
            let others = rest[..at].iter().chain(rest.get(after..)?).copied();
            let stream = if commands.contains(&"bench") { "bench stream" } else { commands.first()? };
            let again = line(&[stream], std::iter::once(host).chain(others));
            Some(format!("the host needs no flag. Type: {again}"))
        }
        name => meant(name).or_else(|| {
            elsewhere(root, flag).map(|command| {
                format!("{flag} is an option of pathproof {command}; pathproof {command} --help says more")
            })
        }),
    }
}

/// Flags that many programs have, and how the same is typed here.
const MEANT: [(&[&str], &str); 8] = [
    (&["mtu", "jumbo"], "to expect jumbo frames on every path, type pathproof check PEER --expect-mtu 9000"),
    (
        &["rdma", "roce", "iwarp"],
        "a transport is named by --over: type --over rdma, or --over smbd for SMB Direct",
    ),
    (
        &["threads", "streams"],
        "connections, each with a thread of its own, are lanes: type pathproof bench stream PEER --lanes 4",
    ),
    (&["4", "6", "ipv4", "ipv6"], "the address decides which family is used; pathproof mtu PEER probes both"),
    (&["all", "details", "long"], "--full prints everything that is known"),
    (&["debug"], "-v logs more to standard error, -vv everything"),
    (
        &["q", "quiet", "silent"],
        "standard output is the report and nothing else: add >/dev/null, and look at the exit code (0 is fit)",
    ),
    (&["y", "yes", "force"], "nothing is asked, so there is nothing to confirm; leave it out"),
];

fn meant(name: &str) -> Option<String> {
    const FORMATS: [&str; 5] = ["html", "csv", "junit", "openmetrics", "hlog"];
    if FORMATS.contains(&name) {
        return Some(format!("a form is named by --format: type --format {name} > FILE"));
    }
    let (_, instead) = MEANT.iter().find(|(names, _)| names.contains(&name))?;
    Some((*instead).to_owned())
}

/// The first command that takes a flag.
fn elsewhere(root: &Command, flag: &str) -> Option<String> {
    fn takes(command: &Command, flag: &str) -> bool {
        command.get_arguments().any(|argument| {
            let long = argument.get_long().into_iter().chain(argument.get_all_aliases().unwrap_or_default());
            let short =
                argument.get_short().into_iter().chain(argument.get_all_short_aliases().unwrap_or_default());
            let (mut long, mut short) = (long, short);
            match flag.strip_prefix("--") {
                Some(name) => long.any(|own| own == name),
                None => flag.strip_prefix('-').is_some_and(|name| short.any(|own| name == own.to_string())),
            }
        })
    }
    fn collect(command: &Command, path: &str, flag: &str, found: &mut Vec<String>) {
        for sub in command.get_subcommands() {
            let path = if path.is_empty() {
                sub.get_name().to_owned()
            } else {
                format!("{path} {}", sub.get_name())
            };
            if takes(sub, flag) {
                found.push(path.clone());
            }
            collect(sub, &path, flag, found);
        }
    }
    let mut found = vec![];
    collect(root, "", flag, &mut found);
    found.into_iter().next()
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    fn told(typed: &str) -> Option<String> {
        let args: Vec<OsString> = typed.split(' ').map(OsString::from).collect();
        hint(&Cli::try_parse_from(&args).unwrap_err(), &args)
    }

    #[test]
    fn words_of_other_programs_get_the_command_to_type() {
        for (typed, is) in [
            ("pathproof check hv2 -p 5000 --quick", "Type: pathproof check hv2:5000 --quick"),
            ("pathproof bench stream --port=5000 fd00::2", "Type: pathproof bench stream [fd00::2]:5000"),
            ("pathproof bench 10.91.1.2 -t 5", "type: pathproof bench stream 10.91.1.2 -t 5"),
            ("pathproof bench stream hv2 -u", "Type: pathproof check PEER"),
            ("pathproof bench stream hv2 -w 4M", "Type: pathproof check PEER"),
            ("pathproof check -c hv2", "Type: pathproof check hv2"),
            ("pathproof bench stream -c hv2 -P 4", "Type: pathproof bench stream hv2 -P 4"),
            ("pathproof check root@hv2 -p 2222", "Type: pathproof check hv2 --via 'ssh -p 2222 root@hv2'"),
            ("pathproof check root@hv2 -p 22 --quick", "check hv2 --quick --via 'ssh -p 22 root@hv2'"),
            ("pathproof check hv2 --lanes 4", "--lanes is an option of pathproof bench stream"),
            ("pathproof check hv2 -P 4", "-P is an option of pathproof bench stream"),
            ("pathproof report a.json b.json", "type: pathproof compare a.json b.json"),
            ("pathproof serve 10.91.1.1", "Type: pathproof serve --listen 10.91.1.1"),
            ("pathproof check ping hv2", "Type: pathproof check hv2; "),
            ("pathproof check hv2 --html", "--format html > FILE"),
            ("pathproof report x.json --csv", "--format csv > FILE"),
            ("pathproof check hv2 --mtu 9000", "--expect-mtu 9000"),
            ("pathproof check hv2 --rdma", "--over rdma"),
            ("pathproof bench stream hv2 -4", "which family is used"),
            ("pathproof bench stream hv2 --threads 8", "--lanes 4"),
            ("pathproof check hv2 -q", ">/dev/null"),
            ("pathproof check hv2 --all", "--full"),
        ] {
            let told = told(typed).unwrap_or_default();
            assert!(told.contains(is), "{typed}: {told}");
        }
    }

    #[test]
    fn what_nobody_takes_is_not_explained() {
        for typed in [
            "pathproof check hv2 --nonsense",
            "pathproof bench strem hv2",
            "pathproof chekc hv2",
            "pathproof check hv2 -p",
        ] {
            assert_eq!(told(typed), None, "{typed}");
        }
    }
}
