//! `deeplimit predict`.

use crate::trained::Trained;
use crate::{Outcome, imported, new_file};
use anyhow::{Context, Result, bail};
use deeplimit_nn::data::{DataError, Normalisation, Schema, Taken, Unlabelled};
use deeplimit_nn::network::{Answer, Evaluator, Outputs};
use deeplimit_nn::pretrained::Stages;
use serde::Serialize;
use std::io::{self, Write};
use std::path::PathBuf;

#[derive(clap::Args)]
pub struct Arguments {
    /// Run folder, a weights file of a run, or an imported network.
    run: PathBuf,
    /// What to predict: a PNG or JPEG file, a folder of them, a file of IDX images, or a .bin file of CIFAR.
    /// Labels are not needed, and not read.
    #[arg(long, value_name = "PATH")]
    data: PathBuf,
    /// Which weights of a run folder: best by validation (the default where there are such) or last.
    #[arg(long, value_parser = ["best", "last"])]
    weights: Option<String>,
    /// The probability of every class, a column a class.
    #[arg(long)]
    all: bool,
    /// Bring images of another size, or with another number of channels, to what the network takes, as
    /// data.resize and data.channels do in training.
    #[arg(long)]
    fit: bool,
    /// Write the table to a file, which must not exist yet, instead of printing it.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// The option of the file that is written.
const OUT: &str = "--out";

/// Inputs at a time.
const AT_ONCE: usize = 64;

/// A network, and what must be known of its data to use it.
struct Model {
    weights: PathBuf,
    evaluator: Evaluator,
    taken: Taken,
    normalisation: Normalisation,
    /// Empty in regression.
    classes: Vec<String>,
}

/// The object that `--json` prints.
#[derive(Serialize)]
struct Predictions {
    weights: PathBuf,
    data: PathBuf,
    /// In the order of the probabilities; empty in regression.
    classes: Vec<String>,
    predictions: Vec<Prediction>,
}

/// What the network says of one input.
#[derive(Serialize)]
struct Prediction {
    /// The file's name, where each holds one input.
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<String>,
    /// The number of the input, counted from 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    index: Option<usize>,
    #[serde(flatten)]
    found: Found,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Found {
    Class {
        class: String,
        probability: f64,
        /// Of every class, with `--all`.
        #[serde(skip_serializing_if = "Option::is_none")]
        probabilities: Option<Vec<f64>>,
    },
    Value {
        value: f64,
    },
}

pub fn run(arguments: &Arguments) -> Result<Outcome> {
    let Arguments { run, data, all, fit, out, json, .. } = arguments;
    if let Some(out) = out {
        new_file::check(OUT, out)?;
    }
    let model = match imported::is_here(run) {
        true => Model::imported(arguments)?,
        false => Model::trained(arguments)?,
    };
    if *all && model.classes.is_empty() {
        bail!("--all: the network predicts a value, and there are no classes; leave it out");
    }
    let inputs = Unlabelled::open(data, model.taken(*fit)).map_err(|error| told(error, *fit))?;
    if let [first, more @ ..] = inputs.left_out() {
        let more =
            if more.is_empty() { String::new() } else { format!(" and {} more", more.len()) };
        let place = data.display();
        crate::say(&format!("{place}: left out what is no PNG or JPEG file: {first}{more}"));
    }
    let mut rows = model.predict(&inputs, arguments);
    if *json {
        let predictions = rows.collect::<Result<Vec<_>>>()?;
        let (weights, classes) = (model.weights.clone(), model.classes.clone());
        let object = Predictions { weights, data: data.clone(), classes, predictions };
        let text = serde_json::to_string(&object)?;
        match out {
            Some(out) => new_file::write(OUT, out, text.as_bytes())?,
            None => super::print(&text)?,
        }
        return Ok(Outcome::Success);
    }
    match out {
        Some(out) => {
            let mut table = Vec::new();
            model.write(&mut table, &inputs, &mut rows, *all)?;
            new_file::write(OUT, out, &table)?;
        }
        None => model.write(&mut io::stdout().lock(), &inputs, &mut rows, *all)?,
    }
    Ok(Outcome::Success)
}

/// An image of another shape can be brought to that of the network.
fn told(error: DataError, fit: bool) -> anyhow::Error {
    match error {
        DataError::OtherShape { .. } if !fit => {
            anyhow::anyhow!("{error}; predict --fit brings it there")
        }
        error => error.into(),
    }
}

impl Model {
    /// Of a run, or a weights file of one.
    fn trained(arguments: &Arguments) -> Result<Self> {
        let trained = Trained::read(&arguments.run, arguments.weights.as_deref(), None)?;
        let (Schema { shape, mut classes, .. }, normalisation) = trained.known()?;
        let (_, outputs) = trained.file.ends(&trained.config.network);
        let (Some(shape), Some(outputs)) = (shape, outputs) else {
            bail!("{}: does not say what goes in and comes out", trained.path.display());
        };
        // A converted network has none.
        if let (true, Outputs::Classes(count)) = (classes.is_empty(), outputs) {
            classes = numbered(count);
        }
        let network = trained.network(shape, outputs)?;
        let data = &trained.config.data;
        let (resize, channels) = (data.resize.is_some(), data.channels.is_some());
        let taken = Taken { shape, resize, channels };
        let (weights, evaluator) = (trained.path.clone(), network.evaluator());
        Ok(Self { weights, evaluator, taken, normalisation, classes })
    }

