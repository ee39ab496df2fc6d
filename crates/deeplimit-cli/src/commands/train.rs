//! `deeplimit train`.

use crate::history::History;
use crate::memory::peak_mb;
use crate::metrics::{self, EpochLine, Line, StepLine};
use crate::progress::{Progress, Waiting};
use crate::run_folder::{self, RunFolder};
use crate::shell::word;
use crate::trained::{Trained, same_data, unedited};
use crate::weight_paths::weight_paths;
use crate::{Outcome, config, report};
use anyhow::{Context, Result, bail};
use deeplimit::Method;
use deeplimit::control::ProlongBy;
use deeplimit::gradient::{Adjoint, Plan};
use deeplimit_nn::data::{Part, load};
use deeplimit_nn::network::{Score, StagePlan};
use deeplimit_nn::train::{
    AUTO, ChangedData, Config, Doubt, Initial, Initialised, Mistrust, Resumed, StepReport, Trainer,
    identity, read_weights, schema, write_whole,
};
use serde::Serialize;
use std::path::{Path, PathBuf};
use std::time::Instant;

#[derive(clap::Args, Default)]
pub struct Arguments {
    /// Configuration; without one, the built-in digits are trained.
    config: Option<PathBuf>,
    /// Change one setting, such as train.epochs=5 or network.stage.0.depth=128.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    settings: Vec<String>,
    /// Folder or file of the data set.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Begin with the weights of a run folder or a weights file: with its network, where the configuration
    /// names no other, and its normalisation. Flows of another depth take the weights as functions of
    /// depth; a head with another number of classes is drawn anew.
    #[arg(long, value_name = "RUN|WEIGHTS")]
    init: Option<PathBuf>,
    /// How --init carries weights to another depth: constant, linear or cubic between them, or averages
    /// [default: linear].
    #[arg(long, requires = "init", value_parser = super::ways())]
    by: Option<String>,
    /// With --init: draw the head anew though it would fit, as for other classes of the same number.
    #[arg(long, requires = "init")]
    new_head: bool,
    /// Go on with a run from its last checkpoint; with --data where its data have moved.
    #[arg(long, value_name = "RUN", conflicts_with_all = ["config", "settings", "out", "init"])]
    resume: Option<PathBuf>,
    /// Epochs of the whole run; with --resume those that are done included, and from there on the learning
    /// rate is that of a run of so many epochs.
    #[arg(long, value_name = "COUNT")]
    epochs: Option<usize>,
    /// With --resume: go on though the run's data have changed since.
    #[arg(long, requires = "resume")]
    accept_changed_data: bool,
    /// Folder of the run; must not exist yet. Default: the next free runs/NAME-001.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// End with one JSON object on standard output.
    #[arg(long)]
    json: bool,
}

/// The object that `--json` ends with.
#[derive(Serialize)]
struct Summary<'a> {
    run: &'a Path,
    epochs: usize,
    /// In 0 … 1; null in regression or without test samples.
    test_accuracy: Option<f64>,
    test_loss: Option<f64>,
    /// Seconds of training, validation and checkpoints; without reading data and testing.
    train_seconds: f64,
    peak_mb: Option<f64>,
    gradient_method: &'a str,
    /// How the gradient keeps to its memory budget; null without one.
    memory_plan: Option<&'a Plan>,
    /// Of the last step: the worst over the flows.
    certificate: Option<Certificate>,
}

#[derive(Clone, Copy, Serialize)]
struct Certificate {
    state_error: f64,
    defect: f64,
    kink: Option<f64>,
    stalled: usize,
    error_estimate: f64,
}

impl Certificate {
    fn of(line: &StepLine) -> Self {
        let StepLine { state_error, defect, kink, stalled, .. } = *line;
        let error_estimate = line.error_estimate();
        Self { state_error, defect, kink, stalled, error_estimate }
    }
}

/// A training session: the trainer, its folder, and what was recorded so far.
pub(super) struct Session {
    trainer: Trainer,
    folder: RunFolder,
    history: History,
    began: Instant,
    /// Seconds of training before this session.
    before: f64,
}

