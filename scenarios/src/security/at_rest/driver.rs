//! The scenario: write a canary, look for it where it must not be and where it must be, and try what the key is good for.

use std::sync::Arc;

use dora_harness::{
    security::generate_secret,
    service::openbao::{Openbao, VolumeKeys},
    topology::{GroundError, Node},
    volume::{Cipher, DATA_DIR, DataKey, KeySource, VolumePlan},
};
use dora_reports::evidence::{Finding, NamedLimit, Register};

use super::{
    ALONE_IN_THE_CLEAR, Alone, Holder, RestTarget, cost, crash, sabotage,
    search::{Found, Witness, logs, processes, processes_of_pod, raw, raw_in_pod, through_the_mount},
    storage::{Tried, metadata, mounted, try_key},
};
use crate::{ScenarioError, Trial};

/// The scenario: see the module. The part is started anew on encrypted volumes for it, and afterwards as the topology has it.
///
/// # Errors
/// [`ScenarioError`] when it cannot be carried out; what it finds is in the trial.
pub async fn at_rest<'a, T, F>(trial: &'a Trial, target: impl FnOnce(&'a Trial) -> F) -> Result<(), ScenarioError>
where
    T: RestTarget,
    F: Future<Output = Result<T, ScenarioError>>,
{
    let choice = trial.ground().volumes().choice();
    trial.note("provider", choice.sentence());
    if choice.provider().is_none() {
        return Err(ScenarioError::Missing(choice.sentence()));
    }
    trial.ground().volumes().keys_of_run(|| key_manager(trial)).await?;
    let clusters = clusters(trial).await;
    trial.note("phase", format!("{} is started anew on encrypted volumes", clusters.join(", ")));
    let outcome = match replace(trial, &clusters, Some(VolumePlan::Encrypted)).await {
        Ok(()) => Box::pin(async { examine(trial, &target(trial).await?).await }).await,
        Err(error) => Err(error),
    };
    replace(trial, &clusters, None).await?;
    outcome
}

/// The servers that make and keep the keys of volumes, for all scenarios of the run: they have to be there before the databases.
async fn key_manager(trial: &Trial) -> Result<Arc<dyn KeySource>, ScenarioError> {
    const NAME: &str = "keys1";
    let outcome = async {
        let bao = Openbao::start(trial.ground(), &[NAME.to_owned()]).await?;
        Ok::<_, ScenarioError>(VolumeKeys::set_up(Arc::new(bao)).await?)
    };
    match outcome.await {
        Ok(keys) => Ok(Arc::new(keys)),
        Err(error) => {
            // The next scenario may have more luck, and needs the name.
            for node in trial.ground().nodes().iter().filter(|node| node.name() == NAME) {
                node.destroy().await?;
            }
            Err(error)
        }
    }
}

/// The clusters of this database.
async fn clusters(trial: &Trial) -> Vec<String> {
    let mut names = Vec::new();
    for member in trial.scenario.members() {
        for cluster in trial.platform().part(*member).clusters().await {
            names.extend(cluster.nodes().iter().map(|node| node.cluster().to_owned()));
        }
    }
    names.sort_unstable();
    names.dedup();
    names
}

async fn replace(trial: &Trial, clusters: &[String], plan: Option<VolumePlan>) -> Result<(), ScenarioError> {
    for cluster in clusters {
        trial.ground().volumes().plan_cluster(cluster, plan);
    }
    for member in trial.scenario.members() {
        trial.platform().replace(trial.ground(), *member).await?;
    }
    Ok(())
}

async fn examine(trial: &Trial, target: &dyn RestTarget) -> Result<(), ScenarioError> {
    trial.promise_limits(
        "every data directory is encrypted with AES-256; nothing of the data and no key lies on a disk in the clear; only the right key opens it; a crash loses nothing",
        vec![
            NamedLimit::at_most("directories_in_the_clear", 0.0, "nodes"),
            NamedLimit::at_least("key_length", trial.promise.key_bits_min()? as f64, "bits"),
            NamedLimit::at_most("canary_in_the_clear", 0.0, "files"),
            NamedLimit::at_most("keys_in_the_clear", 0.0, "files"),
            NamedLimit::at_most("wrong_keys_accepted", 0.0, "attempts"),
            NamedLimit::at_most("acknowledged_writes_lost", 0.0, "writes"),
        ],
    );
    // Letters and digits in no order: no compression shortens it, and no form of storage changes it.
    let canary = format!("{}{}", generate_secret().reveal(), generate_secret().reveal());
    let spoiled = target.holders(&canary).last().map(|holder| holder.node.clone());
    let spoiled = spoiled.ok_or_else(|| ScenarioError::Missing("no node of this database holds data".into()))?;
    if let Some(defect) = trial.sabotage {
        trial.note("sabotage", defect.what);
        sabotage::plant(trial, &spoiled, target.part(), defect.id).await?;
    }
    let platform = on_the_platform(trial, target, &spoiled, &canary).await;
    if let Some(defect) = trial.sabotage {
        sabotage::undo(trial, &spoiled, target.part(), defect.id).await?;
    }
    target.clean().await?;
    platform?;
    beside_the_platform(trial, target).await
}

async fn on_the_platform(trial: &Trial, target: &dyn RestTarget, spoiled: &Node, canary: &str) -> Result<(), ScenarioError> {
    target.write(canary).await?;
    target.flush().await?;
    if let Some(defect) = trial.sabotage {
        sabotage::plant_afterwards(spoiled, defect.id).await?;
    }
    let mut counts = Counts { key_bits: usize::MAX, ..Counts::default() };
    register_providers(trial);
    for holder in target.holders(canary) {
        trial.note("probe", format!("the storage of {}", holder.node.name()));
        inspect(trial, &holder, canary, &mut counts).await?;
    }
    trial.register(Register {
        title: "Data directories".into(),
        columns: ["Node", "Directory", "Provider", "Cipher", "Key bits", "File names", "Source of the key"].map(str::to_owned).into(),
        rows: std::mem::take(&mut counts.rows),
    });
    trial.measure("directories_in_the_clear", Some(counts.plain as f64), "nodes");
    trial.measure("key_length", (counts.key_bits < usize::MAX).then_some(counts.key_bits as f64), "bits");
    trial.measure("canary_in_the_clear", Some(counts.canaries as f64), "files");
    trial.measure("keys_in_the_clear", Some(counts.keys as f64), "files");
    trial.measure("wrong_keys_accepted", Some(counts.wrong_keys as f64), "attempts");
    trial.measure("raw_files_searched", Some(counts.files as f64), "files");
    trial.measure("raw_bytes_searched", Some(counts.bytes as f64), "bytes");
    Ok(())
}

#[derive(Default)]
struct Counts {
    plain: usize,
    key_bits: usize,
    canaries: usize,
    keys: usize,
    wrong_keys: usize,
    files: u64,
    bytes: u64,
    rows: Vec<Vec<String>>,
}

/// What this machine can give, and why not more.
fn register_providers(trial: &Trial) {
    let answers = &trial.ground().volumes().choice().answers;
    let chosen = trial.ground().volumes().choice().provider().map(dora_harness::volume::Provider::name);
    let row = |answer: &dora_harness::volume::Answer| {
        let said = match &answer.obstacle {
            Some(why) => format!("not usable here: {why}"),
            None if chosen == Some(answer.provider) => "used".to_owned(),
            None => "usable".to_owned(),
        };
        vec![answer.provider.to_owned(), said]
    };
    trial.register(Register {
        title: "Providers of encrypted volumes, the preferred first".into(),
        columns: ["Provider", "On this machine"].map(str::to_owned).into(),
        rows: answers.iter().map(row).collect(),
    });
}

async fn inspect(trial: &Trial, holder: &Holder, canary: &str, counts: &mut Counts) -> Result<(), ScenarioError> {
    let Holder { node, text } = holder;
    let name = node.name();
    let key = trial.ground().volumes().key(name).await.map_err(GroundError::from)?;
    volume(trial, node, &key, counts).await?;
    let secrets = [text.as_str(), key.reveal()];
    let witnesses = Witness::of(node)?;
    let found = raw(trial, node, &with_witnesses(secrets, &witnesses)).await?;
    judge_found(trial, name, &found, &witnesses, counts);
    let witnesses = [Witness::in_pod()];
    let found = raw_in_pod(trial, node, &with_witnesses(secrets, &witnesses)).await?;
    judge_found(trial, &format!("{name}'s pod"), &found, &witnesses, counts);
    // Not a text that the software itself writes: a log may name it.
    judge_found(trial, name, &logs(node, &[canary, key.reveal()]).await, &[], counts);
    // The same search finds it where it has to be: or its silence above would prove nothing.
    if through_the_mount(node, &[text]).await?.finds.is_empty() {
        let message = format!("the search finds nothing in {name}'s opened directory either");
        trial.find(Finding::unconfirmed("canary-not-found-through-the-mount", message));
    }
    judge_processes(trial, name, &processes(node, &[key.reveal()]).await?, counts);
    // The agent has the key in its memory, where it has to be, and its own name in its command line.
    let running = processes_of_pod(node, &[key.reveal(), "key-agent"]).await?;
    judge_processes(trial, &format!("{name}'s pod"), &running, counts);
    if node.protection().is_some() && running.of(1).is_empty() {
        let message = format!("the search among the processes of {name}'s pod does not find the agent that holds the key");
        trial.find(Finding::unconfirmed("agent-not-found", message));
    }
    Ok(())
}

/// What is looked for, and after it what has to be found.
fn with_witnesses<'a>(secrets: [&'a str; 2], witnesses: &'a [Witness]) -> Vec<&'a str> {
    secrets.into_iter().chain(witnesses.iter().map(|witness| witness.text.as_str())).collect()
}

