// SPDX-License-Identifier: Apache-2.0

/// The maximum length of an input, in bytes: enough to exceed every length field in it.
const MAXIMUM_LENGTH: usize = 64 << 10;
/// Numbers at the limits of integer types.
const EDGES: [u64; 10] = [0, 1, 127, 128, 255, 256, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff, u64::MAX];

/// Makes inputs by changing sound ones; the same seed gives the same inputs.
#[derive(Debug, Clone)]
pub struct Mutator {
    state: u64,
}

impl Mutator {
    /// Creates a mutator with a seed.
    pub fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// Returns the next random number.
    ///
    /// Algorithm: SplitMix64 (Steele, Lea, Flood: "Fast Splittable Pseudorandom Number Generators",
    /// 2014).
    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Returns a random number below a bound, or 0 if the bound is 0.
    fn below(&mut self, bound: usize) -> usize {
        let drawn = usize::try_from(self.next() >> 1).unwrap_or(0);
        drawn.checked_rem(bound).unwrap_or(0)
    }

    /// Returns the next input: one of the seeds, changed in one to eight places.
    pub fn input(&mut self, seeds: &[Vec<u8>]) -> Vec<u8> {
        let mut input = seeds.get(self.below(seeds.len())).cloned().unwrap_or_default();
        for _ in 0..=self.below(8) {
            self.mutate(&mut input, seeds);
        }
        input.truncate(MAXIMUM_LENGTH);
        input
    }

    fn mutate(&mut self, input: &mut Vec<u8>, seeds: &[Vec<u8>]) {
        let at = self.below(input.len());
        let end = at + self.below((input.len() - at).min(64) + 1);
        match self.below(10) {
            0 => flip(input, at, self.next()),
            1 => put(input, at, &[self.next().to_le_bytes()[0]]),
            2 => {
                let (edge, width) = (EDGES[self.below(EDGES.len())], 1 << self.below(4));
                put(input, at, &edge.to_le_bytes()[..width]);
            }
            3 => {
                let (edge, width) = (EDGES[self.below(EDGES.len())], 1 << self.below(4));
                put(input, at, &edge.to_be_bytes()[8 - width..]);
            }
            4 => drop(input.drain(at..end)),
            5 => {
                let part = input[at..end].to_vec();
                let to = self.below(input.len() + 1);
                input.splice(to..to, part);
            }
            6 => {
                let byte = self.next().to_le_bytes()[0];
                let count = self.below(32);
                input.splice(at..at, std::iter::repeat_n(byte, count));
            }
            7 => input.truncate(at),
            // Inserted punctuation breaks the syntax of texts.
            8 => {
                let signs = b"\n\0 /.:=()[]|!~<>@-_+\"'\\{}%";
                let sign = signs[self.below(signs.len())];
                input.insert(at.min(input.len()), sign);
            }
            _ => {
                let other = seeds.get(self.below(seeds.len())).map(Vec::as_slice).unwrap_or_default();
                let from = self.below(other.len());
                let part = &other[from..other.len().min(from + 256)];
                input.splice(at..end, part.iter().copied());
            }
        }
    }
}

fn flip(input: &mut [u8], at: usize, drawn: u64) {
    if let Some(byte) = input.get_mut(at) {
        *byte ^= 1 << (drawn % 8);
    }
}

fn put(input: &mut [u8], at: usize, bytes: &[u8]) {
    for (place, byte) in input.iter_mut().skip(at).zip(bytes) {
        *place = *byte;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_inputs_and_another_others() {
        let seeds = [b"one sound input".to_vec(), Vec::new()];
        let inputs = |seed| {
            let mut mutator = Mutator::new(seed);
            (0..1000).map(|_| mutator.input(&seeds)).collect::<Vec<_>>()
        };
        assert_eq!(inputs(1), inputs(1));
        assert_ne!(inputs(1), inputs(2));
        let different: std::collections::BTreeSet<_> = inputs(1).into_iter().collect();
        assert!(different.len() > 500, "{}", different.len());
        assert!(Mutator::new(0).input(&[]).len() < 1000, "nothing to start from");
    }
}
