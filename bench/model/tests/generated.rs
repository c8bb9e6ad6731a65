//! Files that are made from the types and must not drift from them: the JSON schema and the list of findings.
//!
//! `UPDATE_GENERATED=1 cargo test -p pathproof-model --test generated` writes them anew.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;

use pathproof_model::compare::Comparison;
use pathproof_model::finding::{CATALOGUE, page};
use pathproof_model::mesh::MeshDoc;
use pathproof_model::stream::StreamLine;
use pathproof_model::{Plan, ResultDoc};
use serde_json::Value;

fn must_be_current(file: &str, wanted: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(file);
    if std::env::var_os("UPDATE_GENERATED").is_some() {
        let _ = path.parent().map(std::fs::create_dir_all);
        std::fs::write(&path, wanted).unwrap_or_else(|e| panic!("cannot write {file}: {e}"));
    }
    let found = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("cannot read {file}: {e}"));
    assert!(
        found == wanted,
        "{file} is not what the types say; run UPDATE_GENERATED=1 cargo test -p pathproof-model --test generated"
    );
}

fn schema() -> Value {
    let mut schema = serde_json::to_value(schemars::schema_for!(ResultDoc)).unwrap();
    schema["title"] = "pathproof result, version 2".into();
    schema
}

#[test]
fn the_schema_is_current() {
    must_be_current("results/schema/v2.json", &(serde_json::to_string_pretty(&schema()).unwrap() + "\n"));
}

#[test]
fn the_names_in_a_plan_are_current() {
    fn collect(schema: &Value, names: &mut BTreeSet<String>) {
        if let Some(properties) = schema.get("properties").and_then(Value::as_object) {
            names.extend(properties.keys().cloned());
        }
        match schema {
            Value::Object(parts) => parts.values().for_each(|part| collect(part, names)),
            Value::Array(parts) => parts.iter().for_each(|part| collect(part, names)),
            _ => {}
        }
    }
    let mut names = BTreeSet::new();
    collect(schemars::schema_for!(Plan).as_value(), &mut names);
    let lines: String = names.iter().map(|name| format!("{name}\n")).collect();
    must_be_current("bench/model/src/plan/keys.txt", &lines);
}

#[test]
fn the_schema_of_a_mesh_is_current() {
    let mut schema = serde_json::to_value(schemars::schema_for!(MeshDoc)).unwrap();
    schema["title"] = "pathproof mesh, version 1".into();
    must_be_current("results/schema/mesh-v1.json", &(serde_json::to_string_pretty(&schema).unwrap() + "\n"));
}

#[test]
fn the_schema_of_a_stream_is_current() {
    let mut schema = serde_json::to_value(schemars::schema_for!(StreamLine)).unwrap();
    schema["title"] = "a line of a pathproof stream, version 1".into();
    must_be_current(
        "results/schema/stream-v1.json",
        &(serde_json::to_string_pretty(&schema).unwrap() + "\n"),
    );
}

#[test]
fn the_schema_of_a_comparison_is_current() {
    let mut schema = serde_json::to_value(schemars::schema_for!(Comparison)).unwrap();
    schema["title"] = "pathproof comparison, version 1".into();
    must_be_current(
        "results/schema/compare-v1.json",
        &(serde_json::to_string_pretty(&schema).unwrap() + "\n"),
    );
}

#[test]
fn the_words_of_a_report_are_current() {
    must_be_current("docs/GLOSSARY.md", &pathproof_model::glossary::document());
}

#[test]
fn the_list_of_fields_is_current() {
    let schema = schema();
    let mut text = String::from(
        "# Every field of a result, version 2\n\n\
         Made from the types in `bench/model`; do not edit by hand. [RESULT-FORMAT.md](RESULT-FORMAT.md) says how to \
         read it.\n`?` marks what may be null or absent.\n",
    );
    let _ = write!(text, "\n## The document\n\n");
    fields(&schema, &mut text);
    for (name, kind) in schema["$defs"].as_object().unwrap() {
        let _ = write!(text, "\n## {name}\n\n{}\n", prose(kind));
        let alternatives = kind.get("oneOf").or(kind.get("anyOf")).and_then(Value::as_array);
        for alternative in alternatives.into_iter().flatten() {
            match alternative["const"].as_str().or(alternative["properties"]["kind"]["const"].as_str()) {
                Some(word) => _ = write!(text, "\n- `{word}`: {}", prose(alternative)),
                None => _ = write!(text, "\n- {}: {}", type_of(alternative), prose(alternative)),
            }
        }
        if alternatives.is_some() {
            text.push('\n');
        }
        if kind.get("properties").is_some() {
            text.push('\n');
            fields(kind, &mut text);
        }
    }
    must_be_current("docs/RESULT-FIELDS.md", &text);
}

fn prose(schema: &Value) -> String {
    let text = schema["description"].as_str().unwrap_or_default().replace("[`", "`").replace("`]", "`");
    text.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|")
}

fn fields(schema: &Value, text: &mut String) {
    text.push_str("| field | type | meaning |\n|---|---|---|\n");
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        let _ = writeln!(text, "| `{name}` | {} | {} |", type_of(field), prose(field));
    }
}