pub fn run(arguments: Arguments) -> Result<Outcome> {
    let mut session = match &arguments.resume {
        Some(run) => Session::resume(run, &arguments)?,
        None => Session::start(&arguments)?,
    };
    crate::say(&session.headline());
    session.train()?;
    let seconds = session.seconds();
    session.load_best()?;
    let waiting = Waiting::new("test");
    let test = session.trainer.test()?;
    drop(waiting);
    session.write_report(test.as_ref().map(|test| (test, seconds)))?;
    session.conclude(test, seconds, arguments.json)?;
    Ok(Outcome::Success)
}

/// What a run begins with.
fn begun(path: &Path, Initialised { depths: [theirs, ours], left_head }: &Initialised) -> String {
    let carried = match theirs == ours {
        true => String::new(),
        false => {
            let [theirs, ours] = [theirs, ours].map(|depths| super::listed(depths, " + "));
            format!(", carried from depth {theirs} to {ours}")
        }
    };
    let head = left_head.map_or(String::new(), |outputs| {
        format!("; its head has {outputs} outputs and is drawn anew")
    });
    format!("begins with {}{carried}{head}", path.display())
}

/// A run at its last checkpoint.
pub(super) struct TakenUp {
    pub(super) trainer: Trainer,
    resumed: Resumed,
}

impl TakenUp {
    /// Takes a run up, on its data or where they lie now, for as many epochs as it had or others.
    pub(super) fn new(
        run: &Path,
        data: Option<&Path>,
        epochs: Option<usize>,
        accept_changed_data: bool,
    ) -> Result<Self> {
        let mut config = config::with_data(run_folder::config(run)?, data, true)?;
        config.train.epochs = epochs.unwrap_or(config.train.epochs);
        let weights = weights_of(run, Some("last"))?;
        let (file, trained, _) = read_weights(&weights)?;
        unedited(run, &config, &trained)?;
        run_folder::data_are_there(&config)?;
        // Before anything is built on them: another table may not even fit the batch.
        let splits = load(&config.data)?;
        let had = identity(&file, &weights)?;
        let parts = Part::ALL.map(|part| (part, part.of(&splits)));
        same_data(had.as_ref(), &config, &splits.schema(), parts, accept_changed_data)?;
        drop(file);
        let mut trainer = Trainer::with_splits(config, splits)?;
        let resumed = trainer.resume_on(&run.join("weights"), ChangedData::Accept)?;
        if !resumed.known {
            crate::say(
                "the run does not say what its data were: that they are the same is not checked",
            );
        }
        Ok(Self { trainer, resumed })
    }
}

impl Session {
    fn start(arguments: &Arguments) -> Result<Self> {
        let file = arguments.config.as_deref();
        let init = arguments.init.as_deref().map(Trained::weights).transpose()?;
        let trained = init.as_ref().map(|init| &init.config);
        let (settings, data) = (&arguments.settings, arguments.data.as_deref());
        let mut config = config::read_with(file, settings, data, trained)?;
        config.train.epochs = arguments.epochs.unwrap_or(config.train.epochs);
        let mut trainer = Trainer::new(config)?;
        if let Some(init) = init {
            if let Some(had) = schema(&init.file, &init.path)? {
                had.check_names(&trainer.splits().schema(), arguments.new_head)?;
            }
            let by = arguments.by.as_deref().map_or(Ok(ProlongBy::default()), super::way)?;
            let how = Initial { by, new_head: arguments.new_head };
            let taken = trainer.initialise(&init.file, &init.config, how);
            let taken = taken.with_context(|| init.path.display().to_string())?;
            crate::say(&begun(&init.path, &taken));
        }
        let name = file.and_then(Path::file_stem).map(|stem| stem.to_string_lossy().into_owned());
        let name = name.unwrap_or_else(|| trainer.splits().name.clone());
        let folder = RunFolder::create(arguments.out.as_deref(), &name, trainer.config())?;
        folder.plan(trainer.plan())?;
        // A run killed before its first checkpoint can be resumed too.
        trainer.save(&folder.weights())?;
        Ok(Self::of(trainer, folder, History::default()))
    }

