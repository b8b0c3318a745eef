//! A client that shows a certificate to a member, as far as the member's first answer after the handshake.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::client::TlsStream;

use super::PORT;
use crate::{
    patience::{stretched, within},
    security::{Identity, Plaintext, TlsError, client_config_with_identity, connect},
    topology::Node,
};

/// The handshake, and after it the answer.
const LIMIT: Duration = Duration::from_secs(5);
/// From the end of a connection to the line about it in the member's log, which a busy engine hands on late.
const LOG_LIMIT: Duration = Duration::from_secs(15);
const LOG_EVERY: Duration = Duration::from_millis(200);
/// Lines of the log among which that one is: other clients connect meanwhile, and each of them writes some ten.
const LOG_LINES: usize = 2_000;
/// `OP_MSG`, the kind of every answer (MongoDB manual, "Wire Protocol").
const OP_MSG: u32 = 2013;

/// How the member took the certificate: `accepted`, the reason for which its log says that it was refused, or what else went wrong.
pub async fn show_certificate(member: &Node, authority: &str, identity: &Identity) -> String {
    let mut stream = match shake_hands(member, authority, identity).await {
        Ok(stream) => stream,
        Err(error) => return error.to_string(),
    };
    let own = stream.get_ref().0.local_addr();
    match (timeout(stretched(LIMIT), say_hello(&mut stream)).await, own) {
        (Ok(Ok(())), _) => "accepted".to_owned(),
        (Ok(Err(_closed)), Ok(own)) => reason_in_log(member, own.port()).await,
        (Ok(Err(closed)), Err(_unknown)) => closed.to_string(),
        (Err(_elapsed), _) => "no answer".to_owned(),
    }
}

async fn shake_hands(member: &Node, authority: &str, identity: &Identity) -> Result<TlsStream<TcpStream>, TlsError> {
    let config = client_config_with_identity(authority, identity)?;
    connect(member.socket(PORT), &member.address().to_string(), config, stretched(LIMIT)).await
}

/// The member judges the certificate when the handshake is over, and closes the connection without a word: only an answer to a request
/// shows that it was good enough. This request needs no login.
async fn say_hello(stream: &mut TlsStream<TcpStream>) -> std::io::Result<()> {
    stream.write_all(&Plaintext::Mongodb.request()).await?;
    stream.flush().await?;
    let mut header = [0_u8; 16];
    stream.read_exact(&mut header).await?;
    if header[12..] == OP_MSG.to_le_bytes() { Ok(()) } else { Err(std::io::Error::other("the answer is no message of the protocol")) }
}

/// Why the member closed the connection that came from this port of ours.
async fn reason_in_log(member: &Node, port: u16) -> String {
    let remote = format!(":{port}\"");
    let reason = within("the reason in the member's log", LOG_LIMIT, LOG_EVERY, || async {
        let lines = member.logs(LOG_LINES).await.map_err(|error| error.to_string())?;
        let mut of_connection = lines.iter().rev().filter(|line| line.contains(&remote));
        of_connection.find_map(|line| reason_of(line)).ok_or_else(|| "there is none".to_owned())
    });
    reason.await.unwrap_or_else(|deadline| format!("closed, and no reason in the log: {}", deadline.last))
}

/// `…"errmsg":"SSL peer certificate validation failed: certificate revoked"},…` → `certificate revoked`.
fn reason_of(line: &str) -> Option<String> {
    let (_, rest) = line.split_once("SSL peer certificate validation failed: ")?;
    let (reason, _) = rest.split_once('"')?;
    Some(reason.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reason_is_told_from_the_rest_of_the_line() {
        let line =
            r#""errmsg":"SSL peer certificate validation failed: certificate revoked"},"remote":"192.0.2.1:43426","connectionId":7}}"#;
        assert_eq!(reason_of(line).as_deref(), Some("certificate revoked"));
        assert_eq!(reason_of(r#"{"msg":"Connection ended","attr":{"remote":"192.0.2.1:43426"}}"#), None);
    }
}
