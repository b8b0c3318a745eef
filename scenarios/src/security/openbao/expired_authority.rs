//! The authority has ended: nothing is issued any more, and that is said.

use std::time::Duration;

use dora_harness::service::openbao::{Pki, PkiError};
use dora_reports::evidence::{Finding, ProbeCell, ProbeMatrix, ProbeRow};
use serde_json::json;
use tokio::time::sleep;

use super::parts::openbao;
use crate::{Database, Pillar, Sabotage, Scenario, ScenarioError, Trial};

const PERMITS: &str = "ended-authority-permitted";

/// The scenario.
pub const SCENARIO: Scenario = Scenario {
    id: "security/openbao/expired-authority",
    title: "An authority that has ended issues nothing, and says so",
    pillar: Pillar::Security,
    database: Database::Openbao,
    clauses: &["SEC-CERT"],
    goal: "OpenBao issues no certificate that would outlive its authority, and the caller is told that the authority is the reason.",
    method: &[
        "an intermediate authority of some seconds is set up; it issues a certificate that ends before it",
        "a certificate that would end after it, and any certificate once it has ended, must be refused for that reason",
        "a successor signed by the root takes its place and issues again",
    ],
    does_not_show: &["the end of the root", "what nodes do whose certificates ended with their authority"],
    needs_high_availability: false,
    deadline: Duration::from_secs(60),
    sabotages: &[Sabotage {
        id: PERMITS,
        what: "the authority may issue what outlives it (leaf_not_after_behavior = permit)",
        expects: "ended-authority-issues",
    }],
    run: |trial| Box::pin(run(trial)),
};

const MOUNT: &str = "ending-authority";
const AUTHORITY: Duration = Duration::from_secs(8);
const ISSUED: &str = "issued";
const ENDS: &str = "refused because the authority ends";

async fn run(trial: &Trial) -> Result<(), ScenarioError> {
    let bao = openbao(trial).await?;
    let root = trial.ground().authority();
    let ending = Pki::set_up_for(&bao, root, MOUNT, "ending", AUTHORITY).await?;
    if trial.is_sabotaged_by(PERMITS) {
        bao.write(&format!("{MOUNT}/issuer/default"), &json!({ "leaf_not_after_behavior": "permit" })).await?;
    }
    let in_time = attempt(&ending, Duration::from_secs(2)).await?;
    let too_long = attempt(&ending, Duration::from_secs(3600)).await?;
    sleep(AUTHORITY).await;
    let after = attempt(&ending, Duration::from_secs(2)).await?;
    ending.remove().await?;
    let successor = Pki::set_up(&bao, root, MOUNT, "successor").await?;
    let again = attempt(&successor, Duration::from_secs(3600)).await?;
    successor.remove().await?;
    if too_long == ISSUED || after == ISSUED {
        trial.find(Finding::violation("ended-authority-issues", "a certificate was issued that is good for longer than its authority"));
    }
    if in_time != ISSUED || again != ISSUED {
        trial.find(Finding::violation("good-authority-refuses", "an authority that has not ended does not issue"));
    }
    let rows = [
        ("ends before its authority", ISSUED, in_time),
        ("ends after its authority", ENDS, too_long),
        ("the authority has ended", ENDS, after),
        ("the successor is in place", ISSUED, again),
    ];
    trial.matrix(ProbeMatrix {
        title: "Certificates that were ordered".into(),
        row_heading: "Order".into(),
        columns: vec!["outcome".into()],
        rows: rows
            .into_iter()
            .map(|(name, expected, observed)| ProbeRow { name: name.into(), cells: vec![Some(ProbeCell::new(expected, observed))] })
            .collect(),
    });
    Ok(())
}

async fn attempt(pki: &Pki, lifetime: Duration) -> Result<&'static str, ScenarioError> {
    match pki.issue_client("somebody", lifetime).await {
        Ok(_issued) => Ok(ISSUED),
        Err(PkiError::AuthorityEnds { .. }) => Ok(ENDS),
        Err(error) => Err(error.into()),
    }
}
