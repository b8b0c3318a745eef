//! `dora fault list|inject|heal`: faults by hand, on a platform that `up` left running.

use std::{
    collections::{BTreeMap, BTreeSet},
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant},
};

use clap::{Args, Subcommand};
use dora_harness::{
    database::Cluster,
    engine::{Engine, RunId, RunKind, reaper::Reaper},
    fault::{Aim, Details, Fault, FaultError, Injected, Kind, Order, Signal, Together, Ways, inject},
    network::Policy,
    topology::{Ground, GroundOptions, Node, Profile},
};

use super::{config::Config, error::CliError, guardian, orders::Orders, platform};

/// A fault of one node shows within this time, or it did not happen; of several nodes, one is asked after the other.
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
    /// Inject a fault, see it by a probe of its own, heal it on Ctrl-C, after a time, or when this command is killed
    Inject(Box<InjectArgs>),
    /// Heal what `inject --detach` left or could not be healed: one fault, or all
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
    /// A node's name, `role:ROLE`, `role:ROLE@CLUSTER`, `cluster:NAME`, `zone:ZONE` (the nodes that stand in it; where none stands, those
    /// that it may reach), several of these with commas between them, or `link:NODE-NODE` for a partition of two
    #[arg(long = "node", value_name = "AIMS", value_delimiter = ',', required = true, value_parser = clap::value_parser!(Aim))]
    aims: Vec<Aim>,
    /// The run, as `up` printed it; the only one that is there without it
    #[arg(long)]
    run: Option<String>,
    /// Heal after this time, such as 60s or 5m; without it on Ctrl-C, or when this command is killed
    #[arg(long = "for", value_name = "TIME", value_parser = duration)]
    duration: Option<Duration>,
    /// Leave it for `dora fault heal`, once it was seen
    #[arg(long, conflicts_with = "duration")]
    detach: bool,
    /// The other nodes that it concerns; for partition and bridge the second side
    #[arg(long, value_name = "NODES", value_delimiter = ',')]
    peers: Vec<String>,
    /// For bridge: the node that both sides reach
    #[arg(long, value_name = "NODE")]
    bridge: Option<String>,
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

