//! One server under load, until it is killed.

use std::time::Duration;

use async_trait::async_trait;
use dora_harness::{
    database::redis::{Access, Account, Keeping, PORT, Single, ask, info},
    fault::{Fault, FaultRecord, Kill, PowerLoss, inject},
    history::{Outcome, Recorder},
    patience::within,
    topology::Equipment,
    workload::{Adder, Adds, Client, InsertClient, Pace, Rhythm, Running},
};
use redis::aio::MultiplexedConnection;

use crate::{ScenarioError, Trial, ha::redis::master::outcome_of};

/// The list that the clients append to.
const LIST: &str = "app:ha:inserts";
/// Clients of one server.
const CLIENTS: usize = 2;
/// Time from one insert of a client to its next: fast enough that two seconds without a flush would show.
const INSERT_EVERY: Duration = Duration::from_millis(10);
/// A fault shows within this time, and so does its healing.
const CONFIRM_LIMIT: Duration = Duration::from_secs(20);
const SNAPSHOT_LIMIT: Duration = Duration::from_secs(20);

/// Inserts that are offered within so many milliseconds.
pub fn inserts_within(window_ms: u64) -> u64 {
    CLIENTS as u64 * window_ms.div_ceil(INSERT_EVERY.as_millis() as u64)
}

/// How a server ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Crash {
    /// Its process is killed; the kernel keeps what was written.
    Process,
    /// Its machine loses its power, and with it what was not flushed.
    Power,
}

/// A server of which something is asserted.
pub struct Server {
    /// What is asserted.
    pub asserted: Keeping,
    /// The server, which may be another if this is a proof.
    pub single: Single,
    /// What the clients did.
    pub recorder: Recorder,
    running: Option<Running>,
    crash: Crash,
}

impl Server {
    /// Starts the server and its load.
    pub async fn start(trial: &Trial, asserted: Keeping, real: Keeping, crash: Crash) -> Result<Self, ScenarioError> {
        let name = format!("rdl-{asserted}");
        trial.ground().equip(&name, Equipment { power: crash == Crash::Power, ..Equipment::default() });
        let single = Single::start(trial.ground(), &name, real).await?;
        let recorder = if asserted == Keeping::Always {
            trial.recorder()
        } else {
            trial.further_recorder(asserted.name()).map(|(recorder, _)| recorder)
        };
        let recorder = match recorder {
            Ok(recorder) => recorder,
            Err(error) => {
                single.destroy().await?;
                return Err(error);
            }
        };
        let client = |_: usize| {
            let inserts = Inserts { access: single.access().clone(), address: single.node().socket(PORT), connection: None };
            Box::new(Adder(Box::new(inserts))) as Box<dyn Client>
        };
        let pace = Pace { rhythm: Rhythm::Closed(INSERT_EVERY), limit: Duration::from_secs(2) };
        let running = Running::start((0..CLIENTS).map(client).collect(), Box::new(Adds::default()), pace, &recorder);
        Ok(Self { asserted, single, recorder, running: Some(running), crash })
    }

    async fn connect(&self) -> Result<MultiplexedConnection, ScenarioError> {
        self.single
            .connect(Account::Admin)
            .await
            .map_err(|error| ScenarioError::client(format!("connect to {}", self.single.node().name()), error))
    }

    /// How it keeps its data by its own word.
    pub async fn configuration(&self) -> Result<String, ScenarioError> {
        let mut connection = self.connect().await?;
        let failed = |error| ScenarioError::client("read the configuration", error);
        let said: Vec<String> = ask(&mut connection, &["CONFIG", "GET", "append*"]).await.map_err(failed)?;
        let of = |name: &str| said.chunks(2).find(|pair| pair[0] == name).map(|pair| pair[1].clone()).unwrap_or_default();
        Ok(format!("appendonly {}, appendfsync {}", of("appendonly"), of("appendfsync")))
    }

    /// Takes a snapshot and waits for its end.
    pub async fn snapshot(&self) -> Result<(), ScenarioError> {
        let mut connection = self.connect().await?;
        ask::<()>(&mut connection, &["BGSAVE"]).await.map_err(|error| ScenarioError::client("begin the snapshot", error))?;
        within("the end of the snapshot", SNAPSHOT_LIMIT, Duration::from_millis(50), || {
            let mut connection = connection.clone();
            async move {
                let said = info(&mut connection, "persistence").await.map_err(|error| error.to_string())?;
                let is = |name: &str, value: &str| said.get(name).is_some_and(|found| found == value);
                if is("rdb_bgsave_in_progress", "0") && is("rdb_last_bgsave_status", "ok") && !is("rdb_saves", "0") {
                    Ok(())
                } else {
                    Err("it is being written".to_owned())
                }
            }
        })
        .await?;
        Ok(())
    }

    /// Ends it under load, ends the load, and starts it again on its own files.
    pub async fn crash(&mut self, trial: &Trial) -> Result<FaultRecord, ScenarioError> {
        let (node, role) = (self.single.node().clone(), format!("single server, {}", self.asserted));
        let fault: Box<dyn Fault> = match self.crash {
            Crash::Process => Box::new(Kill::new(node, role, PORT)),
            Crash::Power => Box::new(PowerLoss::new(node, role, PORT)),
        };
        let injected = inject(fault, trial.origin()).await?;
        let confirmed = injected.confirm(CONFIRM_LIMIT).await;
        if let Some(running) = self.running.take() {
            running.stop().await;
        }
        self.recorder.flush()?;
        let healed = match confirmed {
            Ok(confirmed) => confirmed.heal().await?,
            Err(unconfirmed) => unconfirmed.heal().await?,
        };
        Ok(healed.confirm(CONFIRM_LIMIT).await)
    }

    /// What it has, as soon as it has loaded its files.
    pub async fn values(&self) -> Result<Vec<u64>, ScenarioError> {
        Ok(within("a server that has loaded its data", CONFIRM_LIMIT, Duration::from_millis(100), || async {
            let mut connection = self.single.connect(Account::Admin).await?;
            ask::<Vec<u64>>(&mut connection, &["LRANGE", LIST, "0", "-1"]).await
        })
        .await?)
    }

    /// Removes it.
    pub async fn destroy(mut self) -> Result<(), ScenarioError> {
        if let Some(running) = self.running.take() {
            running.stop().await;
        }
        Ok(self.single.destroy().await?)
    }
}

struct Inserts {
    access: Access,
    address: std::net::SocketAddr,
    connection: Option<MultiplexedConnection>,
}

#[async_trait]
impl InsertClient for Inserts {
    async fn insert(&mut self, value: u64) -> Outcome {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => match self.access.connect(self.address, Account::App).await {
                Ok(connection) => connection,
                // Nothing was sent that could have been applied.
                Err(error) => return Outcome::Fail(error.to_string()),
            },
        };
        match ask::<u64>(&mut connection, &["RPUSH", LIST, &value.to_string()]).await {
            Ok(_length) => {
                self.connection = Some(connection);
                Outcome::Ok
            }
            Err(error) => outcome_of(&error),
        }
    }
}
