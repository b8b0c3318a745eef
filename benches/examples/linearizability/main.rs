//! Checks the peer's histories with the harness's checker: `linearizability DIRECTORY keyed|whole-10|whole-50`.
//!
//! A JSON line for each history (name, verdict, milliseconds for the check alone, without reading the file) and one at the
//! end for the peak memory of the process. One thread; the counterpart is `peers/porcupine`.

mod recorded;

use std::{
    num::NonZeroUsize,
    path::{Path, PathBuf},
    process::ExitCode,
    time::{Duration, Instant},
};

use dora_harness::check::linearizability::{Model, Operation, Options, PerKey, Register, Text, Together, Verdict, check};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [directory, group] = arguments.as_slice() else {
        eprintln!("usage: linearizability DIRECTORY keyed|whole-10|whole-50");
        return ExitCode::from(2);
    };
    match run(Path::new(directory), group) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("failed to {message}");
            ExitCode::FAILURE
        }
    }
}

fn run(directory: &Path, group: &str) -> Result<(), String> {
    let kv = |name: &str| directory.join("kv").join(format!("{name}.txt"));
    match group {
        "keyed" => {
            for path in etcd_logs(&directory.join("jepsen"))? {
                let history = recorded::etcd(&path)?;
                // In one of the runs the cluster did not start.
                if !history.is_empty() {
                    report(&path, &Register::new(None), &history, None)?;
                }
            }
            for name in ["c01-bad", "c01-ok", "c10-bad", "c10-ok", "c50-bad", "c50-ok"] {
                report(&kv(name), &PerKey::new(Text), &recorded::kv(&kv(name))?, None)?;
            }
        }
        "whole-10" | "whole-50" => {
            let clients = group.trim_start_matches("whole-");
            let limit = (clients == "50").then_some(Duration::from_secs(60));
            for kind in ["bad", "ok"] {
                let path = kv(&format!("c{clients}-{kind}"));
                report(&path, &Together::new(Text), &recorded::kv(&path)?, limit)?;
            }
        }
        other => return Err(format!("find the group {other}: it is keyed, whole-10 or whole-50")),
    }
    println!("{}", serde_json::json!({ "peak_kib": peak_kib()? }));
    Ok(())
}

fn etcd_logs(directory: &Path) -> Result<Vec<PathBuf>, String> {
    let entries = std::fs::read_dir(directory).map_err(|error| format!("read {}: {error}", directory.display()))?;
    let mut logs: Vec<PathBuf> = entries.filter_map(|entry| entry.ok().map(|entry| entry.path())).collect();
    logs.sort();
    Ok(logs)
}

fn report<M: Model>(path: &Path, model: &M, history: &[Operation<M::Op>], time_limit: Option<Duration>) -> Result<(), String> {
    let options = Options { time_limit, configurations_max: 200_000_000, threads: NonZeroUsize::MIN };
    let start = Instant::now();
    let verdict = check(model, history, &options).map_err(|error| error.to_string())?;
    let ms = start.elapsed().as_secs_f64() * 1e3;
    let verdict = match verdict {
        Verdict::Linearizable { .. } => "linearizable",
        Verdict::NotLinearizable(_) => "not linearizable",
        Verdict::Unknown { .. } => "unknown",
    };
    let name = path.file_stem().unwrap_or_default().to_string_lossy();
    println!("{}", serde_json::json!({ "history": name, "verdict": verdict, "ms": ms }));
    Ok(())
}

/// The most memory this process ever had, as the kernel counts it.
fn peak_kib() -> Result<u64, String> {
    let status = std::fs::read_to_string("/proc/self/status").map_err(|error| format!("read /proc/self/status: {error}"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let peak = line.and_then(|line| line.split_whitespace().next()).and_then(|kib| kib.parse().ok());
    peak.ok_or_else(|| "find VmHWM in /proc/self/status".to_owned())
}