    fn resume(run: &Path, arguments: &Arguments) -> Result<Self> {
        let Arguments { data, epochs, accept_changed_data, .. } = arguments;
        let TakenUp { trainer, resumed } =
            TakenUp::new(run, data.as_deref(), *epochs, *accept_changed_data)?;
        if let Some((before, [rate, now])) = resumed.epochs {
            let Config { train, .. } = trainer.config();
            crate::say(&format!(
                "epochs {before} → {}: from here on the learning rate is that of a run of {} epochs, now \
                 {now:.1e} instead of {rate:.1e}",
                train.epochs, train.epochs
            ));
        }
        let step = trainer.position().step;
        let (folder, history) = RunFolder::resume(run, trainer.config(), step)?;
        // The number of threads may be another.
        folder.plan(trainer.plan())?;
        Ok(Self::of(trainer, folder, history))
    }

    /// The session of a run that is about to be gone on with.
    pub(super) fn of(trainer: Trainer, folder: RunFolder, history: History) -> Self {
        let before = history.seconds();
        Self { trainer, folder, history, began: Instant::now(), before }
    }

    fn seconds(&self) -> f64 {
        self.before + self.began.elapsed().as_secs_f64()
    }

    fn config(&self) -> &Config {
        self.trainer.config()
    }

    fn headline(&self) -> String {
        let splits = self.trainer.splits();
        format!(
            "{}: {} training, {} validation, {} test samples; {} parameters, depth {}; \
             gradients by {}{}{}\nrun folder {}",
            splits.name,
            splits.train.len(),
            splits.validation.len(),
            splits.test.as_ref().map_or(0, |test| test.len()),
            self.trainer.network().parameters(),
            self.told_depths(),
            self.told_gradients(),
            splits.told.iter().map(|line| format!("\n{line}")).collect::<String>(),
            self.trainer.plan().map_or_else(String::new, |plan| format!("\nmemory plan: {plan}")),
            self.folder.path().display(),
        )
    }

    /// The gradient method; of `auto` what it comes to for each flow, as far as is known.
    fn told_gradients(&self) -> String {
        let method = self.config().gradient.method.clone();
        if method != AUTO {
            return method;
        }
        let mut told: Vec<(String, Vec<usize>)> = Vec::new();
        for (stage, choice) in self.trainer.choices().iter().enumerate() {
            let way = match choice.method {
                Method::Adjoint(Adjoint { tolerance: Some(tolerance), .. }) => format!(
                    "memory-free within {tolerance}, recomputed where the estimate is above"
                ),
                other => format!("by {}", other.name()),
            };
            match told.iter_mut().find(|(known, _)| *known == way) {
                Some((_, stages)) => stages.push(stage),
                None => told.push((way, vec![stage])),
            }
        }
        if let [(way, _)] = &told[..] {
            return format!("{method}: {way}");
        }
        let of = |(way, stages): &(String, Vec<usize>)| {
            format!("stage {} {way}", super::listed(stages, ", "))
        };
        format!("{method}: {}", told.iter().map(of).collect::<Vec<_>>().join("; "))
    }

    /// The depths of the flows, or those that they have one after the other.
    fn told_depths(&self) -> String {
        let refine = &self.config().train.refine;
        if !refine.is_empty() {
            let depths: Vec<usize> = refine.iter().map(|[_, depth]| *depth).collect();
            return super::listed(&depths, " → ");
        }
        let depth = |plan: &StagePlan| match plan.control {
            Some(expansion) => format!("{} (of {expansion})", plan.depth),
            None => plan.depth.to_string(),
        };
        let depths: Vec<String> = self.trainer.network().plans().map(depth).collect();
        depths.join(" + ")
    }

