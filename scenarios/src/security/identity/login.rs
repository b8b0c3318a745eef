//! Tries every way in, the proper ones and those that must be closed, at every listener; and says what guessing passwords meets with.

use std::time::{Duration, Instant};

use async_trait::async_trait;
use dora_reports::evidence::{Finding, NamedLimit, ProbeCell, ProbeMatrix, ProbeRow};
use tokio::time::timeout;

use crate::{ScenarioError, Trial, defect::under_defect};

/// Wrong passwords in a row when guessing is measured.
const GUESSES: usize = 25;
/// Ways in of which a busy machine let nobody say what came of them are tried so often again.
const REPEATS: usize = 2;
/// Guessing ends by then: it does not judge, so it must not use up the time of a scenario whose server answers late.
const GUESSING_LIMIT: Duration = Duration::from_secs(30);
/// A login that takes longer is no answer.
const LOGIN_LIMIT: Duration = Duration::from_secs(10);

/// What came of a way in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Login {
    /// Somebody was let in.
    Accepted,
    /// Nobody was, because of who asked and how.
    Refused,
    /// Something that was read, such as a list of methods.
    Says(String),
    /// Nobody can say: the engine failed otherwise.
    Unclear(String),
}

impl Login {
    fn text(&self) -> &str {
        match self {
            Self::Accepted => "accepted",
            Self::Refused => "refused",
            Self::Says(words) | Self::Unclear(words) => words,
        }
    }
}

/// One way in at one place.
#[derive(Debug, Clone)]
pub struct Check {
    /// The way, such as `wrong password`.
    pub way: String,
    /// Where, such as `rds1`.
    pub place: String,
    /// What must come of it.
    pub expected: Login,
    /// What came of it.
    pub observed: Login,
    /// The finding when these differ.
    pub finding: &'static str,
}

/// A wrong or a right password of one account, tried once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attempted {
    /// Not the account's.
    Wrong,
    /// The account's.
    Right,
}

/// An engine whose ways in are tried.
#[async_trait]
pub trait Gate: Send + Sync {
    /// Tries all of them.
    async fn checks(&self) -> Result<Vec<Check>, ScenarioError>;

    /// Logs an ordinary account in, at one place.
    async fn guess(&self, password: Attempted) -> Login;

    /// Makes an account for guessing, where the engine would lock one that others use.
    async fn prepare_guessing(&self) -> Result<(), ScenarioError> {
        Ok(())
    }

    /// Removes it; one that is not there is no error.
    async fn end_guessing(&self) -> Result<(), ScenarioError> {
        Ok(())
    }

    /// Plants a defect.
    async fn sabotage(&self, id: &str) -> Result<(), ScenarioError>;

    /// Removes the defect.
    async fn undo_sabotage(&self, id: &str) -> Result<(), ScenarioError>;
}

/// The scenario: see the module.
///
/// # Errors
/// [`ScenarioError`] when it cannot be carried out; what it finds is in the trial.
pub async fn mechanism(trial: &Trial, gate: &dyn Gate) -> Result<(), ScenarioError> {
    trial.promise_limits(
        "the proper ways in are open and every other one is closed, at every listener",
        vec![NamedLimit::at_most("wrongly_accepted", 0.0, "ways in"), NamedLimit::at_most("wrongly_refused", 0.0, "ways in")],
    );
    under_defect(trial, |id| gate.sabotage(id), |id| gate.undo_sabotage(id), Box::pin(try_all(trial, gate))).await
}

fn is_unclear(check: &Check) -> bool {
    matches!(check.observed, Login::Unclear(_))
}

async fn try_all(trial: &Trial, gate: &dyn Gate) -> Result<(), ScenarioError> {
    let mut checks = gate.checks().await?;
    for _ in 0..REPEATS {
        if !checks.iter().any(is_unclear) {
            break;
        }
        let again = gate.checks().await?;
        for check in checks.iter_mut().filter(|check| is_unclear(check)) {
            if let Some(told) = again.iter().find(|told| told.way == check.way && told.place == check.place) {
                check.observed = told.observed.clone();
            }
        }
    }
    for check in checks.iter().filter(|check| check.expected != check.observed) {
        let Check { way, place, expected, observed, finding } = check;
        trial.find(match observed {
            Login::Unclear(words) => Finding::unconfirmed("way-in-not-tried", format!("{place}: {way}: {words}")),
            _ => Finding::violation(*finding, format!("{place}: {way} was “{}” and should be “{}”", observed.text(), expected.text())),
        });
    }
    let count = |wrong: fn(&Check) -> bool| checks.iter().filter(|check| wrong(check)).count() as f64;
    // What is read and not tried lets somebody in when it is not as it should be.
    let is_open = |check: &Check| match (&check.expected, &check.observed) {
        (Login::Refused, Login::Accepted) => true,
        (Login::Says(expected), Login::Says(observed)) => expected != observed,
        _ => false,
    };
    trial.measure("wrongly_accepted", Some(count(is_open)), "ways in");
    trial.measure("wrongly_refused", Some(count(|check| check.expected == Login::Accepted && check.observed == Login::Refused)), "ways in");
    trial.measure("ways_tried", Some(checks.len() as f64), "ways in");
    trial.matrix(draw(&checks));
    // A proof shows that a defect is noticed by the ways that were tried; guessing says nothing of it.
    if trial.sabotage.is_none() {
        let prepared = gate.prepare_guessing().await;
        if prepared.is_ok() {
            guess(trial, gate).await;
        }
        // However it began: an account that was made by half must not stay, either.
        let removed = gate.end_guessing().await;
        prepared.and(removed)?;
    }
    Ok(())
}