/// The type in a few words; types of ours link to their section.
fn type_of(schema: &Value) -> String {
    if let Some(path) = schema["$ref"].as_str() {
        let name = path.rsplit('/').next().unwrap_or_default();
        return format!("[{name}](#{})", name.to_lowercase());
    }
    if let Some(choices) = schema["anyOf"].as_array() {
        let names: Vec<_> = choices.iter().map(type_of).filter(|name| name != "null").collect();
        let maybe = if names.len() < choices.len() { "?" } else { "" };
        return format!("{}{maybe}", names.join(" or "));
    }
    let names: Vec<&str> = match &schema["type"] {
        Value::String(one) if one == "null" => return "null".into(),
        Value::String(one) => vec![one],
        Value::Array(several) => several.iter().filter_map(Value::as_str).collect(),
        _ => return "any".into(),
    };
    let maybe = if names.contains(&"null") { "?" } else { "" };
    let name = names.into_iter().find(|name| *name != "null").unwrap_or("null");
    match name {
        "array" => format!("{}[]{maybe}", type_of(&schema["items"])),
        "object" if schema["additionalProperties"].is_object() => {
            format!("name → {}{maybe}", type_of(&schema["additionalProperties"]))
        }
        name => format!("{name}{maybe}"),
    }
}

/// The scenarios that carry out the advice of a finding, by its code.
fn healed() -> BTreeMap<String, Vec<String>> {
    let mut healed: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let scenarios = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/truth/scenarios");
    for file in std::fs::read_dir(scenarios).unwrap().map(|entry| entry.unwrap().path()) {
        let text = std::fs::read_to_string(&file).unwrap();
        let Some((_, heal)) = text.split_once("\n[heal]\n") else { continue };
        let code = heal.lines().find_map(|line| line.strip_prefix("code = \"")?.strip_suffix('"'));
        let name = file.file_stem().unwrap().to_string_lossy();
        let code = code.unwrap_or_else(|| panic!("{name}: [heal] has no code"));
        healed.entry(code.into()).or_default().push(format!("`{name}`"));
    }
    healed.values_mut().for_each(|names| names.sort());
    healed
}

#[test]
fn the_list_of_findings_is_current() {
    let mut text = String::from(
        "# Findings\n\n\
         Made from the catalogue and the pages in `bench/model/src/finding`; do not edit by hand. `pathproof explain CODE` prints\n\
         one of them.\n\n\
         A finding in a result has a `code` from this list, a `severity`, the `evidence` of this run in words, its \
         numbers in\n`values`, what it means, and what to do next. Codes are stable: programs may match on them. A run \
         may raise or lower\nthe severity given here and gives more precise advice where it can. An `error` makes the \
         verdict `finding/CODE` fail.\n",
    );
    let healed = healed();
    let not_healed = include_str!("../../../tests/truth/not-healed");
    for page in CATALOGUE.iter().filter_map(|entry| page(entry.code)) {
        let code = page.entry.code;
        text.push_str(&page.markdown());
        let why = not_healed.lines().find_map(|line| line.strip_prefix(code)?.strip_prefix(": "));
        let scenarios = healed.get(code);
        assert!(
            why.is_some() != scenarios.is_some(),
            "{code} is healed in a scenario or says why it is not (tests/truth/not-healed)"
        );
        let _ = match scenarios {
            Some(names) => writeln!(text, "\n**Carried out in** {} of `scripts/truth`.", names.join(", ")),
            None => writeln!(text, "\n**Not carried out in `scripts/truth`:** {}.", why.unwrap_or_default()),
        };
    }
    must_be_current("docs/FINDINGS.md", &text);
}

#[test]
fn the_limits_in_the_documentation_are_the_built_in_ones() {
    let text = include_str!("../../../docs/MEASUREMENT.md");
    let built_in = pathproof_model::criteria::BUILT_IN;
    assert!(text.contains(built_in), "docs/MEASUREMENT.md must hold criteria.toml word for word");
}

/// The words of these lists are what programs match on: the page that says how to read a document has all of them.
#[test]
fn the_page_on_the_format_names_every_word_that_programs_match_on() {
    const LISTS: [&str; 11] = [
        "Class",
        "ErrorCause",
        "ErrorKind",
        "FollowUp",
        "HistogramName",
        "LaneRole",
        "Outcome",
        "RunOutcome",
        "Severity",
        "StepKind",
        "Unit",
    ];
    let page = include_str!("../../../docs/RESULT-FORMAT.md");
    // A fence is three of the quotes that code stands between: what it holds is an example.
    let prose: String = page.split("```").step_by(2).collect();
    let named: BTreeSet<&str> = prose.split('`').skip(1).step_by(2).collect();
    let schema = schema();
    for list in LISTS {
        let words = words_of(&schema["$defs"][list]);
        assert!(words.len() >= 3, "{list} has {words:?}");
        // What a later build may say is no word of this one.
        let missing: Vec<&str> =
            words.into_iter().filter(|word| *word != "other" && !named.contains(word)).collect();
        assert!(missing.is_empty(), "docs/RESULT-FORMAT.md has no `{missing:?}` of {list}");
    }
}

/// The words of a closed list, as the schema has it.
fn words_of(list: &Value) -> Vec<&str> {
    let plain = list["enum"].as_array().into_iter().flatten();
    let described = list["oneOf"].as_array().into_iter().flatten();
    let described = described.flat_map(|one| {
        let several = one["enum"].as_array().into_iter().flatten();
        one.get("const").into_iter().chain(several)
    });
    plain.chain(described).filter_map(Value::as_str).collect()
}
