//! Normalisation: `(value − mean) / std` for each channel of an image or feature of a table, and
//! for the targets of a regression. All of it is in double precision: a column of coordinates in metres
//! may vary in its eighth digit.

use serde::{Deserialize, Serialize};

use super::reshape::Reshape;
use super::{DataError, Inputs, Samples, Shape, Targets};

/// The mean and the standard deviation of a regression's targets.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TargetScale {
    /// The mean.
    pub mean: f64,
    /// The standard deviation.
    pub std: f64,
}

impl TargetScale {
    /// A target as the network sees it.
    pub fn apply(&self, value: f64) -> f32 {
        ((value - self.mean) / self.std) as f32
    }

    /// The value, in the file's units, of what the network predicts.
    pub fn restore(&self, normalised: f32) -> f64 {
        f64::from(normalised) * self.std + self.mean
    }
}

/// The statistics that inputs are normalised with; a run stores them and applies them again when
/// it evaluates.
///
/// Standard deviations are those of the population (divided by the number of values). A channel
/// that never changes has 1, so that it becomes 0. Images count in units of full brightness.
///
/// # Example
///
/// ```
/// use deeplimit_nn::data::{load, Options};
///
/// let digits = load(&Options::default())?;
/// assert_eq!(digits.normalisation.mean.len(), 1); // one channel
/// assert!((digits.normalisation.mean[0] - 0.308).abs() < 0.002); // 4.92 of 16
/// # Ok::<(), deeplimit_nn::data::DataError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Normalisation {
    /// The mean of each channel or feature.
    pub mean: Vec<f64>,
    /// The standard deviation of each channel or feature, positive.
    pub std: Vec<f64>,
    /// The scale of a regression's targets; without it they stay as they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<TargetScale>,
}

impl Normalisation {
    /// The normalisation that changes nothing.
    pub fn identity(shape: Shape) -> Self {
        Self { mean: vec![0.0; shape.channels], std: vec![1.0; shape.channels], target: None }
    }

    /// Measures the samples, each channel over all its pixels.
    pub fn measure(samples: &Samples) -> Self {
        let shape = samples.shape();
        let (mean, std) = match (samples.inputs(), samples.reshape()) {
            (inputs, Some(reshape)) => seen_statistics(inputs, reshape, samples.len()),
            (Inputs::Bytes { bytes, full }, None) => byte_statistics(bytes, *full, shape),
            (Inputs::Floats(values), None) => (0..shape.channels)
                .map(|channel| {
                    statistics(|| {
                        let planes = values.chunks_exact(shape.plane());
                        planes.skip(channel).step_by(shape.channels).flatten().copied()
                    })
                })
                .unzip(),
        };
        let target = match samples.targets() {
            Targets::Classes { .. } => None,
            Targets::Values(values) => {
                let (mean, std) = statistics(|| values.iter().copied());
                Some(TargetScale { mean, std })
            }
        };
        Self { mean, std, target }
    }

    /// Checks that the normalisation fits the samples.
    ///
    /// # Errors
    ///
    /// [`DataError::BadNormalisation`] where there is not one mean and one standard deviation for
    /// each channel, a mean is not finite, a standard deviation not finite and positive, or a
    /// target scale meets classes.
    pub fn check(&self, samples: &Samples) -> Result<(), DataError> {
        self.check_shape(samples.shape())?;
        if self.target.is_some() && samples.classes().is_some() {
            return bad("target scales", 1.0, &"0 as the targets are classes");
        }
        Ok(())
    }

