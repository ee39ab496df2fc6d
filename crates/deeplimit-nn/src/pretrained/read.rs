//! Named tensors from PyTorch's checkpoints and from safetensors files: first what there is, then the numbers of
//! those that are wanted.

use super::names::Chosen;
use super::torch::{self, Archive};
use half::{bf16, f16};
use safetensors::tensor::{Dtype, Metadata};
use std::collections::HashMap;
use std::fmt::{self, Write};
use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
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

/// A kind of numbers that is read.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Kind {
    F64,
    F32,
    F16,
    BF16,
    I64,
    I32,
    I16,
    I8,
    U8,
}

impl Kind {
    /// Bytes of a number in a file.
    pub fn size(self) -> usize {
        match self {
            Self::F64 | Self::I64 => 8,
            Self::F32 | Self::I32 => 4,
            Self::F16 | Self::BF16 | Self::I16 => 2,
            Self::I8 | Self::U8 => 1,
        }
    }

    /// Whether they are whole numbers.
    pub fn is_whole(self) -> bool {
        matches!(self, Self::I64 | Self::I32 | Self::I16 | Self::I8 | Self::U8)
    }

    /// Bytes of a number in memory.
    fn held(self) -> usize {
        if self.is_whole() { size_of::<i64>() } else { size_of::<f32>() }
    }

    fn of(kind: Dtype) -> Option<Self> {
        Some(match kind {
            Dtype::F64 => Self::F64,
            Dtype::F32 => Self::F32,
            Dtype::F16 => Self::F16,
            Dtype::BF16 => Self::BF16,
            Dtype::I64 => Self::I64,
            Dtype::I32 => Self::I32,
            Dtype::I16 => Self::I16,
            Dtype::I8 => Self::I8,
            Dtype::U8 => Self::U8,
            _ => return None,
        })
    }

    /// No numbers yet, with room for so many.
    fn empty(self, count: usize) -> Numbers {
        match self.is_whole() {
            true => Numbers::Whole(Vec::with_capacity(count)),
            false => Numbers::Single(Vec::with_capacity(count)),
        }
    }
}

impl Numbers {
    /// Adds numbers from their bytes, least first.
    fn extend(&mut self, kind: Kind, bytes: &[u8]) {
        let parts = bytes.chunks_exact(kind.size());
        match self {
            Self::Whole(to) => to.extend(parts.map(|b| match kind {
                Kind::I64 => i64::from_le_bytes(first(b)),
                Kind::I32 => i64::from(i32::from_le_bytes(first(b))),
                Kind::I16 => i64::from(i16::from_le_bytes(first(b))),
                Kind::I8 => i64::from(i8::from_le_bytes(first(b))),
                _ => i64::from(b[0]),
            })),
            Self::Single(to) => to.extend(parts.map(|b| match kind {
                Kind::F32 => f32::from_le_bytes(first(b)),
                Kind::F16 => f16::from_le_bytes(first(b)).to_f32(),
                Kind::BF16 => bf16::from_le_bytes(first(b)).to_f32(),
                _ => f64::from_le_bytes(first(b)) as f32,
            })),
        }
    }
}

fn first<const COUNT: usize>(bytes: &[u8]) -> [u8; COUNT] {
    std::array::from_fn(|index| bytes[index])
}

