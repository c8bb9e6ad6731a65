//! Options of a transport as somebody wrote them into a plan. They stay text until the declarations of the transport read them, which
//! this crate does not know.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{self, Deserialize, Deserializer, Visitor};

/// Reads options by name. A number and a yes or no need no quotes: TOML and JSON have forms of their own for them.
pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<BTreeMap<String, String>, D::Error> {
    let typed = BTreeMap::<String, Typed>::deserialize(from)?;
    Ok(typed.into_iter().map(|(name, Typed(text))| (name, text)).collect())
}

struct Typed(String);

impl<'de> Deserialize<'de> for Typed {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Typed, D::Error> {
        from.deserialize_any(AnyForm).map(Typed)
    }
}

struct AnyForm;

impl Visitor<'_> for AnyForm {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("text, a whole number, or true or false")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<String, E> {
        Ok(text.to_owned())
    }

    fn visit_bool<E: de::Error>(self, yes: bool) -> Result<String, E> {
        Ok(if yes { "yes" } else { "no" }.to_owned())
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<String, E> {
        Ok(number.to_string())
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<String, E> {
        Ok(number.to_string())
    }
}

#[cfg(test)]
mod tests {
    use crate::Plan;

    #[test]
    fn options_of_a_plan_need_no_quotes() {
        let plan = |options: &str| {
            let text = format!("[[steps]]\nkind = \"stream\"\nover = \"multi\"\noptions = {{ {options} }}\n");
            toml::from_str::<Plan>(&text).map(|plan| plan.steps[0].traffic().unwrap().options.clone())
        };
        let options = plan("stall_ms = 700, rejoin = false, share = \"fewest\"").unwrap();
        let pairs: Vec<(&str, &str)> =
            options.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
        assert_eq!(pairs, [("rejoin", "no"), ("share", "fewest"), ("stall_ms", "700")]);
        for wrong in ["stall_ms = 0.7", "stall_ms = [700]"] {
            let refused = plan(wrong).unwrap_err().to_string();
            assert!(refused.contains("a whole number"), "{wrong}: {refused}");
        }
    }
}
