//! Passwords: generated for one run, never printed by accident.

use std::fmt;

use rand::RngExt as _;
use serde::{Deserialize, Serialize};

/// A secret text that `Debug` and logs do not show. It serialises in clear, for the run's own private file.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// The text itself, for the one place that needs it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Secret(…)")
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(text)
    }
}

/// 32 characters from 62 (190 bits); letters and digits only, so it needs no quoting in any configuration file or URL.
pub fn generate_secret() -> Secret {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    let mut random = rand::rng();
    Secret((0..32).map(|_| char::from(ALPHABET[random.random_range(0..ALPHABET.len())])).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_not_printed() {
        let secret = generate_secret();
        assert_eq!(secret.reveal().len(), 32);
        assert!(!format!("{secret:?}").contains(secret.reveal()));
        assert_ne!(secret, generate_secret());
    }
}
