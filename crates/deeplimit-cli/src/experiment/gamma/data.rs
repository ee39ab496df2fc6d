//! Two sets of samples: one small enough to be looked at, and a real one.

use anyhow::{Result, ensure};
use deeplimit::Rows;
use deeplimit::seed::uniform;
use deeplimit_nn::data::{
    BatchTargets, HeldOut, Options, Source, Splits, batch, epoch_order, load,
};
use std::path::Path;

/// Classified samples.
pub struct Set {
    /// What the page calls it.
    pub name: String,
    /// `[samples, width]`.
    pub inputs: Rows<f64>,
    /// ±1: of two classes `[samples, 1]`, of more a column a class.
    pub targets: Rows<f64>,
    /// The same samples with fewer and with more numbers each.
    others: Vec<Rows<f64>>,
}

impl Set {
    /// Samples of that width, where there are any of another width than `inputs`.
    pub fn inputs(&self, width: usize) -> Option<&Rows<f64>> {
        self.others.iter().find(|other| other.width() == width)
    }

    /// A number that other samples have another of (Fowler, Noll, Vo 1991), in hexadecimal digits.
    pub fn checksum(&self) -> String {
        let numbers = [&self.inputs, &self.targets].map(Rows::to_vec).concat();
        let next = |sum: u64, v: &f64| (sum ^ v.to_bits()).wrapping_mul(0x0000_0100_0000_01B3);
        format!("{:016x}", numbers.iter().fold(0xCBF2_9CE4_8422_2325, next))
    }
}

/// The two digits that are told apart.
const DIGITS: [u32; 2] = [4, 9];

/// Samples of the real set at most.
const SAMPLES: usize = 100;

/// Seed of the order from which they are taken.
const ORDER: u64 = 1;

/// Principal components of the real set at most.
pub const WIDTH: usize = 3;

/// The same of its other widths.
const OTHERS: [usize; 2] = [2, 5];

/// Two half moons of six points each, one above the other, with some noise.
pub fn moons() -> Set {
    const UPPER: [[f64; 2]; 6] = [
        [0.573, -0.09],
        [0.377, 0.369],
        [-0.089, 0.72],
        [-0.649, 0.721],
        [-1.106, 0.371],
        [-1.318, -0.052],
    ];
    const LOWER: [[f64; 2]; 6] = [
        [-0.613, 0.127],
        [-0.335, -0.478],
        [0.143, -0.733],
        [0.67, -0.734],
        [1.136, -0.405],
        [1.393, 0.038],
    ];
    let points = [UPPER, LOWER].concat();
    Set {
        name: "moons".into(),
        inputs: Rows::new(points.len(), 2, &points.concat()),
        targets: Rows::from_fn(12, 1, |row, _| if row < 6 { 1.0 } else { -1.0 }),
        others: vec![],
    }
}

/// Some samples of a table, or of two of the built-in digits, by their first principal components: the
/// same whatever the experiment's seed.
///
/// # Errors
/// If the file cannot be read, is no table, or has a single class.
pub fn real(table: Option<&Path>) -> Result<Set> {
    let options = match table {
        None => Options::default(),
        Some(path) => Options { test: Some(HeldOut::Count(0)), ..Options::at(path)? },
    };
    let options = Options { validation: HeldOut::Count(0), ..options };
    if let Some(path) = table {
        let (path, found) = (path.display(), options.source);
        ensure!(found == Source::Csv, "--data {path} holds {found}; give a table, FILE.csv");
    }
    let splits = load(&options)?;
    let classes: Vec<u32> = match table {
        None => DIGITS.into(),
        Some(_) => (0..splits.train.classes().unwrap_or(0) as u32).collect(),
    };
    let count = classes.len();
    ensure!(count >= 2, "{} has {count} class; give a table with two or more", splits.name);
    let (samples, labels) = chosen(&splits, &classes)?;
    let inputs = principal(&samples, WIDTH);
    ensure!(inputs.width() > 0, "all samples of {} are the same", splits.name);
    let columns = if count == 2 { 1 } else { count };
    let targets = Rows::from_fn(labels.len(), columns, |row, column| {
        if labels[row] == classes[column] { 1.0 } else { -1.0 }
    });
    let name = match table {
        None => format!("digits {} and {}", DIGITS[0], DIGITS[1]),
        Some(_) => splits.name,
    };
    let others = OTHERS.map(|width| principal(&samples, width));
    let others = others.into_iter().filter(|other| other.width() != inputs.width()).collect();
    Ok(Set { name, inputs, targets, others })
}

/// Normalised samples of some classes with their labels, in an order that does not depend on classes.
fn chosen(splits: &Splits, classes: &[u32]) -> Result<(Vec<Vec<f64>>, Vec<u32>)> {
    let set = &splits.train;
    let all = batch(set, &epoch_order(set.len(), ORDER, 0), &splits.normalisation, None)?;
    let BatchTargets::Labels(labels) = &all.targets else {
        unreachable!("a classification has labels")
    };
    let rows = all.inputs.chunks_exact(set.shape().elements()).zip(labels);
    let rows = rows.filter(|(_, label)| classes.contains(label)).take(SAMPLES);
    Ok(rows.map(|(row, label)| (row.iter().map(|v| f64::from(*v)).collect(), *label)).unzip())
}

