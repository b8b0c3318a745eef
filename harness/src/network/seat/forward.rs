//! Leads connections from a seat to a node, so that a real client of the harness connects from the seat's zone.

use std::{
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::{Instant, sleep_until, timeout_at},
};

/// A port of the seat and where it leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Forwarding {
    /// The seat's port.
    pub port: u16,
    /// Where connections go on.
    pub to: SocketAddr,
}

/// Forwards for `time`. What passes is not looked at: TLS is between the client and the node.
pub(super) async fn forward(all: Vec<Forwarding>, time: Duration) -> Result<(), String> {
    let until = Instant::now() + time;
    let mut listeners = JoinSet::new();
    for forwarding in all {
        let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, forwarding.port))
            .await
            .map_err(|error| format!("failed to listen on port {}: {error}", forwarding.port))?;
        listeners.spawn(async move {
            while let Ok((mut inbound, _peer)) = listener.accept().await {
                tokio::spawn(async move {
                    if let Ok(Ok(mut outbound)) = timeout_at(until, TcpStream::connect(forwarding.to)).await {
                        // Either end may break it off: that is what is looked at from outside.
                        let _ = copy_bidirectional(&mut inbound, &mut outbound).await;
                    }
                });
            }
        });
    }
    sleep_until(until).await;
    Ok(())
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    #[tokio::test]
    async fn what_is_said_arrives_and_the_end_comes() {
        let server = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let free = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let forwarding = Forwarding { port: free.local_addr().unwrap().port(), to: server.local_addr().unwrap() };
        drop(free);
        let running = tokio::spawn(forward(vec![forwarding], Duration::from_millis(500)));
        let mut client = loop {
            if let Ok(stream) = TcpStream::connect(("127.0.0.1", forwarding.port)).await {
                break stream;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        };
        client.write_all(b"hello").await.unwrap();
        let (mut stream, _) = server.accept().await.unwrap();
        let mut heard = [0_u8; 5];
        stream.read_exact(&mut heard).await.unwrap();
        assert_eq!(&heard, b"hello");
        assert_eq!(running.await.unwrap(), Ok(()));
    }
}
