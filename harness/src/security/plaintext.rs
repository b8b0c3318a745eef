//! Speaks a protocol without TLS to a listener that must not answer, and reads why it does not.

use std::{net::SocketAddr, time::Duration};

use serde::Deserialize;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::{Instant, timeout, timeout_at},
};

use crate::patience::stretched;

/// A connection that is not there by then does not come.
const CONNECT_LIMIT: Duration = Duration::from_secs(3);
/// How long an answer is waited for. A listener that speaks the protocol answers in milliseconds, and so does one that wants TLS: the first
/// five bytes, the header of a record, tell it that this is none, and it sends an alert or closes.
const ANSWER_LIMIT: Duration = Duration::from_secs(4);
/// Most of an answer that is read.
const ANSWER_MAX: usize = 4096;

/// What a peer without TLS says first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Plaintext {
    /// `PostgreSQL`'s start-up message without an `SSLRequest` before it.
    Postgres,
    /// A request of HTTP 1.0.
    Http,
    /// Redis' `PING`.
    Redis,
    /// A `PING` of Redis' Cluster bus (`cluster_legacy.h`, version 1), which any node answers.
    RedisBus,
    /// Bolt's preamble and four versions.
    Bolt,
    /// MongoDB's `hello` in an `OP_MSG`.
    Mongodb,
    /// InfluxDB's snapshot service: its byte on the shared port, and a request for the metadata.
    InfluxdbRpc,
    /// Neo4j 3.3's catch-up protocol: version 0, "which store are you?".
    Neo4jCatchup,
    /// A protocol in which the receiver never answers: whoever leaves the connection open has accepted it.
    OneWay,
    /// A protocol without a request that could be sent from outside: only whether anything is said.
    #[default]
    Opaque,
}

/// How a listener took it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PlainAnswer {
    /// It answered in its protocol.
    Spoken(String),
    /// It refused: closed, or said that it wants TLS.
    Refused(String),
    /// It refused for a reason that is not the missing TLS, or neither spoke nor closed, as a server does that hangs: this proves neither.
    OtherReason(String),
    /// Nobody is there.
    Unreachable(String),
}

/// Says it and reads the answer.
pub async fn speak(address: SocketAddr, protocol: Plaintext) -> PlainAnswer {
    let limit = stretched(CONNECT_LIMIT);
    let mut stream = match timeout(limit, TcpStream::connect(address)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return PlainAnswer::Unreachable(error.to_string()),
        Err(_elapsed) => return PlainAnswer::Unreachable(format!("no connection within {} s", limit.as_secs())),
    };
    if let Err(error) = stream.write_all(&protocol.request()).await {
        return PlainAnswer::Refused(error.to_string());
    }
    let deadline = Instant::now() + stretched(ANSWER_LIMIT);
    let mut answer = Vec::new();
    let mut buffer = [0; 1024];
    loop {
        match timeout_at(deadline, stream.read(&mut buffer)).await {
            Ok(Ok(0)) => return protocol.judge(&answer, "closed"),
            Ok(Ok(count)) => {
                answer.extend_from_slice(&buffer[..count]);
                if answer.len() >= ANSWER_MAX || protocol != Plaintext::Http {
                    return protocol.judge(&answer, "open");
                }
            }
            Ok(Err(error)) => return protocol.judge(&answer, &error.to_string()),
            Err(_elapsed) => return protocol.judge(&answer, "open"),
        }
    }
}

impl Plaintext {
    /// What it says first.
    pub(crate) fn request(self) -> Vec<u8> {
        match self {
            Self::Postgres => {
                let body = b"\x00\x03\x00\x00user\0app\0database\0dora\0\0";
                [&(body.len() as u32 + 4).to_be_bytes()[..], body].concat()
            }
            Self::Http => b"GET /ping HTTP/1.0\r\n\r\n".to_vec(),
            Self::Redis => b"PING\r\n".to_vec(),
            Self::RedisBus => bus_ping(),
            Self::Bolt => b"\x60\x60\xb0\x17\x00\x00\x04\x05\x00\x00\x00\x05\x00\x00\x00\x04\x00\x00\x00\x01".to_vec(),
            Self::Mongodb => hello(),
            Self::InfluxdbRpc => b"\x03{\"Type\":1}\n".to_vec(),
            // Two frames, each with its length before it: the kind of request (4: store id), then the request, a zero.
            Self::Neo4jCatchup => b"\0\0\0\x02\0\x04\0\0\0\x02\0\0".to_vec(),
            Self::OneWay => b"\0\0\0\x10no TLS, one way.".to_vec(),
            Self::Opaque => b"\r\n\r\n\r\n\r\n".to_vec(),
        }
    }

    fn judge(self, answer: &[u8], state: &str) -> PlainAnswer {
        let text = String::from_utf8_lossy(&answer[..answer.len().min(160)]).replace(['\r', '\n', '\0'], " ");
        // An alert of TLS: record type 21, version 3.x.
        if answer.starts_with(b"\x15\x03") {
            return PlainAnswer::Refused("the server answered with a TLS alert".into());
        }
        if answer.is_empty() {
            return match (self, state) {
                (Self::OneWay, "open") => PlainAnswer::Spoken("the connection stays open".into()),
                (_, "open") => PlainAnswer::OtherReason("the connection stays open, and the server said nothing in time".into()),
                _ => PlainAnswer::Refused("the server closed the connection".into()),
            };
        }
        let spoken = match self {
            Self::Postgres if answer[0] == b'E' => {
                // A refusal that names the missing encryption; a wrong password would be another one.
                let wants_tls = ["no encryption", "SSL required", "SSL off"].iter().any(|words| text.contains(words));
                let told = complaint(answer).unwrap_or(text);
                return if wants_tls { PlainAnswer::Refused(told) } else { PlainAnswer::OtherReason(told) };
            }
            Self::Postgres => answer[0] == b'R',
            Self::Http if text.contains("HTTP request to an HTTPS server") || text.contains("plain HTTP request was sent to HTTPS") => {
                return PlainAnswer::Refused("400: this port wants HTTPS".into());
            }
            Self::Http => answer.starts_with(b"HTTP/"),
            Self::Redis => answer[0] == b'+' || answer[0] == b'-',
            Self::RedisBus => answer.starts_with(b"RCmb"),
            Self::Bolt => answer.len() == 4 && answer != [0; 4],
            Self::Mongodb => answer.len() >= 16 && answer[12..16] == 2013_u32.to_le_bytes(),
            Self::InfluxdbRpc | Self::Neo4jCatchup | Self::OneWay | Self::Opaque => true,
        };
        if spoken { PlainAnswer::Spoken(text) } else { PlainAnswer::OtherReason(format!("an unknown answer: {text}")) }
    }
}