    /// Trained elsewhere, with numbers for the names of classes.
    fn imported(arguments: &Arguments) -> Result<Self> {
        let run = &arguments.run;
        if arguments.weights.is_some() {
            bail!(
                "--weights chooses among those of a run folder; leave it out with an imported network"
            );
        }
        let network = imported::read(run)?;
        let architecture = network.architecture();
        let shape = architecture.input();
        Ok(Self {
            weights: run.clone(),
            evaluator: network.converted(shape, &Stages::none())?.evaluator(),
            taken: Taken { shape, resize: false, channels: false },
            normalisation: architecture.normalisation(),
            classes: numbered(architecture.classes),
        })
    }

    fn taken(&self, fit: bool) -> Taken {
        let Taken { shape, resize, channels } = self.taken;
        Taken { shape, resize: resize || fit, channels: channels || fit }
    }

    /// What the network says of the inputs, one after the other.
    fn predict<'a>(
        &'a self,
        inputs: &'a Unlabelled,
        arguments: &'a Arguments,
    ) -> impl Iterator<Item = Result<Prediction>> + 'a {
        (0..inputs.len()).step_by(AT_ONCE).flat_map(move |first| {
            let range = first..inputs.len().min(first + AT_ONCE);
            let read = inputs.read(range.clone(), &self.normalisation);
            let outputs = match read.map_err(|error| told(error, arguments.fit)) {
                Ok(values) => self.evaluator.outputs(self.taken.shape, &values),
                Err(error) => return vec![Err(error)],
            };
            let one = |index: usize| {
                let file = inputs.files().map(|files| files[index].clone());
                let outputs = outputs.row(index - first);
                let found = self.found(&outputs, arguments.all).with_context(|| {
                    let input = file.clone().unwrap_or_else(|| format!("input {index}"));
                    let weights = self.weights.display();
                    format!(
                        "{input}: an output of the network is not a finite number, so that nothing is \
                         predicted; check {weights}"
                    )
                })?;
                let index = file.is_none().then_some(index);
                Ok(Prediction { file, index, found })
            };
            range.map(one).collect()
        })
    }

    /// What outputs say; `None` where they say nothing.
    fn found(&self, outputs: &[f32], all: bool) -> Option<Found> {
        let answer = match self.classes.is_empty() {
            true => Answer::value(outputs[0], self.normalisation.target.as_ref()),
            false => Answer::class(outputs),
        };
        Some(match answer? {
            Answer::Class { class, probabilities } => Found::Class {
                class: self.classes[class].clone(),
                probability: probabilities[class],
                probabilities: all.then_some(probabilities),
            },
            Answer::Value(value) => Found::Value { value },
        })
    }

    /// Writes a table, row by row.
    fn write(
        &self,
        to: &mut dyn Write,
        inputs: &Unlabelled,
        rows: &mut dyn Iterator<Item = Result<Prediction>>,
        all: bool,
    ) -> Result<()> {
        let mut table = csv::Writer::from_writer(to);
        let mut head = vec![if inputs.files().is_some() { "file" } else { "index" }];
        match self.classes.is_empty() {
            true => head.push("value"),
            false => head.extend(["class", "probability"]),
        }
        if all {
            head.extend(self.classes.iter().map(String::as_str));
        }
        table.write_record(head)?;
        for row in rows {
            let Prediction { file, index, found } = row?;
            let name = file.or(index.map(|index| index.to_string())).unwrap_or_default();
            let mut record = vec![name];
            match found {
                Found::Class { class, probability, probabilities } => {
                    record.extend([class, digits(probability)]);
                    record.extend(probabilities.into_iter().flatten().map(digits));
                }
                Found::Value { value } => record.push(value.to_string()),
            }
            table.write_record(record)?;
        }
        Ok(table.flush()?)
    }
}

/// Names of classes that have none.
fn numbered(classes: usize) -> Vec<String> {
    (0..classes).map(|class| class.to_string()).collect()
}

/// A probability, with the digits that outputs in single precision give it.
fn digits(probability: f64) -> String {
    (probability as f32).to_string()
}
