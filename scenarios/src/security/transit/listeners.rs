//! Probes every listener of the model on every node, and compares the model with the nodes' own tables of sockets.

use std::{
    collections::BTreeMap,
    time::{SystemTime, UNIX_EPOCH},
};

use dora_harness::{
    security::{Attempt, Handshake, Hold, ListeningSockets, PlainAnswer, Plaintext, Suites, TlsProber, TlsVersion, Trust, speak},
    topology::{ClientCertificate, Listening, Node, Reach, Wiring},
};
use dora_reports::evidence::{Finding, NamedLimit, ProbeCell, ProbeMatrix, ProbeRow, Register};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use super::{
    TransitTarget,
    column::{ACCEPTED, CLOSED, Column, OPEN, REFUSED},
    sockets::compare,
};
use crate::{ScenarioError, Trial, defect::under_defect};

/// Rows that are probed side by side: a row is a handful of small processes one after the other, most of whose time is waiting.
const ROWS_AT_ONCE: usize = 5;
/// A name that no certificate of the run bears.
pub(super) const ELSEWHERE: &str = "elsewhere.invalid";
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
    let (plant, undo) = (|id| target.sabotage(trial, id), |id| target.undo_sabotage(trial, id));
    under_defect(trial, plant, undo, Box::pin(probe_all(trial, target, which))).await
}

/// One row of the matrix.
struct Place {
    node: Node,
    listener: Listening,
    materials: Materials,
}

/// Files in the prober's pod that the probes of one node use.
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

/// Makes the files of one trial, each once and under a name of its own: scenarios that run side by side share the prober's pod, and a file
/// that is written again is missing for a moment.
struct Files<'a> {
    trial: &'a Trial,
    prober: &'a TlsProber,
    mark: String,
    own: String,
    foreign: String,
    stranger: String,
    of_peers: BTreeMap<String, Materials>,
}

async fn probe_all(trial: &Trial, target: &dyn TransitTarget, which: Which) -> Result<(), ScenarioError> {
    let wiring = Wiring::of(target.member())?;
    let prober = trial.platform().prober(trial.ground()).await?;
    let clusters = trial.platform().part(target.member()).clusters().await;
    let nodes: Vec<Node> = clusters.iter().flat_map(|cluster| cluster.nodes()).collect();
    if nodes.is_empty() {
        return Err(ScenarioError::Missing(format!("there is no {} in this run", target.member())));
    }
    let mut files = Files::new(trial, &prober).await?;
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
        let materials = files.of_peer(peer).await?;
        let wanted = |listener: &&Listening| listener.on != Reach::Socket && (which == Which::All || listener.sidecar);
        places.extend(listeners.into_iter().filter(wanted).map(|listener| Place {
            node: node.clone(),
            listener: listener.clone(),
            materials: materials.clone(),
        }));
    }
    if places.is_empty() {
        let kind = if which == Which::Sidecars { "sidecar" } else { "listener" };
        return Err(ScenarioError::Missing(format!("no {kind} of {} is in this run, so there is nothing to probe", target.member())));
    }
    trial.note("probe", format!("{} listeners", places.len()));
    let handshakes: Vec<_> = places.iter().map(|place| probe_row(trial, &prober, place)).collect();
    let mut rows: Vec<ProbeRow> = stream::iter(handshakes).buffered(ROWS_AT_ONCE).try_collect().await?;
    for (node, port) in further {
        rows.push(beside_the_model(trial, &node, port, which).await);
    }
    let cells = || rows.iter().flat_map(|row| row.cells.iter().flatten());
    let wrong = |expected: &[&str]| cells().filter(|cell| cell.is_wrong() && expected.contains(&cell.expected.as_str())).count() as f64;
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
    let udp = sockets.udp.iter().map(|(address, port)| row(format!("UDP {address} port {port}"), None));
    let files = sockets.files.iter().map(|file| row(file.clone(), listeners.iter().find(|listener| listener.path == *file)));
    tcp.chain(udp).chain(files).collect()
}

fn uncertified(error: dora_harness::security::AuthorityError) -> ScenarioError {
    ScenarioError::client("make a client certificate", error)
}

impl<'a> Files<'a> {
    async fn new(trial: &'a Trial, prober: &'a TlsProber) -> Result<Self, ScenarioError> {
        let (own, foreign) = (trial.ground().authority(), trial.ground().foreign_authority());
        let mark = format!("{:016x}", rand::random::<u64>());
        let stranger = own.issue_client("stranger").map_err(uncertified)?;
        Ok(Self {
            trial,
            prober,
            own: prober.keep_authority(&format!("{mark}-own"), own.certificate()).await?,
            foreign: prober.keep_authority(&format!("{mark}-foreign"), foreign.certificate()).await?,
            stranger: prober.keep_identity(&format!("{mark}-stranger"), &stranger).await?,
            mark,
            of_peers: BTreeMap::new(),
        })
    }

