//! Asks a listener which protocol versions it accepts, with an independent client: OpenSSL in a pod of the run.
//!
//! The harness's own TLS library cannot speak 1.1 or 1.0 at all, so its failure would prove nothing.

use std::{net::Ipv4Addr, time::Duration};

use dora_fixtures::assets;
use serde::{Deserialize, Serialize};

use crate::{engine::EngineError, topology::Node};

/// A handshake that takes longer than this is no answer.
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(10);

/// A protocol version to offer, and nothing else beside it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum TlsVersion {
    /// RFC 8446.
    #[serde(rename = "TLS 1.3")]
    V1_3,
    /// RFC 5246.
    #[serde(rename = "TLS 1.2")]
    V1_2,
    /// RFC 4346.
    #[serde(rename = "TLS 1.1")]
    V1_1,
    /// RFC 2246.
    #[serde(rename = "TLS 1.0")]
    V1_0,
}

impl TlsVersion {
    /// All of them, newest first.
    pub const ALL: [Self; 4] = [Self::V1_3, Self::V1_2, Self::V1_1, Self::V1_0];

    /// As people write it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::V1_3 => "TLS 1.3",
            Self::V1_2 => "TLS 1.2",
            Self::V1_1 => "TLS 1.1",
            Self::V1_0 => "TLS 1.0",
        }
    }

    pub(super) const fn flag(self) -> &'static str {
        match self {
            Self::V1_3 => "-tls1_3",
            Self::V1_2 => "-tls1_2",
            Self::V1_1 => "-tls1_1",
            Self::V1_0 => "-tls1",
        }
    }
}

/// What a protocol says in plaintext before its TLS handshake.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StartTls {
    /// Nothing: the handshake comes first.
    #[default]
    None,
    /// PostgreSQL's `SSLRequest`.
    Postgres,
}

/// How a handshake ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub enum Handshake {
    /// The server spoke this version.
    Accepted {
        /// Protocol and cipher as OpenSSL names them.
        protocol: String,
    },
    /// The server ended the handshake.
    Refused {
        /// OpenSSL's words.
        reason: String,
    },
    /// There was nobody to shake hands with, or the client never came to connect: this proves neither.
    Unreachable {
        /// OpenSSL's words.
        reason: String,
    },
}

/// Probes listeners from inside the run's network.
#[derive(Debug, Clone)]
pub struct TlsProber {
    pod: Node,
}

impl TlsProber {
    /// A prober that works in that pod (its holder has OpenSSL).
    pub fn new(pod: Node) -> Self {
        Self { pod }
    }

    /// From where it probes.
    pub fn address(&self) -> Ipv4Addr {
        self.pod.address()
    }

    pub(super) fn pod(&self) -> &Node {
        &self.pod
    }

    /// One handshake with exactly one protocol version on offer.
    ///
    /// # Errors
    /// Any [`EngineError`] of running the probe; a refused handshake is no error.
    pub async fn handshake(&self, address: Ipv4Addr, port: u16, start: StartTls, version: TlsVersion) -> Result<Handshake, EngineError> {
        let target = format!("{address}:{port}");
        // Security level 0: the probe must offer the old versions as a careless client would, or the refusal is its own.
        let mut command = vec!["openssl", "s_client", "-brief", "-connect", &target, version.flag(), "-cipher", "ALL:@SECLEVEL=0"];
        if start == StartTls::Postgres {
            command.extend(["-starttls", "postgres"]);
        }
        let output = self.pod.exec_in_pod(&command, b"Q\n", HANDSHAKE_LIMIT).await?;
        Ok(read_answer(&format!("{}\n{}", output.stdout, output.stderr)))
    }

    /// The certificate that a listener presents; [`None`] when there was none to be had.
    ///
    /// # Errors
    /// Any [`EngineError`] of running the probe.
    pub async fn certificate(&self, address: Ipv4Addr, port: u16, start: StartTls) -> Result<Option<SeenCertificate>, EngineError> {
        // The script is a file of the project: it is missing only in a broken build, where no certificate can be read either.
        let script = assets::bytes("config/security/read-certificate.sh").unwrap_or_default();
        let (address, port) = (address.to_string(), port.to_string());
        let mut command = vec!["sh", "-s", &address, &port];
        if start == StartTls::Postgres {
            command.push("postgres");
        }
        let output = self.pod.exec_in_pod(&command, script, HANDSHAKE_LIMIT).await?;
        Ok(read_certificate(&output.stdout))
    }
}