/// The message of `PostgreSQL`'s `ErrorResponse`: after kind and length come fields that end with a zero, each with its kind before it.
fn complaint(answer: &[u8]) -> Option<String> {
    let mut fields = answer.get(5..)?.split(|byte| *byte == 0);
    fields.find_map(|field| field.strip_prefix(b"M")).map(|message| String::from_utf8_lossy(message).into_owned())
}

/// `clusterMsg` without gossip: signature, length, version 1, port, type 0 (PING), zeroes, 2256 bytes in all.
fn bus_ping() -> Vec<u8> {
    const HEADER: usize = 2256;
    let mut message = vec![0; HEADER];
    message[..4].copy_from_slice(b"RCmb");
    message[4..8].copy_from_slice(&(HEADER as u32).to_be_bytes());
    message[8..10].copy_from_slice(&1_u16.to_be_bytes());
    // A sender that nobody knows: 40 hexadecimal digits.
    message[40..80].copy_from_slice(&[b'0'; 40]);
    message
}

/// `{hello: 1, $db: "admin"}` as BSON in an `OP_MSG` (2013).
fn hello() -> Vec<u8> {
    let mut document = b"\0\0\0\0\x10hello\0\x01\0\0\0\x02$db\0\x06\0\0\0admin\0\0".to_vec();
    let length = document.len() as u32;
    document[..4].copy_from_slice(&length.to_le_bytes());
    let mut message = Vec::new();
    for number in [16 + 4 + 1 + length, 1, 0, 2013, 0] {
        message.extend_from_slice(&number.to_le_bytes());
    }
    message.push(0);
    message.extend(document);
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVERY: [Plaintext; 10] = [
        Plaintext::Postgres,
        Plaintext::Http,
        Plaintext::Redis,
        Plaintext::RedisBus,
        Plaintext::Bolt,
        Plaintext::Mongodb,
        Plaintext::InfluxdbRpc,
        Plaintext::Neo4jCatchup,
        Plaintext::OneWay,
        Plaintext::Opaque,
    ];

    #[test]
    fn a_refusal_is_told_from_an_answer() {
        let refused = |protocol: Plaintext, answer: &[u8]| matches!(protocol.judge(answer, "closed"), PlainAnswer::Refused(_));
        assert!(refused(Plaintext::Redis, b""));
        assert!(refused(Plaintext::Redis, b"\x15\x03\x01\x00\x02\x02\x46"));
        assert!(refused(Plaintext::Postgres, b"E...FATAL: pg_hba.conf rejects connection for host \"x\", no encryption"));
        assert!(refused(Plaintext::Http, b"HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n"));
        assert_eq!(Plaintext::Redis.judge(b"-NOAUTH x", "open"), PlainAnswer::Spoken("-NOAUTH x".into()));
        let error = b"E\0\0\0\x2bSFATAL\0VFATAL\0C28000\0Mno encryption\0Fauth.c\0\0";
        assert_eq!(Plaintext::Postgres.judge(error, "closed"), PlainAnswer::Refused("no encryption".into()));
        assert!(matches!(Plaintext::Postgres.judge(b"E...password authentication failed", "open"), PlainAnswer::OtherReason(_)));
        assert!(matches!(Plaintext::OneWay.judge(b"", "open"), PlainAnswer::Spoken(_)));
    }

    #[test]
    fn silence_is_no_refusal() {
        for protocol in EVERY {
            assert!(!matches!(protocol.judge(b"", "open"), PlainAnswer::Refused(_)), "{protocol:?}");
            assert!(matches!(protocol.judge(b"", "closed"), PlainAnswer::Refused(_)), "{protocol:?}");
        }
        assert!(matches!(Plaintext::Redis.judge(b"", "open"), PlainAnswer::OtherReason(_)));
    }

    #[test]
    fn every_request_fills_the_header_of_a_record_and_is_none() {
        for protocol in EVERY {
            let request = protocol.request();
            // Types 20 to 24, version 3.x (RFC 8446, section 5.1); or a hello of SSL 2, whose first bit is set.
            let is_tls = (20..=24).contains(&request[0]) && request[1] == 3;
            assert!(request.len() >= 5 && !is_tls && request[0] & 0x80 == 0, "{protocol:?} may have to be waited for");
        }
    }

    #[test]
    fn messages_have_the_lengths_that_they_state() {
        let hello = hello();
        assert_eq!(hello.len(), u32::from_le_bytes([hello[0], hello[1], hello[2], hello[3]]) as usize);
        assert_eq!(&hello[21..25], &(hello.len() as u32 - 21).to_le_bytes());
        let start = Plaintext::Postgres.request();
        assert_eq!(start.len(), u32::from_be_bytes([start[0], start[1], start[2], start[3]]) as usize);
    }
}
