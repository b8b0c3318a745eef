//! Probes every role with every action on every object, and compares with the table of expected access.

use std::{collections::BTreeMap, time::Duration};

use async_trait::async_trait;
use dora_fixtures::{
    Store,
    roles::{AccessTable, DomainRole, Probe},
};
use dora_harness::security::{Secret, generate_secret};
use dora_reports::evidence::{Finding, NamedLimit, ProbeCell, ProbeMatrix, ProbeRow};
use tokio::time::timeout;

use crate::{ScenarioError, Trial};

/// One attempt. A refusal takes milliseconds; what takes this long is no answer.
const ATTEMPT_LIMIT: Duration = Duration::from_secs(8);

/// So many actions stand in a finding's sentence; all of them are its witness.
const TOLD: usize = 3;

const ALLOWED: &str = "allowed";
const DENIED: &str = "denied";

/// What came of an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    /// The engine did it, or failed at it for a reason that comes after the question of rights.
    Allowed,
    /// The engine refused it for want of rights, and said so.
    Denied,
    /// This member leaves it to another one, before it asks for rights: it says nothing here.
    Elsewhere,
    /// Anything else, in the engine's words: it shows neither.
    Other(String),
}

/// The passwords of the roles, generated for one trial.
#[derive(Debug, Clone)]
pub struct Credentials(BTreeMap<&'static str, Secret>);

impl Credentials {
    /// New ones.
    pub fn generate() -> Self {
        Self(DomainRole::ALL.into_iter().map(|role| (role.name(), generate_secret())).collect())
    }

    /// All of them by the names of the roles, for a template.
    pub fn context(&self) -> &BTreeMap<&'static str, Secret> {
        &self.0
    }

    /// The password of one role.
    pub fn of(&self, role: DomainRole) -> &Secret {
        &self.0[role.name()]
    }
}

/// A logged-in client of one role at one place.
#[async_trait]
pub trait RoleSession: Send {
    /// Tries it.
    async fn attempt(&mut self, probe: &Probe) -> Seen;
}

/// An engine whose roles are probed.
#[async_trait]
pub trait RoleTarget: Send + Sync {
    /// Whose table it is.
    fn store(&self) -> Store;

    /// Where rights are kept separately and so have to be probed each: the nodes, or the one place that speaks for all.
    fn places(&self) -> Vec<String>;

    /// Makes objects and roles with the statements of the project.
    async fn set_up(&self) -> Result<(), ScenarioError>;

    /// Logs in as a role at the place of that number.
    async fn session(&self, role: DomainRole, place: usize) -> Result<Box<dyn RoleSession>, ScenarioError>;

    /// In what the places differ from the project's statements where no probe shows it, because a place leaves the action to another one.
    async fn differences(&self) -> Result<Vec<Finding>, ScenarioError> {
        Ok(Vec::new())
    }

    /// Plants a defect.
    async fn sabotage(&self, id: &str) -> Result<(), ScenarioError>;

    /// Removes roles and objects, and every defect with them.
    async fn tear_down(&self) -> Result<(), ScenarioError>;
}

/// One cell that was probed.
struct Cell {
    place: String,
    role: DomainRole,
    what: String,
    expected: bool,
    seen: Seen,
}

/// The scenario: see the module.
///
/// # Errors
/// [`ScenarioError`] when it cannot be carried out; what it finds is in the trial.
pub async fn matrix(trial: &Trial, target: &dyn RoleTarget) -> Result<(), ScenarioError> {
    trial.promise_limits(
        "every role may do what the table of roles allows it, and is refused everything else for want of rights",
        vec![NamedLimit::at_most("wrongly_accepted", 0.0, "probes"), NamedLimit::at_most("wrongly_refused", 0.0, "probes")],
    );
    let table = AccessTable::load(target.store()).map_err(|error| ScenarioError::client("use the table of roles", error))?;
    let outcome = async {
        target.set_up().await?;
        trial.note("phase", "roles and objects are there");
        if let Some(sabotage) = trial.sabotage {
            trial.note("sabotage", sabotage.what);
            target.sabotage(sabotage.id).await?;
        }
        probe_all(trial, target, &table).await
    };
    let outcome = outcome.await;
    let removed = target.tear_down().await;
    outcome.and(removed)
}

async fn probe_all(trial: &Trial, target: &dyn RoleTarget, table: &AccessTable) -> Result<(), ScenarioError> {
    let places = target.places();
    let mut cells = Vec::new();
    for (number, place) in places.iter().enumerate() {
        for role in DomainRole::ALL {
            let mut session = target.session(role, number).await?;
            for probe in &table.probes {
                let seen = timeout(ATTEMPT_LIMIT, session.attempt(probe)).await.unwrap_or_else(|_elapsed| Seen::Other("no answer".into()));
                let what = format!("{}: {}", probe.object, probe.action);
                cells.push(Cell { place: place.clone(), role, what, expected: probe.allows(role), seen });
            }
        }
        trial.note("probe", format!("{place}: {} actions by {} roles", table.probes.len(), DomainRole::ALL.len()));
    }
    judge(trial, &cells);
    trial.matrix(draw(&cells, &places));
    for finding in target.differences().await? {
        trial.find(finding);
    }
    Ok(())
}