/// Judges a search for the canary, the key and the witnesses, in this order.
fn judge_found(trial: &Trial, whose: &str, found: &Found, witnesses: &[Witness], counts: &mut Counts) {
    counts.files += found.files;
    counts.bytes += found.bytes;
    if let Some(first) = found.unread.first() {
        trial.find(Finding::unconfirmed("storage-unread", format!("{} files of {whose} could not be read: {first}", found.unread.len())));
    }
    let (canaries, keys) = (found.of(0), found.of(1));
    counts.canaries += canaries.len();
    counts.keys += keys.len();
    if let Some(first) = canaries.first() {
        let message = format!("{} files of {whose} hold what the client wrote, in the clear", canaries.len());
        trial.find(Finding::violation("canary-in-the-clear", message).with_witness((*first).to_owned()));
    }
    if let Some(first) = keys.first() {
        let message = format!("the key of the volume lies in {} files of {whose}", keys.len());
        trial.find(Finding::violation("key-on-disk", message).with_witness((*first).to_owned()));
    }
    for (at, witness) in witnesses.iter().enumerate() {
        if !found.of(2 + at).contains(&witness.path.as_str()) {
            let message = format!(
                "the search of {whose} does not find {}, whose content is known, so its silence proves nothing: compare the engine's clock with the times of its files, and see which file systems the container mounts",
                witness.path
            );
            trial.find(Finding::unconfirmed("raw-search-is-blind", message));
        }
    }
}

