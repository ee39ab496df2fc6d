//! From samples to batches: the order of an epoch, its chunks, and one batch's normalised values.

use rayon::prelude::*;
use std::num::NonZeroUsize;
use std::ops::Range;

use super::random::{Purpose, permutation};
use super::reshape::Reshape;
use super::{DataError, Draw, Inputs, Normalisation, Samples, Shape, Targets};

/// The targets of a batch.
#[derive(Clone, Debug, PartialEq)]
pub enum BatchTargets {
    /// Class labels.
    Labels(Vec<u32>),
    /// Numbers, normalised.
    Values(Vec<f32>),
}

/// Normalised inputs and their targets.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    /// The shape of one input.
    pub shape: Shape,
    /// The inputs, row-major `[batch, channels, height, width]`.
    pub inputs: Vec<f32>,
    /// The targets, `[batch]`.
    pub targets: BatchTargets,
}

impl Batch {
    /// The number of samples.
    pub fn len(&self) -> usize {
        match &self.targets {
            BatchTargets::Labels(labels) => labels.len(),
            BatchTargets::Values(values) => values.len(),
        }
    }

    /// Whether there is no sample.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// The order in which an epoch visits `len` samples: a permutation decided by the seed and the
/// epoch alone, so that a run killed at any step resumes exactly.
///
/// # Panics
///
/// If `len` exceeds 2³² − 1, which [`Samples`] never does.
///
/// # Example
///
/// ```
/// use deeplimit_nn::data::epoch_order;
///
/// let order = epoch_order(5, 1, 0); // 5 samples, seed 1, epoch 0
/// assert_eq!(order, epoch_order(5, 1, 0));
/// assert_ne!(order, epoch_order(5, 1, 1));
/// ```
pub fn epoch_order(len: usize, seed: u64, epoch: u64) -> Vec<u32> {
    permutation(Purpose::Order, seed, epoch, len)
}

/// Cuts an order into batches of `size`; a smaller last one is left out if `drop_last`.
pub fn chunks(order: &[u32], size: NonZeroUsize, drop_last: bool) -> std::slice::Chunks<'_, u32> {
    let whole = order.len() - order.len() % size;
    order[..if drop_last { whole } else { order.len() }].chunks(size.get())
}

/// Samples at a time where networks are evaluated.
const AT_ONCE: usize = 256;

/// All of some samples in their order, some at a time: normalised, without augmentation.
pub fn in_order<'s>(
    samples: &'s Samples,
    normalisation: &'s Normalisation,
) -> impl Iterator<Item = Result<Batch, DataError>> + 's {
    (0..samples.len()).step_by(AT_ONCE).map(move |first| {
        let end = samples.len().min(first + AT_ONCE);
        let indices: Vec<u32> = (first as u32..end as u32).collect();
        batch(samples, &indices, normalisation, None)
    })
}

/// Gathers, normalises and, with a draw, augments the samples of one batch.
///
/// # Errors
///
/// [`DataError::BadIndex`] for an index beyond the samples, [`DataError::BeyondSingle`] for a number too large, [`DataError::BadNormalisation`] and
/// [`DataError::BadAugment`] where those do not fit the samples.
///
/// # Example
///
/// ```
/// use deeplimit_nn::data::{Augment, Draw, Options, batch, epoch_order, load};
///
/// let digits = load(&Options::default())?;
/// let order = epoch_order(digits.train.len(), 1, 0);
/// let draw = Draw { augment: Augment { crop: 1, ..Augment::default() }, seed: 1, epoch: 0 };
/// let batch = batch(&digits.train, &order[..32], &digits.normalisation, Some(draw))?;
/// assert_eq!(batch.inputs.len(), 32 * 8 * 8);
/// # Ok::<(), deeplimit_nn::data::DataError>(())
/// ```
pub fn batch(
    samples: &Samples,
    indices: &[u32],
    normalisation: &Normalisation,
    draw: Option<Draw>,
) -> Result<Batch, DataError> {
    let (shape, len) = (samples.shape(), samples.len());
    normalisation.check(samples)?;
    if let Some(&index) = indices.iter().find(|&&index| index as usize >= len) {
        return Err(DataError::BadIndex { index, len });
    }
    let draw = draw.filter(|draw| !draw.augment.is_off());
    if let Some(draw) = draw {
        draw.augment.check(shape)?;
    }

    let size = shape.elements();
    let mut inputs = vec![0.0; indices.len() * size]; // [batch, channels, height, width]
    let values = Values::new(samples.inputs(), samples.reshape(), normalisation);
    let black =
        normalisation.mean.iter().zip(&normalisation.std).map(|(mean, std)| (-mean / std) as f32);
    let padding: Vec<f32> = black.collect();
    let pairs = indices.par_iter().zip(inputs.par_chunks_exact_mut(size));
    pairs.for_each_init(
        || vec![0.0; size],
        |scratch, (&index, out)| match draw {
            None => values.write(index as usize, shape, out),
            Some(draw) => {
                values.write(index as usize, shape, scratch);
                draw.of(index).apply(scratch, shape, &padding, out);
                draw.add_noise(index, out);
            }
        },
    );
    let targets = targets(samples.targets(), indices, normalisation);
    check_single(&inputs, size, |row| indices[row])?;
    if let BatchTargets::Values(values) = &targets
        && let Some(row) = values.iter().position(|value| !value.is_finite())
    {
        return Err(DataError::BeyondSingle { index: indices[row], what: "the target".to_owned() });
    }
    Ok(Batch { shape, inputs, targets })
}

