//! The run's own certificate authority, generated secrets, TLS clients and the probe that asks a listener what it accepts.

mod attempt;
mod authority;
pub mod capture;
mod plaintext;
mod probe;
mod search;
mod secret;
mod sockets;
mod tls;

pub use attempt::{Attempt, Hold, Suites, Trust};
pub use authority::{Authority, AuthorityError, Identity};
pub use plaintext::{PlainAnswer, Plaintext, speak};
pub use probe::{Handshake, SeenCertificate, StartTls, TlsProber, TlsVersion};
pub use search::{SecretSearch, redacted};
pub use secret::{KnownSecret, Secret, generate_secret, known_secrets, remember};
pub use sockets::{ListeningSockets, Transport};
pub use tls::{TlsError, client_config, client_config_with_identity, connect, install_provider, pem_certificates, server_name};
