//! Does a counter show what was added?

use super::{
    Answer,
    shape::{Mismatch, number},
    witness,
};
use crate::history::{Operation, Outcome};

/// Every read lies between what had surely been added when it began and what could have been added when it ended (the check of Jepsen's
/// counter). It is weaker than a linearizable counter, and takes hardly any time.
pub fn counter_bounds(operations: &[Operation]) -> Result<Answer, Mismatch> {
    let bounds = Bounds::of(operations)?;
    let mut is_read = false;
    for read in operations.iter().filter(|operation| operation.f == "read" && operation.is_ok()) {
        let value = number(read, &read.returned, "a read of a counter answers a whole number")?;
        let ended = read.completed.unwrap_or(u64::MAX);
        let (least, most) = bounds.between(read.invoked, ended);
        if i128::from(value) < least || i128::from(value) > most {
            let message = format!("a read answered {value}; it was at least {least} and at most {most}");
            return Ok(Answer::Violated { finding: "counter-out-of-bounds", message, witness: witness::line(read) });
        }
        is_read = true;
    }
    Ok(if is_read { Answer::Holds } else { Answer::Unknown("no read of the counter was answered".into()) })
}

/// Sums of what was added, by moment: `(moment, sum so far)`.
#[derive(Default)]
struct Bounds {
    /// Added for sure, by when it was acknowledged.
    sure_up: Vec<(u64, i128)>,
    /// Taken away for sure.
    sure_down: Vec<(u64, i128)>,
    /// Perhaps added, by when it was asked for.
    maybe_up: Vec<(u64, i128)>,
    /// Perhaps taken away.
    maybe_down: Vec<(u64, i128)>,
}

impl Bounds {
    fn of(operations: &[Operation]) -> Result<Self, Mismatch> {
        let mut bounds = Self::default();
        for operation in operations {
            if operation.f == "read" {
                continue;
            }
            if operation.f != "add" {
                return Err(Mismatch::new(operation, "a counter has add and read"));
            }
            let amount = i128::from(number(operation, &operation.value, "what is added to a counter is a whole number")?);
            let (sure, maybe) =
                if amount < 0 { (&mut bounds.sure_down, &mut bounds.maybe_down) } else { (&mut bounds.sure_up, &mut bounds.maybe_up) };
            if let (Outcome::Ok, Some(completed)) = (&operation.outcome, operation.completed) {
                sure.push((completed, amount));
            }
            if !matches!(operation.outcome, Outcome::Fail(_)) {
                maybe.push((operation.invoked, amount));
            }
        }
        for moments in [&mut bounds.sure_up, &mut bounds.sure_down, &mut bounds.maybe_up, &mut bounds.maybe_down] {
            moments.sort_unstable();
            let mut sum = 0;
            for (_, amount) in moments {
                sum += *amount;
                *amount = sum;
            }
        }
        Ok(bounds)
    }

    /// The least and the most that a read from `began` to `ended` can show.
    fn between(&self, began: u64, ended: u64) -> (i128, i128) {
        let before =
            |moments: &[(u64, i128)], until: u64| moments[..moments.partition_point(|(at, _)| *at < until)].last().map_or(0, |last| last.1);
        let up_to = |moments: &[(u64, i128)], until: u64| {
            moments[..moments.partition_point(|(at, _)| *at <= until)].last().map_or(0, |last| last.1)
        };
        let least = before(&self.sure_up, began) + up_to(&self.maybe_down, ended);
        let most = up_to(&self.maybe_up, ended) + before(&self.sure_down, began);
        (least, most)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;
    use crate::check::sample::{failed, ok, unknown};

    fn read(value: i64, from: u64, to: u64) -> Operation {
        ok(9, "read", Value::Null, value, from, to)
    }

    fn holds(history: &[Operation]) -> bool {
        counter_bounds(history).unwrap() == Answer::Holds
    }

    #[test]
    fn a_read_sees_what_was_acknowledged_and_no_more_than_was_asked() {
        let adds =
            [ok(0, "add", 5, 5, 0, 10), unknown(1, "add", 2, 20, Some(25)), failed(2, "add", 100, 20, 30), ok(3, "add", -1, -1, 40, 50)];
        let with = |read: Operation| adds.iter().cloned().chain([read]).collect::<Vec<_>>();
        assert!(
            holds(&with(read(5, 30, 35))) && holds(&with(read(7, 30, 35))) && holds(&with(read(4, 60, 61))) && holds(&with(read(0, 5, 6)))
        );
        assert!(!holds(&with(read(4, 30, 35))));
        assert!(!holds(&with(read(8, 30, 35))));
        assert!(!holds(&with(read(7, 60, 61))));
    }

    #[test]
    fn a_counter_is_named_when_it_is_none() {
        assert_eq!(counter_bounds(&[ok(0, "add", "five", "five", 3, 10)]).unwrap_err().index, 3);
        assert!(matches!(counter_bounds(&[ok(0, "add", 5, 5, 0, 10)]).unwrap(), Answer::Unknown(_)));
    }

    proptest! {
        /// An atomic counter is accepted; a duplicated or dropped addition is noticed by the next read when nothing else is under way.
        #[test]
        fn an_addition_too_many_or_too_few_is_noticed(amounts in prop::collection::vec(1_i64..5, 1..50), victim in any::<prop::sample::Index>(), is_twice in any::<bool>()) {
            let victim = victim.index(amounts.len());
            let run = |broken: bool| {
                let (mut sum, mut history) = (0, Vec::new());
                for ((at, number), amount) in (0..).step_by(10).zip(0..).zip(&amounts) {
                    sum += if broken && number == victim { if is_twice { 2 * amount } else { 0 } } else { *amount };
                    history.push(ok(0, "add", *amount, *amount, at, at + 4));
                    history.push(read(sum, at + 5, at + 9));
                }
                history
            };
            prop_assert!(holds(&run(false)));
            prop_assert!(!holds(&run(true)));
        }
    }
}
