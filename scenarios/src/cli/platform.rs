//! `dora up`, `health`, `down`, `sweep`.

use std::{collections::BTreeMap, io::Write as _, os::unix::fs::OpenOptionsExt as _, path::Path, process::ExitCode, sync::Arc};

use dora_harness::{
    engine::{Engine, RunId, RunKind, reaper::Reaper},
    platform::Platform,
    topology::{Equipment, Ground, GroundOptions, Member, Node, TOOLBOX},
};

use super::{RUNS, RunArgs, UpArgs, config::Config, error::CliError, progress::Progress, reap};

/// What `health` needs, passwords included; readable by its owner only.
const SAVED: &str = "platform.json";
/// The authority's certificate.
const CA: &str = "ca.crt";

/// Starts the platform and leaves it running.
pub async fn up(args: UpArgs, config: &Config) -> Result<ExitCode, CliError> {
    let profile = config.profile(&args.platform)?;
    let replacements = config.replacements(&args.platform)?;
    let engine = Engine::connect().await?;
    let members = if args.only.is_empty() { Member::ALL.to_vec() } else { args.only };
    let run = RunId::generate();
    let progress = Arc::new(Progress::new());
    let builds = Arc::clone(&progress);
    let platform = Platform::default();
    let mut names = platform.images(&members, profile)?;
    if args.equip.iter().any(|(_, equipment)| equipment.needs_toolbox()) {
        names.push(TOOLBOX);
    }
    let images = engine.ensure_images(&names, &replacements, Arc::new(move |event| builds.build(event))).await?;
    // Until everything stands, the run is bound to this process.
    let reaper = Reaper::start(&run).map_err(|source| CliError::File { what: "start the reaper of", path: run.as_str().into(), source })?;
    progress.begin("platform", "starts");
    let dir = Path::new(RUNS).join(run.as_str());
    let started = async {
        let ground = Ground::lay(engine, GroundOptions { run: run.clone(), kind: RunKind::Kept, profile, images }).await?;
        for (node, equipment) in &args.equip {
            ground.equip(node, equipment.clone());
        }
        platform.start(&ground, &members).await?;
        are_there(&args.equip, &ground)?;
        save(&ground, &platform, &dir).await?;
        Ok::<_, CliError>(ground)
    };
    let outcome = tokio::select! {
        outcome = started => Some(outcome),
        _ = tokio::signal::ctrl_c() => None,
    };
    let ground = match outcome {
        Some(Ok(ground)) => ground,
        failed => {
            reap(reaper, &run).await;
            return failed.map_or(Ok(ExitCode::from(130)), |outcome| outcome.map(|_| ExitCode::SUCCESS));
        }
    };
    progress.end("platform", &format!("every node has its role after {:.1} s", ground.boot().now_ms() / 1e3));
    let ca = std::path::absolute(dir.join(CA)).unwrap_or_else(|_| dir.join(CA));
    out!("run       {run}\nCA        {}", ca.display());
    for cluster in platform.clusters().await {
        for connection in cluster.connections() {
            let fill = |text: &str| text.replace("{ca}", &ca.display().to_string());
            out!("\n{}\n  {}\n  {}", connection.name, fill(&connection.url), fill(&connection.command));
        }
    }
    for exception in ground.exceptions() {
        out!("\nexception {} ({}): {} – {}", exception.place, exception.clause, exception.what, exception.why);
    }
    out!("\nremove it with `dora down {run}`");
    // Last of all: whoever saw that line may rely on the platform, and before it nothing stays.
    reaper.disarm();
    Ok(ExitCode::SUCCESS)
}

/// Whether each node that was to be equipped is there: the topology decides the names.
fn are_there(equipped: &[(String, Equipment)], ground: &Ground) -> Result<(), CliError> {
    let nodes = ground.nodes();
    let known: Vec<&str> = nodes.iter().map(Node::name).collect();
    match equipped.iter().find(|(node, _)| !known.contains(&node.as_str())) {
        None => Ok(()),
        Some((node, _)) => {
            Err(CliError::Usage(format!("there is no node called `{node}` to be equipped; known are: {}", known.join(", "))))
        }
    }
}

/// Writes what another process needs to use the platform.
pub async fn save(ground: &Ground, platform: &Platform, dir: &Path) -> Result<(), CliError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| CliError::File { what: "write", path, source }
    };
    std::fs::create_dir_all(dir).map_err(failed(dir))?;
    let ca = dir.join(CA);
    std::fs::write(&ca, ground.authority().certificate()).map_err(failed(&ca))?;
    let path = dir.join(SAVED);
    let text = serde_json::to_vec_pretty(&platform.save().await).map_err(std::io::Error::from).map_err(failed(&path))?;
    let mut file = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&path).map_err(failed(&path))?;
    file.write_all(&text).map_err(failed(&path))
}

