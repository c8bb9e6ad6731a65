//! Which NIC pairs SMB Multichannel would use towards a node, and why not the others. Nobody is asked for it: an agent's NICs are
//! known since its greeting, an SMB server's since the step that asked it.

use pathproof_engine::channels::hosts::{add_routes, between, local_nics, of_both, of_both_ends};
use pathproof_engine::channels::{ChannelNic, Question, Rules, packet_path, predict};
use pathproof_model::{
    ChannelsSpec, Environment, ErrorKind, Finding, NodeId, NodeSpec, ResultDoc, Step, StepError, StepSpec,
};

use super::{Alone, Kind, Lone, whole};
use crate::host;

/// The kind.
pub struct Prediction;

fn spec_of(spec: &StepSpec) -> ChannelsSpec {
    spec.channels().cloned().unwrap_or_default()
}

fn question(spec: &ChannelsSpec) -> Question {
    Question { rules: spec.rules.clone(), constrain: spec.constrain.clone() }
}

impl Kind for Prediction {
    fn name(&self, spec: &StepSpec) -> String {
        format!("channels by {} rules", spec_of(spec).rules.name())
    }

    fn duration_ns(&self, _spec: &StepSpec) -> u64 {
        0
    }

    fn need_ns(&self, _spec: &StepSpec) -> u64 {
        10_000_000
    }

    fn fit(&self, spec: &StepSpec, left_ns: u64) -> Option<StepSpec> {
        whole(spec, self.need_ns(spec), left_ns)
    }
}

impl Alone for Prediction {
    fn make(
        &self,
        lone: &mut Lone<'_>,
        _step: &mut Step,
        doc: &mut ResultDoc,
    ) -> Result<Vec<Finding>, StepError> {
        let spec = spec_of(lone.spec);
        let unknown = |whose: &str| {
            StepError::new(
                ErrorKind::Unsupported,
                format!("{whose} NICs are not known, so there is nothing to predict from"),
            )
        };
        let here = doc.environment(NodeId::CLIENT).ok_or_else(|| unknown("this host's"))?;
        let foreign = matches!(doc.node(spec.node).map(|node| &node.spec), Some(NodeSpec::Foreign { .. }));
        let mut shared = None;
        let mut channels = if foreign {
            let server = doc.smb.as_ref().ok_or_else(|| unknown("the server's"))?;
            // Without its list there is nothing to predict from; the verdict about the list says so.
            if server.interfaces.is_empty() {
                return Ok(vec![]);
            }
            let address = server.address.parse::<std::net::SocketAddr>();
            let is_here = address.is_ok_and(|address| address.ip().is_loopback());
            // What a server's routes are is not known, so the other direction is left out.
            predict(
                &local_nics(here, is_here, &host::routed()),
                &ChannelNic::from_smb(&server.interfaces),
                &question(&spec),
            )
        } else {
            let remote = doc.environment(spec.node).ok_or_else(|| unknown("the peer's"))?;
            let (mut ours, theirs) = of_both(here, remote);
            add_routes(&mut ours, &host::routed());
            shared = of_both_ends(here, remote);
            between(&ours, &theirs, &question(&spec))
        };
        let there = if foreign { None } else { doc.environment(spec.node) };
        channels.packet_paths = packet_path::of_pairs(&channels, here, there);
        let mut findings = pathproof_engine::channels::findings(&channels);
        findings.extend(shared);
        doc.channels = Some(channels);
        Ok(findings)
    }
}

/// Names in a constraint or a pair that no local NIC has would silently exclude everything.
pub fn check_names(spec: &ChannelsSpec, with: Option<&NodeSpec>, here: &Environment) -> anyhow::Result<()> {
    // A foreign server may be this host, and is reached over its loopback then.
    let local = local_nics(here, matches!(with, Some(NodeSpec::Foreign { .. })), &host::routed());
    let known = |name: &str| {
        local
            .iter()
            .any(|nic| nic.name == name || nic.addresses.iter().any(|a| a.address.to_string() == name))
    };
    let manual = match &spec.rules {
        Rules::Manual { pairs } => pairs.iter().map(|(local, _)| local).collect(),
        Rules::Windows | Rules::Linux { .. } => Vec::new(),
    };
    for name in spec.constrain.iter().chain(manual) {
        if !known(name) {
            let names: Vec<&str> = local.iter().map(|nic| nic.name.as_str()).collect();
            anyhow::bail!("this host has no NIC or address {name}; it has {}", names.join(", "));
        }
    }
    Ok(())
}
