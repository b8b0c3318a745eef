//! Probes every listener of the model on every node, and compares the model with the nodes' own tables of sockets.

use std::time::{SystemTime, UNIX_EPOCH};

use dora_harness::{
    security::{Attempt, Handshake, ListeningSockets, PlainAnswer, Plaintext, Suites, TlsProber, TlsVersion, Trust, speak},
    topology::{ClientCertificate, Listening, Node, Reach, Wiring},
};
use dora_reports::evidence::{Finding, NamedLimit, ProbeCell, ProbeMatrix, ProbeRow, Register};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use super::{
    TransitTarget,
    column::{ACCEPTED, CLOSED, Column, OPEN, REFUSED},
    sockets::compare,
};
use crate::{ScenarioError, Trial};

/// Rows that are probed side by side: a row is a handful of small processes one after the other, most of whose time is waiting.
const ROWS_AT_ONCE: usize = 5;
/// A name that no certificate of the run bears.
const ELSEWHERE: &str = "elsewhere.invalid";
/// Certificates of a run are good for a week.
const AFTER_EXPIRY_S: i64 = 8 * 24 * 3600;

/// Which listeners are meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// All of them.
    All,
    /// Those where a sidecar listens for the database; the others of their nodes must not be reachable.
    Sidecars,
}

/// The scenario: see the module.
///
/// # Errors
/// [`ScenarioError`] when it cannot be carried out; what it finds is in the trial.
pub async fn listeners(trial: &Trial, target: &dyn TransitTarget, which: Which) -> Result<(), ScenarioError> {
    trial.promise_limits(
        "every listener takes TLS 1.3 with strong suites and nothing else, checks client certificates where they are wanted, and nothing listens beside",
        vec![
            NamedLimit::at_most("wrongly_accepted", 0.0, "probes"),
            NamedLimit::at_most("wrongly_refused", 0.0, "probes"),
            NamedLimit::at_most("differences_from_model", 0.0, "listeners"),
        ],
    );
    if let Some(sabotage) = trial.sabotage {
        trial.note("sabotage", sabotage.what);
        target.sabotage(trial, sabotage.id).await?;
    }
    let outcome = probe_all(trial, target, which).await;
    if let Some(sabotage) = trial.sabotage {
        target.undo_sabotage(trial, sabotage.id).await?;
    }
    outcome
}

/// One row of the matrix.
struct Place {
    node: Node,
    listener: Listening,
    materials: Materials,
}

/// Files in the prober's pod.
#[derive(Clone)]
struct Materials {
    own: String,
    foreign: String,
    node: String,
    foreign_node: String,
    expired_node: String,
    stranger: String,
    after_expiry: i64,
}

async fn probe_all(trial: &Trial, target: &dyn TransitTarget, which: Which) -> Result<(), ScenarioError> {
    let wiring = Wiring::of(target.member())?;
    let prober = trial.platform().prober(trial.ground()).await?;
    let clusters = trial.platform().part(target.member()).clusters().await;
    let nodes: Vec<Node> = clusters.iter().flat_map(|cluster| cluster.nodes()).collect();
    if nodes.is_empty() {
        return Err(ScenarioError::Missing(format!("there is no {} in this run", target.member())));
    }
    let (mut places, mut further, mut differences, mut registered) = (Vec::new(), Vec::new(), 0, Vec::new());
    for node in &nodes {
        let listeners = wiring.listeners(node);
        if which == Which::Sidecars && !listeners.iter().any(|listener| listener.sidecar) {
            continue;
        }
        let sockets = ListeningSockets::of(node).await?;
        let difference = compare(&wiring, node, &sockets);
        differences += difference.findings.len();
        for finding in difference.findings {
            trial.find(finding);
        }
        further.extend(difference.undeclared.into_iter().map(|port| (node.clone(), port)));
        registered.extend(register_rows(node, &sockets, &listeners));
        // A peer's identity: on some links a node has to be the one that it says it is.
        let peer = nodes.iter().find(|other| other.name() != node.name() && other.cluster() == node.cluster()).unwrap_or(node);
        let materials = materials(trial, &prober, peer).await?;
        let wanted = |listener: &&Listening| listener.on != Reach::Socket && (which == Which::All || listener.sidecar);
        places.extend(listeners.into_iter().filter(wanted).map(|listener| Place {
            node: node.clone(),
            listener: listener.clone(),
            materials: materials.clone(),
        }));
    }
    trial.note("probe", format!("{} listeners", places.len()));
    let handshakes: Vec<_> = places.iter().map(|place| probe_row(trial, &prober, place)).collect();
    let mut rows: Vec<ProbeRow> = stream::iter(handshakes).buffered(ROWS_AT_ONCE).try_collect().await?;
    for (node, port) in further {
        rows.push(beside_the_model(trial, &node, port, which).await);
    }
    let cells = || rows.iter().flat_map(|row| row.cells.iter().flatten());
    let wrong = |expected: &[&str]| cells().filter(|cell| !cell.ok && expected.contains(&cell.expected.as_str())).count() as f64;
    trial.measure("wrongly_accepted", Some(wrong(&[REFUSED, CLOSED])), "probes");
    trial.measure("wrongly_refused", Some(wrong(&[ACCEPTED])), "probes");
    trial.measure("differences_from_model", Some(differences as f64), "listeners");
    trial.measure("probes", Some(cells().count() as f64), "probes");
    trial.matrix(ProbeMatrix {
        title: "Listeners: what each of them accepts".into(),
        row_heading: "Listener".into(),
        columns: Column::ALL.iter().map(|column| column.name().to_owned()).collect(),
        rows,
    });
    trial.register(Register {
        title: "Sockets that listen, from the nodes' own tables".into(),
        columns: ["Node", "Socket", "In the model", "Exception"].map(ToOwned::to_owned).to_vec(),
        rows: registered,
    });
    Ok(())
}

