//! The cut that comes before a primary's death: a fault of its own, with a probe that saw it.

use std::time::{Duration, Instant};

use dora_harness::{
    database::postgres::{PostgresCluster, SERVER_PORT},
    fault::{
        Confirmed, FaultRecord, Partition, inject,
        probe::{Connection, meets},
    },
    patience::within,
    topology::Node,
};
use dora_reports::evidence::Finding;
use tokio::{task::JoinHandle, time::sleep};

use crate::{ScenarioError, Trial};

/// How long a killed primary takes to be dead, all preparations of the kill included; the links are mended then whatever became of it.
const DEATH_LIMIT: Duration = Duration::from_secs(20);
/// From one look at the primary's port to the next.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// A port that does not answer by then is silent.
const LOOK_LIMIT: Duration = Duration::from_secs(1);
/// A probe on a busy machine may take longer than a cut lasts.
const ATTEMPTS: u32 = 3;
/// The links are seen whole again within this time.
const MENDED_LIMIT: Duration = Duration::from_secs(15);

/// A cut between a primary and its standbys. It stays until the primary is dead, so that nothing reaches a standby in the last moment, and
/// ends by itself, so that the primary can come back.
#[derive(Debug)]
pub struct Cut {
    end: JoinHandle<Ended>,
}

/// How a cut went.
#[derive(Debug)]
struct Ended {
    record: FaultRecord,
    /// What it lacks beside the probes of the record.
    flaw: Option<String>,
}

impl Cut {
    /// Cuts the links, and returns when they have been cut for `lasting`. A cut that no probe sees by then is mended and made again, because
    /// nothing came of it; of the last one [`Cut::tell`] says so.
    pub async fn make(cluster: &PostgresCluster, primary: &Node, lasting: Duration, origin: Instant) -> Result<Self, ScenarioError> {
        let standbys: Vec<Node> = cluster.servers().iter().filter(|server| server.name() != primary.name()).cloned().collect();
        // The pooler is the probe's positive control. The primary's port is not asked: it will be dead when the links are mended.
        let links = Partition::between(std::slice::from_ref(primary), &standbys).sparing(std::slice::from_ref(cluster.pooler()));
        let mut attempt = 1;
        loop {
            let injected = inject(links.clone(), origin).await?;
            let since = Instant::now();
            match injected.confirm(lasting).await {
                Ok(confirmed) => {
                    sleep(lasting.saturating_sub(since.elapsed())).await;
                    let primary = primary.clone();
                    return Ok(Self { end: tokio::spawn(async move { end(confirmed, &primary).await }) });
                }
                Err(unconfirmed) => {
                    let flaw = Some(format!("the probe saw: {}", unconfirmed.last_seen()));
                    let record = unconfirmed.heal().await?.confirm(MENDED_LIMIT).await;
                    if attempt == ATTEMPTS {
                        return Ok(Self { end: tokio::spawn(async move { Ended { record, flaw } }) });
                    }
                }
            }
            attempt += 1;
            // The standbys take in what they missed.
            sleep(lasting).await;
        }
    }

    /// Puts it into the evidence, with what about it was not confirmed.
    pub async fn tell(self, trial: &Trial) {
        match self.end.await {
            Ok(ended) => {
                trial.fault(&ended.record);
                if let Some(finding) = ended.finding() {
                    trial.find(finding);
                }
            }
            Err(error) => trial.find(Finding::unconfirmed("fault-unconfirmed", format!("what watched over the cut ended early: {error}"))),
        }
    }
}

impl Ended {
    /// What keeps the cut from being a part of the proof.
    fn finding(&self) -> Option<Finding> {
        let Self { record, flaw } = self;
        let why = flaw.as_deref().unwrap_or("no reason was given");
        if record.confirmed_ms.is_none() {
            let message =
                format!("no probe saw the cut of {} before the primary was killed ({why}); repeat it on a quieter machine", record.target);
            return Some(Finding::unconfirmed("fault-unconfirmed", message));
        }
        if flaw.is_some() {
            return Some(Finding::unconfirmed(
                "fault-unconfirmed",
                format!("the cut of {} did not last until the primary's death: {why}", record.target),
            ));
        }
        record
            .heal_confirmed_ms
            .is_none()
            .then(|| Finding::unconfirmed("healing-unconfirmed", format!("no probe saw that the links of {} were mended", record.target)))
    }
}

/// Mends the links when the primary is dead.
async fn end(cut: Confirmed<Partition>, primary: &Node) -> Ended {
    let so_far = cut.record().clone();
    let address = primary.socket(SERVER_PORT);
    let died = within("the primary's death", DEATH_LIMIT, LOOK_EVERY, || meets(address, Connection::Refused, LOOK_LIMIT)).await;
    let flaw = died.err().map(|error| error.to_string());
    match cut.heal().await {
        Ok(healed) => Ended { record: healed.confirm(MENDED_LIMIT).await, flaw },
        // That redundancy does not come back is reported, too.
        Err(error) => Ended { record: so_far, flaw: flaw.or_else(|| Some(format!("the links were not mended: {error}"))) },
    }
}

#[cfg(test)]
mod tests {
    use dora_reports::evidence::Severity;

    use super::*;

    fn ended(confirmed: Option<f64>, mended: Option<f64>, flaw: Option<&str>) -> Ended {
        let record = FaultRecord {
            kind: "partition".into(),
            target: "pg1 x pg2+pg3".into(),
            injected_ms: 6_000.0,
            confirmed_ms: confirmed,
            confirmed_by: "datagrams".into(),
            healed_ms: Some(9_500.0),
            heal_confirmed_ms: mended,
            heal_confirmed_by: "datagrams".into(),
        };
        Ended { record, flaw: flaw.map(str::to_owned) }
    }

    #[test]
    fn only_a_cut_that_was_seen_until_the_death_is_a_part_of_the_proof() {
        let found = |ended: Ended| ended.finding().map(|finding| (finding.severity, finding.id));
        assert_eq!(found(ended(Some(6_800.0), Some(9_900.0), None)), None);
        let unconfirmed = Some((Severity::Unconfirmed, "fault-unconfirmed".to_owned()));
        assert_eq!(found(ended(None, Some(9_900.0), Some("pg1 → pg2 arrives"))), unconfirmed);
        assert_eq!(found(ended(Some(6_800.0), Some(9_900.0), Some("a connection is Accepted"))), unconfirmed);
        let unmended = Some((Severity::Unconfirmed, "healing-unconfirmed".to_owned()));
        assert_eq!(found(ended(Some(6_800.0), None, None)), unmended);
    }
}
