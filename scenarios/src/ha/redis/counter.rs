//! How far may a counter on an asynchronously replicated master fall back?

use dora_harness::{
    check::{Answer, Checked},
    history::Operation,
};

/// The model's name.
const MODEL: &str = "bounded-fall-back";
/// A counter that fell back further than its mode allows.
pub const FELL_BACK: &str = "counter-fell-back";

/// Every acknowledged `INCR` answers the number after it, so one that begins after another ended has the larger number; at a failover it
/// may have a smaller one, by as many as acknowledged increments were lost. `lost_max`: how many may.
pub fn bounded_fall_back(operations: &[Operation], lost_max: u64) -> Checked {
    let mut counted: Vec<(u64, u64, u64)> = operations
        .iter()
        .filter(|operation| operation.is_ok())
        .filter_map(|operation| Some((operation.invoked, operation.completed?, operation.returned.as_u64()?)))
        .collect();
    counted.sort_unstable();
    let checked = |answer| Checked { model: MODEL, operations: counted.len() as u64, answer };
    let Some((lost, highest, number, at)) = deepest_fall(&counted) else {
        return checked(Answer::Unknown("no increment was acknowledged".into()));
    };
    if lost <= lost_max {
        return checked(Answer::Holds);
    }
    checked(Answer::Violated {
        finding: FELL_BACK,
        message: format!("the counter fell from {highest} back to {number}, by {lost} increments; {lost_max} are allowed"),
        witness: format!("an increment that began at {at} ns answered {number} after one that had answered {highest}"),
    })
}

/// The largest number of increments that a later one does not know of: `(how many, the highest number before, the number, its
/// beginning)`. `counted` is `(began, ended, number)` in the order of beginnings.
fn deepest_fall(counted: &[(u64, u64, u64)]) -> Option<(u64, u64, u64, u64)> {
    let mut by_end = counted.to_vec();
    by_end.sort_unstable_by_key(|(_, ended, _)| *ended);
    let mut ended = by_end.into_iter().peekable();
    let mut highest = 0;
    let mut deepest: Option<(u64, u64, u64, u64)> = None;
    for (began, _, number) in counted {
        while let Some((_, _, earlier)) = ended.next_if(|(_, ended, _)| ended < began) {
            highest = highest.max(earlier);
        }
        // One that knew of all would have answered more than the highest.
        let lost = (highest + 1).saturating_sub(*number);
        if deepest.is_none_or(|(most, ..)| lost > most) {
            deepest = Some((lost, highest, *number, *began));
        }
    }
    deepest
}

#[cfg(test)]
mod tests {
    use dora_harness::history::Outcome;
    use serde_json::json;

    use super::*;

    fn increment(number: u64, invoked: u64, completed: u64) -> Operation {
        Operation {
            index: invoked,
            process: 0,
            f: "add".into(),
            value: json!(1),
            returned: json!(number),
            invoked,
            completed: Some(completed),
            outcome: Outcome::Ok,
        }
    }

    #[test]
    fn a_counter_that_grows_holds_also_when_increments_overlap() {
        let history = [increment(1, 0, 5), increment(3, 6, 20), increment(2, 7, 8), increment(4, 21, 22)];
        assert_eq!(bounded_fall_back(&history, 0).answer, Answer::Holds);
    }

    #[test]
    fn a_fall_is_measured_against_the_bound() {
        // 10 were acknowledged, and the next answers 8: three are lost (8, 9 and 10 of the old count).
        let history: Vec<_> = (1..=10).map(|n| increment(n, n * 10, n * 10 + 1)).chain([increment(8, 200, 201)]).collect();
        assert_eq!(bounded_fall_back(&history, 3).answer, Answer::Holds);
        assert!(matches!(bounded_fall_back(&history, 2).answer, Answer::Violated { finding: FELL_BACK, .. }));
    }

    #[test]
    fn a_repeated_number_is_a_lost_increment() {
        let history = [increment(1, 0, 1), increment(1, 5, 6)];
        assert!(matches!(bounded_fall_back(&history, 0).answer, Answer::Violated { .. }));
    }

    #[test]
    fn nothing_is_known_of_a_counter_that_nobody_counted_with() {
        assert!(matches!(bounded_fall_back(&[], 5).answer, Answer::Unknown(_)));
    }
}
