//! `pathproof mtu`: the exact path MTU on its own, with an agent at the peer or without.

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use pathproof_engine::mtu as engine;
use pathproof_model::{MtuSpec, NodeSpec, Plan, StepSpec};

use super::client::ClientArgs;
use super::run::ClientRun;
use super::values::ip_mtu;
use crate::registry::Registry;
use crate::{coordinate, host, interrupt, precheck, steps};
use pathproof_sys::clock::RealClock;

/// `mtu`.
#[derive(Debug, Args)]
pub struct MtuArgs {
    /// Peer and output.
    #[command(flatten)]
    pub client: ClientArgs,
    /// Only this local NIC; may be repeated.
    #[arg(long, value_name = "IF")]
    pub nic: Vec<String>,
    /// Fail unless every path carries IP packets of so many bytes (68 to 65535).
    #[arg(long, visible_alias = "expect-mtu", value_name = "BYTES", value_parser = ip_mtu)]
    pub expect: Option<u32>,
    /// Address family.
    #[arg(long, value_enum, default_value_t = MtuFamily::Both)]
    pub family: MtuFamily,
    /// Measure from this side alone, by ICMP echo; it cannot tell the directions apart.
    #[arg(long, conflicts_with = "self_test")]
    pub agentless: bool,
}

/// Address families as typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum MtuFamily {
    /// IPv4.
    #[value(name = "4")]
    Four,
    /// IPv6.
    #[value(name = "6")]
    Six,
    /// Both.
    Both,
}

/// Runs the command.
pub fn run(args: MtuArgs, clock: &RealClock) -> Result<u8> {
    let spec = spec(&args)?;
    let steps = vec![StepSpec::Mtu(spec.clone())];
    if args.agentless {
        let Some(peer) = &args.client.peer else {
            bail!("--agentless needs a HOST to send echo requests to")
        };
        let client = ClientRun::resolve(&args.client, clock)?;
        let interrupt = interrupt::by_signals(clock).context("cannot watch for Ctrl-C")?;
        let observed = host::observe();
        let foreign = NodeSpec::Foreign { host: peer.host.clone() };
        let nodes = vec![NodeSpec::Here, foreign.clone()];
        let plan = Plan { command: "mtu".into(), seed: client.seed, nodes, steps };
        precheck::check(&plan, &Registry::new(clock), &observed.environment)?;
        let mut doc = coordinate::empty_document(plan, (&peer.text, foreign), observed.environment.clone());
        doc.findings = observed.findings;
        let interrupted = || interrupt.is_raised();
        match steps::agentless_mtu(&peer.host, &spec, &observed.environment, client.seed, clock, &interrupted)
        {
            Ok(step) => {
                let context = engine::Context {
                    expect_ip_mtu_bytes: spec.expect_ip_mtu_bytes,
                    client: Some(&observed.environment),
                    server: None,
                };
                doc.findings
                    .extend(engine::findings(step.detail.paths.as_deref().unwrap_or_default(), context));
                doc.steps.push(step);
            }
            Err(error) => doc.error = Some(error),
        }
        return client.finish(doc);
    }
    let client = ClientRun::resolve(&args.client, clock)?;
    let plan = Plan { command: "mtu".into(), seed: client.seed, nodes: vec![], steps };
    client.run(plan)
}

/// The step that the arguments mean.
pub fn spec(args: &MtuArgs) -> Result<MtuSpec> {
    let spec = MtuSpec {
        nics: args.nic.clone(),
        expect_ip_mtu_bytes: args.expect,
        families: match args.family {
            MtuFamily::Four => vec![4],
            MtuFamily::Six => vec![6],
            MtuFamily::Both => vec![],
        },
    };
    if let Err(error) = steps::check_mtu_spec(&spec) {
        bail!("{}", error.message);
    }
    Ok(spec)
}
