//! What is rendered from a fixed evidence. The snapshots hold the part that people and programs rely on; the geometry of
//! charts and the style sheet are looked at, not compared.

mod sample;

use dora_reports::terminal::{self, Layout};
use dora_reports::{Clocks, Evidence, Finding, Planned, Verdict, html, junit, schema};

#[test]
fn the_page_has_this_structure() {
    insta::assert_snapshot!(outline(&html::render(&sample::sample()).unwrap()));
}

#[test]
fn the_page_is_self_contained_and_careful_with_words() {
    let page = html::render(&sample::sample()).unwrap();
    let text = page.to_lowercase();
    for forbidden in ["<script", "<link", "<iframe", "<img", "@import", "http://", "https://", "url(//", "compliant"] {
        assert!(!text.contains(forbidden), "the page has {forbidden}");
    }
    assert!(!text.contains("nan%") && !text.contains("=\"nan"), "a coordinate is not a number");
    assert!(page.contains("References name the duty that the evidence supports."));
}

#[test]
fn every_link_within_the_page_has_its_target() {
    let page = html::render(&sample::sample()).unwrap();
    let ids: Vec<_> = attributes(&page, " id=\"").collect();
    for target in attributes(&page, " href=\"#") {
        assert!(ids.contains(&target), "nothing has the id {target}");
    }
    let mut unique = ids.clone();
    unique.sort_unstable();
    unique.dedup();
    assert_eq!(unique.len(), ids.len(), "an id is there twice");
}

#[test]
fn nothing_in_the_evidence_becomes_markup() {
    let evil = "<script>alert('x')</script>&\"";
    let mut evidence = sample::sample();
    evidence.run.id = evil.to_owned();
    evidence.run.problems.push(evil.to_owned());
    evidence.images[0].capabilities.insert(evil.to_owned(), evil.to_owned());
    evidence.topology.boot[0].node = evil.to_owned();
    evidence.clauses[0].title = evil.to_owned();
    let scenario = &mut evidence.scenarios[0];
    scenario.title = evil.to_owned();
    scenario.findings.push(Finding::violation(evil, evil).with_witness(evil));
    scenario.does_not_show.push(evil.to_owned());
    let page = html::render(&evidence).unwrap();
    assert!(!page.contains("<script"));
    assert!(page.contains("&lt;script&gt;"));
}

#[test]
fn a_run_without_anything_still_renders() {
    let evidence = Evidence::new(sample::sample().run);
    let page = html::render(&evidence).unwrap();
    assert!(page.contains("No scenario ended, so nothing is evidenced"));
    assert!(junit::render(&evidence).unwrap().contains("tests=\"0\""));
    assert_eq!(terminal::summary(&evidence, Layout::default(), None).trim(), "no scenario ended");
}

#[test]
fn a_clause_names_each_of_its_scenarios_once() {
    let mut evidence = sample::sample();
    // As after a run with a filter: one of the five ran, and it is what the clause rests on.
    evidence.scenarios.retain(|scenario| scenario.pillar != "performance" || scenario.database == "influxdb");
    evidence.settle_clauses();
    let page = html::render(&evidence).unwrap();
    let row = between(&page, "id=\"clause-perf-slo\"", "</tr>");
    for database in ["postgres", "neo4j", "mongodb", "influxdb", "redis"] {
        assert_eq!(row.matches(&format!("performance/{database}")).count(), 1, "{row}");
    }
    let told = plain(row);
    assert!(told.contains("performance/influxdb: p99 is 101 ms, the objective allows 80 ms"), "{told}");
    assert!(told.contains("Did not run: performance/postgres, performance/neo4j, performance/mongodb, performance/redis"), "{told}");
}

#[test]
fn a_clause_tells_where_the_topology_departs_from_it() {
    let mut evidence = sample::sample();
    for (part, departs) in [("SEC-TLS", true), ("SEC-TLS-PG", true), ("SEC-TLS-P", false), ("SEC-TLS-LINKS", false)] {
        part.clone_into(&mut evidence.topology.exceptions[0].clause);
        let page = html::render(&evidence).unwrap();
        assert_eq!(between(&page, "id=\"clause-sec-tls-pg\"", "</tr>").contains("1 named exception"), departs, "{part}");
    }
}

