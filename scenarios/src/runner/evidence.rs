//! What the report says of the run, the platform and the clauses.

use std::collections::BTreeMap;
use std::time::Duration;

use dora_fixtures::{assets, catalogue::Catalogue};
use dora_harness::{
    engine::EngineInfo,
    topology::{Ground, Node},
};
use dora_reports::evidence::{
    BootSpan, ClauseEvidence, Evidence, ExceptionEvidence, HostInfo, ImageUsed, NodeEvidence, RunInfo, TopologyEvidence, Verdict,
};
use time::OffsetDateTime;

use super::{Session, SessionOptions};

/// What no run of this suite shows. That a reference to a duty does not say that the duty is fulfilled is in the report of any evidence.
const NOT_SHOWN: [&str; 4] = [
    "One machine carries all nodes: the loss of a machine, a rack or a site, and the latency between sites, are not shown.",
    "Times and rates belong to this machine and to the images of this run; a bank's hardware and licensed builds have to be measured themselves.",
    "A killed process is not a lost machine: peers get a reset at once, not silence.",
    "The run lasts minutes: what only shows after days (leaks, growth, expiry) is not shown.",
];

/// What stands in place of an image's capabilities when it told none: "image: did not answer, and why".
const UNTOLD: &str = "image";
/// How long an image may take to say what it can do.
const ASK_LIMIT: Duration = Duration::from_secs(20);

/// Evidence of a run that has just begun, with every clause of the catalogue not yet evidenced.
pub fn new_evidence(options: &SessionOptions, info: Option<&EngineInfo>, catalogue: &Catalogue) -> Evidence {
    let host = info.map_or_else(HostInfo::default, |info| HostInfo {
        cpus: info.cpus,
        memory_bytes: info.memory_bytes,
        kernel: info.kernel.clone(),
        engine_version: info.version.clone(),
        engine_arch: info.architecture.clone(),
    });
    let mut evidence = Evidence::new(RunInfo {
        id: options.run.to_string(),
        started_at: OffsetDateTime::now_utc(),
        finished_at: None,
        profile: options.profile.name().to_owned(),
        harness_version: env!("CARGO_PKG_VERSION").to_owned(),
        command: command_line(),
        seed: options.seed,
        size: options.size.name().to_owned(),
        host,
        not_shown: NOT_SHOWN.map(ToOwned::to_owned).to_vec(),
        problems: Vec::new(),
        harness_cpu_ms: None,
        load_cpu_ms: None,
    });
    evidence.clauses = clauses(catalogue);
    evidence
}

/// The command as it can be typed again, without the path of this machine.
fn command_line() -> String {
    let mut words = vec!["dora".to_owned()];
    words.extend(std::env::args().skip(1));
    words.join(" ")
}

fn clauses(catalogue: &Catalogue) -> Vec<ClauseEvidence> {
    let scenarios = crate::all();
    catalogue
        .clauses()
        .iter()
        .map(|clause| ClauseEvidence {
            id: clause.id.to_string(),
            family: clause.family.title().to_owned(),
            title: clause.title.clone(),
            shows: clause.shows.clone(),
            refs: clause.references().map(|reference| reference.to_string()).collect(),
            verdict: Verdict::NotEvidenced,
            reason: String::new(),
            scenarios: scenarios.iter().filter(|s| s.clauses.contains(&clause.id.as_str())).map(|s| s.id.to_owned()).collect(),
        })
        .collect()
}

/// Says of each clause that needs something of an image what is missing, in the words of the image that was asked, or that it did not say.
pub fn note_what_images_lack(clauses: &mut [ClauseEvidence], images: &[ImageUsed], catalogue: &Catalogue) {
    for clause in catalogue.clauses() {
        let Some(need) = &clause.needs else { continue };
        let Some(image) = images.iter().find(|image| image.name == need.image) else { continue };
        let Some(evidence) = clauses.iter_mut().find(|evidence| evidence.id == clause.id.as_str()) else { continue };
        let (name, capability) = (&need.image, &need.capability);
        match image.capabilities.get(capability).map(String::as_str) {
            Some("yes") => {}
            Some(answer) => evidence.reason = format!("the image {name} has no {capability} (it answers: {capability}={answer})"),
            None => {
                let why = image.capabilities.get(UNTOLD).map_or("says nothing of it", String::as_str);
                evidence.reason = format!("whether the image {name} has {capability} is not known: it {why}");
            }
        }
    }
}

/// Images and topology as far as the start came. Images are asked what they can do where every node has its role: others may not answer.
pub async fn describe_platform(session: &Session) -> (Vec<ImageUsed>, TopologyEvidence) {
    let images = describe_images(session.ground(), session.ready_ms().is_some()).await;
    (images, describe_topology(session))
}

