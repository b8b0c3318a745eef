//! The first messages of a connection, one by one: which proof of the password a server asks for, and what it makes of another one.
//!
//! A driver hides that question: it answers whatever is asked. Messages: PostgreSQL manual, "Frontend/Backend Protocol", message formats.

use std::{sync::Arc, time::Duration};

use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::TlsConnector;

use super::Login;
use crate::security::{client_config, server_name};

const SSL_REQUEST: i32 = 80_877_103;
const PROTOCOL_3_0: i32 = 196_608;
/// A message of a handshake is much smaller.
const MESSAGE_BYTES_MAX: usize = 64 << 10;

trait Transport: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Transport for T {}

/// What a server wants before it serves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Asked {
    /// SASL with one of these mechanisms.
    Sasl(Vec<String>),
    /// A salted MD5 hash.
    Md5,
    /// The password itself.
    Cleartext,
    /// Nothing: the client is in.
    Nothing,
    /// It wants no more of this client.
    Refused {
        /// SQLSTATE.
        code: String,
        /// The server's words.
        message: String,
    },
    /// A request of this number, such as 7 for GSSAPI.
    Other(i32),
}

/// What kind of connection is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Statements.
    Queries,
    /// The write-ahead log, as a standby takes it.
    Replication,
}

/// The handshake did not come to a message of the server.
#[derive(Debug, thiserror::Error)]
pub enum HandshakeError {
    /// The connection failed or broke.
    #[error("the connection broke: {0}")]
    Broken(#[from] std::io::Error),
    /// The trust material is unusable.
    #[error(transparent)]
    Tls(#[from] crate::security::TlsError),
    /// The server does not speak TLS, or its message cannot be read.
    #[error("the server answered {0}")]
    Unreadable(String),
    /// It took too long.
    #[error("no answer within {:.1} s", .0.as_secs_f64())]
    Deadline(Duration),
}

/// A connection that is not logged in yet.
pub struct Handshake {
    stream: Box<dyn Transport>,
    limit: Duration,
}

impl std::fmt::Debug for Handshake {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Handshake").finish_non_exhaustive()
    }
}

impl Handshake {
    /// Says who wants in (over TLS where the login has an authority) and returns what the server asks for. The login's password is not used.
    ///
    /// # Errors
    /// [`HandshakeError`].
    pub async fn open(login: &Login, purpose: Purpose, limit: Duration) -> Result<(Self, Asked), HandshakeError> {
        let opening = async {
            let mut tcp = TcpStream::connect(login.address).await?;
            tcp.set_nodelay(true)?;
            let stream: Box<dyn Transport> = match &login.authority {
                Some(authority) => {
                    let mut request = 8_i32.to_be_bytes().to_vec();
                    request.extend(SSL_REQUEST.to_be_bytes());
                    tcp.write_all(&request).await?;
                    if tcp.read_u8().await? != b'S' {
                        return Err(HandshakeError::Unreadable("that it has no TLS".to_owned()));
                    }
                    let name = server_name(&login.address.ip().to_string())?;
                    Box::new(TlsConnector::from(Arc::new(client_config(authority)?)).connect(name, tcp).await?)
                }
                None => Box::new(tcp),
            };
            let mut handshake = Self { stream, limit };
            handshake.stream.write_all(&startup(login, purpose)).await?;
            handshake.stream.flush().await?;
            let asked = handshake.read().await?;
            Ok((handshake, asked))
        };
        timeout(limit, opening).await.map_err(|_elapsed| HandshakeError::Deadline(limit))?
    }

    /// Answers with the password itself, whatever was asked.
    ///
    /// # Errors
    /// [`HandshakeError`].
    pub async fn answer_in_clear(&mut self, password: &str) -> Result<Asked, HandshakeError> {
        let limit = self.limit;
        let answering = async {
            let length = i32::try_from(password.len() + 5).map_err(|error| HandshakeError::Unreadable(error.to_string()))?;
            let mut message = vec![b'p'];
            message.extend(length.to_be_bytes());
            message.extend(password.as_bytes());
            message.push(0);
            self.stream.write_all(&message).await?;
            self.stream.flush().await?;
            self.read().await
        };
        timeout(limit, answering).await.map_err(|_elapsed| HandshakeError::Deadline(limit))?
    }

    async fn read(&mut self) -> Result<Asked, HandshakeError> {
        let kind = self.stream.read_u8().await?;
        let length = usize::try_from(self.stream.read_i32().await?).unwrap_or_default();
        if !(4..MESSAGE_BYTES_MAX).contains(&length) {
            return Err(HandshakeError::Unreadable(format!("with a message of {length} bytes")));
        }
        let mut body = vec![0; length - 4];
        self.stream.read_exact(&mut body).await?;
        parse(kind, &body)
    }
}

fn startup(login: &Login, purpose: Purpose) -> Vec<u8> {
    let mut body = PROTOCOL_3_0.to_be_bytes().to_vec();
    let mut words = vec!["user", &login.user, "database", &login.database];
    if purpose == Purpose::Replication {
        words.extend(["replication", "true"]);
    }
    for word in words {
        body.extend(word.as_bytes());
        body.push(0);
    }
    body.push(0);
    let length = i32::try_from(body.len() + 4).unwrap_or(i32::MAX);
    [length.to_be_bytes().as_slice(), &body].concat()
}

fn parse(kind: u8, body: &[u8]) -> Result<Asked, HandshakeError> {
    let unreadable = || HandshakeError::Unreadable(format!("with a message of kind {:?}", char::from(kind)));
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    match kind {
        b'R' => {
            let (code, rest) = body.split_first_chunk::<4>().ok_or_else(unreadable)?;
            Ok(match i32::from_be_bytes(*code) {
                0 => Asked::Nothing,
                3 => Asked::Cleartext,
                5 => Asked::Md5,
                10 => Asked::Sasl(rest.split(|byte| *byte == 0).filter(|name| !name.is_empty()).map(text).collect()),
                other => Asked::Other(other),
            })
        }
        b'E' => {
            let field = |wanted: u8| {
                let mut fields = body.split(|byte| *byte == 0);
                fields.find(|field| field.first() == Some(&wanted)).map(|field| text(&field[1..])).unwrap_or_default()
            };
            Ok(Asked::Refused { code: field(b'C'), message: field(b'M') })
        }
        _ => Err(unreadable()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_request_is_told_apart() {
        assert_eq!(parse(b'R', &[0, 0, 0, 0]).unwrap(), Asked::Nothing);
        assert_eq!(parse(b'R', &[0, 0, 0, 5, 1, 2, 3, 4]).unwrap(), Asked::Md5);
        let sasl = [&[0, 0, 0, 10][..], b"SCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0"].concat();
        assert_eq!(parse(b'R', &sasl).unwrap(), Asked::Sasl(vec!["SCRAM-SHA-256-PLUS".into(), "SCRAM-SHA-256".into()]));
        let refused = parse(b'E', b"SFATAL\0C28P01\0Mpassword authentication failed\0\0").unwrap();
        assert_eq!(refused, Asked::Refused { code: "28P01".into(), message: "password authentication failed".into() });
        assert!(parse(b'X', &[]).is_err());
    }
}
