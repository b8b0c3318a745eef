//! A real client in a zone: the database's own driver in the harness, whose connections come from the zone's seat.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use dora_harness::{
    fault::SlowLink,
    network::{
        Policy,
        seat::{Forwarding, Seat},
    },
    patience::within,
};
use rand::RngExt as _;
use tokio::{net::TcpStream, time::timeout};

use crate::{
    ScenarioError,
    security::{Listener, TlsTarget},
};

/// Between two logins of a client.
const EVERY: Duration = Duration::from_millis(150);
/// A login that takes longer has failed.
const LIMIT: Duration = Duration::from_secs(8);
/// The program on the seat is ready by then.
const READY_LIMIT: Duration = Duration::from_secs(15);
/// From where on a seat's ports are chosen: several scenarios use one seat side by side.
const PORTS: std::ops::Range<u16> = 10_000..60_000;

/// One login with a small question.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    /// When it began.
    pub began: Instant,
    /// When it ended.
    pub ended: Instant,
    /// What the client said, if it failed.
    pub error: Option<String>,
}

/// A client of one zone and one port.
pub(super) struct ZoneClient<'a> {
    /// The zone's seat.
    pub seat: &'a Seat,
    /// The port of the node.
    pub listener: Listener,
    forwarding: Forwarding,
}

/// For each zone that may reach a client port, a client of the first such port.
pub(super) async fn clients<'a>(seats: &'a [Seat], policy: &Policy, target: &dyn TlsTarget) -> Result<Vec<ZoneClient<'a>>, ScenarioError> {
    let listeners = target.listeners().await?;
    let may = |seat: &Seat, listener: &Listener| {
        policy.service_of(&listener.node).is_some_and(|service| policy.allows(seat.zone(), service, listener.port))
    };
    let client = |seat: &'a Seat| {
        let listener = listeners.iter().find(|listener| may(seat, listener))?.clone();
        let forwarding = Forwarding { port: rand::rng().random_range(PORTS), to: listener.node.socket(listener.port) };
        Some(ZoneClient { seat, listener, forwarding })
    };
    Ok(seats.iter().filter_map(client).collect())
}

impl ZoneClient<'_> {
    /// As people write it.
    pub fn name(&self) -> String {
        format!("the client of {}:{} in zone {}", self.listener.node.name(), self.listener.port, self.seat.zone())
    }

    /// Leads the seat's port to the node's for `time`.
    pub async fn lead(&self, time: Duration) -> Result<(), ScenarioError> {
        Ok(self.seat.forward(&[self.forwarding], time).await?)
    }

    /// Waits until the seat's port is there.
    pub async fn ready(&self) -> Result<(), ScenarioError> {
        let address = self.way();
        within("the way through the zone", READY_LIMIT, Duration::from_millis(50), || TcpStream::connect(address)).await?;
        Ok(())
    }

    fn way(&self) -> SocketAddr {
        SocketAddr::from((self.seat.address(), self.forwarding.port))
    }

    /// Logs in and asks again and again, until told to stop.
    pub async fn keep_asking(&self, target: &dyn TlsTarget, authority: &str, until: Instant) -> Result<Vec<Asked>, ScenarioError> {
        // The client connects to 127.0.0.1, which every certificate names; from there on nobody looks into its connection.
        let link = SlowLink::open(self.way(), Duration::ZERO).await?;
        let mut all = Vec::new();
        while Instant::now() < until {
            let began = Instant::now();
            let error = match timeout(LIMIT, target.connect(&self.listener, link.address(), authority)).await {
                Ok(outcome) => outcome.err(),
                Err(_elapsed) => Some(format!("no answer within {} s", LIMIT.as_secs())),
            };
            all.push(Asked { began, ended: Instant::now(), error });
            tokio::time::sleep(EVERY).await;
        }
        Ok(all)
    }
}
