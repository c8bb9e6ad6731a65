//! The values of options, as their readers get them.

use std::collections::BTreeMap;

use super::{Fixed, LaneOption, OptionDoc, Usual, nearest};
use crate::{PathSpec, TransportError};

/// A value of one of the kinds that [`Takes`](super::Takes) has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OptionValue {
    /// Yes or no.
    Switch(bool),
    /// A whole number.
    Number(u32),
    /// Which of the words.
    Choice(usize),
    /// A name.
    Name(String),
    /// Names.
    Names(Vec<String>),
    /// Paths.
    Paths(Vec<PathSpec>),
}

/// A type that the reader of an option can get.
pub trait OptionType: Sized {
    /// From a value; `None` where it is of another kind.
    fn of(value: &OptionValue) -> Option<Self>;
    /// To a value.
    fn value(self) -> OptionValue;
    /// The words of a choice, in order.
    fn words() -> Vec<&'static str> {
        Vec::new()
    }
}

/// A type of a few values, each with a word.
pub trait Choice: Copy + PartialEq + 'static {
    /// All of them.
    const ALL: &'static [(&'static str, Self)];
}

/// The words of a choice.
pub fn words<T: Choice>() -> Vec<&'static str> {
    T::ALL.iter().map(|(word, _)| *word).collect()
}

impl<T: Choice> OptionType for T {
    fn of(value: &OptionValue) -> Option<T> {
        match value {
            OptionValue::Choice(index) => T::ALL.get(*index).map(|(_, choice)| *choice),
            _ => None,
        }
    }
    fn value(self) -> OptionValue {
        // Every value of the type stands in its list.
        OptionValue::Choice(T::ALL.iter().position(|(_, choice)| *choice == self).unwrap_or(usize::MAX))
    }
    fn words() -> Vec<&'static str> {
        words::<T>()
    }
}

/// A type that one kind of value holds as it is.
macro_rules! held {
    ($type:ty, $kind:ident) => {
        impl OptionType for $type {
            fn of(value: &OptionValue) -> Option<$type> {
                match value {
                    OptionValue::$kind(held) => Some(held.clone()),
                    _ => None,
                }
            }
            fn value(self) -> OptionValue {
                OptionValue::$kind(self)
            }
        }
    };
}

/// A whole number of this width.
macro_rules! number {
    ($type:ty) => {
        impl OptionType for $type {
            fn of(value: &OptionValue) -> Option<$type> {
                match value {
                    OptionValue::Number(number) => (*number).try_into().ok(),
                    _ => None,
                }
            }
            fn value(self) -> OptionValue {
                OptionValue::Number(self.into())
            }
        }
    };
}

held!(bool, Switch);
held!(String, Name);
held!(Vec<String>, Names);
held!(Vec<PathSpec>, Paths);
number!(u8);
number!(u16);
number!(u32);

impl OptionValue {
    /// As it is typed for an option of type `T`.
    pub fn to_text<T: OptionType>(&self) -> String {
        match self {
            OptionValue::Switch(on) => if *on { "yes" } else { "no" }.to_owned(),
            OptionValue::Number(number) => number.to_string(),
            OptionValue::Choice(index) => (*T::words().get(*index).unwrap_or(&"")).to_owned(),
            OptionValue::Name(name) => name.clone(),
            OptionValue::Names(names) => names.join("+"),
            OptionValue::Paths(paths) => paths.iter().map(PathSpec::to_option).collect::<Vec<_>>().join(";"),
        }
    }
}

/// Values of declared options. Those that were typed come into being by [`OptionValues::read`] alone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OptionValues(BTreeMap<&'static str, OptionValue>);

impl OptionValues {
    /// Reads what was typed, or refuses the first of it that `declared` does not have or whose value is not possible, in one
    /// sentence. `whose` is the transport.
    pub fn read<'a>(
        whose: &str,
        declared: &[OptionDoc],
        typed: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<OptionValues, String> {
        let mut values = OptionValues::default();
        for (name, text) in typed {
            let option = declared
                .iter()
                .find(|option| option.name == name)
                .ok_or_else(|| unknown(whose, name, declared))?;
            let value = option.value(text).ok_or_else(|| option.refusal(whose, text))?;
            values.0.insert(option.name, value);
        }
        Ok(values)
    }

    /// The value of `option`, where it was given.
    pub fn given<D: Usual>(&self, option: &LaneOption<D>) -> Option<D::Value> {
        self.0.get(option.name).and_then(D::Value::of)
    }

    /// The value of `option`, or its default.
    pub fn get<T: Clone>(&self, option: &LaneOption<Fixed<T>>) -> T
    where
        Fixed<T>: Usual<Value = T>,
    {
        self.given(option).unwrap_or_else(|| option.default.0.clone())
    }

    /// Gives `option` a value.
    pub fn set<D: Usual>(&mut self, option: &LaneOption<D>, value: D::Value) {
        self.0.insert(option.name, value.value());
    }

    /// Those of `declared` alone, taken out of the others.
    pub fn take(&mut self, declared: &[OptionDoc]) -> OptionValues {
        let mine = |name: &str| declared.iter().any(|option| option.name == name);
        let (taken, left) = std::mem::take(&mut self.0).into_iter().partition(|(name, _)| mine(name));
        self.0 = left;
        OptionValues(taken)
    }

    /// Refuses to go on where there are others than those of `declared`: they would be ignored.
    pub fn only(&self, whose: &str, declared: &[OptionDoc]) -> Result<(), TransportError> {
        match self.0.keys().find(|name| declared.iter().all(|option| option.name != **name)) {
            Some(name) => Err(TransportError::invalid(unknown(whose, name, declared))),
            None => Ok(()),
        }
    }
}

fn unknown(whose: &str, name: &str, declared: &[OptionDoc]) -> String {
    let names: Vec<&str> = declared.iter().map(|option| option.name).collect();
    let usages = || declared.iter().map(OptionDoc::usage).collect::<Vec<_>>().join(", ");
    let takes = match nearest(name, &names).and_then(|near| declared.iter().find(|o| o.name == near)) {
        Some(meant) => format!("did you mean {}?", meant.usage()),
        None if declared.is_empty() => "it has none at all".into(),
        None => format!("it takes {}", usages()),
    };
    format!("{whose} has no option {name:?}; {takes}")
}