/// Judges a search of processes for the key, the first of its texts.
fn judge_processes(trial: &Trial, whose: &str, running: &Found, counts: &mut Counts) {
    let keys = running.of(0);
    counts.keys += keys.len();
    if let Some(first) = keys.first() {
        let message = format!("a process of {whose} has the key in its environment or command line");
        trial.find(Finding::violation("key-in-a-process", message).with_witness((*first).to_owned()));
    }
    if let Some(first) = running.unread.first() {
        let message = format!("environment or command line of a process of {whose} could not be read: {first}");
        trial.find(Finding::unconfirmed("process-unread", message));
    }
}

async fn volume(trial: &Trial, node: &Node, key: &DataKey, counts: &mut Counts) -> Result<(), ScenarioError> {
    let name = node.name();
    let Some(mounted) = mounted(node).await?.filter(super::storage::Mounted::is_encrypted) else {
        counts.plain += 1;
        counts.rows.push([name, DATA_DIR, "none", "none", "0", "in the clear", "none"].map(str::to_owned).into());
        trial.find(Finding::violation("volume-not-encrypted", format!("the data directory of {name} is no encrypted volume")));
        return Ok(());
    };
    match metadata(node, &mounted.source).await? {
        Ok(metadata) => {
            counts.key_bits = counts.key_bits.min(metadata.key_bits);
            let names = if metadata.names_encrypted { "encrypted" } else { "in the clear" };
            let source = node.protection().map_or("unknown", |protection| protection.key_source.as_str());
            if node.protection().is_none() {
                let message = format!("{name} has an encrypted volume, and the harness does not know where its key comes from");
                trial.find(Finding::unconfirmed("key-source-unknown", message));
            }
            let bits = metadata.key_bits.to_string();
            counts.rows.push(
                [name, DATA_DIR, metadata.creator.as_str(), metadata.cipher.name(), bits.as_str(), names, source].map(str::to_owned).into(),
            );
            trial.note(
                "volume",
                format!(
                    "{name}: {} ({}), {}-bit key, file names too: {}",
                    metadata.cipher.name(),
                    metadata.creator,
                    metadata.key_bits,
                    metadata.names_encrypted
                ),
            );
            if metadata.cipher != Cipher::Aes256Gcm || metadata.key_bits != 256 {
                let message = format!("the volume of {name} uses {} with {} bits", metadata.cipher.name(), metadata.key_bits);
                trial.find(Finding::violation("cipher-not-aes-256", message));
            }
        }
        Err(reason) => {
            counts.key_bits = 0;
            trial.find(Finding::unconfirmed("metadata-unread", format!("the metadata of {name}'s volume: {reason}")));
        }
    }
    let foreign = sabotage::foreign_key(trial, node).await?;
    for (whose, wrong) in [("another node's", foreign), ("a random", DataKey::generate())] {
        match try_key(node, &mounted.source, &wrong).await? {
            Tried::WrongKey => {}
            Tried::Opened => {
                counts.wrong_keys += 1;
                trial.find(Finding::violation("wrong-key-accepted", format!("{whose} key opens the volume of {name}")));
            }
            Tried::Otherwise(words) => {
                let message = format!("{whose} key was refused on {name}, but not because it is wrong: {words}");
                trial.find(Finding::unconfirmed("refused-for-another-reason", message));
            }
        }
    }
    // The right key by the same way: or the refusals would prove nothing.
    if try_key(node, &mounted.source, key).await? != Tried::Opened {
        trial.find(Finding::unconfirmed("right-key-refused", format!("the volume of {name} does not open with its own key either")));
    }
    Ok(())
}

