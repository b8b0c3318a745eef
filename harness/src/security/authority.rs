//! A certificate authority that lives as long as one run.

use std::net::{IpAddr, Ipv4Addr};

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyIdMethod, KeyPair, KeyUsagePurpose, SanType, SerialNumber,
};
use serde::{Deserialize, Serialize};
use time::{Duration, OffsetDateTime};

use super::remember;

/// A certificate could not be made.
#[derive(Debug, thiserror::Error)]
#[error("failed to make the certificate of {subject}: {source}")]
pub struct AuthorityError {
    /// Whose certificate.
    pub subject: String,
    /// The library's error.
    pub source: rcgen::Error,
}

/// A certificate with its key, both PEM (the key PKCS#8, ECDSA P-256).
#[derive(Clone, Serialize, Deserialize)]
pub struct Identity {
    /// The certificate.
    pub certificate: String,
    /// Its private key.
    pub key: String,
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Identity").field("certificate", &self.certificate).field("key", &"…").finish()
    }
}

/// Signs the certificates of one run.
pub struct Authority {
    certificate: String,
    issuer: Issuer<'static, KeyPair>,
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Authority").finish_non_exhaustive()
    }
}

/// How long a run's certificates are good for.
const VALID: Duration = Duration::days(7);
/// Clocks in containers are the host's, but a certificate that starts "now" is refused by whoever rounds down.
const BACKDATED: Duration = Duration::minutes(5);

