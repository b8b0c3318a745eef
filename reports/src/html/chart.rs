//! Latency and throughput over time, with the faults drawn in.

use std::fmt::Write as _;

use serde::Serialize;

use super::axis::{Axis, Tick};
use crate::evidence::{FaultEvidence, Op, ScenarioEvidence, Series};
use crate::text;

/// Width of the lines' own coordinate system; it is stretched to whatever is there.
const WIDTH: f64 = 1_000.0;
/// Pixels.
const MARK_ROW: f64 = 16.0;
const PANEL: f64 = 132.0;
const SMALL_PANEL: f64 = 72.0;
const PANEL_HEADING: f64 = 28.0;
const AXIS: f64 = 22.0;
/// More points than a wide screen has pixels say nothing and make a heavy page.
const POINTS_MAX: usize = 600;

/// The chart of one scenario. `y` and heights are pixels, `x` and widths shares of the width.
#[derive(Debug, Serialize)]
pub(super) struct Chart {
    panels: Vec<Panel>,
    marks: Vec<Mark>,
    shades: Vec<Shade>,
    events: Vec<Event>,
    ticks: Vec<Tick>,
    top: f64,
    bottom: f64,
    height: f64,
    description: String,
}

#[derive(Debug, Serialize)]
struct Panel {
    title: String,
    y: f64,
    height: f64,
    unit: String,
    log: bool,
    lines: Vec<Line>,
    ticks: Vec<Tick>,
    limit: Option<LimitLine>,
}

#[derive(Debug, Serialize)]
struct Line {
    name: String,
    style: &'static str,
    path: String,
}

#[derive(Debug, Serialize)]
struct LimitLine {
    at: f64,
    value: f64,
    sign: &'static str,
}

/// An instant of a fault; every mark has a row of its own for its label, so that labels never cover each other.
#[derive(Debug, Serialize)]
struct Mark {
    x: f64,
    y: f64,
    label: String,
    style: &'static str,
}

#[derive(Debug, Serialize)]
struct Shade {
    x: f64,
    width: f64,
    label: String,
    style: &'static str,
}

#[derive(Debug, Serialize)]
struct Event {
    x: f64,
    t_ms: f64,
    text: String,
}

impl Chart {
    /// The chart of a scenario; nothing when it has no series.
    pub(super) fn new(scenario: &ScenarioEvidence) -> Option<Self> {
        let end_ms = end_ms(scenario)?;
        let axis = Axis::exact(end_ms);
        let marks = marks(&scenario.faults, axis);
        let top = marks.len() as f64 * MARK_ROW + 4.0;
        let mut panels = Vec::new();
        let mut y = top;
        for group in groups(&scenario.series) {
            let panel = Panel::new(&group, y, axis, scenario);
            y += panel.height + PANEL_HEADING;
            panels.push(panel);
        }
        let event = |event: &crate::evidence::TimelineEvent| Event { x: axis.at(event.t_ms), t_ms: event.t_ms, text: event.text.clone() };
        Some(Self {
            description: describe(scenario, end_ms),
            shades: scenario.faults.iter().flat_map(|fault| shades(fault, axis, end_ms)).collect(),
            events: scenario.timeline.iter().map(event).collect(),
            ticks: axis.ticks(5),
            top,
            bottom: y,
            height: y + AXIS,
            panels,
            marks,
        })
    }
}

/// The last instant that the chart shows.
fn end_ms(scenario: &ScenarioEvidence) -> Option<f64> {
    let points = scenario.series.iter().flat_map(|series| &series.points);
    let last = points.map(|point| point.t_ms).reduce(f64::max)?;
    let faults = scenario.faults.iter().flat_map(|f| [Some(f.injected_ms), f.healed_ms, f.heal_confirmed_ms]);
    let events = scenario.timeline.iter().map(|event| event.t_ms);
    Some(faults.flatten().chain(events).fold(last, f64::max))
}

/// Series that share a panel: all latencies do, everything else stands alone.
fn groups(series: &[Series]) -> Vec<Vec<&Series>> {
    let drawn = |series: &&Series| series.points.iter().any(|point| point.value.is_some());
    let (latency, other): (Vec<_>, Vec<_>) = series.iter().filter(drawn).partition(|s| s.name.starts_with("latency"));
    let first = if latency.is_empty() { None } else { Some(latency) };
    first.into_iter().chain(other.into_iter().map(|series| vec![series])).collect()
}

