//! `dora prove`: scenarios under planted defects, each of which has to be noticed.

use std::process::ExitCode;

use dora_reports::{Bundle, evidence::ProofOutcome};
use dora_scenarios::{runner::proofs_of, select};

use super::{
    ProveArgs,
    config::Config,
    error::CliError,
    run::{Purpose, Request, run},
};

/// Runs the selected scenarios under each of their sabotages.
pub async fn prove(args: ProveArgs, config: &Config) -> Result<ExitCode, CliError> {
    let jobs = args.part.select(proofs_of(&select(&args.filters)?));
    if jobs.is_empty() {
        return Err(CliError::Usage(format!("part {} of these sabotages is empty: choose fewer parts", args.part)));
    }
    let request = Request { jobs, purpose: Purpose::Prove, members: Vec::new(), keep: false, options: &args.options };
    Box::pin(run(request, config, exit_code)).await
}

/// 1 when a sabotage survived; 3 when one could not be decided or the run itself had problems; else 0.
fn exit_code(bundle: &Bundle) -> ExitCode {
    let evidence = bundle.evidence();
    if evidence.proof_count(ProofOutcome::Survived) > 0 {
        ExitCode::from(1)
    } else if evidence.proof_count(ProofOutcome::Undecided) > 0 || !evidence.run.problems.is_empty() {
        ExitCode::from(3)
    } else {
        ExitCode::SUCCESS
    }
}
