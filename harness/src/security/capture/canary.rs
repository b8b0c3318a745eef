//! A text that is in no other data, and the forms in which a protocol may carry it.

use rand::RngExt as _;

/// Length of one word. Eight characters of 62 are in a gigabyte of ciphertext by chance once in ten billion times.
const WORD: usize = 8;
const WORDS: usize = 6;

/// The text is made of words that are searched for one by one: a protocol that cuts, counts or compresses still carries some of them whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Canary {
    words: Vec<String>,
    needles: Vec<Needle>,
    /// For each byte the needles that begin with it: captures are searched once, not once for each needle.
    by_first: Vec<Vec<usize>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Needle {
    word: String,
    form: &'static str,
    bytes: Vec<u8>,
}

impl Default for Canary {
    fn default() -> Self {
        Self::new()
    }
}

impl Canary {
    /// A new one.
    pub fn new() -> Self {
        const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
        let mut random = rand::rng();
        let mut word = || (0..WORD).map(|_| char::from(ALPHABET[random.random_range(0..ALPHABET.len())])).collect();
        let words: Vec<String> = (0..WORDS).map(|_| word()).collect();
        let all = words.iter().flat_map(|word| forms(word).into_iter().map(|(form, bytes)| Needle { word: word.clone(), form, bytes }));
        let needles: Vec<Needle> = all.collect();
        let mut by_first = vec![Vec::new(); 256];
        for (at, needle) in needles.iter().enumerate() {
            by_first[usize::from(needle.bytes[0])].push(at);
        }
        Self { words, needles, by_first }
    }

    /// The text: letters, digits and hyphens.
    pub fn text(&self) -> String {
        self.words.join("-")
    }

    /// The form in which any of its words is in the bytes: as it is, hexadecimal, in Base64, in UTF-16.
    pub fn found_in(&self, bytes: &[u8]) -> Option<String> {
        for (at, first) in bytes.iter().enumerate() {
            for needle in self.by_first[usize::from(*first)].iter().map(|index| &self.needles[*index]) {
                if bytes[at..].starts_with(&needle.bytes) {
                    return Some(format!("`{}` {}", needle.word, needle.form));
                }
            }
        }
        None
    }
}

fn forms(word: &str) -> Vec<(&'static str, Vec<u8>)> {
    let bytes = word.as_bytes();
    let mut forms = vec![
        ("as it is", bytes.to_vec()),
        ("in hexadecimal", hex::encode(bytes).into_bytes()),
        ("in hexadecimal, upper case", hex::encode_upper(bytes).into_bytes()),
        ("in UTF-16", word.encode_utf16().flat_map(u16::to_le_bytes).collect()),
    ];
    forms.extend((0..3).map(|skipped| ("in Base64", base64_core(bytes, skipped))));
    forms
}

/// What is surely in the Base64 of any text in which the word begins `skipped` bytes after a multiple of three.
fn base64_core(word: &[u8], skipped: usize) -> Vec<u8> {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let start = (3 - skipped) % 3;
    let mut core = Vec::new();
    for group in word[start..].chunks_exact(3) {
        let bits = u32::from(group[0]) << 16 | u32::from(group[1]) << 8 | u32::from(group[2]);
        core.extend([18, 12, 6, 0].map(|shift| ALPHABET[(bits >> shift & 63) as usize]));
    }
    core
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_is_found_and_other_data_are_not() {
        let canary = Canary::new();
        let text = canary.text();
        for bytes in [
            text.clone().into_bytes(),
            format!("x{text}").into_bytes(),
            hex::encode(&text).into_bytes(),
            text.encode_utf16().flat_map(u16::to_le_bytes).collect(),
            text.as_bytes()[3..].to_vec(),
        ] {
            assert!(canary.found_in(&bytes).is_some());
        }
        assert_eq!(canary.found_in(Canary::new().text().as_bytes()), None);
        assert_eq!(canary.found_in(b""), None);
    }

    #[test]
    fn base64_is_found_at_each_alignment() {
        // RFC 4648 of "abcdefgh" with nothing, one and two characters before it.
        let whole = ["YWJjZGVmZ2g=", "eGFiY2RlZmdo", "eHhhYmNkZWZnaA=="];
        for (skipped, text) in whole.iter().enumerate() {
            let core = String::from_utf8(base64_core(b"abcdefgh", skipped)).unwrap();
            assert!(text.contains(&core), "{core} is not in {text}");
        }
    }
}
