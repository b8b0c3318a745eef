//! All scenarios, and how a person selects some.

use std::collections::BTreeSet;

use crate::{Database, Scenario, backup, ha, performance, security};

/// The filter that selects the core: see [`core_ids`].
const CORE: &str = "core";

/// Every scenario, in the order in which they run on one cluster.
pub fn all() -> Vec<&'static Scenario> {
    let groups: &[&'static [Scenario]] = &[
        security::postgres::SCENARIOS,
        security::neo4j::SCENARIOS,
        security::mongodb::SCENARIOS,
        security::influxdb::SCENARIOS,
        security::redis::SCENARIOS,
        security::openbao::SCENARIOS,
        security::at_rest::postgres::SCENARIOS,
        security::at_rest::neo4j::SCENARIOS,
        security::at_rest::mongodb::SCENARIOS,
        security::at_rest::influxdb::SCENARIOS,
        security::at_rest::redis::SCENARIOS,
        security::zones::SCENARIOS,
        security::transit::postgres::SCENARIOS,
        security::transit::neo4j::SCENARIOS,
        security::transit::mongodb::SCENARIOS,
        security::transit::influxdb::SCENARIOS,
        security::transit::redis::SCENARIOS,
        security::transit::openbao::SCENARIOS,
        security::identity::postgres::SCENARIOS,
        security::identity::mongodb::SCENARIOS,
        security::identity::influxdb::SCENARIOS,
        security::identity::neo4j::SCENARIOS,
        security::identity::redis::SCENARIOS,
        performance::postgres::SCENARIOS,
        performance::neo4j::SCENARIOS,
        performance::mongodb::SCENARIOS,
        performance::influxdb::SCENARIOS,
        performance::redis::SCENARIOS,
        ha::postgres::SCENARIOS,
        ha::neo4j::SCENARIOS,
        ha::mongodb::SCENARIOS,
        ha::influxdb::SCENARIOS,
        ha::redis::SCENARIOS,
        ha::ledger::SCENARIOS,
        backup::postgres::SCENARIOS,
        backup::neo4j::SCENARIOS,
        backup::mongodb::SCENARIOS,
        backup::influxdb::SCENARIOS,
        backup::redis::SCENARIOS,
    ];
    groups.iter().copied().flatten().collect()
}

/// The ids of the core, which every test run decides: four pillars, five databases, the first scenario of each.
pub fn core_ids() -> BTreeSet<&'static str> {
    let mut seen = BTreeSet::new();
    let of_one = all().into_iter().filter(|scenario| Database::ALL.contains(&scenario.database));
    of_one.filter(|scenario| seen.insert((scenario.pillar, scenario.database))).map(|scenario| scenario.id).collect()
}

/// A filter that selects nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no scenario matches `{filter}`; known are: {known}")]
pub struct Unmatched {
    /// The filter.
    pub filter: String,
    /// All ids.
    pub known: String,
}

/// The scenarios that one of the filters means: by the beginning of an id or of a part of one, by a clause, or as the core; all of them
/// without a filter.
///
/// # Errors
/// [`Unmatched`] for a filter that selects nothing: a typing error must not look like a pass.
pub fn select(filters: &[String]) -> Result<Vec<&'static Scenario>, Unmatched> {
    let all = all();
    let core = core_ids();
    let matches = |scenario: &Scenario, filter: &str| {
        if filter == CORE {
            return core.contains(scenario.id);
        }
        // A whole id means that scenario alone, also where other ids begin with it.
        if all.iter().any(|other| other.id == filter) {
            return scenario.id == filter;
        }
        let begins_a_part = scenario.id.match_indices('/').map(|(at, _)| at + 1).chain([0]).any(|at| scenario.id[at..].starts_with(filter));
        begins_a_part || scenario.clauses.iter().any(|clause| clause.eq_ignore_ascii_case(filter))
    };
    for filter in filters {
        if !all.iter().any(|scenario| matches(scenario, filter)) {
            let known = all.iter().map(|scenario| scenario.id).collect::<Vec<_>>().join(", ");
            return Err(Unmatched { filter: filter.clone(), known });
        }
    }
    Ok(all.iter().copied().filter(|scenario| filters.is_empty() || filters.iter().any(|filter| matches(scenario, filter))).collect())
}

#[cfg(test)]
mod tests {
    use dora_fixtures::catalogue::{Catalogue, Objective, Unpromised};
    use dora_harness::{network::FIREWALL, topology::TOOLBOX};

    use super::*;
    use crate::{Pillar, ha::Goal, performance::Slo};

    #[test]
    fn every_scenario_can_fail_and_says_what_it_does_not_show() {
        for scenario in all() {
            assert!(!scenario.sabotages.is_empty(), "{} has no sabotage", scenario.id);
            assert!(!scenario.does_not_show.is_empty(), "{} claims to show everything", scenario.id);
            assert!(!scenario.clauses.is_empty() && !scenario.method.is_empty(), "{} is incomplete", scenario.id);
            let family = format!("{}/{}", scenario.pillar, scenario.database);
            assert!(scenario.id == family || scenario.id.starts_with(&format!("{family}/")), "{} is not of {family}", scenario.id);
        }
    }