    /// All steps that are left.
    fn train(&mut self) -> Result<()> {
        let epochs = self.config().train.epochs;
        let every = self.config().train.checkpoint_every;
        let total = self.trainer.total_steps();
        let progress = Progress::new(total, self.trainer.position().step, epochs);
        let done_before = self.trainer.position().step;
        let mut epoch = self.epoch_so_far()?;
        let mut depths = self.trainer.position().depths.clone();
        while !self.trainer.finished() {
            let step = self.trainer.step()?;
            if step.depths != depths {
                depths.clone_from(&step.depths);
                self.folder.plan(self.trainer.plan())?;
                progress.say(&format!("epoch {}/{epochs}: depth {}", step.epoch + 1, depths[0]));
            }
            for Mistrust { stage, again } in &step.mistrusted {
                progress.say(&format!(
                    "step {}: {:.0} % of stage {stage} had to be walked again to keep to the tolerance; \
                     from now on its gradients are by checkpoint",
                    step.step,
                    100.0 * again
                ));
            }
            if let Some(Doubt { stage, estimate, instead }) = step.doubt {
                progress.say(&format!(
                    "warning: step {}: the error of the gradient of stage {stage} is about {estimate:.1} \
                     times the gradient, by gradient.method = {:?}; {instead}",
                    step.step,
                    self.config().gradient.method,
                ));
            }
            let line = self.step_line(&step);
            epoch.add(&step.score);
            let steps = (step.step - done_before) as f64;
            let rate = steps * step.score.samples as f64 / self.began.elapsed().as_secs_f64();
            progress.show(&line, rate);
            self.record(Line::Step(line))?;
            if step.epoch_ended {
                let line = self.end_epoch(&step, &epoch)?;
                progress.say(&told(&line, epochs));
                epoch = Score::default();
            } else if every.is_some_and(|every| step.step % every == 0) {
                self.trainer.save(&self.folder.weights())?;
            }
        }
        progress.finish();
        Ok(())
    }

    /// Loss and hits of the steps of an epoch that an earlier session began.
    fn epoch_so_far(&self) -> Result<Score> {
        let epoch = self.trainer.position().step / self.trainer.steps_per_epoch();
        let mut sum = Score::default();
        let batch = self.config().train.batch();
        run_folder::each_line(self.folder.path(), |line| {
            if let Line::Step(line) = line
                && line.epoch == epoch
            {
                let hits = (line.accuracy.unwrap_or(0.0) * batch as f64).round() as usize;
                sum.add(&Score { loss: line.loss, hits, samples: batch });
            }
        })?;
        Ok(sum)
    }

    fn step_line(&self, step: &StepReport) -> StepLine {
        let worst =
            |value: fn(&deeplimit::Certificate) -> f64| metrics::worst(&step.certificates, value);
        let units = step.certificates.iter().map(|c| c.cost_units).sum::<f64>();
        let kinks = step.certificates.iter().filter_map(|c| c.exposure());
        StepLine {
            epoch: step.epoch,
            step: step.step,
            depths: step.depths.clone(),
            loss: step.score.loss,
            penalty: step.penalty,
            accuracy: self.accuracy(&step.score),
            rate: step.rate,
            gradient_norm: step.gradient_norm,
            state_error: worst(deeplimit::Certificate::largest_state_error),
            defect: worst(|c| c.defect),
            kink: kinks.reduce(deeplimit::gradient::larger),
            stalled: step.certificates.iter().map(|c| c.stalled).sum(),
            again: metrics::again(&step.certificates),
            cost_units: units / step.certificates.len() as f64,
            tape_bytes: step.tape_bytes,
            seconds: self.seconds(),
            peak_mb: peak_mb(),
        }
    }

    /// Hits over samples; `None` in regression.
    fn accuracy(&self, score: &Score) -> Option<f64> {
        self.trainer.splits().train.classes().map(|_| score.hits as f64 / score.samples as f64)
    }

