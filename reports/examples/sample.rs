//! Writes the sample bundle of the tests, for whoever changes the templates and wants to look at the page:
//! `cargo run -p dora-reports --example sample -- DIRECTORY`

#[path = "../tests/sample/mod.rs"]
mod sample;

use std::io::IsTerminal as _;

fn main() -> Result<(), dora_reports::BundleError> {
    let dir = std::env::args().nth(1).unwrap_or_else(|| "target/dora/sample".to_owned());
    let evidence = sample::sample();
    let finished_at = evidence.run.finished_at.unwrap_or(evidence.run.started_at);
    let bundle = dora_reports::BundleWriter::create(dir, evidence)?.finish(finished_at)?;
    let layout = dora_reports::terminal::Layout { width: 100, colour: std::io::stdout().is_terminal() };
    print!("{}", dora_reports::terminal::summary(bundle.evidence(), layout, Some(bundle.dir())));
    Ok(())
}
