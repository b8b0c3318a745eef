//! `dora fault list|inject|heal`: faults by hand, on a platform that `up` left running.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant},
};

use clap::{Args, Subcommand};
use dora_harness::{
    engine::{Engine, RunId, RunKind, reaper::Reaper},
    fault::{Aim, Details, Fault, Injected, Kind, Order, Signal, Ways, inject},
    topology::{Ground, GroundOptions, Node, Profile},
};

use super::{RUNS, error::CliError, platform};

/// A fault shows within this time, or it did not happen.
const CONFIRM_LIMIT: Duration = Duration::from_secs(30);
/// A restarted JVM takes its time.
const MENDED_LIMIT: Duration = Duration::from_secs(90);
/// Other nodes that a probe asks at most, besides those that are named.
const WITNESSES_MAX: usize = 3;

#[derive(Debug, Subcommand)]
pub enum FaultCommand {
    /// Show the kinds, which of them this machine can do, and what is injected at this moment
    List {
        /// The run, as `up` printed it; the only one that is there without it
        #[arg(long)]
        run: Option<String>,
    },
    /// Inject a fault, see it by a probe of its own, heal it on Ctrl-C or after a time
    Inject(Box<InjectArgs>),
    /// Heal what `inject` left: one fault, or all
    Heal {
        /// The fault, as `inject` printed it
        #[arg(required_unless_present = "all")]
        id: Option<String>,
        /// All of the run
        #[arg(long, conflicts_with = "id")]
        all: bool,
        /// The run, as `up` printed it; the only one that is there without it
        #[arg(long)]
        run: Option<String>,
    },
}

#[derive(Debug, Args)]
pub struct InjectArgs {
    /// The kind, see `dora fault list`
    #[arg(value_parser = clap::value_parser!(Kind))]
    kind: Kind,
    /// A node's name, `role:ROLE`, `role:ROLE@CLUSTER`, or `link:NODE-NODE` for a partition of two
    #[arg(long, value_name = "AIM", value_parser = clap::value_parser!(Aim))]
    node: Aim,
    /// The run, as `up` printed it; the only one that is there without it
    #[arg(long)]
    run: Option<String>,
    /// Heal after this time, such as 60s or 5m; on Ctrl-C without it
    #[arg(long = "for", value_name = "TIME", value_parser = duration)]
    duration: Option<Duration>,
    /// Leave it for `dora fault heal`
    #[arg(long, conflicts_with = "duration")]
    detach: bool,
    /// The other nodes that it concerns
    #[arg(long, value_name = "NODES", value_delimiter = ',')]
    peers: Vec<String>,
    /// The node's port that matters; its client port without it
    #[arg(long)]
    port: Option<u16>,
    /// Clients lose the node, too
    #[arg(long)]
    clients: bool,
    /// Which way is cut: both, deaf (the node hears nothing), mute (it is not heard)
    #[arg(long, default_value = "both", value_parser = clap::value_parser!(Ways))]
    cut: Ways,
    /// KILL, TERM, INT, QUIT, ABRT, SEGV or STOP
    #[arg(long, default_value = "KILL", value_parser = clap::value_parser!(Signal))]
    signal: Signal,
    /// A part of the process's command line, such as `patroni /dora`
    #[arg(long, value_name = "TEXT")]
    process: Option<String>,
    /// From SIGTERM to SIGKILL
    #[arg(long, default_value = "10s", value_parser = duration)]
    grace: Duration,
    /// How much longer it takes
    #[arg(long, default_value = "300ms", value_parser = duration)]
    delay: Duration,
    /// How much the delay varies
    #[arg(long, default_value = "0ms", value_parser = duration)]
    jitter: Duration,
    /// Which share is lost, from 0 to 1
    #[arg(long, default_value_t = 0.3)]
    share: f64,
    /// Kilobits a second
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u64).range(8..))]
    kbit: u64,
    /// Processors
    #[arg(long, default_value_t = 0.1)]
    cpus: f64,
    /// What is left, in KiB
    #[arg(long, value_name = "KIB", default_value_t = 1024)]
    leave: u64,
    /// How far the clock is set apart, in seconds
    #[arg(long, default_value_t = 300, allow_negative_numbers = true)]
    skew: i64,
}