/// Handles of what `up` saved.
pub async fn load(engine: &Engine, run: &RunId) -> Result<Platform, CliError> {
    let path = Path::new(RUNS).join(run.as_str()).join(SAVED);
    let text = std::fs::read(&path).map_err(|source| CliError::File {
        what: "read (call it from the folder where `dora up` ran)",
        path: path.clone(),
        source,
    })?;
    let saved: BTreeMap<String, serde_json::Value> =
        serde_json::from_slice(&text).map_err(|error| CliError::Config { path: path.clone(), reason: error.to_string() })?;
    Ok(Platform::load(engine, saved).await?)
}

/// Asks every node for its role.
pub async fn health(args: RunArgs) -> Result<ExitCode, CliError> {
    let engine = Engine::connect().await?;
    let run = find(&engine, args.run).await?;
    let platform = load(&engine, &run).await?;
    let health = platform.health().await;
    for node in &health {
        let mark = if node.healthy { "ok " } else { "BAD" };
        out!("{mark} {:<12} {:<28} {}", node.node, node.expected, node.observed);
    }
    let healthy = !health.is_empty() && health.iter().all(|node| node.healthy);
    out!("{}", if healthy { "every node has its role" } else { "not every node has its role" });
    Ok(if healthy { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

/// Removes a platform that `up` left running.
pub async fn down(args: RunArgs) -> Result<ExitCode, CliError> {
    let engine = Engine::connect().await?;
    let run = find(&engine, args.run).await?;
    let count = engine.remove_run(&run).await?;
    for file in [SAVED, CA] {
        // A platform of another folder has no files here.
        let _ = std::fs::remove_file(Path::new(RUNS).join(run.as_str()).join(file));
    }
    // With their target, faults are gone, too.
    let _ = std::fs::remove_dir_all(Path::new(RUNS).join(run.as_str()).join("faults"));
    out!("removed {count} objects of run {run}");
    Ok(ExitCode::SUCCESS)
}

/// The run that was named, or the only one that `up` left running.
pub async fn find(engine: &Engine, given: Option<String>) -> Result<RunId, CliError> {
    let runs = engine.runs().await?;
    let name = if let Some(name) = given {
        name
    } else {
        let kept: Vec<&str> = runs.iter().filter(|(_, found)| found.kept).map(|(run, _)| run.as_str()).collect();
        match kept.as_slice() {
            [only] => (*only).to_owned(),
            [] => return Err(CliError::Usage("no platform is running; start one with `dora up`".into())),
            several => return Err(CliError::Usage(format!("several platforms are running, name one: {}", several.join(", ")))),
        }
    };
    let run: RunId = name.parse().map_err(|error: dora_harness::engine::RunIdError| CliError::Usage(error.to_string()))?;
    if runs.contains_key(run.as_str()) {
        Ok(run)
    } else {
        Err(CliError::Usage(format!("there is nothing of a run called {run} on this engine")))
    }
}

/// Removes what dead runs left.
pub async fn sweep(all: bool) -> Result<ExitCode, CliError> {
    let engine = Engine::connect().await?;
    let alive = living_reapers();
    let mut count = 0;
    for (name, found) in engine.runs().await? {
        if alive.contains(&name) {
            out!("run {name} is alive: left alone");
        } else if found.kept && !all {
            out!("run {name} was started by `dora up`: left alone (`dora down {name}`, or `dora sweep --all`)");
        } else if let Ok(run) = name.parse::<RunId>() {
            count += engine.remove_run(&run).await?;
            out!("run {name}: removed");
        }
    }
    out!("removed {count} objects");
    Ok(ExitCode::SUCCESS)
}

/// Runs whose reaper lives on this machine: they clean up themselves.
fn living_reapers() -> Vec<String> {
    let Ok(processes) = std::fs::read_dir("/proc") else { return Vec::new() };
    processes
        .flatten()
        .filter_map(|process| std::fs::read(process.path().join("cmdline")).ok())
        .filter_map(|line| {
            let words: Vec<&[u8]> = line.split(|byte| *byte == 0).collect();
            let at = words.iter().position(|word| *word == dora_harness::engine::reaper::REAPER_ARGUMENT.as_bytes())?;
            words.get(at + 1).map(|run| String::from_utf8_lossy(run).into_owned())
        })
        .collect()
}
