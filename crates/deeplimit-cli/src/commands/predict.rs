//! `deeplimit predict`.

use crate::progress::Waiting;
use crate::trained::Trained;
use crate::{Outcome, imported, new_file};
use anyhow::{Context, Result, bail};
use deeplimit_nn::data::{DataError, InputName, Normalisation, Options, Schema, Unlabelled};
use deeplimit_nn::network::{Answer, Evaluator, Outputs};
use deeplimit_nn::pretrained::Stages;
use serde::Serialize;
use std::io::{self, Write};
use std::path::PathBuf;

#[derive(clap::Args)]
pub struct Arguments {
    /// Run folder, a weights file of a run, or an imported network.
    run: PathBuf,
    /// What to predict: a table with the columns of the run's, a PNG or JPEG file, a folder of them, a file of IDX
    /// images, or a .bin file of CIFAR. Targets and labels are not needed, and not read.
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
    /// How its data were read.
    options: Options,
    schema: Schema,
    normalisation: Normalisation,
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
    /// The number of the input in its file, counted from 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    index: Option<u64>,
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
    // Rows that come one after the other are what one waits by.
    let waiting = (*json || out.is_some()).then(|| Waiting::new("prediction"));
    let model = match imported::is_here(run) {
        true => Model::imported(arguments)?,
        false => Model::trained(arguments)?,
    };
    if *all && model.schema.classes.is_empty() {
        bail!("--all: the network predicts a value, and there are no classes; leave it out");
    }
    let options = model.options(*fit)?;
    let inputs = Unlabelled::open(data, &options, &model.schema);
    let inputs = inputs.map_err(|error| told(error, *fit))?;
    inputs.notes().iter().for_each(|note| crate::say(&format!("{}: {note}", data.display())));
    let mut rows = model.predict(&inputs, arguments);
    match (json, out) {
        (true, _) => {
            let predictions = rows.collect::<Result<Vec<_>>>()?;
            let (weights, classes) = (model.weights.clone(), model.schema.classes.clone());
            let object = Predictions { weights, data: data.clone(), classes, predictions };
            let text = serde_json::to_string(&object)?;
            drop(waiting);
            match out {
                Some(out) => new_file::write(OUT, out, text.as_bytes())?,
                None => super::print(&text)?,
            }
        }
        (false, Some(out)) => {
            let mut table = Vec::new();
            model.write(&mut table, &inputs, &mut rows, *all)?;
            new_file::write(OUT, out, &table)?;
        }
        (false, None) => model.write(&mut io::stdout().lock(), &inputs, &mut rows, *all)?,
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
        let (mut schema, normalisation) = trained.known()?;
        let (_, outputs) = trained.file.ends(&trained.config.network);
        let (Some(shape), Some(outputs)) = (schema.shape, outputs) else {
            bail!("{}: does not say what goes in and comes out", trained.path.display());
        };
        // A converted network has none.
        if let (true, Outputs::Classes(count)) = (schema.classes.is_empty(), outputs) {
            schema.classes = numbered(count);
        }
        let evaluator = trained.network(shape, outputs)?.evaluator();
        let Trained { path: weights, config, .. } = trained;
        Ok(Self { weights, evaluator, options: config.data, schema, normalisation })
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
        let classes = numbered(architecture.classes);
        Ok(Self {
            weights: run.clone(),
            evaluator: network.converted(shape, &Stages::none())?.evaluator(),
            options: Options::default(),
            schema: Schema { shape: Some(shape), classes, table: None },
            normalisation: network.inputs().normalisation(),
        })
    }

    /// How inputs are read; with `fit`, images of any shape as the network takes them.
    fn options(&self, fit: bool) -> Result<Options> {
        let options = self.options.clone();
        let Some(shape) = self.schema.shape.filter(|_| fit) else { return Ok(options) };
        if self.schema.table.is_some() {
            bail!("--fit is about images, but the network takes the rows of a table; leave it out");
        }
        Ok(Options { resize: Some(shape.height), channels: Some(shape.channels), ..options })
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
                Ok(values) => self.evaluator.outputs(inputs.shape(), &values),
                Err(error) => return vec![Err(error)],
            };
            let one = |index: usize| {
                let (file, number) = match inputs.name(index) {
                    InputName::File(name) => (Some(name), None),
                    InputName::Index(number) => (None, Some(number)),
                };
                let found = self.found(&outputs.row(index - first), arguments.all);
                let found = found.with_context(|| {
                    let number = number.map_or_else(String::new, |number| format!("input {number}"));
                    let input = file.as_ref().unwrap_or(&number);
                    let weights = self.weights.display();
                    format!(
                        "{input}: an output of the network is not a finite number, so that nothing is \
                         predicted; check {weights}"
                    )
                })?;
                Ok(Prediction { file, index: number, found })
            };
            range.map(one).collect()
        })
    }

    /// What outputs say; `None` where they say nothing.
    fn found(&self, outputs: &[f32], all: bool) -> Option<Found> {
        let answer = match self.schema.classes.is_empty() {
            true => Answer::value(outputs[0], self.normalisation.target.as_ref()),
            false => Answer::class(outputs),
        };
        Some(match answer? {
            Answer::Class { class, probabilities } => Found::Class {
                class: self.schema.classes[class].clone(),
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
        let mut head = vec![if inputs.in_files() { "file" } else { "index" }];
        match self.schema.classes.is_empty() {
            true => head.push("value"),
            false => head.extend(["class", "probability"]),
        }
        if all {
            head.extend(self.schema.classes.iter().map(String::as_str));
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
