//! The one source of randomness: numbers that follow from a seed.

/// Sebastiano Vigna's splitmix64. The same seed gives the same numbers.
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Dice of their own for a part of a run: what one part rolls does not change what another one does.
    pub fn for_part(seed: u64, part: &str) -> Self {
        let mut dice = Self(seed);
        for byte in part.bytes() {
            dice.0 = dice.number() ^ u64::from(byte);
        }
        dice
    }

    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Below `sides`, which is at least 1.
    pub fn roll(&mut self, sides: u64) -> u64 {
        self.number() % sides
    }

    /// From `low` to `high`, both included.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.roll(high - low + 1)
    }

    pub fn one_in(&mut self, sides: u64) -> bool {
        self.roll(sides) == 0
    }

    /// One of a list that is not empty.
    pub fn pick<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.roll(all.len() as u64) as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_replay_and_parts_differ() {
        let rolls = |mut dice: Dice| std::array::from_fn::<_, 16, _>(|_| dice.number());
        assert_eq!(rolls(Dice::for_part(7, "load")), rolls(Dice::for_part(7, "load")));
        assert_ne!(rolls(Dice::for_part(7, "load")), rolls(Dice::for_part(7, "faults")));
        assert_ne!(rolls(Dice::for_part(7, "load")), rolls(Dice::for_part(8, "load")));
        assert!((0..100).all(|seed| (3..=5).contains(&Dice::new(seed).between(3, 5))));
    }
}