/// Why a file of weights cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The system does not give it.
    #[error("{0}")]
    Io(#[from] std::io::Error),
    /// It is a damaged checkpoint of PyTorch.
    #[error("a damaged checkpoint of PyTorch: {0}")]
    Checkpoint(String),
    /// It is a damaged safetensors file.
    #[error("a damaged safetensors file: {0}")]
    Safetensors(String),
    /// The file ends too early.
    #[error(
        "incomplete: it ends after {found} bytes{}; download or copy it again",
        expected.map_or(String::new(), |expected| format!(", expected {expected}"))
    )]
    Cut {
        /// Bytes that are there.
        found: u64,
        /// Bytes that it should have, where it tells.
        expected: Option<u64>,
    },
    /// It is something else.
    #[error("{what}, not weights that are read; {instead}")]
    Foreign {
        /// What it is.
        what: String,
        /// What helps.
        instead: String,
    },
    /// Tensors would take more memory than the file has bytes.
    #[error("its tensors would take {bytes} bytes, but the file has {file}")]
    TooLarge {
        /// What they would take.
        bytes: u128,
        /// What is there.
        file: u64,
    },
    /// What the file tells of its tensors would take more memory than is allowed.
    #[error(
        "what it tells of its tensors and keeps beside them would take more than the {allowed} bytes that a \
         file of {file} bytes may; save the network's state_dict alone"
    )]
    Crowded {
        /// What is allowed.
        allowed: u64,
        /// Bytes of the file.
        file: u64,
    },
    /// The header of a safetensors file is longer than those of honest files are.
    #[error(
        "its header has {length} bytes, of a file of this size {allowed} are read; drop metadata from it"
    )]
    LongHeader {
        /// What it has.
        length: u64,
        /// What is read.
        allowed: u64,
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
    #[error(
        "tensor {name:?} holds {found}, expected floating-point numbers{}",
        if found.starts_with('q') { "; save the network as it was before it was quantised" } else { "" }
    )]
    Kind {
        /// Its name.
        name: String,
        /// What it holds.
        found: String,
    },
    /// It holds no tensor.
    #[error("it holds no tensors; save the network's state_dict")]
    NoTensors,
    /// Several networks lie in one file.
    #[error("it holds several networks, under {}; choose one with --key", quoted(networks))]
    Several {
        /// What they are nested in.
        networks: Vec<String>,
    },
    /// No network lies under a key.
    #[error("--key {key:?}: {}", match &networks[..] {
        [] => "it holds no tensors under that name".to_owned(),
        networks => format!("its networks are under {}", quoted(networks)),
    })]
    NoKey {
        /// What was asked for.
        key: String,
        /// What the networks that are there are nested in.
        networks: Vec<String>,
    },
}

/// The first of some names, in quotes and in one line.
fn quoted(names: &[String]) -> String {
    const MOST: usize = 5;
    let mut all: Vec<String> =
        names.iter().take(MOST).map(|name| format!("{:?}", line(name))).collect();
    if names.len() > MOST {
        all.push(format!("{} more", names.len() - MOST));
    }
    let last = all.pop().unwrap_or_default();
    if all.is_empty() { last } else { format!("{} and {last}", all.join(", ")) }
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

/// Numbers in a file.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub kind: Kind,
    /// The storage that they lie in: its first byte, and how many it has.
    pub begin: u64,
    pub count: u64,
    /// The first of them, counted in numbers.
    pub offset: u64,
    /// Distances of neighbours, outermost first, where they are not one behind the other.
    pub strides: Option<Vec<usize>>,
    /// Of an archive, the member that has a checksum.
    pub member: Option<usize>,
}

/// A tensor of a file, not read yet.
#[derive(Clone, Debug)]
pub(super) struct Listed {
    /// Its name within the file.
    pub name: String,
    pub shape: Vec<usize>,
    /// Where its numbers are, or what it holds instead of any.
    pub place: Result<Place, String>,
}

impl Listed {
    fn numbers(&self) -> u128 {
        self.shape.iter().fold(1u128, |all, extent| all.saturating_mul(*extent as u128))
    }
}

/// A network in a file: its tensors, of which no numbers are read yet.
pub(super) struct Contents {
    file: File,
    size: u64,
    archive: Option<Archive>,
    /// In the order of their names, which are those within the network.
    tensors: Vec<Listed>,
    /// Entries of a safetensors file's metadata.
    pub metadata: HashMap<String, String>,
}

/// Bytes of a tensor that are read at one time.
const PART: usize = 1 << 16;
/// Bytes that a small file may take.
const FLOOR: u64 = 64 << 20;

