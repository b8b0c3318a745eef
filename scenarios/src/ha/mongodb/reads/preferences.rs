//! All modes and tag sets, with a primary and without.

use std::{sync::Arc, time::Duration};

use dora_harness::{
    database::{
        Cluster as _,
        mongodb::{MemberState, PORT, ReplicaSet},
    },
    fault::{Fault, Kill, Together, inject},
    history::Recorder,
    patience::within,
    platform::all_healthy,
    topology::Node,
};
use dora_reports::evidence::{Finding, NamedLimit};
use mongodb::{
    bson::{Document, doc},
    options::{ReadPreference, ReadPreferenceOptions, TagSet},
};

use super::{
    reader::{Reader, prepare},
    rule::{Rule, judge, tally},
};
use crate::{
    Database, Pillar, Sabotage, Scenario, ScenarioError, Trial,
    security::mongodb::{client_error, replica_set},
};

const IGNORED: &str = "preference-ignored";
const TAGS_WRONG: &str = "tags-of-another-member";
const HIDDEN: &str = "secondary-hidden";

/// A kill shows, members come back, the set is whole within this time.
const CHANGE_LIMIT: Duration = Duration::from_secs(60);
const EVERY: Duration = Duration::from_millis(200);
const COPY_LIMIT: Duration = Duration::from_secs(3);

/// The scenario.
pub(in crate::ha::mongodb) const PREFERENCES: Scenario = Scenario {
    id: "ha/mongodb/read-preferences",
    title: "Reads go to the members that their preference and tags name, with a primary and without",
    pillar: Pillar::Ha,
    database: Database::Mongodb,
    clauses: &["HA-MDB-3"],
    goal: "Find out which member answers a read of each mode and tag set.",
    method: &[
        "Give each member a tag of its own, and let each profile the reads of one collection.",
        "Read with primary, primaryPreferred, secondary, secondaryPreferred, nearest, and with tag sets; each read carries a comment of its own, and the member whose profile has it answered.",
        "Kill the primary and a secondary, so that nobody can be elected, and read from the last member in every mode.",
        "Compare: the members that a rule names all have to be reached and no other; where it names none, nobody may answer.",
    ],
    does_not_show: &[
        "which member is the nearest over links of different length: all are equally near here",
        "hedged reads, which need mongos",
        "a limit on staleness (see read-staleness)",
    ],
    needs_high_availability: true,
    deadline: Duration::from_secs(180),
    sabotages: &[
        Sabotage {
            id: IGNORED,
            what: "the client reads from the primary, whatever it is asked to prefer",
            expects: "read-at-wrong-member",
        },
        Sabotage { id: TAGS_WRONG, what: "each member has another one's tag", expects: "read-at-wrong-member" },
        Sabotage { id: HIDDEN, what: "a secondary is hidden from clients", expects: "member-never-read" },
    ],
    run: |trial| Box::pin(run(trial)),
};

fn tagged(zones: &[&Node]) -> ReadPreferenceOptions {
    let sets = zones.iter().map(|node| TagSet::from([("zone".to_owned(), node.name().to_owned())])).collect::<Vec<TagSet>>();
    ReadPreferenceOptions::builder().tag_sets(sets).build()
}

/// Each member is a zone of its own, by its own name or, with the defect, by the next one's.
fn zones(nodes: &[Node], shifted: bool) -> Vec<(Node, Document)> {
    let name_at = |at: usize| nodes[(at + usize::from(shifted)) % nodes.len()].name();
    nodes.iter().enumerate().map(|(at, node)| (node.clone(), doc! { "zone": name_at(at) })).collect()
}

/// What each mode promises while there is a primary.
fn with_primary(primary: &Node, one: &Node, other: &Node) -> Vec<Rule> {
    let nowhere = |tags: ReadPreferenceOptions| {
        let mut sets = vec![TagSet::from([("zone".to_owned(), "nowhere".to_owned())])];
        sets.extend(tags.tag_sets.unwrap_or_default());
        ReadPreferenceOptions::builder().tag_sets(sets).build()
    };
    vec![
        Rule::new("primary", ReadPreference::Primary, &[primary]),
        Rule::new("primaryPreferred", ReadPreference::PrimaryPreferred { options: None }, &[primary]),
        Rule::new("secondary", ReadPreference::Secondary { options: None }, &[one, other]),
        Rule::new("secondaryPreferred", ReadPreference::SecondaryPreferred { options: None }, &[one, other]),
        Rule::new("nearest", ReadPreference::Nearest { options: None }, &[primary, one, other]),
        Rule::new("secondary of a zone", ReadPreference::Secondary { options: Some(tagged(&[other])) }, &[other]),
        Rule::new("nearest of the primary's zone", ReadPreference::Nearest { options: Some(tagged(&[primary])) }, &[primary]),
        Rule::new("primaryPreferred of another zone", ReadPreference::PrimaryPreferred { options: Some(tagged(&[one])) }, &[primary]),
        Rule::new("secondary of the second set of tags", ReadPreference::Secondary { options: Some(nowhere(tagged(&[one]))) }, &[one]),
        Rule::new("secondary of no zone", ReadPreference::Secondary { options: Some(nowhere(tagged(&[]))) }, &[]),
        Rule::new("secondary of the primary's zone", ReadPreference::Secondary { options: Some(tagged(&[primary])) }, &[]),
        Rule::new("secondaryPreferred of no zone", ReadPreference::SecondaryPreferred { options: Some(nowhere(tagged(&[]))) }, &[primary]),
    ]
}

