//! What a TCP port does, seen from the harness.

use std::{io::ErrorKind, net::SocketAddr, sync::Arc, time::Duration};

use rustls::{ClientConfig, ClientConnection, RootCertStore, crypto::ring, pki_types::ServerName};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

/// How a port meets a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Connection {
    /// The kernel accepted it (what is behind may sleep).
    Accepted,
    /// A reset came back: the address lives, nobody listens.
    Refused,
    /// Nothing came back in time.
    Silent,
}

/// How whoever is behind a port meets the first bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reaction {
    /// It answered, or it closed: it read them.
    Reacted,
    /// The connection was accepted and then nothing happened.
    Frozen,
    /// There was no connection.
    Unreachable(Connection),
}

/// Opens a connection and closes it again.
pub async fn connection(address: SocketAddr, limit: Duration) -> Connection {
    match open(address, limit).await {
        Ok(_stream) => Connection::Accepted,
        Err(met) => met,
    }
}

/// Opens a connection and says TLS's first word. Every server of this project reacts to it: it shakes hands, sends an alert, or
/// closes a connection whose first bytes it does not understand. Only one that does not run does nothing.
pub async fn reaction(address: SocketAddr, limit: Duration) -> Reaction {
    let mut stream = match open(address, limit).await {
        Ok(stream) => stream,
        Err(met) => return Reaction::Unreachable(met),
    };
    if stream.write_all(&client_hello()).await.is_err() {
        return Reaction::Reacted;
    }
    match timeout(limit, stream.read(&mut [0_u8; 16])).await {
        // Also an end or a reset: a process did that.
        Ok(_) => Reaction::Reacted,
        Err(_elapsed) => Reaction::Frozen,
    }
}

/// `Ok` when a connection is met in this way; otherwise how it is met.
pub async fn meets(address: SocketAddr, expected: Connection, limit: Duration) -> Result<(), String> {
    match connection(address, limit).await {
        met if met == expected => Ok(()),
        other => Err(format!("a connection is {other:?}")),
    }
}

/// `Ok` when the first bytes are met in this way; otherwise how they are met.
pub async fn reacts(address: SocketAddr, expected: Reaction, limit: Duration) -> Result<(), String> {
    match reaction(address, limit).await {
        met if met == expected => Ok(()),
        other => Err(format!("the port is {other:?}")),
    }
}

async fn open(address: SocketAddr, limit: Duration) -> Result<TcpStream, Connection> {
    match timeout(limit, TcpStream::connect(address)).await {
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err(error)) if error.kind() == ErrorKind::ConnectionRefused => Err(Connection::Refused),
        // Host unreachable: not even the address resolution was answered.
        Ok(Err(_)) | Err(_) => Err(Connection::Silent),
    }
}

/// A `ClientHello` that offers everything rustls knows.
fn client_hello() -> Vec<u8> {
    let mut bytes = Vec::new();
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map(|builder| builder.with_root_certificates(RootCertStore::empty()).with_no_client_auth());
    let name = ServerName::try_from("localhost");
    if let (Ok(config), Ok(name)) = (config, name)
        && let Ok(mut connection) = ClientConnection::new(Arc::new(config), name)
    {
        // Writing to a vector cannot fail.
        let _ = connection.write_tls(&mut bytes);
    }
    bytes
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    const LIMIT: Duration = Duration::from_millis(200);

    #[tokio::test]
    async fn a_listener_that_never_reads_is_frozen() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        assert_eq!(connection(address, LIMIT).await, Connection::Accepted);
        assert_eq!(reaction(address, LIMIT).await, Reaction::Frozen);
    }

    #[tokio::test]
    async fn one_that_reads_and_closes_reacted() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut first = [0_u8; 3];
            stream.read_exact(&mut first).await.unwrap();
            first
        });
        assert_eq!(reaction(address, LIMIT).await, Reaction::Reacted);
        // RFC 8446, 5.1: a handshake record (22) of version 3.x.
        assert_eq!(server.await.unwrap()[..2], [22, 3]);
    }

    #[tokio::test]
    async fn a_closed_port_refuses() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        assert_eq!(reaction(address, LIMIT).await, Reaction::Unreachable(Connection::Refused));
    }
}