impl Contents {
    /// Looks into a file for the network that a key chooses, if there are several.
    ///
    /// # Errors
    /// If it is no checkpoint of PyTorch and no safetensors file, a damaged one, or has no such network.
    pub fn open(path: &Path, key: Option<&str>) -> Result<Self, ReadError> {
        let mut file = File::open(path)?;
        let size = file.metadata()?.len();
        let mut head = Vec::new();
        (&mut file).take(512).read_to_end(&mut head)?;
        file.rewind()?;
        // A safetensors file begins with the length of a JSON object.
        let (all, archive, metadata) = match head.get(8) == Some(&b'{') {
            true => {
                let (all, metadata) = safetensors(&mut BufReader::new(&file), size)?;
                (all, None, metadata)
            }
            false => {
                let (all, archive) = torch::list(file.try_clone()?, &head, size)?;
                (all, archive, Default::default())
            }
        };
        if all.is_empty() {
            return Err(ReadError::NoTensors);
        }
        let chosen = Chosen::of(all.iter().map(|tensor| &tensor.name[..]), key)?;
        let own = |tensor: Listed| {
            let name = chosen.name(&tensor.name)?;
            Some(Listed { name, ..tensor })
        };
        let mut tensors: Vec<Listed> = all.into_iter().filter_map(own).collect();
        tensors.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(Self { file, size, archive, tensors, metadata })
    }

    /// Names and shapes.
    pub fn shapes(&self) -> impl Iterator<Item = (&str, &[usize])> + Clone {
        self.tensors.iter().map(|tensor| (&tensor.name[..], &tensor.shape[..]))
    }

    /// Reads all tensors, in the order of their names.
    ///
    /// # Errors
    /// If one holds no numbers that are read, or all would take more than twice the file's size.
    pub fn read(mut self) -> Result<Vec<NamedTensor>, ReadError> {
        let mut bytes = 0u128;
        let (mut largest, mut listed) = (0, 0);
        for tensor in &self.tensors {
            listed += size_of::<Listed>() + tensor.name.len() + size_of_val(&tensor.shape[..]);
            let place = tensor.place.as_ref().map_err(|found| ReadError::Kind {
                name: line(&tensor.name),
                found: line(found),
            })?;
            bytes =
                bytes.saturating_add(tensor.numbers().saturating_mul(place.kind.held() as u128));
            if place.strides.is_some() {
                largest = largest.max(place.count);
            }
        }
        let allowed = u128::from(self.size.saturating_mul(2).saturating_add(FLOOR));
        if bytes.saturating_add(u128::from(largest) + listed as u128) > allowed {
            return Err(ReadError::TooLarge { bytes, file: self.size });
        }
        // Those of one storage one after the other.
        let tensors = std::mem::take(&mut self.tensors);
        let mut order: Vec<usize> = (0..tensors.len()).collect();
        let begin = |index: &usize| tensors[*index].place.as_ref().map_or(0, |place| place.begin);
        order.sort_by_key(begin);
        let mut found: Vec<Option<Numbers>> = vec![None; tensors.len()];
        let mut storage = Loaded::default();
        let mut checked = None;
        for index in order {
            let Ok(place) = &tensors[index].place else { continue };
            if let (Some(member), Some(archive)) = (place.member, &mut self.archive)
                && checked.replace(member) != Some(member)
            {
                torch::check(archive, member)?;
            }
            let count = tensors[index].numbers() as usize;
            let numbers = match &place.strides {
                None => self.run(place, count)?,
                Some(strides) => {
                    storage.load(&mut self.file, place)?;
                    gathered(&storage.bytes, place, &tensors[index].shape, strides)
                }
            };
            found[index] = Some(numbers);
        }
        let with = |(tensor, numbers): (Listed, Option<Numbers>)| {
            let Listed { name, shape, .. } = tensor;
            NamedTensor { name, shape, numbers: numbers.expect("each was read") }
        };
        Ok(tensors.into_iter().zip(found).map(with).collect())
    }

    /// So many numbers one behind the other.
    fn run(&mut self, place: &Place, count: usize) -> Result<Numbers, ReadError> {
        let size = place.kind.size();
        self.file.seek(SeekFrom::Start(place.begin + place.offset * size as u64))?;
        let mut numbers = place.kind.empty(count);
        let mut part = vec![0; PART.min(count * size)];
        let mut left = count * size;
        while left > 0 {
            let part = &mut part[..PART.min(left)];
            self.file.read_exact(part)?;
            numbers.extend(place.kind, part);
            left -= part.len();
        }
        Ok(numbers)
    }
}

/// The storage that was read last.
#[derive(Default)]
struct Loaded {
    begin: Option<u64>,
    bytes: Vec<u8>,
}