/// Measures, and does not judge: an engine that neither delays nor locks is no defect of its configuration, but whoever watches the logs has to
/// know it.
async fn guess(trial: &Trial, gate: &dyn Gate) {
    let mut times_ms = Vec::new();
    let mut unclear = None;
    let mut made = 0_usize;
    let guessing = async {
        for _ in 0..GUESSES {
            let (login, ms) = timed(gate, Attempted::Wrong).await;
            made += 1;
            match login {
                Login::Refused => times_ms.push(ms),
                other => unclear = Some(other.text().to_owned()),
            }
        }
    };
    let is_cut = timeout(GUESSING_LIMIT, guessing).await.is_err();
    let (after, right_ms) = timed(gate, Attempted::Right).await;
    let mut sorted = times_ms.clone();
    sorted.sort_by(f64::total_cmp);
    let median = sorted.get(sorted.len() / 2).copied();
    trial.measure("guesses_made", Some(made as f64), "logins");
    trial.measure("guesses_refused", Some(times_ms.len() as f64), "logins");
    trial.measure("wrong_login_first", times_ms.first().copied(), "ms");
    trial.measure("wrong_login_median", median, "ms");
    trial.measure("wrong_login_last", times_ms.last().copied(), "ms");
    trial.measure("right_login_after_them", Some(right_ms), "ms");
    let ends = match (times_ms.first(), times_ms.last()) {
        (Some(first), Some(last)) => format!("the first took {first:.0} ms, the last {last:.0} ms"),
        _ => "none was refused for its password".to_owned(),
    };
    let refused = times_ms.len();
    let other = unclear.map(|words| format!(" ({} others: {words})", made - refused)).unwrap_or_default();
    let cut = if is_cut { format!("; after {} s no more of {GUESSES} were tried", GUESSING_LIMIT.as_secs()) } else { String::new() };
    let message = format!(
        "guessing, as measured: {refused} of {made} wrong passwords in a row were refused{other}{cut}; {ends}; the right one directly after them was {} in {right_ms:.0} ms",
        after.text()
    );
    trial.find(Finding::note("guessing", message));
}

async fn timed(gate: &dyn Gate, password: Attempted) -> (Login, f64) {
    let started = Instant::now();
    let login = timeout(LOGIN_LIMIT, gate.guess(password)).await.unwrap_or_else(|_elapsed| Login::Unclear("no answer".into()));
    (login, started.elapsed().as_secs_f64() * 1e3)
}

/// A row for each way in, a column for each place.
fn draw(checks: &[Check]) -> ProbeMatrix {
    let mut columns: Vec<String> = Vec::new();
    let mut rows: Vec<ProbeRow> = Vec::new();
    for check in checks {
        if !columns.contains(&check.place) {
            columns.push(check.place.clone());
        }
        if !rows.iter().any(|row| row.name == check.way) {
            rows.push(ProbeRow { name: check.way.clone(), cells: Vec::new() });
        }
    }
    for row in &mut rows {
        let cell = |place: &String| {
            let found = checks.iter().find(|check| check.way == row.name && check.place == *place);
            // What nobody can say stays empty, and makes the verdict inconclusive by its finding.
            found
                .filter(|check| !matches!(check.observed, Login::Unclear(_)))
                .map(|check| ProbeCell::new(check.expected.text(), check.observed.text()))
        };
        row.cells = columns.iter().map(cell).collect();
    }
    let title = "Ways in: what must be open, and what must be closed".into();
    ProbeMatrix { title, row_heading: "Way in".into(), columns, rows }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_way_that_does_not_apply_somewhere_leaves_its_cell_empty() {
        let check = |way: &str, place: &str, observed| Check {
            way: way.into(),
            place: place.into(),
            expected: Login::Refused,
            observed,
            finding: "wrong-password-accepted",
        };
        let matrix = draw(&[check("no login", "a", Login::Refused), check("wrong password", "b", Login::Accepted)]);
        assert_eq!(matrix.columns, ["a", "b"]);
        assert_eq!(matrix.rows[0].cells, [Some(ProbeCell::new("refused", "refused")), None]);
        assert!(!matrix.ok());
    }
}