fn register_rows(node: &Node, sockets: &ListeningSockets, listeners: &[&Listening]) -> Vec<Vec<String>> {
    let row = |socket: String, listener: Option<&&Listening>| {
        let purpose = listener.map_or("no", |listener| listener.purpose.as_str()).to_owned();
        let exception = listener.and_then(|listener| listener.plain.clone()).unwrap_or_default();
        vec![node.name().to_owned(), socket, purpose, exception]
    };
    let tcp = sockets.tcp.iter().map(|(address, port)| {
        row(format!("{address} port {port}"), listeners.iter().find(|listener| listener.on != Reach::Socket && listener.port == *port))
    });
    let files = sockets.files.iter().map(|file| row(file.clone(), listeners.iter().find(|listener| listener.path == *file)));
    tcp.chain(files).collect()
}

async fn materials(trial: &Trial, prober: &TlsProber, peer: &Node) -> Result<Materials, ScenarioError> {
    let (own, foreign) = (trial.ground().authority(), trial.ground().foreign_authority());
    // Some ask for a peer's name, others for the address that the connection comes from.
    let (name, address) = (peer.name(), prober.address());
    let failed = |error: dora_harness::security::AuthorityError| ScenarioError::client("make a client certificate", error);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs().cast_signed());
    Ok(Materials {
        own: prober.keep_authority("own", own.certificate()).await?,
        foreign: prober.keep_authority("foreign", foreign.certificate()).await?,
        node: prober.keep_identity(&format!("{name}-own"), &own.issue_node(name, address).map_err(failed)?).await?,
        foreign_node: prober.keep_identity(&format!("{name}-foreign"), &foreign.issue_node(name, address).map_err(failed)?).await?,
        expired_node: prober.keep_identity(&format!("{name}-expired"), &own.issue_expired_node(name, address).map_err(failed)?).await?,
        stranger: prober.keep_identity("stranger", &own.issue_client("stranger").map_err(failed)?).await?,
        after_expiry: now + AFTER_EXPIRY_S,
    })
}

async fn probe_row(trial: &Trial, prober: &TlsProber, place: &Place) -> Result<ProbeRow, ScenarioError> {
    let name = format!("{}:{}", place.node.name(), place.listener.port);
    let mut cells = Vec::new();
    for column in Column::ALL {
        let Some(expected) = column.expected(&place.listener) else {
            cells.push(None);
            continue;
        };
        let seen = try_one(prober, place, column).await?;
        let wrong_reason = seen.verdict == REFUSED
            && expected == REFUSED
            && !column.reasons().is_empty()
            && !column.reasons().iter().any(|words| seen.detail.contains(words));
        let ok = seen.verdict == expected && !wrong_reason;
        if !ok {
            let message = format!("{name}: {} was {} ({}) and should have been {expected}", column.name(), seen.verdict, seen.detail);
            let is_clear = [ACCEPTED, REFUSED, OPEN, CLOSED].contains(&seen.verdict) && !wrong_reason;
            let id = if expected == ACCEPTED { "right-peer-refused" } else { column.finding() };
            trial.find(if is_clear { Finding::violation(id, message) } else { Finding::unconfirmed("not-probed", message) });
        }
        let observed = if seen.detail.is_empty() { seen.verdict.to_owned() } else { format!("{}: {}", seen.verdict, seen.detail) };
        cells.push(Some(ProbeCell { expected: expected.to_owned(), observed, ok }));
    }
    let exception = if place.listener.plain.is_some() { " (named exception)" } else { "" };
    Ok(ProbeRow { name: format!("{name} {}{exception}", place.listener.purpose), cells })
}

