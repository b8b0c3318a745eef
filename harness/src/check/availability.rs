//! When did a service come back, and for how long was it away? Decided from the history alone.

use std::time::Duration;

use crate::{
    history::Operation,
    measure::{Bucket, Sample, buckets},
};

/// What a history says about an outage. All times in milliseconds from the fault's injection; [`None`]: not within the history.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Availability {
    /// The end of the first operation that was invoked after the fault was confirmed and was acknowledged.
    pub first_success_ms: Option<f64>,
    /// The start of the first stretch from which on throughput stayed at its level before the fault.
    pub objective_regained_ms: Option<f64>,
    /// The longest time after the injection in which nothing was acknowledged.
    pub longest_gap_ms: f64,
    /// Acknowledged operations per second before the fault (median of the stretches).
    pub baseline_per_s: f64,
    /// What the outage takes from an error budget of time: all stretches after the injection in which nothing was acknowledged, in milliseconds.
    pub unserved_ms: f64,
    /// What it takes from an error budget of requests: the share of the operations invoked after the injection that were not acknowledged, from 0 to 1.
    pub failed_share: f64,
}

/// Width of the stretches in which throughput is judged.
const STRETCH: Duration = Duration::from_millis(500);
/// The share of the throughput before the fault that counts as regained.
const REGAINED_SHARE: f64 = 0.8;
/// How long throughput has to stay there.
const HOLD: Duration = Duration::from_secs(2);

/// The operations of a history as samples of latency.
pub fn samples(operations: &[Operation]) -> Vec<Sample> {
    let mut samples: Vec<Sample> = operations
        .iter()
        .filter_map(|operation| {
            let ended = operation.completed?;
            Some(Sample {
                ended: Duration::from_nanos(ended),
                latency: Duration::from_nanos(ended.saturating_sub(operation.invoked)),
                ok: operation.is_ok(),
            })
        })
        .collect();
    samples.sort_by_key(|sample| sample.ended);
    samples
}

/// Judges an outage. `injected_ms`, `confirmed_ms` and `until_ms` (the end of what is judged) count from the history's origin.
pub fn availability(operations: &[Operation], injected_ms: f64, confirmed_ms: f64, until_ms: f64) -> Availability {
    let ms = |ns: u64| ns as f64 / 1e6;
    let first_success_ms = operations
        .iter()
        .filter(|operation| operation.is_ok() && ms(operation.invoked) >= confirmed_ms)
        .filter_map(|operation| operation.completed)
        .min()
        .map(|completed| ms(completed) - injected_ms);
    let stretches = buckets(&samples(operations), STRETCH);
    let baseline_per_s = median_before(&stretches, injected_ms);
    let longest_gap_ms = longest_gap(operations, injected_ms, until_ms);
    Availability {
        first_success_ms,
        objective_regained_ms: regained(&stretches, baseline_per_s, confirmed_ms, until_ms, first_success_ms.map(|at| at + injected_ms))
            .map(|at| (at - injected_ms).max(0.0)),
        longest_gap_ms,
        baseline_per_s,
        unserved_ms: unserved(operations, injected_ms, until_ms),
        failed_share: failed_share(operations, injected_ms, until_ms),
    }
}

fn unserved(operations: &[Operation], from_ms: f64, until_ms: f64) -> f64 {
    let width_ms = STRETCH.as_secs_f64() * 1e3;
    let whole = ((until_ms - from_ms) / width_ms).floor().max(0.0) as usize;
    let mut served = vec![false; whole];
    for at in acknowledged_ms(operations).filter(|at| *at >= from_ms) {
        if let Some(stretch) = served.get_mut(((at - from_ms) / width_ms) as usize) {
            *stretch = true;
        }
    }
    served.iter().filter(|served| !**served).count() as f64 * width_ms
}

fn failed_share(operations: &[Operation], from_ms: f64, until_ms: f64) -> f64 {
    let of_outage = || operations.iter().filter(|operation| (from_ms..=until_ms).contains(&(operation.invoked as f64 / 1e6)));
    let failed = of_outage().filter(|operation| !operation.is_ok()).count();
    failed as f64 / of_outage().count().max(1) as f64
}

/// The longest time between `from_ms` and `until_ms` in which nothing was acknowledged, in milliseconds.
pub fn longest_gap(operations: &[Operation], from_ms: f64, until_ms: f64) -> f64 {
    let mut marks: Vec<f64> = acknowledged_ms(operations).filter(|at| (from_ms..=until_ms).contains(at)).collect();
    marks.extend([from_ms, until_ms]);
    marks.sort_by(f64::total_cmp);
    marks.windows(2).map(|pair| pair[1] - pair[0]).fold(0.0, f64::max)
}