#[test]
fn a_reason_that_is_a_finding_is_told_once() {
    let mut evidence = sample::sample();
    evidence.scenarios.retain(|scenario| scenario.scenario == "security/influxdb");
    let scenario = &mut evidence.scenarios[0];
    scenario.reason.clone_from(&scenario.findings[0].message);
    let reason = &evidence.scenarios[0].reason;
    let page = html::render(&evidence).unwrap();
    assert_eq!(between(&page, "<article id=\"security-influxdb\"", "</article>").matches(reason).count(), 1);
    let wide = Layout { width: 200, colour: false };
    assert_eq!(terminal::summary(&evidence, wide, None).matches(reason).count(), 1);
}

#[test]
fn a_clock_has_no_limit_that_counts_from_another_instant() {
    let mut evidence = sample::sample();
    evidence.scenarios.retain(|scenario| scenario.scenario == "ha/postgres");
    let lanes = |evidence: &Evidence| {
        let page = html::render(evidence).unwrap();
        plain(between(&page, "<figure class=\"clocks\"", "</figure>"))
    };
    assert!(lanes(&evidence).contains("First success a client was served again 4.21 s ≤ 20 s"), "{}", lanes(&evidence));
    // The measure stays what it is, from the healing; the clock counts from the injection.
    evidence.scenarios[0].clocks = Some(Clocks { first_success_ms: Some(22_210.0), ..Clocks::default() });
    assert!(lanes(&evidence).contains("First success a client was served again 22.2 s Objective"), "{}", lanes(&evidence));
}

#[test]
fn the_headline_claims_no_more_than_what_ran() {
    let headline = |evidence: &Evidence| plain(between(&html::render(evidence).unwrap(), "<h1", "</h1>"));
    let mut evidence = sample::sample();
    evidence.scenarios.retain(|scenario| scenario.verdict == Verdict::Satisfied && scenario.pillar == "ha");
    evidence.settle_clauses();
    assert_eq!(headline(&evidence), "All 3 scenarios that ended are satisfied; 18 of 21 clauses not evidenced");
    evidence.scenarios.clear();
    assert_eq!(headline(&evidence), "1 of 2 planted defects killed, 1 survived, 0 undecided");
    let page = html::render(&evidence).unwrap();
    assert!(page.contains("id=\"proofs\"") && !page.contains("id=\"clauses\"") && !page.contains("id=\"scenarios\""));
}

#[test]
fn a_problem_of_the_run_is_an_error_in_junit() {
    let mut evidence = Evidence::new(sample::sample().run);
    evidence.run.problems.push("pg2 did not start".to_owned());
    let xml = junit::render(&evidence).unwrap();
    assert!(xml.contains("tests=\"1\"") && xml.contains("errors=\"1\"") && xml.contains("pg2 did not start"), "{xml}");
}

#[test]
fn the_same_evidence_gives_the_same_bytes() {
    let (one, other) = (sample::sample(), sample::sample());
    assert_eq!(html::render(&one).unwrap(), html::render(&other).unwrap());
}

#[test]
fn junit() {
    insta::assert_snapshot!(junit::render(&sample::sample()).unwrap());
}

#[test]
fn what_was_planned_and_did_not_end_is_skipped_in_junit_and_what_kept_it_from_that_is_an_error() {
    let mut evidence = sample::sample();
    let plan = |scenario: &str, sabotage: Option<&str>| Planned { scenario: scenario.to_owned(), sabotage: sabotage.map(str::to_owned) };
    evidence.planned = vec![
        plan("ha/redis", None),
        plan("ha/redis/pool", None),
        plan("ha/redis", Some("replicas-ignored")),
        plan("ha/redis", Some("replicas-frozen")),
    ];
    let without = junit::render(&sample::sample()).unwrap();
    let skipped = |xml: &str| xml.matches("<skipped").count() - without.matches("<skipped").count();
    assert_eq!(skipped(&junit::render(&evidence).unwrap()), 2);
    evidence.run.problems = vec!["node rds2 failed to start: no\n  last log lines".to_owned()];
    let xml = junit::render(&evidence).unwrap();
    assert_eq!(skipped(&xml), 2);
    assert_eq!(xml.matches("<skipped message=\"it did not end: node rds2 failed to start: no\"/>").count(), 2, "{xml}");
    assert!(xml.contains("name=\"ha/redis/pool\" classname=\"dora.ha\""), "{xml}");
    assert!(xml.contains("name=\"ha/redis turns red under replicas-frozen\" classname=\"dora.proofs\""), "{xml}");
    assert!(xml.contains("<testsuite name=\"run\" tests=\"1\" skipped=\"0\" errors=\"1\" failures=\"0\">"), "{xml}");
    // As a killed run leaves it.
    evidence.run.problems.clear();
    evidence.run.finished_at = None;
    assert!(junit::render(&evidence).unwrap().contains("the run goes on, or was killed"));
}

