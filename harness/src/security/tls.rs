//! TLS as a client of this project does it: 1.3 only, one authority, host name verified.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject as _},
    version::TLS13,
};
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::Identity;

/// A TLS connection or its configuration failed.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The material (PEM, name) is unusable.
    #[error("unusable TLS material: {0}")]
    Material(String),
    /// No TCP connection.
    #[error("failed to connect to {address}: {source}")]
    Tcp {
        /// Where to.
        address: SocketAddr,
        /// Why not.
        source: std::io::Error,
    },
    /// The handshake was refused by one side.
    #[error("TLS handshake with {address} failed: {source}")]
    Handshake {
        /// With whom.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// It took too long.
    #[error("no TLS connection to {address} within {:.1} s", limit.as_secs_f64())]
    Deadline {
        /// With whom.
        address: SocketAddr,
        /// The deadline.
        limit: Duration,
    },
}

/// Makes ring the process's provider. Every binary calls it first thing; a second call changes nothing.
pub fn install_provider() {
    // Only an earlier installation can make it fail, and that is what is wanted.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// The certificates of a PEM text.
///
/// # Errors
/// [`TlsError::Material`].
pub fn pem_certificates(pem: &str) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    CertificateDer::pem_slice_iter(pem.as_bytes()).collect::<Result<_, _>>().map_err(|error| TlsError::Material(error.to_string()))
}

/// A name or an address to verify the server's certificate against.
///
/// # Errors
/// [`TlsError::Material`].
pub fn server_name(name: &str) -> Result<ServerName<'static>, TlsError> {
    ServerName::try_from(name.to_owned()).map_err(|error| TlsError::Material(error.to_string()))
}

fn roots(authority: &str) -> Result<RootCertStore, TlsError> {
    let mut store = RootCertStore::empty();
    for certificate in pem_certificates(authority)? {
        store.add(certificate).map_err(|error| TlsError::Material(error.to_string()))?;
    }
    Ok(store)
}

/// A client that speaks TLS 1.3 only and trusts this authority only.
///
/// # Errors
/// [`TlsError::Material`].
pub fn client_config(authority: &str) -> Result<ClientConfig, TlsError> {
    install_provider();
    Ok(ClientConfig::builder_with_protocol_versions(&[&TLS13]).with_root_certificates(roots(authority)?).with_no_client_auth())
}

/// As [`client_config`], with a client certificate.
///
/// # Errors
/// [`TlsError::Material`].
pub fn client_config_with_identity(authority: &str, identity: &Identity) -> Result<ClientConfig, TlsError> {
    install_provider();
    let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes()).map_err(|error| TlsError::Material(error.to_string()))?;
    ClientConfig::builder_with_protocol_versions(&[&TLS13])
        .with_root_certificates(roots(authority)?)
        .with_client_auth_cert(pem_certificates(&identity.certificate)?, key)
        .map_err(|error| TlsError::Material(error.to_string()))
}

/// Connects and verifies the certificate against `name`.
///
/// # Errors
/// [`TlsError`], also after `limit`.
pub async fn connect(address: SocketAddr, name: &str, config: ClientConfig, limit: Duration) -> Result<TlsStream<TcpStream>, TlsError> {
    let name = server_name(name)?;
    let attempt = async {
        let stream = TcpStream::connect(address).await.map_err(|source| TlsError::Tcp { address, source })?;
        // Nagle's delay would be measured as the server's.
        stream.set_nodelay(true).map_err(|source| TlsError::Tcp { address, source })?;
        TlsConnector::from(Arc::new(config)).connect(name, stream).await.map_err(|source| TlsError::Handshake { address, source })
    };
    timeout(limit, attempt).await.map_err(|_elapsed| TlsError::Deadline { address, limit })?
}
