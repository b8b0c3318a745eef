//! What an encrypted directory says of itself.

use serde::Deserialize;

use super::VolumeError;

/// How the content of files is encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cipher {
    /// AES with 256 bits in Galois/Counter Mode.
    Aes256Gcm,
    /// AES in the deterministic SIV mode; its 512 bits are two keys of 256.
    AesSiv512,
    /// No AES.
    XChaCha20Poly1305,
}

impl Cipher {
    /// The usual name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Aes256Gcm => "AES-256-GCM",
            Self::AesSiv512 => "AES-SIV-512",
            Self::XChaCha20Poly1305 => "XChaCha20-Poly1305",
        }
    }
}

/// The metadata of a `gocryptfs` directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metadata {
    /// How contents are encrypted.
    pub cipher: Cipher,
    /// Bits of the key that encrypts them, which itself lies encrypted in the metadata.
    pub key_bits: usize,
    /// Whether the names of files are encrypted, too.
    pub names_encrypted: bool,
    /// Who made it.
    pub creator: String,
}

/// The file `gocryptfs.conf`; the manual's section "Configuration file format" names the flags.
#[derive(Deserialize)]
struct Configuration {
    #[serde(rename = "Creator")]
    creator: String,
    #[serde(rename = "EncryptedKey")]
    encrypted_key: String,
    #[serde(rename = "FeatureFlags")]
    flags: Vec<String>,
}

/// Initialisation vector and tag that surround the encrypted key.
const WRAPPING_BYTES: usize = 16 + 16;

impl Metadata {
    /// Reads a `gocryptfs.conf`.
    ///
    /// # Errors
    /// [`VolumeError::Metadata`].
    pub fn read(configuration: &[u8]) -> Result<Self, VolumeError> {
        let read: Configuration = serde_json::from_slice(configuration).map_err(|error| VolumeError::Metadata(error.to_string()))?;
        let has = |flag: &str| read.flags.iter().any(|found| found == flag);
        let cipher = match (has("XChaCha20Poly1305"), has("AESSIV"), has("GCMIV128")) {
            (true, _, _) => Cipher::XChaCha20Poly1305,
            (false, true, _) => Cipher::AesSiv512,
            (false, false, true) => Cipher::Aes256Gcm,
            (false, false, false) => return Err(VolumeError::Metadata(format!("no cipher is named among {}", read.flags.join(", ")))),
        };
        let key_bytes = base64_len(&read.encrypted_key).checked_sub(WRAPPING_BYTES);
        let key_bytes = key_bytes.ok_or_else(|| VolumeError::Metadata("the encrypted key is too short".into()))?;
        Ok(Self { cipher, key_bits: key_bytes * 8, names_encrypted: has("EMENames") && !has("PlaintextNames"), creator: read.creator })
    }
}

/// Bytes that a padded base64 text stands for.
fn base64_len(text: &str) -> usize {
    let padding = text.bytes().rev().take_while(|byte| *byte == b'=').count();
    text.len() / 4 * 3 - padding.min(2)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn configuration(flags: &str, key: &str) -> Vec<u8> {
        format!("{{\"Creator\":\"gocryptfs 2.5.1\",\"EncryptedKey\":\"{key}\",\"ScryptObject\":{{\"N\":1024}},\"Version\":2,\"FeatureFlags\":[{flags}]}}")
            .into_bytes()
    }

    #[test]
    fn cipher_and_key_length_are_read() {
        // 64 bytes in base64 are 88 characters, two of them padding.
        let key = format!("{}==", "A".repeat(86));
        let gcm = Metadata::read(&configuration("\"GCMIV128\",\"HKDF\",\"DirIV\",\"EMENames\"", &key)).unwrap();
        assert_eq!((gcm.cipher, gcm.key_bits, gcm.names_encrypted), (Cipher::Aes256Gcm, 256, true));
        let other = Metadata::read(&configuration("\"XChaCha20Poly1305\",\"GCMIV128\",\"PlaintextNames\"", &key)).unwrap();
        assert_eq!((other.cipher, other.names_encrypted), (Cipher::XChaCha20Poly1305, false));
        let short = Metadata::read(&configuration("\"GCMIV128\"", &"A".repeat(64))).unwrap();
        assert_eq!(short.key_bits, 128);
    }

    #[test]
    fn what_is_no_configuration_is_refused() {
        assert!(Metadata::read(b"no json").is_err());
        assert!(Metadata::read(&configuration("\"DirIV\"", &"A".repeat(88))).is_err());
        assert!(Metadata::read(&configuration("\"GCMIV128\"", "AAAA")).is_err());
    }
}
