//! A handshake in which one thing is not as it should be: a weak suite, a foreign authority, a wrong name, a time after the certificate's end,
//! a client certificate that is missing, foreign or expired.

use std::{net::Ipv4Addr, time::Duration};

use dora_fixtures::assets;

use super::{Handshake, Identity, StartTls, TlsProber, TlsVersion, probe::read_answer};
use crate::{engine::EngineError, topology::Node};

/// A server that does not like a client certificate says so within this time on a machine that is not busy.
const HOLD: Duration = Duration::from_secs(3);
/// One that has not said so by then has let the client in, however busy it is.
const LONG_HOLD: Duration = Duration::from_secs(12);
/// The whole attempt on a busy machine, the longest hold included.
const ATTEMPT_LIMIT: Duration = Duration::from_secs(30);
/// Where the prober keeps certificates.
const FOLDER: &str = "/tmp";
/// Suites of TLS 1.3 that this platform does not want (RFC 8446, B.4): CCM with a short tag and with a long one.
const WEAK_SUITES: &str = "TLS_AES_128_CCM_8_SHA256:TLS_AES_128_CCM_SHA256";
/// Suites of TLS 1.2 and older without forward secrecy, without authentication, or with broken ciphers.
const WEAK_CIPHERS: &str = "eNULL:aNULL:3DES:RC4:SEED:CAMELLIA:IDEA:kRSA:MD5:@SECLEVEL=0";

/// How long a connection stays open when the client's side of the handshake is done. Under TLS 1.3 the server's refusal of a certificate
/// comes after that.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Hold {
    /// Not at all.
    #[default]
    None,
    /// Three seconds.
    Short,
    /// Twelve seconds: for asking again where a short one met no refusal.
    Long,
}

impl Hold {
    fn duration(self) -> Duration {
        match self {
            Self::None => Duration::ZERO,
            Self::Short => crate::patience::stretched(HOLD),
            Self::Long => crate::patience::stretched(LONG_HOLD),
        }
    }
}

/// Which suites are on offer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Suites {
    /// OpenSSL's own choice, and every older one.
    #[default]
    Any,
    /// Weak ones only.
    Weak,
}

/// What the client verifies the server's certificate by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trust {
    /// The file of the trusted authority, from [`TlsProber::keep_authority`].
    pub authority: String,
    /// The name that the certificate has to bear; the address itself where there is none.
    pub name: Option<String>,
    /// The client's clock, seconds since 1970; now where there is none.
    pub at: Option<i64>,
}

/// One attempt.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Attempt {
    /// What is on offer; any version where there is none.
    pub version: Option<TlsVersion>,
    /// Which suites.
    pub suites: Suites,
    /// The protocols that the client names (RFC 7301), separated by commas; none where there is nothing.
    pub alpn: Option<String>,
    /// The file of the client's certificate and key, from [`TlsProber::keep_identity`].
    pub identity: Option<String>,
    /// How the server is verified; not at all where there is nothing.
    pub trust: Option<Trust>,
}

impl TlsProber {
    /// Puts an authority's certificate into the prober's pod and returns its file.
    ///
    /// # Errors
    /// Any [`EngineError`] of copying.
    pub async fn keep_authority(&self, name: &str, certificate: &str) -> Result<String, EngineError> {
        self.keep(&format!("{name}.crt"), certificate).await
    }

    /// Puts a client's certificate and key into the prober's pod and returns their file.
    ///
    /// # Errors
    /// Any [`EngineError`] of copying.
    pub async fn keep_identity(&self, name: &str, identity: &Identity) -> Result<String, EngineError> {
        self.keep(&format!("{name}.pem"), &format!("{}{}", identity.certificate, identity.key)).await
    }

    async fn keep(&self, file: &str, content: &str) -> Result<String, EngineError> {
        self.pod().put_files_in_pod(FOLDER, &[(file, content.as_bytes(), 0o600)]).await?;
        Ok(format!("{FOLDER}/{file}"))
    }

    /// One handshake. With a client certificate, or with a port that demands one and none, the connection has to be held, because the
    /// server's refusal comes after the client's side is done.
    ///
    /// # Errors
    /// Any [`EngineError`] of running the probe; a refused handshake is no error.
    pub async fn attempt(
        &self,
        address: Ipv4Addr,
        port: u16,
        start: StartTls,
        attempt: &Attempt,
        hold: Hold,
    ) -> Result<Handshake, EngineError> {
        run(self.pod(), &arguments(address, port, start, attempt), hold).await
    }
}

async fn run(pod: &Node, arguments: &[String], hold: Hold) -> Result<Handshake, EngineError> {
    let script = assets::text("config/probe/handshake.sh").map_err(|error| EngineError::Exec {
        node: pod.name().to_owned(),
        command: "find the probe".into(),
        code: 1,
        output: error.to_string(),
    })?;
    let seconds = hold.duration().as_secs_f64().ceil().to_string();
    let mut command = vec!["bash", "-c", script, "handshake", &seconds];
    command.extend(arguments.iter().map(String::as_str));
    let output = pod.exec_in_pod(&command, &[], ATTEMPT_LIMIT).await?;
    Ok(read_answer(&format!("{}\n{}", output.stdout, output.stderr)))
}

fn arguments(address: Ipv4Addr, port: u16, start: StartTls, attempt: &Attempt) -> Vec<String> {
    let mut words = vec!["-connect".to_owned(), format!("{address}:{port}")];
    let mut add = |more: &[&str]| words.extend(more.iter().map(ToString::to_string));
    if let Some(version) = attempt.version {
        add(&[version.flag()]);
    }
    match attempt.suites {
        Suites::Any => add(&["-cipher", "ALL:@SECLEVEL=0"]),
        Suites::Weak => add(&["-cipher", WEAK_CIPHERS, "-ciphersuites", WEAK_SUITES]),
    }
    if start == StartTls::Postgres {
        add(&["-starttls", "postgres"]);
    }
    if let Some(protocols) = &attempt.alpn {
        add(&["-alpn", protocols]);
    }
    if let Some(identity) = &attempt.identity {
        add(&["-cert", identity, "-key", identity]);
    }
    if let Some(trust) = &attempt.trust {
        add(&["-CAfile", &trust.authority, "-verify_return_error"]);
        match &trust.name {
            Some(name) => add(&["-verify_hostname", name]),
            None => add(&["-verify_ip", &address.to_string()]),
        }
        if let Some(at) = trust.at {
            add(&["-attime", &at.to_string()]);
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_wish_becomes_an_argument() {
        let trust = Trust { authority: "/tmp/own.crt".into(), name: Some("elsewhere".into()), at: Some(7) };
        let attempt = Attempt {
            version: Some(TlsVersion::V1_3),
            suites: Suites::Weak,
            alpn: Some("h2,other".into()),
            identity: Some("/tmp/n.pem".into()),
            trust: Some(trust),
        };
        let words = arguments(Ipv4Addr::LOCALHOST, 5432, StartTls::Postgres, &attempt).join(" ");
        let parts =
            ["-tls1_3", "CCM_8", "-starttls postgres", "-alpn h2,other", "-cert /tmp/n.pem", "-verify_hostname elsewhere", "-attime 7"];
        for part in parts {
            assert!(words.contains(part), "{part} is missing in {words}");
        }
    }
}
