//! What options the lanes of a transport take: declared once, so that what was typed can be checked before anything is
//! dialled, and listed where it was typed wrong.

/// One option of a transport's lanes.
#[derive(Clone, Copy, Debug)]
pub struct LaneOption {
    /// Its name.
    pub name: &'static str,
    /// What it takes.
    pub takes: Takes,
    /// What it is for, in a phrase.
    pub help: &'static str,
}

/// What an option takes.
#[derive(Clone, Copy, Debug)]
pub enum Takes {
    /// A whole number between these two.
    Number(u32, u32),
    /// One of these words.
    OneOf(&'static [&'static str]),
    /// A text, described by this word; whether such a thing exists shows only where it is used.
    Text(&'static str),
}

impl LaneOption {
    /// An option by its parts.
    pub const fn new(name: &'static str, takes: Takes, help: &'static str) -> LaneOption {
        LaneOption { name, takes, help }
    }

    /// `name=WHAT IT TAKES`.
    pub fn usage(&self) -> String {
        let takes = match self.takes {
            Takes::Number(least, most) => format!("{least}..{most}"),
            Takes::OneOf(words) => words.join("|"),
            Takes::Text(what) => what.to_owned(),
        };
        format!("{}={takes}", self.name)
    }

    fn accepts(&self, value: &str) -> bool {
        match self.takes {
            Takes::Number(least, most) => value.parse().is_ok_and(|n: u32| (least..=most).contains(&n)),
            Takes::OneOf(words) => words.contains(&value),
            Takes::Text(_) => !value.is_empty(),
        }
    }
}

/// Refuses the first of `given` that `known` does not have or whose value it does not take, in one sentence. `whose` is the
/// transport.
pub fn check_options<'a>(
    whose: &str,
    known: &[LaneOption],
    given: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> Result<(), String> {
    for (name, value) in given {
        let Some(option) = known.iter().find(|option| option.name == name) else {
            let usages: Vec<String> = known.iter().map(LaneOption::usage).collect();
            return Err(match usages.is_empty() {
                true => format!("{whose} has no option {name:?}; it has none at all"),
                false => format!("{whose} has no option {name:?}; it takes {}", usages.join(", ")),
            });
        };
        if !option.accepts(value) {
            return Err(format!(
                "option {name}={value} of {whose} is not possible; write {} ({})",
                option.usage(),
                option.help
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: [LaneOption; 3] = [
        LaneOption::new("size", Takes::Number(1, 9), "how large"),
        LaneOption::new("way", Takes::OneOf(&["in", "out"]), "which way"),
        LaneOption::new("who", Takes::Text("NAME"), "by whom"),
    ];

    #[test]
    fn names_and_values_are_held_against_what_is_declared() {
        let check = |name, value| check_options("x", &KNOWN, [(name, value)]);
        for (name, value) in [("size", "1"), ("size", "9"), ("way", "in"), ("who", "anybody")] {
            assert_eq!(check(name, value), Ok(()), "{name}={value}");
        }
        for (name, value) in [("size", "0"), ("size", "ten"), ("way", "up"), ("who", ""), ("sise", "1")] {
            let error = check(name, value).unwrap_err();
            assert!(error.contains(name) && error.contains('='), "{error}");
        }
        assert!(check("sise", "1").unwrap_err().contains("size=1..9, way=in|out, who=NAME"));
        assert!(check_options("x", &[], [("a", "b")]).unwrap_err().contains("none at all"));
    }
}
