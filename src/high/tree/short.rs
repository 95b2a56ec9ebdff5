//! A short name, in words that can be read and written while others do: whoever
//! may change a name has its locks. It goes from word to word, never through bytes
//! in memory that are read as other words: processors wait for that.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

const WORDS: usize = 4;
const WORD: usize = 8;
/// The longest short name.
pub const LONGEST: usize = WORDS * WORD;

/// The bytes of a name, the first in the lowest byte of the first word. Its
/// length is kept elsewhere.
#[derive(zerocopy::FromZeros)]
#[repr(transparent)]
pub struct ShortName([AtomicU64; WORDS]);

/// Up to eight bytes, the first in the lowest.
fn word(bytes: &[u8]) -> u64 {
    match bytes.first_chunk() {
        Some(all) => u64::from_le_bytes(*all),
        None => bytes.iter().rev().fold(0, |word, &byte| word << 8 | u64::from(byte)),
    }
}

impl ShortName {
    #[inline]
    fn get(&self, at: usize) -> u64 {
        self.0[at].load(Relaxed)
    }

    /// The last eight bytes of a name that is at least as long.
    #[inline]
    fn last(&self, len: usize) -> u64 {
        let (full, rest) = (len / WORD, len % WORD * 8);
        match rest {
            0 => self.get(full - 1),
            _ => self.get(full - 1) >> rest | self.get(full) << (64 - rest),
        }
    }

    /// Becomes `name`, of at most [`LONGEST`] bytes.
    pub fn set(&self, name: &[u8]) {
        // The first word also of a name without bytes.
        self.0[0].store(word(&name[..name.len().min(WORD)]), Relaxed);
        for (place, bytes) in self.0.iter().zip(name.chunks(WORD)).skip(1) {
            place.store(word(bytes), Relaxed);
        }
    }

    /// Whether it is `name`, which is as long.
    #[inline]
    pub fn is(&self, name: &[u8]) -> bool {
        match name.last_chunk() {
            Some(last) => {
                self.last(name.len()) == u64::from_le_bytes(*last)
                    && name
                        .chunks_exact(WORD)
                        .zip(&self.0)
                        .all(|(bytes, place)| word(bytes) == place.load(Relaxed))
            }
            None => self.get(0) == word(name),
        }
    }

    /// Writes it to `to`, which is as long.
    #[inline(always)]
    pub fn write(&self, to: &mut [u8]) {
        let len = to.len();
        if len < WORD {
            let word = self.get(0);
            return match len {
                4.. => ends(to, word as u32, (word >> ((len - 4) * 8)) as u32),
                _ => to.copy_from_slice(&word.to_le_bytes()[..len]),
            };
        }
        for (bytes, place) in to.chunks_exact_mut(WORD).zip(&self.0) {
            bytes.copy_from_slice(&place.load(Relaxed).to_le_bytes());
        }
        to[len - WORD..].copy_from_slice(&self.last(len).to_le_bytes());
    }
}

/// Writes the first and the last bytes, which may overlap.
#[inline]
fn ends(to: &mut [u8], first: u32, last: u32) {
    let from = to.len() - 4;
    to[..4].copy_from_slice(&first.to_le_bytes());
    to[from..].copy_from_slice(&last.to_le_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use zerocopy::FromZeros;

    #[test]
    fn names_of_all_lengths() {
        let text: Vec<u8> = (1..=LONGEST as u8).collect();
        for len in 0..=LONGEST {
            let name = ShortName::new_zeroed();
            // What was there before does no harm.
            name.set(&[0xff; LONGEST]);
            name.set(&text[..len]);
            let mut read = vec![0; len];
            name.write(&mut read);
            assert_eq!(read, text[..len]);
            assert!(name.is(&text[..len]), "{len}");
            for at in 0..len {
                let mut other = text[..len].to_vec();
                other[at] ^= 0x80;
                assert!(!name.is(&other), "{len}, byte {at}");
            }
        }
    }
}