    /// Validates, remembers the best weights, and writes the checkpoint and the report.
    fn end_epoch(&mut self, step: &StepReport, epoch: &Score) -> Result<EpochLine> {
        let validation = self.trainer.validate()?;
        if let Some(score) = &validation
            && self.trainer.is_best(score)
        {
            self.trainer.save_best(&self.folder.weights())?;
        }
        let line = EpochLine {
            epoch: step.epoch,
            step: step.step,
            depths: step.depths.clone(),
            train_loss: epoch.loss,
            penalty: step.penalty,
            train_accuracy: self.accuracy(epoch),
            validation_loss: validation.map(|score| score.loss),
            validation_accuracy: validation.and_then(|score| self.accuracy(&score)),
            rate: step.rate,
            seconds: self.seconds(),
            peak_mb: peak_mb(),
        };
        self.record(Line::Epoch(line.clone()))?;
        self.trainer.save(&self.folder.weights())?;
        self.write_report(None)?;
        Ok(line)
    }

    fn record(&mut self, line: Line) -> Result<()> {
        self.folder.record(&line)?;
        self.history.push(line);
        Ok(())
    }

    /// Takes the weights of the best validation, where there was one.
    fn load_best(&mut self) -> Result<()> {
        if self.trainer.position().best_validation.is_some() {
            let path = self.folder.weights().join("best.safetensors");
            let (file, _, position) = read_weights(&path)?;
            self.trainer.load_weights(&path, &file, &position)?;
        }
        Ok(())
    }

    /// The page; with the test's result and the seconds of training at the end.
    pub(super) fn write_report(&self, end: Option<(&Score, f64)>) -> Result<()> {
        let config = toml::to_string(self.config()).context("the configuration is plain data")?;
        let name = self.folder.path().file_name().unwrap_or_default().to_string_lossy();
        let mut summary = vec![
            ("data".to_owned(), self.trainer.splits().name.clone()),
            ("parameters".to_owned(), self.trainer.network().parameters().to_string()),
            ("depth".to_owned(), self.told_depths()),
            ("gradient method".to_owned(), self.config().gradient.method.clone()),
        ];
        if let Some(plan) = self.trainer.plan() {
            summary.push(("memory plan".to_owned(), plan.to_string()));
        }
        if let Some((test, seconds)) = end {
            if let Some(accuracy) = self.accuracy(test) {
                summary.push(("test accuracy".to_owned(), format!("{:.2} %", 100.0 * accuracy)));
            }
            summary.push(("test loss".to_owned(), format!("{:.4}", test.loss)));
            summary.push(("training time".to_owned(), format!("{seconds:.1} s")));
        }
        let page = report::render(&report::Report {
            title: &name,
            summary,
            config: &config,
            history: &self.history,
            weights: &weight_paths(self.trainer.network()),
        })?;
        Ok(write_whole(&self.folder.path().join("report.html"), page.as_bytes())?)
    }

    fn conclude(&self, test: Option<Score>, seconds: f64, json: bool) -> Result<()> {
        let run = self.folder.path();
        let summary = Summary {
            run,
            epochs: self.config().train.epochs,
            test_accuracy: test.as_ref().and_then(|score| self.accuracy(score)),
            test_loss: test.as_ref().map(|score| score.loss),
            train_seconds: seconds,
            peak_mb: peak_mb(),
            gradient_method: &self.config().gradient.method,
            memory_plan: self.trainer.plan(),
            certificate: self.history.last_step().map(Certificate::of),
        };
        if json {
            return super::print(&serde_json::to_string(&summary)?);
        }
        let mut text = String::new();
        if let Some(accuracy) = summary.test_accuracy {
            text += &format!("test accuracy {:.2} %, ", 100.0 * accuracy);
        }
        if let Some(loss) = summary.test_loss {
            text += &format!("test loss {loss:.4}, ");
        }
        text += &format!("after {seconds:.1} s of training\n");
        if let Some(certificate) = summary.certificate {
            let estimate = certificate.error_estimate;
            text += &if estimate == 0.0 {
                "gradients are exact\n".to_owned()
            } else {
                format!("certificate of the last gradient: relative error about {estimate:.1e}\n")
            };
        }
        let counts = self.history.counts();
        let (again, steps) = (counts.again_share(), counts.again);
        if again > 0.0 {
            text += &format!(
                "{:.1} % of all layers were walked again with stored steps, in {steps} steps, to stay \
                 within gradient.tolerance\n",
                100.0 * again
            );
        }
        let stalled = counts.stalled_layers;
        if stalled > 0 {
            text += &format!(
                "in {stalled} layers, over all steps, the reconstruction did not contract (h L ≥ 1): \
                 use gradient.method=checkpoint, or more depth\n"
            );
        }
        text += &format!("run folder {0}; its page is {0}/report.html\n", run.display());
        text += &self.next(&word(run));
        super::print(&text)
    }

