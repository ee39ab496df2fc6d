//! Networks that were trained elsewhere: which is meant, and what it does on data.

use anyhow::{Context, Result, anyhow, bail};
use deeplimit_nn::data::{
    Normalisation, Normalise, Options, Part, Samples, Schema, Scored, Splits, batch, chunks,
    in_order, load, load_scored,
};
use deeplimit_nn::network::{Evaluator, Score};
use deeplimit_nn::pretrained::{Colours, Inputs, Pretrained, Stages, is_of_a_run};
use serde::Serialize;
use std::fmt;
use std::num::NonZeroUsize;
use std::path::Path;

/// Which network of a file is meant, and what its tensors do not tell.
#[derive(clap::Args, Clone, Debug, Default)]
pub struct Choice {
    /// Of several networks in the file, that which lies under a name, such as model_ema.
    #[arg(long, value_name = "NAME")]
    pub key: Option<String>,
    /// Mean that is taken off the inputs' colours, which are 0 … 1: three numbers, or imagenet, cifar10,
    /// cifar10-images, half or none; a name is that of the deviation, too [default: as the file says, else
    /// imagenet].
    #[arg(long, value_name = "R,G,B|NAME", allow_hyphen_values = true)]
    pub mean: Option<Colours>,
    /// Standard deviation that the inputs' colours are divided by, likewise.
    #[arg(long, value_name = "R,G,B|NAME", allow_hyphen_values = true)]
    pub std: Option<Colours>,
    /// In bottleneck blocks that change the size the first 1×1 convolution strides, as in He et al.'s own networks
    /// (v1), not the 3×3 one, as in torchvision's (v1.5).
    #[arg(long)]
    pub stride_in_1x1: bool,
    /// Whether the shortcuts of pre-activation blocks take x itself, or relu(norm(x)) [default: x where they are
    /// called downsample, relu(norm(x)) where they are called shortcut].
    #[arg(long, value_name = "BOOL")]
    pub raw_shortcuts: Option<bool>,
}

impl Choice {
    /// The first option that is given.
    pub fn given(&self) -> Option<&'static str> {
        let Self { key, mean, std, stride_in_1x1, raw_shortcuts } = self;
        let all = [
            ("--key", key.is_some()),
            ("--mean", mean.is_some()),
            ("--std", std.is_some()),
            ("--stride-in-1x1", *stride_in_1x1),
            ("--raw-shortcuts", raw_shortcuts.is_some()),
        ];
        all.into_iter().find(|(_, given)| *given).map(|(option, _)| option)
    }
}

/// Whether a path is a weights file of a run.
pub fn is_own(path: &Path) -> bool {
    path.is_file() && is_of_a_run(path)
}

/// Whether a path is a file of anything else, such as a checkpoint or what `deeplimit import` wrote.
pub fn is_here(path: &Path) -> bool {
    path.is_file() && !is_of_a_run(path)
}

/// Reads an imported network, or a checkpoint.
pub fn read(path: &Path) -> Result<Pretrained> {
    read_as(path, &Choice::default())
}

/// The same, of which something else is known.
pub fn read_as(path: &Path, choice: &Choice) -> Result<Pretrained> {
    let place = || path.display().to_string();
    let inputs = Inputs::given(choice.mean, choice.std).map_err(|error| anyhow!(error))?;
    let mut network = Pretrained::read_key(path, choice.key.as_deref()).with_context(place)?;
    if let Some(inputs) = inputs {
        network = network.with_inputs(inputs);
    }
    if choice.stride_in_1x1 {
        network = network.with_stride_in_1x1().with_context(place)?;
    }
    if let Some(raw) = choice.raw_shortcuts {
        network = network.with_raw_shortcuts(raw).with_context(place)?;
    }
    Ok(network)
}

/// How the inputs of a network are normalised.
#[derive(Clone, Debug, Serialize)]
pub struct Normalised {
    /// Null of none of the usual ones.
    pub name: Option<&'static str>,
    pub mean: [f64; 3],
    pub std: [f64; 3],
    /// Whether the file does not tell.
    pub assumed: bool,
    #[serde(skip)]
    pub told: String,
}

