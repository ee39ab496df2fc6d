//! The folder of a run.
//!
//! ```text
//! config.toml           complete, with defaults
//! plan.json             how the gradient keeps to its memory budget, where there is one
//! metrics.jsonl         a line a step and a line an epoch
//! weights/              best and last, and the optimiser's state to resume from
//! report.html           one self-contained page
//! ```

use crate::history::History;
use crate::metrics::Line;
use anyhow::{Context, Result, bail};
use deeplimit::gradient::Plan;
use deeplimit_nn::train::{Config, write_whole};
use serde::{Deserialize, Serialize};
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};

/// An open run folder.
pub struct RunFolder {
    path: PathBuf,
    metrics: File,
}

impl RunFolder {
    /// Makes the folder: the one given, which must not be there yet, or the next free
    /// `runs/NAME-001`.
    pub fn create(path: Option<&Path>, name: &str, config: &Config) -> Result<Self> {
        let path = match path {
            Some(path) => {
                if let Some(parent) = path.parent() {
                    fs::create_dir_all(parent).with_context(|| parent.display().to_string())?;
                }
                fs::create_dir(path).with_context(|| format!("run folder {}", path.display()))?;
                path.to_owned()
            }
            None => next_free(Path::new("runs"), name)?,
        };
        let weights = path.join(WEIGHTS);
        fs::create_dir(&weights).with_context(|| weights.display().to_string())?;
        write_config(&path, config)?;
        let metrics = path.join(METRICS);
        let metrics = OpenOptions::new()
            .create_new(true)
            .append(true)
            .open(&metrics)
            .with_context(|| metrics.display().to_string())?;
        Ok(Self { path, metrics })
    }

    /// Opens a folder to go on after `step` steps: later metrics, and a half-written line, are cut off,
    /// since they will be written again. What is kept is not touched. The configuration says where the
    /// data lie now, and for how many epochs the run goes on.
    pub fn resume(path: &Path, config: &Config, step: usize) -> Result<(Self, History)> {
        let mut history = History::default();
        let kept = read(path, Some(step), |line| history.push(line))?;
        let file = path.join(METRICS);
        let place = || file.display().to_string();
        let mut metrics = OpenOptions::new().append(true).open(&file).with_context(place)?;
        metrics.set_len(kept.bytes).with_context(place)?;
        if kept.open {
            metrics.write_all(b"\n").with_context(place)?;
        }
        write_config(path, config)?;
        Ok((Self { path: path.to_owned(), metrics }, history))
    }

    /// Takes over the metrics of another run up to a step, as they are.
    pub fn take_over(&mut self, run: &Path, step: usize) -> Result<History> {
        let mut history = History::default();
        let kept = read(run, Some(step), |line| history.push(line))?;
        let file = run.join(METRICS);
        let place = || file.display().to_string();
        let from = File::open(&file).with_context(place)?;
        io::copy(&mut from.take(kept.bytes), &mut self.metrics).with_context(place)?;
        if kept.open {
            self.metrics.write_all(b"\n").with_context(place)?;
        }
        Ok(history)
    }

    /// Writes how the gradient keeps to its memory budget, where there is one.
    pub fn plan(&self, plan: Option<&Plan>) -> Result<()> {
        let Some(plan) = plan else { return Ok(()) };
        let told = ToldPlan { plan: serde_json::to_value(plan)?, told: plan.to_string() };
        let text = serde_json::to_string_pretty(&told)?;
        Ok(write_whole(&self.path.join(PLAN), text.as_bytes())?)
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where the weights lie.
    pub fn weights(&self) -> PathBuf {
        self.path.join(WEIGHTS)
    }

    /// Adds a line to the metrics.
    pub fn record(&mut self, line: &Line) -> Result<()> {
        let mut text = serde_json::to_string(line)?;
        text.push('\n');
        let place = || self.path.join(METRICS).display().to_string();
        self.metrics.write_all(text.as_bytes()).with_context(place)
    }
}

/// The file of the configuration.
const CONFIG: &str = "config.toml";

/// The folder of the weights.
const WEIGHTS: &str = "weights";

/// The file of the metrics.
const METRICS: &str = "metrics.jsonl";

/// The file of a plan.
const PLAN: &str = "plan.json";

/// A plan, and the line that tells it.
#[derive(Serialize, Deserialize)]
pub struct ToldPlan {
    #[serde(flatten)]
    pub plan: serde_json::Value,
    pub told: String,
}

/// The plan of a run's last session, where the run has a memory budget.
pub fn plan(path: &Path) -> Result<Option<ToldPlan>> {
    let file = path.join(PLAN);
    if !file.is_file() {
        return Ok(None);
    }
    let place = || file.display().to_string();
    let text = fs::read_to_string(&file).with_context(place)?;
    Ok(Some(serde_json::from_str(&text).with_context(place)?))
}

/// The next free `NAME-001` in a folder.
fn next_free(folder: &Path, name: &str) -> Result<PathBuf> {
    fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    for number in 1..=999_999 {
        let path = folder.join(format!("{name}-{number:03}"));
        match fs::create_dir(&path) {
            Ok(()) => return Ok(path),
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error).with_context(|| path.display().to_string()),
        }
    }
    bail!("{}: all run numbers of {name} are taken", folder.display())
}

