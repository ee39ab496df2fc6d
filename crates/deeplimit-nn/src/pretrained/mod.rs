//! Residual networks trained elsewhere: read, recognised, evaluated as they are, written back.

mod architecture;
mod convert;
mod element;
mod foreign;
mod inputs;
mod layout;
mod names;
mod pickle;
mod read;
mod stages;
mod told;
mod torch;

pub use architecture::{Architecture, Family, Head, Shortcuts};
pub use convert::ConvertError;
pub use inputs::{Colours, Inputs};
pub use layout::{Expected, Unrecognised};
pub(crate) use read::longest_header;
pub use read::{NamedTensor, Numbers, ReadError, read};
pub use stages::Stages;

use crate::data::Normalisation;
use crate::network::BadWeight;
use crate::tensor_file;
use read::Contents;
use safetensors::tensor::{Dtype, View};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader};
use std::path::Path;

/// A residual network with its trained weights, under the names that PyTorch's users know.
#[derive(Clone, Debug, PartialEq)]
pub struct Pretrained {
    architecture: Architecture,
    tensors: Vec<NamedTensor>,
    /// How its inputs are normalised, where that is known.
    inputs: Option<Inputs>,
}

/// Why a pretrained network cannot be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PretrainedError {
    /// The file cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// Its tensors are of another network.
    #[error(transparent)]
    Unrecognised(#[from] Unrecognised),
    /// A tensor holds whole numbers where weights are expected, or the other way round.
    #[error("tensor {name:?} holds numbers of another kind than its name says")]
    Kind {
        /// Its name.
        name: String,
    },
    /// A number is no weight.
    #[error(transparent)]
    Number(#[from] BadWeight),
    /// What the file tells of its network cannot be.
    #[error("its entry {entry:?} is garbled: {reason}; import the checkpoint anew")]
    Entry {
        /// Of its metadata.
        entry: &'static str,
        /// What was found and expected.
        reason: String,
    },
    /// An option that the network has no use for.
    #[error("--stride-in-1x1: {architecture} has no bottleneck blocks; leave it out")]
    NoBottleneck {
        /// The network.
        architecture: Architecture,
    },
    /// Another one.
    #[error(
        "--raw-shortcuts: {architecture} has no pre-activation blocks with a shortcut; leave it out"
    )]
    NoPreactivation {
        /// The network.
        architecture: Architecture,
    },
}

/// The entry of a file's metadata that says which network it is.
const ENTRY: &str = "architecture";
/// The entry that says how its inputs are normalised, where that is known.
const INPUTS: &str = "normalisation";
/// The entry that says of which run weights are.
const RUN: &str = "config";

/// The end of a counter's name.
const COUNTER: &str = ".num_batches_tracked";

impl Pretrained {
    /// Reads a checkpoint of PyTorch or a safetensors file.
    ///
    /// # Errors
    /// If it is damaged, or of no residual network known here.
    pub fn read(path: &Path) -> Result<Self, PretrainedError> {
        Self::read_key(path, None)
    }

    /// As [`read`](Self::read), of several networks that which lies under a key, such as `model_ema`.
    ///
    /// # Errors
    /// If it is damaged, has no such network, or one that is not known here.
    pub fn read_key(path: &Path, key: Option<&str>) -> Result<Self, PretrainedError> {
        let contents = Contents::open(path, key)?;
        // Before any number is read.
        Architecture::recognise(contents.shapes())?;
        let entry = |entry| contents.metadata.get(entry).cloned();
        let (architecture, inputs) = (entry(ENTRY), entry(INPUTS));
        let mut network = Self::of(contents.read()?)?;
        let garbled = |entry, reason| PretrainedError::Entry { entry, reason };
        if let Some(text) = architecture {
            let written: Architecture =
                serde_json::from_str(&text).map_err(|error| garbled(ENTRY, error.to_string()))?;
            network.architecture.pool = written.pool;
            network.architecture.stride_in_1x1 = written.stride_in_1x1;
            network.architecture.raw_shortcuts =
                written.raw_shortcuts && network.architecture.preactivation;
            if network.architecture != written {
                let reason =
                    format!("it tells of {written}, the tensors of {}", network.architecture);
                return Err(garbled(ENTRY, reason));
            }
        }
        if let Some(text) = inputs {
            let told: Normalisation =
                serde_json::from_str(&text).map_err(|error| garbled(INPUTS, error.to_string()))?;
            let three = || garbled(INPUTS, "expected three means and deviations".to_owned());
            network.inputs = Some(Inputs::of(&told).ok_or_else(three)?);
        }
        Ok(network)
    }

    /// Recognises a network by its tensors.
    ///
    /// # Errors
    /// If they are of no residual network known here, or hold numbers that are no weights.
    pub fn of(mut tensors: Vec<NamedTensor>) -> Result<Self, PretrainedError> {
        tensors.sort_by(|a, b| a.name.cmp(&b.name));
        let shapes = tensors.iter().map(|tensor| (&tensor.name[..], &tensor.shape[..]));
        let architecture = Architecture::recognise(shapes)?;
        for tensor in &tensors {
            let counts = tensor.name.ends_with(COUNTER);
            if counts != matches!(tensor.numbers, Numbers::Whole(_)) {
                return Err(PretrainedError::Kind { name: tensor.name.clone() });
            }
        }
        let network = Self { architecture, tensors, inputs: None };
        // In the order of the network, so that the first is where things began to go wrong.
        for Expected { name, shape } in network.architecture.tensors() {
            BadWeight::check(&name, &shape, network.values(&name))?;
        }
        Ok(network)
    }