impl Normalised {
    pub fn of(network: &Pretrained) -> Self {
        let inputs = network.inputs();
        Self {
            name: inputs.name(),
            mean: inputs.mean,
            std: inputs.std,
            assumed: !network.knows_inputs(),
            told: inputs.to_string(),
        }
    }
}

/// The data set in a folder, normalised as the network expects it.
pub fn data(network: &Pretrained, folder: &Path) -> Result<Splits> {
    let splits = load(&options(network, folder)?)?;
    check(network, folder, &Schema::of(&splits.train))?;
    Ok(splits)
}

/// What of it a network is scored on.
pub fn scored(network: &Pretrained, folder: &Path) -> Result<Scored> {
    let scored = load_scored(&options(network, folder)?)?;
    check(network, folder, &Schema::of(&scored.samples))?;
    Ok(scored)
}

fn options(network: &Pretrained, folder: &Path) -> Result<Options> {
    let normalise = Normalise::Given(network.inputs().normalisation());
    Ok(Options { normalise, ..Options::at(folder)? })
}

/// Checks that images and classes are such as the network has.
fn check(network: &Pretrained, folder: &Path, data: &Schema) -> Result<()> {
    let (folder, architecture) = (folder.display(), network.architecture());
    if let Some(found) = data.shape
        && found.channels != architecture.input().channels
    {
        bail!("{folder}: samples of {found}, but {architecture} takes images in colour");
    }
    let (classes, outputs) = (data.classes.len(), architecture.classes);
    if classes != outputs {
        let found = if classes == 0 { "no".to_owned() } else { classes.to_string() };
        bail!("{folder}: {found} classes, but the network has {outputs} outputs");
    }
    Ok(())
}

/// The test samples, or the validation samples where there are none.
pub fn part(splits: &Splits) -> Option<(Part, &Samples)> {
    match &splits.test {
        Some(test) => Some((Part::Test, test)),
        None => {
            Some((Part::Validation, &splits.validation)).filter(|(_, samples)| !samples.is_empty())
        }
    }
}

/// What a part is to a network that was trained elsewhere: what was held out of the training files here, it may
/// have been trained on.
pub fn part_elsewhere(part: Part, held_out: bool) -> Part {
    if held_out { Part::HeldOut } else { part }
}

/// What must be said of numbers of a network that was trained elsewhere, a line each.
pub fn notes(part: Option<Part>, assumed: &[String]) -> String {
    let known = "held-out samples are some of the training files, as the data set has no test files: a network \
                 trained elsewhere may have been trained on them\n";
    let known = if part == Some(Part::HeldOut) { known } else { "" };
    assumed.iter().fold(known.to_owned(), |text, assumed| text + &format!("assumed: {assumed}\n"))
}

/// Score of samples, and the outputs of each in their order.
pub fn outputs(
    evaluator: &Evaluator,
    samples: &Samples,
    normalisation: &Normalisation,
) -> Result<(Score, Vec<Vec<f32>>)> {
    let (mut total, mut all) = (Score::default(), Vec::new());
    for batch in in_order(samples, normalisation) {
        let batch = batch?;
        let reached = evaluator.reach(&batch);
        total.add(&reached.score(&batch)?);
        all.extend((0..reached.outputs.rows()).map(|row| reached.outputs.row(row)));
    }
    Ok((total, all))
}

/// Samples on which ways to read a network are compared, the first of those that it is scored on.
const TRIED: usize = 1000;
/// Samples at a time.
const AT_ONCE: NonZeroUsize = NonZeroUsize::new(250).expect("a number above 0");

