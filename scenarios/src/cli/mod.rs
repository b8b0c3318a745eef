//! The command line: what it accepts, and what its exit codes mean.

/// A line on standard output. A reader that has gone (`dora list | head`) is no error: the command's exit code stays its own.
macro_rules! out {
    ($($words:tt)*) => {{
        use std::io::Write as _;
        let _ = writeln!(std::io::stdout(), $($words)*);
    }};
}

mod check;
mod config;
mod conform;
mod equip;
mod error;
mod fault;
mod guardian;
mod images;
mod orders;
mod platform;
mod policy;
mod progress;
mod prove;
mod report;
mod run;

use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use dora_fixtures::dataset::Size;
use dora_harness::{
    check::{Level, Model},
    engine::{RunId, reaper::Reaper},
    topology::{Member, Profile},
};
use dora_scenarios::runner::Part;

pub use self::guardian::become_guardian_if_asked;
use self::{config::Config, error::CliError};

/// Where runs leave their bundles, below the working directory.
const RUNS: &str = "target/dora";

/// Most scenarios at the same time.
const JOBS_MAX: u16 = 64;
/// The longest sustained operation: a day.
const SUSTAIN_S_MAX: u64 = 86_400;

const AFTER: &str = "Exit codes: 0 nothing that was tried failed (for `health`: every node has its role; for `prove`: every defect was noticed) · 1 a scenario is not satisfied, or a defect was not noticed · 2 wrong usage · 3 could not run, or could not decide · 130 interrupted. A clause that nothing was tried for stays `not evidenced` and changes no code: the summary counts them.";

const CHECK_AFTER: &str = "Exit codes: 0 the history is one that the model allows · 1 it is not · 2 wrong usage, or an unreadable history · 4 it could not be decided";

/// Shows with evidence that a five-database platform survives failures, keeps data encrypted and can be restored.
#[derive(Debug, Parser)]
#[command(name = "dora", version, after_help = AFTER, max_term_width = 100)]
struct Cli {
    /// Configuration file (default: dora.toml, where there is one)
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<std::path::PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start the platform, run the scenarios, write a report
    Conform(ConformArgs),
    /// Run scenarios under planted defects: each defect has to be noticed
    Prove(ProveArgs),
    /// List the scenarios with their clauses and sabotages
    List {
        /// A scenario, the beginning of an id or of a part of one (ha, redis, ha/redis), a clause, or `core`; all scenarios without one
        filters: Vec<String>,
    },
    /// Start the platform and leave it running
    Up(UpArgs),
    /// Ask every node of a platform that `up` left running for its role
    Health(RunArgs),
    /// Remove a platform that `up` left running
    Down(RunArgs),
    /// Break a platform that `up` left running, on purpose and with proof
    Fault {
        #[command(subcommand)]
        command: fault::FaultCommand,
    },
    /// Remove what dead runs left behind
    Sweep {
        /// Also remove platforms that `up` left running
        #[arg(long)]
        all: bool,
    },
    /// List the images: versions, licences, what each can do
    Images(ImagesArgs),
    /// Check the policy of the zones, or put it in other words
    Policy {
        #[command(subcommand)]
        command: policy::PolicyCommand,
    },
    /// Decide a recorded history, ours or Jepsen's
    #[command(after_help = CHECK_AFTER)]
    Check(CheckArgs),
    /// Look at a report
    Report {
        #[command(subcommand)]
        command: report::ReportCommand,
    },
}

#[derive(Debug, Args)]
struct PlatformArgs {
    /// development, staging or production
    #[arg(long, value_parser = clap::value_parser!(Profile))]
    profile: Option<Profile>,
    /// Put an image of your own in place
    #[arg(long = "image", value_name = "NAME=REF", value_parser = config::replacement)]
    images: Vec<(String, String)>,
}

#[derive(Debug, Args)]
struct RunOptions {
    #[command(flatten)]
    platform: PlatformArgs,
    /// Work at the same time: a failover counts one, security and restores two, encryption at rest three (default: two a core, 16 at most)
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=i64::from(JOBS_MAX)))]
    jobs: Option<u16>,
    /// How long sustained operation on the survivors of a fault is shown (default: 60)
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=SUSTAIN_S_MAX))]
    sustain: Option<u64>,
    /// Who may reach what over the network (default: the built-in policy; see `dora policy`)
    #[arg(long, value_name = "FILE")]
    policy: Option<std::path::PathBuf>,
    /// Seed of the domain data
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Size of the domain data: small (some 2,000 records) or medium (some 300,000, with longer deadlines) (default: small)
    #[arg(long, value_parser = clap::value_parser!(Size))]
    size: Option<Size>,
}