/// The certificate that a listener presents, as OpenSSL reads it from the wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeenCertificate {
    /// Whose it is (RFC 2253).
    pub subject: String,
    /// Who signed it (RFC 2253).
    pub issuer: String,
    /// Upper-case hexadecimal without separators.
    pub serial: String,
    /// When it ends, ISO 8601.
    pub expires: String,
}

/// Reads the lines `name=value` of `openssl x509`; [`None`] when one is missing.
fn read_certificate(text: &str) -> Option<SeenCertificate> {
    let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('=')).map(|value| value.trim().to_owned());
    Some(SeenCertificate { subject: field("subject")?, issuer: field("issuer")?, serial: field("serial")?, expires: field("notAfter")? })
}

/// Words of which OpenSSL writes at least one when its connection stood: the first comes from 3.2 on with every connection (the ones before it
/// say nothing until the handshake ends), the others with what was said over it.
const CONNECTED: [&str; 7] =
    ["Connecting to ", "CONNECTED(", "CONNECTION ESTABLISHED", "Protocol version: ", "alert number", "read:errno=", "write:errno="];

/// Sorts the words of `openssl s_client -brief`. In TLS 1.3 the server may refuse after the client's side of the handshake is done: then an
/// alert follows the line with the version. Where nothing says that there was a connection, nobody refused: a client that could not read its
/// own files ends before it connects.
pub(super) fn read_answer(text: &str) -> Handshake {
    let nobody = [
        "Connection refused",
        "No route to host",
        "Connection timed out",
        "Network is unreachable",
        "no protocols available",
        "connect:errno=",
    ];
    let reason = reason(text);
    let version = text.lines().find_map(|line| line.trim().strip_prefix("Protocol version: "));
    match (version, reason) {
        (Some(protocol), None) => {
            let cipher = text.lines().find_map(|line| line.trim().strip_prefix("Ciphersuite: ")).unwrap_or("unknown cipher");
            Handshake::Accepted { protocol: format!("{protocol}, {cipher}") }
        }
        (None, reason) if nobody.iter().any(|words| text.contains(words)) => {
            Handshake::Unreachable { reason: reason.unwrap_or_else(|| "nobody is there".to_owned()) }
        }
        (None, reason) if !CONNECTED.iter().any(|words| text.contains(words)) => {
            let words = || text.lines().map(str::trim).find(|line| !line.is_empty()).map(ToOwned::to_owned);
            let reason = reason.or_else(words).unwrap_or_else(|| "OpenSSL said nothing".to_owned());
            Handshake::Unreachable { reason: format!("no sign of a connection: {reason}") }
        }
        (_, reason) => Handshake::Refused { reason: reason.unwrap_or_else(|| "the server closed the connection".to_owned()) },
    }
}

/// Why it failed: what the client did not like about the certificate, or else the first error.
fn reason(text: &str) -> Option<String> {
    let lines = || text.lines().map(str::trim);
    let disliked = lines().find_map(|line| line.strip_prefix("verify error:num=")).map(|line| line.split(':').skip(1).collect::<String>());
    let error = || lines().find(|line| line.contains(":error:")).map(short_reason);
    let other = || lines().find(|line| line.starts_with("connect:") || line.contains("errno=")).map(ToOwned::to_owned);
    // A client that does not verify names what it dislikes and goes on.
    let verifies = text.contains("certificate verify failed");
    disliked.filter(|_| verifies).or_else(error).or_else(other)
}

