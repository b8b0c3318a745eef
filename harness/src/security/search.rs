//! Looks for every known secret at once in whatever text it is given.

use std::collections::{BTreeSet, HashMap};

use super::KnownSecret;

/// How many bytes of a secret are looked up first; a shorter secret would be no secret.
const HEAD: usize = 8;

/// A search for a set of secrets. The time it takes does not depend on how many there are.
#[derive(Debug)]
pub struct SecretSearch {
    secrets: Vec<KnownSecret>,
    by_head: HashMap<[u8; HEAD], Vec<usize>>,
    longest: usize,
}

impl SecretSearch {
    /// A search for these secrets; those of less than eight bytes are left out.
    pub fn new(secrets: Vec<KnownSecret>) -> Self {
        let mut by_head: HashMap<[u8; HEAD], Vec<usize>> = HashMap::new();
        for (at, known) in secrets.iter().enumerate() {
            if let Some(head) = known.secret.reveal().as_bytes().first_chunk::<HEAD>() {
                by_head.entry(*head).or_default().push(at);
            }
        }
        let longest = secrets.iter().map(|known| known.secret.reveal().len()).max().unwrap_or_default();
        Self { secrets, by_head, longest }
    }

    /// What is searched for.
    pub fn secrets(&self) -> &[KnownSecret] {
        &self.secrets
    }

    /// The length of the longest secret in bytes: the overlap that a reader of pieces needs.
    pub fn longest(&self) -> usize {
        self.longest
    }

    /// Positions in [`SecretSearch::secrets`] of those that are in `text`.
    pub fn find(&self, text: &[u8]) -> BTreeSet<usize> {
        let mut found = BTreeSet::new();
        for (start, head) in text.array_windows::<HEAD>().enumerate() {
            let Some(candidates) = self.by_head.get(head) else { continue };
            found.extend(candidates.iter().copied().filter(|at| text[start..].starts_with(self.secrets[*at].secret.reveal().as_bytes())));
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::security::{generate_secret, known_secrets};

    fn search_for(count: usize) -> (SecretSearch, Vec<String>) {
        let texts: Vec<String> = (0..count).map(|_| generate_secret().reveal().to_owned()).collect();
        let known = known_secrets().into_iter().filter(|known| texts.iter().any(|text| text == known.secret.reveal())).collect();
        (SecretSearch::new(known), texts)
    }

    #[test]
    fn a_secret_is_found_wherever_it_stands() {
        let (search, texts) = search_for(3);
        for text in &texts {
            for around in [text.clone(), format!("PASSWORD={text}"), format!("\u{0}{text}\u{0}x"), format!("a\n{text}")] {
                let found = search.find(around.as_bytes());
                assert!(found.iter().any(|at| search.secrets()[*at].secret.reveal() == text), "{around:?}");
                assert_eq!(found.len(), 1);
            }
        }
    }

    #[test]
    fn a_part_of_a_secret_is_not_the_secret() {
        let (search, texts) = search_for(1);
        assert!(search.find(&texts[0].as_bytes()[..31]).is_empty());
        assert!(search.find(b"").is_empty());
    }
}