/// The samples in the directions of their largest variances, by orthogonal iteration, about their mean
/// and divided by the root mean square of all of it; fewer columns where there is no variance left.
fn principal(samples: &[Vec<f64>], most: usize) -> Rows<f64> {
    /// Rounds of iteration: directions whose variances differ by a per cent are told apart.
    const ROUNDS: usize = 2000;
    let features = samples[0].len();
    let mean: Vec<f64> = (0..features)
        .map(|f| samples.iter().map(|row| row[f]).sum::<f64>() / samples.len() as f64)
        .collect();
    let centred = |row: &Vec<f64>| row.iter().zip(&mean).map(|(v, mean)| v - mean).collect();
    let samples: Vec<Vec<f64>> = samples.iter().map(centred).collect();
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let width = most.min(features);
    let draw = |part: usize| (0..features).map(move |i| uniform(1, (part * features + i) as u64));
    let mut directions: Vec<Vec<f64>> = (0..width).map(|part| draw(part).collect()).collect();
    for _ in 0..ROUNDS {
        for index in 0..width {
            let mut next = vec![0.0; features];
            for row in &samples {
                let part = dot(row, &directions[index]);
                next.iter_mut().zip(row).for_each(|(next, v)| *next += part * v);
            }
            for other in &directions[..index] {
                let part = dot(&next, other);
                next.iter_mut().zip(other).for_each(|(next, v)| *next -= part * v);
            }
            // Samples that all have nothing in a direction leave zeros.
            let norm = dot(&next, &next).sqrt().max(f64::MIN_POSITIVE);
            directions[index] = next.iter().map(|v| v / norm).collect();
        }
    }
    let column = |direction: &Vec<f64>| samples.iter().map(|row| dot(row, direction)).collect();
    let mut columns: Vec<Vec<f64>> = directions.iter().map(column).collect();
    let size = |column: &[f64]| dot(column, column).sqrt();
    let largest = columns.first().map_or(0.0, |column| size(column));
    columns.retain(|column| size(column) > 1e-6 * largest);
    let numbers = columns.concat();
    let size = size(&numbers) / (numbers.len() as f64).sqrt();
    Rows::from_fn(samples.len(), columns.len(), |row, column| columns[column][row] / size)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn principal_components_are_the_axes_of_an_ellipsoid() {
        // Independent parts of sizes 4, 2, 1 along rotated axes, and nothing in the fourth dimension.
        let axes = [[0.6, 0.8, 0.0, 0.0], [-0.8, 0.6, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0]];
        let sizes = [4.0, 2.0, 1.0];
        let signs = |row: usize| [0, 1, 2].map(|bit| if row >> bit & 1 == 0 { 1.0 } else { -1.0 });
        let sample = |row: usize| -> Vec<f64> {
            let parts = signs(row);
            let at = |f: usize| (0..3).map(|i| sizes[i] * parts[i] * axes[i][f]).sum::<f64>() + 5.0;
            (0..4).map(at).collect()
        };
        let samples: Vec<Vec<f64>> = (0..8).map(sample).collect();
        let found = principal(&samples, 2);
        // Of 4² and 2² the mean is 10.
        for row in 0..8 {
            for (column, size) in sizes.iter().enumerate().take(2) {
                let expected = size / 10f64.sqrt();
                assert!((found.at(row, column).abs() - expected).abs() < 1e-12, "{row} {column}");
            }
        }
    }

    #[test]
    fn the_digits_are_two_classes_of_a_hundred_samples() {
        let set = real(None).unwrap();
        assert_eq!((set.inputs.rows(), set.inputs.width()), (SAMPLES, WIDTH));
        assert_ne!(set.checksum(), moons().checksum());
        assert_eq!(set.checksum(), real(None).unwrap().checksum());
        let sum: f64 = set.targets.to_vec().iter().sum();
        assert!(sum.abs() <= 40.0 && set.targets.to_vec().iter().all(|y| y.abs() == 1.0), "{sum}");
    }

    #[test]
    fn tables_are_read_and_what_is_none_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("three.csv");
        let line = |i: usize| format!("{},{},{}\n", i % 7, i * i % 5, ["a", "b", "c"][i % 3]);
        std::fs::write(&file, (0..30).map(line).collect::<String>()).unwrap();
        let set = real(Some(&file)).unwrap();
        assert_eq!((set.inputs.rows(), set.inputs.width(), set.targets.width()), (30, 2, 3));
        for row in 0..30 {
            assert_eq!(set.targets.row(row).iter().sum::<f64>(), -1.0); // One class, not two.
        }
        std::fs::write(&file, "1,2,a\n2,3,a\n").unwrap();
        let message = real(Some(&file)).err().unwrap().to_string();
        assert!(message.contains("one class only, \"a\""), "{message}");
        assert!(real(Some(folder.path())).is_err());
    }
}
