//! A real client in a zone: the database's own driver in the harness, whose connections come from the zone's seat.

use std::{
    net::SocketAddr,
    sync::atomic::{AtomicBool, Ordering},
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
use futures_util::future::join_all;
use rand::RngExt as _;
use tokio::{
    net::TcpStream,
    time::{sleep, timeout},
};

use crate::{
    ScenarioError,
    security::{Listener, TlsTarget},
};

/// How many logins of a client are under way at once: one that hangs must not keep it from trying another.
const AT_ONCE: u32 = 2;
/// Between two logins that follow each other.
const EVERY: Duration = Duration::from_millis(300);
/// A login that takes longer has failed.
const LIMIT: Duration = Duration::from_secs(8);
/// The program on the seat is ready by then.
const READY_LIMIT: Duration = Duration::from_secs(15);
/// Of which a seat's ports are chosen: several scenarios use one seat side by side, and the kernel takes those above for connections outwards.
const PORTS: std::ops::Range<u16> = 10_000..32_000;

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
    served: AtomicBool,
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
        Some(ZoneClient { seat, listener, forwarding, served: AtomicBool::new(false) })
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

    /// Whether a login was ever served.
    pub fn was_served(&self) -> bool {
        self.served.load(Ordering::Relaxed)
    }

    fn way(&self) -> SocketAddr {
        SocketAddr::from((self.seat.address(), self.forwarding.port))
    }

    /// Logs in and asks again and again, until it is over. The answers are in the order in which they were asked for.
    pub async fn keep_asking(&self, target: &dyn TlsTarget, authority: &str, is_over: &AtomicBool) -> Result<Vec<Asked>, ScenarioError> {
        // The client connects to 127.0.0.1, which every certificate names; from there on nobody looks into its connection.
        let link = SlowLink::open(self.way(), Duration::ZERO).await?;
        let way = link.address();
        let in_turn = (0..AT_ONCE).map(|number| async move {
            sleep(EVERY * number / AT_ONCE).await;
            self.ask_in_turn(target, way, authority, is_over).await
        });
        let mut all: Vec<Asked> = join_all(in_turn).await.into_iter().flatten().collect();
        all.sort_by_key(|asked| asked.began);
        Ok(all)
    }

    /// One login after the other.
    async fn ask_in_turn(&self, target: &dyn TlsTarget, way: SocketAddr, authority: &str, is_over: &AtomicBool) -> Vec<Asked> {
        let mut all = Vec::new();
        while !is_over.load(Ordering::Relaxed) {
            let began = Instant::now();
            let error = match timeout(LIMIT, target.connect(&self.listener, way, authority)).await {
                Ok(outcome) => outcome.err(),
                Err(_elapsed) => Some(format!("no answer within {} s", LIMIT.as_secs())),
            };
            if error.is_none() {
                self.served.store(true, Ordering::Relaxed);
            }
            all.push(Asked { began, ended: Instant::now(), error });
            sleep(EVERY).await;
        }
        all
    }
}

/// The longest stretch of a time in which no login was served to its end.
pub(super) fn longest_unserved(asked: &[Asked], from: Instant, to: Instant) -> (Instant, Instant) {
    let served = asked.iter().filter(|asked| asked.error.is_none()).map(|asked| asked.ended);
    let mut marks: Vec<Instant> = served.filter(|ended| (from..to).contains(ended)).chain([from, to]).collect();
    marks.sort_unstable();
    let stretches = marks.windows(2).map(|pair| (pair[0], pair[1]));
    stretches.max_by_key(|(from, to)| *to - *from).unwrap_or((from, to))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_login_is_no_interruption_while_others_are_served() {
        let start = Instant::now();
        let at = |ms: u64| start + Duration::from_millis(ms);
        let asked =
            |began: u64, ended: u64, error: Option<&str>| Asked { began: at(began), ended: at(ended), error: error.map(Into::into) };
        let slow = asked(900, 8900, Some("no answer within 8 s"));
        let beside: Vec<Asked> = (1..9).map(|second| asked(second * 1000, second * 1000 + 50, None)).chain([slow.clone()]).collect();
        let (from, to) = longest_unserved(&beside, at(1000), at(9000));
        assert_eq!(to - from, Duration::from_secs(1));
        assert_eq!(longest_unserved(&[asked(500, 999, None), slow], at(1000), at(9000)), (at(1000), at(9000)));
    }
}