impl Panel {
    fn new(group: &[&Series], y: f64, time: Axis, scenario: &ScenarioEvidence) -> Self {
        let unit = group.first().map_or(String::new(), |series| series.unit.clone());
        let log = group.iter().all(|series| series.name.starts_with("latency"));
        let large = log || group.iter().any(|series| series.name == "throughput");
        let height = if large { PANEL } else { SMALL_PANEL };
        let limit = group.iter().rev().find_map(|s| scenario.objective.limit(&s.name).filter(|l| l.unit == s.unit));
        let points = group.iter().flat_map(|series| &series.points).filter_map(|point| point.value);
        let values = points.chain(limit.map(|limit| limit.value));
        let axis = if log { Axis::log(values) } else { Axis::linear(values) };
        let line = |(index, series): (usize, &&Series)| Line {
            name: text::human(series.name.strip_prefix("latency_").unwrap_or(&series.name)),
            style: if log { ["first", "second", "third"].get(index).copied().unwrap_or("other") } else { "flow" },
            path: path(series, time, axis, height),
        };
        Self {
            title: if log { "Latency".to_owned() } else { text::capitalised(&text::human(&group[0].name)) },
            y: y + PANEL_HEADING,
            height,
            unit,
            log,
            lines: group.iter().enumerate().map(line).collect(),
            ticks: axis.ticks(3),
            limit: limit.map(|limit| LimitLine { at: axis.at(limit.value), value: limit.value, sign: Op::sign(limit.op) }),
        }
    }
}

/// A path with a gap wherever there is no value. A value that stands alone becomes a dot.
fn path(series: &Series, time: Axis, axis: Axis, height: f64) -> String {
    let mut out = String::new();
    let mut pen_down = false;
    let chunk = series.points.len().div_ceil(POINTS_MAX).max(1);
    for points in series.points.chunks(chunk) {
        // The highest of a chunk is kept: a spike must not vanish because the run was long.
        let value = points
            .iter()
            .filter_map(|point| point.value)
            .fold(None, |most: Option<f64>, value| Some(most.map_or(value, |most| most.max(value))));
        let Some(value) = value else {
            pen_down = false;
            continue;
        };
        let (x, y) = (time.at(points[0].t_ms) * WIDTH, (1.0 - axis.at(value)) * height);
        // Writing to a string cannot fail. A zero-length line with round ends is a dot.
        let _ = if pen_down { write!(out, "L{x:.1} {y:.1}") } else { write!(out, "M{x:.1} {y:.1}h0") };
        pen_down = true;
    }
    out
}

/// The time in which a fault is in force, and the time in which its healing is not confirmed yet.
fn shades(fault: &FaultEvidence, axis: Axis, end_ms: f64) -> [Shade; 2] {
    let healed_ms = fault.healed_ms.unwrap_or(end_ms);
    let whole_ms = fault.heal_confirmed_ms.unwrap_or(end_ms);
    let shade = |from_ms: f64, to_ms: f64, style, word| {
        let x = axis.at(from_ms);
        let label = format!("{} of {}: {word}", fault.kind, fault.target);
        Shade { x, width: (axis.at(to_ms) - x).max(0.0), label, style }
    };
    [shade(fault.injected_ms, healed_ms, "active", "in force"), shade(healed_ms, whole_ms, "healing", "healing")]
}

fn marks(faults: &[FaultEvidence], axis: Axis) -> Vec<Mark> {
    let mut marks = Vec::new();
    for (index, fault) in faults.iter().enumerate() {
        let instants = [
            (Some(fault.injected_ms), "injected", "injected"),
            (fault.confirmed_ms, "confirmed", "confirmed"),
            (fault.healed_ms, "healed", "healed"),
            (fault.heal_confirmed_ms, "heal confirmed", "healed"),
        ];
        for (t_ms, word, style) in instants {
            let Some(t_ms) = t_ms else { continue };
            let label = format!("{} {}", numbered(index, faults.len(), word), text::duration(t_ms));
            marks.push(Mark { x: axis.at(t_ms), y: marks.len() as f64 * MARK_ROW, label, style });
        }
    }
    marks
}

/// `word`, with a number only where there is more than one.
fn numbered(index: usize, count: usize, word: &str) -> String {
    if count > 1 { format!("{word} {}", index + 1) } else { word.to_owned() }
}

/// What the picture shows, for those who do not see it.
fn describe(scenario: &ScenarioEvidence, end_ms: f64) -> String {
    let names: Vec<_> = scenario.series.iter().map(|series| text::human(&series.name)).collect();
    let mut out = format!("{} over {}", names.join(", "), text::duration(end_ms));
    for fault in &scenario.faults {
        let _ = write!(out, "; {} of {} at {}", fault.kind, fault.target, text::duration(fault.injected_ms));
        match fault.heal_confirmed_ms {
            Some(healed_ms) => {
                let _ = write!(out, ", healing confirmed at {}", text::duration(healed_ms));
            }
            None => out.push_str(", healing not confirmed"),
        }
    }
    out
}
