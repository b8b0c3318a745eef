//! The columns of the listeners' matrix: what is tried, what must come of it, and by which finding it is noticed.

use dora_harness::{
    security::TlsVersion,
    topology::{ClientCertificate, Listening, Reach},
};

pub(super) const ACCEPTED: &str = "accepted";
pub(super) const REFUSED: &str = "refused";
pub(super) const OPEN: &str = "open";
pub(super) const CLOSED: &str = "closed";

/// One thing that is tried at a listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Column {
    /// A handshake with that version alone.
    Version(TlsVersion),
    /// Weak suites alone.
    WeakSuites,
    /// The protocol without TLS.
    Plaintext,
    /// A client that trusts the run's authority and expects the node's address.
    RightName,
    /// A client that trusts another authority.
    ForeignAuthority,
    /// A client that expects another name.
    WrongName,
    /// A client whose clock stands behind the certificate's end.
    AfterExpiry,
    /// No client certificate.
    NoCertificate,
    /// A client certificate of a node of the run.
    OwnCertificate,
    /// One of another authority.
    ForeignCertificate,
    /// One that has expired.
    ExpiredCertificate,
    /// One of the run's authority that is no node's: no workload identity.
    NoIdentity,
    /// A connection from another node.
    FromNetwork,
}

impl Column {
    pub(super) const ALL: [Self; 16] = [
        Self::Version(TlsVersion::V1_3),
        Self::Version(TlsVersion::V1_2),
        Self::Version(TlsVersion::V1_1),
        Self::Version(TlsVersion::V1_0),
        Self::WeakSuites,
        Self::Plaintext,
        Self::RightName,
        Self::ForeignAuthority,
        Self::WrongName,
        Self::AfterExpiry,
        Self::NoCertificate,
        Self::OwnCertificate,
        Self::ForeignCertificate,
        Self::ExpiredCertificate,
        Self::NoIdentity,
        Self::FromNetwork,
    ];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Version(version) => version.name(),
            Self::WeakSuites => "weak suites",
            Self::Plaintext => "plaintext",
            Self::RightName => "right name",
            Self::ForeignAuthority => "foreign authority",
            Self::WrongName => "wrong name",
            Self::AfterExpiry => "after expiry",
            Self::NoCertificate => "no client certificate",
            Self::OwnCertificate => "client certificate of a node",
            Self::ForeignCertificate => "foreign client certificate",
            Self::ExpiredCertificate => "expired client certificate",
            Self::NoIdentity => "client certificate of no node",
            Self::FromNetwork => "from the network",
        }
    }

    /// What must come of it at that listener; nothing where it does not apply.
    pub(super) fn expected(self, listener: &Listening) -> Option<&'static str> {
        if listener.on != Reach::Network {
            return (listener.on == Reach::Loopback && self == Self::FromNetwork).then_some(CLOSED);
        }
        // A named exception has no TLS: there is nothing to refuse.
        if listener.plain.is_some() {
            return None;
        }
        if listener.client_certificate == ClientCertificate::Members {
            return self.is_for_outsiders().then_some(REFUSED);
        }
        let (asks, demands) =
            (listener.client_certificate != ClientCertificate::None, listener.client_certificate == ClientCertificate::Demanded);
        match self {
            Self::Version(TlsVersion::V1_3) | Self::RightName => Some(ACCEPTED),
            Self::OwnCertificate => asks.then_some(ACCEPTED),
            Self::NoCertificate => demands.then_some(REFUSED),
            Self::ForeignCertificate | Self::ExpiredCertificate => asks.then_some(REFUSED),
            Self::NoIdentity => (demands && listener.sidecar).then_some(REFUSED),
            Self::FromNetwork => None,
            _ => Some(REFUSED),
        }
    }

    /// Whether it is tried at a listener of [`ClientCertificate::Members`]. A good peer cannot be played there, so nothing is tried that
    /// needs one: TLS 1.2 and 1.3 are refused for want of the certificate, whatever the listener thinks of the version.
    const fn is_for_outsiders(self) -> bool {
        matches!(
            self,
            Self::Version(TlsVersion::V1_1 | TlsVersion::V1_0)
                | Self::WeakSuites
                | Self::Plaintext
                | Self::NoCertificate
                | Self::OwnCertificate
                | Self::ForeignCertificate
                | Self::ExpiredCertificate
        )
    }

    /// The finding for something that was accepted and should not have been.
    pub(super) const fn finding(self) -> &'static str {
        match self {
            Self::Version(_) => "old-tls-accepted",
            Self::WeakSuites => "weak-suite-accepted",
            Self::Plaintext => "plaintext-accepted",
            Self::RightName => "right-peer-refused",
            Self::ForeignAuthority => "foreign-authority-accepted",
            Self::WrongName => "wrong-name-accepted",
            Self::AfterExpiry => "expired-accepted",
            Self::NoCertificate => "missing-certificate-accepted",
            Self::ForeignCertificate => "foreign-certificate-accepted",
            Self::ExpiredCertificate => "expired-certificate-accepted",
            Self::OwnCertificate | Self::NoIdentity => "stranger-accepted",
            Self::FromNetwork => "loopback-port-reachable",
        }
    }

    /// Words of which one must be in the client's own reason: a refusal for any other reason proves nothing. Where the server refuses, the
    /// probe that differs in this one thing only and is accepted makes the reason; where none is accepted, the server's alert has to.
    pub(super) fn reasons(self, listener: &Listening) -> &'static [&'static str] {
        if listener.client_certificate == ClientCertificate::Members {
            return match self {
                Self::Version(_) => &["protocol version"],
                Self::WeakSuites => &["handshake failure"],
                Self::Plaintext => &[],
                // Before it asks for a certificate, a server may want the name in its own, which only the members know.
                _ => &["certificate", "unknown ca", "unrecognized name"],
            };
        }
        match self {
            Self::ForeignAuthority => &["issuer certificate", "self-signed certificate", "self signed certificate"],
            Self::WrongName => &["ostname mismatch"],
            Self::AfterExpiry => &["expired"],
            _ => &[],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listener(text: &str) -> Listening {
        let wiring = format!("kind = \"a\"\nport = 1\npurpose = \"p\"\n{text}");
        toml::from_str(&wiring).unwrap()
    }

    #[test]
    fn what_applies_follows_from_the_model() {
        let count = |text: &str| Column::ALL.iter().filter(|column| column.expected(&listener(text)).is_some()).count();
        assert_eq!(count(""), 10);
        assert_eq!(count("client_certificate = \"optional\""), 13);
        assert_eq!(count("client_certificate = \"demanded\""), 14);
        assert_eq!(count("client_certificate = \"demanded\"\nsidecar = true"), 15);
        assert_eq!(count("client_certificate = \"members\""), 8);
        assert_eq!(count("on = \"loopback\""), 1);
        assert_eq!(count("plain = \"named\""), 0);
    }
}