#[derive(Debug, Args)]
struct ConformArgs {
    /// A scenario, the beginning of an id or of a part of one (ha, redis, ha/redis), a clause, or `core` (four pillars of five databases); all scenarios without one
    filters: Vec<String>,
    #[command(flatten)]
    options: RunOptions,
    /// Leave the platform running afterwards
    #[arg(long)]
    keep: bool,
    /// Plant this defect (see `dora list`); the scenario must turn red
    #[arg(long, value_name = "ID")]
    sabotage: Option<String>,
}

#[derive(Debug, Args)]
struct ProveArgs {
    /// A scenario, the beginning of an id or of a part of one (ha, redis, ha/redis), a clause, or `core` (four pillars of five databases); all scenarios without one
    filters: Vec<String>,
    #[command(flatten)]
    options: RunOptions,
    /// Only a part of them: 2/7, or today/7 for the one whose turn it is
    #[arg(long, default_value = "all", value_parser = clap::value_parser!(Part))]
    part: Part,
}

#[derive(Debug, Args)]
struct UpArgs {
    #[command(flatten)]
    platform: PlatformArgs,
    /// Only these parts, such as redis,postgres
    #[arg(long, value_name = "PARTS", value_delimiter = ',', value_parser = clap::value_parser!(Member))]
    only: Vec<Member>,
    /// Prepare a node for faults: disk:MIB (a data directory of that size in memory), clock, fsync, power
    #[arg(long, value_name = "NODE=WHAT,…", value_parser = equip::equipment)]
    equip: Vec<(String, dora_harness::topology::Equipment)>,
}

#[derive(Debug, Args)]
struct RunArgs {
    /// The run, as `up` printed it; the only one that is there without it
    run: Option<String>,
}

#[derive(Debug, Args)]
struct CheckArgs {
    /// JSON lines of a bundle's `histories`, Jepsen's history.edn, or its JSON
    file: std::path::PathBuf,
    #[arg(long, value_name = "NAME", value_parser = clap::value_parser!(Model), help = format!("One of {}", Model::NAMES.join(", ")))]
    model: Model,
    /// The isolation level of transactions, such as snapshot-isolation (default: serializable)
    #[arg(long, value_parser = clap::value_parser!(Level))]
    level: Option<Level>,
    /// What all accounts of a bank add up to (default: what the first read shows)
    #[arg(long, value_name = "AMOUNT")]
    total: Option<i64>,
    /// How many acknowledged additions bounded-loss may lose (default: 0)
    #[arg(long, value_name = "N")]
    lost_max: Option<u64>,
    /// How long to search
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = check::duration)]
    time_limit: std::time::Duration,
}

#[derive(Debug, Args)]
struct ImagesArgs {
    #[command(flatten)]
    platform: PlatformArgs,
    /// Build what is missing, and ask each image what it can do
    #[arg(long)]
    build: bool,
}

/// Waits until everything of the run is removed. Ctrl-C meanwhile ends this process at once, with 130: the reaper works on by itself.
async fn reap(reaper: Reaper, run: &RunId) {
    tokio::select! {
        // First, so that no Ctrl-C of that time is missed.
        biased;
        Ok(()) = tokio::signal::ctrl_c() => {
            eprintln!("what there is of run {run} is still being removed, in the background; `dora sweep` removes the rest if something stays");
            // To return would be to wait: the runtime does not end before the thread that waits for the reaper.
            std::process::exit(130);
        }
        // Waiting may take seconds and must not hold up the runtime's other work.
        () = async { drop(tokio::task::spawn_blocking(move || reaper.reap()).await) } => {}
    }
}

/// Parses, runs, and turns errors into one message and an exit code.
pub fn main() -> ExitCode {
    // clap itself ends with 2 for wrong usage.
    let cli = Cli::parse();
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::try_from_env("DORA_LOG").unwrap_or_else(|_| "off".into()))
        .with_writer(std::io::stderr)
        .init();
    let runtime = match dora_scenarios::runner::runtime() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: failed to start the runtime: {error}");
            return ExitCode::from(3);
        }
    };
    match runtime.block_on(dispatch(cli)) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(error.exit_code())
        }
    }
}

async fn dispatch(cli: Cli) -> Result<ExitCode, CliError> {
    dora_harness::patience::check()?;
    let config = Config::read(cli.config.as_deref())?;
    match cli.command {
        Command::Conform(args) => conform::conform(args, &config).await,
        Command::Prove(args) => prove::prove(args, &config).await,
        Command::List { filters } => conform::list(&filters),
        Command::Up(args) => platform::up(args, &config).await,
        Command::Health(args) => platform::health(args).await,
        Command::Down(args) => platform::down(args).await,
        Command::Fault { command } => fault::fault(command, &config).await,
        Command::Sweep { all } => platform::sweep(all).await,
        Command::Images(args) => images::images(args, &config).await,
        Command::Policy { command } => policy::policy(&command, &config),
        Command::Check(args) => check::check(&args),
        Command::Report { command } => report::report(&command),
    }
}