    #[test]
    fn only_scenarios_that_load_the_domain_data_get_more_time_for_more_of_them() {
        use dora_fixtures::dataset::Size;
        for scenario in all() {
            let loads = matches!(scenario.pillar, crate::Pillar::Performance | crate::Pillar::Backup);
            assert_eq!(scenario.deadline_with(Size::Small), scenario.deadline);
            assert_eq!(scenario.deadline_with(Size::Medium) > scenario.deadline, loads, "{}", scenario.id);
        }
    }

    #[test]
    fn the_tools_of_scenarios_that_put_them_into_nodes_are_built_before_the_run() {
        let that_need = |image: &str| -> BTreeSet<&'static str> {
            let scenarios = all().into_iter().filter(|scenario| scenario.images().contains(&image));
            scenarios.map(|scenario| scenario.id).collect()
        };
        let cut_off = ["ha/postgres/lost-fsync", "ha/postgres/power-loss-all-nodes", "ha/redis/durability-levels-power-loss"];
        assert_eq!(that_need(TOOLBOX), BTreeSet::from(cut_off));
        assert_eq!(that_need(FIREWALL), security::zones::SCENARIOS.iter().map(|scenario| scenario.id).collect::<BTreeSet<_>>());
    }

    #[test]
    fn every_clause_of_a_scenario_is_in_the_catalogue() {
        let catalogue = Catalogue::load();
        for clause in all().iter().flat_map(|scenario| scenario.clauses) {
            assert!(catalogue.get(clause).is_ok(), "{clause} is unknown");
        }
    }

    /// Reads of an objective what the scenario reads of it when it runs.
    fn read(scenario: &Scenario, promise: &Objective) -> Result<(), Unpromised> {
        match (scenario.pillar, scenario.case()) {
            (Pillar::Performance, _) => Slo::of(promise).map(drop),
            (Pillar::Backup, _) => promise.restore_ms_max().map(drop),
            (Pillar::Security, "at-rest") => promise.key_bits_min().map(drop),
            (Pillar::Security, "dynamic-credentials") => promise.wrongly_accepted_max().and(promise.wrongly_refused_max()).map(drop),
            (Pillar::Security, "zones") => promise.severed_ms_max().and(promise.restored_ms_max()).map(drop),
            (Pillar::Security, "certificates-neo4j" | "certificates-influxdb" | "certificates-mongodb" | "certificates-etcd") => {
                let longest = promise.failed_requests_max().and(promise.longest_request_ms_max());
                longest.map(drop).and(promise.repeated_ratio_max().map(drop))
            }
            (Pillar::Security, case) if case.starts_with("certificates-") => promise.failed_requests_max().map(drop),
            (Pillar::Security, "leader-lost") | (Pillar::Ha, "routing" | "psa-data-node-lost") => promise.rto_ms_max().map(drop),
            (Pillar::Ha, "hot-standby" | "bookmarks" | "hinted-handoff") => promise.catch_up_ms_max().map(drop),
            (Pillar::Ha, "consistency-levels") => promise.redundancy_ms_max().map(drop),
            // Levels of durability have numbers of their own, which are tested beside their judgement; the others have none.
            (Pillar::Ha, "durability-levels" | "durability-levels-power-loss" | "read-preferences" | "read-staleness")
            | (Pillar::Security, _) => Ok(()),
            (Pillar::Ha, "pool") => Goal::of(promise).and(promise.clients_served_min().map(drop)),
            (Pillar::Ha, case) if case.starts_with("replication-") => Goal::of(promise).and(promise.lag_ms_max().map(drop)),
            (Pillar::Ha, _) if scenario.clauses.contains(&"HA-RDS-1") && scenario.database == Database::Redis => {
                Goal::of(promise).and(promise.loss_window_ms_max().map(drop))
            }
            (Pillar::Ha, _) => Goal::of(promise).map(drop),
        }
    }

    #[test]
    fn the_catalogue_states_every_number_that_a_scenario_is_judged_by() {
        let catalogue = Catalogue::load();
        for scenario in all() {
            let promise = catalogue.get(scenario.clauses[0]).unwrap().objective_for(scenario.case());
            assert_eq!(read(scenario, &promise), Ok(()), "{}", scenario.id);
        }
    }

    #[test]
    fn ids_and_sabotages_are_unique() {
        let mut ids: Vec<String> = all().iter().map(|scenario| scenario.id.to_owned()).collect();
        ids.extend(all().iter().flat_map(|scenario| scenario.sabotages.iter().map(|sabotage| format!("{} {}", scenario.id, sabotage.id))));
        let count = ids.len();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), count);
    }

    #[test]
    fn a_filter_is_a_scenario_a_beginning_or_a_clause() {
        let ids = |filter: &str| -> Vec<&str> { select(&[filter.to_owned()]).unwrap().iter().map(|scenario| scenario.id).collect() };
        assert!(ids("ha").iter().all(|id| id.starts_with("ha/")));
        assert!(ids("redis").iter().all(|id| id.split('/').any(|part| part.starts_with("redis"))));
        assert_eq!(ids("ha/postgres/primary-isolated"), ["ha/postgres/primary-isolated"]);
        assert!(ids("primary-isolated-from").len() > 1);
        assert_eq!(ids("core").len(), core_ids().len());
        assert!(ids("ha-pg-3").contains(&"ha/postgres/primary-killed"));
    }

    #[test]
    fn a_filter_that_selects_nothing_is_an_error() {
        assert!(select(&["no-such".into()]).unwrap_err().to_string().starts_with("no scenario matches `no-such`"));
    }
}