/// `40D7…:error:0A00042E:SSL routines:…:tlsv1 alert protocol version:../ssl/…:` → `tlsv1 alert protocol version`.
fn short_reason(line: &str) -> String {
    let parts: Vec<&str> = line.split(':').collect();
    match parts.iter().position(|part| *part == "error") {
        Some(at) if parts.len() > at + 4 => parts[at + 4].to_owned(),
        _ => line.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_accepted_handshake_names_protocol_and_cipher() {
        let text =
            "Connecting to 198.18.0.10\nCONNECTION ESTABLISHED\nProtocol version: TLSv1.3\nCiphersuite: TLS_AES_256_GCM_SHA384\nDONE";
        assert_eq!(read_answer(text), Handshake::Accepted { protocol: "TLSv1.3, TLS_AES_256_GCM_SHA384".into() });
    }

    #[test]
    fn a_certificate_is_read_whole_or_not_at_all() {
        let text = "subject=CN=rds1,OU=nodes,O=dora\nissuer=CN=one,O=dora\nserial=0A2B\nnotAfter=2026-11-25 10:00:00Z\n";
        let seen = read_certificate(text).unwrap();
        assert_eq!((seen.serial.as_str(), seen.issuer.as_str(), seen.expires.as_str()), ("0A2B", "CN=one,O=dora", "2026-11-25 10:00:00Z"));
        assert_eq!(read_certificate("Could not read certificate from <stdin>"), None);
    }

    #[test]
    fn an_alert_is_a_refusal() {
        let text = "40F7A2:error:0A00042E:SSL routines:ssl3_read_bytes:tlsv1 alert protocol version:../ssl/record/rec_layer_s3.c:916:SSL alert number 70";
        assert_eq!(read_answer(text), Handshake::Refused { reason: "tlsv1 alert protocol version".into() });
    }

    #[test]
    fn a_refusal_after_the_handshake_is_one() {
        let text = "Protocol version: TLSv1.3\nCiphersuite: TLS_AES_256_GCM_SHA384\n40F7A2:error:0A00045C:SSL routines:ssl3_read_bytes:tlsv13 alert certificate required:../ssl/record/rec_layer_s3.c:916:SSL alert number 116";
        assert_eq!(read_answer(text), Handshake::Refused { reason: "tlsv13 alert certificate required".into() });
    }

    #[test]
    fn what_the_client_dislikes_is_the_reason_when_it_verifies() {
        let text = "Connecting to 198.18.0.9\nverify error:num=62:hostname mismatch\n4037:error:0A000086:SSL routines:tls_post_process_server_certificate:certificate verify failed:../ssl/x.c:1889:";
        assert_eq!(read_answer(text), Handshake::Refused { reason: "hostname mismatch".into() });
        let goes_on = "verify error:num=20:unable to get local issuer certificate\nProtocol version: TLSv1.3\nCiphersuite: X";
        assert_eq!(read_answer(goes_on), Handshake::Accepted { protocol: "TLSv1.3, X".into() });
    }

    #[test]
    fn nobody_there_is_no_refusal() {
        let text = "40F7A2:error:8000006F:system library:BIO_connect:Connection refused:../crypto/bio/bio_sock2.c:178:calling connect()\nconnect:errno=111";
        assert!(matches!(read_answer(text), Handshake::Unreachable { .. }));
    }

    #[test]
    fn a_connection_that_the_server_just_ends_is_a_refusal() {
        assert_eq!(read_answer("Connecting to 198.18.0.9\n"), Handshake::Refused { reason: "the server closed the connection".into() });
        let ended =
            "Connecting to 198.18.0.9\n4037:error:0A000126:SSL routines::unexpected eof while reading:../ssl/record/rec_layer_s3.c:693:";
        assert_eq!(read_answer(ended), Handshake::Refused { reason: "unexpected eof while reading".into() });
    }

    #[test]
    fn a_client_that_never_connected_met_no_refusal() {
        let missing = "Could not open file or uri for loading client certificate file from /tmp/a.pem\n4037:error:80000002:system library:file_open_ex:No such file or directory:../providers/x.c:297:calling stat(/tmp/a.pem)";
        let unreachable = |reason: &str| Handshake::Unreachable { reason: format!("no sign of a connection: {reason}") };
        assert_eq!(read_answer(missing), unreachable("No such file or directory"));
        let suites = "Error with command: \"-cipher X\"\n4037:error:0A0000B9:SSL routines:SSL_CTX_set_cipher_list:no cipher match:../ssl/ssl_lib.c:3:";
        assert_eq!(read_answer(suites), unreachable("no cipher match"));
        assert_eq!(read_answer("\nhandshake: line 9: openssl: not found\n"), unreachable("handshake: line 9: openssl: not found"));
        assert_eq!(read_answer("\n"), unreachable("OpenSSL said nothing"));
    }
}
