//! Networks that were trained elsewhere, on data.

use anyhow::{Context, Result, bail};
use deeplimit_nn::data::{
    Normalisation, Normalise, Options, Part, Samples, Schema, Scored, Splits, in_order, load,
    load_scored,
};
use deeplimit_nn::network::{Evaluator, Score};
use deeplimit_nn::pretrained::{Pretrained, is_imported};
use std::path::Path;

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
    let splits = load(&options(network, folder)?)?;
    check(network, folder, &Schema::of(&splits.train))?;
    Ok(splits)
}

/// What of it a network is scored on.
pub fn scored(network: &Pretrained, folder: &Path) -> Result<Scored> {
    let scored = load_scored(&options(network, folder)?)?;
    check(network, folder, &Schema::of(&scored.samples))?;
    Ok(scored)
}

fn options(network: &Pretrained, folder: &Path) -> Result<Options> {
    let normalise = Normalise::Given(network.architecture().normalisation());
    Ok(Options { normalise, ..Options::at(folder)? })
}

/// Checks that images and classes are such as the network has.
fn check(network: &Pretrained, folder: &Path, data: &Schema) -> Result<()> {
    let (folder, architecture) = (folder.display(), network.architecture());
    if let Some(found) = data.shape
        && found.channels != architecture.input().channels
    {
        bail!("{folder}: samples of {found}, but {architecture} takes images in colour");
    }
    let (classes, outputs) = (data.classes.len(), architecture.classes);
    if classes != outputs {
        let found = if classes == 0 { "no".to_owned() } else { classes.to_string() };
        bail!("{folder}: {found} classes, but the network has {outputs} outputs");
    }
    Ok(())
}

/// The test samples, or the validation samples where there are none.
pub fn part(splits: &Splits) -> Option<(Part, &Samples)> {
    match &splits.test {
        Some(test) => Some((Part::Test, test)),
        None => {
            Some((Part::Validation, &splits.validation)).filter(|(_, samples)| !samples.is_empty())
        }
    }
}

/// Score of samples, and the outputs of each in their order.
pub fn outputs(
    evaluator: &Evaluator,
    samples: &Samples,
    normalisation: &Normalisation,
) -> Result<(Score, Vec<Vec<f32>>)> {
    let (mut total, mut all) = (Score::default(), Vec::new());
    for batch in in_order(samples, normalisation) {
        let batch = batch?;
        let reached = evaluator.reach(&batch);
        total.add(&reached.score(&batch)?);
        all.extend((0..reached.outputs.rows()).map(|row| reached.outputs.row(row)));
    }
    Ok((total, all))
}