    /// The network with inputs that are normalised so.
    pub fn with_inputs(self, inputs: Inputs) -> Self {
        Self { inputs: Some(inputs), ..self }
    }

    /// The network whose bottleneck blocks stride in their first 1×1 convolution, as He et al.'s own do.
    ///
    /// # Errors
    /// If it has none.
    pub fn with_stride_in_1x1(mut self) -> Result<Self, PretrainedError> {
        if !self.architecture.bottleneck {
            return Err(PretrainedError::NoBottleneck { architecture: self.architecture });
        }
        self.architecture.stride_in_1x1 = true;
        Ok(self)
    }

    /// The pre-activation network whose shortcuts take x itself, or relu(norm(x)).
    ///
    /// # Errors
    /// If it is none, or has no shortcut with weights.
    pub fn with_raw_shortcuts(mut self, raw: bool) -> Result<Self, PretrainedError> {
        let reshapes =
            (0..self.architecture.blocks.len()).any(|stage| self.architecture.reshapes(stage));
        if !(self.architecture.preactivation && reshapes) {
            return Err(PretrainedError::NoPreactivation { architecture: self.architecture });
        }
        self.architecture.raw_shortcuts = raw;
        Ok(self)
    }

    /// Which network it is.
    pub fn architecture(&self) -> &Architecture {
        &self.architecture
    }

    /// How its inputs are normalised; where that is not known, as those of ImageNet.
    pub fn inputs(&self) -> Inputs {
        self.inputs.unwrap_or(Inputs::IMAGENET)
    }

    /// Whether it is known how its inputs are normalised.
    pub fn knows_inputs(&self) -> bool {
        self.inputs.is_some()
    }

    /// What the file does not tell, and is taken for granted.
    pub fn assumed(&self) -> Vec<String> {
        let inputs = (!self.knows_inputs()).then(|| {
            format!(
                "inputs are normalised by {}; --mean and --std of import say otherwise",
                self.inputs()
            )
        });
        inputs.into_iter().chain(self.architecture.assumed()).collect()
    }

    /// The tensors, by name.
    pub fn tensors(&self) -> &[NamedTensor] {
        &self.tensors
    }

    /// The numbers of one of the architecture's tensors.
    ///
    /// # Panics
    /// If the architecture has none of that name.
    pub fn values(&self, name: &str) -> &[f32] {
        let place = self.tensors.binary_search_by(|tensor| tensor.name[..].cmp(name));
        match place.map(|place| &self.tensors[place].numbers) {
            Ok(Numbers::Single(values)) => values,
            _ => panic!("{} has no tensor {name:?}", self.architecture),
        }
    }

    /// How many numbers were trained.
    pub fn parameters(&self) -> usize {
        let expected = self.architecture.tensors();
        let trained = expected.iter().filter(|tensor| !tensor.name.contains(".running_"));
        trained.map(|tensor| tensor.shape.iter().product::<usize>()).sum()
    }

    /// Writes a safetensors file with PyTorch's names, one tensor after the other, which says in its metadata
    /// which network it is: `torch` and others load it as it is.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn write_to(&self, path: &Path) -> io::Result<()> {
        let tensors = self.tensors.iter().map(|tensor| (&tensor.name[..], tensor));
        let written = tensor_file::create(path, tensors, &self.metadata());
        written.map_err(|error| match error {
            safetensors::SafeTensorError::IoError(source) => source,
            other => io::Error::other(other),
        })
    }

    fn metadata(&self) -> BTreeMap<String, String> {
        let architecture = serde_json::to_string(&self.architecture);
        let architecture = architecture.expect("an architecture is plain data");
        let mut metadata = BTreeMap::from([
            (ENTRY.to_owned(), architecture),
            ("format".to_owned(), "pt".to_owned()),
        ]);
        if let Some(inputs) = &self.inputs {
            let inputs = serde_json::to_string(&inputs.normalisation());
            metadata.insert(INPUTS.to_owned(), inputs.expect("a normalisation is plain data"));
        }
        metadata
    }
}

impl View for &NamedTensor {
    fn dtype(&self) -> Dtype {
        match self.numbers {
            Numbers::Single(_) => Dtype::F32,
            Numbers::Whole(_) => Dtype::I64,
        }
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        let bytes: Vec<u8> = match &self.numbers {
            Numbers::Single(values) => values.iter().flat_map(|v| v.to_le_bytes()).collect(),
            Numbers::Whole(values) => values.iter().flat_map(|v| v.to_le_bytes()).collect(),
        };
        bytes.into()
    }

    fn data_len(&self) -> usize {
        match &self.numbers {
            Numbers::Single(values) => size_of_val(&values[..]),
            Numbers::Whole(values) => size_of_val(&values[..]),
        }
    }
}

/// What a file is by its metadata: weights of a run, which tell of its configuration, or anything else.
pub fn is_of_a_run(path: &Path) -> bool {
    let header = || {
        let file = File::open(path)?;
        let size = file.metadata()?.len();
        read::header(&mut BufReader::new(file), size)
    };
    let metadata = header().ok().and_then(|(header, _)| header.metadata().clone());
    metadata.is_some_and(|metadata| metadata.contains_key(RUN))
}
