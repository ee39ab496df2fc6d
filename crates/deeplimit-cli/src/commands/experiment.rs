//! `deeplimit experiment`.

use crate::Outcome;
use crate::experiment::{
    self, AdjointOrder, Approximation, DepthSweep, Estimate, Exponent, Failure, Finetune, Gamma,
    Images, ImagesPart, LargeDepth, Linear, MeanOde, Memory, Paper, PaperSweep, Regularisation,
    Repeat, Scaling, Size,
};
use anyhow::Result;
use std::path::PathBuf;

#[derive(clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    name: Name,
}

#[derive(clap::Subcommand)]
enum Name {
    /// The distance between networks and their ODEs, beside its bounds.
    Approximation {
        #[command(flatten)]
        repeat: Repeat,
        #[command(flatten)]
        common: Common,
    },
    /// Gradient descent on deep linear residual networks, over depth.
    Linear {
        #[command(flatten)]
        repeat: Repeat,
        #[command(flatten)]
        common: Common,
    },
    /// Errors of every gradient method over depth, beside the orders of the theory.
    AdjointOrder {
        #[command(flatten)]
        repeat: Repeat,
        #[command(flatten)]
        common: Common,
    },
    /// How often the error estimate misses, and how often it is a false alarm, over random networks.
    Estimate {
        #[command(flatten)]
        repeat: Repeat,
        #[command(flatten)]
        common: Common,
    },
    /// Which power of the depth networks want, as they are drawn and when training chooses it.
    Exponent {
        #[command(flatten)]
        repeat: Repeat,
        #[command(flatten)]
        common: Common,
    },
    /// Networks on which memory-free gradients fail, and what their certificates say.
    Failure {
        #[command(flatten)]
        repeat: Repeat,
        #[command(flatten)]
        common: Common,
    },
    /// Peak memory and time of one gradient against depth, for every gradient method.
    Memory {
        #[command(flatten)]
        common: Common,
    },
    /// CIFAR-10 over depths, schemes and gradient methods; with --paper as in the paper.
    DepthSweep {
        /// Folder of CIFAR-10's binary batches.
        #[arg(long, value_name = "DIR")]
        data: PathBuf,
        /// The network and the training of Sander, Ablin, Peyré (2022, figure 4); takes days.
        #[arg(long)]
        paper: bool,
        /// With --paper: how many seeds to train with, from --seed on [default: 4; with --quick 1].
        #[arg(long, requires = "paper")]
        seeds: Option<u64>,
        /// Passes over the training images [default: 5, with --paper 90; with --quick 2].
        #[arg(long)]
        epochs: Option<usize>,
        /// Only these depths; may be repeated [default: 2 to 64, with --paper to 32; with --quick 2 to 8].
        #[arg(long = "depth", value_name = "DEPTH")]
        depths: Vec<usize>,
        /// Only these gradient methods; may be repeated [default: all].
        #[arg(long = "method", value_name = "METHOD")]
        methods: Vec<String>,
        #[command(flatten)]
        common: Common,
    },
    /// A pretrained ResNet as flows: fine-tuned by every gradient method, and made deeper.
    Finetune {
        /// A checkpoint of PyTorch or an imported file, of a ResNet for CIFAR-10.
        #[arg(long, value_name = "FILE")]
        weights: PathBuf,
        /// Folder of CIFAR-10's binary batches.
        #[arg(long, value_name = "DIR")]
        data: PathBuf,
        /// Folder of other images, such as Fashion-MNIST's, to train the flows on with a new head.
        #[arg(long, value_name = "DIR")]
        transfer: Option<PathBuf>,
        #[command(flatten)]
        common: Common,
    },
    /// Minimisers with a penalty of differences over depth, beside their limit, and without it.
    Gamma {
        /// A table (FILE.csv or .csv.gz, class in the last column) in place of the built-in digits.
        #[arg(long, value_name = "FILE")]
        data: Option<PathBuf>,
        #[command(flatten)]
        repeat: Repeat,
        #[command(flatten)]
        common: Common,
    },
    /// The adjoint method on CIFAR-10: what it recovers at the start, gradients of one network, trainings.
    Images {
        /// Folder of CIFAR-10's binary batches.
        #[arg(long, value_name = "DIR")]
        data: PathBuf,
        /// Only this part; may be repeated [default: all].
        #[arg(long = "part", value_name = "PART")]
        parts: Vec<ImagesPart>,
        #[command(flatten)]
        repeat: Repeat,
        #[command(flatten)]
        common: Common,
    },
    /// Two-matrix residual networks trained at growing depth, beside one of 2^14 layers.
    LargeDepth {
        #[command(flatten)]
        repeat: Repeat,
        #[command(flatten)]
        common: Common,
    },
    /// Networks of independent layers: two draws, and the mean ODE, over depth and width.
    MeanOde {
        #[command(flatten)]
        repeat: Repeat,
        #[command(flatten)]
        common: Common,
    },
    /// What gradient descent makes of weights over depth: their limit, the rate, the smoothness.
    Regularisation {
        #[command(flatten)]
        repeat: Repeat,
        #[command(flatten)]
        common: Common,
    },
    /// Which limit trained networks have as their depth grows, with and without the H1 penalty.
    Scaling {
        #[command(flatten)]
        repeat: Repeat,
        #[command(flatten)]
        common: Common,
    },
}