/// `60s`, `500ms`, `5m`.
fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|character: char| character.is_ascii_alphabetic());
    let number: u64 = digits.parse().map_err(|_| "write a time such as 500ms, 60s or 5m".to_owned())?;
    match &text[digits.len()..] {
        "ms" => Ok(Duration::from_millis(number)),
        "s" => Ok(Duration::from_secs(number)),
        "m" => Ok(Duration::from_secs(number * 60)),
        _ => Err("write a time such as 500ms, 60s or 5m".into()),
    }
}

/// Carries a subcommand out.
pub async fn fault(command: FaultCommand) -> Result<ExitCode, CliError> {
    let engine = Engine::connect().await?;
    match command {
        FaultCommand::List { run } => list(&engine, run).await,
        FaultCommand::Inject(args) => by_hand(&engine, *args).await,
        FaultCommand::Heal { id, run, all: _ } => heal(&engine, run, id.as_deref()).await,
    }
}

async fn list(engine: &Engine, run: Option<String>) -> Result<ExitCode, CliError> {
    let possible = possible(engine).await?;
    for (kind, outcome) in &possible {
        match outcome {
            Ok(()) => out!("{:<17} {}", kind.name(), kind.summary()),
            Err(why) => out!("{:<17} not possible here: {}", kind.name(), why.replace('\n', " ")),
        }
    }
    // Without a platform there is nothing injected.
    let Ok(run) = platform::find(engine, run).await else { return Ok(ExitCode::SUCCESS) };
    let orders = Orders::of(&run).all()?;
    out!("\n{} injected into run {run}", orders.len());
    for order in orders {
        out!("{}  {}", order.id, order.fault(engine)?.target());
    }
    Ok(ExitCode::SUCCESS)
}

/// Tries every kind out in a pod that is there for that alone.
async fn possible(engine: &Engine) -> Result<Vec<(Kind, Result<(), String>)>, CliError> {
    let images = engine.ensure_images(&["base"], &BTreeMap::new(), Arc::new(|_| {})).await?;
    let run = RunId::generate();
    let reaper = Reaper::start(&run).map_err(|source| CliError::File { what: "start the reaper of", path: run.as_str().into(), source })?;
    let options = GroundOptions { run, kind: RunKind::Bound, profile: Profile::Development, images };
    let ground = Ground::lay(engine.clone(), options).await?;
    let pod = ground.bare_pod("trial").await?;
    let mut outcomes = Vec::new();
    for kind in Kind::ALL {
        outcomes.push((kind, kind.available(&pod).await));
    }
    engine.remove_run(ground.run()).await?;
    reaper.disarm();
    Ok(outcomes)
}

async fn by_hand(engine: &Engine, args: InjectArgs) -> Result<ExitCode, CliError> {
    let run = platform::find(engine, args.run.clone()).await?;
    let order = order(engine, &run, &args).await?;
    let fault = order.fault(engine)?;
    // Kept before it is injected: whatever happens to this process, `heal` finds it.
    let orders = Orders::of(&run);
    orders.keep(&order)?;
    out!("fault     {}\ntarget    {} {}", order.id, order.kind, fault.target());
    let injected = match inject(fault, Instant::now()).await {
        Ok(injected) => injected,
        Err(error) => {
            // It was not injected, or taken back.
            orders.forget(&order.id)?;
            return Err(error.into());
        }
    };
    let detach = args.detach;
    let (was_seen, record) = hold(injected, args.duration, detach).await?;
    if detach {
        out!("heal it with `dora fault heal {}`", order.id);
        return Ok(ExitCode::from(if was_seen { 0 } else { 3 }));
    }
    orders.forget(&order.id)?;
    let healed = record.is_some_and(|record| record);
    Ok(ExitCode::from(if was_seen && healed { 0 } else { 3 }))
}

