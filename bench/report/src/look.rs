//! How much room a page has, and which signs the reader's terminal shows.

/// What a renderer may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Look {
    /// Widest line.
    pub columns: usize,
    /// Most lines of the first screen, with one left for the prompt below it.
    pub rows: usize,
    /// Mark good and bad with ANSI colours.
    pub colour: bool,
    /// Letters of ASCII only (`LANG=C`).
    pub ascii: bool,
}

impl Look {
    /// A terminal of 80 x 24, the prompt included.
    pub const SCREEN: Look = Look { columns: 80, rows: 23, colour: false, ascii: false };
    /// A whole page, which people scroll through.
    pub const PAGE: Look = Look { columns: 100, ..Look::SCREEN };

    /// Some letters are longer in ASCII (`...`, `<->`): lines are laid out so much narrower there.
    pub fn with_room_for_letters(self) -> Look {
        const LONGER: usize = 4;
        Look { columns: if self.ascii { self.columns.saturating_sub(LONGER) } else { self.columns }, ..self }
    }

    /// `text` in the letters that the terminal has.
    pub fn letters(&self, text: &str) -> String {
        if !self.ascii || text.is_ascii() {
            return text.to_owned();
        }
        let mut plain = String::with_capacity(text.len());
        for letter in text.chars() {
            match letter {
                letter if letter.is_ascii() => plain.push(letter),
                'µ' => plain.push('u'),
                '…' => plain.push_str("..."),
                '→' => plain.push_str("->"),
                '↔' => plain.push_str("<->"),
                '≥' => plain.push_str(">="),
                '≤' => plain.push_str("<="),
                '–' | '—' => plain.push('-'),
                '█' => plain.push('#'),
                '░' => plain.push('-'),
                // Bars of a row, the lowest first.
                '▁'..='▇' => {
                    let height = letter as usize - '▁' as usize;
                    plain.push(['.', ':', '-', '=', '+', '*', '%'][height.min(6)]);
                }
                other => plain.extend(other.escape_unicode()),
            }
        }
        plain
    }
}

impl Default for Look {
    fn default() -> Self {
        Look::PAGE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_without_other_letters_gets_ascii_that_says_the_same() {
        let ascii = Look { ascii: true, ..Look::SCREEN };
        assert_eq!(ascii.letters("e0 → e1: ≥ 1500, 38.0 µs ▁▄▇█░ …"), "e0 -> e1: >= 1500, 38.0 us .=%#- ...");
        assert_eq!(ascii.letters("サ"), "\\u{30b5}", "nothing is guessed");
        assert_eq!(Look::SCREEN.letters("µs"), "µs");
    }
}
