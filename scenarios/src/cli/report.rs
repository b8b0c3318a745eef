//! `dora report`.

use std::{
    path::{Path, PathBuf},
    process::{Command, ExitCode, Stdio},
};

use clap::Subcommand;
use dora_reports::{Bundle, schema, terminal};

use super::{RUNS, error::CliError, run::layout};

/// What to do with a bundle.
#[derive(Debug, Subcommand)]
pub enum ReportCommand {
    /// Open the page in a browser (its path is printed in any case)
    Open {
        /// A run or a bundle's folder; the newest without it
        bundle: Option<PathBuf>,
    },
    /// Print the summary
    Show {
        /// A run or a bundle's folder; the newest without it
        bundle: Option<PathBuf>,
    },
    /// Print the JSON schema of evidence.json
    Schema,
}

/// Renders a bundle anew from its evidence, then opens or prints it; or prints what evidence of this version looks like.
pub fn report(command: &ReportCommand) -> Result<ExitCode, CliError> {
    match command {
        ReportCommand::Open { bundle } => {
            let bundle = find(bundle.as_deref())?;
            bundle.render()?;
            let page = bundle.report_path();
            out!("{}", page.display());
            let opener = if cfg!(target_os = "macos") { "open" } else { "xdg-open" };
            let browser = Command::new(opener).arg(&page).stdout(Stdio::null()).stderr(Stdio::null()).status();
            if !browser.is_ok_and(|status| status.success()) {
                eprintln!("no browser could be opened here; open the file above");
            }
        }
        ReportCommand::Show { bundle } => {
            let bundle = find(bundle.as_deref())?;
            out!("{}", terminal::summary(bundle.evidence(), layout(), Some(bundle.dir())).trim_end());
        }
        ReportCommand::Schema => out!("{:#}", schema::json_schema()),
    }
    Ok(ExitCode::SUCCESS)
}

fn find(given: Option<&Path>) -> Result<Bundle, CliError> {
    match given {
        None => Ok(Bundle::latest(RUNS)?),
        Some(path) if path.exists() => Ok(Bundle::open(path)?),
        Some(run) => Ok(Bundle::open(Path::new(RUNS).join(run))?),
    }
}
