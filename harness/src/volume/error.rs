//! What can go wrong with encrypted volumes.

use dora_fixtures::assets::AssetError;

use crate::engine::EngineError;

/// An encrypted volume could not be given.
#[derive(Debug, thiserror::Error)]
pub enum VolumeError {
    /// The engine.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// A script of the project.
    #[error(transparent)]
    Asset(#[from] AssetError),
    /// The source of keys did not give one.
    #[error("failed to get the key of {volume} from {source_name}: {reason}")]
    Key {
        /// The volume.
        volume: String,
        /// Whom it was asked of.
        source_name: String,
        /// Why not.
        reason: String,
    },
    /// The agent in the pod did not take a key.
    #[error("failed to hand a key to the pod of {node}: {reason}")]
    Agent {
        /// The node.
        node: String,
        /// Its words.
        reason: String,
    },
    /// A volume's metadata are not what its provider writes.
    #[error("failed to read the volume's metadata: {0}")]
    Metadata(String),
}
