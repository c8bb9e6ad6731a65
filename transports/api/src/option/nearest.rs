//! The word that somebody may have meant.

/// The one of `known` that is nearest to `typed`, where one is near enough to be meant: a slip in every third letter.
pub fn nearest<'a>(typed: &str, known: &[&'a str]) -> Option<&'a str> {
    // What is typed may be of any length, and no word of ours is long.
    let typed: Vec<char> = typed.chars().take(64).collect();
    let near = known.iter().map(|word| (slips(&typed, word), *word));
    near.filter(|(slips, word)| *slips * 3 <= word.chars().count()).min().map(|(_, word)| word)
}

/// Letters to change, add or leave out until `typed` is `word`; two that are swapped count as two.
fn slips(typed: &[char], word: &str) -> usize {
    let mut row: Vec<usize> = (0..=typed.len()).collect();
    for (at, letter) in word.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = at + 1;
        for (index, other) in typed.iter().enumerate() {
            let changed = diagonal + usize::from(letter != *other);
            diagonal = row[index + 1];
            row[index + 1] = changed.min(diagonal + 1).min(row[index] + 1);
        }
    }
    row[typed.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_understood_and_another_word_is_not() {
        let known = ["congestion", "share", "stall_ms", "gid"];
        for (typed, meant) in [
            ("congestoin", Some("congestion")),
            ("shar", Some("share")),
            ("stall-ms", Some("stall_ms")),
            ("gud", Some("gid")),
            ("share", Some("share")),
            ("colour", None),
            ("", None),
            ("x", None),
        ] {
            assert_eq!(nearest(typed, &known), meant, "{typed}");
        }
        assert_eq!(nearest(&"g".repeat(1 << 20), &known), None);
    }
}
