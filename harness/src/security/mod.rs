//! The run's own certificate authority, generated secrets, TLS clients and the probe that asks a listener what it accepts.

mod attempt;
mod authority;
pub mod capture;
mod plaintext;
mod probe;
mod secret;
mod sockets;
mod tls;

pub use attempt::{Attempt, Suites, Trust};
pub use authority::{Authority, AuthorityError, Identity};
pub use plaintext::{PlainAnswer, Plaintext, speak};
pub use probe::{Handshake, StartTls, TlsProber, TlsVersion};
pub use secret::{Secret, generate_secret};
pub use sockets::ListeningSockets;
pub use tls::{TlsError, client_config, client_config_with_identity, connect, install_provider, pem_certificates, server_name};
