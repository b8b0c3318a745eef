//! The run's own certificate authority, generated secrets, TLS clients and the probe that asks a listener what it accepts.

mod authority;
mod probe;
mod secret;
mod tls;

pub use authority::{Authority, AuthorityError, Identity};
pub use probe::{Handshake, StartTls, TlsProber, TlsVersion};
pub use secret::{Secret, generate_secret};
pub use tls::{TlsError, client_config, client_config_with_identity, connect, install_provider, pem_certificates, server_name};
