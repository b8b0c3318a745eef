//! Encryption at rest: which encrypted volumes this machine can give, where their keys come from, and how a key reaches a node.
//!
//! A key never touches a disk. Its source (the project's is OpenBao) is asked anew for every pod, and not when a node in it starts again. The harness hands it to an agent in the node's pod, which keeps it in memory and tells it to root of the
//! pod's containers; the database's start script asks for it, also after a crash, whoever starts the container again.

mod agent;
mod error;
mod key;
mod metadata;
mod plan;
mod provider;
mod volumes;

pub use agent::{hand_over, withdraw};
pub use error::VolumeError;
pub use key::{DataKey, KeySource};
pub use metadata::{Cipher, Metadata};
pub use plan::VolumePlan;
pub use provider::{Answer, Choice, Provider, providers};
pub use volumes::{Protection, Volumes};

/// Where the volume with the ciphertext is in a node.
pub const CIPHER_DIR: &str = "/dora/cipher";
/// Where its content is seen, by the database's user.
pub const DATA_DIR: &str = "/dora/data";
/// The name under which the agent holds the data directory's key.
const DATA: &str = "data";
