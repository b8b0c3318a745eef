//! Keys of volumes, and where they come from.

use std::fmt;

use async_trait::async_trait;

use super::VolumeError;
use crate::security::{Secret, remember};

/// The key of one volume, as hexadecimal text. `Debug` does not show it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataKey(Secret);

impl DataKey {
    /// Its length.
    pub const BITS: usize = 256;

    /// A new one from the operating system's random numbers.
    pub fn generate() -> Self {
        Self::of(&rand::random::<[u8; Self::BITS / 8]>())
    }

    /// One that somebody else made; [`None`] where it has another length.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        (bytes.len() * 8 == Self::BITS).then(|| Self::of(bytes))
    }

    fn of(bytes: &[u8]) -> Self {
        Self(remember("the key of a volume", hex::encode(bytes)))
    }

    /// The text itself, for whoever opens the volume.
    pub fn reveal(&self) -> &str {
        self.0.reveal()
    }
}

/// Whoever keeps the keys of volumes.
#[async_trait]
pub trait KeySource: fmt::Debug + Send + Sync {
    /// What it is, for the report.
    fn name(&self) -> String;

    /// The nodes that it cannot do without, by name.
    fn nodes(&self) -> Vec<String> {
        Vec::new()
    }

    /// The key of a node's volume: always the same for the same node of one run.
    ///
    /// # Errors
    /// [`VolumeError::Key`], with the reason in the source's words.
    async fn key(&self, node: &str) -> Result<DataKey, VolumeError>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_of_another_length_is_none() {
        assert!(DataKey::from_bytes(&[7; 16]).is_none());
        let key = DataKey::from_bytes(&[7; 32]).unwrap();
        assert_eq!(key.reveal().len() * 4, DataKey::BITS);
        assert!(!format!("{key:?}").contains(key.reveal()));
    }

    #[test]
    fn no_two_are_alike() {
        assert_ne!(DataKey::generate(), DataKey::generate());
    }
}