#[derive(clap::Args)]
struct Common {
    /// Smaller, in under a minute (gamma: one and a half, images: two and a half, finetune: three, depth-sweep: four).
    #[arg(long)]
    quick: bool,
    /// Decides all random numbers.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Folder of the results; one that holds a part of them is gone on with
    /// [default: experiments/NAME, with --quick experiments/NAME-quick].
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

impl Common {
    fn size(&self) -> Size {
        if self.quick { Size::Quick } else { Size::Full }
    }

    fn run<E: experiment::Experiment>(&self, experiment: &E) -> Result<Outcome> {
        let summary = experiment::run(experiment, self.size(), self.seed, self.out.as_deref())?;
        self.tell(&summary)
    }

    /// An experiment for every seed.
    fn repeated<E: experiment::Experiment>(
        &self,
        repeat: &Repeat,
        of: impl Fn(Size, u64) -> E,
    ) -> Result<Outcome> {
        self.repeated_if_read(repeat, |size, seed| Ok(of(size, seed)))
    }

    /// The seeds of an experiment that judges over several: as many as are asked for, else five, or two.
    fn seeds(&self, repeat: &Repeat) -> experiment::Seeds {
        repeat.from(self.seed, self.size().pick(2, 5))
    }

    /// The same of one that reads files.
    fn repeated_if_read<E: experiment::Experiment>(
        &self,
        repeat: &Repeat,
        of: impl Fn(Size, u64) -> Result<E>,
    ) -> Result<Outcome> {
        let all = self.seeds(repeat).all().map(|seed| Ok((seed, of(self.size(), seed)?)));
        let all = all.collect::<Result<Vec<(u64, E)>>>()?;
        let summary = experiment::run_over_seeds(&all, self.size(), self.out.as_deref())?;
        self.tell(&summary)
    }

    fn tell(&self, summary: &experiment::Summary) -> Result<Outcome> {
        let text = match self.json {
            true => serde_json::to_string(summary)?,
            false => summary.to_string(),
        };
        super::print(&text)?;
        Ok(if summary.holds { Outcome::Success } else { Outcome::CheckFailed })
    }
}

pub fn run(arguments: &Arguments) -> Result<Outcome> {
    match &arguments.name {
        Name::Approximation { repeat, common } => common.repeated(repeat, Approximation::new),
        Name::Linear { repeat, common } => common.repeated(repeat, Linear::new),
        Name::AdjointOrder { repeat, common } => common.repeated(repeat, AdjointOrder::new),
        Name::Estimate { repeat, common } => {
            common.run(&Estimate::new(common.size(), common.seeds(repeat)))
        }
        Name::Exponent { repeat, common } => common.repeated(repeat, Exponent::new),
        Name::Failure { repeat, common } => {
            common.run(&Failure::new(common.size(), common.seeds(repeat)))
        }
        Name::DepthSweep { data, paper: true, seeds, epochs, depths, methods, common } => {
            let (data, epochs, seeds) = (data.clone(), *epochs, *seeds);
            let (size, seed) = (common.size(), common.seed);
            let asked = PaperSweep { data, size, epochs, depths, methods, seed, seeds };
            common.run(&Paper::new(asked)?)
        }
        Name::DepthSweep { data, epochs, depths, methods, common, .. } => {
            let (size, seed) = (common.size(), common.seed);
            let sweep = DepthSweep::new(data.clone(), size, *epochs, depths, methods, seed)?;
            common.run(&sweep)
        }
        Name::Finetune { weights, data, transfer, common } => {
            let (size, seed, transfer) = (common.size(), common.seed, transfer.as_deref());
            common.run(&Finetune::new(weights, data, transfer, size, seed)?)
        }
        Name::Gamma { data, repeat, common } => {
            let size = common.size();
            common.run(&Gamma::new(size, data.as_deref(), common.seeds(repeat))?)
        }
        Name::Images { data, parts, repeat, common } => {
            let of = |size, seed| Images::new(data.clone(), size, parts, seed);
            common.repeated_if_read(repeat, of)
        }
        Name::LargeDepth { repeat, common } => {
            common.run(&LargeDepth::new(common.size(), common.seeds(repeat)))
        }
        Name::MeanOde { repeat, common } => common.repeated(repeat, MeanOde::new),
        Name::Memory { common } => common.run(&Memory::new(common.size(), common.seed)),
        Name::Regularisation { repeat, common } => common.repeated(repeat, Regularisation::new),
        Name::Scaling { repeat, common } => {
            common.run(&Scaling::new(common.size(), repeat.from(common.seed, 5)))
        }
    }
}
