//! Networks that were trained elsewhere, on data.

use anyhow::{Context, Result, bail};
use deeplimit_nn::data::{Normalise, Options, Samples, Splits, batch, chunks, load};
use deeplimit_nn::network::{Evaluator, Score};
use deeplimit_nn::pretrained::{Pretrained, is_imported};
use std::num::NonZeroUsize;
use std::path::Path;

/// Samples at a time.
const BATCH: usize = 250;

/// Whether a file is one that `deeplimit import` wrote.
pub fn is_here(path: &Path) -> bool {
    path.is_file() && is_imported(path)
}

/// Reads an imported network, or a checkpoint.
pub fn read(path: &Path) -> Result<Pretrained> {
    Pretrained::read(path).with_context(|| path.display().to_string())
}

/// The data set in a folder, normalised as the network expects it.
pub fn data(network: &Pretrained, folder: &Path) -> Result<Splits> {
    let normalise = Normalise::Given(network.architecture().normalisation());
    let splits = load(&Options { normalise, ..Options::at(folder)? })?;
    let (found, expected) = (splits.train.shape(), network.architecture().input());
    if found.channels != expected.channels {
        bail!(
            "{}: samples of {found}, but {} takes images in colour",
            folder.display(),
            network.architecture()
        );
    }
    let (classes, outputs) = (splits.train.classes(), network.architecture().classes);
    if classes != Some(outputs) {
        let found = classes.map_or("no classes".to_owned(), |found| format!("{found} classes"));
        bail!("{}: {found}, but the network has {outputs} outputs", folder.display());
    }
    Ok(splits)
}

/// The test samples, or the validation samples where there are none.
pub fn part(splits: &Splits) -> Option<(&'static str, &Samples)> {
    match &splits.test {
        Some(test) => Some(("test", test)),
        None => Some(("validation", &splits.validation)).filter(|(_, samples)| !samples.is_empty()),
    }
}

/// Score of samples, and the outputs of each in their order.
pub fn outputs(
    evaluator: &Evaluator,
    splits: &Splits,
    samples: &Samples,
) -> Result<(Score, Vec<Vec<f32>>)> {
    let order: Vec<u32> = (0..samples.len() as u32).collect();
    let size = NonZeroUsize::new(BATCH).expect("a batch");
    let (mut total, mut all) = (Score::default(), Vec::new());
    for indices in chunks(&order, size, false) {
        let batch = batch(samples, indices, &splits.normalisation, None)?;
        let reached = evaluator.reach(&batch);
        total.add(&reached.score(&batch)?);
        all.extend((0..reached.outputs.rows()).map(|row| reached.outputs.row(row)));
    }
    Ok((total, all))
}
