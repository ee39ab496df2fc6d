//! `deeplimit info`.

use crate::imported::{self, Choice, Normalised};
use crate::metrics::Line;
use crate::{Outcome, config, run_folder};
use anyhow::{Context, Result, bail};
use deeplimit_nn::data::{DataError, Schema, describe, detect, load};
use deeplimit_nn::network::ControlConfig;
use deeplimit_nn::pretrained::{
    Architecture, NamedTensor, Numbers, Pretrained, PretrainedError, read,
};
use deeplimit_nn::train::{Config, Position, read_weights, schema};
use serde::Serialize;
use std::fmt;
use std::path::{Path, PathBuf};

#[derive(clap::Args)]
pub struct Arguments {
    /// Run folder, weights file, checkpoint of PyTorch, or data folder or file.
    path: PathBuf,
    /// Of several networks in a checkpoint, that which lies under a name, such as model_ema.
    #[arg(long, value_name = "NAME")]
    key: Option<String>,
    /// How a data set is to be read, such as data.header=true.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    settings: Vec<String>,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct RunInfo {
    kind: &'static str,
    run: PathBuf,
    config: Config,
    /// How the gradient keeps to its memory budget; null without one.
    memory_plan: Option<serde_json::Value>,
    position: Position,
    /// What the run knows of its data; null in runs of earlier versions.
    schema: Option<Schema>,
    last_step: Option<Line>,
    last_epoch: Option<Line>,
}

#[derive(Serialize)]
struct WeightsInfo {
    kind: &'static str,
    file: PathBuf,
    config: Config,
    position: Position,
    /// What the run knows of its data; null in files of earlier versions.
    schema: Option<Schema>,
    parameters: usize,
    tensors: Vec<TensorInfo>,
}

#[derive(Serialize)]
struct TensorInfo {
    name: String,
    shape: Vec<usize>,
    root_mean_square: f64,
}

impl TensorInfo {
    fn of(name: &str, shape: &[usize], values: impl ExactSizeIterator<Item = f64>) -> Self {
        let count = values.len().max(1) as f64;
        let square: f64 = values.map(|value| value.powi(2)).sum();
        let root_mean_square = (square / count).sqrt();
        Self { name: name.to_owned(), shape: shape.to_vec(), root_mean_square }
    }
}

impl fmt::Display for TensorInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, shape, root_mean_square } = self;
        let shape = format!("{shape:?}");
        write!(f, "  {name:32} {shape:22} root mean square {root_mean_square:.4}")
    }
}

pub fn run(arguments: &Arguments) -> Result<Outcome> {
    let path = &arguments.path;
    if !path.exists() {
        bail!("{}: no such file or folder", path.display());
    }
    let choice = Choice { key: arguments.key.clone(), ..Choice::default() };
    // Whether it is a data set is known by its name, whether it is a checkpoint by looking into it.
    let checkpoint = path.is_file() && !is_data_set(path) && !imported::is_own(path);
    if arguments.key.is_some() && !checkpoint {
        bail!("--key is of checkpoints; leave it out with {}", path.display());
    }
    let is_data = !path.join("config.toml").is_file() && !checkpoint && !imported::is_own(path);
    if !is_data && !arguments.settings.is_empty() {
        bail!("{}: --set is about how a data set is read; leave it out", path.display());
    }
    if path.join("config.toml").is_file() {
        of_run(path, arguments.json)?;
    } else if checkpoint {
        of_checkpoint(path, &choice, arguments.json)?;
    } else if imported::is_own(path) {
        weights(path, arguments.json)?;
    } else {
        data(path, &arguments.settings, arguments.json)?;
    }
    Ok(Outcome::Success)
}

#[derive(Serialize)]
struct ImportedInfo {
    kind: &'static str,
    file: PathBuf,
    name: String,
    architecture: Architecture,
    parameters: usize,
    /// How inputs are normalised.
    normalisation: Normalised,
    /// What the file does not tell, and is taken for granted.
    assumed: Vec<String>,
}

/// Whether a path is named as a data set, or as something that can be made one.
fn is_data_set(path: &Path) -> bool {
    !matches!(detect(path), Err(DataError::Unrecognised { .. }))
}

/// Tensors of no network that is known, such as what `deeplimit export` makes of a run.
#[derive(Serialize)]
struct TensorsInfo {
    kind: &'static str,
    file: PathBuf,
    numbers: usize,
    tensors: Vec<TensorInfo>,
}

fn of_checkpoint(path: &Path, choice: &Choice, json: bool) -> Result<()> {
    match imported::read_as(path, choice) {
        Ok(network) => of_network(path, &network, json),
        Err(error) if matches!(error.downcast_ref(), Some(PretrainedError::Unrecognised(_))) => {
            of_tensors(path, choice, json)
        }
        Err(error) => Err(error),
    }
}

fn of_tensors(path: &Path, choice: &Choice, json: bool) -> Result<()> {
    let tensors = read(path, choice.key.as_deref()).with_context(|| path.display().to_string())?;
    let told = |tensor: &NamedTensor| {
        let NamedTensor { name, shape, numbers } = tensor;
        match numbers {
            Numbers::Single(values) => {
                TensorInfo::of(name, shape, values.iter().map(|v| f64::from(*v)))
            }
            Numbers::Whole(values) => TensorInfo::of(name, shape, values.iter().map(|v| *v as f64)),
        }
    };
    let tensors: Vec<TensorInfo> = tensors.iter().map(told).collect();
    let numbers = tensors.iter().map(|tensor| tensor.shape.iter().product::<usize>()).sum();
    let info = TensorsInfo { kind: "tensors", file: path.to_owned(), numbers, tensors };
    if json {
        return super::print(&serde_json::to_string(&info)?);
    }
    let TensorsInfo { tensors, numbers, .. } = &info;
    let mut text = format!(
        "{}: {} tensors of {numbers} numbers, of no network that is known here and without a configuration\n",
        path.display(),
        tensors.len()
    );
    for tensor in tensors {
        text += &format!("{tensor}\n");
    }
    super::print(text.trim_end())
}