async fn beside_the_platform(trial: &Trial, target: &dyn RestTarget) -> Result<(), ScenarioError> {
    let kind = if trial.is_sabotaged_by(ALONE_IN_THE_CLEAR.id) { VolumePlan::Plain } else { VolumePlan::Encrypted };
    let is_proof = trial.sabotage.is_some();
    if is_proof && !trial.is_sabotaged_by(ALONE_IN_THE_CLEAR.id) && !trial.is_sabotaged_by(sabotage::FORGETFUL) {
        // What was planted is on the platform: these servers have nothing to say of it.
        return Ok(());
    }
    // Several databases may be at it at the same time.
    let [encrypted, plain] = ["encrypted", "plain"].map(|kind| format!("rest-{}-{kind}", trial.scenario.database));
    let (encrypted, plain) = tokio::join!(target.alone(trial, &encrypted, kind), async {
        if is_proof { Ok(None) } else { target.alone(trial, &plain, VolumePlan::Plain).await.map(Some) }
    });
    let outcome = match (&encrypted, &plain) {
        (Ok(encrypted), Ok(plain)) => judge(trial, encrypted.as_ref(), plain.as_deref()).await,
        _ => Ok(()),
    };
    let mut first_error = outcome.err();
    for server in [encrypted.map(Some), plain] {
        match server {
            Ok(Some(server)) => {
                if let Err(error) = server.destroy().await {
                    first_error.get_or_insert(error);
                }
            }
            Ok(None) => {}
            Err(error) => {
                first_error.get_or_insert(error);
            }
        }
    }
    first_error.map_or(Ok(()), Err)
}

async fn judge(trial: &Trial, encrypted: &dyn Alone, plain: Option<&dyn Alone>) -> Result<(), ScenarioError> {
    let written = crash::crash_and_recover(trial, encrypted).await?;
    trial.measure("acknowledged_before_kill", Some(written as f64), "writes");
    if let Some(plain) = plain {
        let cost = cost::measure(plain, encrypted, 1_000_000).await?;
        trial.measure("durable_writes_on_plain", Some(cost.plain), "op/s");
        trial.measure("durable_writes_on_encrypted", Some(cost.encrypted), "op/s");
        trial.measure("encrypted_to_plain", (cost.plain > 0.0).then(|| cost.encrypted / cost.plain), "ratio");
    }
    Ok(())
}
