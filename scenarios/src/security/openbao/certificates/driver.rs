//! Two rotations of every node under load: to certificates of the key manager's authority, and to those of its successor.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use dora_harness::{
    engine::EngineError,
    patience::within,
    security::{SeenCertificate, TlsProber},
    service::openbao::Pki,
    topology::Node,
};
use dora_reports::evidence::{Finding, NamedLimit, Register};
use tokio::time::sleep;

use super::{
    load::Load,
    repeat::Repeats,
    target::{CertificateTarget, install},
};
use crate::{
    Sabotage, ScenarioError, Trial,
    security::{Listener, openbao::parts::openbao},
};

const ONE_SKIPPED: &str = "one-node-skipped";
const NOT_TAKEN_UP: &str = "files-not-taken-up";
const CHAIN_CUT: &str = "intermediate-missing";
const FOREIGN: &str = "foreign-issuer";
const OLD_AUTHORITY: &str = "old-authority-stays";

/// What is planted for every database.
pub const SABOTAGES: [Sabotage; 5] = [
    Sabotage { id: ONE_SKIPPED, what: "the last node is left out of the first rotation", expects: "certificate-not-rotated" },
    Sabotage { id: NOT_TAKEN_UP, what: "new files are put in place, and no node is told", expects: "certificate-not-rotated" },
    Sabotage { id: CHAIN_CUT, what: "the nodes' new files lack the intermediate certificate", expects: "requests-failed" },
    Sabotage { id: FOREIGN, what: "the last node gets a certificate from somebody else", expects: "foreign-issuer" },
    Sabotage { id: OLD_AUTHORITY, what: "the last node is left out when the authority changes", expects: "old-authority-used" },
];

/// What a scenario of certificates does, for its `method`.
pub const METHOD: &[&str] = &[
    "OpenBao keeps an intermediate authority of the run's root; the certificates with which the nodes were started come from the root itself",
    "clients connect anew for each request, verify the whole chain and are counted while all that follows happens",
    "each node in turn gets a certificate from OpenBao and takes it up; a node is restarted only where its software cannot reload it, one at a time",
    "OpenSSL in a pod of the run reads subject, issuer and serial number from every listener before and after: each must be the one that was issued",
    "a second intermediate authority takes the first one's place: every node gets a certificate from it, and no listener may present the first one's",
    "all certificates that were in use are registered with owner, serial number, issuer, end and place",
];

/// A node's certificate in the platform lives longer than any run.
const LIFETIME: Duration = Duration::from_secs(24 * 3600);
/// Who is planted to keep the old certificate need not be waited for.
const STALE_LIMIT: Duration = Duration::from_secs(4);
/// One look at a listener whose time is over.
const LOOK_LIMIT: Duration = Duration::from_secs(1);
const STOP_GRACE: Duration = Duration::from_secs(5);
/// Load before the first and after the last rotation.
const SETTLE: Duration = Duration::from_secs(1);

/// The scenario: see the module.
///
/// # Errors
/// [`ScenarioError`] when it cannot be carried out; what it finds is in the trial.
pub async fn rotate(trial: &Trial, target: &dyn CertificateTarget) -> Result<(), ScenarioError> {
    let allowed = trial.promise.failed_requests_max()? as f64;
    promise(trial, allowed, !target.repeats().is_empty())?;
    let bao = openbao(trial).await?;
    let prober = trial.platform().prober(trial.ground()).await?;
    let case = trial.scenario.case();
    let root = trial.ground().authority();
    let first = Pki::set_up(&bao, root, &format!("{case}-1"), &format!("{case} one")).await?;
    let second = Pki::set_up(&bao, root, &format!("{case}-2"), &format!("{case} two")).await?;
    let mut rotation = Rotation { trial, target, prober, rows: Vec::new(), stale: 0 };
    let load = Load::default();
    let work = async {
        let outcome = rotation.carry_out(&first, &second).await;
        load.end();
        outcome
    };
    let (outcome, ()) = tokio::join!(work, load.run(target));
    let mended = if trial.sabotage.is_some() { rotation.mend().await } else { Ok(()) };
    let removed = first.remove().await.and(second.remove().await);
    trial.measure("failed_requests", Some(load.failed() as f64), "requests");
    trial.measure("answered_requests", Some(load.succeeded() as f64), "requests");
    trial.measure("longest_request", Some(load.longest_ms() as f64), "ms");
    let repeats = target.repeats();
    if !repeats.is_empty() {
        let repeated: u64 = repeats.iter().copied().map(Repeats::requests).sum();
        let attempts: u64 = repeats.iter().copied().map(Repeats::repeated).sum();
        trial.measure("repeated_requests", share(repeated, load.succeeded() + load.failed()), "ratio");
        trial.measure("repeated_attempts", Some(attempts as f64), "attempts");
    }
    trial.measure("stale_listeners", Some(rotation.stale as f64), "listeners");
    if let Some(error) = load.first_failure().filter(|_| load.failed() as f64 > allowed) {
        trial.find(Finding::violation("requests-failed", format!("{} requests failed, the first one by: {error}", load.failed())));
    }
    if load.succeeded() == 0 {
        trial.find(Finding::unconfirmed("no-load", "no request was answered at all, so nothing can be said about those that failed"));
    }
    trial.register(Register {
        title: "Certificates in use".into(),
        columns: ["Listener", "Owner", "Serial number", "Issuer", "Ends", "When"].map(ToOwned::to_owned).to_vec(),
        rows: rotation.rows,
    });
    // What the load saw counts, also where the rotation could not be carried out to its end, or the key manager is out of reach after it.
    outcome.and(mended).and(removed.map_err(Into::into))
}

