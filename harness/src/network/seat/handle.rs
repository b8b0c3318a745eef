//! The harness's end of a seat.

use std::{
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use rand::RngExt as _;
use serde::{Serialize, de::DeserializeOwned};

use super::{
    Forwarding, Probed, Sample, Watched,
    program::{Mode, SEAT_ARGUMENT},
    watch::WatchOrder,
};
use crate::{network::NetworkError, topology::Node};

/// The volume that all seats share.
const SHARED: &str = "/seat";
/// Where the program stands in every seat.
const PROGRAM: &str = "/seat/program";
/// Starting the program and reading its answer takes well under this beside its own time.
const EXEC_MARGIN: Duration = Duration::from_secs(20);

/// The word on which watches end, from whichever seats they look.
#[derive(Debug, Clone)]
pub struct WatchEnd {
    file: String,
}

impl WatchEnd {
    /// A word of one's own: scenarios watch side by side.
    #[expect(clippy::new_without_default, reason = "each is another")]
    pub fn new() -> Self {
        Self { file: format!("end-{:016x}", rand::rng().random::<u64>()) }
    }
}

/// A pod in a zone. Clones are handles of the same one.
#[derive(Debug, Clone)]
pub struct Seat {
    zone: String,
    pod: Node,
}

impl Seat {
    pub(in crate::network) fn new(zone: &str, pod: Node) -> Self {
        Self { zone: zone.to_owned(), pod }
    }

    /// The zone's name.
    pub fn zone(&self) -> &str {
        &self.zone
    }

    /// Its address in the zone.
    pub fn address(&self) -> Ipv4Addr {
        self.pod.address()
    }

    /// Connects once to each port; what does not answer within `limit` is silent.
    ///
    /// # Errors
    /// [`NetworkError`] when the probe does not work.
    pub async fn probe(&self, ports: &[SocketAddr], limit: Duration) -> Result<Vec<Probed>, NetworkError> {
        let probed: Vec<Probed> = self.carry_out(Mode::Probe, limit, limit * 30, &ports).await?;
        if probed.len() == ports.len() {
            return Ok(probed);
        }
        Err(self.failed(format!("{} of {} ports were probed", probed.len(), ports.len())))
    }

    /// Watches ports until `end` is said, at most for `time`.
    ///
    /// # Errors
    /// [`NetworkError`] when the probe does not work.
    pub async fn watch(&self, ports: &[Watched], end: &WatchEnd, time: Duration) -> Result<Vec<Sample>, NetworkError> {
        let order = WatchOrder { ports: ports.to_vec(), end: format!("{SHARED}/{}", end.file) };
        self.carry_out(Mode::Watch, time, time, &order).await
    }

    /// Ends the watches of all seats that wait for this word.
    ///
    /// # Errors
    /// [`NetworkError`] when the word does not reach the seats.
    pub async fn end_watches(&self, end: &WatchEnd) -> Result<(), NetworkError> {
        Ok(self.pod.put_files_in_pod(SHARED, &[(end.file.as_str(), b"".as_slice(), 0o644)]).await?)
    }

    /// Leads connections to the seat's ports on for `time`; returns after that.
    ///
    /// # Errors
    /// [`NetworkError`] when a port is taken.
    pub async fn forward(&self, all: &[Forwarding], time: Duration) -> Result<(), NetworkError> {
        self.carry_out(Mode::Forward, time, time, &all).await
    }

    async fn carry_out<T: DeserializeOwned>(
        &self,
        mode: Mode,
        time: Duration,
        most: Duration,
        order: &impl Serialize,
    ) -> Result<T, NetworkError> {
        let order = serde_json::to_vec(order).map_err(|error| self.failed(error))?;
        let milliseconds = time.as_millis().to_string();
        let command = [PROGRAM, SEAT_ARGUMENT, mode.word(), &milliseconds];
        let output = self.pod.exec_in_pod(&command, &order, most + EXEC_MARGIN).await?;
        if output.code != 0 {
            return Err(self.failed(output.stderr.trim()));
        }
        serde_json::from_str(&output.stdout).map_err(|error| self.failed(error))
    }

    fn failed(&self, why: impl std::fmt::Display) -> NetworkError {
        NetworkError::Seat { zone: self.zone.clone(), why: why.to_string() }
    }
}
