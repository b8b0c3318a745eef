//! The order of things: look without rules, put them in force, look again, cut a zone off and let it back in, take the rules out.

use std::sync::Arc;

use dora_harness::{
    network::{Enforcement, NetworkError, Zones},
    topology::Node,
};
use dora_reports::evidence::{Finding, NamedLimit};

use super::{
    defect::Defect,
    judge, look,
    sever::{self, Limits, OTHERS_GAP_MS},
};
use crate::{ScenarioError, Trial, security::TlsTarget};

/// The scenario: see the module. `nodes` are those whose ports are looked at, `target` are the ports of which a real client is.
///
/// # Errors
/// [`ScenarioError`] when it cannot be carried out; what it finds is in the trial.
pub(super) async fn zones(trial: &Trial, nodes: &[Node], target: &dyn TlsTarget) -> Result<(), ScenarioError> {
    let limits = Limits::of(trial)?;
    trial.promise_limits(
        "from each zone exactly the allowed ports answer, all others are silent; a zone is cut off at once and restored, the others go on",
        vec![
            NamedLimit::at_most("wrongly_accepted", 0.0, "probes"),
            NamedLimit::at_most("wrongly_refused", 0.0, "probes"),
            NamedLimit::at_most("severed_within", limits.severed.as_secs_f64(), "s"),
            NamedLimit::at_most("restored_within", limits.restored.as_secs_f64(), "s"),
            NamedLimit::at_most("longest_gap_of_others", OTHERS_GAP_MS, "ms"),
        ],
    );
    let defect = Defect::of(trial);
    if let Some(sabotage) = trial.sabotage {
        trial.note("sabotage", sabotage.what);
    }
    let zones = trial.platform().zones(trial.ground(), trial.policy()).await?;
    let mut enforcement = match Enforcement::plan(&zones, trial.policy(), nodes) {
        Ok(enforcement) => enforcement,
        Err(error @ NetworkError::NoService { .. }) => {
            trial.find(Finding::violation("node-without-policy", error.to_string()));
            return Ok(());
        }
        Err(error) => return Err(error.into()),
    };
    trial.note("phase", format!("{} nodes, {} zones", nodes.len(), zones.seats().len()));
    let outcome = carry_out(trial, &zones, &mut enforcement, &defect, target, &limits).await;
    let lifted = enforcement.lift().await;
    defect.undo(nodes).await?;
    outcome?;
    lifted?;
    Ok(())
}

async fn carry_out(
    trial: &Trial,
    zones: &Arc<Zones>,
    enforcement: &mut Enforcement,
    defect: &Defect,
    target: &dyn TlsTarget,
    limits: &Limits,
) -> Result<(), ScenarioError> {
    enforcement.open().await?;
    defect.open_port(enforcement).await?;
    let ports = look::ports(trial.policy(), enforcement.nodes()).await?;
    let before = look::from_all_zones(zones.seats(), &look::listening(&ports)).await?;
    judge::control(trial, &before);
    defect.plant(trial.policy(), zones, enforcement)?;
    enforcement.enforce().await?;
    defect.after_enforcing(enforcement).await?;
    trial.note("phase", "the rules are in force");
    let seen = look::from_all_zones(zones.seats(), &ports).await?;
    judge::exactly_the_allowed(trial, &ports, &seen, &look::ports(trial.policy(), enforcement.nodes()).await?);
    sever::sever_and_restore(trial, zones, enforcement, defect, target, limits).await
}
