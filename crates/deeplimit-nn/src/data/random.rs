//! Seeded draws that depend on their coordinates alone.
//!
//! Every draw has its own ChaCha8 stream (D. J. Bernstein, 2008), keyed by what it is for, the seed,
//! the epoch and the sample. Nothing is carried from one draw to the next, so a run that was killed
//! resumes exactly and the number of threads does not matter.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// What a draw is for; streams of different purposes are unrelated.
#[derive(Clone, Copy)]
pub(super) enum Purpose {
    Order = 1,
    Validation = 2,
    Test = 3,
    Augment = 4,
    Noise = 5,
}

/// The stream of one draw.
pub(super) fn stream(purpose: Purpose, seed: u64, epoch: u64, index: u32) -> ChaCha8Rng {
    let mut key = [0; 32];
    let words = [seed, epoch, u64::from(index), purpose as u64];
    for (bytes, word) in key.chunks_exact_mut(8).zip(words) {
        bytes.copy_from_slice(&word.to_le_bytes());
    }
    ChaCha8Rng::from_seed(key)
}

/// A number below `bound` > 0, each equally likely (D. Lemire, 2019).
pub(super) fn below(stream: &mut ChaCha8Rng, bound: u32) -> u32 {
    let rejected = bound.wrapping_neg() % bound;
    loop {
        let product = u64::from(stream.next_u32()) * u64::from(bound);
        if product as u32 >= rejected {
            return (product >> 32) as u32;
        }
    }
}

/// A standard normal number (Box and Muller 1958).
pub(super) fn normal(stream: &mut ChaCha8Rng) -> f32 {
    let mut unit = || (f64::from(stream.next_u32()) + 0.5) / 2f64.powi(32);
    let radius = (-2.0 * unit().ln()).sqrt();
    (radius * (std::f64::consts::TAU * unit()).cos()) as f32
}

/// A permutation of `0..len`, each equally likely (Fisher and Yates).
pub(super) fn permutation(purpose: Purpose, seed: u64, epoch: u64, len: usize) -> Vec<u32> {
    let len = u32::try_from(len).expect("samples are counted in 32 bits");
    let mut stream = stream(purpose, seed, epoch, 0);
    let mut order: Vec<u32> = (0..len).collect();
    for last in (1..len).rev() {
        order.swap(last as usize, below(&mut stream, last + 1) as usize);
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_below_a_bound_reach_every_number_equally_often() {
        let mut stream = stream(Purpose::Order, 1, 2, 3);
        let mut counts = [0; 7];
        for _ in 0..70_000 {
            counts[below(&mut stream, 7) as usize] += 1;
        }
        // The standard deviation of a count is √(70,000 · 1/7 · 6/7) ≈ 93; 5 of them are allowed.
        assert!(counts.iter().all(|count| (9_535..10_465).contains(count)), "{counts:?}");
    }

    #[test]
    fn all_permutations_of_three_are_equally_likely() {
        let mut counts = std::collections::BTreeMap::new();
        for epoch in 0..6_000 {
            *counts.entry(permutation(Purpose::Order, 0, epoch, 3)).or_insert(0) += 1;
        }
        // √(6,000 · 1/6 · 5/6) ≈ 29; 5 of them are allowed.
        assert_eq!(counts.len(), 6);
        assert!(counts.values().all(|count| (855..1_145).contains(count)), "{counts:?}");
    }

    #[test]
    fn normal_numbers_have_mean_zero_and_variance_one() {
        let mut stream = stream(Purpose::Noise, 1, 2, 3);
        let values: Vec<f32> = (0..20_000).map(|_| normal(&mut stream)).collect();
        let mean = values.iter().sum::<f32>() / 20_000.0;
        let variance = values.iter().map(|v| v * v).sum::<f32>() / 20_000.0;
        // Standard deviations of the two are 0.007 and 0.01; 5 of them are allowed.
        assert!(mean.abs() < 0.035 && (variance - 1.0).abs() < 0.05, "{mean} {variance}");
    }

    #[test]
    fn purposes_seeds_and_epochs_have_streams_of_their_own() {
        let one = permutation(Purpose::Order, 1, 1, 20);
        assert_ne!(one, permutation(Purpose::Validation, 1, 1, 20));
        assert_ne!(one, permutation(Purpose::Order, 2, 1, 20));
        assert_ne!(one, permutation(Purpose::Order, 1, 2, 20));
    }
}