    /// Checks that the normalisation fits inputs of a shape.
    pub(super) fn check_shape(&self, shape: Shape) -> Result<(), DataError> {
        let channels = shape.channels;
        for (what, values) in [("means", &self.mean), ("standard deviations", &self.std)] {
            if values.len() != channels {
                let colours = values.len() == 3 && channels == 1 && shape.is_image();
                let hint = if colours { "; channels = 3 makes three of one" } else { "" };
                return bad(what, values.len() as f64, &format!("{channels}{hint}"));
            }
        }
        let target = self.target.as_ref();
        for mean in self.mean.iter().chain(target.map(|target| &target.mean)) {
            if !mean.is_finite() {
                return bad("mean", *mean, &"a finite number");
            }
        }
        for std in self.std.iter().chain(target.map(|target| &target.std)) {
            if !(std.is_finite() && *std > 0.0) {
                return bad("standard deviation", *std, &"a finite positive number");
            }
        }
        Ok(())
    }
}

fn bad(what: &'static str, found: f64, expected: &dyn ToString) -> Result<(), DataError> {
    Err(DataError::BadNormalisation { what, found, expected: expected.to_string() })
}

/// Exact sums over bytes, in one pass.
fn byte_statistics(bytes: &[u8], full: u8, shape: Shape) -> (Vec<f64>, Vec<f64>) {
    let mut sums = vec![(0u64, 0u64); shape.channels];
    for (index, plane) in bytes.chunks_exact(shape.plane()).enumerate() {
        let (sum, squares) = &mut sums[index % shape.channels];
        *sum += plane.iter().map(|&byte| u64::from(byte)).sum::<u64>();
        *squares += plane.iter().map(|&byte| u64::from(byte) * u64::from(byte)).sum::<u64>();
    }
    let count = (bytes.len() / shape.channels) as u128;
    let full = f64::from(full);
    let of_channel = |(sum, squares): (u64, u64)| {
        let (sum, squares) = (u128::from(sum), u128::from(squares));
        // count² · variance, exactly.
        let scaled = count * squares - sum * sum;
        let divisor = count.max(1) as f64 * full;
        let std = if scaled == 0 { 1.0 } else { (scaled as f64).sqrt() / divisor };
        (sum as f64 / divisor, std)
    };
    sums.into_iter().map(of_channel).unzip()
}

/// Those of images as they are seen, one after the other, in one pass.
fn seen_statistics(inputs: &Inputs, reshape: &Reshape, len: usize) -> (Vec<f64>, Vec<f64>) {
    let shape = reshape.to();
    let mut image = vec![0.0; shape.elements()];
    let mut channels = vec![OnePass::default(); shape.channels];
    for index in 0..len {
        reshape.write(inputs, index, &mut image);
        for (channel, plane) in channels.iter_mut().zip(image.chunks_exact(shape.plane())) {
            channel.add(plane);
        }
    }
    channels.into_iter().map(OnePass::statistics).unzip()
}

/// Sums of brightnesses, which lie in [0, 1]: 64 bits leave their variance twelve digits.
#[derive(Clone, Copy, Default)]
struct OnePass {
    count: usize,
    sum: f64,
    squares: f64,
    /// The first value, as long as no other was seen.
    only: Option<f32>,
}

impl OnePass {
    fn add(&mut self, plane: &[f32]) {
        if self.count == 0 {
            self.only = plane.first().copied();
        }
        self.only = self.only.filter(|only| plane.iter().all(|value| value == only));
        self.count += plane.len();
        for value in plane.iter().map(|&value| f64::from(value)) {
            self.sum += value;
            self.squares += value * value;
        }
    }

    fn statistics(self) -> (f64, f64) {
        if self.count == 0 {
            return (0.0, 1.0);
        }
        // A constant is recognised exactly, as elsewhere.
        if let Some(only) = self.only {
            return (f64::from(only), 1.0);
        }
        let mean = self.sum / self.count as f64;
        let variance = (self.squares / self.count as f64 - mean * mean).max(0.0);
        (mean, variance.sqrt().max(f64::MIN_POSITIVE))
    }
}