#[test]
fn terminal_summary() {
    let bundle = std::path::Path::new("target/dora/7f3a-brisk-otter");
    insta::assert_snapshot!(terminal::summary(&sample::sample(), Layout::default(), Some(bundle)));
}

#[test]
fn terminal_summary_is_never_wider_than_the_terminal() {
    for width in [40, 60, 80, 132] {
        let summary = terminal::summary(&sample::sample(), Layout { width, colour: false }, None);
        for line in summary.lines() {
            // A word that is longer than a line, such as a finding's id, is not broken.
            let fits = line.chars().count() <= width || line.trim().split(' ').count() == 1;
            assert!(fits, "{width} columns, but: {line}");
        }
    }
}

#[test]
fn colour_adds_nothing_but_colour() {
    let colour = terminal::summary(&sample::sample(), Layout { width: 100, colour: true }, None);
    let plain = terminal::summary(&sample::sample(), Layout::default(), None);
    let mut stripped = String::new();
    let mut rest = colour.as_str();
    while let Some((before, after)) = rest.split_once('\u{1b}') {
        stripped.push_str(before);
        rest = after.split_once('m').unwrap().1;
    }
    stripped.push_str(rest);
    let trimmed = |text: &str| text.lines().map(|line| line.trim_end().to_owned()).collect::<Vec<_>>();
    assert_eq!(trimmed(&stripped), trimmed(&plain));
    assert!(colour.contains("\u{1b}[1;31m"));
}

#[test]
fn stable_summary() {
    insta::assert_snapshot!(terminal::stable_summary(&sample::sample()));
}

#[test]
fn the_schema_that_is_published_is_that_of_the_types() {
    let published: serde_json::Value = serde_json::from_str(include_str!("../evidence.schema.json")).unwrap();
    assert!(
        published == schema::json_schema(),
        "reports/evidence.schema.json is not what the types say. Renew it, and look at the difference (a reader of older bundles may need \
         another SCHEMA_VERSION): cargo run -p dora-scenarios --bin dora -- report schema > reports/evidence.schema.json"
    );
}

/// Headings, captions, summaries and landmarks, indented by nesting.
fn outline(page: &str) -> String {
    const SHOWN: [&str; 10] = ["h1", "h2", "h3", "h4", "caption", "summary", "nav", "aside", "article", "svg"];
    let body = &page[page.find("<body").unwrap()..];
    let mut lines = Vec::new();
    for (at, _) in body.match_indices('<') {
        let piece = &body[at + 1..];
        let name = piece.split([' ', '>']).next().unwrap_or_default();
        if !SHOWN.contains(&name) {
            continue;
        }
        let end = piece.find(&format!("</{name}>")).unwrap_or(piece.len());
        let indent = match name {
            "h1" => 0,
            "h2" | "nav" => 1,
            "h3" | "article" => 2,
            _ => 3,
        };
        let text = match name {
            "nav" | "aside" => String::new(),
            "article" => attributes(piece, " id=\"").next().unwrap_or_default().to_owned(),
            "svg" => plain(piece[..end].split("<desc").nth(1).unwrap_or_default().split("</desc>").next().unwrap()),
            _ => plain(&piece[..end]),
        };
        lines.push(format!("{}{name} {text}", "  ".repeat(indent)).trim_end().to_owned());
    }
    lines.join("\n")
}

/// From the first `opening` of the page to the next `end`.
fn between<'a>(page: &'a str, opening: &str, end: &str) -> &'a str {
    let piece = &page[page.find(opening).unwrap()..];
    &piece[..piece.find(end).unwrap()]
}

/// The text of a piece of markup that begins within its first tag.
fn plain(markup: &str) -> String {
    let texts = markup.split('<').map(|piece| piece.split_once('>').map_or("", |(_, text)| text));
    texts.collect::<Vec<_>>().concat().split_whitespace().collect::<Vec<_>>().join(" ")
}

fn attributes<'a>(page: &'a str, opening: &'a str) -> impl Iterator<Item = &'a str> {
    page.split(opening).skip(1).filter_map(|rest| rest.split('"').next())
}
