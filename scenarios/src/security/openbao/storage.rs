//! What OpenBao keeps on its disks.

use std::time::Duration;

use dora_fixtures::assets;
use dora_harness::{
    database::Cluster as _,
    patience::within,
    security::generate_secret,
    service::openbao::{AUDIT_LOG, KV_MOUNT, Openbao},
    topology::Node,
};
use dora_reports::evidence::{Finding, NamedLimit};
use serde_json::json;

use super::parts::{openbao, text_of};
use crate::{Database, Pillar, Sabotage, Scenario, ScenarioError, Trial, security::at_rest::search::raw};

const EXPORT_LEFT: &str = "export-left";
const TOKEN_LEFT: &str = "token-left";

/// The scenario.
pub const SCENARIO: Scenario = Scenario {
    id: "security/openbao/storage",
    title: "OpenBao keeps nothing in the clear on its disks",
    pillar: Pillar::Security,
    database: Database::Openbao,
    clauses: &["SEC-KMS"],
    goal: "Whoever takes the disks of the key manager finds neither a secret that it keeps nor a token that opens it.",
    method: &[
        "a secret of random letters is written, and read back from the active server; every server has it before the search begins",
        "as root, everything that each server has on a disk is searched for that secret and for the root token",
        "the same search looks for the secret's path, which the audit log has in the clear: where that is not found either, the search proves nothing",
    ],
    does_not_show: &[
        "the cipher: OpenBao's barrier (AES-256-GCM) encrypts what it stores, by its own documentation; its files name no cipher that could be read",
        "the key that unseals a server: it lies in the server's configuration for tests, where a real platform takes a hardware module or a key service",
        "what a memory dump or swap of the machine would hold",
    ],
    needs_high_availability: false,
    deadline: Duration::from_secs(90),
    sabotages: &[
        Sabotage { id: EXPORT_LEFT, what: "an operator's export of the secret is left on one server", expects: "secret-in-the-clear" },
        Sabotage {
            id: TOKEN_LEFT,
            what: "an operator logged in on one server, and the tool kept the token",
            expects: "token-in-the-clear",
        },
    ],
    run: |trial| Box::pin(run(trial)),
};

const PATH: &str = "storage-canary";
const LIMIT: Duration = Duration::from_secs(20);
/// What the spoiled runs leave behind.
const LEFT: [&str; 3] = ["/dora/data/export.json", "/dora/data/.vault-token", "/dora/data/.bao-token"];

async fn run(trial: &Trial) -> Result<(), ScenarioError> {
    trial.promise_limits(
        "no file of a server holds a secret or a token",
        vec![NamedLimit::at_most("secrets_in_the_clear", 0.0, "files"), NamedLimit::at_most("tokens_in_the_clear", 0.0, "files")],
    );
    let bao = openbao(trial).await?;
    let nodes = bao.nodes();
    let canary = format!("{}{}", generate_secret().reveal(), generate_secret().reveal());
    bao.write(&format!("{KV_MOUNT}/data/{PATH}"), &json!({ "data": { "value": canary } })).await?;
    let outcome = search(trial, &bao, &nodes, &canary).await;
    if trial.sabotage.is_some() {
        for node in &nodes {
            node.exec_as_root(&[&["rm", "-f"][..], &LEFT].concat(), &[], LIMIT).await?;
        }
    }
    bao.delete(&format!("{KV_MOUNT}/metadata/{PATH}")).await?;
    outcome
}

async fn search(trial: &Trial, bao: &Openbao, nodes: &[Node], canary: &str) -> Result<(), ScenarioError> {
    let read = bao.read(&format!("{KV_MOUNT}/data/{PATH}")).await?;
    if text_of(&read, "/data/data/value")? != canary {
        trial.find(Finding::unconfirmed("secret-not-kept", "the server answers with another secret than was written"));
    }
    replicated(bao, nodes).await?;
    plant(trial, bao).await?;
    let token = bao.root_token().reveal();
    let (mut secrets, mut tokens, mut files) = (0, 0, 0);
    for node in nodes {
        let name = node.name();
        let found = raw(trial, node, &[canary, token, PATH]).await?;
        files += found.files;
        if let Some(first) = found.unread.first() {
            trial
                .find(Finding::unconfirmed("storage-unread", format!("{} files of {name} could not be read: {first}", found.unread.len())));
        }
        secrets += found.of(0).len();
        tokens += found.of(1).len();
        if let Some(first) = found.of(0).first() {
            let message = format!("a file of {name} holds the secret in the clear");
            trial.find(Finding::violation("secret-in-the-clear", message).with_witness((*first).to_owned()));
        }
        if let Some(first) = found.of(1).first() {
            let message = format!("a file of {name} holds the root token");
            trial.find(Finding::violation("token-in-the-clear", message).with_witness((*first).to_owned()));
        }
        // Only the active server has requests to write down.
        let is_active = bao.active().await?.0.name() == name;
        if is_active && !found.of(2).contains(&AUDIT_LOG) {
            trial.find(Finding::unconfirmed(
                "search-finds-nothing",
                format!("the search does not find the secret's path in {name}'s {AUDIT_LOG}"),
            ));
        }
    }
    trial.measure("secrets_in_the_clear", Some(f64::from(u32::try_from(secrets).unwrap_or(u32::MAX))), "files");
    trial.measure("tokens_in_the_clear", Some(f64::from(u32::try_from(tokens).unwrap_or(u32::MAX))), "files");
    trial.measure("raw_files_searched", Some(files as f64), "files");
    Ok(())
}

/// Waits until every server has applied what the active one has.
async fn replicated(bao: &Openbao, nodes: &[Node]) -> Result<(), ScenarioError> {
    if nodes.len() < 2 {
        return Ok(());
    }
    within("every server at the active one's position", LIMIT, Duration::from_millis(200), || async {
        let answer = bao.read("sys/storage/raft/autopilot/state").await.map_err(|error| error.to_string())?;
        let servers = answer.pointer("/data/servers").and_then(serde_json::Value::as_object).ok_or("the answer names no servers")?;
        let positions: Vec<u64> = servers.values().filter_map(|server| server.pointer("/last_index")?.as_u64()).collect();
        let is_level = positions.len() == nodes.len() && positions.iter().min() == positions.iter().max();
        if is_level { Ok(()) } else { Err(format!("positions {positions:?} of {} servers", nodes.len())) }
    })
    .await?;
    Ok(())
}

async fn plant(trial: &Trial, bao: &Openbao) -> Result<(), ScenarioError> {
    let (node, _) = bao.active().await?;
    let command: &[&str] = match trial.sabotage.map(|sabotage| sabotage.id) {
        Some(EXPORT_LEFT) => &["sh", "-c", assets::text("config/openbao/sabotage/leave-export.sh")?, "sh", KV_MOUNT, PATH],
        Some(TOKEN_LEFT) => &["sh", "-c", assets::text("config/openbao/sabotage/log-in.sh")?],
        _ => return Ok(()),
    };
    trial.note("sabotage", trial.sabotage.map_or("", |sabotage| sabotage.what));
    node.exec_ok(command, format!("{}\n", bao.root_token().reveal()).as_bytes(), LIMIT).await?;
    Ok(())
}