/// Writes the configuration of a run, with the folder that a relative path to its data counts from; not
/// where it is there.
fn write_config(run: &Path, config: &Config) -> Result<()> {
    let mut config = config.clone();
    let relative = config.data.path.as_ref().is_some_and(|path| path.is_relative());
    if relative && config.data.folder.is_none() {
        config.data.folder = Some(current_dir()?);
    }
    let text = toml::to_string(&config).context("the configuration is plain data")?;
    let file = run.join(CONFIG);
    if fs::read(&file).is_ok_and(|found| found == text.as_bytes()) {
        return Ok(());
    }
    Ok(write_whole(&file, text.as_bytes())?)
}

/// The configuration of a run. A relative path to its data counts from the folder where the run began, or
/// from here where they lie there no longer, but here: then someone has moved all together.
pub fn config(run: &Path) -> Result<Config> {
    let file = run.join(CONFIG);
    if !file.is_file() {
        bail!("{}: no run folder (it has no config.toml)", run.display());
    }
    let mut config = crate::config::read(Some(&file), &[], None)?;
    let here = current_dir()?;
    if let (Some(path), Some(place)) = (&config.data.path, config.data.place()) {
        let moved = !place.exists() && path.exists();
        if moved {
            crate::say(&format!(
                "{}: the data are not there any more; they are read from {}",
                place.display(),
                here.join(path).display()
            ));
        }
        if moved || config.data.folder.as_ref() == Some(&here) {
            config.data.folder = None;
        }
    }
    Ok(config)
}

fn current_dir() -> Result<PathBuf> {
    std::env::current_dir().context("the working directory is not there any more")
}

/// An error where the data of a run are not where they were.
pub fn data_are_there(config: &Config) -> Result<()> {
    match config.data.place() {
        Some(place) if !place.exists() => bail!(
            "{}: the data of the run are not there any more; say where they are with --data PATH",
            place.display()
        ),
        _ => Ok(()),
    }
}

/// The run that a path belongs to: a run folder itself, or that of a file among its weights.
pub fn of(path: &Path) -> Option<&Path> {
    let run = match path.is_dir() {
        true => path,
        false => path.parent().filter(|folder| folder.ends_with(WEIGHTS))?.parent()?,
    };
    run.join(CONFIG).is_file().then_some(run)
}

/// What a run has recorded; a half-written last line is left out.
pub fn history(run: &Path) -> Result<History> {
    let mut history = History::default();
    each_line(run, |line| history.push(line))?;
    Ok(history)
}

/// Shows the lines of a run's metrics one after the other; a half-written last line is left out.
pub fn each_line(run: &Path, show: impl FnMut(Line)) -> Result<()> {
    read(run, None, show)?;
    Ok(())
}

/// Where the first lines of a run's metrics end.
struct End {
    /// The bytes that they take in the file.
    bytes: u64,
    /// Whether the last of them has no line end.
    open: bool,
}

/// Shows the lines up to a step, or all; a half-written last line is left out.
fn read(run: &Path, until: Option<usize>, mut show: impl FnMut(Line)) -> Result<End> {
    let file = run.join(METRICS);
    let place = || file.display().to_string();
    let mut reader = BufReader::new(File::open(&file).with_context(place)?);
    let mut end = End { bytes: 0, open: false };
    let (mut text, mut number) = (Vec::new(), 0);
    loop {
        text.clear();
        let length = reader.read_until(b'\n', &mut text).with_context(place)?;
        if length == 0 {
            return Ok(end);
        }
        number += 1;
        let line: Line = match serde_json::from_slice(&text) {
            Ok(line) => line,
            Err(_) if reader.fill_buf().with_context(place)?.is_empty() => return Ok(end),
            Err(error) => {
                return Err(error).with_context(|| format!("{}: line {number}", place()));
            }
        };
        if until.is_some_and(|step| line.step() > step) {
            return Ok(end);
        }
        show(line);
        end.bytes += length as u64;
        end.open = !text.ends_with(b"\n");
    }
}
