//! What somebody who helps remotely has to see: facts of this host, its counters and settings, the end of its log, and a result. Names and
//! addresses are replaced (`pseudonyms`) unless the user says otherwise; what cannot be read is listed with its reason, never missing
//! silently.

mod notations;
mod pseudonyms;
mod secrets;

use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result};
use flate2::Compression;
use flate2::write::GzEncoder;
use pathproof_model::json::value_of;
use pathproof_model::node::host_and_port;
use pathproof_sys::ethtool::{Ethtool, is_not_told};
use pathproof_sys::{diagnostics, interfaces};
use serde_json::Value;

use crate::host::{self, devices};
use crate::secure::random_bytes;
use crate::{document, input};
use pseudonyms::Pseudonyms;

/// What is said of it in itself.
const ABOUT: &str = "\
What pathproof support-bundle collected on this host. Read it before you send it.

Replaced, the same way everywhere in this bundle: names of hosts, switches, users, domains,
accounts and shares (host1, user1, ...); the middle of IPv4 addresses, so that networks stay
networks; IPv6 addresses, but for what says of which kind they are; the second half of MAC
addresses, however they are written; UUIDs. Left out: the key in PATHPROOF_KEY, what stands behind
password= and its like, and a password before a host (smb://NAME:PASSWORD@HOST).
Kept: names of NICs (but for a MAC address in them), drivers and devices, versions, counters,
settings.
What this program does not know for a name (a customer's in the name of a NIC, a path in the
log) stands there as it is.
";
const ABOUT_RAW: &str = "\
What pathproof support-bundle collected on this host, with --raw: nothing was replaced. Names and addresses of your hosts are in it.
";

/// A file of the bundle.
pub struct Part {
    /// Its name.
    pub name: String,
    /// What is in it, or why it is not there.
    pub content: Result<Content, String>,
}

/// What is in a file.
pub enum Content {
    /// Text.
    Text(String),
    /// A JSON document.
    Json(Value),
}

/// Everything, as it is.
pub fn collect(result: Option<&Path>, version: String) -> Result<Vec<Part>> {
    let text = |name: &str, text: String| Part { name: name.into(), content: Ok(Content::Text(text)) };
    let observed = host::observe();
    let mut parts = vec![text("version.txt", version)];
    let facts = value_of(&observed).map(Content::Json).map_err(|error| error.to_string());
    parts.push(Part { name: "facts.json".into(), content: facts });
    let lines = pathproof_report::lines(&pathproof_report::Look::PAGE, &devices::page(&observed));
    parts.push(text("devices.txt", lines.iter().map(|line| line.text().to_owned() + "\n").collect()));
    parts.push(Part { name: "drivers.txt".into(), content: drivers().map(Content::Text) });
    parts.extend(
        diagnostics::all()
            .into_iter()
            .map(|table| Part { name: table.name.into(), content: table.text.map(Content::Text) }),
    );
    if let Some(file) = result {
        // What is no result of ours is refused: nobody could say what is in it.
        document::read_any(file)?;
        let bytes = input::read(file, document::BYTES_MAX)?;
        let result = serde_json::from_slice(&bytes).map(Content::Json).map_err(|error| error.to_string());
        parts.push(Part { name: "result.json".into(), content: result });
    }
    Ok(parts)
}

/// What drivers count, NIC by NIC, as `ethtool -S` shows it.
fn drivers() -> Result<String, String> {
    let ethtool = Ethtool::open().map_err(|error| format!("ethtool: {error}"))?;
    let nics = interfaces::list().map_err(|error| format!("netlink: {error}"))?;
    let mut text = String::new();
    for nic in nics {
        text += &format!("== {}\n", nic.name);
        match ethtool.statistics(&nic.name) {
            Ok(counters) => text.extend(counters.iter().map(|(name, count)| format!("{name} {count}\n"))),
            Err(error) if is_not_told(&error) => text += "(its driver tells none)\n",
            Err(error) => text += &format!("({error})\n"),
        }
    }
    Ok(text)
}

/// What whoever collects it is known by, and what must not be seen.
#[derive(Debug, Default)]
pub struct Own {
    /// Names of users.
    pub users: Vec<String>,
    /// Keys.
    pub secrets: Vec<String>,
}

/// The same with other names for hosts, people and addresses.
pub fn replaced(parts: Vec<Part>, own: &Own) -> Result<Vec<Part>> {
    let mut names = Pseudonyms::new(random_bytes().context("cannot make a key for other names")?);
    own.secrets.iter().for_each(|secret| names.leave_out(secret));
    own.users.iter().for_each(|user| names.hide(user, "user"));
    for part in &parts {
        if let Ok(Content::Json(value)) = &part.content {
            find_names(value, &mut names);
        }
    }
    // What documents name is known by now, and named at more length elsewhere.
    for part in &parts {
        match &part.content {
            Ok(Content::Text(text)) => names.learn(text),
            Ok(Content::Json(value)) => learn(value, &mut names),
            Err(_) => {}
        }
    }
    let replaced = |part: Part| Part {
        name: part.name,
        content: match part.content {
            Ok(Content::Text(text)) => Ok(Content::Text(lines(&text, &names))),
            Ok(Content::Json(value)) => Ok(Content::Json(names.value(value))),
            Err(why) => Err(names.text(&why)),
        },
    };
    Ok(parts.into_iter().map(replaced).collect())
}

fn lines(text: &str, names: &Pseudonyms) -> String {
    text.split_inclusive('\n')
        .map(|line| names.text(line.trim_end_matches('\n')) + if line.ends_with('\n') { "\n" } else { "" })
        .collect()
}

/// The names within the texts of a document.
fn learn(value: &Value, names: &mut Pseudonyms) {
    match value {
        Value::String(text) => names.learn(text),
        Value::Array(values) => values.iter().for_each(|value| learn(value, names)),
        Value::Object(parts) => parts.values().for_each(|value| learn(value, names)),
        _ => {}
    }
}

/// Takes what a document names hosts, people and shares by.
fn find_names(value: &Value, names: &mut Pseudonyms) {
    /// Keys of a result whose text is a name, and of what.
    const KEYS: [(&str, &str); 12] = [
        ("hostname", "host"),
        ("system_name", "switch"),
        ("file", "file"),
        ("host", "host"),
        ("server", "host"),
        ("computer_name", "host"),
        ("dns_name", "host"),
        ("user", "user"),
        ("domain", "domain"),
        ("share", "share"),
        ("directory", "directory"),
        ("password_file", "file"),
    ];
    /// Keys of hardware addresses.
    const MACS: [&str; 4] = ["mac", "macs", "answered", "chassis"];
    match value {
        Value::Object(parts) => {
            // A node is called as the user typed it: USER@HOST:PORT.
            if parts.contains_key("environment")
                && let Some(Value::String(name)) = parts.get("name")
            {
                let (user, host) = name.rsplit_once('@').unwrap_or(("", name));
                names.hide(host_and_port(host).map_or(host, |(host, _)| host), "host");
                names.hide(user, "user");
            }
            // What somebody wrote about a port of a switch; what is one word is the name of a NIC.
            if let Some(Value::String(said)) = parts.get("port_description")
                && said.contains(' ')
            {
                names.hide(said, "text");
            }
            // A switch may be called by a name in the place of an address. What has no letter may be any other number as well.
            if let Some(Value::String(chassis)) = parts.get("chassis")
                && notations::octets(chassis).is_none()
                && chassis.chars().any(char::is_alphabetic)
            {
                names.hide(chassis, "switch");
            }
            if let Some(Value::Array(hosts)) = parts.get("expected_state").and_then(|state| state.get("host"))
            {
                let named = hosts.iter().filter_map(|host| host.get("name")?.as_str());
                named.for_each(|name| names.hide(name.trim_end_matches('*'), "host"));
            }
            for (key, part) in parts {
                if MACS.contains(&key.as_str()) {
                    let several = part.as_array().into_iter().flatten();
                    several.chain([part]).filter_map(Value::as_str).for_each(|mac| names.hide_hardware(mac));
                }
                let what = KEYS.iter().find(|(known, _)| known == key);
                if let (Some((_, what)), Value::String(name)) = (what, part) {
                    names.hide(name, what);
                }
                find_names(part, names);
            }
        }
        Value::Array(values) => values.iter().for_each(|value| find_names(value, names)),
        _ => {}
    }
}

/// The files of a bundle, with a list of what is in it and what is not.
pub fn files(parts: Vec<Part>, raw: bool) -> Result<Vec<(String, Vec<u8>)>> {
    let mut about = if raw { ABOUT_RAW } else { ABOUT }.to_owned();
    let mut files = vec![];
    about += "\nFiles:\n";
    for part in parts {
        match part.content {
            Ok(content) => {
                about += &format!("  {}\n", part.name);
                let bytes = match content {
                    Content::Text(text) => text.into_bytes(),
                    Content::Json(value) => serde_json::to_vec_pretty(&value)?,
                };
                files.push((part.name, bytes));
            }
            Err(why) => about += &format!("  {} is missing: {why}\n", part.name),
        }
    }
    files.insert(0, ("README.txt".into(), about.into_bytes()));
    Ok(files)
}

/// A compressed archive of files, in a folder of this name.
pub fn archive(folder: &str, files: &[(String, Vec<u8>)], out: impl Write) -> Result<()> {
    let mut archive = tar::Builder::new(GzEncoder::new(out, Compression::default()));
    for (name, bytes) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o600);
        archive.append_data(&mut header, format!("{folder}/{name}"), bytes.as_slice())?;
    }
    archive.into_inner()?.finish()?.flush()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_switch_that_is_called_by_no_address_is_hidden_by_its_name() {
        let mut names = Pseudonyms::new([5; 32]);
        for chassis in ["tor-rack12", "0c:42:a1:ab:cd:ef", "17"] {
            find_names(&serde_json::json!({"chassis": chassis}), &mut names);
        }
        let told = names.text("Ethernet1/7 of TOR-RACK12, 17 of 0c42a1abcdef");
        assert!(told.starts_with("Ethernet1/7 of switch1, 17 of 0c42a1"), "{told}");
        assert!(!told.contains("abcdef"), "{told}");
    }
}
