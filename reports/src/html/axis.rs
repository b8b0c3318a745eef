//! Scales: from a value to a share of the axis, and where its ticks stand.

use serde::Serialize;

/// A labelled place on an axis; `at` is a share of its length.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Tick {
    pub(super) at: f64,
    pub(super) value: f64,
}

/// A linear axis from zero, or a logarithmic one over whole decades.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Axis {
    Linear { max: f64 },
    Log { low: i32, high: i32 },
}

impl Axis {
    /// From zero to the first round number that holds all values.
    pub(super) fn linear(values: impl Iterator<Item = f64>) -> Self {
        let max = values.filter(|value| value.is_finite()).fold(0.0, f64::max);
        let step = round_step(max / 4.0);
        let rounded = (max / step).ceil() * step;
        // Next to the largest number there is no rounder one above.
        let max = if rounded.is_finite() { rounded } else { max };
        Self::Linear { max: if max > 0.0 { max } else { 1.0 } }
    }

    /// Exactly from zero to `max`: for time, which ends where it ends.
    pub(super) fn exact(max: f64) -> Self {
        Self::Linear { max: if max.is_finite() && max > 0.0 { max } else { 1.0 } }
    }

    /// The decades that hold all positive values; at least one.
    pub(super) fn log(values: impl Iterator<Item = f64>) -> Self {
        let (mut least, mut most) = (f64::INFINITY, 0.0_f64);
        for value in values.filter(|value| value.is_finite() && *value > 0.0) {
            (least, most) = (least.min(value), most.max(value));
        }
        if most == 0.0 {
            return Self::Log { low: 0, high: 1 };
        }
        let low = least.log10().floor() as i32;
        let high = (most.log10().ceil() as i32).max(low + 1);
        Self::Log { low, high }
    }

    /// Where a value stands, as a share of the axis; what is outside stands at its end.
    pub(super) fn at(self, value: f64) -> f64 {
        let share = match self {
            Self::Linear { max } => value / max,
            Self::Log { .. } if value <= 0.0 => 0.0,
            Self::Log { low, high } => (value.log10() - f64::from(low)) / f64::from(high - low),
        };
        if share.is_finite() { share.clamp(0.0, 1.0) } else { 0.0 }
    }

    /// At most `most` steps between ticks for a linear axis, every decade (or every other) for a logarithmic one.
    pub(super) fn ticks(self, most: u32) -> Vec<Tick> {
        match self {
            Self::Linear { max } => {
                let step = round_step(max / f64::from(most));
                // A rounding error must not lose the last tick.
                let count = (max / step + 1e-6).floor() as u32;
                let values = (0..=count).map(|n| f64::from(n) * step);
                values.map(|value| Tick { at: self.at(value), value }).collect()
            }
            Self::Log { low, high } => {
                let every = if high - low > 4 { 2 } else { 1 };
                let decades = (low..=high).step_by(every).map(|decade| 10_f64.powi(decade));
                decades.map(|value| Tick { at: self.at(value), value }).collect()
            }
        }
    }
}

/// The smallest of 1, 2, 5 × 10ⁿ that is not below `raw`.
fn round_step(raw: f64) -> f64 {
    // Below the smallest normal number a power of ten rounds to nothing, and nothing can be stepped by.
    if !raw.is_finite() || raw < f64::MIN_POSITIVE * 10.0 {
        return 1.0;
    }
    let power = 10_f64.powf(raw.log10().floor());
    let steps = [1.0, 2.0, 5.0, 10.0].map(|factor| factor * power);
    steps.into_iter().find(|step| *step >= raw * (1.0 - 1e-9)).unwrap_or(10.0 * power)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_linear_axis_ends_on_a_round_number() {
        let axis = Axis::linear([3.0, 870.0].into_iter());
        assert_eq!(axis, Axis::Linear { max: 1_000.0 });
        let ticks: Vec<_> = axis.ticks(2).into_iter().map(|tick| tick.value).collect();
        assert_eq!(ticks, [0.0, 500.0, 1_000.0]);
    }

    #[test]
    fn a_value_next_to_nothing_has_an_axis_all_the_same() {
        let axis = Axis::linear([5e-324].into_iter());
        assert!(axis.ticks(5).len() <= 6 && (0.0..=1.0).contains(&axis.at(5e-324)), "{axis:?}");
    }

    #[test]
    fn a_logarithmic_axis_spans_whole_decades() {
        let axis = Axis::log([0.0, 3.0, 870.0].into_iter());
        assert_eq!(axis, Axis::Log { low: 0, high: 3 });
        assert!((axis.at(10.0) - 1.0 / 3.0).abs() < 1e-9);
    }

    proptest! {
        #[test]
        fn every_value_stands_on_its_axis(values in prop::collection::vec(any::<f64>(), 0..20), probe in any::<f64>()) {
            for axis in [Axis::linear(values.iter().copied()), Axis::log(values.iter().copied()), Axis::exact(probe)] {
                for value in values.iter().copied().chain([probe]) {
                    let at = axis.at(value);
                    prop_assert!((0.0..=1.0).contains(&at), "{value} stands at {at} of {axis:?}");
                }
                prop_assert!(axis.ticks(5).len() <= 330);
            }
        }
    }
}