/// How long after `injected_ms` the last operation was acknowledged that was so before `until_ms`; [`None`] when none was.
pub fn ceased_after(operations: &[Operation], injected_ms: f64, until_ms: f64) -> Option<f64> {
    acknowledged_ms(operations).filter(|at| (injected_ms..=until_ms).contains(at)).max_by(f64::total_cmp).map(|at| at - injected_ms)
}

/// When operations were acknowledged, in milliseconds from the origin.
fn acknowledged_ms(operations: &[Operation]) -> impl Iterator<Item = f64> + '_ {
    operations.iter().filter(|operation| operation.is_ok()).filter_map(|operation| operation.completed).map(|at| at as f64 / 1e6)
}

fn median_before(stretches: &[Bucket], injected_ms: f64) -> f64 {
    let width_ms = STRETCH.as_secs_f64() * 1e3;
    // The first stretch begins in the middle, and so ends the last one before the fault.
    let mut rates: Vec<f64> =
        stretches.iter().skip(1).filter(|bucket| bucket.start_ms + width_ms <= injected_ms).map(|bucket| bucket.throughput_per_s).collect();
    rates.sort_by(f64::total_cmp);
    rates.get(rates.len() / 2).copied().unwrap_or_default()
}

/// The first moment at or after the confirmed fault from which throughput holds.
fn regained(stretches: &[Bucket], baseline: f64, confirmed_ms: f64, until_ms: f64, first_success_ms: Option<f64>) -> Option<f64> {
    let width_ms = STRETCH.as_secs_f64() * 1e3;
    let first_success_ms = first_success_ms?;
    let hold = (HOLD.as_secs_f64() / STRETCH.as_secs_f64()).round() as usize;
    let after: Vec<&Bucket> =
        stretches.iter().filter(|bucket| bucket.start_ms + width_ms > first_success_ms && bucket.start_ms + width_ms <= until_ms).collect();
    let at = after.windows(hold).position(|window| {
        let mean = window.iter().map(|bucket| bucket.throughput_per_s).sum::<f64>() / hold as f64;
        mean >= REGAINED_SHARE * baseline && window.iter().all(|bucket| bucket.throughput_per_s >= REGAINED_SHARE / 2.0 * baseline)
    })?;
    // The stretch of the first success counts from that success: service cannot be back before it answered.
    Some(after[at].start_ms.max(first_success_ms).max(confirmed_ms))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::Outcome;

    /// 100 operations a second, except from `away` milliseconds; the fault is injected at 5 s.
    fn history(away: std::ops::Range<u64>) -> Vec<Operation> {
        (0..2_000_u64)
            .map(|n| {
                let invoked_ms = n * 10;
                let outcome = if away.contains(&invoked_ms) { Outcome::Fail("refused".into()) } else { Outcome::Ok };
                let (invoked, completed) = (invoked_ms * 1_000_000, Some((invoked_ms + 5) * 1_000_000));
                Operation { index: 2 * n, process: 0, f: "add".into(), value: n.into(), returned: n.into(), invoked, completed, outcome }
            })
            .collect()
    }

    #[test]
    fn an_outage_of_three_seconds_is_measured() {
        let result = availability(&history(5_000..8_000), 5_000.0, 5_050.0, 19_000.0);
        assert_eq!(result.first_success_ms, Some(3_005.0));
        assert!((result.longest_gap_ms - 3_005.0).abs() < 15.0);
        let regained = result.objective_regained_ms.unwrap();
        assert!((3_000.0..=3_600.0).contains(&regained), "{regained}");
        assert!((result.baseline_per_s - 100.0).abs() < 3.0);
        assert!((result.unserved_ms - 3_000.0).abs() <= 500.0, "{}", result.unserved_ms);
        assert!((result.failed_share - 3.0 / 14.0).abs() < 0.01, "{}", result.failed_share);
    }

    #[test]
    fn a_service_that_stays_away_never_regains() {
        let result = availability(&history(5_000..30_000), 5_000.0, 5_050.0, 19_000.0);
        assert_eq!((result.first_success_ms, result.objective_regained_ms), (None, None));
        assert!(result.longest_gap_ms > 13_900.0);
    }

    #[test]
    fn a_service_that_ceases_is_seen_to_acknowledge_nothing_more() {
        let history = history(6_000..15_000);
        assert_eq!(ceased_after(&history, 5_000.0, 14_000.0), Some(995.0));
        assert_eq!(ceased_after(&history, 7_000.0, 14_000.0), None);
        assert_eq!(ceased_after(&history, 5_000.0, 16_000.0), Some(10_995.0));
    }

    #[test]
    fn a_service_that_never_went_away_has_no_gap() {
        let result = availability(&history(0..0), 5_000.0, 5_050.0, 19_000.0);
        assert!(result.longest_gap_ms < 15.0);
        assert!(result.first_success_ms.unwrap() < 70.0);
    }
}
