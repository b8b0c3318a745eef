//! What a scenario of an outage has to keep, as the catalogue says.

use std::time::Duration;

use dora_fixtures::catalogue::{Objective, Unpromised};

use super::load::inserts_within;

/// The numbers of an outage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Goal {
    /// Until writes are acknowledged again; where they have to go on, the longest time without one that is.
    pub rto: Duration,
    /// The longest stall of writes once they are back.
    pub sustained_gap: Duration,
    /// From the healing until every node has its role and every copy is complete.
    pub redundancy: Duration,
    /// Acknowledged writes that may be missing afterwards.
    pub lost_max: u64,
    /// Nodes that may accept writes at once, where that is promised.
    pub writable_max: Option<u64>,
}

impl Goal {
    /// Reads them.
    ///
    /// # Errors
    /// [`Unpromised`] for the first one that the catalogue does not state.
    pub fn of(promise: &Objective) -> Result<Self, Unpromised> {
        Ok(Self {
            rto: Duration::from_millis(promise.rto_ms_max()?),
            sustained_gap: Duration::from_millis(promise.sustained_gap_ms_max()?),
            redundancy: Duration::from_millis(promise.redundancy_ms_max()?),
            lost_max: promise.acknowledged_lost_max.map_or_else(|| promise.loss_window_ms_max().map(inserts_within), Ok)?,
            writable_max: promise.writable_primaries_max,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_lost_is_a_count_or_what_is_sent_within_a_window_or_not_stated() {
        let stated = Objective {
            rto_ms_max: Some(10_000),
            sustained_gap_ms_max: Some(5_000),
            redundancy_ms_max: Some(30_000),
            acknowledged_lost_max: Some(7),
            ..Objective::default()
        };
        assert_eq!(Goal::of(&stated).map(|goal| goal.lost_max), Ok(7));
        let window = Objective { acknowledged_lost_max: None, loss_window_ms_max: Some(1_000), ..stated };
        assert_eq!(Goal::of(&window).map(|goal| goal.lost_max), Ok(inserts_within(1_000)));
        let neither = Objective { acknowledged_lost_max: None, ..stated };
        assert_eq!(Goal::of(&neither), Err(Unpromised { number: "loss_window_ms_max" }));
        let endless = Objective { sustained_gap_ms_max: None, ..stated };
        assert_eq!(Goal::of(&endless), Err(Unpromised { number: "sustained_gap_ms_max" }));
    }
}
