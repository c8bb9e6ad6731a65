//! What is set differently on the two sides, and which of it explains that something became slower.
//!
//! A cause is named only where a single change is known and it works in that direction; otherwise the changes are listed.

use std::collections::{BTreeMap, BTreeSet};

use pathproof_model::compare::{ComparedFigure, FigureVerdict, SettingChange};
use pathproof_model::figures::IP_MTU;
use pathproof_model::json::value_of;
use pathproof_model::units::BitsPerSecond;
use pathproof_model::{NodeId, ResultDoc};
use serde_json::Value;

use super::Run;

/// Facts of a host that differ from run to run, or only name it.
const NOT_SETTINGS: [&str; 13] = [
    "hostname",
    "boot_id",
    "network_namespace",
    "memory_available_bytes",
    "clock_stamp_ns",
    "index",
    "mac",
    "addresses",
    "peers",
    "iscsi",
    "gids",
    "unreadable",
    "dcb_absent",
];
/// Of a step in a plan: what it is told by, what is said of the run as a whole, and what changes no figure.
const NOT_ASKED: [&str; 5] = ["kind", "direction", "lanes", "over", "seed"];
/// What a NIC or a device is called is no setting of it.
const NAME: &str = ".name";
/// Changes that are listed.
const CHANGES_MAX: usize = 200;

type Settings = BTreeMap<String, String>;

/// The settings of a host, one name for each.
fn flattened(name: &str, value: &Value, settings: &mut Settings) {
    let below = |key: &str| if name.is_empty() { key.to_owned() } else { format!("{name}.{key}") };
    match value {
        Value::Null => {}
        Value::Object(fields) => {
            for (key, value) in fields.iter().filter(|(key, _)| !NOT_SETTINGS.contains(&key.as_str())) {
                flattened(&below(key), value, settings);
            }
        }
        Value::Array(items) if items.iter().any(Value::is_object) => {
            for (at, item) in items.iter().enumerate() {
                // What has a name keeps it wherever it stands in the list.
                let key = item["name"].as_str().map_or_else(|| at.to_string(), str::to_owned);
                flattened(&below(&key), item, settings);
            }
        }
        Value::String(text) => {
            settings.insert(name.into(), text.clone());
        }
        other => {
            settings.insert(name.into(), other.to_string());
        }
    }
}

fn of_host(doc: &ResultDoc, node: NodeId) -> Option<Settings> {
    let mut settings = Settings::new();
    flattened("", &value_of(doc.environment(node)?).ok()?, &mut settings);
    Some(settings)
}

