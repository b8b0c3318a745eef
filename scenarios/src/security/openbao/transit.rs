//! The key of the backups is wrapped by a key that never leaves OpenBao.

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use dora_harness::{
    database::postgres::PostgresCluster,
    security::Secret,
    service::openbao::{KV_MOUNT, Openbao, OpenbaoError},
};
use dora_reports::evidence::{Finding, ProbeCell, ProbeMatrix, ProbeRow};
use serde_json::{Value, json};

use super::parts::{openbao, postgres, text_of};
use crate::{Database, Pillar, Sabotage, Scenario, ScenarioError, Trial};

const NO_REWRAP: &str = "rewrap-skipped";
const OLD_VERSION_STAYS: &str = "old-version-stays";
const EXPORTABLE: &str = "key-exportable";
const OTHER_KEY: &str = "wrapped-by-another-key";

/// The scenario.
pub const SCENARIO: Scenario = Scenario {
    id: "security/openbao/transit",
    title: "The key of PostgreSQL's backups is wrapped, and its wrapping key can be changed",
    pillar: Pillar::Security,
    database: Database::Openbao,
    clauses: &["SEC-KMS"],
    goal: "The passphrase of the backup repository is kept wrapped only; after the wrapping key is changed the new form opens and the old one does not.",
    method: &[
        "the passphrase is encrypted by a transit key (AES-256-GCM) and only the wrapped form is stored",
        "the stored form is unwrapped: it must be the passphrase in each server's pgBackRest configuration, read from that server",
        "the transit key is rotated, the stored form rewrapped without the passphrase leaving the server, and the old version retired",
        "the new form must open; the form from before the rotation, and one whose text was altered, must be refused for that reason",
        "the transit key itself must not be handed out, to root either",
    ],
    does_not_show: &[
        "servers that get the passphrase from OpenBao: the harness writes it into their configuration, and wraps the same one here",
        "a restore with the unwrapped passphrase",
        "how fast many keys are rewrapped",
    ],
    needs_high_availability: false,
    deadline: Duration::from_secs(60),
    sabotages: &[
        Sabotage { id: NO_REWRAP, what: "the stored form is not rewrapped", expects: "wrapped-key-lost" },
        Sabotage { id: OLD_VERSION_STAYS, what: "the old version of the key is not retired", expects: "old-form-opens" },
        Sabotage { id: EXPORTABLE, what: "the transit key may be exported", expects: "transit-key-exported" },
        Sabotage { id: OTHER_KEY, what: "what is stored is another passphrase, wrapped", expects: "wrong-key-unwrapped" },
    ],
    run: |trial| Box::pin(run(trial)),
};

const MOUNT: &str = "transit";
const KEY: &str = "backup";
const STORED: &str = "backup/postgres";
/// What a server's archiving reads anew for every segment.
const ARCHIVING: &str = "/dora/config/pgbackrest.conf";

async fn run(trial: &Trial) -> Result<(), ScenarioError> {
    let bao = openbao(trial).await?;
    let cluster = postgres(trial).await?;
    remove(&bao).await?;
    let outcome = show(trial, &bao, &cluster).await;
    let removed = remove(&bao).await;
    outcome.and(removed)
}

async fn show(trial: &Trial, bao: &Openbao, cluster: &PostgresCluster) -> Result<(), ScenarioError> {
    let passphrase = &cluster.credentials().backup;
    bao.write(&format!("sys/mounts/{MOUNT}"), &json!({ "type": "transit" })).await?;
    let exportable = trial.is_sabotaged_by(EXPORTABLE);
    bao.write(&format!("{MOUNT}/keys/{KEY}"), &json!({ "type": "aes256-gcm96", "exportable": exportable })).await?;

    let wrapped = if trial.is_sabotaged_by(OTHER_KEY) { "another".to_owned() } else { passphrase.reveal().to_owned() };
    let answer = bao.write(&format!("{MOUNT}/encrypt/{KEY}"), &json!({ "plaintext": STANDARD.encode(&wrapped) })).await?;
    let first = text_of(&answer, "/data/ciphertext")?.to_owned();
    store(bao, &first).await?;
    trial.note("phase", "the passphrase is stored wrapped");
    let unwrapped = unwrap(bao, &stored(bao).await?).await?;
    compare(trial, cluster, unwrapped.as_deref()).await?;

    bao.write(&format!("{MOUNT}/keys/{KEY}/rotate"), &json!({})).await?;
    if !trial.is_sabotaged_by(NO_REWRAP) {
        let answer = bao.write(&format!("{MOUNT}/rewrap/{KEY}"), &json!({ "ciphertext": stored(bao).await? })).await?;
        store(bao, text_of(&answer, "/data/ciphertext")?).await?;
    }
    if !trial.is_sabotaged_by(OLD_VERSION_STAYS) {
        bao.write(&format!("{MOUNT}/keys/{KEY}/config"), &json!({ "min_decryption_version": 2, "min_encryption_version": 2 })).await?;
    }
    trial.note("phase", "the wrapping key was changed");

    let now = stored(bao).await?;
    let new_form = outcome_of(unwrap(bao, &now).await?, "opens");
    let old_form = outcome_of(unwrap(bao, &first).await?, "opens");
    let altered = outcome_of(unwrap(bao, &alter(&now)).await?, "opens");
    let exported = match bao.read(&format!("{MOUNT}/export/encryption-key/{KEY}")).await {
        Ok(_key) => "handed out".to_owned(),
        Err(error) => reason(error, &["not exportable"])?,
    };
    if new_form != "opens" {
        trial.find(Finding::violation("wrapped-key-lost", format!("the stored form does not open any more: {new_form}")));
    }
    if old_form == "opens" {
        trial.find(Finding::violation("old-form-opens", "the form from before the rotation still opens"));
    }
    if altered == "opens" {
        trial.find(Finding::violation("altered-form-opens", "a form whose text was altered opens"));
    }
    if exported == "handed out" {
        trial.find(Finding::violation("transit-key-exported", "the server hands its wrapping key out"));
    }
    trial.matrix(ProbeMatrix {
        title: "The wrapped passphrase of the backups after the wrapping key was changed".into(),
        row_heading: "What was tried".into(),
        columns: vec!["outcome".into()],
        rows: [
            ("unwrap what is stored now", "opens", new_form),
            ("unwrap what was stored before", "disallowed by policy (too old)", old_form),
            ("unwrap an altered text", "message authentication failed", altered),
            ("export the wrapping key", "not exportable", exported),
        ]
        .into_iter()
        .map(|(name, expected, observed)| ProbeRow { name: name.into(), cells: vec![Some(ProbeCell::new(expected, observed))] })
        .collect(),
    });
    Ok(())
}