/// Confirms a fault, holds it and heals it, and tells what was seen. Answers whether it was seen, and whether its end was.
async fn hold(injected: Injected<Box<dyn Fault>>, duration: Option<Duration>, detach: bool) -> Result<(bool, Option<bool>), CliError> {
    let ordered_ms = injected.injected_ms();
    let (healing, was_seen) = match injected.confirm(CONFIRM_LIMIT).await {
        Ok(confirmed) => {
            let record = confirmed.record();
            out!("confirmed after {:.0} ms: {}", record.confirmed_ms.unwrap_or_default() - ordered_ms, record.confirmed_by);
            if detach {
                return Ok((true, None));
            }
            wait(duration).await;
            (confirmed.heal().await?, true)
        }
        Err(unconfirmed) => {
            out!("NOT confirmed, it is healed: {} ({})", unconfirmed.record().confirmed_by, unconfirmed.last_seen());
            (unconfirmed.heal().await?, false)
        }
    };
    let record = healing.confirm(MENDED_LIMIT).await;
    if let Some(at) = record.heal_confirmed_ms {
        out!("healed after {:.0} ms: {}", at - record.healed_ms.unwrap_or_default(), record.heal_confirmed_by);
    } else {
        out!("its end was NOT seen within {:.0} s: {}", MENDED_LIMIT.as_secs_f64(), record.heal_confirmed_by);
    }
    Ok((was_seen, Some(record.heal_confirmed_ms.is_some())))
}

async fn wait(duration: Option<Duration>) {
    let end = async {
        match duration {
            Some(duration) => tokio::time::sleep(duration).await,
            None => std::future::pending().await,
        }
    };
    if let Some(duration) = duration {
        out!("lasts {:.0} s; Ctrl-C heals it earlier", duration.as_secs_f64());
    } else {
        out!("Ctrl-C heals it");
    }
    tokio::select! {
        () = end => {}
        _ = tokio::signal::ctrl_c() => out!(),
    }
}

/// Aims at the platform as it is now.
async fn order(engine: &Engine, run: &RunId, args: &InjectArgs) -> Result<Order, CliError> {
    let clusters = platform::load(engine, run).await?.clusters().await;
    let mut aimed = args.node.resolve(&clusters).await.map_err(|error| CliError::Usage(error.to_string()))?;
    let all: Vec<Node> = clusters.iter().flat_map(|cluster| cluster.nodes()).collect();
    let mut peers = Vec::new();
    for name in &args.peers {
        let aim = Aim::Node(name.clone());
        peers.extend(aim.resolve(&clusters).await.map_err(|error| CliError::Usage(error.to_string()))?);
    }
    if matches!(args.node, Aim::Link(..)) {
        peers.extend(aimed.split_off(1));
    }
    let [node] = aimed.as_slice() else {
        let names: Vec<&str> = aimed.iter().map(Node::name).collect();
        return Err(CliError::Usage(format!("{} is several nodes, name one: {}", args.node, names.join(", "))));
    };
    // Some probes need somebody to send to: the node's own cluster first.
    if peers.is_empty() && matches!(args.kind, Kind::Isolation | Kind::Loss | Kind::Bandwidth | Kind::NameLoss) {
        let mut others: Vec<Node> = all.into_iter().filter(|other| other.name() != node.name()).collect();
        others.sort_by_key(|other| other.cluster() != node.cluster());
        peers = others.into_iter().take(WITNESSES_MAX).collect();
    }
    let port = match args.port {
        Some(port) => port,
        None => {
            client_port(node).ok_or_else(|| CliError::Usage(format!("the port of {} is not known, give it with --port", node.name())))?
        }
    };
    let milliseconds = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    let details = Details {
        port,
        signal: args.signal,
        process: args.process.clone(),
        grace_ms: milliseconds(args.grace),
        delay_ms: milliseconds(args.delay),
        jitter_ms: milliseconds(args.jitter),
        share: args.share,
        kbit_per_s: args.kbit,
        cpus: args.cpus,
        leave_bytes: args.leave * 1024,
        skew_s: args.skew,
        ways: args.cut,
        clients: args.clients,
    };
    Ok(Order::new(args.kind, node, &peers, details))
}

