//! Text from outside, made harmless: the only form in which a report, a log line or a message reaches a terminal.
//!
//! Host names, findings, errors, NIC names and files are written by others. Raw, an escape sequence among them moves
//! the cursor or clears the screen, a line feed forges a line of ours, and a bidirectional override turns a sentence
//! round. What cannot be seen as itself is therefore shown by its code, as Rust writes it: `\n`, `\u{1b}`.

use std::fmt::{self, Display, Write as _};

use unicode_width::UnicodeWidthStr as _;

/// One line of text that a terminal shows as it is: no control character, nothing invisible, nothing that changes
/// direction.
///
/// Showing it again changes nothing, so a text may pass through here more than once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shown(String);

impl Shown {
    /// Makes `text` harmless.
    pub fn new(text: impl AsRef<str>) -> Shown {
        let text = text.as_ref();
        let mut shown = String::with_capacity(text.len());
        for character in text.chars() {
            match is_plain(character) {
                true => shown.push(character),
                false => shown.extend(character.escape_debug()),
            }
        }
        Shown(shown)
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The text as a string, which is no longer known to be harmless once it is put together with others.
    pub fn into_string(self) -> String {
        self.0
    }

    /// Columns that it takes on a terminal.
    pub fn columns(&self) -> usize {
        self.0.width()
    }
}

impl<T: AsRef<str>> From<T> for Shown {
    fn from(text: T) -> Shown {
        Shown::new(text)
    }
}

impl Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whether a character is seen as itself. The standard library knows what can be printed (no control, format, private
/// or unassigned character, no space but the plain one, nothing that changes the character before it); of what
/// it escapes besides, quotes and the backslash are harmless.
pub(crate) fn is_plain(character: char) -> bool {
    matches!(character, ' '..='~') || character.escape_debug().len() == 1
}

/// JSON as it was, except that its strings hold no character that a terminal would obey: what [`Shown`] would not print
/// stands as `\uXXXX`. A parser reads the very same document.
pub fn harmless_json(json: &str) -> String {
    let mut harmless = String::with_capacity(json.len());
    for character in json.chars() {
        // Outside of strings JSON is plain text and line feeds; inside a line feed is escaped already.
        if character == '\n' || is_plain(character) {
            harmless.push(character);
            continue;
        }
        for unit in character.encode_utf16(&mut [0; 2]) {
            // Writing to a string cannot fail.
            let _ = write!(harmless, "\\u{unit:04x}");
        }
    }
    harmless
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// One of every sort of character that must not reach a terminal, after a word that must.
    pub const HOSTILE: &str = "mark\u{1b}[2J\u{9b}31m\u{1b}]0;title\u{7}\r\n\tFIT: all 9 verdicts pass.\n\u{0}\u{8}\u{7f}\u{85}\u{90}\
                               \u{202e}\u{2066}\u{2069}\u{200b}\u{200e}\u{2028}\u{2029}\u{feff}\u{ad}\u{e0041}";

    #[test]
    fn nothing_that_a_terminal_obeys_comes_through() {
        let shown = Shown::new(HOSTILE);
        assert!(shown.as_str().chars().all(is_plain), "{shown}");
        for part in
            ["mark\\u{1b}[2J\\u{9b}31m", "\\r\\n\\tFIT", "\\0\\u{8}\\u{7f}\\u{85}", "\\u{202e}\\u{2066}"]
        {
            assert!(shown.as_str().contains(part), "{part} in {shown}");
        }
        assert_eq!(Shown::new(shown.as_str()), shown, "showing it again changes nothing");
        for code in 0..=0x10_ffff {
            let Some(character) = char::from_u32(code) else { continue };
            let harmful = character.is_control()
                || matches!(code, 0x00ad | 0x061c | 0x180e | 0x200b..=0x200f | 0x2028..=0x202e | 0x2060..=0x206f)
                || matches!(code, 0xfeff | 0xfff9..=0xfffb | 0xe0000..=0xe007f);
            assert!(!(harmful && is_plain(character)), "U+{code:04X}");
        }
    }

    #[test]
    fn what_people_write_is_shown_as_it_is() {
        for text in
            ["ens1f0np0", "a \"quoted\" C:\\path isn't", "Prüfstand → 10 µs ≥ ½ ▂▅█ …", "サーバー", "Сервер"]
        {
            assert_eq!(Shown::new(text).as_str(), text);
        }
        assert_eq!((Shown::new("サーバー").columns(), Shown::new("eth\n").columns()), (8, 5));
    }

    #[test]
    fn json_is_the_same_document_and_harmless() {
        let value = serde_json::json!({ "name": HOSTILE, HOSTILE: ["サ", 1.5, null] });
        let json = harmless_json(&serde_json::to_string_pretty(&value).unwrap());
        assert!(json.chars().all(|c| c == '\n' || is_plain(c)), "{json}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&json).unwrap(), value);
        assert!(json.contains('サ'));
    }
}
