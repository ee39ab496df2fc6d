//! `deeplimit info`.

use crate::metrics::Line;
use crate::{Outcome, config, imported, run_folder};
use anyhow::{Result, bail};
use deeplimit_nn::data::{Schema, describe, load};
use deeplimit_nn::network::ControlConfig;
use deeplimit_nn::pretrained::Architecture;
use deeplimit_nn::train::{Config, Position, read_weights, schema};
use serde::Serialize;
use std::path::{Path, PathBuf};

#[derive(clap::Args)]
pub struct Arguments {
    /// Run folder, weights file (.safetensors), or data folder or file.
    path: PathBuf,
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

pub fn run(arguments: &Arguments) -> Result<Outcome> {
    let path = &arguments.path;
    if !path.exists() {
        bail!("{}: no such file or folder", path.display());
    }
    let is_data = !path.join("config.toml").is_file()
        && !imported::is_here(path)
        && path.extension().is_none_or(|extension| extension != "safetensors");
    if !is_data && !arguments.settings.is_empty() {
        bail!("{}: --set is about how a data set is read; leave it out", path.display());
    }
    if path.join("config.toml").is_file() {
        of_run(path, arguments.json)?;
    } else if imported::is_here(path) {
        of_imported(path, arguments.json)?;
    } else if path.extension().is_some_and(|extension| extension == "safetensors") {
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
}

fn of_imported(path: &Path, json: bool) -> Result<()> {
    let network = imported::read(path)?;
    let architecture = network.architecture().clone();
    let info = ImportedInfo {
        kind: "imported",
        file: path.to_owned(),
        name: architecture.to_string(),
        parameters: network.parameters(),
        architecture,
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
    super::print(&format!("{text}{} classes", architecture.classes))
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
            let square: f64 = values.iter().map(|v| f64::from(*v).powi(2)).sum();
            TensorInfo {
                name: name.to_owned(),
                shape: shape.to_vec(),
                root_mean_square: (square / values.len().max(1) as f64).sqrt(),
            }
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
        let shape = format!("{:?}", tensor.shape);
        text += &format!(
            "  {:32} {shape:22} root mean square {:.4}\n",
            tensor.name, tensor.root_mean_square
        );
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
