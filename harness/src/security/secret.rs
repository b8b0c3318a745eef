//! Passwords: generated for one run, never printed by accident.

use std::{
    fmt,
    sync::{Mutex, PoisonError},
    time::SystemTime,
};

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
    remember("a generated password", (0..32).map(|_| char::from(ALPHABET[random.random_range(0..ALPHABET.len())])).collect())
}

/// A secret of this process, so that it can be searched for where it must not be.
#[derive(Debug, Clone)]
pub struct KnownSecret {
    /// What it is, without saying it.
    pub kind: &'static str,
    /// The secret.
    pub secret: Secret,
    /// Since when there is one.
    pub since: SystemTime,
}

static KNOWN: Mutex<Vec<KnownSecret>> = Mutex::new(Vec::new());

/// Notes a secret that a run generated or was given, and returns it.
pub fn remember(kind: &'static str, text: String) -> Secret {
    let secret = Secret(text);
    let known = KnownSecret { kind, secret: secret.clone(), since: SystemTime::now() };
    KNOWN.lock().unwrap_or_else(PoisonError::into_inner).push(known);
    secret
}

/// Every secret that this process has generated or was given, oldest first.
pub fn known_secrets() -> Vec<KnownSecret> {
    KNOWN.lock().unwrap_or_else(PoisonError::into_inner).clone()
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

    #[test]
    fn every_generated_secret_is_known() {
        let secret = generate_secret();
        assert!(known_secrets().iter().any(|known| known.secret == secret));
    }
}
