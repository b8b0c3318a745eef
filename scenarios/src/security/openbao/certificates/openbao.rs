//! OpenBao's own API takes its certificate up on SIGHUP.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use async_trait::async_trait;
use dora_harness::{database::Cluster as _, security::StartTls, service::openbao::PORT, topology::Node};

use super::{
    driver::{METHOD, SABOTAGES, listeners_of, rotate},
    https::ask,
    target::CertificateTarget,
};
use crate::{
    Database, Pillar, Scenario, ScenarioError,
    security::{Listener, openbao::parts},
};

/// The scenario.
pub const SCENARIO: Scenario = Scenario {
    id: "security/openbao/certificates-openbao",
    title: "OpenBao: the certificates of its own API and their authority change under load",
    pillar: Pillar::Security,
    database: Database::Openbao,
    clauses: &["SEC-CERT"],
    goal: "Every server of the key manager presents a certificate that it issued itself, and another authority's after that, and no client notices.",
    method: METHOD,
    does_not_show: &[
        "the port between the servers: its certificates are the store's own, made anew by the active server, and no authority of ours",
        "another root: the clients trust the run's root throughout, and the chain brings the intermediate along",
        "connections that stay open: they keep the certificate under which they were made",
    ],
    needs_high_availability: false,
    deadline: Duration::from_secs(120),
    sabotages: &SABOTAGES,
    run: |trial| {
        Box::pin(async move {
            let authority = trial.ground().authority().certificate().to_owned();
            let bao = parts::openbao(trial).await?;
            let active = bao.active().await?.0.name().to_owned();
            // A planted defect is for the last server: not for the one that issues.
            let mut nodes = bao.nodes();
            nodes.sort_by_key(|node| node.name() != active);
            rotate(trial, &OpenbaoCertificates { nodes, authority, turn: AtomicUsize::default() }).await
        })
    },
};

struct OpenbaoCertificates {
    /// The active one first.
    nodes: Vec<Node>,
    authority: String,
    turn: AtomicUsize,
}

#[async_trait]
impl CertificateTarget for OpenbaoCertificates {
    fn nodes(&self) -> Vec<Node> {
        self.nodes.clone()
    }

    fn listeners(&self) -> Vec<Listener> {
        listeners_of(&self.nodes, PORT, StartTls::None)
    }

    /// Each server in turn says whether it has its key.
    async fn request(&self) -> Result<(), String> {
        let node = &self.nodes[self.turn.fetch_add(1, Ordering::Relaxed) % self.nodes.len()];
        let url = format!("https://{}/v1/sys/seal-status", node.socket(PORT));
        let answer = ask(&self.authority, None, |client| client.get(url)).await.map_err(|error| format!("{}: {error}", node.name()))?;
        if answer.contains("\"sealed\":false") { Ok(()) } else { Err(format!("{} says {answer}", node.name())) }
    }

    async fn take_up(&self, node: &Node) -> Result<(), ScenarioError> {
        node.signal("HUP").await?;
        Ok(())
    }
}
