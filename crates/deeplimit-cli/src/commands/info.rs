//! `deeplimit info`.

use crate::metrics::Line;
use crate::{Outcome, imported, run_folder};
use anyhow::{Result, bail};
use deeplimit_nn::data::{Options, describe, load};
use deeplimit_nn::network::ControlConfig;
use deeplimit_nn::pretrained::Architecture;
use deeplimit_nn::train::{Config, Position, read_weights};
use serde::Serialize;
use std::path::{Path, PathBuf};

#[derive(clap::Args)]
pub struct Arguments {
    /// Run folder, weights file (.safetensors), or data folder or file.
    path: PathBuf,
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
    last_step: Option<Line>,
    last_epoch: Option<Line>,
}

#[derive(Serialize)]
struct WeightsInfo {
    kind: &'static str,
    file: PathBuf,
    config: Config,
    position: Position,
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
    if path.join("config.toml").is_file() {
        of_run(path, arguments.json)?;
    } else if imported::is_here(path) {
        of_imported(path, arguments.json)?;
    } else if path.extension().is_some_and(|extension| extension == "safetensors") {
        weights(path, arguments.json)?;
    } else {
        data(path, arguments.json)?;
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
    let (_, _, position) = read_weights(&last)?;
    let lines = run_folder::lines(path)?;
    let find = |wanted: fn(&Line) -> bool| lines.iter().rev().find(|line| wanted(line)).cloned();
    let plan = run_folder::plan(path)?;
    let told =
        plan.as_ref().map_or_else(String::new, |plan| format!("memory plan: {}\n", plan.told));
    let info = RunInfo {
        kind: "run",
        run: path.to_owned(),
        config: run_folder::config(path)?,
        memory_plan: plan.map(|plan| plan.plan),
        position,
        last_step: find(|line| matches!(line, Line::Step(_))),
        last_epoch: find(|line| matches!(line, Line::Epoch(_))),
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
    for line in [&info.last_step, &info.last_epoch].into_iter().flatten() {
        text += &format!("{}\n", serde_json::to_string(line)?);
    }
    text += &format!("configuration\n{}", toml::to_string(&info.config)?);
    super::print(text.trim_end())
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
    for tensor in &info.tensors {
        let shape = format!("{:?}", tensor.shape);
        text += &format!(
            "  {:32} {shape:22} root mean square {:.4}\n",
            tensor.name, tensor.root_mean_square
        );
    }
    super::print(text.trim_end())
}

fn data(path: &Path, json: bool) -> Result<()> {
    let summary = describe(&load(&Options::at(path)?)?);
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
    for class in &summary.classes {
        text += &format!(
            "  {:20} {:6} {:6} {:6}\n",
            class.name, class.train, class.validation, class.test
        );
    }
    super::print(text.trim_end())
}