    /// With the identities of that node.
    async fn of_peer(&mut self, peer: &Node) -> Result<Materials, ScenarioError> {
        if let Some(made) = self.of_peers.get(peer.name()) {
            return Ok(made.clone());
        }
        let (own, foreign) = (self.trial.ground().authority(), self.trial.ground().foreign_authority());
        // Some ask for a peer's name, others for the address that the connection comes from.
        let (name, address, prober) = (peer.name(), self.prober.address(), self.prober);
        let file = |what: &str| format!("{}-{name}-{what}", self.mark);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs().cast_signed());
        let foreign_node = foreign.issue_node(name, address).map_err(uncertified)?;
        let expired_node = own.issue_expired_node(name, address).map_err(uncertified)?;
        let made = Materials {
            own: self.own.clone(),
            foreign: self.foreign.clone(),
            node: prober.keep_identity(&file("own"), &own.issue_node(name, address).map_err(uncertified)?).await?,
            foreign_node: prober.keep_identity(&file("foreign"), &foreign_node).await?,
            expired_node: prober.keep_identity(&file("expired"), &expired_node).await?,
            stranger: self.stranger.clone(),
            after_expiry: now + AFTER_EXPIRY_S,
        };
        self.of_peers.insert(name.to_owned(), made.clone());
        Ok(made)
    }
}

async fn probe_row(trial: &Trial, prober: &TlsProber, place: &Place) -> Result<ProbeRow, ScenarioError> {
    let name = format!("{}:{}", place.node.name(), place.listener.port);
    let mut cells = Vec::new();
    for column in Column::ALL {
        let Some(expected) = column.expected(&place.listener) else {
            cells.push(None);
            continue;
        };
        let seen = try_one(prober, place, column, expected).await?;
        let reasons = column.reasons(&place.listener);
        let wrong_reason = seen.verdict == REFUSED
            && expected == REFUSED
            && !reasons.is_empty()
            && !reasons.iter().any(|words| seen.detail.contains(words));
        let ok = seen.verdict == expected && !wrong_reason;
        let is_clear = [ACCEPTED, REFUSED, OPEN, CLOSED].contains(&seen.verdict) && !wrong_reason;
        if !ok {
            let message = format!("{name}: {} was {} ({}) and should have been {expected}", column.name(), seen.verdict, seen.detail);
            let id = if expected == ACCEPTED { "right-peer-refused" } else { column.finding() };
            trial.find(if is_clear { Finding::violation(id, message) } else { Finding::unconfirmed("not-probed", message) });
        }
        let observed = if seen.detail.is_empty() { seen.verdict.to_owned() } else { format!("{}: {}", seen.verdict, seen.detail) };
        cells.push(Some(ProbeCell { expected: expected.to_owned(), observed, ok, undecided: !ok && !is_clear }));
    }
    let exception = if place.listener.plain.is_some() { " (named exception)" } else { "" };
    Ok(ProbeRow { name: format!("{name} {}{exception}", place.listener.purpose), cells })
}

struct Seen {
    verdict: &'static str,
    detail: String,
}

async fn try_one(prober: &TlsProber, place: &Place, column: Column, expected: &str) -> Result<Seen, ScenarioError> {
    let (node, listener, files) = (&place.node, &place.listener, &place.materials);
    if matches!(column, Column::Plaintext | Column::FromNetwork) {
        let answer = speak(node.socket(listener.port), listener.protocol).await;
        return Ok(if column == Column::Plaintext { plain(answer) } else { reached(answer) });
    }
    let demands = listener.client_certificate == ClientCertificate::Demanded;
    // What a good peer shows, so that only one thing is wrong at a time.
    let mut attempt = Attempt { alpn: listener.alpn.clone(), identity: demands.then(|| files.node.clone()), ..Attempt::default() };
    let trust = |authority: &str| Some(Trust { authority: authority.to_owned(), name: None, at: None });
    let mut hold = Hold::None;
    match column {
        Column::Version(version) => {
            attempt.version = Some(version);
            if demands && version == TlsVersion::V1_3 {
                hold = Hold::Short;
            }
        }
        Column::WeakSuites => attempt.suites = Suites::Weak,
        Column::RightName => attempt.trust = trust(&files.own),
        Column::ForeignAuthority => attempt.trust = trust(&files.foreign),
        Column::WrongName => attempt.trust = Some(Trust { authority: files.own.clone(), name: Some(ELSEWHERE.into()), at: None }),
        Column::AfterExpiry => attempt.trust = Some(Trust { authority: files.own.clone(), name: None, at: Some(files.after_expiry) }),
        Column::NoCertificate | Column::OwnCertificate | Column::ForeignCertificate | Column::ExpiredCertificate | Column::NoIdentity => {
            hold = Hold::Short;
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
    let ask = |hold| prober.attempt(node.address(), listener.port, listener.start, &attempt, hold);
    let mut answer = ask(hold).await?;
    // A server on a busy machine may say later than that what it thinks of the client's certificate.
    if hold != Hold::None && expected == REFUSED && matches!(answer, Handshake::Accepted { .. }) {
        answer = ask(Hold::Long).await?;
        // A refusal is an alert. Without one the server may just have tired of a client that says nothing.
        if let Handshake::Refused { reason } = &answer
            && !reason.contains("alert")
        {
            return Ok(Seen { verdict: "accepted and then left", detail: reason.clone() });
        }
    }
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
        PlainAnswer::OtherReason(detail) => Seen { verdict: "not refused for want of TLS", detail },
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
            ..ProbeCell::default()
        })
    };
    ProbeRow { name: format!("{place} (not in the model)"), cells: Column::ALL.iter().map(cell).collect() }
}
