//! What a seat's tries to connect to one port say: whether it looked at all, and for how long it reached nobody.
//!
//! A watcher that was not scheduled reaches nobody, too. So silence counts only where something was tried: a try that failed stands for all
//! the time that it took, and a port that nobody tried for a while was not watched meanwhile.

use std::ops::Range;

use dora_harness::network::seat::{Sample, SampleKind};

/// With fewer tries in a second a port was not watched: they are 100 ms apart, or 400 ms where nothing comes back.
pub(super) const TRIES_MIN: usize = 2;
/// Without a try for longer a port was not watched.
const IDLE_MAX_US: u64 = 1_000_000;

/// A stretch of time without a new connection, in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Gap {
    length_us: u64,
    watched_us: u64,
}

impl Gap {
    /// How long it is.
    pub fn ms(self) -> f64 {
        self.length_us as f64 / 1e3
    }

    /// How much of it passed with tries that failed.
    pub fn watched_ms(self) -> f64 {
        self.watched_us as f64 / 1e3
    }
}

/// The tries to make a new connection that tell something of a stretch of time: they were under way in it, and either reached somebody
/// before it was over, or nobody.
pub(super) fn tries<'a>(samples: &'a [Sample], during: &Range<u64>) -> impl Iterator<Item = &'a Sample> {
    let Range { start, end } = *during;
    samples.iter().filter(move |sample| {
        sample.kind == SampleKind::New && sample.began_us < end && sample.at_us >= start && (!sample.reached || sample.at_us < end)
    })
}

/// When a port was first seen silent: the beginning of the first try in vain that was under way in a stretch of time.
pub(super) fn silent_from_us(samples: &[Sample], during: &Range<u64>) -> Option<u64> {
    tries(samples, during).filter(|sample| !sample.reached).map(|sample| sample.began_us).min()
}

/// The stretches between new connections. `samples` are those of one port, in the order in which they were taken.
pub(super) fn gaps(samples: &[Sample], during: &Range<u64>) -> Vec<Gap> {
    let mut marks: Vec<u64> = tries(samples, during).filter(|sample| sample.reached).map(|sample| sample.at_us).collect();
    marks.extend([during.start, during.end]);
    marks.sort_unstable();
    marks.windows(2).map(|pair| gap(samples, &(pair[0]..pair[1]))).collect()
}

fn gap(samples: &[Sample], during: &Range<u64>) -> Gap {
    let (mut idle_us, mut until) = (0, during.start);
    for failed in tries(samples, during).filter(|sample| !sample.reached) {
        idle_us += unwatched_us(until, failed.began_us);
        until = until.max(failed.at_us.min(during.end));
    }
    idle_us += unwatched_us(until, during.end);
    let length_us = during.end - during.start;
    Gap { length_us, watched_us: length_us - idle_us }
}

/// The time from one try to the next, where it is so long that nobody looked.
fn unwatched_us(from: u64, to: u64) -> u64 {
    Some(to.saturating_sub(from)).filter(|us| *us > IDLE_MAX_US).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1000;

    fn new(began_ms: u64, at_ms: u64, reached: bool) -> Sample {
        let address = "10.0.0.1:5432".parse().unwrap();
        Sample { address, kind: SampleKind::New, began_us: began_ms * MS, at_us: at_ms * MS, reached }
    }

    fn told(samples: &[Sample]) -> Vec<(u64, u64)> {
        gaps(samples, &(1000 * MS..8000 * MS)).iter().map(|gap| (gap.length_us / MS, gap.watched_us / MS)).collect()
    }

    #[test]
    fn a_try_counts_where_it_was_under_way() {
        let second = 5000 * MS..6000 * MS;
        let count = |samples: &[Sample]| tries(samples, &second).count();
        assert_eq!(count(&[new(4800, 5200, false), new(5200, 5600, false), new(5900, 6300, false)]), 3);
        assert_eq!(count(&[new(4500, 4900, false), new(6000, 6400, false)]), 0);
        assert_eq!(count(&[new(4000, 7000, false)]), 1, "one that hangs is one, over its whole time");
        assert_eq!(count(&[new(5900, 6001, true)]), 0, "what is reached later says nothing of now");
        let held = Sample { kind: SampleKind::Held, ..new(5100, 5100, true) };
        assert_eq!(count(&[held]), 0);
    }

    #[test]
    fn silence_begins_with_the_first_try_in_vain() {
        let during = 1000 * MS..8000 * MS;
        assert_eq!(silent_from_us(&[new(1050, 1100, true), new(7900, 7950, true)], &during), None);
        assert_eq!(silent_from_us(&[new(100, 500, false), new(1100, 1150, true), new(4000, 4400, false)], &during), Some(4000 * MS));
        assert_eq!(silent_from_us(&[new(900, 1300, false), new(1400, 1800, false)], &during), Some(900 * MS), "it hangs from before on");
    }

    #[test]
    fn a_port_that_was_tried_in_vain_was_watched() {
        let tried: Vec<Sample> = (0..15).map(|number| new(1100 + number * 400, 1500 + number * 400, false)).collect();
        let samples: Vec<Sample> =
            [new(1000, 1050, true)].into_iter().chain(tried.iter().copied()).chain([new(7100, 7150, true)]).collect();
        assert_eq!(told(&samples), [(50, 50), (6100, 6100), (850, 850)]);
        let refused: Vec<Sample> = (0..70).map(|number| new(1000 + number * 100, 1001 + number * 100, false)).collect();
        assert_eq!(told(&refused), [(7000, 7000)], "a refusal takes no time, and the next try comes soon");
        assert_eq!(told(&[new(900, 8100, false)]), [(7000, 7000)], "one that hangs fails for as long as it hangs");
    }

    #[test]
    fn a_port_that_nobody_tried_was_not_watched() {
        assert_eq!(told(&[]), [(7000, 0)]);
        assert_eq!(told(&[new(1050, 1100, true), new(7900, 7950, true)]), [(100, 100), (6850, 0), (50, 50)]);
        let one_lost = [new(1050, 1100, true), new(1200, 1600, false), new(7000, 7050, true)];
        assert_eq!(told(&one_lost), [(100, 100), (5950, 500), (950, 950)], "one lost packet is no outage of six seconds");
        let slow = [new(1050, 1100, true), new(1200, 7000, true)];
        assert_eq!(told(&slow), [(100, 100), (5900, 0), (1000, 1000)], "reached in the end, by a watcher that stood still");
    }
}
