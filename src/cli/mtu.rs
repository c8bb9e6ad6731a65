//! `pathproof mtu`: the exact path MTU on its own, with an agent at the peer or without.

use std::sync::atomic::Ordering;

use anyhow::{Context, Result, bail};
use pathproof_engine::mtu as engine;
use pathproof_model::{MtuSpec, Plan, StepSpec};

use super::raw::{MtuArgs, MtuFamily};
use super::run::ClientRun;
use crate::clock::RealClock;
use crate::registry::Registry;
use crate::{coordinate, host, interrupt, precheck, steps};

/// Runs the command.
pub fn run(args: MtuArgs) -> Result<u8> {
    let spec = spec(&args)?;
    let plan = |seed| Plan { command: "mtu".into(), seed, steps: vec![StepSpec::Mtu(spec.clone())] };
    if args.agentless {
        let Some(peer) = &args.client.peer else {
            bail!("--agentless needs a HOST to send echo requests to")
        };
        let client = ClientRun::resolve(&args.client)?;
        let flag = interrupt::flag().context("cannot watch for Ctrl-C")?;
        let observed = host::observe();
        precheck::check(&plan(client.seed), &Registry::new(), &observed.environment)?;
        let mut doc = coordinate::empty_document(Some(plan(client.seed)), Some(peer.text.clone()));
        doc.findings = observed.findings;
        let interrupted = || flag.load(Ordering::Relaxed);
        let clock = RealClock::new();
        match steps::agentless_mtu(
            &peer.host,
            &spec,
            &observed.environment,
            client.seed,
            &clock,
            &interrupted,
        ) {
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
        doc.environment.client = Some(observed.environment);
        return client.finish(doc);
    }
    let client = ClientRun::resolve(&args.client)?;
    let plan = plan(client.seed);
    client.run(&plan)
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