fn judge(trial: &Trial, cells: &[Cell]) {
    let of = |wanted: fn(&Cell) -> bool| cells.iter().filter(move |cell| wanted(cell));
    let is_accepted = |cell: &Cell| !cell.expected && cell.seen == Seen::Allowed;
    let is_refused = |cell: &Cell| cell.expected && cell.seen == Seen::Denied;
    let is_unclear = |cell: &Cell| matches!(cell.seen, Seen::Other(_));
    trial.measure("wrongly_accepted", Some(of(is_accepted).count() as f64), "probes");
    trial.measure("wrongly_refused", Some(of(is_refused).count() as f64), "probes");
    trial.measure("probes", Some(cells.len() as f64), "probes");
    // One finding a role: a role with all rights would fill pages otherwise.
    for role in DomainRole::ALL {
        for (wanted, id, verb) in
            [(is_accepted as fn(&Cell) -> bool, "wrongly-allowed", "may"), (is_refused as fn(&Cell) -> bool, "wrongly-denied", "may not")]
        {
            let told: Vec<String> =
                of(wanted).filter(|cell| cell.role == role).map(|cell| format!("{} ({})", cell.what, cell.place)).collect();
            if !told.is_empty() {
                let more = told.len().saturating_sub(TOLD);
                let more = if more > 0 { format!(" and {more} more") } else { String::new() };
                let first = told[..told.len().min(TOLD)].join(", ");
                let message = format!("{role} {verb}, against the table of roles: {first}{more}");
                trial.find(Finding::violation(id, message).with_witness(told.join("\n")));
            }
        }
    }
    let mut decided: BTreeMap<(DomainRole, &str), bool> = BTreeMap::new();
    for cell in cells {
        *decided.entry((cell.role, &cell.what)).or_default() |= cell.seen != Seen::Elsewhere;
    }
    for ((role, what), _) in decided.into_iter().filter(|(_, somewhere)| !somewhere) {
        trial.find(Finding::unconfirmed("decided-nowhere", format!("{role}: {what} was left by each member to another")));
    }
    for cell in of(is_unclear) {
        if let Seen::Other(words) = &cell.seen {
            let message =
                format!("{} at {}: {} was answered neither by doing it nor for want of rights: {words}", cell.role, cell.place, cell.what);
            trial.find(Finding::unconfirmed("answered-for-another-reason", message));
        }
    }
}

/// A row for each action on each object (at each place), a column for each role.
fn draw(cells: &[Cell], places: &[String]) -> ProbeMatrix {
    let mut rows: Vec<ProbeRow> = Vec::new();
    let mut numbers = BTreeMap::new();
    for cell in cells {
        let name = if places.len() > 1 { format!("{} · {}", cell.place, cell.what) } else { cell.what.clone() };
        let number = *numbers.entry(name.clone()).or_insert_with(|| {
            rows.push(ProbeRow { name, cells: vec![None; DomainRole::ALL.len()] });
            rows.len() - 1
        });
        // What shows neither stays empty, and makes the verdict inconclusive by its finding.
        let observed = match &cell.seen {
            Seen::Allowed => ALLOWED,
            Seen::Denied => DENIED,
            Seen::Elsewhere | Seen::Other(_) => continue,
        };
        let column = DomainRole::ALL.iter().position(|role| *role == cell.role).unwrap_or_default();
        rows[number].cells[column] = Some(ProbeCell::new(if cell.expected { ALLOWED } else { DENIED }, observed));
    }
    let title = format!("Who may do what: roles probed at {}", places.join(", "));
    let columns = DomainRole::ALL.iter().map(ToString::to_string).collect();
    ProbeMatrix { title, row_heading: "Action".into(), columns, rows }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_an_action_and_a_column_a_role() {
        let cell = |role, expected, seen| Cell { place: "n1".into(), role, what: "policies: read".into(), expected, seen };
        let cells = [cell(DomainRole::Reader, true, Seen::Allowed), cell(DomainRole::Monitoring, false, Seen::Other("gone".into()))];
        let matrix = draw(&cells, &["n1".to_owned()]);
        assert_eq!(matrix.rows.len(), 1);
        assert_eq!(matrix.rows[0].cells[0], Some(ProbeCell::new(ALLOWED, ALLOWED)));
        assert_eq!(matrix.rows[0].cells[4], None, "a probe that shows nothing is no cell");
    }
}
