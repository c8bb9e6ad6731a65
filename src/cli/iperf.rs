//! Fingers that know iperf3: `pathproof -c HOST -t 10 -P 4 -R` and `pathproof -s -p 5000` become the command here that means the same; what has
//! no equal gets one sentence with the command to type instead. Nothing is left out silently.
//!
//! The far end has to be `pathproof serve`: iperf3's own server is not spoken to.

use std::ffi::OsString;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{CommandFactory as _, Parser};
use pathproof_model::units::BitsPerSecond;

use super::Cli;

/// What iperf3 takes, as far as anybody types it.
#[derive(Debug, Parser)]
#[command(name = "pathproof", disable_help_flag = true, disable_version_flag = true)]
struct Typed {
    #[arg(short = 'c', long)]
    client: Option<String>,
    #[arg(short, long)]
    server: bool,
    #[arg(short, long)]
    port: Option<u16>,
    #[arg(short, long)]
    time: Option<String>,
    #[arg(short = 'P', long)]
    parallel: Option<u32>,
    #[arg(short = 'R', long)]
    reverse: bool,
    #[arg(short = 'd', long, alias = "dualtest")]
    bidir: bool,
    #[arg(short = 'J', long)]
    json: bool,
    #[arg(short = 'b', long, aliases = ["bandwidth"])]
    bitrate: Option<String>,
    #[arg(short, long, aliases = ["len"])]
    length: Option<String>,
    #[arg(short = 'O', long)]
    omit: Option<String>,
    #[arg(short = 'Z', long)]
    zerocopy: bool,
    #[arg(short = 'C', long, aliases = ["linux-congestion"])]
    congestion: Option<String>,
    #[arg(short = 'M', long)]
    set_mss: Option<u32>,
    #[arg(short = 'B', long)]
    bind: Option<String>,
    #[arg(short, long)]
    udp: bool,
    #[arg(short, long)]
    window: Option<String>,
    #[arg(short = 'n', long)]
    bytes: Option<String>,
    #[arg(short = 'k', long)]
    blockcount: Option<String>,
    #[arg(short = 'D', long)]
    daemon: bool,
    #[arg(short = '1', long)]
    one_off: bool,
    // How it prints, which is ours to say.
    #[arg(short, long)]
    interval: Option<String>,
    #[arg(short, long)]
    format: Option<String>,
    #[arg(short = 'V', long)]
    verbose: bool,
    #[arg(long)]
    forceflush: bool,
}

/// What was meant.
#[derive(Debug, PartialEq, Eq)]
pub enum Meant {
    /// The words of the command here that means the same, without the program.
    Same(Vec<String>),
    /// There is none: what to do instead.
    Instead(String),
}

/// What was meant by a command line in the words of iperf3. `None` where it is not.
pub fn read(args: &[OsString]) -> Option<Meant> {
    // Its options stand where a command stands here.
    let begins = args.get(1)?.to_str()?;
    if !begins.starts_with('-') {
        return None;
    }
    match Typed::try_parse_from(args) {
        Ok(typed) => match (&typed.client, typed.server) {
            (Some(host), false) => Some(typed.client(host)),
            (None, true) => Some(typed.server()),
            (Some(_), true) => Some(Meant::Instead(
                "-s serves and -c measures: type pathproof -s at one end, and pathproof -c HOST at the other"
                    .into(),
            )),
            (None, false) => None,
        },
        Err(error) => is_meant(args).then(|| Meant::Instead(not_taken(&error))),
    }
}

/// Whether the words are iperf3's, though not all of them can be read: one of them says which end it is, and none is a command here.
fn is_meant(args: &[OsString]) -> bool {
    let own = Cli::command();
    let words = || args.iter().skip(1).filter_map(|arg| arg.to_str());
    let role = |word: &str| word.starts_with('-') && ["c", "client", "s", "server"].contains(&name(word));
    words().any(role) && !words().any(|word| own.find_subcommand(word).is_some())
}

/// What an option is called, without its dashes and what is said behind it.
fn name(option: &str) -> &str {
    let name = option.trim_start_matches('-');
    name.split(['=', ' ']).next().unwrap_or(name)
}