/// The mean and the standard deviation, in two passes over differences from the first value: an offset
/// common to all costs no digits, and numbers of any size are squared without leaving the range.
fn statistics<I: Iterator<Item = f64>>(values: impl Fn() -> I) -> (f64, f64) {
    let Some(first) = values().next() else {
        return (0.0, 1.0);
    };
    let reach = values().map(|value| (value - first).abs()).fold(0.0, f64::max);
    // A constant is recognised exactly, not by a variance that rounding may leave above zero.
    if reach == 0.0 {
        return (first, 1.0);
    }
    let count = values().count() as f64;
    let shares = || values().map(|value| (value - first) / reach);
    let mean = shares().sum::<f64>() / count;
    let variance = shares().map(|share| (share - mean).powi(2)).sum::<f64>() / count;
    (first + reach * mean, (reach * variance.sqrt()).max(f64::MIN_POSITIVE))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_constant_feature_becomes_zero_and_others_get_mean_0_and_std_1() {
        let values = vec![0.1, 1.0, 0.1, 3.0, 0.1, 8.0];
        let targets = Targets::Values(vec![2.0, 4.0, 9.0]);
        let samples = Samples::new(Shape::table(2), Inputs::Floats(values), targets).unwrap();
        let found = Normalisation::measure(&samples);
        assert_eq!((found.mean[0], found.std[0]), (0.1, 1.0));
        assert_eq!(found.mean[1], 4.0);
        // Variance ((−3)² + (−1)² + 4²) / 3.
        assert!((found.std[1] - (26f64 / 3.0).sqrt()).abs() < 1e-15);
        let scale = found.target.unwrap();
        assert_eq!(scale.mean, 5.0);
        assert!((scale.restore(scale.apply(9.0)) - 9.0).abs() < 1e-6);
    }

    #[test]
    fn bytes_and_floats_have_the_same_statistics() {
        let shape = Shape::image(3, 2, 2);
        let bytes: Vec<u8> = (0..24u32).map(|value| (value * value % 251) as u8).collect();
        let floats = bytes.iter().map(|&byte| f64::from(byte) / 255.0).collect();
        let measure = |inputs| {
            let names = vec!["a".to_owned()];
            let targets = Targets::Classes { labels: vec![0, 0], names };
            Normalisation::measure(&Samples::new(shape, inputs, targets).unwrap())
        };
        let (a, b) = (measure(Inputs::Bytes { bytes, full: 255 }), measure(Inputs::Floats(floats)));
        for (a, b) in a.mean.iter().chain(&a.std).zip(b.mean.iter().chain(&b.std)) {
            assert!((a - b).abs() < 1e-14, "{a} {b}"); // a few roundings of values below 1
        }
        let flat = measure(Inputs::Bytes { bytes: vec![51; 24], full: 255 });
        assert_eq!((flat.mean, flat.std), (vec![0.2; 3], vec![1.0; 3]));
    }

    #[test]
    fn statistics_keep_their_digits_whatever_the_offset_and_the_size_of_the_numbers() {
        let values: Vec<f64> =
            (0..1000).map(|index| f64::from(index * index % 997) / 997.0).collect();
        let (mean, std) = statistics(|| values.iter().copied());
        for (offset, scale) in [(1.7e9, 1.0), (-5.4e6, 1e-2), (0.0, 1e-200), (0.0, 1e300)] {
            let (found, spread) = statistics(|| values.iter().map(|value| offset + scale * value));
            // What is lost is the rounding of the numbers themselves.
            let rounding = 4.0 * f64::EPSILON * (offset.abs() / scale + 1.0);
            assert!(
                ((found - offset) / scale - mean).abs() <= rounding,
                "{offset} {scale} {found}"
            );
            assert!((spread / scale - std).abs() <= rounding, "{offset} {scale} {spread}");
        }
    }

    #[test]
    fn statistics_of_earlier_versions_in_single_precision_are_read() {
        let old = r#"{"mean":[0.30769497,4.0],"std":[0.37616244,1.0],"target":{"mean":5.0,"std":2.9439204}}"#;
        let found: Normalisation = serde_json::from_str(old).unwrap();
        assert_eq!(found.mean[0] as f32, 0.307_694_97);
        assert_eq!(found.target.unwrap().std as f32, 2.943_920_4);
    }
}