impl Loaded {
    fn load(&mut self, file: &mut File, place: &Place) -> Result<(), ReadError> {
        if self.begin != Some(place.begin) {
            self.begin = None;
            self.bytes = Vec::new();
            self.bytes = vec![0; place.count as usize];
            file.seek(SeekFrom::Start(place.begin))?;
            file.read_exact(&mut self.bytes)?;
            self.begin = Some(place.begin);
        }
        Ok(())
    }
}

/// The numbers of a tensor that do not lie one behind the other.
fn gathered(storage: &[u8], place: &Place, shape: &[usize], strides: &[usize]) -> Numbers {
    let size = place.kind.size();
    let mut numbers = place.kind.empty(shape.iter().product());
    let mut indices = vec![0; shape.len()];
    loop {
        let steps =
            indices.iter().zip(strides).map(|(index, stride)| index * stride).sum::<usize>();
        let at = (place.offset as usize + steps) * size;
        numbers.extend(place.kind, &storage[at..at + size]);
        // The next place, the last extent first.
        let mut axis = shape.len();
        loop {
            let Some(next) = axis.checked_sub(1) else { return numbers };
            axis = next;
            indices[axis] += 1;
            if indices[axis] < shape[axis] {
                break;
            }
            indices[axis] = 0;
        }
    }
}

/// Reads the tensors of a network, in the order of their names; with a key, of one of several networks. In memory
/// are at most twice the file's bytes and 64 MB.
///
/// # Errors
/// If it is no checkpoint of PyTorch and no safetensors file, a damaged one, or one that would take more.
pub fn read(path: &Path, key: Option<&str>) -> Result<Vec<NamedTensor>, ReadError> {
    Contents::open(path, key)?.read()
}

/// What a header of a safetensors file may always have, and the part of a large file that it may be:
/// interpreting it takes up to 55 bytes a byte, as a shape of many ones does.
const HEADER: u64 = 1 << 20;
const HEADER_PART: u64 = 32;

/// The longest header that is read of a safetensors file of so many bytes.
pub(crate) fn longest_header(size: u64) -> u64 {
    (size / HEADER_PART).max(HEADER)
}

/// The header of a safetensors file, and its length.
pub(super) fn header(from: &mut impl Read, size: u64) -> Result<(Metadata, u64), ReadError> {
    let damaged = |error: &dyn fmt::Display| ReadError::Safetensors(line(error));
    let cut = |expected| ReadError::Cut { found: size, expected };
    let mut length = [0; 8];
    from.read_exact(&mut length).map_err(|_| cut(None))?;
    let length = u64::from_le_bytes(length);
    let allowed = longest_header(size);
    if length > allowed {
        return Err(ReadError::LongHeader { length, allowed });
    }
    if length > size.saturating_sub(8) {
        return Err(cut(None));
    }
    let mut header = Vec::with_capacity(length as usize);
    from.take(length).read_to_end(&mut header)?;
    let metadata: Metadata = serde_json::from_slice(&header).map_err(|error| damaged(&error))?;
    let whole = 8 + length + metadata.data_len() as u64;
    match whole.cmp(&size) {
        std::cmp::Ordering::Equal => Ok((metadata, length)),
        std::cmp::Ordering::Greater => Err(cut(Some(whole))),
        std::cmp::Ordering::Less => {
            Err(damaged(&format!("its header tells of {whole} bytes, there are {size}")))
        }
    }
}

type Entries = HashMap<String, String>;

fn safetensors(from: &mut impl Read, size: u64) -> Result<(Vec<Listed>, Entries), ReadError> {
    let (metadata, length) = header(from, size)?;
    let listed = |name: String| {
        let info = metadata.info(&name)?;
        let (begin, end) = info.data_offsets;
        let place = Kind::of(info.dtype).map(|kind| Place {
            kind,
            begin: 8 + length + begin as u64,
            count: (end - begin) as u64,
            offset: 0,
            strides: None,
            member: None,
        });
        let place = place.ok_or_else(|| format!("{:?}", info.dtype));
        Some(Listed { shape: info.shape.clone(), name, place })
    };
    let tensors = metadata.offset_keys().into_iter().filter_map(listed).collect();
    Ok((tensors, metadata.metadata().clone().unwrap_or_default()))
}