/// Options of iperf3 that have no equal here, and what to do instead.
const WITHOUT_EQUAL: [(&[&str], &str); 6] = [
    (
        &["4", "version4", "6", "version6"],
        "the address decides which family is used; type pathproof -c ADDRESS, or pathproof mtu HOST for both families",
    ),
    (&["N", "no-delay"], "no small message waits for others here (TCP_NODELAY is always set); leave it out"),
    (
        &["S", "tos", "dscp"],
        "marks are tried by pathproof check HOST --role roce, and set by pathproof contend HOST --dscp CLASS=DSCP; leave it out here",
    ),
    (
        &["A", "affinity"],
        "each lane's thread gets a processor of its own by --pin; type pathproof bench stream HOST --pin",
    ),
    (
        &["T", "title", "logfile", "get-server-output", "timestamps", "json-stream"],
        "both ends' figures are in one result; type pathproof bench stream HOST -o FILE to keep it, and --json-stream for a line a second",
    ),
    (
        &["F", "file"],
        "files are measured on a share; type pathproof bench file //SERVER/SHARE --user NAME --password-file FILE",
    ),
];

/// The option that names the other end.
const TO_WHOM: &str = "client";

/// What is wrong with words that are iperf3's, and what to do about it.
fn not_taken(error: &clap::Error) -> String {
    let context = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => text.as_str(),
        _ => "",
    };
    let (option, value) = (context(ContextKind::InvalidArg), context(ContextKind::InvalidValue));
    let known = WITHOUT_EQUAL.iter().find(|(names, _)| names.contains(&name(option)));
    match (error.kind(), known) {
        (ErrorKind::UnknownArgument, Some((_, instead))) => format!("there is no {option} here: {instead}"),
        (ErrorKind::UnknownArgument, None) => format!(
            "there is no {option} here; leave it out (-c, -s, -p, -t, -P, -R, --bidir, -J, -b, -l, -O, -M, -C and -Z mean what they mean to \
             iperf3; pathproof bench stream --help lists more)"
        ),
        // As of a word that is no text: of that clap tells nothing.
        _ if option.is_empty() => {
            "these words cannot be read; pathproof bench stream --help says what each option takes".into()
        }
        _ if name(option) == TO_WHOM && value.is_empty() => {
            "-c is followed by the host that runs pathproof serve; type pathproof -c HOST".into()
        }
        _ if value.is_empty() => {
            format!(
                "{option} is given twice or without a value; give it once, with one (pathproof bench stream --help says more)"
            )
        }
        _ => format!(
            "{value:?} is no value of {option}; pathproof bench stream --help says what each option takes"
        ),
    }
}

impl Typed {
    fn server(&self) -> Meant {
        let of_the_other_end = [
            ("-J", self.json),
            ("-u", self.udp),
            ("-t", self.time.is_some()),
            ("-P", self.parallel.is_some()),
            ("-R", self.reverse),
            ("--bidir", self.bidir),
            ("-b", self.bitrate.is_some()),
            ("-l", self.length.is_some()),
            ("-w", self.window.is_some()),
        ];
        if let Some((option, _)) = of_the_other_end.iter().find(|(_, typed)| *typed) {
            return Meant::Instead(format!(
                "{option} belongs to the end that measures; type pathproof -s here, and pathproof -c HOST {option} at the other end"
            ));
        }
        if self.daemon {
            return Meant::Instead(
                "there is no -D: run `pathproof serve` under systemd (the packages have a unit: systemctl start pathproof), or with \
                 nohup"
                    .into(),
            );
        }
        if self.one_off {
            return Meant::Instead(
                "there is no -1: `pathproof check USER@HOST`, typed at the other end, starts a server here for that one run".into(),
            );
        }
        let mut words = vec!["serve".to_owned()];
        match (&self.bind, self.port) {
            (Some(bind), Some(port)) => words.extend(["--listen".into(), at(bind, port)]),
            (Some(bind), None) => words.extend(["--listen".into(), bind.clone()]),
            (None, Some(port)) => words.extend(["--listen".into(), port.to_string()]),
            (None, None) => {}
        }
        Meant::Same(words)
    }