impl Authority {
    /// A new authority with a key of its own.
    ///
    /// # Errors
    /// [`AuthorityError`] when the key cannot be made.
    pub fn new(name: &str) -> Result<Self, AuthorityError> {
        let fail = |source| AuthorityError { subject: name.to_owned(), source };
        let mut params = CertificateParams::new(Vec::<String>::new()).map_err(fail)?;
        params.distinguished_name = distinguished_name(name, "authority");
        // One authority below it, the key manager's.
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(1));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        (params.not_before, params.not_after) = validity();
        let key = KeyPair::generate().map_err(fail)?;
        let certificate = params.self_signed(&key).map_err(fail)?.pem();
        Ok(Self { certificate, issuer: Issuer::new(params, key) })
    }

    /// The authority's own certificate, PEM.
    pub fn certificate(&self) -> &str {
        &self.certificate
    }

    /// A node's certificate: its name, its address and the loopback, for both ends of a connection (`OU=nodes`).
    ///
    /// # Errors
    /// [`AuthorityError`].
    pub fn issue_node(&self, name: &str, address: Ipv4Addr) -> Result<Identity, AuthorityError> {
        let names = [name.to_owned(), "localhost".to_owned(), address.to_string(), "127.0.0.1".to_owned()];
        self.issue(name, "nodes", &names, vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth])
    }

    /// A client's certificate (`OU=clients`).
    ///
    /// # Errors
    /// [`AuthorityError`].
    pub fn issue_client(&self, name: &str) -> Result<Identity, AuthorityError> {
        self.issue(name, "clients", &[], vec![ExtendedKeyUsagePurpose::ClientAuth])
    }

    /// An authority below this one, which may sign leaves and lists of revoked ones and nothing else, until `lifetime` is over.
    ///
    /// # Errors
    /// [`AuthorityError`].
    pub fn issue_intermediate(&self, name: &str, lifetime: std::time::Duration) -> Result<Identity, AuthorityError> {
        let fail = |source| AuthorityError { subject: name.to_owned(), source };
        let mut params = CertificateParams::new(Vec::<String>::new()).map_err(fail)?;
        params.distinguished_name = distinguished_name(name, "authorities");
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.use_authority_key_identifier_extension = true;
        let now = OffsetDateTime::now_utc();
        (params.not_before, params.not_after) = (now - BACKDATED, now + lifetime);
        self.sign(name, &params)
    }

    /// The list of what this authority itself revoked: nothing. Who checks a whole chain wants a list of every authority in it.
    ///
    /// # Errors
    /// [`AuthorityError`].
    pub fn revocation_list(&self) -> Result<String, AuthorityError> {
        let fail = |source| AuthorityError { subject: "the list of revoked certificates".into(), source };
        let (this_update, next_update) = validity();
        let params = CertificateRevocationListParams {
            this_update,
            next_update,
            crl_number: SerialNumber::from(1_u64),
            issuing_distribution_point: None,
            revoked_certs: Vec::new(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let list = params.signed_by(&self.issuer).map_err(fail)?;
        list.pem().map_err(fail)
    }

    /// As [`Authority::issue_node`], with a validity that ended a day ago: what nobody may accept.
    ///
    /// # Errors
    /// [`AuthorityError`].
    pub fn issue_expired_node(&self, name: &str, address: Ipv4Addr) -> Result<Identity, AuthorityError> {
        let names = [name.to_owned(), "localhost".to_owned(), address.to_string(), "127.0.0.1".to_owned()];
        let now = OffsetDateTime::now_utc();
        let usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        self.issue_within(name, "nodes", &names, usages, (now - VALID, now - Duration::days(1)))
    }

    fn issue(&self, name: &str, unit: &str, names: &[String], usages: Vec<ExtendedKeyUsagePurpose>) -> Result<Identity, AuthorityError> {
        self.issue_within(name, unit, names, usages, validity())
    }

    fn issue_within(
        &self,
        name: &str,
        unit: &str,
        names: &[String],
        usages: Vec<ExtendedKeyUsagePurpose>,
        validity: (OffsetDateTime, OffsetDateTime),
    ) -> Result<Identity, AuthorityError> {
        let fail = |source| AuthorityError { subject: name.to_owned(), source };
        let mut params = CertificateParams::new(Vec::<String>::new()).map_err(fail)?;
        params.distinguished_name = distinguished_name(name, unit);
        for text in names {
            params.subject_alt_names.push(match text.parse::<IpAddr>() {
                Ok(address) => SanType::IpAddress(address),
                Err(_) => SanType::DnsName(text.as_str().try_into().map_err(fail)?),
            });
        }
        params.extended_key_usages = usages;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
        params.use_authority_key_identifier_extension = true;
        (params.not_before, params.not_after) = validity;
        self.sign(name, &params)
    }

    fn sign(&self, name: &str, params: &CertificateParams) -> Result<Identity, AuthorityError> {
        let fail = |source| AuthorityError { subject: name.to_owned(), source };
        let key = KeyPair::generate().map_err(fail)?;
        let certificate = params.signed_by(&key, &self.issuer).map_err(fail)?.pem();
        let key = key.serialize_pem();
        // Its middle line stands for it: the frame is the same for all keys.
        remember("a private key", key.lines().nth(2).unwrap_or_default().to_owned());
        Ok(Identity { certificate, key })
    }
}

fn validity() -> (OffsetDateTime, OffsetDateTime) {
    let now = OffsetDateTime::now_utc();
    (now - BACKDATED, now + VALID)
}

fn distinguished_name(name: &str, unit: &str) -> DistinguishedName {
    let mut distinguished = DistinguishedName::new();
    distinguished.push(DnType::OrganizationName, "dora");
    distinguished.push(DnType::OrganizationalUnitName, unit);
    distinguished.push(DnType::CommonName, name);
    distinguished
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_intermediate_and_the_list_of_revoked_ones_can_be_made() {
        let root = Authority::new("root").unwrap();
        let intermediate = root.issue_intermediate("below", std::time::Duration::from_secs(60)).unwrap();
        assert!(intermediate.certificate.contains("BEGIN CERTIFICATE") && intermediate.certificate != root.certificate());
        assert!(root.revocation_list().unwrap().contains("BEGIN X509 CRL"));
    }

    #[test]
    fn two_authorities_differ_and_keys_are_not_printed() {
        let one = Authority::new("one").unwrap();
        let two = Authority::new("one").unwrap();
        assert_ne!(one.certificate(), two.certificate());
        let identity = one.issue_node("n1", Ipv4Addr::LOCALHOST).unwrap();
        assert!(identity.key.contains("BEGIN PRIVATE KEY"));
        assert!(!format!("{identity:?}").contains("PRIVATE KEY"));
    }
}
