//! What ports do when somebody connects.

use std::{io::ErrorKind, net::SocketAddr, time::Duration};

use futures_util::{StreamExt as _, stream};
use serde::{Deserialize, Serialize};
use tokio::{net::TcpStream, time::timeout};

/// Connections under way at once: each is a file, and a namespace has many neighbours.
const AT_ONCE: usize = 256;

/// How a port meets a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer {
    /// The kernel accepted it.
    Answered,
    /// A reset came back: nobody listens, or a firewall says so aloud.
    Refused,
    /// Nothing came back in time: filtered.
    Silent,
    /// There is no way to the address, or a router says so.
    NoRoute,
}

/// One port and its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probed {
    /// Which port of whom.
    pub address: SocketAddr,
    /// What it did.
    pub answer: Answer,
}

/// Connects once to each port.
pub(super) async fn probe(addresses: Vec<SocketAddr>, limit: Duration) -> Vec<Probed> {
    let attempts = addresses.into_iter().map(|address| async move { Probed { address, answer: answer(address, limit).await } });
    stream::iter(attempts).buffer_unordered(AT_ONCE).collect().await
}

/// Connects once.
pub(super) async fn answer(address: SocketAddr, limit: Duration) -> Answer {
    match timeout(limit, TcpStream::connect(address)).await {
        Ok(Ok(stream)) => {
            // Closed by a reset, a connection leaves no entry that waits a minute in the kernel's table, which a watch reads all the time.
            let _ = stream.set_zero_linger();
            Answer::Answered
        }
        Ok(Err(error)) if error.kind() == ErrorKind::ConnectionRefused => Answer::Refused,
        Ok(Err(error)) if error.kind() == ErrorKind::TimedOut => Answer::Silent,
        Ok(Err(_)) => Answer::NoRoute,
        Err(_elapsed) => Answer::Silent,
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn open_and_closed_ports_are_told_apart() {
        let open = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let closed = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let (open_at, closed_at) = (open.local_addr().unwrap(), closed.local_addr().unwrap());
        drop(closed);
        let mut probed = probe(vec![open_at, closed_at], Duration::from_secs(1)).await;
        probed.sort_by_key(|probed| probed.address != open_at);
        let answers: Vec<Answer> = probed.iter().map(|probed| probed.answer).collect();
        assert_eq!(answers, [Answer::Answered, Answer::Refused]);
    }
}
