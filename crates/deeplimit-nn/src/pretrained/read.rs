//! Named tensors from PyTorch's checkpoints and from safetensors files.
//!
//! The crate `pytorch-reader` interprets a checkpoint's pickle without running anything in it and checks
//! every length against the file. What it leaves open is bounded here beforehand: the values that a pickle
//! makes, and all tensors together, may not be larger than the file.

use super::pickle;
use pytorch_reader::{DType, PytorchReader};
use safetensors::tensor::{Dtype, SafeTensors};
use std::collections::HashMap;
use std::fs::File;
use std::io::{BufReader, Read, Seek};
use std::path::Path;

/// A tensor in memory.
#[derive(Clone, Debug, PartialEq)]
pub struct NamedTensor {
    /// Its name, without what it was nested in.
    pub name: String,
    /// Extents, outermost first.
    pub shape: Vec<usize>,
    /// Its numbers.
    pub numbers: Numbers,
}

/// What a tensor holds.
#[derive(Clone, Debug, PartialEq)]
pub enum Numbers {
    /// Single precision, as it is in the file; half precision is widened and double rounded to it.
    Single(Vec<f32>),
    /// Whole numbers, such as counters of batches.
    Whole(Vec<i64>),
}

/// Why a file of weights cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The system does not give it.
    #[error("{0}")]
    Io(#[from] std::io::Error),
    /// It is no checkpoint of PyTorch, or a damaged one.
    #[error("not a whole PyTorch checkpoint: {0}")]
    Checkpoint(String),
    /// It is no safetensors file, or a damaged one.
    #[error("not a whole safetensors file: {0}")]
    Safetensors(#[from] safetensors::SafeTensorError),
    /// Tensors would take more memory than the file has bytes.
    #[error("its tensors would take {bytes} bytes, but the file has {file}")]
    TooLarge {
        /// What they would take.
        bytes: u128,
        /// What is there.
        file: u64,
    },
    /// The pickle makes more values than the tensors of such a file need.
    #[error("its pickle has {operations} operations, too many for a file of {file} bytes")]
    Crowded {
        /// How many.
        operations: u64,
        /// Bytes of the file.
        file: u64,
    },
    /// A container that PyTorch has not written since its first releases.
    #[error("saved by PyTorch before 0.1.10; load it there and save it anew with torch.save")]
    Ancient,
    /// Members of the archive are compressed, which torch.save does not do.
    #[error("{member:?} in the archive is compressed; save it anew with torch.save")]
    Compressed {
        /// Its name.
        member: String,
    },
    /// A tensor has numbers of a kind that weights do not have.
    #[error("tensor {name:?} holds {found}, expected floating-point or whole numbers")]
    Kind {
        /// Its name.
        name: String,
        /// What it holds.
        found: String,
    },
    /// Several networks lie in one file.
    #[error("the file holds several networks, under {first:?} and {second:?}; save one of them")]
    Several {
        /// What the first is nested in.
        first: String,
        /// What another is nested in.
        second: String,
    },
}

/// One line, however an error is worded.
fn line(error: &impl std::fmt::Display) -> String {
    error.to_string().split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The tensor that every residual network begins with.
const STEM: &str = "conv1.weight";

/// What the tensors of the network are nested in, such as `state_dict.module.`: all that stands before the
/// stem's name.
fn prefix<'n>(names: impl Iterator<Item = &'n String>) -> Result<String, ReadError> {
    let stems = names.filter_map(|name| name.strip_suffix(STEM));
    let mut stems: Vec<&str> = stems
        .filter(|before| before.is_empty() || before.ends_with('.'))
        // The first convolution of a block is called the same.
        .filter(|before| !before.split('.').any(|part| part.starts_with("layer")))
        .collect();
    stems.sort_unstable_by_key(|before| (before.len(), *before));
    match stems[..] {
        [] => Ok(String::new()),
        [only] => Ok(only.to_owned()),
        [first, second, ..] => {
            Err(ReadError::Several { first: first.to_owned(), second: second.to_owned() })
        }
    }
}

/// Reads the tensors of a network, in the order of their names; in memory they and what is read at one
/// time are at most twice the file.
///
/// # Errors
/// If it is no checkpoint of PyTorch and no safetensors file, a damaged one, or one whose tensors are
/// larger than the file.
pub fn read(path: &Path) -> Result<Vec<NamedTensor>, ReadError> {
    let mut file = File::open(path)?;
    let size = file.metadata()?.len();
    let mut head = Vec::new();
    (&mut file).take(512).read_to_end(&mut head)?;
    // A safetensors file begins with the length of a JSON object.
    if head.get(8) == Some(&b'{') && u64::from_le_bytes(eight(&head)) < size {
        return safetensors(path, size);
    }
    file.rewind()?;
    let operations = if head.starts_with(b"PK\x03\x04") {
        stored(&file)?
    } else if head.get(257..262) == Some(b"ustar") {
        return Err(ReadError::Ancient);
    } else {
        // Of PyTorch before 1.6: magic number, version, system and tensors are a pickle each.
        let mut from = BufReader::new(&file);
        let pickles = if head.starts_with(&MAGIC) { 4 } else { 1 };
        let counts = (0..pickles).map(|_| pickle::operations(&mut from));
        counts.sum::<std::io::Result<u64>>().map_err(|error| ReadError::Checkpoint(line(&error)))?
    };
    if operations.saturating_mul(OPERATION) > size + SPARE {
        return Err(ReadError::Crowded { operations, file: size });
    }
    checkpoint(path, size)
}

/// How a checkpoint of PyTorch before 1.6 begins: the pickle of its magic number.
const MAGIC: [u8; 15] =
    [0x80, 2, 0x8a, 10, 0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19, b'.'];

/// Bytes that a value of a pickle takes, with its share of lists that grow by doubling.
const OPERATION: u64 = 256;

/// Bytes that the values of a small file may take beyond its size.
const SPARE: u64 = 1 << 19;

/// Checks that no member of an archive is compressed, so that none can unfold to more than the file; the
/// operations of its pickle.
fn stored(file: &File) -> Result<u64, ReadError> {
    let damaged = |error: zip::result::ZipError| ReadError::Checkpoint(line(&error));
    let mut archive = zip::ZipArchive::new(file).map_err(damaged)?;
    let mut operations = 0;
    for index in 0..archive.len() {
        let mut member = archive.by_index_raw(index).map_err(damaged)?;
        let name = member.name().map_err(damaged)?.into_owned();
        if member.compression() != zip::CompressionMethod::Stored {
            return Err(ReadError::Compressed { member: name });
        }
        if name.ends_with("data.pkl") {
            let counted = pickle::operations(&mut BufReader::new(&mut member));
            operations += counted.map_err(|error| ReadError::Checkpoint(line(&error)))?;
        }
    }
    Ok(operations)
}

fn checkpoint(path: &Path, size: u64) -> Result<Vec<NamedTensor>, ReadError> {
    let damaged = |error: &dyn std::fmt::Display| ReadError::Checkpoint(line(&error));
    let reader = PytorchReader::new(path).map_err(|error| damaged(&error))?;
    let tensors = reader.into_tensors();
    let prefix = prefix(tensors.keys())?;
    let mut own: Vec<(String, pytorch_reader::Tensor)> = tensors
        .into_iter()
        .filter_map(|(name, tensor)| Some((name.strip_prefix(&prefix)?.to_owned(), tensor)))
        .collect();
    own.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
    fits(own.iter().map(|(_, tensor)| (tensor.shape(), tensor.dtype().size())), size)?;
    own.into_iter()
        .map(|(name, tensor)| {
            let (kind, shape) = (tensor.dtype(), tensor.shape().to_vec());
            if kind == DType::Bool {
                return Err(ReadError::Kind { name, found: format!("{kind:?}") });
            }
            let bytes = tensor.read().map_err(|error| damaged(&error))?;
            let singles = |size: usize, one: fn(&[u8]) -> f32| {
                Numbers::Single(bytes.chunks_exact(size).map(one).collect())
            };
            let numbers = match kind {
                DType::F32 => singles(4, |b| f32::from_ne_bytes([b[0], b[1], b[2], b[3]])),
                DType::F64 => singles(8, |b| f64::from_ne_bytes(eight(b)) as f32),
                DType::F16 => singles(2, |b| half::f16::from_ne_bytes([b[0], b[1]]).to_f32()),
                DType::BF16 => singles(2, |b| half::bf16::from_ne_bytes([b[0], b[1]]).to_f32()),
                DType::I64 => Numbers::Whole(
                    bytes.chunks_exact(8).map(|b| i64::from_ne_bytes(eight(b))).collect(),
                ),
                other => return Err(ReadError::Kind { name, found: format!("{other:?}") }),
            };
            Ok(NamedTensor { name, shape, numbers })
        })
        .collect()
}

fn eight(b: &[u8]) -> [u8; 8] {
    std::array::from_fn(|i| b[i])
}

/// Checks that all tensors together are no larger than the file.
fn fits<'s>(
    tensors: impl Iterator<Item = (&'s [usize], usize)>,
    size: u64,
) -> Result<(), ReadError> {
    let bytes = tensors.map(|(shape, each)| {
        shape.iter().fold(each as u128, |bytes, extent| bytes.saturating_mul(*extent as u128))
    });
    let bytes = bytes.fold(0u128, u128::saturating_add);
    if bytes > u128::from(size) {
        return Err(ReadError::TooLarge { bytes, file: size });
    }
    Ok(())
}

fn safetensors(path: &Path, size: u64) -> Result<Vec<NamedTensor>, ReadError> {
    let bytes = std::fs::read(path)?;
    let file = SafeTensors::deserialize(&bytes)?;
    let names: Vec<String> = file.names().into_iter().map(ToString::to_string).collect();
    let prefix = prefix(names.iter())?;
    let mut own: HashMap<String, _> = file
        .tensors()
        .into_iter()
        .filter_map(|(name, view)| Some((name.strip_prefix(&prefix)?.to_owned(), view)))
        .collect();
    fits(own.values().map(|view| (view.shape(), view.dtype().bitsize() / 8)), size)?;
    let mut names: Vec<String> = own.keys().cloned().collect();
    names.sort_unstable();
    let tensors = names.into_iter().filter_map(|name| {
        let view = own.remove(&name)?;
        Some((name, view))
    });
    tensors
        .map(|(name, view)| {
            let singles = |size: usize, one: fn(&[u8]) -> f32| {
                Numbers::Single(view.data().chunks_exact(size).map(one).collect())
            };
            let numbers = match view.dtype() {
                Dtype::F32 => singles(4, |b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])),
                Dtype::F64 => singles(8, |b| f64::from_le_bytes(eight(b)) as f32),
                Dtype::F16 => singles(2, |b| half::f16::from_le_bytes([b[0], b[1]]).to_f32()),
                Dtype::BF16 => singles(2, |b| half::bf16::from_le_bytes([b[0], b[1]]).to_f32()),
                Dtype::I64 => Numbers::Whole(
                    view.data().chunks_exact(8).map(|b| i64::from_le_bytes(eight(b))).collect(),
                ),
                other => return Err(ReadError::Kind { name, found: format!("{other:?}") }),
            };
            Ok(NamedTensor { name, shape: view.shape().to_vec(), numbers })
        })
        .collect()
}
