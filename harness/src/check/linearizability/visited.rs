//! The configurations from which nothing new can come.

use std::hash::BuildHasher;

use hashbrown::{DefaultHashBuilder, HashTable};

use super::timeline::{NONE, Timeline};

/// The bits of a configuration: one, two, four or any number of words, so that short ones live inside an entry.
pub trait Bits: AsRef<[u64]> + AsMut<[u64]> + Clone + Send {
    /// So many words, all zero.
    fn zero(words: usize) -> Self;
}

impl<const WORDS: usize> Bits for [u64; WORDS] {
    fn zero(words: usize) -> Self {
        debug_assert!(words <= WORDS, "{words} words do not fit into {WORDS}");
        [0; WORDS]
    }
}

impl Bits for Box<[u64]> {
    fn zero(words: usize) -> Self {
        vec![0; words].into()
    }
}

/// Whether a bit is set.
pub fn is_set<B: Bits>(bits: &B, bit: u32) -> bool {
    bits.as_ref()[bit as usize / 64] >> (bit % 64) & 1 == 1
}

/// Sets a bit.
pub fn set<B: Bits>(bits: &mut B, bit: u32) {
    bits.as_mut()[bit as usize / 64] |= 1 << (bit % 64);
}

/// Clears a bit.
pub fn clear<B: Bits>(bits: &mut B, bit: u32) {
    bits.as_mut()[bit as usize / 64] &= !(1 << (bit % 64));
}

/// The first bit that is set, from `from` on.
pub fn first_from<B: Bits>(bits: &B, from: u32) -> Option<u32> {
    let words = bits.as_ref();
    let mut at = from as usize / 64;
    let mut word = *words.get(at)? & (u64::MAX << (from % 64));
    while word == 0 {
        at += 1;
        word = *words.get(at)?;
    }
    Some(at as u32 * 64 + word.trailing_zeros())
}

/// All bits that are set.
pub fn bits_of<B: Bits>(bits: &B) -> impl Iterator<Item = u32> {
    std::iter::successors(first_from(bits, 0), |bit| first_from(bits, bit + 1))
}

struct Entry<B> {
    /// The stage and the state.
    place: (u32, u32),
    /// The next entry of the same place and updates.
    next: u32,
    /// The operations under way that have not taken effect.
    open: B,
}

/// The configurations seen so far.
///
/// A configuration is not worth a visit when one of the same stage and state was seen that can do all it can: the same updates
/// are still to come, no look is still to come that is not also to come here, and no operation that never returned is used up that is
/// not used up here too. Whatever completes this one completes that one: the looks it does not need are left out, and
/// operations that never returned need not take effect at all.
pub struct Visited<B> {
    entries: Vec<Entry<B>>,
    first: HashTable<u32>,
    hasher: DefaultHashBuilder,
    updates: B,
    looks: B,
}

impl<B: Bits> Visited<B> {
    /// Nothing seen yet.
    pub fn new(timeline: &Timeline, words: usize) -> Self {
        let (mut updates, mut looks) = (B::zero(words), B::zero(words));
        for bit in 0..timeline.bits() {
            if timeline.is_update(bit) {
                set(&mut updates, bit);
            } else if timeline.is_look(bit) {
                set(&mut looks, bit);
            }
        }
        Self { entries: Vec::new(), first: HashTable::new(), hasher: DefaultHashBuilder::default(), updates, looks }
    }

    /// Remembers a configuration (its stage and state, and what is open); `false` when it is not worth a visit.
    pub fn insert(&mut self, place: (u32, u32), open: &B) -> bool {
        let Self { entries, first, hasher, updates, looks } = self;
        let masked = |open: &B| {
            // The same word for the same updates; the multiplier keeps words apart.
            let words = open.as_ref().iter().zip(updates.as_ref());
            words.fold(0, |sum: u64, (open, updates)| sum.wrapping_mul(0x9E37_79B9_7F4A_7C15).wrapping_add(open & updates))
        };
        let key = |entry: &Entry<B>| hasher.hash_one((u64::from(entry.place.0) << 32 | u64::from(entry.place.1), masked(&entry.open)));
        let new = Entry { place, next: NONE, open: open.clone() };
        let hash = key(&new);
        let same = |number: &u32| {
            let entry = &entries[*number as usize];
            entry.place == place && {
                let mut words = entry.open.as_ref().iter().zip(open.as_ref()).zip(updates.as_ref());
                words.all(|((seen, open), updates)| (seen ^ open) & updates == 0)
            }
        };
        let number = entries.len() as u32;
        if let Some(head) = first.find_mut(hash, same) {
            let mut at = *head;
            while at != NONE {
                let entry = &entries[at as usize];
                if covers(&entry.open, open, looks) {
                    return false;
                }
                at = entry.next;
            }
            let next = std::mem::replace(head, number);
            entries.push(Entry { next, ..new });
        } else {
            entries.push(new);
            first.insert_unique(hash, number, |&number| key(&entries[number as usize]));
        }
        true
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.entries.clear();
        self.first.clear();
    }

    /// How many configurations are kept.
    pub const fn len(&self) -> usize {
        self.entries.len()
    }
}

/// Of two configurations with the same updates to come: whether `seen` can do all that `open` can.
fn covers<B: Bits>(seen: &B, open: &B, looks: &B) -> bool {
    let mut words = seen.as_ref().iter().zip(open.as_ref()).zip(looks.as_ref());
    // Looks to come here but not there are fine, unreturned operations to come there but not here too.
    words.all(|((seen, open), looks)| (seen & looks) & !open == 0 && (open & !looks) & !seen == 0)
}