fn of_network(path: &Path, network: &Pretrained, json: bool) -> Result<()> {
    let architecture = network.architecture().clone();
    let info = ImportedInfo {
        kind: "imported",
        file: path.to_owned(),
        name: architecture.to_string(),
        parameters: network.parameters(),
        architecture,
        normalisation: Normalised::of(network),
        assumed: network.assumed(),
    };
    if json {
        return super::print(&serde_json::to_string(&info)?);
    }
    let ImportedInfo { name, parameters, architecture, .. } = &info;
    let mut text = format!("{name}, imported, {parameters} parameters\n");
    let stages = architecture.blocks.iter().zip(architecture.widths());
    for (stage, (blocks, width)) in stages.enumerate() {
        text += &format!("  layer{}: {blocks} blocks of {width} channels\n", stage + 1);
    }
    text += &format!("{} classes\n", architecture.classes);
    if !info.normalisation.assumed {
        text += &format!("inputs normalised by {}\n", info.normalisation.told);
    }
    for assumed in &info.assumed {
        text += &format!("assumed: {assumed}\n");
    }
    super::print(text.trim_end())
}

fn of_run(path: &Path, json: bool) -> Result<()> {
    let last = super::train::weights_of(path, Some("last"))?;
    let (file, trained, position) = read_weights(&last)?;
    let schema = schema(&file, &last)?;
    let config = run_folder::config(path)?;
    if let Some(difference) = config.difference(&trained) {
        crate::say(&format!("{}: {difference}", path.join("config.toml").display()));
    }
    let history = run_folder::history(path)?;
    let plan = run_folder::plan(path)?;
    let told =
        plan.as_ref().map_or_else(String::new, |plan| format!("memory plan: {}\n", plan.told));
    let info = RunInfo {
        kind: "run",
        run: path.to_owned(),
        config,
        memory_plan: plan.map(|plan| plan.plan),
        position,
        schema,
        last_step: history.last_step().cloned().map(Line::Step),
        last_epoch: history.epochs().last().cloned().map(Line::Epoch),
    };
    if json {
        return super::print(&serde_json::to_string(&info)?);
    }
    let mut text = format!(
        "run {}\nsteps at the last checkpoint: {}, of depth {}\n",
        path.display(),
        info.position.step,
        super::listed(&info.position.depths, " + ")
    );
    text += &told;
    text += &told_table(info.schema.as_ref());
    for line in [&info.last_step, &info.last_epoch].into_iter().flatten() {
        text += &format!("{}\n", serde_json::to_string(line)?);
    }
    text += &format!("configuration\n{}", toml::to_string(&info.config)?);
    super::print(text.trim_end())
}

/// How a run reads a table, in words.
fn told_table(schema: Option<&Schema>) -> String {
    let Some((schema, table)) = schema.and_then(|schema| Some((schema, schema.table.as_ref()?)))
    else {
        return String::new();
    };
    let classes = Some(&schema.classes[..]).filter(|classes| !classes.is_empty());
    table.told(classes).iter().map(|line| format!("{line}\n")).collect()
}

fn weights(path: &Path, json: bool) -> Result<()> {
    let (file, config, position) = read_weights(path)?;
    let tensors: Vec<TensorInfo> = file
        .tensors()
        .map(|(name, shape, values)| {
            TensorInfo::of(name, shape, values.iter().map(|v| f64::from(*v)))
        })
        .collect();
    let parameters = file.parameters();
    let info = WeightsInfo {
        kind: "weights",
        file: path.to_owned(),
        config,
        position,
        schema: schema(&file, path)?,
        parameters,
        tensors,
    };
    if json {
        return super::print(&serde_json::to_string(&info)?);
    }
    let mut text = format!(
        "weights {}\n{parameters} parameters of depth {} after {} steps\n",
        path.display(),
        super::listed(&info.position.depths, " + "),
        info.position.step
    );
    for (stage, config) in info.config.network.stage.iter().enumerate() {
        let in_basis = config.control.filter(|_| !info.position.untied);
        if let Some(ControlConfig { basis, coefficients }) = in_basis {
            text += &format!(
                "stage {stage}: the control's arrays are [{coefficients}, …], coefficients of the basis \
                 {basis}, not nodes\n"
            );
        }
    }
    text += &told_table(info.schema.as_ref());
    for tensor in &info.tensors {
        text += &format!("{tensor}\n");
    }
    super::print(text.trim_end())
}

fn data(path: &Path, settings: &[String], json: bool) -> Result<()> {
    let config = config::read(None, settings, Some(path))?;
    let summary = describe(&load(&config.data)?);
    if json {
        let mut value = serde_json::to_value(&summary)?;
        value["kind"] = "data".into();
        return super::print(&value.to_string());
    }
    let mut text = format!(
        "{} ({}), samples of {}\n{} training, {} validation, {} test samples\n",
        summary.name,
        summary.source.name(),
        summary.shape,
        summary.train,
        summary.validation,
        summary.test
    );
    for line in &summary.told {
        text += &format!("{line}\n");
    }
    for class in &summary.classes {
        text += &format!(
            "  {:20} {:6} {:6} {:6}\n",
            class.name, class.train, class.validation, class.test
        );
    }
    super::print(text.trim_end())
}
