//! What the shell at the far end is told, and what it answers.
//!
//! The script is one compound command, read whole before any of it runs; and whatever is said after it is said only when the shell has
//! answered. So no shell, however far it reads ahead, takes a byte that is meant for what it starts.

use std::fmt::Write as _;

/// What the shell does. `@` stands for the mark; a program that was lent is gone from the disk before it runs, and runs all the same.
const SCRIPT: &str = r#"{
say() { echo "@ $*"; }
say here "$(uname -s)" "$(uname -m)"
read -r order port size more || exit 0
set --
if [ "$port" != any ]; then set -- --listen "[::]:$port"; fi
if [ "$more" = offloads ]; then set -- "$@" --allow-offloads; fi
case $order in
run)
  for p in pathproof /usr/local/bin/pathproof "$HOME/.cargo/bin/pathproof"; do
    if command -v "$p" >/dev/null 2>&1; then
      say starting
      exec "$p" serve --one-client "$@"
    fi
  done
  say missing
  ;;
copy)
  umask 077
  d=
  for t in "${TMPDIR:-/tmp}" /var/tmp /dev/shm "$HOME"; do
    c=$(mktemp -d "$t/pathproof.XXXXXXXXXX" 2>/dev/null) || continue
    trap 'rm -rf "$c"' EXIT
    trap 'exit 1' HUP INT TERM
    if printf '#!/bin/sh\nexit 0\n' >"$c/pathproof" && chmod 700 "$c/pathproof" && "$c/pathproof" 2>/dev/null; then
      d=$c
      break
    fi
    rm -rf "$c"
  done
  [ -n "$d" ] || { say nowhere; exit 0; }
  say ready
  head -c "$size" >"$d/pathproof"
  [ "$(wc -c <"$d/pathproof")" -eq "$size" ] || exit 1
  exec 9<"$d/pathproof"
  rm -rf "$d"
  trap - EXIT HUP INT TERM
  say starting
  exec /proc/self/fd/9 serve --one-client "$@"
  ;;
esac
exit 0
}
"#;

/// What the shell is told.
pub(super) fn script(mark: &str) -> String {
    SCRIPT.replacen('@', mark, 1)
}

/// What the shell answers.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Word {
    /// It is there.
    Here {
        /// `uname -s`.
        system: String,
        /// `uname -m`.
        machine: String,
    },
    /// There is no program to run.
    Missing,
    /// No folder takes a program.
    Nowhere,
    /// It takes the program now.
    Ready,
    /// The program runs next.
    Starting,
}

/// What a line says, if it is the shell's.
pub(super) fn word(line: &str, mark: &str) -> Option<Word> {
    let mut words = line.strip_prefix(mark)?.split_whitespace();
    Some(match words.next()? {
        "here" => {
            let mut name = || words.next().map_or_else(|| "something unknown".to_owned(), tame);
            let (system, machine) = (name(), name());
            // What the kernel and what Rust call the same.
            let machine = if machine == "arm64" { "aarch64".to_owned() } else { machine };
            Word::Here { system, machine }
        }
        "missing" => Word::Missing,
        "nowhere" => Word::Nowhere,
        "ready" => Word::Ready,
        "starting" => Word::Starting,
        _ => return None,
    })
}

/// A name of a system or machine: short, and of letters that one has.
fn tame(name: &str) -> String {
    let mut tamed = String::new();
    for letter in name.chars().take(32) {
        let known = letter.is_ascii_alphanumeric() || "_-.".contains(letter);
        let _ = tamed.write_char(if known { letter } else { '?' });
    }
    tamed
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn a_line_is_the_shells_when_it_has_the_mark() {
        let here =
            |system: &str, machine: &str| Word::Here { system: system.into(), machine: machine.into() };
        assert_eq!(word("ab12 here Linux x86_64", "ab12"), Some(here("Linux", "x86_64")));
        assert_eq!(word("ab12 here Darwin arm64", "ab12"), Some(here("Darwin", "aarch64")));
        assert_eq!(word("ab12 here Lin\u{1b}ux", "ab12"), Some(here("Lin?ux", "something unknown")));
        assert_eq!(word("ab12 starting", "ab12"), Some(Word::Starting));
        for other in ["starting", "ab13 starting", "Last login: today", "ab12", "ab12 else", ""] {
            assert_eq!(word(other, "ab12"), None, "{other}");
        }
    }

    #[test]
    fn the_script_is_right_for_every_shell_that_is_here() {
        let mut tried = 0;
        for shell in [&["sh"][..], &["dash"], &["bash"], &["bash", "--posix"], &["busybox", "sh"]] {
            let mut command = Command::new(shell[0]);
            let checked =
                command.args(&shell[1..]).args(["-n", "-c", &script("ab12")]).stdin(Stdio::null()).output();
            let Ok(checked) = checked else { continue };
            assert!(checked.status.success(), "{shell:?}: {}", String::from_utf8_lossy(&checked.stderr));
            tried += 1;
        }
        assert!(tried > 0);
    }
}