/// Gathers and normalises inputs of a shape as they are kept, without targets.
pub(super) fn inputs(
    inputs: &Inputs,
    shape: Shape,
    reshape: Option<&Reshape>,
    indices: Range<usize>,
    normalisation: &Normalisation,
) -> Result<Vec<f32>, DataError> {
    let shape = reshape.map_or(shape, Reshape::to);
    normalisation.check_shape(shape)?;
    let size = shape.elements();
    let mut out = vec![0.0; indices.len() * size]; // [indices, channels, height, width]
    let values = Values::new(inputs, reshape, normalisation);
    let first = indices.start;
    let pairs = indices.into_par_iter().zip(out.par_chunks_exact_mut(size));
    pairs.for_each(|(index, out)| values.write(index, shape, out));
    check_single(&out, size, |row| (first + row) as u32)?;
    Ok(out)
}

/// Refuses numbers that left the range of single precision as they were normalised; `index` names the sample of
/// a row.
fn check_single(
    inputs: &[f32],
    size: usize,
    index: impl Fn(usize) -> u32,
) -> Result<(), DataError> {
    match inputs.iter().position(|value| !value.is_finite()) {
        Some(place) => {
            let what = format!("input {}", place % size + 1);
            Err(DataError::BeyondSingle { index: index(place / size), what })
        }
        None => Ok(()),
    }
}

fn targets(targets: &Targets, indices: &[u32], normalisation: &Normalisation) -> BatchTargets {
    match targets {
        Targets::Classes { labels, .. } => {
            BatchTargets::Labels(indices.iter().map(|&index| labels[index as usize]).collect())
        }
        Targets::Values(values) => {
            let picked = indices.iter().map(|&index| values[index as usize]);
            BatchTargets::Values(match normalisation.target {
                Some(scale) => picked.map(|value| scale.apply(value)).collect(),
                None => picked.map(|value| value as f32).collect(),
            })
        }
    }
}

/// Normalised values of one sample after the other.
enum Values<'a> {
    /// Bytes, with the normalised value of every byte for each channel.
    Bytes {
        bytes: &'a [u8],
        table: Vec<[f32; 256]>,
    },
    Floats {
        values: &'a [f64],
        normalisation: &'a Normalisation,
    },
    /// Images of another shape than they are kept in.
    Reshaped {
        reshape: &'a Reshape,
        inputs: &'a Inputs,
        normalisation: &'a Normalisation,
    },
}

impl<'a> Values<'a> {
    fn new(
        inputs: &'a Inputs,
        reshape: Option<&'a Reshape>,
        normalisation: &'a Normalisation,
    ) -> Self {
        if let Some(reshape) = reshape {
            return Values::Reshaped { reshape, inputs, normalisation };
        }
        match inputs {
            Inputs::Floats(values) => Values::Floats { values, normalisation },
            Inputs::Bytes { bytes, full } => {
                let full = f64::from(*full);
                let channels = normalisation.mean.iter().zip(&normalisation.std);
                let table = channels
                    .map(|(mean, std)| {
                        std::array::from_fn(|byte| ((byte as f64 / full - mean) / std) as f32)
                    })
                    .collect();
                Values::Bytes { bytes, table }
            }
        }
    }

    fn write(&self, index: usize, shape: Shape, out: &mut [f32]) {
        let range = index * shape.elements()..(index + 1) * shape.elements();
        if let Values::Reshaped { reshape, inputs, .. } = self {
            reshape.write(inputs, index, out);
        }
        let planes = out.chunks_exact_mut(shape.plane());
        match self {
            Values::Bytes { bytes, table } => {
                let planes = planes.zip(bytes[range].chunks_exact(shape.plane())).zip(table);
                for ((out, bytes), table) in planes {
                    for (out, &byte) in out.iter_mut().zip(bytes) {
                        *out = table[byte as usize];
                    }
                }
            }
            Values::Floats { values, normalisation } => {
                let channels = normalisation.mean.iter().zip(&normalisation.std);
                let planes = planes.zip(values[range].chunks_exact(shape.plane())).zip(channels);
                for ((out, values), (mean, std)) in planes {
                    for (out, value) in out.iter_mut().zip(values) {
                        *out = ((value - mean) / std) as f32;
                    }
                }
            }
            Values::Reshaped { normalisation, .. } => {
                let channels = normalisation.mean.iter().zip(&normalisation.std);
                for (out, (mean, std)) in planes.zip(channels) {
                    out.iter_mut()
                        .for_each(|value| *value = ((f64::from(*value) - mean) / std) as f32);
                }
            }
        }
    }
}