fn of_run(doc: &ResultDoc) -> [(&'static str, Option<Settings>); 4] {
    let mut program = Settings::from([("version".to_owned(), doc.tool.version.clone())]);
    program.extend(doc.tool.commit.clone().map(|commit| ("commit".to_owned(), commit)));
    let plan = doc.plan().map(|plan| {
        let mut settings = Settings::new();
        let over: BTreeSet<&str> = doc.steps.iter().filter_map(|step| step.over.as_deref()).collect();
        settings.insert("command".into(), plan.command.to_string());
        if !over.is_empty() {
            settings.insert("over".into(), over.into_iter().collect::<Vec<_>>().join(", "));
        }
        settings.extend(asked(doc));
        settings
    });
    [
        ("client", of_host(doc, NodeId::CLIENT)),
        ("server", of_host(doc, NodeId::SERVER)),
        ("program", Some(program)),
        ("plan", plan),
    ]
}

/// What was asked of each step. A shorter or smaller one of the same sort bears the same name, and is another measurement.
fn asked(doc: &ResultDoc) -> Settings {
    let (mut settings, mut seen) = (Settings::new(), BTreeMap::<String, usize>::new());
    for step in doc.requested.iter().flat_map(|plan| &plan.steps) {
        let Ok(value) = value_of(step) else { continue };
        let sort = ["kind", "direction", "lanes"].map(|field| match &value[field] {
            Value::String(word) => Some(word.clone()),
            Value::Number(lanes) => Some(lanes.to_string()),
            _ => None,
        });
        let sort = sort.into_iter().flatten().collect::<Vec<_>>().join(" ");
        let times = seen.entry(sort.clone()).or_default();
        *times += 1;
        let name = if *times == 1 { sort } else { format!("{sort} ({times})") };
        flattened(&name, &value, &mut settings);
    }
    settings.retain(|name, _| !NOT_ASKED.contains(&leaf(name)));
    settings
}

/// What differs between the first runs of both sides. Of a host that is known on one side only nothing is said: unknown is no
/// difference.
pub(super) fn changes(a: &[Run], b: &[Run], pairs: &[ComparedFigure]) -> Vec<SettingChange> {
    let (Some(a), Some(b)) = (a.first(), b.first()) else { return vec![] };
    let mut changes = Vec::new();
    for ((place, a), (_, b)) in of_run(&a.doc).into_iter().zip(of_run(&b.doc)) {
        let (Some(a), Some(b)) = (a, b) else { continue };
        let names: BTreeSet<&String> = a.keys().chain(b.keys()).collect();
        for name in names {
            let (old, new) = (a.get(name), b.get(name));
            let place = place.to_owned();
            if let Some(part) = lone_part(name, &a, &b) {
                let there = |side: Option<&String>| side.map(|_| "there".to_owned());
                changes.push(SettingChange { place, setting: part, a: there(old), b: there(new) });
            } else if old.is_some() && new.is_some() && old != new && !name.ends_with(NAME) {
                // A build that does not write a fact does not know it.
                changes.push(SettingChange {
                    place,
                    setting: name.clone(),
                    a: old.cloned(),
                    b: new.cloned(),
                });
            }
        }
    }
    for pair in pairs.iter().filter(|pair| pair.figure == IP_MTU && pair.change.is_some_and(|c| c != 0.0)) {
        let value = |value: Option<f64>| value.map(|value| value.to_string());
        changes.push(SettingChange {
            place: "path".into(),
            setting: format!("{}: {IP_MTU}", pair.place()),
            a: value(pair.a),
            b: value(pair.b),
        });
    }
    changes.truncate(CHANGES_MAX);
    changes
}

/// The NIC or device that is there on one side alone, told once and not with all of its settings.
fn lone_part(name: &str, a: &Settings, b: &Settings) -> Option<String> {
    let mut parts = name.splitn(3, '.');
    let (Some(list), Some(part), Some(_)) = (parts.next(), parts.next(), parts.next()) else { return None };
    let whole = format!("{list}.{part}");
    // What has a name stands in a list of its kind.
    let named = format!("{whole}{NAME}");
    if !a.contains_key(&named) && !b.contains_key(&named) {
        return None;
    }
    let first = |side: &Settings| side.keys().find(|key| key.starts_with(&format!("{whole}."))).cloned();
    match (first(a), first(b)) {
        (Some(one), None) | (None, Some(one)) if one == name => Some(whole),
        _ => None,
    }
}

/// Kinds of change that are known to make a path slower, and in which direction.
#[derive(Clone, Copy, PartialEq)]
enum Slower {
    /// When the number falls.
    Less,
    /// When it is turned off.
    Off,
    /// When it is another one.
    Other,
}

fn bears(leaf: &str) -> Option<(&'static str, Slower)> {
    Some(match leaf {
        "ip_mtu_bytes" | IP_MTU => ("MTU", Slower::Less),
        "speed_bits_per_s" => ("link speed", Slower::Less),
        "cpus" => ("processors", Slower::Less),
        "receive_queues" => ("receive queues", Slower::Less),
        "transmit_queues" => ("transmit queues", Slower::Less),
        "full_duplex" => ("full duplex", Slower::Off),
        "tcp-segmentation-offload" => ("TCP segmentation offload", Slower::Off),
        "generic-receive-offload" => ("generic receive offload", Slower::Off),
        "large-receive-offload" => ("large receive offload", Slower::Off),
        "tcp_congestion_control" => ("congestion control", Slower::Other),
        "tcp_rmem" => ("tcp_rmem", Slower::Other),
        "tcp_wmem" => ("tcp_wmem", Slower::Other),
        "driver" => ("driver", Slower::Other),
        "driver_version" => ("driver version", Slower::Other),
        "firmware" => ("firmware", Slower::Other),
        "kernel" => ("kernel", Slower::Other),
        "clock_source" => ("clock source", Slower::Other),
        "over" => ("transport", Slower::Other),
        _ => return None,
    })
}

fn leaf(setting: &str) -> &str {
    setting.rsplit(['.', ' ']).next().unwrap_or(setting)
}

/// The one change that explains what regressed.
pub(super) fn likely_cause(changes: &[SettingChange], pairs: &[ComparedFigure]) -> Option<String> {
    let carried = pairs.iter().any(|pair| pair.verdict == FigureVerdict::Regressed && pair.figure != IP_MTU);
    if !carried {
        return None;
    }
    // The same change on several NICs and hosts is one; so is that of a path beside that of its NICs.
    type Values<'a> = BTreeSet<(Option<&'a str>, Option<&'a str>)>;
    let mut kinds: BTreeMap<&str, Values> = BTreeMap::new();
    let mut others = false;
    for change in changes {
        match bears(leaf(&change.setting)) {
            Some((name, _)) => {
                kinds.entry(name).or_default().insert((change.a.as_deref(), change.b.as_deref()));
            }
            None => others = true,
        }
    }
    let mut kinds = kinds.into_iter();
    let (Some((name, values)), None) = (kinds.next(), kinds.next()) else { return None };
    let mut values = values.into_iter();
    let (Some((Some(a), Some(b))), None) = (values.next(), values.next()) else { return None };
    let how = changes.iter().find_map(|change| bears(leaf(&change.setting)))?.1;
    let fell = || Some(b.parse::<f64>().ok()? < a.parse::<f64>().ok()?);
    let fits = match how {
        Slower::Less => fell()?,
        Slower::Off => (a, b) == ("true", "false"),
        // Another one may be slower; only where nothing at all differs beside it is it likely.
        Slower::Other => !others,
    };
    let shown = |value: &str| match (name, value.parse::<u64>()) {
        ("link speed", Ok(bits)) => BitsPerSecond(bits).to_string(),
        _ => value.to_owned(),
    };
    fits.then(|| format!("{name} {} -> {}", shown(a), shown(b)))
}
