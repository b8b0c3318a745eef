//! `dora conform` and `dora list`.

use std::process::ExitCode;

use dora_harness::topology::Member;
use dora_reports::{Bundle, evidence::Verdict};
use dora_scenarios::{runner::Job, select};

use super::{
    ConformArgs,
    config::Config,
    error::CliError,
    run::{Purpose, Request, run},
};

/// Runs the selected scenarios and writes the bundle.
pub async fn conform(args: ConformArgs, config: &Config) -> Result<ExitCode, CliError> {
    let jobs = jobs(&args)?;
    let members = if args.filters.is_empty() { Member::ALL.to_vec() } else { Vec::new() };
    let request = Request { jobs, purpose: Purpose::Conform, members, keep: args.keep, options: &args.options };
    Box::pin(run(request, config, exit_code)).await
}

fn jobs(args: &ConformArgs) -> Result<Vec<Job>, CliError> {
    let scenarios = select(&args.filters)?;
    let Some(id) = &args.sabotage else {
        return Ok(scenarios.into_iter().map(|scenario| Job { scenario, sabotage: None }).collect());
    };
    let jobs: Vec<Job> = scenarios.iter().filter_map(|scenario| Some(Job { scenario, sabotage: Some(scenario.sabotage(id)?) })).collect();
    if jobs.is_empty() {
        let known: Vec<&str> = scenarios.iter().flat_map(|scenario| scenario.sabotages).map(|sabotage| sabotage.id).collect();
        return Err(CliError::Usage(format!(
            "none of the selected scenarios has a sabotage called `{id}`; they have: {}",
            known.join(", ")
        )));
    }
    Ok(jobs)
}

/// 1 when something is not satisfied; 3 when something could not be decided or the run itself had problems; else 0.
fn exit_code(bundle: &Bundle) -> ExitCode {
    let counts = bundle.evidence().scenario_counts();
    if counts.of(Verdict::NotSatisfied) > 0 {
        ExitCode::from(1)
    } else if counts.of(Verdict::Inconclusive) > 0 || !bundle.evidence().run.problems.is_empty() {
        ExitCode::from(3)
    } else {
        ExitCode::SUCCESS
    }
}

/// Lists the selected scenarios, and at the end how many that were.
pub fn list(filters: &[String]) -> Result<ExitCode, CliError> {
    let scenarios = select(filters)?;
    for scenario in &scenarios {
        out!("{:<36} {}  [{}]", scenario.id, scenario.title, scenario.clauses.join(", "));
        for sabotage in scenario.sabotages {
            out!("{:<36}   --sabotage {}: {} → {}", "", sabotage.id, sabotage.what, sabotage.expects);
        }
    }
    let sabotages: usize = scenarios.iter().map(|scenario| scenario.sabotages.len()).sum();
    out!("scenarios: {}, sabotages: {sabotages}", scenarios.len());
    Ok(ExitCode::SUCCESS)
}
