//! Residual networks trained elsewhere: read, recognised, evaluated as they are, written back.

mod architecture;
mod convert;
mod pickle;
mod read;
mod stages;
mod torch;

pub use architecture::{Architecture, Expected, Family, Unrecognised};
pub use convert::ConvertError;
pub use read::{NamedTensor, Numbers, ReadError, read};
pub use stages::Stages;

use crate::network::BadWeight;
use crate::tensor_file;
use safetensors::tensor::{Dtype, TensorView};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::BufReader;
use std::path::Path;

/// A residual network with its trained weights, under the names that PyTorch's users know.
#[derive(Clone, Debug, PartialEq)]
pub struct Pretrained {
    architecture: Architecture,
    tensors: Vec<NamedTensor>,
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
    /// The library refuses to write it.
    #[error("cannot be written as safetensors: {0}")]
    Write(safetensors::SafeTensorError),
}

/// The entry of a file's metadata that says which network it is.
const ENTRY: &str = "architecture";

/// The end of a counter's name.
const COUNTER: &str = ".num_batches_tracked";

impl Pretrained {
    /// Reads a checkpoint of PyTorch or a safetensors file.
    ///
    /// # Errors
    /// If it is damaged, or of no residual network known here.
    pub fn read(path: &Path) -> Result<Self, PretrainedError> {
        Self::of(read(path)?)
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
        let network = Self { architecture, tensors };
        // In the order of the network, so that the first is where things began to go wrong.
        for Expected { name, shape } in network.architecture.tensors() {
            BadWeight::check(&name, &shape, network.values(&name))?;
        }
        Ok(network)
    }

    /// Which network it is.
    pub fn architecture(&self) -> &Architecture {
        &self.architecture
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

    /// The bytes of a safetensors file with PyTorch's names, which says in its metadata which network it
    /// is: `torch` and others load it as it is.
    ///
    /// # Errors
    /// If the library refuses to write it.
    pub fn to_bytes(&self) -> Result<Vec<u8>, PretrainedError> {
        let bytes = |numbers: &Numbers| -> Vec<u8> {
            match numbers {
                Numbers::Single(values) => values.iter().flat_map(|v| v.to_le_bytes()).collect(),
                Numbers::Whole(values) => values.iter().flat_map(|v| v.to_le_bytes()).collect(),
            }
        };
        let data: Vec<Vec<u8>> = self.tensors.iter().map(|t| bytes(&t.numbers)).collect();
        let mut views = Vec::new();
        for (tensor, data) in self.tensors.iter().zip(&data) {
            let kind = match tensor.numbers {
                Numbers::Single(_) => Dtype::F32,
                Numbers::Whole(_) => Dtype::I64,
            };
            let view = TensorView::new(kind, tensor.shape.clone(), data);
            views.push((&tensor.name[..], view.map_err(PretrainedError::Write)?));
        }
        let architecture =
            serde_json::to_string(&self.architecture).expect("an architecture is plain data");
        let metadata = BTreeMap::from([
            (ENTRY.to_owned(), architecture),
            ("format".to_owned(), "pt".to_owned()),
        ]);
        tensor_file::bytes(views, &metadata).map_err(PretrainedError::Write)
    }
}

/// Whether a file is one that [`Pretrained::to_bytes`] has given.
pub fn is_imported(path: &Path) -> bool {
    let header = || {
        let file = File::open(path)?;
        let size = file.metadata()?.len();
        read::header(&mut BufReader::new(file), size)
    };
    let metadata = header().ok().and_then(|(header, _)| header.metadata().clone());
    metadata.is_some_and(|metadata| metadata.contains_key(ENTRY))
}