struct Seen {
    verdict: &'static str,
    detail: String,
}

async fn try_one(prober: &TlsProber, place: &Place, column: Column) -> Result<Seen, ScenarioError> {
    let (node, listener, files) = (&place.node, &place.listener, &place.materials);
    if matches!(column, Column::Plaintext | Column::FromNetwork) {
        let answer = speak(node.socket(listener.port), listener.protocol).await;
        return Ok(if column == Column::Plaintext { plain(answer) } else { reached(answer) });
    }
    let demands = listener.client_certificate == ClientCertificate::Demanded;
    // What a good peer shows, so that only one thing is wrong at a time.
    let mut attempt = Attempt { identity: demands.then(|| files.node.clone()), ..Attempt::default() };
    let trust = |authority: &str| Some(Trust { authority: authority.to_owned(), name: None, at: None });
    let mut hold = false;
    match column {
        Column::Version(version) => {
            attempt.version = Some(version);
            hold = demands && version == TlsVersion::V1_3;
        }
        Column::WeakSuites => attempt.suites = Suites::Weak,
        Column::RightName => attempt.trust = trust(&files.own),
        Column::ForeignAuthority => attempt.trust = trust(&files.foreign),
        Column::WrongName => attempt.trust = Some(Trust { authority: files.own.clone(), name: Some(ELSEWHERE.into()), at: None }),
        Column::AfterExpiry => attempt.trust = Some(Trust { authority: files.own.clone(), name: None, at: Some(files.after_expiry) }),
        Column::NoCertificate | Column::OwnCertificate | Column::ForeignCertificate | Column::ExpiredCertificate | Column::NoIdentity => {
            hold = true;
            attempt.version = Some(TlsVersion::V1_3);
            attempt.identity = match column {
                Column::OwnCertificate => Some(files.node.clone()),
                Column::ForeignCertificate => Some(files.foreign_node.clone()),
                Column::ExpiredCertificate => Some(files.expired_node.clone()),
                Column::NoIdentity => Some(files.stranger.clone()),
                _ => None,
            };
        }
        Column::Plaintext | Column::FromNetwork => {}
    }
    let answer = prober.attempt(node.address(), listener.port, listener.start, &attempt, hold).await?;
    Ok(match answer {
        Handshake::Accepted { protocol } => Seen { verdict: ACCEPTED, detail: protocol },
        Handshake::Refused { reason } => Seen { verdict: REFUSED, detail: reason },
        Handshake::Unreachable { reason } => Seen { verdict: "unreachable", detail: reason },
    })
}

fn plain(answer: PlainAnswer) -> Seen {
    match answer {
        PlainAnswer::Spoken(detail) => Seen { verdict: ACCEPTED, detail },
        PlainAnswer::Refused(detail) => Seen { verdict: REFUSED, detail },
        PlainAnswer::OtherReason(detail) => Seen { verdict: "refused for another reason", detail },
        PlainAnswer::Unreachable(detail) => Seen { verdict: "unreachable", detail },
    }
}

fn reached(answer: PlainAnswer) -> Seen {
    match answer {
        PlainAnswer::Unreachable(detail) => Seen { verdict: CLOSED, detail },
        PlainAnswer::Spoken(detail) | PlainAnswer::Refused(detail) | PlainAnswer::OtherReason(detail) => Seen { verdict: OPEN, detail },
    }
}

/// A port that the model does not have: whether it can be reached, and whether it leads past a sidecar.
async fn beside_the_model(trial: &Trial, node: &Node, port: u16, which: Which) -> ProbeRow {
    let answer = speak(node.socket(port), Plaintext::Http).await;
    let place = format!("{}:{port}", node.name());
    if which == Which::Sidecars
        && let PlainAnswer::Spoken(words) = &answer
    {
        trial.find(Finding::violation("sidecar-bypassed", format!("{place} answers without TLS beside the sidecar: {words}")));
    }
    let seen = reached(answer);
    let cell = |column: &Column| {
        (*column == Column::FromNetwork).then(|| ProbeCell {
            expected: CLOSED.to_owned(),
            observed: format!("{}: {}", seen.verdict, seen.detail),
            ok: seen.verdict == CLOSED,
        })
    };
    ProbeRow { name: format!("{place} (not in the model)"), cells: Column::ALL.iter().map(cell).collect() }
}
