//! Three bare nodes, and what is done with every fault.

use std::{
    collections::BTreeMap,
    net::Ipv4Addr,
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

use dora_harness::{
    engine::{Engine, RunId, RunKind, reaper::Reaper},
    fault::{Fault, FaultRecord, inject},
    topology::{Equipment, Ground, GroundOptions, Node, PodSpec, Profile, Seat},
};
use libtest_mimic::{Failed, Trial};
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// The listener's port.
pub const PORT: u16 = 5000;
/// On a bare pod a fault shows at once.
pub const LIMIT: Duration = Duration::from_secs(10);
/// Long enough for several askings of a probe.
const IN_VAIN: Duration = Duration::from_millis(1500);

pub struct Lab {
    runtime: Runtime,
    open: OnceLock<Result<Open, String>>,
}

struct Open {
    nodes: Vec<Node>,
    ground: Ground,
    logs: TempDir,
    reaper: Reaper,
}

/// The three nodes.
#[derive(Clone)]
pub struct Nodes {
    pub a: Node,
    pub b: Node,
    pub c: Node,
}

impl Lab {
    pub fn new(runtime: Runtime) -> Arc<Self> {
        Arc::new(Self { runtime, open: OnceLock::new() })
    }

    pub fn runtime(&self) -> &Runtime {
        &self.runtime
    }

    /// A trial on the three nodes.
    pub fn trial<F>(self: &Arc<Self>, name: &str, body: impl FnOnce(Nodes) -> F + Send + 'static) -> Trial
    where
        F: Future<Output = Result<(), Failed>>,
    {
        let lab = Arc::clone(self);
        Trial::test(name, move || {
            let open = lab.open.get_or_init(|| lab.runtime.block_on(start()));
            let open = open.as_ref().map_err(Failed::from)?;
            let [a, b, c] = [0, 1, 2].map(|index| open.nodes[index].clone());
            lab.runtime.block_on(body(Nodes { a, b, c }))
        })
    }

    /// A further node, with an equipment. The lab has to be open.
    pub async fn equipped(&self, name: &str, equipment: Equipment) -> Result<Node, Failed> {
        self.ground()?.equip(name, equipment);
        self.further(name, include_bytes!("listener.sh")).await
    }

    /// A further node that runs this script. The lab has to be open.
    pub async fn further(&self, name: &str, script: &[u8]) -> Result<Node, Failed> {
        let ground = self.ground()?;
        let seat = ground.seats(&[name.to_owned()]).map_err(|error| error.to_string())?.remove(0);
        let hosts = vec![(seat.name.clone(), seat.address)];
        let files = vec![("/dora/bin/start.sh".into(), script.to_vec(), 0o755)];
        Ok(ground.start(PodSpec { files, ..listener(seat, hosts) }).await.map_err(|error| error.to_string())?)
    }

    /// What the nodes stand on. The lab has to be open.
    pub fn ground(&self) -> Result<&Ground, Failed> {
        Ok(&self.opened()?.ground)
    }

    /// What was kept of a node's log. The lab has to be open.
    pub fn kept_log(&self, node: &str) -> Result<String, Failed> {
        Ok(std::fs::read_to_string(self.opened()?.logs.path().join(format!("{node}.log")))?)
    }

    fn opened(&self) -> Result<&Open, Failed> {
        match self.open.get() {
            Some(Ok(open)) => Ok(open),
            _ => Err("the lab is not open".into()),
        }
    }

    /// Removes the nodes.
    pub fn close(self: Arc<Self>) {
        if let Some(Ok(open)) = Arc::into_inner(self).and_then(|lab| lab.open.into_inner()) {
            open.reaper.reap();
        }
    }
}

async fn start() -> Result<Open, String> {
    let text = |error: &dyn std::fmt::Display| error.to_string();
    let logs = TempDir::new().map_err(|error| text(&error))?;
    let engine = Engine::connect().await.map_err(|error| text(&error))?.keeping_logs(logs.path().to_owned(), "");
    let images = engine.ensure_images(&["base"], &BTreeMap::new(), Arc::new(|_| {})).await.map_err(|error| text(&error))?;
    let run = RunId::generate();
    let reaper = Reaper::start(&run).map_err(|error| text(&error))?;
    let options = GroundOptions { run, kind: RunKind::Bound, profile: Profile::Staging, images };
    let ground = Ground::lay(engine, options).await.map_err(|error| text(&error))?;
    let seats = ground.seats(&["a", "b", "c"].map(ToOwned::to_owned)).map_err(|error| text(&error))?;
    for seat in &seats {
        // They hold nothing, and what is tried here is not their storage.
        ground.volumes().plan(&seat.name, dora_harness::volume::VolumePlan::Plain);
    }
    let hosts: Vec<_> = seats.iter().map(|seat| (seat.name.clone(), seat.address)).collect();
    let starts = seats.into_iter().map(|seat| ground.start(listener(seat, hosts.clone())));
    let nodes = futures_util::future::try_join_all(starts).await.map_err(|error| text(&error))?;
    Ok(Open { nodes, ground, logs, reaper })
}

/// What stands on a seat.
fn listener(seat: Seat, hosts: Vec<(String, Ipv4Addr)>) -> PodSpec {
    PodSpec {
        seat,
        cluster: "bare".into(),
        role: "listener".into(),
        image: "base".into(),
        user: "nobody".into(),
        hosts,
        files: vec![("/dora/bin/start.sh".into(), include_bytes!("listener.sh").to_vec(), 0o755)],
        env: Vec::new(),
        capabilities: Vec::new(),
        volumes: Vec::new(),
        memory_bytes: 128 << 20,
        loads_for: Duration::ZERO,
    }
}

/// The whole life of a fault, each step seen.
pub async fn lives<F: Fault>(fault: F) -> Result<FaultRecord, Failed> {
    let injected = inject(fault, Instant::now()).await.map_err(|error| error.to_string())?;
    let confirmed = match injected.confirm(LIMIT).await {
        Ok(confirmed) => confirmed,
        Err(unconfirmed) => {
            let seen = unconfirmed.last_seen().to_owned();
            unconfirmed.heal().await.map_err(|error| error.to_string())?.confirm(LIMIT).await;
            return Err(format!("was not seen: {seen}").into());
        }
    };
    let record = confirmed.heal().await.map_err(|error| error.to_string())?.confirm(LIMIT).await;
    if record.heal_confirmed_ms.is_none() {
        return Err("was not seen to end".into());
    }
    eprintln!("{record:?}");
    Ok(record)
}

/// A fault whose injection is undone behind its back must stay unconfirmed, for the expected reason.
pub async fn stays_unseen<F, U>(fault: F, undo: U, because: &str) -> Result<(), Failed>
where
    F: Fault,
    U: Future<Output = Result<(), Failed>>,
{
    let injected = inject(fault, Instant::now()).await.map_err(|error| error.to_string())?;
    undo.await?;
    match injected.confirm(IN_VAIN).await {
        Ok(confirmed) => {
            confirmed.heal().await.map_err(|error| error.to_string())?.confirm(LIMIT).await;
            Err("was confirmed although its injection had been undone".into())
        }
        Err(unconfirmed) => {
            let seen = unconfirmed.last_seen().to_owned();
            let record = unconfirmed.heal().await.map_err(|error| error.to_string())?.confirm(LIMIT).await;
            eprintln!("unconfirmed: {seen}");
            if !seen.contains(because) {
                return Err(format!("unconfirmed because `{seen}`, not because `{because}`").into());
            }
            if record.heal_confirmed_ms.is_none() { Err("was not seen to end".into()) } else { Ok(()) }
        }
    }
}
