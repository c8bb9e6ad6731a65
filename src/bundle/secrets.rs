//! Where a text has a password, a token or a key in it, by what stands before it. It only finds them; who leaves them out is `pseudonyms`.

/// Behind what is called so, and an equals sign, there is something that nobody may see.
const SECRETS: [&str; 6] = ["password", "passwd", "passphrase", "pass", "secret", "token"];
/// Options of ours, or of others, with the same behind them.
const SECRET_OPTIONS: [&str; 3] = ["key", "password", "token"];
/// What ends it.
const ENDS: &[char] = &[' ', '\t', '\n', ',', ';', '&'];
/// And what ends it where it stands in quotes.
const QUOTES: &[char] = &['"', '\''];
/// Behind these a name and its password may stand before a host.
const LOGONS: [&str; 2] = ["//", "iscsi:"];
/// A longer one is not looked for.
const LOGON_LETTERS_MAX: usize = 512;

/// Whether a password, a token or a key follows where `sign` stands behind `word`: how many bytes of the sign stand before it, and what ends it.
pub fn begins(word: &str, sign: &str) -> Option<(usize, &'static [char])> {
    let word = word.to_lowercase();
    let label = word.rsplit(['-', '_', '.', ':']).next().unwrap_or_default();
    let is_option = word.strip_prefix("--").is_some_and(|option| SECRET_OPTIONS.contains(&option));
    let behind = match sign.strip_prefix('=') {
        Some(behind) if is_option || SECRETS.contains(&label) => behind,
        None if is_option && sign.starts_with(' ') => sign.trim_start_matches(' '),
        _ => return None,
    };
    // What is neither a letter nor a digit is a part of it, but for the quote that it stands in.
    let quote = QUOTES.iter().find(|quote| behind.starts_with(**quote));
    let before = sign.len() - behind.len() + quote.map_or(0, |quote| quote.len_utf8());
    Some((before, quote.map_or(ENDS, std::slice::from_ref)))
}

/// A text in pieces, and whether each is a password before a host: `smb://NAME:PASSWORD@HOST`, `netroot=iscsi:NAME:PASSWORD@HOST`.
pub fn logons(text: &str) -> Vec<(&str, bool)> {
    let ends = |letter: char| letter.is_whitespace() || QUOTES.contains(&letter);
    let (mut pieces, mut from) = (vec![], 0);
    for (at, _) in text.match_indices('@') {
        // A password may have the sign in it: the last one stands before the host.
        let mut behind = text[at + 1..].chars().take(LOGON_LETTERS_MAX).take_while(|letter| !ends(*letter));
        if behind.any(|letter| letter == '@') {
            continue;
        }
        let before = text[from..at].char_indices().rev().take(LOGON_LETTERS_MAX);
        let begin = before.take_while(|(_, letter)| !ends(*letter)).last();
        let typed = begin.map_or("", |(begin, _)| &text[from + begin..at]);
        let logon = LOGONS.iter().find_map(|sign| typed.split_once(*sign)).map(|(_, logon)| logon);
        if let Some((_, password)) = logon.and_then(|logon| logon.split_once(':')) {
            pieces.extend([(&text[from..at - password.len()], false), (password, true)]);
            from = at;
        }
    }
    pieces.push((&text[from..], false));
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_begins_behind_its_sign_whatever_it_begins_with() {
        assert_eq!(begins("rd.iscsi.password", "=$&"), Some((1, ENDS)));
        assert_eq!(begins("--token", "  "), Some((2, ENDS)));
        assert_eq!(begins("PASSWORD", "='"), Some((2, &QUOTES[1..])));
        let others = [("bypass", "="), ("tokens", "="), ("--key-file", " "), ("password", " "), ("key", "=")];
        for (word, sign) in others {
            assert_eq!(begins(word, sign), None, "{word}{sign}");
        }
    }

    #[test]
    fn a_password_before_a_host_is_found() {
        let found = |text: &str| -> Vec<String> {
            let pieces = logons(text);
            assert_eq!(pieces.iter().map(|(piece, _)| *piece).collect::<String>(), text, "nothing is lost");
            let passwords = pieces.into_iter().filter(|(_, is_password)| *is_password);
            passwords.map(|(piece, _)| piece.to_owned()).collect()
        };
        assert_eq!(found("mount smb://lab:pa$$@stor2/vms at 12:30"), ["pa$$"]);
        assert_eq!(found("netroot=iscsi:lab:pw@10.0.0.2::3260:1:iqn.2026-11.example:x"), ["pw"]);
        assert_eq!(found("\"http://a:b@c@proxy\" and 'http://d:e@f'"), ["b@c", "e"]);
        for text in ["ssh://root@hv1:22", "//stor2:445/vms of alice@corp", "root@hv1:7797", "//hv1:1", "@"] {
            assert_eq!(found(text), [""; 0], "{text}");
        }
        assert_eq!(found(&"//a:@".repeat(9000)).len(), 1);
    }
}
