//! Work under the defect that a trial plants.

use crate::{ScenarioError, Trial};

type Outcome = Result<(), ScenarioError>;

/// Plants the trial's defect where it has one, does the work, and takes the defect away again. One that is planted by half does not stay, either.
///
/// # Errors
/// The first of the three.
pub(crate) async fn under_defect<P, U>(
    trial: &Trial,
    plant: impl FnOnce(&'static str) -> P,
    undo: impl FnOnce(&'static str) -> U,
    work: impl Future<Output = Outcome>,
) -> Outcome
where
    P: Future<Output = Outcome>,
    U: Future<Output = Outcome>,
{
    let Some(sabotage) = trial.sabotage else { return work.await };
    trial.note("sabotage", sabotage.what);
    let planted = plant(sabotage.id).await;
    let outcome = if planted.is_ok() { work.await } else { planted };
    let undone = undo(sabotage.id).await;
    if let (Err(_), Err(further)) = (&outcome, &undone) {
        trial.note("sabotage", format!("what was planted of it may be left: {further}"));
    }
    outcome.and(undone)
}
