//! The authority that issues the platform's certificates: an intermediate of the run's own root, kept by the key manager.

use std::{net::Ipv4Addr, sync::Arc, time::Duration};

use serde_json::{Value, json};

use super::{Openbao, OpenbaoError};
use crate::security::{Authority, AuthorityError, Identity, remember};

/// As long as the root.
const LIFETIME: Duration = Duration::from_secs(7 * 24 * 3600 - 60);

/// The authority could not be set up or did not issue.
#[derive(Debug, thiserror::Error)]
pub enum PkiError {
    /// The key manager.
    #[error(transparent)]
    Openbao(#[from] OpenbaoError),
    /// The root.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    /// The authority has ended, or ends before what was asked for would.
    #[error("failed to issue a certificate: the authority `{mount}` ends too soon; give it a successor signed by the root")]
    AuthorityEnds {
        /// Where it is mounted.
        mount: String,
    },
    /// An answer lacks something.
    #[error("failed to issue a certificate: OpenBao's answer has no {0}")]
    Answer(&'static str),
}

/// A certificate that the authority issued.
#[derive(Debug, Clone)]
pub struct Issued {
    /// Leaf and intermediate (in this order), and the leaf's key.
    pub identity: Identity,
    /// Serial number: upper-case hexadecimal without separators, as OpenSSL writes it.
    pub serial: String,
    /// As the server wrote it, for revoking.
    pub serial_of_server: String,
    /// When it ends, seconds since 1970.
    pub expires: i64,
}

/// An intermediate authority. It is one mount of the server; another one is made by another [`Pki::set_up`].
#[derive(Debug, Clone)]
pub struct Pki {
    bao: Arc<Openbao>,
    mount: String,
}

impl Pki {
    /// Makes the intermediate `name` below `mount`, signed by the run's root: the root's key stays with the harness, the intermediate's
    /// is handed over once and kept by the server. Leaves bear the name of the unit and the organisation that the platform's nodes have.
    ///
    /// # Errors
    /// [`PkiError`].
    pub async fn set_up(bao: &Arc<Openbao>, root: &Authority, mount: &str, name: &str) -> Result<Self, PkiError> {
        Self::set_up_for(bao, root, mount, name, LIFETIME).await
    }

    /// As [`Pki::set_up`], with an authority that ends after `lifetime`.
    ///
    /// # Errors
    /// [`PkiError`].
    pub async fn set_up_for(bao: &Arc<Openbao>, root: &Authority, mount: &str, name: &str, lifetime: Duration) -> Result<Self, PkiError> {
        let pki = Self { bao: Arc::clone(bao), mount: mount.to_owned() };
        pki.remove().await?;
        let intermediate = root.issue_intermediate(name, lifetime)?;
        bao.write(&format!("sys/mounts/{mount}"), &json!({ "type": "pki", "config": { "max_lease_ttl": "168h" } })).await?;
        let bundle = format!("{}{}{}", intermediate.key, intermediate.certificate, root.certificate());
        bao.write(&format!("{mount}/config/ca"), &json!({ "pem_bundle": bundle })).await?;
        for (role, server) in [("nodes", true), ("clients", false)] {
            let rules = json!({
                "allow_any_name": true,
                "enforce_hostnames": false,
                "allow_ip_sans": true,
                "organization": ["dora"],
                "ou": [role],
                "key_type": "ec",
                "key_bits": 256,
                "server_flag": server,
                "client_flag": true,
                "key_usage": ["DigitalSignature", "KeyEncipherment"],
                "not_before_duration": "30s",
                "ttl": "1h",
                "max_ttl": "72h",
                // Kept, or a list of revoked ones could not name it.
                "no_store": false,
            });
            bao.write(&format!("{mount}/roles/{role}"), &rules).await?;
        }
        Ok(pki)
    }

    /// A node's certificate: its name, its address and the loopback, for both ends of a connection.
    ///
    /// # Errors
    /// [`PkiError`].
    pub async fn issue_node(&self, name: &str, address: Ipv4Addr, lifetime: Duration) -> Result<Issued, PkiError> {
        let names = json!({ "alt_names": format!("{name},localhost"), "ip_sans": format!("{address},127.0.0.1") });
        self.issue("nodes", name, names, lifetime).await
    }

    /// A client's certificate.
    ///
    /// # Errors
    /// [`PkiError`].
    pub async fn issue_client(&self, name: &str, lifetime: Duration) -> Result<Issued, PkiError> {
        self.issue("clients", name, json!({ "exclude_cn_from_sans": true }), lifetime).await
    }

    async fn issue(&self, role: &str, name: &str, mut order: Value, lifetime: Duration) -> Result<Issued, PkiError> {
        order["common_name"] = name.into();
        order["ttl"] = format!("{}s", lifetime.as_secs()).into();
        order["private_key_format"] = "pkcs8".into();
        let answer = match self.bao.write(&format!("{}/issue/{role}", self.mount), &order).await {
            Err(OpenbaoError::Refused { body, .. }) if body.contains("beyond the expiration of the CA certificate") => {
                return Err(PkiError::AuthorityEnds { mount: self.mount.clone() });
            }
            answer => answer?,
        };
        let text = |member: &'static str| {
            answer.pointer(&format!("/data/{member}")).and_then(Value::as_str).map(ToOwned::to_owned).ok_or(PkiError::Answer(member))
        };
        let (leaf, issuer, key, serial) = (text("certificate")?, text("issuing_ca")?, text("private_key")?, text("serial_number")?);
        remember("a private key", key.lines().nth(2).unwrap_or_default().to_owned());
        Ok(Issued {
            identity: Identity { certificate: format!("{}\n{}\n", leaf.trim(), issuer.trim()), key: format!("{}\n", key.trim()) },
            serial: serial.replace(':', "").to_uppercase(),
            serial_of_server: serial,
            expires: answer.pointer("/data/expiration").and_then(Value::as_i64).ok_or(PkiError::Answer("expiration"))?,
        })
    }

    /// Revokes a certificate; the next list names it.
    ///
    /// # Errors
    /// [`PkiError`].
    pub async fn revoke(&self, issued: &Issued) -> Result<(), PkiError> {
        self.bao.write(&format!("{}/revoke", self.mount), &json!({ "serial_number": issued.serial_of_server })).await?;
        Ok(())
    }

    /// The list of revoked certificates, PEM, made anew.
    ///
    /// # Errors
    /// [`PkiError`].
    pub async fn revocation_list(&self) -> Result<String, PkiError> {
        self.bao.read(&format!("{}/crl/rotate", self.mount)).await?;
        let answer = self.bao.read(&format!("{}/cert/crl", self.mount)).await?;
        let list = answer.pointer("/data/certificate").and_then(Value::as_str).ok_or(PkiError::Answer("certificate"))?;
        Ok(format!("{}\n", list.trim()))
    }

    /// Removes the authority with everything that it knows of.
    ///
    /// # Errors
    /// [`PkiError`].
    pub async fn remove(&self) -> Result<(), PkiError> {
        let mounts = self.bao.read("sys/mounts").await?;
        if mounts["data"].get(format!("{}/", self.mount)).is_some() {
            self.bao.delete(&format!("sys/mounts/{}", self.mount)).await?;
        }
        Ok(())
    }
}
