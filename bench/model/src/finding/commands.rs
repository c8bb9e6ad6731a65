//! What to type at which end, with the names and figures of the run.

use std::fmt;

use crate::NodeId;

/// Commands for the shells of both hosts, in the order in which they are typed: as text "On this host: `COMMAND`; `COMMAND`. On the peer:
/// `COMMAND`.", by which `scripts/truth` finds them in a finding's advice and carries them out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Commands {
    lines: Vec<(NodeId, String)>,
    spoilt: bool,
}

impl Commands {
    /// None yet.
    pub fn new() -> Commands {
        Commands::default()
    }

    /// One more for the shell of `node`: `form` with a word of the run for each `{}`. Names come from the other end, too, so a word
    /// that a shell could take for anything else than one word leaves nothing to be typed at all.
    pub fn at(mut self, node: NodeId, form: &str, words: &[&str]) -> Commands {
        let mut command = String::new();
        let mut left = words.iter();
        for (nth, piece) in form.split("{}").enumerate() {
            if nth > 0 {
                let word = left.next().copied().unwrap_or_default();
                self.spoilt |= !is_plain(word);
                command.push_str(word);
            }
            command.push_str(piece);
        }
        self.spoilt |= left.next().is_some();
        self.lines.push((node, command));
        self
    }

    /// Advice for a finding: `lead`, what is to be typed, and where it is said how that lasts. `None` where there is nothing to type.
    pub fn advice(&self, code: &str, lead: &str) -> Option<String> {
        let lasts = format!(
            "That lasts until the host starts again; pathproof explain {code} says where to write it."
        );
        (!self.is_empty()).then(|| format!("{lead} {self} {lasts}"))
    }

    /// Whether there is nothing to type.
    pub fn is_empty(&self) -> bool {
        self.spoilt || self.lines.is_empty()
    }
}

/// A piece of advice as it is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece<'a> {
    /// Words.
    Words(&'a str),
    /// A command for the shell of an end.
    Command(NodeId, &'a str),
}

/// What [`Commands`] were made into, taken apart again.
pub fn pieces(advice: &str) -> Vec<Piece<'_>> {
    const HERE: &str = "On this host: `";
    const THERE: &str = "On the peer: `";
    let mut pieces = Vec::new();
    let mut rest = advice;
    while let Some((at, node, marker)) = [(NodeId::CLIENT, HERE), (NodeId::SERVER, THERE)]
        .into_iter()
        .filter_map(|(node, marker)| Some((rest.find(marker)?, node, marker)))
        .min_by_key(|(at, ..)| *at)
    {
        let words = rest[..at].trim();
        if !words.is_empty() {
            pieces.push(Piece::Words(words));
        }
        rest = &rest[at + marker.len()..];
        while let Some((command, after)) = rest.split_once('`') {
            pieces.push(Piece::Command(node, command));
            let more = after.strip_prefix("; `");
            rest = more.unwrap_or(after.strip_prefix('.').unwrap_or(after));
            if more.is_none() {
                break;
            }
        }
    }
    if !rest.trim().is_empty() {
        pieces.push(Piece::Words(rest.trim()));
    }
    pieces
}

/// One word to every shell, and no option.
fn is_plain(word: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._:/@-".contains(c);
    !word.is_empty() && word.len() <= 64 && !word.starts_with('-') && word.chars().all(plain)
}

impl fmt::Display for Commands {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return Ok(());
        }
        let mut at = None;
        for (node, command) in &self.lines {
            match at {
                Some(last) if last == *node => write!(f, "; ")?,
                _ => {
                    let whose = if *node == NodeId::CLIENT { "this host" } else { "the peer" };
                    write!(f, "{}On {whose}: ", if at.is_some() { ". " } else { "" })?;
                }
            }
            write!(f, "`{command}`")?;
            at = Some(*node);
        }
        write!(f, ".")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_stand_by_the_host_that_they_are_typed_at() {
        let commands = Commands::new()
            .at(NodeId::CLIENT, "ip link set dev {} mtu {}", &["e0", "9000"])
            .at(NodeId::CLIENT, "ip route flush cache", &[])
            .at(NodeId::SERVER, "ip link set dev {} mtu 9000", &["eth0.7@x"]);
        assert_eq!(
            commands.to_string(),
            "On this host: `ip link set dev e0 mtu 9000`; `ip route flush cache`. On the peer: `ip link set dev eth0.7@x mtu 9000`."
        );
        assert!(Commands::new().is_empty());
    }

    #[test]
    fn advice_comes_apart_as_it_was_put_together() {
        use Piece::{Command, Words};
        let commands = Commands::new().at(NodeId::SERVER, "ip a", &[]).at(NodeId::SERVER, "ip b", &[]).at(
            NodeId::CLIENT,
            "ip c",
            &[],
        );
        let advice = commands.advice("PATH-LOSS", "Do this:").unwrap();
        let pieces = pieces(&advice);
        let (peer, here) = (NodeId::SERVER, NodeId::CLIENT);
        let typed = [Words("Do this:"), Command(peer, "ip a"), Command(peer, "ip b"), Command(here, "ip c")];
        assert_eq!(pieces[..4], typed);
        assert!(matches!(pieces[4..], [Words(lasts)] if lasts.starts_with("That lasts")), "{pieces:?}");
        assert_eq!(super::pieces("Look at `ip route`."), [Words("Look at `ip route`.")]);
        // Texts of strangers may end anywhere.
        assert_eq!(super::pieces("On the peer: `ip"), [Words("ip")]);
    }

    #[test]
    fn a_name_that_is_more_than_a_word_leaves_nothing_to_type() {
        for name in ["e0; reboot", "e0 down", "$(reboot)", "e0`", "-all", "", "e0\nreboot", &"e".repeat(65)] {
            let commands = Commands::new().at(NodeId::CLIENT, "ip route flush cache", &[]).at(
                NodeId::SERVER,
                "ip link set dev {} up",
                &[name],
            );
            assert!(commands.is_empty() && commands.to_string().is_empty(), "{name:?}");
        }
    }

    #[test]
    fn a_form_and_its_words_agree_in_number() {
        assert!(Commands::new().at(NodeId::CLIENT, "a {}", &[]).is_empty());
        assert!(Commands::new().at(NodeId::CLIENT, "a", &["b"]).is_empty());
    }
}
