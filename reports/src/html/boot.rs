//! The boot timeline: a row a node, its phases as bars, and a line to whoever it waited for.

use serde::Serialize;

use super::axis::{Axis, Tick};
use crate::evidence::{BootSpan, TopologyEvidence};

/// Height of a row in pixels; the style sheet's column of names has the same.
const ROW: f64 = 22.0;
/// Phases beyond this many share the last colour.
const COLOURS: usize = 5;

/// The whole chart. `y` and heights are pixels, `x` and widths shares of the width.
#[derive(Debug, Serialize)]
pub(super) struct BootChart {
    rows: Vec<Row>,
    links: Vec<Link>,
    ticks: Vec<Tick>,
    phases: Vec<Phase>,
    ready: Option<Ready>,
    height: f64,
    /// Milliseconds into the run at which the chart begins.
    origin_ms: f64,
    total_ms: f64,
}

#[derive(Debug, Serialize)]
struct Row {
    node: String,
    y: f64,
    bars: Vec<Bar>,
    end: f64,
    end_ms: f64,
    waited_for: Vec<String>,
    /// Whether it is the first node of a cluster.
    heads: bool,
}

#[derive(Debug, Serialize)]
struct Bar {
    x: f64,
    width: f64,
    phase: String,
    colour: usize,
    start_ms: f64,
    end_ms: f64,
    waited_for: Option<String>,
}

/// A vertical line at the instant at which one node could go on because another one was there.
#[derive(Debug, Serialize)]
struct Link {
    x: f64,
    from: f64,
    to: f64,
    node: String,
    waited_for: String,
}

#[derive(Debug, Serialize)]
struct Phase {
    name: String,
    colour: usize,
}

#[derive(Debug, Serialize)]
struct Ready {
    at: f64,
    ms: f64,
}

impl BootChart {
    /// The chart of a topology; nothing when no boot was recorded.
    pub(super) fn new(topology: &TopologyEvidence) -> Option<Self> {
        let spans = &topology.boot;
        let begin_ms = spans.iter().map(|span| span.start_ms).fold(f64::INFINITY, f64::min);
        let end_ms = spans.iter().map(|span| span.end_ms).chain(topology.ready_ms).fold(0.0, f64::max);
        if spans.is_empty() || !begin_ms.is_finite() {
            return None;
        }
        // Building images may take minutes, next to which the boot itself would be a hairline.
        let origin_ms = if begin_ms > end_ms / 10.0 { begin_ms } else { 0.0 };
        // Room for the label of the longest row.
        let axis = Axis::exact((end_ms - origin_ms) * 1.09);
        let at = |ms: f64| axis.at(ms - origin_ms);

        let nodes = nodes(topology);
        let middle = |row: usize| (row as f64 + 0.5) * ROW;
        let phases = phases(spans);
        let colour = |phase: &str| phases.iter().find(|known| known.name == phase).map_or(0, |known| known.colour);
        let row = |(index, (node, heads)): (usize, &(String, bool))| {
            let own = || spans.iter().filter(|span| span.node == *node);
            let bars = own().map(|span| Bar {
                x: at(span.start_ms),
                width: at(span.end_ms) - at(span.start_ms),
                phase: span.phase.clone(),
                colour: colour(&span.phase),
                start_ms: span.start_ms - origin_ms,
                end_ms: span.end_ms - origin_ms,
                waited_for: span.waited_for.clone(),
            });
            let last_ms = own().map(|span| span.end_ms).fold(origin_ms, f64::max);
            let mut waited_for: Vec<String> = own().filter_map(|span| span.waited_for.clone()).collect();
            waited_for.dedup();
            Row {
                node: node.clone(),
                y: index as f64 * ROW,
                bars: bars.collect(),
                end: at(last_ms),
                end_ms: last_ms - origin_ms,
                waited_for,
                heads: *heads,
            }
        };
        let rows: Vec<Row> = nodes.iter().enumerate().map(row).collect();
        let row_of = |node: &str| nodes.iter().position(|(known, _)| known == node);
        let links = spans.iter().filter_map(|span| {
            let other = span.waited_for.as_deref()?;
            let (to, from) = (middle(row_of(&span.node)?), middle(row_of(other)?));
            Some(Link { x: at(span.end_ms), from, to, node: span.node.clone(), waited_for: other.to_owned() })
        });
        Some(Self {
            links: links.collect(),
            ticks: axis.ticks(5),
            phases,
            ready: topology.ready_ms.map(|ms| Ready { at: at(ms), ms: ms - origin_ms }),
            height: rows.len() as f64 * ROW,
            rows,
            origin_ms,
            total_ms: end_ms - origin_ms,
        })
    }
}

/// Every node that has a span, in the topology's order, then those that the topology does not list; and whether it is
/// the first of its cluster.
fn nodes(topology: &TopologyEvidence) -> Vec<(String, bool)> {
    let booted = |name: &str| topology.boot.iter().any(|span| span.node == name);
    let mut found: Vec<(String, bool)> = Vec::new();
    let mut cluster = "";
    for node in topology.nodes.iter().filter(|node| booted(&node.name)) {
        found.push((node.name.clone(), node.cluster != cluster));
        cluster = &node.cluster;
    }
    for span in &topology.boot {
        if !found.iter().any(|(name, _)| *name == span.node) {
            found.push((span.node.clone(), false));
        }
    }
    found
}

fn phases(spans: &[BootSpan]) -> Vec<Phase> {
    let mut names: Vec<&str> = Vec::new();
    for span in spans {
        if !names.contains(&span.phase.as_str()) {
            names.push(&span.phase);
        }
    }
    let phase = |(index, name): (usize, &str)| Phase { name: name.to_owned(), colour: index.min(COLOURS - 1) };
    names.into_iter().enumerate().map(phase).collect()
}
