//! Named tensors from PyTorch's checkpoints and from safetensors files.

use super::torch;
use half::{bf16, f16};
use safetensors::tensor::{Dtype, Metadata};
use std::fmt::{self, Write};
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

impl Numbers {
    fn extend(&mut self, kind: Kind, bytes: &[u8]) {
        let singles = |to: &mut Vec<f32>, one: fn(&[u8]) -> f32| {
            to.extend(bytes.chunks_exact(kind.size()).map(one));
        };
        match (self, kind) {
            (Self::Whole(to), _) => {
                to.extend(bytes.chunks_exact(8).map(|b| i64::from_le_bytes(first(b))));
            }
            (Self::Single(to), Kind::F32) => singles(to, |b| f32::from_le_bytes(first(b))),
            (Self::Single(to), Kind::F16) => singles(to, |b| f16::from_le_bytes(first(b)).to_f32()),
            (Self::Single(to), Kind::BF16) => {
                singles(to, |b| bf16::from_le_bytes(first(b)).to_f32());
            }
            (Self::Single(to), _) => singles(to, |b| f64::from_le_bytes(first(b)) as f32),
        }
    }
}

fn first<const COUNT: usize>(bytes: &[u8]) -> [u8; COUNT] {
    std::array::from_fn(|index| bytes[index])
}

/// A kind of numbers that is read.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Kind {
    F64,
    F32,
    F16,
    BF16,
    I64,
}

impl Kind {
    /// Bytes of a number.
    fn size(self) -> usize {
        match self {
            Self::F64 | Self::I64 => 8,
            Self::F32 => 4,
            Self::F16 | Self::BF16 => 2,
        }
    }

    /// The numbers of a tensor whose bytes, least first, come in parts of whole numbers.
    pub(super) fn numbers<E>(
        self,
        count: usize,
        parts: impl Iterator<Item = Result<Vec<u8>, E>>,
    ) -> Result<Numbers, E> {
        let mut numbers = match self {
            Self::I64 => Numbers::Whole(Vec::with_capacity(count)),
            _ => Numbers::Single(Vec::with_capacity(count)),
        };
        for part in parts {
            numbers.extend(self, &part?);
        }
        Ok(numbers)
    }
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
    Safetensors(String),
    /// Tensors would take more memory than the file has bytes.
    #[error("its tensors would take {bytes} bytes, but the file has {file}")]
    TooLarge {
        /// What they would take.
        bytes: u128,
        /// What is there.
        file: u64,
    },
    /// What the file tells of its tensors would take more memory than tensors of such a file need.
    #[error(
        "what it tells of its tensors would take more than twice the {file} bytes of the file; \
         save the network's state_dict alone"
    )]
    Crowded {
        /// Bytes of the file.
        file: u64,
    },
    /// It is neither.
    #[error("neither a checkpoint of PyTorch nor a safetensors file")]
    Unknown,
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

/// The beginning of an error in one line, however it is worded.
pub(super) fn line(error: &dyn fmt::Display) -> String {
    const LONGEST: usize = 300;
    struct Line(String);
    impl fmt::Write for Line {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            for character in text.chars() {
                if self.0.len() >= LONGEST {
                    self.0.push('…');
                    return Err(fmt::Error);
                }
                self.0.push(if character.is_control() { ' ' } else { character });
            }
            Ok(())
        }
    }
    let mut line = Line(String::new());
    // An error here is that the line is full.
    let _ = write!(line, "{error}");
    line.0
}

/// The tensor that every residual network begins with.
const STEM: &str = "conv1.weight";

/// What the tensors of the network are nested in, such as `state_dict.module.`: all that stands before the
/// stem's name.
pub(super) fn prefix<'n>(names: impl Iterator<Item = &'n str>) -> Result<String, ReadError> {
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

/// Reads the tensors of a network, in the order of their names. In memory are at most twice the file's bytes, and a
/// megabyte of buffers; half precision takes as much again, as it is widened.
///
/// # Errors
/// If it is no checkpoint of PyTorch and no safetensors file, a damaged one, or one that would take more.
pub fn read(path: &Path) -> Result<Vec<NamedTensor>, ReadError> {
    let mut file = File::open(path)?;
    let size = file.metadata()?.len();
    let mut head = Vec::new();
    (&mut file).take(9).read_to_end(&mut head)?;
    file.rewind()?;
    // A safetensors file begins with the length of a JSON object.
    match head.get(8) == Some(&b'{') && u64::from_le_bytes(first(&head)) < size {
        true => safetensors(file, size),
        false => torch::read(path, size),
    }
}

/// The part of a safetensors file that its header may be, and what a small file's always may: interpreting it
/// takes up to 55 bytes a byte, as a shape of many ones does.
const HEADER_PART: u64 = 32;
const SMALL_HEADER: u64 = 1 << 14;

/// Bytes of a tensor that are read at one time.
const PART: usize = 1 << 16;

/// The header of a safetensors file, and its length.
pub(super) fn header(from: &mut BufReader<File>, size: u64) -> Result<(Metadata, u64), ReadError> {
    let damaged = |error: &dyn fmt::Display| ReadError::Safetensors(line(error));
    let mut length = [0; 8];
    from.read_exact(&mut length)?;
    let length = u64::from_le_bytes(length);
    if length > (size / HEADER_PART).max(SMALL_HEADER) {
        return Err(ReadError::Crowded { file: size });
    }
    let mut header = Vec::with_capacity(length as usize);
    from.take(length).read_to_end(&mut header)?;
    let metadata: Metadata = serde_json::from_slice(&header).map_err(|error| damaged(&error))?;
    let whole = 8 + length + metadata.data_len() as u64;
    match whole == size {
        true => Ok((metadata, length)),
        false => Err(damaged(&format!("its header tells of {whole} bytes, there are {size}"))),
    }
}

fn safetensors(file: File, size: u64) -> Result<Vec<NamedTensor>, ReadError> {
    let mut from = BufReader::new(file);
    let (metadata, length) = header(&mut from, size)?;
    let names = metadata.offset_keys();
    let prefix = prefix(names.iter().map(String::as_str))?;
    let mut tensors = Vec::new();
    for name in names.iter().filter(|name| name.starts_with(&prefix[..])) {
        let Some(info) = metadata.info(name) else { continue };
        let (begin, end) = info.data_offsets;
        let name = name[prefix.len()..].to_owned();
        let kind = match info.dtype {
            Dtype::F64 => Kind::F64,
            Dtype::F32 => Kind::F32,
            Dtype::F16 => Kind::F16,
            Dtype::BF16 => Kind::BF16,
            Dtype::I64 => Kind::I64,
            other => return Err(ReadError::Kind { name, found: format!("{other:?}") }),
        };
        from.seek(std::io::SeekFrom::Start(8 + length + begin as u64))?;
        let parts = (begin..end).step_by(PART).map(|at| {
            let mut part = vec![0; PART.min(end - at)];
            from.read_exact(&mut part).map(|()| part)
        });
        let numbers = kind.numbers((end - begin) / kind.size(), parts)?;
        tensors.push(NamedTensor { name, shape: info.shape.clone(), numbers });
    }
    tensors.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    Ok(tensors)
}
