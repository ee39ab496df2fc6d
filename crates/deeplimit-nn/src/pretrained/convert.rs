//! From a residual network to flows.
//!
//! A block of He, Zhang, Ren, Sun (2015) has relu *after* the sum, x ← relu(x + F(x)), which loses what a
//! reconstruction needs. The flow is x ← x + h f(relu(x)) with h f = F: the stream keeps its negative parts,
//! and the weights are the same, but for the last normalisation's scale and shift, which are N times as
//! large because h = 1/N. A stage that is `rectified` has relu after every step, and is that of the original.

use super::{Architecture, Family, Pretrained, Shortcuts, Stages};
use crate::data::{Normalise, Options, Schema, Shape, Source};
use crate::network::{
    FieldName, HeadConfig, Network, NetworkConfig, NetworkError, Outputs, Shortcut, StageConfig,
    TransitionConfig, WeightsError, WeightsFile,
};
use crate::train::{Config, Position, SCHEMA};
use deeplimit::field::Order;
use deeplimit::kernel::Activation;

/// A network that cannot become flows.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConvertError {
    /// A stage has one block, which changes the shape.
    #[error(
        "stage {stage} of {architecture} has no block that keeps the shape, and so nothing to make a \
         flow of"
    )]
    NoFlow {
        /// Which one, from 1 as in PyTorch's names.
        stage: usize,
        /// The network.
        architecture: Architecture,
    },
    /// A stage is asked for that is not there.
    #[error("{architecture} has stages 1 to {}, but no stage {stage}", architecture.blocks.len())]
    NoStage {
        /// Which one.
        stage: usize,
        /// The network.
        architecture: Architecture,
    },
    /// The images do not fit.
    #[error(transparent)]
    Network(#[from] NetworkError),
    /// The weights do not fit; they were checked before.
    #[error(transparent)]
    Weights(#[from] WeightsError),
}

impl Architecture {
    /// The network of flows: its steps are the blocks that keep the shape, its transitions all others. In
    /// stages that are not to become flows relu stays behind every step.
    ///
    /// # Errors
    /// If a stage has no such block, or one is named that is not there.
    pub fn flows(&self, flows: &Stages) -> Result<NetworkConfig, ConvertError> {
        if let Some(stage) = flows.beyond(self.blocks.len()) {
            return Err(ConvertError::NoStage { stage, architecture: self.clone() });
        }
        let shortcut = match self.shortcuts {
            Shortcuts::Pad => Shortcut::Pad,
            Shortcuts::Downsample | Shortcuts::Shortcut => Shortcut::Project,
        };
        let order = if self.bottleneck { Order::Bottleneck } else { Order::Pre };
        let stage = |index: usize| {
            let (channels, hidden) = (self.widths()[index], self.hidden()[index]);
            let block = TransitionConfig::Block {
                channels,
                hidden: Some(hidden),
                stride: self.stride(index),
                bottleneck: self.bottleneck,
                stride_in_1x1: self.stride_in_1x1,
                shortcut,
            };
            let kernel = self.window();
            let widens = self.reshapes(0);
            let stem = TransitionConfig::Stem {
                channels: self.stem,
                kernel,
                stride: if self.family == Family::Cifar { 1 } else { 2 },
                padding: kernel / 2,
                relu: false,
                pool: self.pool,
                widen: widens.then_some(channels),
                hidden: (widens && hidden != self.stem).then_some(hidden),
                // Without a block these are the defaults, which a configuration need not name.
                bottleneck: self.bottleneck || !widens,
                shortcut: if widens { shortcut } else { Shortcut::Project },
            };
            let depth = self.blocks[index] - usize::from(self.reshapes(index));
            if depth == 0 {
                return Err(ConvertError::NoFlow { stage: index + 1, architecture: self.clone() });
            }
            Ok(StageConfig {
                field: FieldName::ConvBn(order),
                hidden: Some(hidden),
                activation: Some(Activation::Relu),
                depth,
                rectified: !flows.has(index + 1),
                transition: if index == 0 { stem } else { block },
                ..StageConfig::default()
            })
        };
        Ok(NetworkConfig {
            stage: (0..self.blocks.len()).map(stage).collect::<Result<_, _>>()?,
            head: HeadConfig {
                pool: true,
                activation: Some(Activation::Relu),
                ..HeadConfig::default()
            },
        })
    }

    /// The inputs that the network was made for.
    pub fn input(&self) -> Shape {
        match self.family {
            Family::Cifar => Shape::image(3, 32, 32),
            Family::Imagenet => Shape::image(3, 224, 224),
        }
    }
}

/// Where a network's array comes from.
enum Origin {
    /// A convolution, `[outputs, inputs, side, side]`.
    Weight(String),
    /// Scale and shift, mean and variance of a normalisation.
    Norm(String),
}

impl Pretrained {
    /// The network of flows with these weights, for images of a shape; of no flows it is the original.
    ///
    /// # Errors
    /// If a stage has no block that keeps the shape, one is named that is not there, or the images do not
    /// fit.
    pub fn converted(&self, input: Shape, flows: &Stages) -> Result<Network, ConvertError> {
        let architecture = self.architecture();
        let outputs = Outputs::Classes(architecture.classes);
        let plan = architecture.flows(flows)?.check(input, outputs)?;
        let network = Network::new(&plan, 0);
        let file = WeightsFile::of(&network).filled(|name| self.converted_values(name));
        Ok(file.load_into(network)?)
    }

    /// A weights file of the converted network, as of a run on CIFAR-10 that is about to begin.
    ///
    /// # Errors
    /// As [`converted`](Self::converted).
    pub fn converted_file(&self, flows: &Stages) -> Result<WeightsFile, ConvertError> {
        let architecture = self.architecture();
        let network = self.converted(architecture.input(), flows)?;
        let normalisation = self.inputs().normalisation();
        let config = Config {
            network: architecture.flows(flows)?,
            data: Options {
                source: Source::Cifar10,
                normalise: Normalise::Given(normalisation.clone()),
                ..Options::default()
            },
            ..Config::default()
        };
        let position = Position { depths: network.depths(), ..Position::default() };
        let mut file = WeightsFile::of(&network);
        let mut entry = |key: &str, text: String| file.metadata.insert(key.to_owned(), text);
        entry("config", toml::to_string(&config).expect("a configuration is plain data"));
        entry("position", serde_json::to_string(&position).expect("a position is plain data"));
        let schema = Schema { shape: Some(self.architecture().input()), ..Schema::default() };
        entry(SCHEMA, serde_json::to_string(&schema).expect("a schema is plain data"));
        let normalisation = serde_json::to_string(&normalisation);
        entry("normalisation", normalisation.expect("a normalisation is plain data"));
        Ok(file)
    }

    /// The blocks of a stage that are steps of its flow.
    fn steps(&self, stage: usize) -> std::ops::Range<usize> {
        let architecture = self.architecture();
        usize::from(architecture.reshapes(stage))..architecture.blocks[stage]
    }

    /// The numbers of an array of the network of flows.
    fn converted_values(&self, name: &str) -> Vec<f32> {
        let head = self.architecture().head.name();
        let parts: Vec<&str> = name.split('.').collect();
        match parts[..] {
            ["head", "linear", "bias"] => self.values(&format!("{head}.bias")).to_vec(),
            // PyTorch keeps [outputs, inputs], Burn [inputs, outputs].
            ["head", "linear", "weight"] => {
                let weight = self.values(&format!("{head}.weight"));
                let outputs = self.architecture().classes;
                let inputs = weight.len() / outputs;
                (0..weight.len()).map(|i| weight[i % outputs * inputs + i / outputs]).collect()
            }
            ["stages", stage, "transition", .., array] => {
                let stage: usize = stage.parse().expect("a stage's number");
                let links = match array.starts_with("running") {
                    true => self.all_transition_links(stage),
                    false => self.transition_links(stage, &parts[3..parts.len() - 1]),
                };
                self.gathered(array, &links, 1.0)
            }
            ["stages", stage, array] => {
                let stage: usize = stage.parse().expect("a stage's number");
                let steps = self.steps(stage);
                let factor = steps.len() as f32;
                let block = |block: usize| {
                    let links = self.block_links(stage, block);
                    let last = array.ends_with(&links.len().to_string());
                    let scaled = array.starts_with("g") || array.starts_with("be");
                    self.gathered(array, &links, if last && scaled { factor } else { 1.0 })
                };
                steps.flat_map(block).collect()
            }
            _ => unreachable!("an array of a converted network"),
        }
    }

    /// Convolution and normalisation of each link of a block.
    fn block_links(&self, stage: usize, block: usize) -> Vec<[Origin; 2]> {
        let links = if self.architecture().bottleneck { 3 } else { 2 };
        let name = format!("layer{}.{block}", stage + 1);
        let link = |index: usize| {
            [
                Origin::Weight(format!("{name}.conv{index}.weight")),
                Origin::Norm(format!("{name}.bn{index}")),
            ]
        };
        (1..=links).map(link).collect()
    }

    /// The same of a transition, or of the part of it that is named.
    fn transition_links(&self, stage: usize, part: &[&str]) -> Vec<[Origin; 2]> {
        let shortcuts = self.architecture().shortcuts.name().unwrap_or_default();
        let name = format!("layer{}.0.{shortcuts}", stage + 1);
        let shortcut =
            || [Origin::Weight(format!("{name}.0.weight")), Origin::Norm(format!("{name}.1"))];
        let stem = || [Origin::Weight("conv1.weight".into()), Origin::Norm("bn1".into())];
        match (part, stage) {
            (["shortcut"], _) => vec![shortcut()],
            (["block"], _) => self.block_links(stage, 0),
            (["block", "shortcut"], _) => vec![shortcut()],
            (_, 0) => vec![stem()],
            _ => self.block_links(stage, 0),
        }
    }

    /// The same of a whole transition.
    fn all_transition_links(&self, stage: usize) -> Vec<[Origin; 2]> {
        let architecture = self.architecture();
        let mut links = self.transition_links(stage, &[]);
        if stage == 0 && architecture.reshapes(0) {
            links.extend(self.transition_links(0, &["block"]));
        }
        if architecture.shortcuts != Shortcuts::Pad && architecture.reshapes(stage) {
            links.extend(self.transition_links(stage, &["shortcut"]));
        }
        links
    }

    /// The array of a chain by its name: of one link, or, of running statistics, of all.
    fn gathered(&self, array: &str, links: &[[Origin; 2]], factor: f32) -> Vec<f32> {
        let norm = |origin: &Origin, part: &str| match origin {
            Origin::Norm(name) => self.values(&format!("{name}.{part}")).to_vec(),
            Origin::Weight(name) => unreachable!("{name} is no normalisation"),
        };
        let link = |kind: &str| {
            let index: usize = array[kind.len()..].parse().expect("a link's number");
            &links[index - 1]
        };
        let values = match array {
            "running_mean" => links.iter().flat_map(|[_, own]| norm(own, "running_mean")).collect(),
            "running_variance" => {
                links.iter().flat_map(|[_, own]| norm(own, "running_var")).collect()
            }
            _ if array.starts_with("be") => norm(&link("be")[1], "bias"),
            _ if array.starts_with('g') => norm(&link("g")[1], "weight"),
            _ => match &link("w")[0] {
                Origin::Weight(name) => self.values(name).to_vec(),
                Origin::Norm(name) => unreachable!("{name} is no convolution"),
            },
        };
        values.into_iter().map(|value: f32| factor * value).collect()
    }
}
