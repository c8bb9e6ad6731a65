//! `pathproof version`: which build this is. It says the same for the same sources and compiler, whenever and wherever they were built.

use std::fmt::Write as _;

use pathproof_engine::control::{HIGHEST_VERSION, LOWEST_VERSION};
use pathproof_model::result::SCHEMA;

use crate::registry::TRANSPORTS;

/// What `--version --verbose` says.
pub fn text() -> String {
    let known = |what: Option<&'static str>| what.filter(|what| !what.is_empty()).unwrap_or("unknown");
    let protocol = match LOWEST_VERSION == HIGHEST_VERSION {
        true => HIGHEST_VERSION.to_string(),
        false => format!("{LOWEST_VERSION} to {HIGHEST_VERSION}"),
    };
    let rows = [
        ("commit", known(option_env!("PATHPROOF_COMMIT")).to_owned()),
        ("profile", known(option_env!("PATHPROOF_PROFILE")).to_owned()),
        ("target", known(option_env!("PATHPROOF_TARGET")).to_owned()),
        ("processor", known(option_env!("PATHPROOF_PROCESSOR")).to_owned()),
        ("rustc", known(option_env!("PATHPROOF_RUSTC")).to_owned()),
        ("transports", TRANSPORTS.join(", ")),
        ("verbs", "loaded at run time (libibverbs, librdmacm)".to_owned()),
        ("protocol", protocol),
        ("results", SCHEMA.to_owned()),
    ];
    let mut text = format!("pathproof {}\n", env!("CARGO_PKG_VERSION"));
    for (name, value) in rows {
        let _ = writeln!(text, "{name:<11} {value}");
    }
    text
}