/// States the objective. Where clients repeat, a request that was answered in the end counts as none that failed: so it is limited how many
/// may need that, and how long the longest may take.
fn promise(trial: &Trial, failed_max: f64, repeats: bool) -> Result<(), ScenarioError> {
    let mut limits =
        vec![NamedLimit::at_most("failed_requests", failed_max, "requests"), NamedLimit::at_most("stale_listeners", 0.0, "listeners")];
    let mut statement = "a rotation of every node fails no request beyond the bound".to_owned();
    if repeats {
        let (ratio, longest_ms) = (trial.promise.repeated_ratio_max()?, trial.promise.longest_request_ms_max()?);
        limits.push(NamedLimit::at_most("repeated_requests", ratio, "ratio"));
        limits.push(NamedLimit::at_most("longest_request", longest_ms as f64, "ms"));
        statement.push_str("; requests that need more than one attempt are no more than a stated share, and none takes longer than stated");
    }
    trial.promise_limits(statement, limits);
    Ok(())
}

/// The share of requests that needed more than one attempt; [`None`] where there was no request.
fn share(repeated: u64, requests: u64) -> Option<f64> {
    (requests > 0).then(|| repeated as f64 / requests as f64)
}

struct Rotation<'a> {
    trial: &'a Trial,
    target: &'a dyn CertificateTarget,
    prober: TlsProber,
    rows: Vec<Vec<String>>,
    /// Listeners with another certificate than they should have.
    stale: usize,
}

