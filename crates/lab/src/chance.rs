//! Chance that comes in through the door: one seed, the same drill.
//!
//! Edge, origin and load are separate processes that must agree on what the newsroom looks like, and a drill that found a fault has
//! to find it again next year. The generators of `rand` may change their sequence between versions; these forty lines do not.

/// SplitMix64: passes BigCrush, one addition and two multiplications a number. Not for secrets.
#[derive(Debug, Clone)]
pub struct Chance(u64);

impl Chance {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// An independent stream for one purpose, so that drawing more for one thing does not shift another.
    pub fn stream(seed: u64, purpose: &str) -> Self {
        Self(digest(seed, &[purpose.as_bytes()]))
    }

    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        mix(self.0)
    }

    /// Uniform in `0..bound`; 0 when `bound` is 0. The bias of multiply-and-shift is below 2⁻⁴⁰ for bounds we use.
    pub fn below(&mut self, bound: usize) -> usize {
        let product = u128::from(self.draw()) * bound as u128;
        (product >> 64) as usize
    }

    /// Uniform in `[0, 1)`.
    pub fn unit(&mut self) -> f64 {
        (self.draw() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// True with this probability.
    pub fn happens(&mut self, probability: f64) -> bool {
        self.unit() < probability
    }

    /// Standard normal, by Box and Muller; `1 - unit` keeps the logarithm away from 0.
    pub fn normal(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.unit()).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.unit()).cos()
    }

    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> Option<&'a T> {
        from.get(self.below(from.len()))
    }

    pub fn shuffle<T>(&mut self, list: &mut [T]) {
        for last in (1..list.len()).rev() {
            let other = self.below(last + 1);
            list.swap(last, other);
        }
    }
}

/// FNV-1a over the parts, each closed by a byte no UTF-8 text contains, then mixed: names things, keeps nothing secret.
pub fn digest(seed: u64, parts: &[&[u8]]) -> u64 {
    let mut state = 0xCBF2_9CE4_8422_2325 ^ mix(seed);
    for part in parts {
        for byte in part.iter().chain(&[0xFF]) {
            state = (state ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01B3);
        }
    }
    mix(state)
}

fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sequence_is_frozen() {
        // The reference values of SplitMix64 for seed 1234567.
        let mut chance = Chance::new(1_234_567);
        let drawn: Vec<u64> = (0..3).map(|_| chance.draw()).collect();
        assert_eq!(
            drawn,
            [
                6_457_827_717_110_365_317,
                3_203_168_211_198_807_973,
                9_817_491_932_198_370_423
            ]
        );
    }

    #[test]
    fn parts_do_not_run_together() {
        assert_ne!(digest(1, &[b"ab", b"c"]), digest(1, &[b"a", b"bc"]));
        assert_ne!(digest(1, &[b"ab"]), digest(2, &[b"ab"]));
    }

    #[test]
    fn draws_stay_inside_their_bounds_and_cover_them() {
        let mut chance = Chance::new(7);
        let mut seen = [0usize; 10];
        for _ in 0..10_000 {
            seen[chance.below(10)] += 1;
        }
        assert!(
            seen.iter().all(|&count| (850..1150).contains(&count)),
            "{seen:?}"
        );
        assert_eq!(chance.below(0), 0);

        let normal: Vec<f64> = (0..10_000).map(|_| chance.normal()).collect();
        let mean = normal.iter().sum::<f64>() / 10_000.0;
        let variance = normal.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / 10_000.0;
        assert!(
            mean.abs() < 0.05 && (0.9..1.1).contains(&variance),
            "mean {mean}, variance {variance}"
        );
    }

    #[test]
    fn a_shuffle_keeps_everything() {
        let mut list: Vec<u32> = (0..100).collect();
        Chance::new(3).shuffle(&mut list);
        assert_ne!(list, (0..100).collect::<Vec<_>>());
        list.sort_unstable();
        assert_eq!(list, (0..100).collect::<Vec<_>>());
    }
}
