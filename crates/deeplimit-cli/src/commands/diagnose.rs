//! `deeplimit diagnose`.

use crate::diagnosis::{self, Inputs, Report};
use crate::progress::Waiting;
use crate::trained::{Trained, same_data, training_batch};
use crate::{Outcome, new_file};
use anyhow::{Context, Result, bail};
use deeplimit_nn::data::{Part, Shape, Source, load};
use deeplimit_nn::network::{Network, Probe};
use deeplimit_nn::train::{Trainer, schema, write_whole};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

#[derive(clap::Args)]
pub struct Arguments {
    /// Run folder, a weights file of a run, or a checkpoint of PyTorch, whose stages are taken as flows.
    run: PathBuf,
    /// Which weights of a run folder: best by validation (the default where there are such) or last.
    #[arg(long, value_parser = ["best", "last"])]
    weights: Option<String>,
    /// Folder or file of the data set, if it is not where it was.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Walk samples of the run's data though they have changed since.
    #[arg(long, conflicts_with = "data")]
    accept_changed_data: bool,
    /// Training samples that are walked through the network; all where there are fewer.
    #[arg(long, value_name = "COUNT", default_value = "64")]
    samples: NonZeroUsize,
    /// Folder for diagnosis.html and diagnosis.json, which must not be there yet [default: the run folder, or
    /// that of the weights, where earlier ones are replaced].
    #[arg(long, value_name = "FOLDER")]
    out: Option<PathBuf>,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// What is written: a page, and an object.
const FILES: [&str; 2] = ["diagnosis.html", "diagnosis.json"];

pub fn run(arguments: &Arguments) -> Result<Outcome> {
    let path = &arguments.run;
    if !path.exists() {
        bail!("{}: no such file or folder", path.display());
    }
    for file in arguments.out.iter().flat_map(|folder| FILES.map(|file| folder.join(file))) {
        new_file::check("--out", &file)?;
    }
    let trained = Trained::read(path, arguments.weights.as_deref(), arguments.data.as_deref())?;
    let report = report(trained, arguments)?;
    let folder = match &arguments.out {
        Some(folder) => {
            std::fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
            folder.clone()
        }
        None if path.is_dir() => path.clone(),
        None => path.parent().map_or_else(PathBuf::new, Path::to_owned),
    };
    let [page, object] = FILES.map(|file| folder.join(file));
    write_whole(&page, diagnosis::page(&report)?.as_bytes())?;
    let text = serde_json::to_string(&report)?;
    write_whole(&object, text.as_bytes())?;
    super::print(&match arguments.json {
        true => text,
        false => format!("{}\npage {}", diagnosis::text(&report), page.display()),
    })?;
    Ok(Outcome::Success)
}

/// Walks training samples through the network; without a data set synthetic ones, which is said.
fn report(trained: Trained, arguments: &Arguments) -> Result<Report> {
    let read = match &arguments.data {
        Some(_) => Ok(trained.other()?),
        None => load(&trained.config.data),
    };
    let Trained { path, file, config, position, identity } = trained;
    let _waiting = Waiting::new("diagnosis");
    let asked = arguments.samples.get();
    let (flows, inputs) = match read {
        Ok(splits) => {
            let accept = arguments.accept_changed_data;
            let used = [(Part::Train, Some(&splits.train))];
            same_data(identity.as_ref(), &config, &splits.schema(), used, accept)?;
            let mut trainer = Trainer::scoring_on(config.clone(), splits)?;
            trainer.load_weights(&path, &file, &position)?;
            let (network, splits) = (trainer.network(), trainer.splits());
            let batch = training_batch(&trainer, asked)?;
            let flows = network.diagnose(Probe::Batch(&batch));
            (flows, Inputs::Data { name: splits.name.clone(), samples: batch.len() })
        }
        Err(error) if arguments.data.is_none() => {
            let (shape, outputs) = file.ends(&config.network);
            let known = schema(&file, &path)?.and_then(|schema| schema.shape);
            let shape = known
                .or(shape)
                .or((config.data.source == Source::Cifar10).then_some(Shape::image(3, 32, 32)));
            let (Some(shape), Some(outputs)) = (shape, outputs) else {
                bail!(
                    "the data set is not there ({error}), and the weights of a convolution do not \
                     tell the size of its images; give --data"
                );
            };
            let plan = config.network.check(shape, outputs)?;
            let network = file
                .load_into(Network::new(&plan, config.seed))
                .with_context(|| path.display().to_string())?;
            let flows = network.diagnose(Probe::Synthetic { samples: asked, seed: config.seed });
            (flows, Inputs::Synthetic { samples: asked, reason: error.to_string() })
        }
        Err(error) => return Err(error.into()),
    };
    let flows = flows.with_context(|| path.display().to_string())?;
    let stages = config.network.stage.iter().enumerate();
    let rectified = stages.filter(|(_, stage)| stage.rectified).map(|(index, _)| index).collect();
    Ok(Report { weights: path, step: position.step, inputs, flows, rectified })
}
