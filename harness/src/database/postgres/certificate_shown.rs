//! A client that shows a certificate to PostgreSQL, as far as the server's first word after the handshake.

use std::{net::SocketAddr, time::Duration};

use rustls::pki_types::ServerName;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

use crate::security::{Identity, client_config_with_identity};

/// The whole conversation.
const LIMIT: Duration = Duration::from_secs(8);
/// `SSLRequest`: its length and its code (PostgreSQL manual, "Message Formats").
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];

/// How the server took the certificate: `accepted`, the name of its TLS alert, or what else went wrong.
pub async fn show_certificate(address: SocketAddr, authority: &str, identity: &Identity) -> String {
    match timeout(LIMIT, converse(address, authority, identity)).await {
        Ok(Ok(())) => "accepted".to_owned(),
        Ok(Err(reason)) => alert_of(&reason).unwrap_or(reason),
        Err(_elapsed) => "no answer".to_owned(),
    }
}

/// `… received fatal alert: CertificateRevoked` → `CertificateRevoked`.
fn alert_of(reason: &str) -> Option<String> {
    let (_, alert) = reason.split_once("received fatal alert: ")?;
    Some(alert.trim().to_owned())
}

async fn converse(address: SocketAddr, authority: &str, identity: &Identity) -> Result<(), String> {
    let words = |error: std::io::Error| error.to_string();
    let config = client_config_with_identity(authority, identity).map_err(|error| error.to_string())?;
    let mut plain = TcpStream::connect(address).await.map_err(words)?;
    plain.write_all(&SSL_REQUEST).await.map_err(words)?;
    let mut answer = [0_u8];
    plain.read_exact(&mut answer).await.map_err(words)?;
    if answer != *b"S" {
        return Err("the server offers no TLS".to_owned());
    }
    let connector = tokio_rustls::TlsConnector::from(std::sync::Arc::new(config));
    let mut stream = connector.connect(ServerName::from(address.ip()), plain).await.map_err(words)?;
    // In TLS 1.3 the server looks at the client's certificate after the client's handshake is over: only its first word tells.
    let body = b"\0\x03\0\0user\0app\0database\0dora\0\0";
    let length = u32::try_from(body.len() + 4).unwrap_or_default().to_be_bytes();
    stream.write_all(&[length.as_slice(), body].concat()).await.map_err(words)?;
    stream.flush().await.map_err(words)?;
    stream.read_exact(&mut answer).await.map_err(words)?;
    match answer[0] {
        // It asks for a password: the certificate was good enough.
        b'R' => Ok(()),
        other => Err(format!("the server answered with a message of type {}", char::from(other))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alert_is_told_by_its_name() {
        assert_eq!(alert_of("received fatal alert: CertificateRevoked").as_deref(), Some("CertificateRevoked"));
        assert_eq!(alert_of("connection reset by peer"), None);
    }
}
