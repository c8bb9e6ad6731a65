//! The command that runs `sh` at the far end, as a list of words: no shell here ever reads it.

use crate::peer::Peer;

/// What starts a far end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Launch {
    /// The user's ssh.
    Ssh,
    /// A command that the user named.
    Command,
}

/// How a far end is started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Start {
    way: Launch,
    words: Vec<String>,
    host: String,
    port: Option<u16>,
    copy: bool,
    offloads: bool,
}

/// Stands for the host in a command.
const HOST: &str = "%h";

impl Start {
    /// How the far end of `peer` is started: over ssh where a user was named, by the command `via` where there is one. `None` where
    /// it runs already.
    pub fn of(peer: &Peer, via: Option<&str>, copy: bool) -> Result<Option<Start>, String> {
        let host = &peer.host;
        let (way, words) = match (via, &peer.user) {
            (None, None) if copy => {
                return Err(format!(
                    "--copy lends this program to a host where it is started: name one as USER@{host}, or add --via COMMAND"
                ));
            }
            (None, None) => return Ok(None),
            (Some(_), Some(user)) => {
                return Err(format!(
                    "--via has a command of its own, so it is that which names a user: check {host} --via 'ssh {user}@%h'"
                ));
            }
            (None, Some(user)) => {
                // What a user has set up for terminals, agents and forwarded ports has no place here.
                let options = ["-T", "-a", "-x", "-o", "ClearAllForwardings=yes", "-o", "ConnectTimeout=15"];
                let words = ["ssh"].into_iter().chain(options).chain(["-l", user, "--", host]);
                (Launch::Ssh, words.map(str::to_owned).collect())
            }
            (Some(command), None) => (Launch::Command, split(command, host)?),
        };
        if !is_harmless(host) {
            return Err(format!(
                "{host:?} is no name or address of a host; name one such as stor2 or 10.0.0.2"
            ));
        }
        let words = words.into_iter().chain(["sh".to_owned()]).collect();
        Ok(Some(Start { way, words, host: host.clone(), port: peer.named_port, copy, offloads: false }))
    }

    /// What starts it.
    pub fn way(&self) -> Launch {
        self.way
    }

    /// The program, and its arguments.
    pub fn words(&self) -> (&str, &[String]) {
        self.words.split_first().map_or(("sh", &[]), |(program, args)| (program.as_str(), args))
    }

    /// The host, as it was named.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port that the far end must listen on, where one was named.
    pub fn port(&self) -> Option<u16> {
        self.port
    }

    /// Whether it is lent this program.
    pub fn copy(&self) -> bool {
        self.copy
    }

    /// The same, where who starts it wants its offloads tried.
    pub fn with_offloads(self, offloads: bool) -> Start {
        Start { offloads, ..self }
    }

    /// Whether its offloads may be tried.
    pub fn offloads(&self) -> bool {
        self.offloads
    }

    /// For a message: what was run here, without the options that are always the same.
    pub fn shown(&self) -> String {
        match self.way {
            Launch::Ssh => {
                let user = self.words.iter().skip_while(|word| *word != "-l").nth(1);
                format!("ssh -l {} {} sh", user.map_or("", String::as_str), self.host)
            }
            Launch::Command => self.words.join(" "),
        }
    }

    /// What can always be done instead.
    pub fn by_hand(&self) -> String {
        format!(
            "start `pathproof serve` on {} yourself and check it without {}",
            self.host,
            match self.way {
                Launch::Ssh => "USER@",
                Launch::Command => "--via",
            }
        )
    }
}

/// The words of a command, as a shell would split them, with the host put in. Nothing is expanded: no variable, no pattern.
fn split(command: &str, host: &str) -> Result<Vec<String>, String> {
    let words = shlex::split(command).filter(|words| words.first().is_some_and(|word| !word.is_empty()));
    let words = words.ok_or_else(|| {
        format!("--via {command:?} is no command; write one as 'ip netns exec %h', and close every quote")
    })?;
    Ok(words.into_iter().map(|word| word.replace(HOST, host)).collect())
}

/// Whether a host may become a word of somebody's command: it cannot be taken for an option, nor for more than a name.
pub fn is_harmless(host: &str) -> bool {
    let harmless = |letter: char| letter.is_alphanumeric() || "._-:%".contains(letter);
    !host.is_empty() && !host.starts_with('-') && host.chars().all(harmless)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start(peer: &str, via: Option<&str>) -> Result<Start, String> {
        Start::of(&peer.parse().unwrap(), via, false).map(Option::unwrap)
    }

    #[test]
    fn a_user_means_ssh_and_the_host_stands_behind_the_end_of_options() {
        let ssh = start("lab@stor2:7000", None).unwrap();
        let (program, args) = ssh.words();
        assert_eq!((program, ssh.port(), ssh.way()), ("ssh", Some(7000), Launch::Ssh));
        assert_eq!(args[args.len() - 5..], ["-l", "lab", "--", "stor2", "sh"]);
        assert_eq!(ssh.shown(), "ssh -l lab stor2 sh");
        let six = start("lab@[fe80::2%eth1]", None).unwrap();
        assert_eq!((six.host(), six.port()), ("fe80::2%eth1", None));
    }

    #[test]
    fn a_command_is_split_once_and_the_host_stays_one_word() {
        let via = start("stor2", Some("kubectl exec -i 'pod %h' --")).unwrap();
        assert_eq!(via.words(), ("kubectl", &["exec", "-i", "pod stor2", "--", "sh"].map(str::to_owned)[..]));
        // What a shell would run is a word like any other.
        let odd = start("stor2", Some("echo $(id) `id` ; %h")).unwrap();
        assert_eq!(odd.words().1, ["$(id)", "`id`", ";", "stor2", "sh"]);
        for wrong in ["", "  ", "ssh 'open", "'' x"] {
            assert!(start("stor2", Some(wrong)).unwrap_err().contains("--via"), "{wrong:?}");
        }
    }

    #[test]
    fn nobody_is_started_twice_and_nothing_is_lent_to_who_is_not_started() {
        assert_eq!(Start::of(&"stor2".parse().unwrap(), None, false), Ok(None));
        assert!(Start::of(&"stor2".parse().unwrap(), None, true).unwrap_err().contains("USER@stor2"));
        assert!(start("lab@stor2", Some("ssh %h")).unwrap_err().contains("'ssh lab@%h'"));
    }

    #[test]
    fn t29_a_host_that_could_be_an_option_or_more_than_a_word_is_none() {
        for host in ["stor2", "10.9.0.2", "fe80::1%eth1", "stör2", "a-b_c"] {
            assert!(is_harmless(host), "{host}");
        }
        for host in
            ["", "-oProxyCommand=id", "a;b", "$(id)", "a b", "a'b", "a/b", "`id`", "a@b", "a\nb", "\u{202e}a"]
        {
            assert!(!is_harmless(host), "{host:?}");
        }
    }
}
