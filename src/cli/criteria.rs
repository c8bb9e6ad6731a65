//! `pathproof criteria`: the limits in force, as text that `--criteria` reads back; and how limits are named on any command line.

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Args;
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use pathproof_model::Criteria;
use pathproof_model::criteria::{PROFILES, Profile};

use crate::{input, terminal};

/// Shown below the help.
pub const EXAMPLES: &str = "\
Examples:
  pathproof criteria                              the built-in limits, each with its reason
  pathproof criteria --profile hyperv > mine.toml a start for limits of your own
  pathproof check stor2 --criteria mine.toml

Times are typed 250us, 10ms, 1s; rates 9G, 500M, 1gbit; sizes 9000B. A limit that a file leaves out keeps its built-in value.";

/// `criteria`.
#[derive(Debug, Args)]
pub struct CriteriaArgs {
    /// Which limits.
    #[command(flatten)]
    pub limits: LimitArgs,
}

/// Which limits a run is judged by.
#[derive(Clone, Debug, Default, Args)]
pub struct LimitArgs {
    /// Limits to judge by, a TOML file; what it leaves out is that of the profile, or built in.
    #[arg(long, value_name = "FILE")]
    pub criteria: Option<PathBuf>,
    /// Limits for what the path is to carry; pathproof criteria --profile NAME prints them with their sources.
    #[arg(long, value_name = "NAME", value_parser = profile_parser())]
    pub profile: Option<Profile>,
}

fn profile_parser() -> impl TypedValueParser<Value = Profile> {
    let names = PROFILES.map(|profile| PossibleValue::new(profile.name).help(profile.purpose()));
    PossibleValuesParser::new(names).try_map(|name| Profile::named(&name).ok_or("there is no such profile"))
}

impl LimitArgs {
    /// Whether any were named.
    pub fn any(&self) -> bool {
        self.criteria.is_some() || self.profile.is_some()
    }

    /// The limits in force.
    pub fn read(&self) -> Result<Criteria> {
        let Some(file) = &self.criteria else { return Ok(Criteria::read(self.profile, "")?) };
        let text = input::read_text(file).with_context(|| {
            format!("cannot read --criteria {} (pathproof criteria > FILE writes one)", file.display())
        })?;
        Criteria::read(self.profile, &text).with_context(|| format!("in --criteria {}", file.display()))
    }
}

/// Runs the command.
pub fn run(args: &CriteriaArgs) -> Result<u8> {
    let LimitArgs { criteria, profile } = &args.limits;
    let of = match (profile, criteria) {
        (Some(profile), _) => format!("the profile {}: {}", profile.name, profile.purpose()),
        (None, Some(_)) => "a file".to_owned(),
        (None, None) => "built in".to_owned(),
    };
    let head = format!(
        "# Limits in force: {of}\n# pathproof check PEER --criteria FILE reads this back. Names of profiles: {}.\n\n",
        PROFILES.map(|profile| profile.name).join(", ")
    );
    let text = args.limits.read()?.to_toml(*profile);
    terminal::print_own((head + &text).as_bytes())?;
    Ok(0)
}