/// Compares what was unwrapped (base 64, or the reason of a refusal) with what every server archives with.
async fn compare(trial: &Trial, cluster: &PostgresCluster, unwrapped: Result<&str, &String>) -> Result<(), ScenarioError> {
    for server in cluster.servers() {
        let name = server.name();
        let files = server.get_files(ARCHIVING).await?;
        let text = files.first().map(|(_, content)| String::from_utf8_lossy(content).into_owned()).unwrap_or_default();
        // Neither of the two is ever printed.
        let message = match (passphrase_in(&text), unwrapped) {
            (None, _) => format!("{name}'s {ARCHIVING} names no passphrase"),
            (Some(_), Err(refused)) => format!("what {name} archives with could not be unwrapped: {refused}"),
            (Some(used), Ok(unwrapped)) if STANDARD.encode(used.reveal()) != unwrapped => {
                format!("what was unwrapped is not the passphrase that {name} archives with")
            }
            _ => continue,
        };
        trial.find(Finding::violation("wrong-key-unwrapped", message));
    }
    Ok(())
}

/// The repository's passphrase in pgBackRest's configuration.
fn passphrase_in(configuration: &str) -> Option<Secret> {
    let mut options = configuration.lines().filter_map(|line| line.split_once('='));
    let (_, value) = options.find(|(option, _)| option.trim() == "repo1-cipher-pass")?;
    Some(Secret::from(value.trim().to_owned())).filter(|passphrase| !passphrase.reveal().is_empty())
}

async fn store(bao: &Openbao, wrapped: &str) -> Result<(), ScenarioError> {
    bao.write(&format!("{KV_MOUNT}/data/{STORED}"), &json!({ "data": { "wrapped": wrapped } })).await?;
    Ok(())
}

async fn stored(bao: &Openbao) -> Result<String, ScenarioError> {
    let answer = bao.read(&format!("{KV_MOUNT}/data/{STORED}")).await?;
    Ok(text_of(&answer, "/data/data/wrapped")?.to_owned())
}

/// The plaintext in base64, or the server's reason of refusal in its own words.
async fn unwrap(bao: &Openbao, wrapped: &str) -> Result<Result<String, String>, ScenarioError> {
    match bao.write(&format!("{MOUNT}/decrypt/{KEY}"), &json!({ "ciphertext": wrapped })).await {
        Ok(answer) => Ok(Ok(text_of(&answer, "/data/plaintext")?.to_owned())),
        Err(error) => Ok(Err(reason(error, &["disallowed by policy (too old)", "message authentication failed"])?)),
    }
}

/// Which of the known reasons a refusal has; anything else is no refusal but a failure of the probe.
fn reason(error: OpenbaoError, known: &[&str]) -> Result<String, ScenarioError> {
    match &error {
        OpenbaoError::Refused { body, .. } => {
            known.iter().find(|words| body.contains(**words)).map(|words| (*words).to_owned()).ok_or_else(|| error.into())
        }
        _ => Err(error.into()),
    }
}

fn outcome_of(unwrapped: Result<String, String>, word: &str) -> String {
    unwrapped.map_or_else(|refused| refused, |_plaintext| word.to_owned())
}

/// The same text with one character of its ciphertext changed.
fn alter(wrapped: &str) -> String {
    let middle = wrapped.len() / 2;
    wrapped
        .char_indices()
        .map(|(at, letter)| match letter {
            'A' if at == middle => 'B',
            _ if at == middle => 'A',
            letter => letter,
        })
        .collect()
}

async fn remove(bao: &Openbao) -> Result<(), ScenarioError> {
    let mounts: Value = bao.read("sys/mounts").await?;
    if mounts.pointer("/data/transit~1").is_some() {
        bao.delete(&format!("sys/mounts/{MOUNT}")).await?;
    }
    bao.delete(&format!("{KV_MOUNT}/metadata/{STORED}")).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_passphrase_is_read_from_the_configuration() {
        let read = |text| passphrase_in(text).map(|secret| secret.reveal().to_owned());
        assert_eq!(read("[global]\nrepo1-cipher-type=aes-256-cbc\nrepo1-cipher-pass=a=b\nrepo1-bundle=y\n"), Some("a=b".to_owned()));
        assert_eq!(read("[global]\n# repo1-cipher-pass=x\nrepo1-cipher-pass=\n"), None);
    }

    #[test]
    fn an_altered_text_differs() {
        assert_ne!(alter("vault:v1:AAAA"), "vault:v1:AAAA");
    }
}
