//! Declarations, and what they make of what was typed.

use super::*;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Way {
    In,
    Out,
}

impl Choice for Way {
    const ALL: &'static [(&'static str, Way)] = &[("inward", Way::In), ("outward", Way::Out)];
}

const SIZE: LaneOption<Fixed<u8>> = LaneOption {
    name: "size",
    takes: Takes::Number { least: 1, most: 9, unit: NumberUnit::Bytes },
    whose: Whose::Both,
    default: Fixed(4),
    help: "how large",
};
const WAY: LaneOption<Fixed<Way>> = LaneOption {
    name: "way",
    takes: Takes::OneOf(words::<Way>),
    whose: Whose::Both,
    default: Fixed(Way::Out),
    help: "which way",
};
const WHO: LaneOption<Open<String>> = LaneOption {
    name: "who",
    takes: Takes::Name("NAME"),
    whose: Whose::Own,
    default: open("nobody"),
    help: "by whom",
};
const AGAIN: LaneOption<Fixed<bool>> = LaneOption {
    name: "again",
    takes: Takes::Switch,
    whose: Whose::Both,
    default: Fixed(true),
    help: "whether it is done again",
};
const BY: LaneOption<Open<Vec<String>>> = LaneOption {
    name: "by",
    takes: Takes::Names("NIC"),
    whose: Whose::Own,
    default: open("all"),
    help: "by which NICs",
};

fn known() -> Vec<OptionDoc> {
    vec![SIZE.declared(), WAY.declared(), WHO.declared(), AGAIN.declared(), BY.declared()]
}

fn read(name: &str, text: &str) -> Result<OptionValues, String> {
    OptionValues::read("x", &known(), [(name, text)])
}

#[test]
fn the_reader_gets_the_type_of_the_option() {
    let typed = [("size", "9"), ("way", "inward"), ("who", "me"), ("again", "no"), ("by", "e1+e2")];
    let values = OptionValues::read("x", &known(), typed).unwrap();
    assert_eq!((values.get(&SIZE), values.get(&WAY), values.get(&AGAIN)), (9, Way::In, false));
    assert_eq!(values.given(&WHO).as_deref(), Some("me"));
    assert_eq!(values.given(&BY), Some(vec!["e1".into(), "e2".into()]));
    let none = OptionValues::default();
    assert_eq!(
        (none.get(&SIZE), none.get(&WAY), none.get(&AGAIN), none.given(&SIZE)),
        (4, Way::Out, true, None)
    );
}

#[test]
fn what_is_written_is_what_is_read() {
    let mut typed = BTreeMap::new();
    SIZE.write(&mut typed, 7);
    WAY.write(&mut typed, Way::In);
    AGAIN.write(&mut typed, false);
    BY.write(&mut typed, vec!["e1".into(), "e2".into()]);
    let pairs = typed.iter().map(|(name, text)| (name.as_str(), text.as_str()));
    let values = OptionValues::read("x", &known(), pairs).unwrap();
    let mut set = OptionValues::default();
    set.set(&SIZE, 7);
    set.set(&WAY, Way::In);
    set.set(&AGAIN, false);
    set.set(&BY, vec!["e1".into(), "e2".into()]);
    assert_eq!(values, set, "{typed:?}");
}

#[test]
fn what_is_not_declared_is_refused_in_a_sentence() {
    let refused = [
        ("size", "0", "write size=1..9 bytes (how large)"),
        ("size", "ten", "1..9"),
        ("size", "-1", "1..9"),
        ("way", "outwards", "did you mean outward?"),
        ("way", "up", "way=inward|outward"),
        ("who", "", "who=NAME"),
        ("again", "maybe", "again=yes|no"),
        ("by", "e1++e2", "by=NIC[+NIC…]"),
        ("sise", "1", "did you mean size=1..9?"),
        ("colour", "red", "it takes size=1..9, way=inward|outward, who=NAME"),
    ];
    for (name, text, says) in refused {
        let error = read(name, text).unwrap_err();
        assert!(error.contains(name) && error.contains(says), "{error}");
    }
    assert!(OptionValues::read("x", &[], [("a", "b")]).unwrap_err().contains("none at all"));
}

#[test]
fn a_value_that_its_reader_could_not_hold_is_none() {
    let wide = LaneOption { takes: Takes::Number { least: 1, most: 1000, unit: NumberUnit::None }, ..SIZE }
        .declared();
    assert!(wide.value("255").is_some() && wide.value("256").is_none());
}

#[test]
fn an_end_takes_its_own_and_minds_what_would_be_ignored() {
    let mut values = OptionValues::read("x", &known(), [("size", "2"), ("who", "me")]).unwrap();
    assert!(values.only("x", &known()).is_ok());
    assert!(
        values.only("y", &[WHO.declared()]).unwrap_err().to_string().contains("y has no option \"size\"")
    );
    let taken = values.take(&[SIZE.declared()]);
    assert_eq!((taken.get(&SIZE), values.given(&SIZE), values.given(&WHO)), (2, None, Some("me".into())));
}