/// The port that a node's clients use.
fn client_port(node: &Node) -> Option<u16> {
    use dora_harness::database::{influxdb, mongodb, neo4j, postgres, redis};
    Some(match node.image() {
        "postgres" => postgres::SERVER_PORT,
        "pgbouncer" => postgres::POOLER_PORT,
        "etcd" => 2379,
        "mongodb" => mongodb::PORT,
        "influxdb" | "influxdb-cluster" => influxdb::PORT,
        "neo4j-cluster" | "neo4j-community" => neo4j::BOLT,
        "redis" if node.role().to_lowercase().contains("sentinel") => redis::SENTINEL_PORT,
        "redis" => redis::PORT,
        "openbao" => 8200,
        _ => return None,
    })
}

async fn heal(engine: &Engine, run: Option<String>, id: Option<&str>) -> Result<ExitCode, CliError> {
    let run = platform::find(engine, run).await?;
    let orders = Orders::of(&run);
    let all = orders.all()?;
    let chosen: Vec<&Order> = all.iter().filter(|order| id.is_none_or(|id| order.id == id)).collect();
    if let (Some(id), []) = (id, chosen.as_slice()) {
        return Err(CliError::Usage(format!("no fault {id} is injected into run {run}; `dora fault list` shows them")));
    }
    let mut all_mended = true;
    for order in chosen {
        let fault = order.fault(engine)?;
        fault.heal().await?;
        let mended =
            dora_harness::patience::within("the fault's end", MENDED_LIMIT, Duration::from_millis(200), || fault.is_mended()).await;
        match &mended {
            Ok(()) => out!("healed    {} {}: {}", order.id, fault.target(), fault.healed_by()),
            Err(error) => out!("healed    {} {}, but its end was NOT seen: {}", order.id, fault.target(), error.last),
        }
        all_mended &= mended.is_ok();
        orders.forget(&order.id)?;
    }
    out!("{} healed", all.len().min(if id.is_some() { 1 } else { usize::MAX }));
    Ok(ExitCode::from(if all_mended { 0 } else { 3 }))
}

/// The faults that are injected into a platform, one file each in its state directory.
struct Orders {
    directory: PathBuf,
}

impl Orders {
    fn of(run: &RunId) -> Self {
        Self { directory: Path::new(RUNS).join(run.as_str()).join("faults") }
    }

    fn path(&self, id: &str) -> PathBuf {
        self.directory.join(format!("{id}.json"))
    }

    fn keep(&self, order: &Order) -> Result<(), CliError> {
        let path = self.path(&order.id);
        let failed = |source| CliError::File { what: "write", path: path.clone(), source };
        std::fs::create_dir_all(&self.directory).map_err(failed)?;
        let text = serde_json::to_vec_pretty(order).map_err(std::io::Error::from).map_err(failed)?;
        std::fs::write(&path, text).map_err(failed)
    }

    fn forget(&self, id: &str) -> Result<(), CliError> {
        let path = self.path(id);
        std::fs::remove_file(&path).map_err(|source| CliError::File { what: "remove", path, source })
    }

    /// All of them, by name.
    fn all(&self) -> Result<Vec<Order>, CliError> {
        let Ok(entries) = std::fs::read_dir(&self.directory) else { return Ok(Vec::new()) };
        let mut orders = Vec::new();
        for entry in entries.flatten() {
            let path = entry.path();
            let failed = |source| CliError::File { what: "read", path: path.clone(), source };
            let text = std::fs::read(&path).map_err(failed)?;
            orders.push(serde_json::from_slice(&text).map_err(std::io::Error::from).map_err(failed)?);
        }
        orders.sort_by(|left: &Order, right: &Order| left.id.cmp(&right.id));
        Ok(orders)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_with_their_unit() {
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("5m"), Ok(Duration::from_secs(300)));
        for text in ["60", "s", "1h", "-3s"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }
}
