//! Captures what travels between the nodes while a text is written that must not be in any packet.

use std::time::Duration;

use dora_harness::{
    patience::stretched,
    security::capture::{Canary, Capture, CaptureError, Captured},
    topology::{Node, Reach, Wiring},
};
use dora_reports::evidence::{Finding, NamedLimit, ProbeMatrix, ProbeRow, Register};
use futures_util::future::{join_all, try_join_all};
use tokio::{
    io::AsyncWriteExt as _,
    net::TcpStream,
    time::{Instant, sleep, timeout},
};

use super::{
    TransitTarget,
    traffic::{COLUMNS, NodeTraffic, rows, undeclared},
};
use crate::{ScenarioError, Trial, defect::under_defect};

/// What is sent once in a while (heartbeats, questions for the leader) is sent at least once in this time.
const WATCH: Duration = Duration::from_secs(8);
/// One connection that carries the control.
const CONTROL_LIMIT: Duration = Duration::from_secs(3);
/// How often each node is sent the control.
const CONTROLS: usize = 4;
/// The bytes of the control's first packet: fewer than any of the servers can refuse.
///
/// PostgreSQL decides after four (the length of a start message), a TLS server after five (the head of a record); one that has
/// refused the first packet resets the connection before the second is sent.
const CONTROL_HEAD: usize = 3;

/// The scenario: see the module.
///
/// # Errors
/// [`ScenarioError`] when it cannot be carried out; what it finds is in the trial.
pub async fn links(trial: &Trial, target: &dyn TransitTarget) -> Result<(), ScenarioError> {
    trial.promise_limits(
        "no packet between nodes holds what was written; every link is made of TLS records; there is no link beside the model",
        vec![NamedLimit::at_most("plaintext_links", 0.0, "links"), NamedLimit::at_most("packets_with_canary", 0.0, "flows")],
    );
    let (plant, undo) = (|id| target.sabotage(trial, id), |id| target.undo_sabotage(trial, id));
    under_defect(trial, plant, undo, Box::pin(watch(trial, target))).await
}

async fn watch(trial: &Trial, target: &dyn TransitTarget) -> Result<(), ScenarioError> {
    let wiring = Wiring::of(target.member())?;
    let clusters = trial.platform().part(target.member()).clusters().await;
    let nodes: Vec<Node> = clusters.iter().flat_map(|cluster| cluster.nodes()).collect();
    if nodes.is_empty() {
        return Err(ScenarioError::Missing(format!("there is no {} in this run", target.member())));
    }
    let (canary, control) = (Canary::new(), Canary::new());
    let failed = |error: CaptureError| ScenarioError::client("capture packets", error);
    let captures = try_join_all(nodes.iter().map(Capture::start)).await.map_err(failed)?;
    let started = Instant::now();
    trial.note("capture", format!("on {} nodes", nodes.len()));
    join_all(nodes.iter().map(|node| send_control(&wiring, node, &control))).await;
    let written = target.write_canary(&canary.text()).await;
    sleep(stretched(WATCH).saturating_sub(started.elapsed())).await;
    // Also when the writing failed: a forgotten capture fills the node's memory.
    let ended = join_all(captures.into_iter().map(Capture::finish)).await;
    written?;
    let seen = ended.into_iter().collect::<Result<Vec<Captured>, _>>().map_err(failed)?;
    trial.note("capture", "ended");
    let traffic: Vec<NodeTraffic> = seen.iter().map(|captured| NodeTraffic::of(captured, &canary, &control)).collect();
    report(trial, &wiring, &traffic, &canary);
    Ok(())
}

/// The text in plaintext on one of the node's own ports, cut in two: a capture that shows it whole sees packets, and can put them together.
///
/// It is sent several times, as a busy server may not take a connection in time. What was not sent is not found, and that is judged.
async fn send_control(wiring: &Wiring, node: &Node, control: &Canary) {
    let listeners = wiring.listeners(node);
    let Some(listener) = listeners.iter().find(|listener| listener.on == Reach::Network) else { return };
    let send = || async {
        let mut stream = TcpStream::connect(node.socket(listener.port)).await?;
        stream.set_nodelay(true)?;
        let text = control.text();
        let (first, second) = text.as_bytes().split_at(CONTROL_HEAD);
        stream.write_all(first).await?;
        stream.write_all(second).await?;
        stream.flush().await
    };
    for _ in 0..CONTROLS {
        let _: Result<std::io::Result<()>, _> = timeout(CONTROL_LIMIT, send()).await;
    }
}

fn report(trial: &Trial, wiring: &Wiring, traffic: &[NodeTraffic], canary: &Canary) {
    for node in traffic {
        let name = node.node.name();
        if !node.saw_control {
            let message = format!("the control was not found in the capture of {name}, so what is absent from it may have travelled");
            trial.find(Finding::unconfirmed("capture-is-blind", message));
        }
        if node.dropped > 0 {
            trial.find(Finding::unconfirmed("capture-is-incomplete", format!("{} packets of {name} were not captured", node.dropped)));
        }
        for place in &node.canary {
            trial.find(Finding::violation("canary-on-the-wire", format!("what was written is readable at {name}: {place}")));
        }
    }
    let (rows, findings): (Vec<ProbeRow>, Vec<Finding>) = rows(wiring, traffic, canary);
    let plaintext = findings.iter().filter(|finding| finding.id == "link-in-plaintext").count();
    for finding in findings.into_iter().chain(undeclared(wiring, traffic)) {
        trial.find(finding);
    }
    trial.measure("plaintext_links", Some(plaintext as f64), "links");
    trial.measure("packets_with_canary", Some(traffic.iter().map(|node| node.canary.len()).sum::<usize>() as f64), "flows");
    trial.measure("packets", Some(traffic.iter().map(|node| node.packets).sum::<usize>() as f64), "packets");
    trial.matrix(ProbeMatrix {
        title: "Links: what was captured in the nodes' own network namespaces".into(),
        row_heading: "Link".into(),
        columns: COLUMNS.map(ToOwned::to_owned).to_vec(),
        rows,
    });
    trial.register(Register {
        title: "Captures, each with a control that was sent readable and had to be found".into(),
        columns: ["Node", "Packets", "Dropped", "Control"].map(ToOwned::to_owned).to_vec(),
        rows: traffic
            .iter()
            .map(|node| {
                let control = if node.saw_control { "found" } else { "not found" };
                vec![node.node.name().to_owned(), node.packets.to_string(), node.dropped.to_string(), control.to_owned()]
            })
            .collect(),
    });
}
