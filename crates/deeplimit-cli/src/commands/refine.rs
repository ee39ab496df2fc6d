//! `deeplimit refine`: a run carried to another depth, to be gone on with.

use super::train::{Session, TakenUp};
use crate::Outcome;
use crate::run_folder::RunFolder;
use crate::shell::word;
use anyhow::{Result, bail};
use deeplimit::control::ProlongBy;
use deeplimit_nn::train::Trainer;
use serde::Serialize;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

#[derive(clap::Args)]
pub struct Arguments {
    /// Run folder.
    run: PathBuf,
    /// Steps of the flows afterwards: more than now, or fewer.
    #[arg(long, value_name = "STEPS")]
    depth: NonZeroUsize,
    /// The function of depth through the weights: constant, linear or cubic between them, or averages.
    #[arg(long, default_value = ProlongBy::Linear.name(), value_parser = super::ways())]
    by: String,
    /// Only the flow of this stage, counted from 0 [default: all flows].
    #[arg(long, value_name = "INDEX")]
    stage: Option<usize>,
    /// Epochs of the whole run, those that are done included [default: as before].
    #[arg(long, value_name = "COUNT")]
    epochs: Option<usize>,
    /// Folder or file of the run's data, if it is not where it was.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Go on though the run's data have changed since.
    #[arg(long)]
    accept_changed_data: bool,
    /// Folder of the new run; must not exist yet [default: the next free runs/RUN-depthSTEPS-001].
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Refined {
    run: PathBuf,
    /// Steps trained.
    step: usize,
    /// Of all epochs.
    steps: usize,
    before: Standing,
    after: Standing,
}

/// A network before or after.
#[derive(Serialize)]
struct Standing {
    depths: Vec<usize>,
    parameters: usize,
    /// On the validation samples; null where there are none.
    validation_loss: Option<f64>,
}

impl Standing {
    fn of(trainer: &Trainer) -> Result<Self> {
        Ok(Self {
            depths: trainer.network().depths(),
            parameters: trainer.network().parameters(),
            validation_loss: trainer.validate()?.map(|score| score.loss),
        })
    }
}

pub fn run(arguments: &Arguments) -> Result<Outcome> {
    let run = &arguments.run;
    let taken = TakenUp::new(run, arguments.data.as_deref(), None, arguments.accept_changed_data)?;
    let trainer = taken.trainer;
    let before = Standing::of(&trainer)?;
    let depths = depths(arguments, &before.depths)?;
    let by = super::way(&arguments.by)?;
    let epochs = arguments.epochs.unwrap_or(trainer.config().train.epochs);
    let scheduled = !trainer.config().train.refine.is_empty();
    let trainer = trainer.refined(&depths, by, epochs)?;
    let (step, steps) = (trainer.position().step, trainer.total_steps());
    let after = Standing::of(&trainer)?;

    let name = format!("{}-depth{}", name_of(run), arguments.depth);
    let mut folder = RunFolder::create(arguments.out.as_deref(), &name, trainer.config())?;
    folder.plan(trainer.plan())?;
    let history = folder.take_over(run, step)?;
    trainer.save(&folder.weights())?;
    let refined = Refined { run: folder.path().to_owned(), step, steps, before, after };
    Session::of(trainer, folder, history).write_report(None)?;
    if scheduled {
        crate::say("the schedule train.refine of the run ends here: the new run keeps its depth");
    }
    super::print(&if arguments.json { serde_json::to_string(&refined)? } else { refined.told() })?;
    Ok(Outcome::Success)
}

/// The depth that is asked for in all flows, or in one.
fn depths(arguments: &Arguments, now: &[usize]) -> Result<Vec<usize>> {
    let depth = arguments.depth.get();
    match arguments.stage {
        None => Ok(vec![depth; now.len()]),
        Some(stage) if stage < now.len() => {
            let mut depths = now.to_vec();
            depths[stage] = depth;
            Ok(depths)
        }
        Some(stage) => bail!("--stage {stage}: the network has stages 0 to {}", now.len() - 1),
    }
}

/// The last part of a run's path.
fn name_of(run: &Path) -> String {
    let name = run.components().next_back().map(|part| part.as_os_str().to_string_lossy());
    name.unwrap_or_default().into_owned()
}

impl Refined {
    fn told(&self) -> String {
        let Self { before, after, run, step, steps } = self;
        let mut text = format!(
            "depth {} → {}, {} → {} parameters",
            super::listed(&before.depths, " + "),
            super::listed(&after.depths, " + "),
            before.parameters,
            after.parameters
        );
        if let (Some(before), Some(after)) = (before.validation_loss, after.validation_loss) {
            text += &format!(", validation loss {before:.4} → {after:.4}");
        }
        text += &format!("\nrun folder {}, after {step} of {steps} steps", run.display());
        text += &match step < steps {
            true => format!("\ngo on with\n  deeplimit train --resume {}", word(run)),
            false => "\nall epochs are done: --epochs adds some to train on".to_owned(),
        };
        text
    }
}
