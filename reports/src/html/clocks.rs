//! The four clocks of a fault as lanes on one axis.

use serde::Serialize;

use super::axis::{Axis, Tick};
use crate::evidence::ScenarioEvidence;

#[derive(Debug, Serialize)]
pub(super) struct ClockChart {
    lanes: Vec<Lane>,
    ticks: Vec<Tick>,
}

#[derive(Debug, Serialize)]
struct Lane {
    name: &'static str,
    /// What the clock stops at, for readers who meet it for the first time.
    meaning: &'static str,
    ms: Option<f64>,
    width: f64,
    limit_ms: Option<f64>,
    limit: Option<f64>,
    met: Option<bool>,
}

impl ClockChart {
    /// The clocks of a scenario, with the limits of the measures that are these clocks; nothing when it has no clocks.
    pub(super) fn new(scenario: &ScenarioEvidence) -> Option<Self> {
        let clocks = scenario.clocks.as_ref()?;
        let all = [
            ("detection", "the system noticed", clocks.detection_ms),
            ("first_success", "a client was served again", clocks.first_success_ms),
            ("objective_regained", "latency and errors within the objective again", clocks.objective_regained_ms),
            ("redundancy_regained", "as many healthy copies as before", clocks.redundancy_regained_ms),
        ];
        // Where writes have to cease, the measure of the same name counts from the healing: its limit is none of this clock.
        let limit_ms = |name: &str, ms: Option<f64>| {
            let measure = scenario.measured.iter().find(|measure| measure.name == name && measure.unit == "ms" && measure.value == ms)?;
            measure.limit.map(|limit| limit.value)
        };
        let ends = all.iter().flat_map(|(name, _, ms)| [*ms, limit_ms(name, *ms)]).flatten();
        // Room for the label of the longest lane.
        let axis = Axis::exact(ends.fold(0.0, f64::max) * 1.05);
        let lane = |(name, meaning, ms): (&'static str, &'static str, Option<f64>)| {
            let limit_ms = limit_ms(name, ms);
            Lane {
                name,
                meaning,
                ms,
                width: ms.map_or(0.0, |ms| axis.at(ms)),
                limit_ms,
                limit: limit_ms.map(|ms| axis.at(ms)),
                met: limit_ms.map(|limit| ms.is_some_and(|ms| ms <= limit)),
            }
        };
        Some(Self { lanes: all.into_iter().map(lane).collect(), ticks: axis.ticks(5) })
    }
}
