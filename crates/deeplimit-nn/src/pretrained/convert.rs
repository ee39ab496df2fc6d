//! From a residual network to flows.
//!
//! A block of He, Zhang, Ren, Sun (2015) has relu *after* the sum, x ← relu(x + F(x)), which loses what a
//! reconstruction needs. The flow is x ← x + h f(relu(x)) with h f = F: the stream keeps its negative parts,
//! and the weights are the same, but for the last normalisation's scale and shift, which are N times as
//! large because h = 1/N. A stage that is `rectified` has relu after every step, and is that of the original.
//!
//! A block of the same authors (2016) has nothing after the sum, x ← x + F(x), and is a step of a flow as it is:
//! h f = F with the weights of the last convolution N times as large.

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
            _ if self.raw_shortcuts => Shortcut::Raw,
            Shortcuts::Downsample | Shortcuts::Shortcut => Shortcut::Project,
        };
        let order = match (self.preactivation, self.bottleneck) {
            (false, false) => Order::Pre,
            (false, true) => Order::Bottleneck,
            (true, false) => Order::Full,
            (true, true) => Order::FullBottleneck,
        };
        let preactivation = self.preactivation;
        let stage = |index: usize| {
            let (channels, hidden) = (self.widths()[index], self.hidden()[index]);
            let block = TransitionConfig::Block {
                channels,
                hidden: Some(hidden),
                stride: self.stride(index),
                bottleneck: self.bottleneck,
                stride_in_1x1: self.stride_in_1x1,
                preactivation,
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
                preactivation,
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
                rectified: !preactivation && !flows.has(index + 1),
                transition: if index == 0 { stem } else { block },
                ..StageConfig::default()
            })
        };
        Ok(NetworkConfig {
            stage: (0..self.blocks.len()).map(stage).collect::<Result<_, _>>()?,
            head: HeadConfig {
                pool: true,
                activation: (!preactivation || self.final_norm).then_some(Activation::Relu),
                norm: self.final_norm,
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

/// Where the arrays of a chain come from.
#[derive(Default)]
struct Origins {
    /// Names of its convolutions, `[outputs, inputs, side, side]`.
    weights: Vec<String>,
    /// Names of its normalisations: scale and shift, mean and variance.
    norms: Vec<String>,
}

impl Origins {
    fn of(weight: String, norm: Option<String>) -> Self {
        Self { weights: vec![weight], norms: norm.into_iter().collect() }
    }
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
            ["head", array] => self.gathered(
                array,
                &Origins { norms: vec!["bn".into()], ..Origins::default() },
                1.0,
            ),
            ["stages", stage, "transition", .., array] => {
                let stage: usize = stage.parse().expect("a stage's number");
                let origins = match array.starts_with("running") {
                    true => self.all_transition_norms(stage),
                    false => self.transition_origins(stage, &parts[3..parts.len() - 1]),
                };
                self.gathered(array, &origins, 1.0)
            }
            ["stages", stage, array] => {
                let stage: usize = stage.parse().expect("a stage's number");
                let steps = self.steps(stage);
                let factor = steps.len() as f32;
                let block = |block: usize| {
                    let origins = self.block_origins(stage, block);
                    let last = origins.weights.len().to_string();
                    let scaled: &[&str] =
                        if self.architecture().preactivation { &["w"] } else { &["g", "be"] };
                    let scaled = scaled.iter().any(|kind| array == format!("{kind}{last}"));
                    self.gathered(array, &origins, if scaled { factor } else { 1.0 })
                };
                steps.flat_map(block).collect()
            }
            _ => unreachable!("an array of a converted network"),
        }
    }

    /// The arrays of a block.
    fn block_origins(&self, stage: usize, block: usize) -> Origins {
        let name = format!("layer{}.{block}", stage + 1);
        let named = |kind: &str| {
            let links = 1..=if self.architecture().bottleneck { 3 } else { 2 };
            links.map(|link| format!("{name}.{kind}{link}")).collect::<Vec<_>>()
        };
        let weights = named("conv").into_iter().map(|name| format!("{name}.weight")).collect();
        Origins { weights, norms: named("bn") }
    }

    /// The arrays of the stem.
    fn stem_origins(&self) -> Origins {
        let norm = (!self.architecture().preactivation).then(|| "bn1".to_owned());
        Origins::of("conv1.weight".to_owned(), norm)
    }

    /// The arrays of the shortcut of a stage's first block.
    fn shortcut_origins(&self, stage: usize) -> Origins {
        let shortcuts = self.architecture().shortcuts.name().unwrap_or_default();
        let name = format!("layer{}.0.{shortcuts}", stage + 1);
        let norm = (!self.architecture().preactivation).then(|| format!("{name}.1"));
        Origins::of(format!("{name}.0.weight"), norm)
    }

    /// The arrays of a part of a transition.
    fn transition_origins(&self, stage: usize, part: &[&str]) -> Origins {
        let Architecture { preactivation, raw_shortcuts, .. } = *self.architecture();
        let block = self.block_origins(stage, 0);
        match (part, stage) {
            ([.., "shortcut"], _) => self.shortcut_origins(stage),
            ([.., "norm"], _) => Origins { weights: Vec::new(), ..block },
            ([], 0) => self.stem_origins(),
            // The first normalisation is a part of its own, from which the shortcut goes on.
            _ if preactivation && !raw_shortcuts => {
                Origins { norms: block.norms[1..].to_vec(), ..block }
            }
            _ => block,
        }
    }

    /// The normalisations of a whole transition.
    fn all_transition_norms(&self, stage: usize) -> Origins {
        let architecture = self.architecture();
        let mut norms = Vec::new();
        if stage == 0 {
            norms.extend(self.stem_origins().norms);
        }
        if architecture.reshapes(stage) {
            norms.extend(self.block_origins(stage, 0).norms);
            if architecture.shortcuts != Shortcuts::Pad {
                norms.extend(self.shortcut_origins(stage).norms);
            }
        }
        Origins { norms, ..Origins::default() }
    }

    /// The array of a chain by its name: of one convolution or normalisation, or, of running statistics, of all.
    fn gathered(&self, array: &str, origins: &Origins, factor: f32) -> Vec<f32> {
        let Origins { weights, norms } = origins;
        let norm = |name: &String, part: &str| self.values(&format!("{name}.{part}")).to_vec();
        let all = |part| norms.iter().flat_map(|name| norm(name, part)).collect();
        let place = |kind: &str| {
            let index: usize = array[kind.len()..].parse().expect("a link's number");
            index - 1
        };
        let values: Vec<f32> = match array {
            "running_mean" => all("running_mean"),
            "running_variance" => all("running_var"),
            _ if array.starts_with("be") => norm(&norms[place("be")], "bias"),
            _ if array.starts_with('g') => norm(&norms[place("g")], "weight"),
            _ => self.values(&weights[place("w")]).to_vec(),
        };
        values.into_iter().map(|value: f32| factor * value).collect()
    }
}
