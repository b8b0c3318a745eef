//! States that are hashed as they change, not over and over as a whole.

use std::hash::{DefaultHasher, Hash, Hasher};

/// A value with a digest that its owner carries along: equal values must have equal digests.
#[derive(Debug, Clone)]
pub struct Digested<T> {
    pub(super) value: T,
    pub(super) digest: u64,
}

impl<T: PartialEq> PartialEq for Digested<T> {
    fn eq(&self, other: &Self) -> bool {
        self.digest == other.digest && self.value == other.value
    }
}

impl<T: Eq> Eq for Digested<T> {}

impl<T> Hash for Digested<T> {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        hasher.write_u64(self.digest);
    }
}

/// The digest of one part. The same in every run, so that a search takes the same way each time.
pub(super) fn of(part: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    part.hash(&mut hasher);
    hasher.finish()
}
