//! The harness's end of a seat.

use std::{
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use serde::{Serialize, de::DeserializeOwned};

use super::{
    Forwarding, Probed, Sample, Watched,
    program::{Mode, SEAT_ARGUMENT},
};
use crate::{network::NetworkError, topology::Node};

/// Where the program stands in every seat.
const PROGRAM: &str = "/seat/program";
/// Starting the program and reading its answer takes well under this beside its own time.
const EXEC_MARGIN: Duration = Duration::from_secs(20);

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

    /// Watches ports for `time`.
    ///
    /// # Errors
    /// [`NetworkError`] when the probe does not work.
    pub async fn watch(&self, ports: &[Watched], time: Duration) -> Result<Vec<Sample>, NetworkError> {
        self.carry_out(Mode::Watch, time, time, &ports).await
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