    fn client(&self, host: &str) -> Meant {
        let peer = self.port.map_or(host.to_owned(), |port| at(host, port));
        let instead = |what: &str| Meant::Instead(what.replace("PEER", &peer));
        if self.daemon || self.one_off {
            return instead(
                "-D and -1 belong to the server; type pathproof serve there, and pathproof -c PEER here",
            );
        }
        if self.udp {
            return instead(
                "there is no flood of UDP, and -b beside TCP is --rate. Type: pathproof check PEER, which counts datagrams at a low pace (row \
                 `lost`), or pathproof bench packets PEER, which searches the packet rate at which loss begins",
            );
        }
        if self.window.is_some() {
            return instead(
                "there is no -w: the kernel sizes windows by itself, and a check says where its limits (net.ipv4.tcp_rmem, tcp_wmem) hold \
                 the path back. Type: pathproof check PEER",
            );
        }
        if self.bytes.is_some() || self.blockcount.is_some() {
            return instead(
                "a run is as long as its time, not as its bytes. Type: pathproof bench stream PEER --time 10s",
            );
        }
        if self.bind.is_some() {
            return instead(
                "the route decides which address of this host is used; over several NICs they are named. Type: pathproof bench stream PEER \
                 --over multi --option constrain=NIC",
            );
        }
        let mut words = vec!["bench".to_owned(), "stream".into(), peer.clone()];
        let mut option = |name: &str, value: String| words.extend([name.to_owned(), value]);
        // What iperf3 takes where nothing is said.
        option("--time", seconds(self.time.as_deref().unwrap_or("10")));
        let lanes = self.parallel.unwrap_or(1);
        if lanes != 1 {
            option("--lanes", lanes.to_string());
        }
        match (self.bidir, self.reverse) {
            (true, _) => option("--direction", "both".into()),
            (false, true) => option("--direction", "in".into()),
            (false, false) => {}
        }
        match self.bitrate.as_deref().map(|rate| (rate, rate.parse::<BitsPerSecond>())) {
            // As fast as it goes.
            None | Some((_, Ok(BitsPerSecond(0)))) => {}
            // Theirs is of each stream, ours of all.
            Some((_, Ok(BitsPerSecond(each)))) if lanes > 1 => {
                option("--rate", each.saturating_mul(u64::from(lanes)).to_string());
            }
            Some((rate, _)) => option("--rate", rate.to_owned()),
        }
        for (name, value) in
            [("--size", &self.length), ("--max-segment", &self.set_mss.map(|mss| mss.to_string()))]
        {
            if let Some(value) = value {
                option(name, value.clone());
            }
        }
        if let Some(omit) = &self.omit {
            option("--warmup", seconds(omit));
        }
        if let Some(name) = &self.congestion {
            option("--option", format!("congestion={name}"));
        }
        if self.zerocopy {
            words.push("--zero-copy".into());
        }
        if self.json {
            words.extend(["--format".into(), "json".into()]);
        }
        Meant::Same(words)
    }
}

/// A bare number with its unit, so that the command that is shown says it.
fn seconds(typed: &str) -> String {
    let bare = !typed.is_empty() && typed.bytes().all(|byte| byte.is_ascii_digit());
    if bare { format!("{typed}s") } else { typed.to_owned() }
}

