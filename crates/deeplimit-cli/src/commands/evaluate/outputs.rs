//! The table of `--outputs`: what a network makes of every sample, beside what it should have.

use super::OUTPUTS;
use crate::new_file;
use anyhow::{Context, Result};
use deeplimit_nn::data::{Normalisation, Samples, Targets};
use deeplimit_nn::network::Answer;
use std::path::Path;

/// Writes `index,label,prediction,output0,…` of a classification, `index,target,value,output0` of a
/// regression, with as many digits as tell neighbouring numbers apart.
pub fn write(
    path: &Path,
    samples: &Samples,
    normalisation: &Normalisation,
    outputs: &[Vec<f32>],
) -> Result<()> {
    let mut table = csv::Writer::from_writer(Vec::new());
    let columns = match samples.targets() {
        Targets::Classes { .. } => ["index", "label", "prediction"],
        Targets::Values(_) => ["index", "target", "value"],
    };
    let count = outputs.first().map_or(0, Vec::len);
    let outputs_named = (0..count).map(|index| format!("output{index}"));
    table.write_record(columns.into_iter().map(str::to_owned).chain(outputs_named))?;
    for (sample, (row, outputs)) in samples.rows().iter().zip(outputs).enumerate() {
        let finite = || format!("sample {row}: an output of the network is not a finite number");
        let answer = match samples.targets() {
            Targets::Classes { .. } => Answer::class(outputs),
            Targets::Values(_) => Answer::value(outputs[0], normalisation.target.as_ref()),
        };
        let (expected, found) = match (samples.targets(), answer.with_context(finite)?) {
            (Targets::Classes { labels, names }, Answer::Class { class, .. }) => {
                (names[labels[sample] as usize].clone(), names[class].clone())
            }
            (Targets::Values(values), Answer::Value(value)) => {
                (values[sample].to_string(), value.to_string())
            }
            _ => unreachable!("answers are of the kind of the targets"),
        };
        let told = [row.to_string(), expected, found].into_iter();
        table.write_record(told.chain(outputs.iter().map(f32::to_string)))?;
    }
    new_file::write(OUTPUTS, path, &table.into_inner()?)
}