impl InjectArgs {
    /// What can be seen to be wrong without a platform.
    fn check(&self) -> Result<(), CliError> {
        let is_link = self.aims.iter().any(|aim| matches!(aim, Aim::Link(..)));
        let wrong = |words: &str| Err(CliError::Usage(words.to_owned()));
        if is_link && self.aims.len() > 1 {
            return wrong("a link is aimed at alone; for several nodes on each side write --node A,B --peers C,D");
        }
        match (self.kind, &self.bridge) {
            (Kind::Bridge, None) => wrong("a bridge needs the node that both sides reach: name it with --bridge"),
            (Kind::Bridge, Some(_)) if self.peers.is_empty() && !is_link => {
                wrong("a bridge needs a second side: name its nodes with --peers")
            }
            (Kind::Bridge, Some(_)) | (_, None) => Ok(()),
            (_, Some(_)) => wrong("--bridge is for the fault `bridge` only"),
        }
    }
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
pub async fn fault(command: FaultCommand, config: &Config) -> Result<ExitCode, CliError> {
    match command {
        FaultCommand::List { run } => {
            let engine = Engine::connect().await?;
            list(&engine, run).await
        }
        FaultCommand::Inject(args) => {
            // Before any engine is asked: what is wrong with the words is wrong without one.
            args.check()?;
            let policy = config.policy(None)?;
            let engine = Engine::connect().await?;
            by_hand(&engine, *args, &policy).await
        }
        FaultCommand::Heal { id, run, all: _ } => {
            let engine = Engine::connect().await?;
            heal(&engine, run, id.as_deref()).await
        }
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

async fn by_hand(engine: &Engine, args: InjectArgs, policy: &Policy) -> Result<ExitCode, CliError> {
    let run = platform::find(engine, args.run.clone()).await?;
    let orders = aim(engine, &run, &args, policy).await?;
    let faults: Vec<Box<dyn Fault>> = orders.iter().map(|order| order.fault(engine)).collect::<Result<_, _>>()?;
    let kept = Orders::of(&run);
    // Before anything is broken: where this process is killed, or fails to heal, its guardian does it.
    let guardian = guardian::post(&run, &orders)?;
    // Kept before it is injected: whatever happens to this process, its guardian and `heal` find it.
    for (order, fault) in orders.iter().zip(&faults) {
        kept.keep(order)?;
        out!("fault     {}\ntarget    {} {}", order.id, order.kind, fault.target());
    }
    let forget = || orders.iter().try_for_each(|order| kept.forget(&order.id));
    let injected = match inject(Together::new(faults).apart(), Instant::now()).await {
        Ok(injected) => injected,
        Err(error) => {
            // Refused before anything was broken: to heal could only end what somebody else broke. Of anything else a part may have come
            // true, whatever became of taking it back: its orders stay, and the guardian, which nobody dismisses, heals them.
            if matches!(error, FaultError::NotWhole { .. } | FaultError::Unsupported { .. }) {
                forget()?;
                guardian.dismiss();
            }
            return Err(error.into());
        }
    };
    let nodes = u32::try_from(orders.len()).unwrap_or(u32::MAX);
    let (was_seen, healed) = hold(injected, nodes, args.duration, args.detach).await?;
    let Some(healed) = healed else {
        guardian.dismiss();
        for order in &orders {
            out!("heal it with `dora fault heal {}`", order.id);
        }
        return Ok(ExitCode::SUCCESS);
    };
    forget()?;
    guardian.dismiss();
    Ok(ExitCode::from(if was_seen && healed { 0 } else { 3 }))
}

/// Confirms a fault, holds it and heals it, and tells what was seen. Answers whether it was seen, and whether its end was; no end where it
/// was seen and is left.
async fn hold(
    injected: Injected<Together>,
    nodes: u32,
    duration: Option<Duration>,
    detach: bool,
) -> Result<(bool, Option<bool>), CliError> {
    let (confirm_limit, mended_limit) = (CONFIRM_LIMIT * nodes, MENDED_LIMIT * nodes);
    let ordered_ms = injected.injected_ms();
    let (healing, was_seen) = match injected.confirm(confirm_limit).await {
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
    let record = healing.confirm(mended_limit).await;
    if let Some(at) = record.heal_confirmed_ms {
        out!("healed after {:.0} ms: {}", at - record.healed_ms.unwrap_or_default(), record.heal_confirmed_by);
    } else {
        out!("its end was NOT seen within {:.0} s: {}", mended_limit.as_secs_f64(), record.heal_confirmed_by);
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

/// Aims at the platform as it is now: an order for each node, and one for all where they are one side of a cut.
async fn aim(engine: &Engine, run: &RunId, args: &InjectArgs, policy: &Policy) -> Result<Vec<Order>, CliError> {
    let clusters = platform::load(engine, run).await?.clusters().await;
    let named = |name: &String| Aim::Node(name.clone());
    let mut aimed = nodes_of(&args.aims, &clusters, policy).await?;
    let mut peers = nodes_of(&args.peers.iter().map(named).collect::<Vec<_>>(), &clusters, policy).await?;
    let bridge = nodes_of(&args.bridge.iter().map(named).collect::<Vec<_>>(), &clusters, policy).await?;
    if let [Aim::Link(..)] = args.aims.as_slice() {
        peers.extend(aimed.split_off(1));
    }
    let is_cut = matches!(args.kind, Kind::Isolation | Kind::Partition | Kind::Bridge);
    if is_cut && let Some(name) = repeated(aimed.iter().chain(&peers).chain(&bridge)) {
        return Err(CliError::Usage(format!("{name} cannot be on both sides of a cut; aim at it, or name it as a peer or bridge")));
    }
    if matches!(args.kind, Kind::Partition | Kind::Bridge) {
        let Some((node, beside)) = aimed.split_first() else { return Ok(Vec::new()) };
        let beside: Vec<(Node, u16)> =
            beside.iter().map(|node| Ok((node.clone(), port_of(node, args)?))).collect::<Result<_, CliError>>()?;
        let order = Order::new(args.kind, node, &peers, details(args, port_of(node, args)?)).beside(&beside);
        return Ok(vec![match bridge.first() {
            Some(bridge) => order.through(bridge),
            None => order,
        }]);
    }
    let all: Vec<Node> = clusters.iter().flat_map(|cluster| cluster.nodes()).collect();
    let mut orders = Vec::new();
    for node in &aimed {
        let peers = if peers.is_empty() { witnesses(args.kind, node, &aimed, &all)? } else { others(node, &peers)? };
        orders.push(Order::new(args.kind, node, &peers, details(args, port_of(node, args)?)));
    }
    Ok(orders)
}

/// What the aims mean, each node once.
async fn nodes_of(aims: &[Aim], clusters: &[Arc<dyn Cluster>], policy: &Policy) -> Result<Vec<Node>, CliError> {
    let mut nodes: Vec<Node> = Vec::new();
    for aim in aims {
        for node in aim.resolve(clusters, policy).await.map_err(|error| CliError::Usage(error.to_string()))? {
            if nodes.iter().all(|known| known.name() != node.name()) {
                nodes.push(node);
            }
        }
    }
    Ok(nodes)
}

/// The first name that is there twice.
fn repeated<'a>(nodes: impl Iterator<Item = &'a Node>) -> Option<&'a str> {
    let mut seen = BTreeSet::new();
    nodes.map(Node::name).find(|name| !seen.insert(*name))
}

/// The peers that were named, without the node itself.
fn others(node: &Node, peers: &[Node]) -> Result<Vec<Node>, CliError> {
    let others: Vec<Node> = peers.iter().filter(|peer| peer.name() != node.name()).cloned().collect();
    if others.is_empty() { Err(CliError::Usage(format!("{} cannot be its own only peer; name another", node.name()))) } else { Ok(others) }
}

/// Where a probe needs somebody to send to: nodes that are not hit as well, those of the node's own cluster first.
fn witnesses(kind: Kind, node: &Node, aimed: &[Node], all: &[Node]) -> Result<Vec<Node>, CliError> {
    if !matches!(kind, Kind::Isolation | Kind::Loss | Kind::Bandwidth | Kind::NameLoss) {
        return Ok(Vec::new());
    }
    let is_hit = |other: &&Node| aimed.iter().any(|hit| hit.name() == other.name());
    let mut others: Vec<Node> = all.iter().filter(|other| !is_hit(other)).cloned().collect();
    if others.is_empty() {
        return Err(CliError::Usage(format!("every node is aimed at, so none is left by which the {kind} of {} is seen", node.name())));
    }
    others.sort_by_key(|other| other.cluster() != node.cluster());
    others.truncate(WITNESSES_MAX);
    Ok(others)
}

fn port_of(node: &Node, args: &InjectArgs) -> Result<u16, CliError> {
    let unknown = || CliError::Usage(format!("the port of {} is not known, give it with --port", node.name()));
    args.port.or_else(|| client_port(node)).ok_or_else(unknown)
}

fn details(args: &InjectArgs, port: u16) -> Details {
    let milliseconds = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    Details {
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
    }
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
    // All are mended before one is asked: a database of which several nodes were hit may need them all to serve again.
    let mut faults = Vec::new();
    for order in chosen {
        let fault = order.fault(engine)?;
        let outcome = fault.heal().await;
        faults.push((order, fault, outcome));
    }
    let (mut all_mended, mut failed) = (true, None);
    for (order, fault, outcome) in faults {
        if let Err(error) = outcome {
            // It stays kept, to be healed again.
            failed.get_or_insert(error);
            continue;
        }
        let mended =
            dora_harness::patience::within("the fault's end", MENDED_LIMIT, Duration::from_millis(200), || fault.is_mended()).await;
        match &mended {
            Ok(()) => out!("healed    {} {}: {}", order.id, fault.target(), fault.healed_by()),
            Err(error) => out!("healed    {} {}, but its end was NOT seen: {}", order.id, fault.target(), error.last),
        }
        all_mended &= mended.is_ok();
        orders.forget(&order.id)?;
    }
    if let Some(error) = failed {
        return Err(error.into());
    }
    out!("{} healed", all.len().min(if id.is_some() { 1 } else { usize::MAX }));
    Ok(ExitCode::from(if all_mended { 0 } else { 3 }))
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