/// A host or an address with a port.
pub fn at(host: &str, port: impl std::fmt::Display) -> String {
    let bare_ipv6 = host.matches(':').count() > 1 && !host.starts_with('[');
    if bare_ipv6 { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meant(typed: &str) -> Option<Meant> {
        let args: Vec<OsString> = typed.split(' ').map(OsString::from).collect();
        read(&args)
    }

    fn same(typed: &str) -> String {
        match meant(typed) {
            Some(Meant::Same(words)) => words.join(" "),
            other => panic!("{typed}: {other:?}"),
        }
    }

    #[test]
    fn what_has_an_equal_meaning_becomes_it() {
        for (typed, is) in [
            ("pathproof -c hv2", "bench stream hv2 --time 10s"),
            (
                "pathproof -c hv2 -p 5201 -t 30 -P 4 -R",
                "bench stream hv2:5201 --time 30s --lanes 4 --direction in",
            ),
            ("pathproof -c fd00::2 -p 9 --bidir", "bench stream [fd00::2]:9 --time 10s --direction both"),
            ("pathproof -t 5 -c hv2 -b 1G -P 2", "bench stream hv2 --time 5s --lanes 2 --rate 2000000000"),
            ("pathproof -c hv2 -b 100M -J", "bench stream hv2 --time 10s --rate 100M --format json"),
            ("pathproof -c hv2 -b 0 -i 1 -f g", "bench stream hv2 --time 10s"),
            (
                "pathproof -c hv2 -l 1M -O 2 -Z -C reno",
                "bench stream hv2 --time 10s --size 1M --warmup 2s --option congestion=reno --zero-copy",
            ),
            ("pathproof --client hv2 --parallel 8 --time 1m", "bench stream hv2 --time 1m --lanes 8"),
            ("pathproof -s", "serve"),
            ("pathproof -s -p 5000", "serve --listen 5000"),
            ("pathproof --server -B 10.0.0.2 -p 5000", "serve --listen 10.0.0.2:5000"),
        ] {
            assert_eq!(same(typed), is, "{typed}");
        }
    }

    #[test]
    fn what_has_none_gets_the_command_to_type() {
        for (typed, told) in [
            ("pathproof -c hv2 -u -b 10G", "Type: pathproof check hv2"),
            ("pathproof -c hv2 -p 9 -w 4M", "Type: pathproof check hv2:9"),
            ("pathproof -c hv2 -n 10G", "bench stream hv2 --time 10s"),
            ("pathproof -c hv2 -B eth1", "constrain=NIC"),
            ("pathproof -s -D", "systemctl start pathproof"),
            ("pathproof -s -1", "check USER@HOST"),
            ("pathproof -s -J", "pathproof -c HOST -J"),
            ("pathproof -c hv2 -u", "pathproof bench packets hv2"),
            ("pathproof -c hv2 -D", "pathproof serve"),
            ("pathproof -c hv2 -s", "pathproof -c HOST at the other"),
            ("pathproof -c hv2 -4 -t 10", "pathproof -c ADDRESS"),
            ("pathproof -6 -c fd00::2", "pathproof -c ADDRESS"),
            ("pathproof -c hv2 -N", "TCP_NODELAY"),
            ("pathproof -c hv2 --get-server-output", "-o FILE"),
            ("pathproof -c hv2 -A 2", "--pin"),
            ("pathproof -c hv2 --nonsense", "there is no --nonsense here"),
            ("pathproof -c hv2 --connect-timeout=5", "leave it out"),
            ("pathproof -c hv2 more", "there is no more here"),
            ("pathproof -c hv2 -p abc", "\"abc\" is no value of --port"),
            ("pathproof -c hv2 -P 4 -P 8", "give it once"),
            ("pathproof -c", "type pathproof -c HOST"),
        ] {
            let Some(Meant::Instead(sentence)) = meant(typed) else { panic!("{typed}: {:?}", meant(typed)) };
            assert!(sentence.contains(told), "{typed}: {sentence}");
        }
        let no_text: OsString = std::os::unix::ffi::OsStringExt::from_vec(vec![0xff]);
        let told = read(&["pathproof".into(), "-c".into(), no_text]);
        assert!(matches!(&told, Some(Meant::Instead(told)) if told.contains("cannot be read")), "{told:?}");
    }

    #[test]
    fn what_is_not_in_its_words_is_left_alone() {
        for typed in [
            "pathproof",
            "pathproof check hv2",
            "pathproof -v check hv2",
            "pathproof -v check -c hv2",
            "pathproof -t 10",
            "pathproof --nonsense",
        ] {
            assert_eq!(meant(typed), None, "{typed}");
        }
    }
}
