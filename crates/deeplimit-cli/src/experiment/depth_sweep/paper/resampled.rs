//! One trained network with another number of residual functions, as for figure 3c of Sander, Ablin, Peyré
//! (2022): function n of N is function ⌊n D/N⌋ of the D trained ones. All else is the same.

use anyhow::Result;
use deeplimit_nn::network::{Network, WeightsFile};
use deeplimit_nn::train::{Position, Trainer};
use std::path::Path;

/// Gives a network the functions of another, and what is around them.
pub fn take(trainer: &mut Trainer, from: &Network) -> Result<()> {
    let (from, mut to) = (WeightsFile::of(from), WeightsFile::of(trainer.network()));
    let shapes: Vec<(String, usize)> =
        to.tensors().map(|(name, dims, _)| (name.to_owned(), dims[0])).collect();
    for ((name, rows), (_, dims, values)) in shapes.iter().zip(from.tensors()) {
        to = to.replaced(name, resampled(values, dims[0], *rows));
    }
    let position = Position { depths: trainer.network().depths(), ..Position::default() };
    Ok(trainer.load_weights(Path::new("the resampled network"), &to, &position)?)
}

/// Row n of N is row ⌊n D/N⌋.
fn resampled(values: &[f32], from: usize, to: usize) -> Vec<f32> {
    let length = values.len() / from;
    let row = |row: usize| &values[row * from / to * length..][..length];
    (0..to).flat_map(row).copied().collect()
}

#[cfg(test)]
mod tests {
    use super::resampled;

    #[test]
    fn functions_are_repeated_or_left_out() {
        let values = [0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5];
        assert_eq!(resampled(&values, 4, 4), values);
        assert_eq!(resampled(&values, 4, 2), [0.0, 0.5, 2.0, 2.5]);
        let twice = resampled(&values, 4, 8);
        assert_eq!(twice.len(), 16);
        assert_eq!(twice[..8], [0.0, 0.5, 0.0, 0.5, 1.0, 1.5, 1.0, 1.5]);
        assert_eq!(resampled(&values, 4, 3), [0.0, 0.5, 1.0, 1.5, 2.0, 2.5]);
    }
}
