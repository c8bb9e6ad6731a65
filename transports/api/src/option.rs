//! What options the lanes of a transport take.
//!
//! An option is declared once, as a constant beside the code that reads it: its name, the type that the reader gets, its
//! values with their unit, its default and what it is for. From the declarations comes everything else: what was typed is
//! read and refused by them before anything is dialled ([`OptionValues::read`]), and they are what help and documents list.
//! Who has an [`OptionValues`] has values that are possible, and parses nothing.

mod nearest;
mod value;

use std::collections::BTreeMap;

pub use nearest::nearest;
pub use value::{Choice, OptionType, OptionValue, OptionValues, words};

/// One option of a transport's lanes. `D` is its default ([`Fixed`] or [`Open`]), which knows the type of its values.
#[derive(Clone, Copy, Debug)]
pub struct LaneOption<D> {
    /// Its name.
    pub name: &'static str,
    /// What it takes.
    pub takes: Takes,
    /// Whom it concerns.
    pub whose: Whose,
    /// What holds where it is not given.
    pub default: D,
    /// What it is for, in a phrase.
    pub help: &'static str,
}

/// What the numbers of an option count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NumberUnit {
    /// Nothing that has a unit.
    None,
    /// Milliseconds.
    Milliseconds,
    /// Bytes.
    Bytes,
    /// Operations that send.
    Sends,
}

impl NumberUnit {
    /// As help and documents say it.
    pub fn word(self) -> &'static str {
        match self {
            NumberUnit::None => "",
            NumberUnit::Milliseconds => "ms",
            NumberUnit::Bytes => "bytes",
            NumberUnit::Sends => "sends",
        }
    }
}

/// What an option takes: every kind of value that there is.
#[derive(Clone, Copy, Debug)]
pub enum Takes {
    /// `yes` or `no`.
    Switch,
    /// A whole number.
    Number {
        /// The smallest.
        least: u32,
        /// The largest.
        most: u32,
        /// What is counted, or nothing.
        unit: NumberUnit,
    },
    /// One of these words (see [`words`]).
    OneOf(fn() -> Vec<&'static str>),
    /// A name, described by this word; whether such a thing exists shows only where it is used.
    Name(&'static str),
    /// Such names with `+` between them.
    Names(&'static str),
    /// Paths of a lane over several NICs, as [`PathSpec`](crate::PathSpec) writes them, with `;` between them.
    Paths,
}

/// Which end an option is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose {
    /// Both use it alike, so the client's crosses.
    Both,
    /// It says something of the host where it is given, and stays there.
    Own,
}

/// What holds where an option is not given.
pub trait Usual {
    /// The type of the option's values.
    type Value: OptionType;
    /// For people.
    fn text(&self) -> String;
}

/// A value.
#[derive(Clone, Copy, Debug)]
pub struct Fixed<T>(pub T);

/// What these words say, and what only the reader can find out.
#[derive(Clone, Copy, Debug)]
pub struct Open<T>(pub &'static str, pub std::marker::PhantomData<fn() -> T>);

/// A default of which these words tell.
pub const fn open<T>(words: &'static str) -> Open<T> {
    Open(words, std::marker::PhantomData)
}

impl<T: OptionType + Clone> Usual for Fixed<T> {
    type Value = T;
    fn text(&self) -> String {
        self.0.clone().value().to_text::<T>()
    }
}

impl<T: OptionType> Usual for Open<T> {
    type Value = T;
    fn text(&self) -> String {
        self.0.to_owned()
    }
}

impl<D: Usual> LaneOption<D> {
    /// What is told of it.
    pub fn declared(&self) -> OptionDoc {
        OptionDoc {
            name: self.name,
            takes: self.takes,
            whose: self.whose,
            default: self.default.text(),
            help: self.help,
            reads: |value| D::Value::of(value).is_some(),
        }
    }

    /// As it stands among options as they are typed, for people.
    pub fn typed<'a>(&self, typed: &'a BTreeMap<String, String>) -> Option<&'a str> {
        typed.get(self.name).map(String::as_str)
    }

    /// Writes `value` among options as they are typed.
    pub fn write(&self, typed: &mut BTreeMap<String, String>, value: D::Value) {
        typed.insert(self.name.to_owned(), value.value().to_text::<D::Value>());
    }
}

/// An option as it is declared, without the type of its values.
#[derive(Clone, Debug)]
pub struct OptionDoc {
    /// Its name.
    pub name: &'static str,
    /// What it takes.
    pub takes: Takes,
    /// Whom it concerns.
    pub whose: Whose,
    /// What holds where it is not given, for people.
    pub default: String,
    /// What it is for, in a phrase.
    pub help: &'static str,
    /// Whether its reader gets something of this value.
    reads: fn(&OptionValue) -> bool,
}

impl OptionDoc {
    /// What it takes, as it is typed.
    pub fn values(&self) -> String {
        match self.takes {
            Takes::Switch => "yes|no".into(),
            Takes::Number { least, most, .. } => format!("{least}..{most}"),
            Takes::OneOf(words) => words().join("|"),
            Takes::Name(what) => what.into(),
            Takes::Names(what) => format!("{what}[+{what}…]"),
            Takes::Paths => "LOCAL,DEVICE,REMOTE:PORT[;…]".into(),
        }
    }

    /// What its numbers count, where it takes numbers of something.
    pub fn unit(&self) -> Option<NumberUnit> {
        match self.takes {
            Takes::Number { unit, .. } => Some(unit).filter(|unit| *unit != NumberUnit::None),
            Takes::Switch | Takes::OneOf(_) | Takes::Name(_) | Takes::Names(_) | Takes::Paths => None,
        }
    }

    /// `name=WHAT IT TAKES`.
    pub fn usage(&self) -> String {
        format!("{}={}", self.name, self.values())
    }

    /// The value that `text` stands for; `None` where it is none of this option's.
    pub fn value(&self, text: &str) -> Option<OptionValue> {
        let value = match self.takes {
            Takes::Switch => OptionValue::Switch(match text {
                "yes" => true,
                "no" => false,
                _ => return None,
            }),
            Takes::Number { least, most, .. } => {
                OptionValue::Number(text.parse().ok().filter(|n| (least..=most).contains(n))?)
            }
            Takes::OneOf(words) => OptionValue::Choice(words().iter().position(|word| *word == text)?),
            Takes::Name(_) => OptionValue::Name(Some(text).filter(|text| !text.is_empty())?.to_owned()),
            Takes::Names(_) => {
                let names: Vec<String> = text.split('+').map(Into::into).collect();
                OptionValue::Names(Some(names).filter(|names| names.iter().all(|name| !name.is_empty()))?)
            }
            Takes::Paths => {
                OptionValue::Paths(text.split(';').map(crate::PathSpec::parse).collect::<Option<_>>()?)
            }
        };
        (self.reads)(&value).then_some(value)
    }

    /// Why `text` is none of its values, in a sentence about the transport `whose`.
    fn refusal(&self, whose: &str, text: &str) -> String {
        let meant = match self.takes {
            Takes::OneOf(words) => nearest(text, &words()),
            _ => None,
        };
        let unit = self.unit().map(|unit| format!(" {}", unit.word())).unwrap_or_default();
        let write = match meant {
            Some(word) => format!("did you mean {word}? It takes {}", self.values()),
            None => format!("write {}{unit} ({})", self.usage(), self.help),
        };
        format!("option {}={text} of {whose} is not possible; {write}", self.name)
    }
}

#[cfg(test)]
mod tests;
