//! `dora images`.

use std::{process::ExitCode, sync::Arc};

use dora_fixtures::assets;
use dora_harness::engine::{Engine, RunId, reaper::Reaper};

use super::{ImagesArgs, config::Config, error::CliError, progress::Progress};

/// Lists the images of the catalogue; with `--build` builds what is missing and asks each what it can do.
pub async fn images(args: ImagesArgs, config: &Config) -> Result<ExitCode, CliError> {
    let replacements = config.replacements(&args.platform)?;
    if !args.build {
        for source in assets::ImageSource::all() {
            let label = |key: &str| {
                let line = source
                    .text("Dockerfile")
                    .ok()
                    .and_then(|text| text.lines().find_map(|line| line.split_once(&format!("{key}="))).map(|(_, rest)| rest.to_owned()));
                line.map_or_else(
                    || "not stated".into(),
                    |rest| rest.trim_matches(['"', ' ', '\\']).split('"').next().unwrap_or_default().to_owned(),
                )
            };
            let replaced = replacements.get(&source.name).map(|reference| format!("  replaced by {reference}")).unwrap_or_default();
            out!(
                "{:<18} {:<14} {}{replaced}",
                source.name,
                label("org.opencontainers.image.version"),
                label("org.opencontainers.image.licenses")
            );
        }
        out!("\n`dora images --build` builds what is missing and asks each image what it can do.");
        return Ok(ExitCode::SUCCESS);
    }
    let engine = Engine::connect().await?;
    let progress = Arc::new(Progress::new());
    let builds = Arc::clone(&progress);
    let catalog = engine.ensure_images(&[], &replacements, Arc::new(move |event| builds.build(event))).await?;
    let run = RunId::generate();
    let reaper = Reaper::start(&run).map_err(|source| CliError::File { what: "start the reaper of", path: run.as_str().into(), source })?;
    for image in catalog.iter() {
        let replaced = if image.replaced { " (replaced)" } else { "" };
        out!("{:<18} {:<14} {:<28} {}{replaced}", image.name, image.version, image.licence, image.reference);
        if let Ok(script) = assets::text(&format!("images/{}/capabilities.sh", image.name)) {
            for line in engine.ask_image(&run, &image.reference, script).await?.lines() {
                out!("{:<18}   {line}", "");
            }
        }
    }
    let _ = tokio::task::spawn_blocking(move || reaper.reap()).await;
    Ok(ExitCode::SUCCESS)
}
