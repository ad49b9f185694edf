//! Which leaf is asked for: random picks that are the same in every run with the same seed.
//!
//! Knows nothing of scopes, only how many there are.

/// How picks are spread.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Skew {
    /// Every leaf as often.
    Uniform,
    /// The leaf of rank k in proportion to 1 / k^exponent.
    Zipf(f64),
    /// Always the same leaf.
    Hot,
}

/// Random numbers of splitmix64: cheap, and repeatable.
#[derive(Debug, Clone)]
pub(super) struct Random(u64);

impl Random {
    /// Different streams of one seed have nothing in common.
    pub(super) fn new(seed: u64, stream: u64) -> Self {
        let mut random = Self(seed ^ stream.wrapping_mul(0xA24B_AED4_963E_E407));
        random.next();
        random
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// At least 0 and less than 1.
    fn share(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Less than `bound`, which is not 0.
    pub(super) fn below(&mut self, bound: usize) -> usize {
        // The high half of a product: of numbers as small as these no one is favoured noticeably.
        let product = u128::from(self.next()) * bound as u128;
        usize::try_from(product >> 64).expect("less than the bound")
    }
}

/// Picks numbers from 0 up to a count.
#[derive(Debug, Clone)]
pub(super) struct Draw {
    count: usize,
    /// Of Zipf: how much of all lies at or before each rank, from 0 to 1. Empty otherwise.
    cumulative: std::sync::Arc<[f64]>,
    is_hot: bool,
}

impl Draw {
    pub(super) fn new(skew: Skew, count: usize) -> Self {
        assert!(count > 0, "there is something to pick");
        let cumulative = match skew {
            Skew::Zipf(exponent) => cumulative(exponent, count),
            Skew::Uniform | Skew::Hot => Vec::new(),
        };
        Self { count, cumulative: cumulative.into(), is_hot: skew == Skew::Hot }
    }

    pub(super) fn pick(&self, random: &mut Random) -> usize {
        if self.is_hot {
            return 0;
        }
        if self.cumulative.is_empty() {
            return random.below(self.count);
        }
        let share = random.share();
        self.cumulative.partition_point(|at| *at <= share).min(self.count - 1)
    }
}

fn cumulative(exponent: f64, count: usize) -> Vec<f64> {
    let mut sum = 0.0;
    let mut sums: Vec<f64> = (1..=count)
        .map(|rank| {
            sum += (rank as f64).powf(-exponent);
            sum
        })
        .collect();
    for at in &mut sums {
        *at /= sum;
    }
    sums
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(skew: Skew, count: usize, picks: usize) -> Vec<usize> {
        let draw = Draw::new(skew, count);
        let mut random = Random::new(7, 0);
        let mut counts = vec![0; count];
        for _ in 0..picks {
            counts[draw.pick(&mut random)] += 1;
        }
        counts
    }

    #[test]
    fn uniform_picks_are_spread_evenly_over_all_leaves() {
        // 1,000 each; five standard deviations are 158.
        assert!(counts(Skew::Uniform, 100, 100_000).iter().all(|count| (842..=1_158).contains(count)));
    }

    #[test]
    fn zipf_picks_the_first_rank_as_often_as_its_share_says() {
        let counts = counts(Skew::Zipf(1.0), 1_000, 100_000);
        // 1 / H(1000) = 0.1336 of all, and half of that for the second.
        assert!((12_800..=13_900).contains(&counts[0]), "{}", counts[0]);
        assert!((6_200..=7_200).contains(&counts[1]), "{}", counts[1]);
        assert!(counts[900..].iter().sum::<usize>() > 0, "the tail is picked too");
    }

    #[test]
    fn zipf_with_exponent_zero_is_uniform() {
        assert!(counts(Skew::Zipf(0.0), 100, 100_000).iter().all(|count| (842..=1_158).contains(count)));
    }

    #[test]
    fn the_hot_leaf_is_always_the_same() {
        assert_eq!(counts(Skew::Hot, 10, 1_000)[0], 1_000);
    }

    #[test]
    fn picks_are_repeatable_and_differ_between_streams() {
        let picks = |seed, stream| {
            let (draw, mut random) = (Draw::new(Skew::Uniform, 1 << 20), Random::new(seed, stream));
            (0..8).map(|_| draw.pick(&mut random)).collect::<Vec<_>>()
        };
        assert_eq!(picks(1, 0), picks(1, 0));
        assert_ne!(picks(1, 0), picks(1, 1));
        assert_ne!(picks(1, 0), picks(2, 0));
    }
}