/// What each mode promises when only one secondary is left.
fn without_primary(last: &Node, dead: &Node) -> Vec<Rule> {
    vec![
        Rule::new("no primary: primary", ReadPreference::Primary, &[]),
        Rule::new("no primary: primaryPreferred", ReadPreference::PrimaryPreferred { options: None }, &[last]),
        Rule::new("no primary: secondary", ReadPreference::Secondary { options: None }, &[last]),
        Rule::new("no primary: secondaryPreferred", ReadPreference::SecondaryPreferred { options: None }, &[last]),
        Rule::new("no primary: nearest", ReadPreference::Nearest { options: None }, &[last]),
        Rule::new("no primary: primaryPreferred of a zone", ReadPreference::PrimaryPreferred { options: Some(tagged(&[last])) }, &[last]),
        Rule::new("no primary: primaryPreferred of a dead zone", ReadPreference::PrimaryPreferred { options: Some(tagged(&[dead])) }, &[]),
    ]
}

async fn run(trial: &Trial) -> Result<(), ScenarioError> {
    let set = replica_set(trial).await?;
    trial.promise_limits(
        "each read is answered by a member that its preference names, each such member is reached, and nobody else answers",
        vec![NamedLimit::at_most("wrong_reads", 0.0, "findings")],
    );
    if let Some(sabotage) = trial.sabotage {
        trial.note("sabotage", sabotage.what);
    }
    let outcome = under_rules(trial, &set).await;
    let restored = || async {
        set.hide(None).await.map_err(|error| error.to_string())?;
        set.tag(&[]).await.map_err(|error| error.to_string())?;
        all_healthy(&set.health().await)
    };
    within("the set's old configuration", CHANGE_LIMIT, EVERY, restored).await?;
    outcome
}

async fn under_rules(trial: &Trial, set: &Arc<ReplicaSet>) -> Result<(), ScenarioError> {
    prepare(set).await?;
    let nodes = set.data_nodes();
    set.tag(&zones(nodes, trial.is_sabotaged_by(TAGS_WRONG))).await.map_err(client_error)?;
    let primary = set.primary().await.map_err(client_error)?;
    let mut secondaries = nodes.iter().filter(|node| node.name() != primary.name());
    let (Some(one), Some(other)) = (secondaries.next(), secondaries.next()) else {
        return Err(ScenarioError::Missing("the set has fewer than two secondaries".into()));
    };
    if trial.is_sabotaged_by(HIDDEN) {
        set.hide(Some(one)).await.map_err(client_error)?;
    }
    let recorder = trial.recorder()?;
    let present = with_primary(&primary, one, other);
    let visible: Vec<Node> = nodes.iter().filter(|node| !trial.is_sabotaged_by(HIDDEN) || node.name() != one.name()).cloned().collect();
    read_all(trial, set, &visible, &present, &recorder).await?;

    let role = |node: &Node| if node.name() == primary.name() { MemberState::Primary } else { MemberState::Secondary };
    let kill = |node: &Node| Box::new(Kill::new(node.clone(), role(node).to_string(), PORT)) as Box<dyn Fault>;
    let injected = inject(Together::new(vec![kill(&primary), kill(one)]), trial.origin()).await?;
    let confirmed = match injected.confirm(CHANGE_LIMIT).await {
        Ok(confirmed) => confirmed,
        Err(unconfirmed) => {
            trial.fault(&unconfirmed.heal().await?.confirm(CHANGE_LIMIT).await);
            return Err(ScenarioError::client("kill two members", "one of them still answers"));
        }
    };
    trial.note("fault", format!("{}: {}", confirmed.record().target, confirmed.record().confirmed_by));
    let absent = without_primary(other, one);
    let outcome = alone(trial, set, other, &absent, &recorder).await;
    let record = confirmed.heal().await?.confirm(CHANGE_LIMIT).await;
    trial.fault(&record);
    outcome?;
    let whole = || async {
        all_healthy(&set.health().await)?;
        set.copied_everywhere(COPY_LIMIT).await.map_err(|error| error.to_string())
    };
    within("the whole set", CHANGE_LIMIT, EVERY, whole).await?;
    let rules: Vec<Rule> = present.into_iter().chain(absent).collect();
    decide(trial, &rules, &recorder)
}

async fn alone(trial: &Trial, set: &Arc<ReplicaSet>, last: &Node, rules: &[Rule], recorder: &Recorder) -> Result<(), ScenarioError> {
    let is_secondary = || async {
        match set.state(last).await {
            Ok(MemberState::Secondary) => Ok(()),
            Ok(state) => Err(state.to_string()),
            Err(error) => Err(error.to_string()),
        }
    };
    within("a set without a primary", CHANGE_LIMIT, EVERY, is_secondary).await?;
    read_all(trial, set, std::slice::from_ref(last), rules, recorder).await
}

async fn read_all(trial: &Trial, set: &Arc<ReplicaSet>, alive: &[Node], rules: &[Rule], recorder: &Recorder) -> Result<(), ScenarioError> {
    let instead = trial.is_sabotaged_by(IGNORED).then_some(ReadPreference::Primary);
    let reader = Reader::open(set, alive, recorder, instead).await.map_err(client_error)?;
    for rule in rules {
        reader.try_rule(rule).await?;
    }
    reader.end().await;
    Ok(())
}

/// Puts a history of reads into the evidence.
pub(super) fn decide(trial: &Trial, rules: &[Rule], recorder: &Recorder) -> Result<(), ScenarioError> {
    recorder.flush()?;
    let operations = recorder.operations()?;
    for rule in rules {
        trial.note("client", tally(rule, &operations));
    }
    let findings: Vec<Finding> = judge(rules, &operations);
    trial.measure("reads", Some(operations.len() as f64), "operations");
    trial.measure("wrong_reads", Some(findings.len() as f64), "findings");
    for finding in findings {
        trial.find(finding);
    }
    Ok(())
}
