//! Open-loop load with latency from the scheduled start.

use std::time::Duration;

use dora_harness::{
    fault::SlowLink,
    measure::{LatencyHistogram, Sample},
    workload::{LoadPlan, open_loop},
};
use dora_reports::evidence::{Finding, NamedLimit};

use super::{LoadTarget, Slo};
use crate::{ScenarioError, Trial};

/// Connections; each has one query under way at most.
const CLIENTS: usize = 16;
/// Load that is sent and not counted: caches, plans and connections become warm, and the code of a virtual machine that a scenario before this
/// one had started anew.
const WARM_UP: Duration = Duration::from_secs(8);
/// Load that is counted.
const MEASURE: Duration = Duration::from_secs(30);
/// The counted time is cut into so many rounds; the median round is judged, so that one stall or two of a shared machine are
/// reported (whole and worst figures stand beside it) and do not decide.
const ROUNDS: usize = 5;
/// A query without an answer by then failed.
const QUERY_LIMIT: Duration = Duration::from_secs(5);
/// What the sabotage adds in each direction.
const SLOW_LINK: Duration = Duration::from_millis(5);
/// The sabotage that every database's scenario has.
pub const SLOW_LINK_ID: &str = "slow-link";

/// The scenario: see the module.
///
/// # Errors
/// [`ScenarioError`] when it cannot be carried out; what it finds is in the trial.
pub async fn open_load(trial: &Trial, target: &dyn LoadTarget) -> Result<(), ScenarioError> {
    let Slo { rate_per_s, p50_ms, p99_ms, failed_max, achieved_min } = Slo::of(&trial.promise)?;
    trial.promise_limits(
        format!("at {rate_per_s} queries per second, latency from the scheduled start stays within {p50_ms} ms (median) and {p99_ms} ms (99th percentile), in the median of {ROUNDS} rounds"),
        vec![
            NamedLimit::at_most("latency_p50", p50_ms, "ms"),
            NamedLimit::at_most("latency_p99", p99_ms, "ms"),
            NamedLimit::at_most("failed_ratio", failed_max, "ratio"),
            NamedLimit::at_least("achieved_ratio", achieved_min, "ratio"),
        ],
    );
    target.load(trial.dataset()).await?;
    let entry = target.entry().await?;
    let link = if trial.is_sabotaged_by(SLOW_LINK_ID) {
        let link = SlowLink::open(entry, SLOW_LINK).await?;
        let echo = link.confirm().await?;
        trial.note("sabotage", format!("the link to the entry is slow: an echo takes {:.1} ms", echo.as_secs_f64() * 1e3));
        Some(link)
    } else {
        None
    };
    let address = link.as_ref().map_or(entry, SlowLink::address);
    let clients = target.clients(address, CLIENTS, trial.dataset()).await?;
    trial.note("phase", format!("{CLIENTS} connections, {rate_per_s} queries per second: {}", target.mix()));
    let plan = LoadPlan { rate_per_s, warm_up: WARM_UP, measure: MEASURE, limit: QUERY_LIMIT };
    let result = open_loop(clients, plan, trial.origin()).await;
    drop(link);
    trial.draw(&result.samples);
    let total = (result.ok + result.failed).max(1) as f64;
    let rounds = in_rounds(&result.samples);
    let p50 = trial.measure("latency_p50", median_of(&rounds, 0.5), "ms");
    let p99 = trial.measure("latency_p99", median_of(&rounds, 0.99), "ms");
    trial.measure("latency_p50_whole", result.latency.quantile_ms(0.5), "ms");
    trial.measure("latency_p99_whole", result.latency.quantile_ms(0.99), "ms");
    trial.measure("latency_p999", result.latency.quantile_ms(0.999), "ms");
    trial.measure("latency_max", result.latency.max_ms(), "ms");
    trial.measure("throughput", Some(result.throughput_per_s), "op/s");
    let failed = trial.measure("failed_ratio", Some(result.failed as f64 / total), "ratio");
    let achieved = trial.measure("achieved_ratio", Some((result.throughput_per_s / rate_per_s).min(1.0)), "ratio");
    if p50.met == Some(false) {
        trial.find(Finding::violation(
            "latency-p50-exceeded",
            format!("the median latency is {:.1} ms, above {p50_ms} ms", p50.value.unwrap_or_default()),
        ));
    }
    if p99.met == Some(false) {
        trial.find(Finding::violation(
            "latency-p99-exceeded",
            format!("the 99th percentile is {:.1} ms, above {p99_ms} ms", p99.value.unwrap_or_default()),
        ));
    }
    if failed.met == Some(false) {
        let first = result.first_error.unwrap_or_default();
        trial.find(
            Finding::violation("queries-failed", format!("{} of {total} queries failed or gave a wrong answer", result.failed))
                .with_witness(first),
        );
    }
    if achieved.met == Some(false) {
        trial.find(Finding::violation(
            "rate-not-achieved",
            format!("only {:.1} of {rate_per_s} queries per second were answered", result.throughput_per_s),
        ));
    }
    Ok(())
}

/// Cuts samples into rounds of equal length in time.
fn in_rounds(samples: &[Sample]) -> Vec<LatencyHistogram> {
    let mut rounds = vec![LatencyHistogram::new(); ROUNDS];
    if let (Some(first), Some(last)) = (samples.first(), samples.last()) {
        let width = (last.ended.saturating_sub(first.ended).as_secs_f64() / ROUNDS as f64).max(1e-9);
        for sample in samples {
            let round = (sample.ended.saturating_sub(first.ended).as_secs_f64() / width) as usize;
            rounds[round.min(ROUNDS - 1)].record(sample.latency);
        }
    }
    rounds
}

/// The median over the rounds of a quantile, in milliseconds; [`None`] when a round is empty.
fn median_of(rounds: &[LatencyHistogram], quantile: f64) -> Option<f64> {
    let mut figures = rounds.iter().map(|round| round.quantile_ms(quantile)).collect::<Option<Vec<f64>>>()?;
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(ended_ms: u64, latency_ms: u64) -> Sample {
        Sample { ended: Duration::from_millis(ended_ms), latency: Duration::from_millis(latency_ms), ok: true }
    }

    #[test]
    fn one_stall_does_not_decide_and_a_slow_link_does() {
        let stalled: Vec<Sample> = (0..3_000).map(|n| sample(n, if (1_000..1_100).contains(&n) { 300 } else { 2 })).collect();
        assert!(median_of(&in_rounds(&stalled), 0.99).unwrap() < 3.0);
        let slow: Vec<Sample> = (0..3_000).map(|n| sample(n, 12)).collect();
        assert!(median_of(&in_rounds(&slow), 0.5).unwrap() > 11.0);
        assert_eq!(median_of(&in_rounds(&[]), 0.5), None);
    }
}