    /// What a user may want to do next with a run.
    fn next(&self, run: &str) -> String {
        let mut lines = vec![
            (format!("deeplimit evaluate {run}"), String::new()),
            (
                format!("deeplimit diagnose {run}"),
                "is it an ODE, and which gradient method suits it?".to_owned(),
            ),
        ];
        lines.extend(self.deeper(run));
        lines.push((
            "deeplimit gradcheck".to_owned(),
            "error and cost of every gradient method".to_owned(),
        ));
        let width = lines.iter().map(|(command, _)| command.chars().count()).max().unwrap_or(0);
        let line = |(command, what): &(String, String)| {
            format!("  {command:width$}    {what}").trim_end().to_owned()
        };
        format!("try next\n{}", lines.iter().map(line).collect::<Vec<_>>().join("\n"))
    }

    /// The run at twice the depth, where that is one number for all flows, and what it takes.
    fn deeper(&self, run: &str) -> Option<(String, String)> {
        let stages: Vec<&StagePlan> = self.trainer.network().plans().collect();
        let depth = stages.first()?.depth;
        if stages.iter().any(|stage| stage.depth != depth || stage.rectified) {
            return None;
        }
        let Config { train, .. } = self.config();
        let (twice, epochs) = (2 * depth, train.epochs + train.epochs.div_ceil(2));
        let command = format!("deeplimit refine {run} --depth {twice} --epochs {epochs}");
        let weights = match stages.iter().all(|stage| stage.control.is_some()) {
            true => "the same weights",
            false => "about twice the weights",
        };
        Some((command, format!("the run twice as deep, with {weights}, to be gone on with")))
    }
}

/// One line about an epoch.
fn told(line: &EpochLine, epochs: usize) -> String {
    let mut text = format!("epoch {}/{epochs}: loss {:.4}", line.epoch + 1, line.train_loss);
    let percent = |accuracy: f64| format!("{:.2} %", 100.0 * accuracy);
    if let Some(penalty) = line.penalty {
        text += &format!(" + penalty {penalty:.4}");
    }
    if let Some(accuracy) = line.train_accuracy {
        text += &format!(", accuracy {}", percent(accuracy));
    }
    if let Some(loss) = line.validation_loss {
        text += &format!("; validation loss {loss:.4}");
    }
    if let Some(accuracy) = line.validation_accuracy {
        text += &format!(", accuracy {}", percent(accuracy));
    }
    if let Some(peak) = line.peak_mb {
        text += &format!("; {:.0} s, {peak:.0} MB", line.seconds);
    }
    text
}

/// The weights of a run: those asked for, or the best, or the last where nothing was held out to
/// tell which are best.
pub fn weights_of(run: &Path, name: Option<&str>) -> Result<PathBuf> {
    let path = |name: &str| run.join("weights").join(format!("{name}.safetensors"));
    let names = name.map_or(vec!["best", "last"], |name| vec![name]);
    match names.iter().map(|name| path(name)).find(|path| path.is_file()) {
        Some(path) => Ok(path),
        None => bail!("{}: the run has no such weights", path(names[0]).display()),
    }
}