/// A way to read a network, on data.
#[derive(Clone, Debug, Serialize)]
pub struct Trial {
    /// Null of none of the usual normalisations.
    name: Option<&'static str>,
    mean: [f64; 3],
    std: [f64; 3],
    stride_in_1x1: bool,
    /// In 0 … 1; null where an output is not finite.
    accuracy: Option<f64>,
    loss: Option<f64>,
    pub samples: usize,
    pub part: Part,
    #[serde(skip)]
    inputs: Inputs,
    /// Whether the network has blocks that stride.
    #[serde(skip)]
    bottleneck: bool,
}

impl Trial {
    /// The network that is read so.
    pub fn network(&self, network: &Pretrained) -> Result<Pretrained> {
        let network = network.clone().with_inputs(self.inputs);
        Ok(if self.stride_in_1x1 { network.with_stride_in_1x1()? } else { network })
    }

    /// Whether another normalisation is more accurate than the one that is kept.
    pub fn is_better_than(&self, kept: &Normalised) -> bool {
        (self.mean, self.std) != (kept.mean, kept.std)
    }

    /// What is read how.
    pub fn told(&self) -> String {
        let stride = match (self.bottleneck, self.stride_in_1x1) {
            (false, _) => "",
            (true, false) => ", 3×3 windows stride",
            (true, true) => ", 1×1 windows stride",
        };
        format!("{}{stride}", self.inputs)
    }
}

impl fmt::Display for Trial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.accuracy, self.loss) {
            (Some(accuracy), Some(loss)) => {
                write!(f, "accuracy {:6.2} %, loss {loss:8.4}", 100.0 * accuracy)?;
            }
            _ => write!(f, "{:31}", "outputs that are not finite")?,
        }
        write!(f, "  {}", self.told())
    }
}

/// Tries the usual normalisations, and both ways to stride where no way is given; the best first.
pub fn trials(network: &Pretrained, choice: &Choice, folder: &Path) -> Result<Vec<Trial>> {
    let Scored { part, held_out, samples, .. } = scored(network, folder)?;
    let part = part_elsewhere(part, held_out);
    let order: Vec<u32> = (0..samples.len().min(TRIED) as u32).collect();
    let own = network.knows_inputs().then(|| network.inputs());
    let usual = Inputs::usual().filter(|usual| Some(*usual) != own);
    let ways: Vec<Inputs> = own.into_iter().chain(usual).collect();
    let architecture = network.architecture();
    let told = choice.stride_in_1x1 || architecture.stride_in_1x1;
    let strides: &[bool] = match (architecture.bottleneck, told) {
        (_, true) => &[true],
        (false, false) => &[false],
        (true, false) => &[false, true],
    };
    let mut trials = Vec::new();
    for stride_in_1x1 in strides {
        let mut network = network.clone();
        if *stride_in_1x1 {
            network = network.with_stride_in_1x1()?;
        }
        let evaluator = network.converted(samples.shape(), &Stages::none())?.evaluator();
        for inputs in &ways {
            let normalisation = inputs.normalisation();
            let mut score = Some(Score::default());
            for indices in chunks(&order, AT_ONCE, false) {
                let batch = batch(&samples, indices, &normalisation, None)?;
                let part = evaluator.reach(&batch).score(&batch).ok();
                score = score.zip(part).map(|(mut all, part)| {
                    all.add(&part);
                    all
                });
            }
            trials.push(Trial {
                name: inputs.name(),
                mean: inputs.mean,
                std: inputs.std,
                stride_in_1x1: *stride_in_1x1,
                accuracy: score.map(|score| score.hits as f64 / score.samples as f64),
                loss: score.map(|score| score.loss),
                samples: order.len(),
                part,
                inputs: *inputs,
                bottleneck: architecture.bottleneck,
            });
        }
    }
    let rank = |trial: &Trial| {
        let worst = f64::NEG_INFINITY;
        (trial.accuracy.unwrap_or(worst), trial.loss.map_or(worst, |loss| -loss))
    };
    trials.sort_by(|a, b| {
        let ([a, b], [c, d]) = ([rank(b).0, rank(b).1], [rank(a).0, rank(a).1]);
        a.total_cmp(&c).then(b.total_cmp(&d))
    });
    Ok(trials)
}
