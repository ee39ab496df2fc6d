//! Numbers from a seed, the same in every language and in any order: splitmix64 as a counter
//! (Steele, Lea, Flood 2014).

/// The `index`-th number of the sequence `seed`, uniform in [-1, 1), with 24 random bits.
pub fn uniform(seed: u64, index: u64) -> f64 {
    (bits(seed, index) >> 40) as f64 * 2f64.powi(-23) - 1.0
}

/// The `index`-th standard normal number of the sequence `seed` (Box and Muller 1958).
pub fn normal(seed: u64, index: u64) -> f64 {
    let unit = |i| ((bits(seed, i) >> 11) as f64 + 0.5) * 2f64.powi(-53);
    let radius = (-2.0 * unit(2 * index).ln()).sqrt();
    radius * (std::f64::consts::TAU * unit(2 * index + 1)).cos()
}

/// A seed for a part of what `seed` decides, so that parts do not share their numbers.
pub fn derive(seed: u64, part: u64) -> u64 {
    bits(seed ^ 0xD1B5_4A32_D192_ED03, part)
}

fn bits(seed: u64, index: u64) -> u64 {
    let mut z = seed.wrapping_add(index.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15));
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_are_those_of_splitmix64() {
        // First outputs of the reference implementation with state 0.
        assert_eq!(bits(0, 0), 0xE220_A839_7B1D_CDAF);
        assert_eq!(bits(0, 1), 0x6E78_9E6A_A1B9_65F4);
    }

    #[test]
    fn normals_have_mean_zero_and_variance_one() {
        let count = 20_000;
        let values: Vec<f64> = (0..count).map(|i| normal(3, i)).collect();
        let mean = values.iter().sum::<f64>() / count as f64;
        let variance = values.iter().map(|v| v * v).sum::<f64>() / count as f64;
        assert!(mean.abs() < 4.0 / (count as f64).sqrt(), "mean {mean}");
        assert!((variance - 1.0).abs() < 4.0 * (2.0 / count as f64).sqrt(), "variance {variance}");
    }
}
