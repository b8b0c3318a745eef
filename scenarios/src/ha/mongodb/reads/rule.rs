//! What a read preference promises, and whether a history kept it.

use std::collections::{BTreeMap, BTreeSet};

use dora_harness::{history::Operation, topology::Node};
use dora_reports::evidence::Finding;
use mongodb::options::ReadPreference;
use serde_json::Value;

/// A read preference and the members that it names.
#[derive(Debug, Clone)]
pub(super) struct Rule {
    /// Its name in the history, such as `secondary {zone: a}`.
    pub name: String,
    /// The preference.
    pub preference: ReadPreference,
    /// The members that may answer, each of which has to be reached; none: nobody may answer.
    pub members: BTreeSet<String>,
}

impl Rule {
    /// Reads with that preference are answered by exactly these members.
    pub(super) fn new(name: impl Into<String>, preference: ReadPreference, members: &[&Node]) -> Self {
        Self { name: name.into(), preference, members: members.iter().map(|node| node.name().to_owned()).collect() }
    }
}

/// Judges a history of reads: operations whose value is `[rule, …]`, and whose end says `[rule, member]`.
pub(super) fn judge(rules: &[Rule], operations: &[Operation]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for rule in rules {
        let reads: Vec<&Operation> = operations.iter().filter(|operation| operation.value[0] == rule.name.as_str()).collect();
        let mut answered: BTreeMap<&str, u64> = BTreeMap::new();
        for read in reads.iter().filter(|read| read.is_ok()) {
            *answered.entry(read.returned[1].as_str().unwrap_or("nobody that is known")).or_default() += 1;
        }
        let unanswered = reads.iter().filter(|read| !read.is_ok()).count();
        let wrong: Vec<String> = answered
            .iter()
            .filter(|(member, _)| !rule.members.contains(**member))
            .map(|(member, count)| format!("{count} by {member}"))
            .collect();
        let expected = if rule.members.is_empty() { "nobody".to_owned() } else { words(&rule.members) };
        if !wrong.is_empty() {
            let message = format!("reads `{}` were answered {}; {expected} may answer", rule.name, wrong.join(", "));
            findings.push(Finding::violation("read-at-wrong-member", message));
        }
        if !rule.members.is_empty() && unanswered > 0 {
            let message = format!("{unanswered} of {} reads `{}` were not answered; {expected} should have", reads.len(), rule.name);
            findings.push(Finding::violation("read-not-answered", message));
        }
        let unread: BTreeSet<String> = rule.members.iter().filter(|member| !answered.contains_key(member.as_str())).cloned().collect();
        if !unread.is_empty() && unanswered < reads.len() {
            let message = format!("no read `{}` was answered by {}", rule.name, words(&unread));
            findings.push(Finding::violation("member-never-read", message));
        }
        if reads.is_empty() {
            findings.push(Finding::unconfirmed("rule-not-tried", format!("no read `{}` was tried", rule.name)));
        }
    }
    findings
}

fn words(members: &BTreeSet<String>) -> String {
    members.iter().map(String::as_str).collect::<Vec<_>>().join(" and ")
}

/// Who answered the reads of each rule, for people.
pub(super) fn tally(rule: &Rule, operations: &[Operation]) -> String {
    let mut answered: BTreeMap<String, u64> = BTreeMap::new();
    for read in operations.iter().filter(|operation| operation.value[0] == rule.name.as_str()) {
        let by = if read.is_ok() { read.returned[1].as_str().unwrap_or("?") } else { "nobody" };
        *answered.entry(by.to_owned()).or_default() += 1;
    }
    let counts: Vec<String> = answered.iter().map(|(member, count)| format!("{member} {count}")).collect();
    format!("{}: {}", rule.name, counts.join(", "))
}

/// `[rule, member]`
pub(super) fn value(rule: &Rule, member: Option<&str>) -> Value {
    serde_json::json!([rule.name, member])
}

#[cfg(test)]
mod tests {
    use dora_harness::history::Outcome;

    use super::*;

    fn rule(members: &[&str]) -> Rule {
        let members = members.iter().map(ToString::to_string).collect();
        Rule { name: "secondary".into(), preference: ReadPreference::Secondary { options: None }, members }
    }

    fn read(rule: &Rule, member: Option<&str>) -> Operation {
        let outcome = if member.is_some() { Outcome::Ok } else { Outcome::Fail("no server".into()) };
        Operation {
            index: 0,
            process: 0,
            f: "read".into(),
            value: value(rule, None),
            returned: value(rule, member),
            invoked: 0,
            completed: Some(1),
            outcome,
        }
    }

    fn ids(rule: &Rule, operations: &[Operation]) -> Vec<String> {
        judge(std::slice::from_ref(rule), operations).into_iter().map(|finding| finding.id).collect()
    }

    #[test]
    fn reads_by_the_named_members_are_accepted() {
        let rule = rule(&["b", "c"]);
        assert_eq!(ids(&rule, &[read(&rule, Some("b")), read(&rule, Some("c"))]), Vec::<String>::new());
    }

    #[test]
    fn each_defect_is_found_and_named() {
        let rule = rule(&["b", "c"]);
        assert_eq!(ids(&rule, &[read(&rule, Some("a")), read(&rule, Some("b")), read(&rule, Some("c"))]), ["read-at-wrong-member"]);
        assert_eq!(ids(&rule, &[read(&rule, Some("b"))]), ["member-never-read"]);
        assert_eq!(ids(&rule, &[read(&rule, Some("b")), read(&rule, Some("c")), read(&rule, None)]), ["read-not-answered"]);
        assert_eq!(ids(&rule, &[]), ["rule-not-tried"]);
    }

    #[test]
    fn where_nobody_may_answer_an_answer_is_wrong_and_silence_right() {
        let nobody = rule(&[]);
        assert_eq!(ids(&nobody, &[read(&nobody, None)]), Vec::<String>::new());
        assert_eq!(ids(&nobody, &[read(&nobody, Some("a"))]), ["read-at-wrong-member"]);
    }
}
