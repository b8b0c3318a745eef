//! Looks for every known secret at once in whatever text it is given.

use std::{
    collections::{BTreeSet, HashMap},
    fmt,
};

use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};

use super::{KnownSecret, known_secrets};

/// How many bytes of a secret are looked up first; a shorter secret would be no secret.
const HEAD: usize = 8;
/// A text that is hexadecimal and stands for at least as many bytes is a key's.
const KEY_BYTES_MIN: usize = 16;

/// One form in which a secret may stand somewhere.
struct Needle {
    form: Vec<u8>,
    /// Its secret's position.
    of: usize,
}

/// A search for a set of secrets. The time it takes does not depend on how many there are.
pub struct SecretSearch {
    secrets: Vec<KnownSecret>,
    needles: Vec<Needle>,
    /// Positions of needles.
    by_head: HashMap<[u8; HEAD], Vec<usize>>,
    longest: usize,
}

impl fmt::Debug for SecretSearch {
    /// Without the needles, which are the secrets themselves.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("SecretSearch").field("secrets", &self.secrets).finish_non_exhaustive()
    }
}

impl SecretSearch {
    /// A search for these secrets; those of less than eight bytes are left out. A key that is known in hexadecimal is searched for in that
    /// form, as the bytes that it stands for, and as base 64 of them.
    pub fn new(secrets: Vec<KnownSecret>) -> Self {
        let needles_of = |(of, known): (usize, &KnownSecret)| forms(known.secret.reveal()).into_iter().map(move |form| Needle { form, of });
        let needles: Vec<Needle> = secrets.iter().enumerate().flat_map(needles_of).collect();
        let mut by_head: HashMap<[u8; HEAD], Vec<usize>> = HashMap::new();
        for (at, needle) in needles.iter().enumerate() {
            if let Some(head) = needle.form.first_chunk::<HEAD>() {
                by_head.entry(*head).or_default().push(at);
            }
        }
        let longest = needles.iter().map(|needle| needle.form.len()).max().unwrap_or_default();
        Self { secrets, needles, by_head, longest }
    }

    /// What is searched for.
    pub fn secrets(&self) -> &[KnownSecret] {
        &self.secrets
    }

    /// The length of the longest form of a secret in bytes: the overlap that a reader of pieces needs.
    pub fn longest(&self) -> usize {
        self.longest
    }

    /// Positions in [`SecretSearch::secrets`] of those that are in `text`.
    pub fn find(&self, text: &[u8]) -> BTreeSet<usize> {
        let mut found = BTreeSet::new();
        for (start, head) in text.array_windows::<HEAD>().enumerate() {
            let Some(candidates) = self.by_head.get(head) else { continue };
            let candidates = candidates.iter().map(|at| &self.needles[*at]);
            found.extend(candidates.filter(|needle| text[start..].starts_with(&needle.form)).map(|needle| needle.of));
        }
        found
    }

    /// `text` with every secret in it replaced by what kind it is.
    pub fn redact(&self, text: &str) -> String {
        let mut redacted = Vec::with_capacity(text.len());
        let mut rest = text.as_bytes();
        while let Some((first, after)) = rest.split_first() {
            if let Some(needle) = self.at_start_of(rest) {
                redacted.extend_from_slice(format!("[{}]", self.secrets[needle.of].kind).as_bytes());
                rest = &rest[needle.form.len()..];
            } else {
                redacted.push(*first);
                rest = after;
            }
        }
        // Lossy only where a key's bare bytes were cut out of a character.
        String::from_utf8_lossy(&redacted).into_owned()
    }

    /// The longest form of a secret that `text` begins with.
    fn at_start_of(&self, text: &[u8]) -> Option<&Needle> {
        let candidates = self.by_head.get(text.first_chunk::<HEAD>()?)?;
        let needles = candidates.iter().map(|at| &self.needles[*at]).filter(|needle| text.starts_with(&needle.form));
        needles.max_by_key(|needle| needle.form.len())
    }
}

/// These lines with every secret of this process replaced by its kind: for places that others than the secrets' owner can read.
pub fn redacted(lines: &[String]) -> Vec<String> {
    let search = SecretSearch::new(known_secrets());
    lines.iter().map(|line| search.redact(line)).collect()
}

/// Every form of a secret: its text and, where that is a key in hexadecimal, what it stands for. The base 64 has no padding, so that it is
/// found with padding and without.
fn forms(text: &str) -> Vec<Vec<u8>> {
    let mut forms = vec![text.as_bytes().to_vec()];
    if let Ok(key) = hex::decode(text)
        && key.len() >= KEY_BYTES_MIN
    {
        forms.push(STANDARD_NO_PAD.encode(&key).into_bytes());
        forms.push(key);
    }
    forms
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::security::{Secret, generate_secret, known_secrets};

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
    fn a_key_is_found_as_bytes_as_hexadecimal_and_as_base_64() {
        let key: [u8; 32] = std::array::from_fn(|at| u8::try_from(at).unwrap_or_default().wrapping_mul(37) ^ 0xa5);
        let secret = Secret::from(hex::encode(key));
        let search = SecretSearch::new(vec![KnownSecret { kind: "a key", secret, since: std::time::SystemTime::now() }]);
        let padded = base64::engine::general_purpose::STANDARD.encode(key);
        for text in [key.to_vec(), hex::encode(key).into_bytes(), padded.clone().into_bytes(), padded.trim_end_matches('=').into()] {
            let around = [b"\0key=".as_slice(), &text, b"\n"].concat();
            assert_eq!(search.find(&around), BTreeSet::from([0]), "{around:?}");
        }
        assert!(search.find(&key[..31]).is_empty());
        assert_eq!(search.longest(), 64);
    }

    #[test]
    fn what_is_redacted_says_what_it_was() {
        let (search, texts) = search_for(2);
        let line = format!("user=app password={} ü {}{}", texts[0], texts[1], texts[0]);
        let redacted = search.redact(&line);
        assert_eq!(redacted, "user=app password=[a generated password] ü [a generated password][a generated password]");
        assert_eq!(search.redact("nothing to hide ü"), "nothing to hide ü");
        assert_eq!(super::redacted(&texts[1..]), ["[a generated password]"]);
    }

    #[test]
    fn a_password_has_one_form() {
        assert_eq!(forms("Zq1aaaaaaaaaaaaaaaaaaaaaaaaaaaaa").len(), 1);
        assert_eq!(forms("0123456789abcdef").len(), 1, "too short for a key");
    }

    #[test]
    fn the_needles_are_not_printed() {
        let (search, texts) = search_for(1);
        let head = format!("{:?}", &texts[0].as_bytes()[..HEAD]);
        let printed = format!("{search:?}");
        assert!(!printed.contains(&texts[0]) && !printed.contains(head.trim_matches(['[', ']'])), "{printed}");
    }

    #[test]
    fn a_part_of_a_secret_is_not_the_secret() {
        let (search, texts) = search_for(1);
        assert!(search.find(&texts[0].as_bytes()[..31]).is_empty());
        assert!(search.find(b"").is_empty());
    }
}