impl Rotation<'_> {
    async fn carry_out(&mut self, first: &Pki, second: &Pki) -> Result<(), ScenarioError> {
        if let Some(place) = self.register("at the start").await? {
            return Err(ScenarioError::client("read a certificate", format!("{place} presents none before anything is rotated")));
        }
        sleep(SETTLE).await;
        self.target.learn_of(&[first, second]).await?;
        let skipped = self.trial.is_sabotaged_by(ONE_SKIPPED);
        let issued = self.all_nodes(first, skipped).await?;
        self.judge(&issued, "certificate-not-rotated").await?;
        self.register("under the first authority").await?;
        // Who did not follow once shows nothing more by not following again.
        if self.stale > 0 {
            return Ok(());
        }
        self.target.further().await?;
        let skipped = self.trial.is_sabotaged_by(OLD_AUTHORITY);
        let issued = self.all_nodes(second, skipped).await?;
        self.judge(&issued, "old-authority-used").await?;
        self.register("under the second authority").await?;
        sleep(SETTLE).await;
        Ok(())
    }

    /// Gives every node a certificate, the last one excepted where `skips_last`. The serial numbers that were issued, by node.
    async fn all_nodes(&self, pki: &Pki, skips_last: bool) -> Result<BTreeMap<String, String>, ScenarioError> {
        let nodes = self.target.nodes();
        let last = nodes.last().map(|node| node.name().to_owned()).unwrap_or_default();
        let mut serials = BTreeMap::new();
        for node in &nodes {
            let issued = pki.issue_node(node.name(), node.address(), LIFETIME).await?;
            serials.insert(node.name().to_owned(), issued.serial.clone());
            if skips_last && node.name() == last {
                continue;
            }
            let mut identity = issued.identity.clone();
            if self.trial.is_sabotaged_by(CHAIN_CUT) {
                let end = identity.certificate.find("-----END CERTIFICATE-----").map_or(identity.certificate.len(), |at| at + 25);
                identity.certificate.truncate(end);
                identity.certificate.push('\n');
            }
            if self.trial.is_sabotaged_by(FOREIGN) && node.name() == last {
                let foreign = self.trial.ground().foreign_authority();
                identity = foreign
                    .issue_node(node.name(), node.address())
                    .map_err(|error| ScenarioError::client("plant a foreign certificate", error))?;
            }
            install(node, &identity).await?;
            if !self.trial.is_sabotaged_by(NOT_TAKEN_UP) {
                self.target.take_up(node).await?;
            }
            self.trial.note("rotation", format!("{} has certificate {}", node.name(), issued.serial));
        }
        Ok(serials)
    }

    /// Compares what every listener presents with what was issued for its node.
    async fn judge(&mut self, issued: &BTreeMap<String, String>, finding: &str) -> Result<(), ScenarioError> {
        let is_stale = [ONE_SKIPPED, NOT_TAKEN_UP, FOREIGN, OLD_AUTHORITY].iter().any(|id| self.trial.is_sabotaged_by(id));
        let limit = if is_stale { STALE_LIMIT } else { self.target.take_up_limit() };
        let begun = Instant::now();
        for listener in self.target.listeners() {
            let place = place(&listener);
            let wanted = &issued[listener.node.name()];
            // They have been told, all of them: the time of one is the time of all.
            let left = limit.saturating_sub(begun.elapsed()).max(LOOK_LIMIT);
            let taken_up = within("the new certificate", left, Duration::from_millis(300), || async {
                match self.seen(&listener).await {
                    Ok(Some(seen)) if seen.serial == *wanted => Ok(()),
                    Ok(Some(seen)) => Err(format!("serial {} by {}", seen.serial, seen.issuer)),
                    Ok(None) => Err("no certificate".to_owned()),
                    Err(error) => Err(error.to_string()),
                }
            });
            if taken_up.await.is_ok() {
                continue;
            }
            // A node that was restarted presents nothing until it is there again, and is gone only when it had the whole time for that.
            let left = self.target.take_up_limit().saturating_sub(begun.elapsed()).max(LOOK_LIMIT);
            let presented = within("any certificate", left, Duration::from_millis(300), || async {
                self.seen(&listener).await.ok().flatten().ok_or("no certificate")
            });
            let presented = match presented.await {
                Ok(seen) => Some(seen),
                // An engine that cannot look is an error, and no silence of the listener.
                Err(_silent) => self.seen(&listener).await?,
            };
            let found = match presented {
                Some(seen) if seen.serial == *wanted => continue,
                Some(seen) => {
                    let id = if seen.issuer.contains("somebody else") { "foreign-issuer" } else { finding };
                    Finding::violation(id, format!("{place} presents {} by {} and should present {wanted}", seen.serial, seen.issuer))
                }
                None => {
                    Finding::violation("listener-gone", format!("{place} presents no certificate any more and should present {wanted}"))
                }
            };
            self.stale += 1;
            self.trial.find(found);
        }
        Ok(())
    }

    /// What a listener presents; [`None`] where nobody shakes hands there, one that accepts connections and says nothing included.
    async fn seen(&self, listener: &Listener) -> Result<Option<SeenCertificate>, ScenarioError> {
        match self.prober.certificate(listener.node.address(), listener.port, listener.start).await {
            Err(EngineError::ExecDeadline { .. }) => Ok(None),
            seen => Ok(seen?),
        }
    }

    /// Registers what every listener presents. The first one that presents nothing.
    async fn register(&mut self, when: &str) -> Result<Option<String>, ScenarioError> {
        let mut silent = None;
        for listener in self.target.listeners() {
            let place = place(&listener);
            let [subject, serial, issuer, expires] = if let Some(seen) = self.seen(&listener).await? {
                [seen.subject, seen.serial, seen.issuer, seen.expires]
            } else {
                silent.get_or_insert_with(|| place.clone());
                ["presents none", "", "", ""].map(ToOwned::to_owned)
            };
            self.rows.push(vec![place, subject, serial, issuer, expires, when.to_owned()]);
        }
        Ok(silent)
    }

    /// After a proof: every node has a good certificate again, from the root, because the key manager itself may be out of reach. One that is
    /// only old is good.
    async fn mend(&self) -> Result<(), ScenarioError> {
        let nodes = self.target.nodes();
        let spoiled = if self.trial.is_sabotaged_by(CHAIN_CUT) {
            &nodes[..]
        } else if self.trial.is_sabotaged_by(FOREIGN) {
            &nodes[nodes.len().saturating_sub(1)..]
        } else {
            &[]
        };
        for node in spoiled {
            let identity = self.trial.ground().authority().issue_node(node.name(), node.address());
            install(node, &identity.map_err(|error| ScenarioError::client("make a good certificate", error))?).await?;
            // Who cannot be told any more, because of the certificate that it has, starts anew.
            if self.target.take_up(node).await.is_err() {
                node.stop(STOP_GRACE).await?;
                node.start().await?;
            }
        }
        Ok(())
    }
}

fn place(listener: &Listener) -> String {
    format!("{}:{}", listener.node.name(), listener.port)
}

/// The nodes of several clusters in one list.
pub fn listeners_of(nodes: &[Node], port: u16, start: dora_harness::security::StartTls) -> Vec<Listener> {
    nodes.iter().map(|node| Listener { node: node.clone(), port, start }).collect()
}

/// Runs the scenario for a target that may be missing.
///
/// # Errors
/// As [`rotate`], or [`ScenarioError::Missing`].
pub async fn rotate_if_there<T: CertificateTarget>(trial: &Trial, target: Option<T>, name: &str) -> Result<(), ScenarioError> {
    let target = target.ok_or_else(|| ScenarioError::Missing(format!("there is no {name} in this run")))?;
    rotate(trial, &target).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_asked_is_no_share() {
        assert_eq!(share(0, 0), None);
        assert_eq!(share(3, 12), Some(0.25));
    }
}