fn describe_topology(session: &Session) -> TopologyEvidence {
    let (ground, ready_ms) = (session.ground(), session.ready_ms());
    TopologyEvidence {
        nodes: ground.nodes().iter().map(|node| describe_node(node, session.roles().get(node.name()))).collect(),
        exceptions: ground
            .exceptions()
            .into_iter()
            .map(|exception| ExceptionEvidence {
                subject: exception.place,
                clause: exception.clause,
                what: exception.what,
                why: exception.why,
            })
            .collect(),
        boot: ground
            .boot()
            .spans()
            .into_iter()
            // What is started later (a restored cluster) belongs to its scenario, not to the platform's boot.
            .filter(|span| ready_ms.is_none_or(|ready_ms| span.start_ms <= ready_ms))
            .map(|span| BootSpan {
                node: span.node,
                phase: span.phase,
                start_ms: span.start_ms,
                end_ms: span.end_ms,
                waited_for: span.waited_for,
            })
            .collect(),
        ready_ms,
        peak_memory_bytes: session.peak_memory_bytes(),
    }
}

fn describe_node(node: &Node, role: Option<&String>) -> NodeEvidence {
    NodeEvidence {
        name: node.name().to_owned(),
        cluster: node.cluster().to_owned(),
        role: role.map_or_else(|| node.role(), String::as_str).to_owned(),
        image: node.image().to_owned(),
        address: node.address().to_string(),
        memory_limit_bytes: u64::try_from(node.memory_limit_bytes()).ok(),
    }
}

/// The images in use; where they `serve`, a node of each is asked what it can do. Where there is no answer, that is said instead.
async fn describe_images(ground: &Ground, serve: bool) -> Vec<ImageUsed> {
    let nodes = if serve { ground.nodes() } else { Vec::new() };
    let mut images = Vec::new();
    for image in ground.images().iter() {
        let node = nodes.iter().find(|node| node.image() == image.name && node.has_database());
        let capabilities = match node {
            Some(node) => ask(node).await.unwrap_or_else(|why| untold(format!("did not answer: {why}"))),
            None if serve => untold("was not asked: the platform started no database from it".to_owned()),
            None => untold("was not asked: the platform did not come up".to_owned()),
        };
        images.push(ImageUsed {
            name: image.name.clone(),
            reference: image.reference.clone(),
            version: image.version.clone(),
            licence: image.licence.clone(),
            capabilities,
        });
    }
    images
}

/// What stands in place of capabilities.
fn untold(why: String) -> BTreeMap<String, String> {
    BTreeMap::from([(UNTOLD.to_owned(), why)])
}

/// What the image of a node says that it can do; otherwise why it does not.
async fn ask(node: &Node) -> Result<BTreeMap<String, String>, String> {
    let script = assets::text(&format!("images/{}/capabilities.sh", node.image())).map_err(|error| error.to_string())?;
    let output = node.exec(&["sh", "-c", script], &[], ASK_LIMIT).await.map_err(|error| error.to_string())?;
    let answers: BTreeMap<String, String> =
        output.stdout.lines().filter_map(|line| line.split_once('=')).map(|(k, v)| (k.to_owned(), v.to_owned())).collect();
    if answers.is_empty() {
        let words = output.stderr.trim();
        let words = if words.is_empty() { "it printed nothing" } else { words };
        return Err(format!("its capabilities.sh ended with {}: {words}", output.code));
    }
    Ok(answers)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the report says of a clause that needs `mongos`, beside an image of these capabilities.
    fn reason(capabilities: BTreeMap<String, String>) -> String {
        let catalogue = Catalogue::load();
        let mut evidence = clauses(&catalogue);
        let image = ImageUsed { name: "mongodb".to_owned(), capabilities, ..ImageUsed::default() };
        note_what_images_lack(&mut evidence, &[image], &catalogue);
        evidence.into_iter().find(|clause| clause.id == "HA-MDB-2").unwrap().reason
    }

    #[test]
    fn what_an_image_lacks_or_does_not_say_is_told() {
        let says = |answer: &str| BTreeMap::from([("mongos".to_owned(), answer.to_owned())]);
        assert_eq!(reason(says("yes")), "");
        assert_eq!(reason(says("no")), "the image mongodb has no mongos (it answers: mongos=no)");
        let unknown = "whether the image mongodb has mongos is not known";
        assert_eq!(reason(BTreeMap::new()), format!("{unknown}: it says nothing of it"));
        assert_eq!(reason(untold("did not answer: no shell".to_owned())), format!("{unknown}: it did not answer: no shell"));
    }
}
