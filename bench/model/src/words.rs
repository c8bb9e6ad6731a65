//! Closed lists of words: what the program writes as a word and reads back is a type, so nobody compares texts.

/// Declares a type whose values stand in plans and documents as the words given, and are typed as those. A word that is not
/// in the list is refused with those that are; what a later build may write and this one must read has
/// `#[serde(other)]` instead, and is no such list.
macro_rules! words {
    ($(#[$about:meta])* pub enum $name:ident: $what:literal {
        $($(#[$of:meta])* $variant:ident = $word:literal,)+
    }) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
        #[derive(serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
        pub enum $name {
            $($(#[$of])* #[serde(rename = $word)] $variant,)+
        }

        impl $name {
            /// All of them.
            pub const ALL: &[$name] = &[$($name::$variant),+];

            /// As it is typed, and stands in documents.
            pub const fn word(self) -> &'static str {
                match self {
                    $($name::$variant => $word,)+
                }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.word())
            }
        }

        impl std::str::FromStr for $name {
            type Err = String;

            fn from_str(text: &str) -> Result<$name, String> {
                let known = $name::ALL.iter().copied().find(|one| one.word() == text);
                known.ok_or_else(|| $crate::words::unknown($what, text, &[$($word),+]))
            }
        }
    };
}
pub(crate) use words;

/// Says that `text` is none of `known`.
pub(crate) fn unknown(what: &str, text: &str, known: &[&str]) -> String {
    match known {
        [all @ .., last] if !all.is_empty() => {
            format!("unknown {what} {text:?}; use {} or {last}", all.join(", "))
        }
        _ => format!("unknown {what} {text:?}; use {}", known.concat()),
    }
}

#[cfg(test)]
mod tests {
    use crate::migrate::{InjectedFault, PolicyName, Tracker};

    #[test]
    fn what_is_typed_written_and_read_is_the_same_word() {
        for fault in InjectedFault::ALL {
            assert_eq!(serde_json::to_value(fault).unwrap(), fault.word());
            assert_eq!(fault.to_string().parse(), Ok(*fault));
            assert_eq!(serde_json::from_value::<InjectedFault>(fault.word().into()).unwrap(), *fault);
        }
        let refused = |text: &str| text.parse::<PolicyName>().unwrap_err();
        assert_eq!(
            refused("vmware"),
            "unknown policy \"vmware\"; use qemu, qemu-loop, hyperv, hyperv-2008r2 or xen"
        );
        assert_eq!(
            "logs".parse::<Tracker>(),
            Err("unknown tracker \"logs\"; use log or pagemap-scan".into())
        );
    }
}
