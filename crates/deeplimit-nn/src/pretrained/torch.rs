//! Tensors from what `torch.save` writes: archives (since PyTorch 1.6) and streams of pickles (0.1.10 to 1.5).
//!
//! The crate `pytorch-reader` interprets the pickles and checks every length against the file; nothing in a
//! pickle is called. What it leaves open is memory, which is bounded here before it is asked: what pickles and the
//! archive's directory take, and all tensors together.

use super::pickle::{Refused, Taken, weigh};
use super::read::{Kind, NamedTensor, ReadError, line, prefix};
use pytorch_reader::{DType, PytorchReader};
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek};
use std::path::Path;

/// Bytes that reading takes at most beside twice the file.
const SLACK: u64 = 1 << 19;

/// The header of a member in an archive's directory, and what one takes in memory.
const MEMBER: [u8; 4] = *b"PK\x01\x02";
const MEMBER_TAKES: u64 = 1024;

/// The number that a stream of pickles begins with, as its protocols write it.
const STREAM: [&[u8]; 2] =
    [&[0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19], b"119547037146038801333356"];
/// Bytes that each of the first pickles of a stream takes at most: that number, a version, the machine.
const HEADER: u64 = 1 << 15;
const HEADERS: usize = 3;

/// Reads the tensors of the network in a checkpoint.
pub(super) fn read(path: &Path, size: u64) -> Result<Vec<NamedTensor>, ReadError> {
    let allowed = size.saturating_mul(2).saturating_add(SLACK);
    let taken = walk(path, size, allowed)?;
    let damaged = |error: &dyn std::fmt::Display| ReadError::Checkpoint(line(error));
    let reader = PytorchReader::new(path).map_err(|error| damaged(&error))?;
    let tensors = reader.into_tensors();
    let prefix = prefix(tensors.keys().map(String::as_str))?;
    let own = tensors.into_iter();
    let mut own: Vec<(String, pytorch_reader::Tensor)> = own
        .filter_map(|(name, tensor)| Some((name.strip_prefix(&prefix)?.to_owned(), tensor)))
        .collect();
    own.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
    fits(&own, taken, size, allowed)?;
    let read = own.into_iter().map(|(name, tensor)| {
        let kind = kind(tensor.dtype()).ok_or_else(|| ReadError::Kind {
            name: name.clone(),
            found: format!("{:?}", tensor.dtype()),
        })?;
        let shape = tensor.shape().to_vec();
        let bytes = tensor.read().map_err(|error| damaged(&error))?;
        let count = tensor.num_elements();
        let numbers = kind.numbers(count, std::iter::once(Ok::<_, ReadError>(bytes)))?;
        Ok(NamedTensor { name, shape, numbers })
    });
    read.collect()
}

fn kind(of: DType) -> Option<Kind> {
    Some(match of {
        DType::F64 => Kind::F64,
        DType::F32 => Kind::F32,
        DType::F16 => Kind::F16,
        DType::BF16 => Kind::BF16,
        DType::I64 => Kind::I64,
        _ => return None,
    })
}

/// Checks that all tensors are no larger than the file, and that reading them one by one keeps to what is allowed.
/// A tensor that is no plain part of its storage is gathered from it.
fn fits(
    tensors: &[(String, pytorch_reader::Tensor)],
    taken: Taken,
    size: u64,
    allowed: u64,
) -> Result<(), ReadError> {
    let bytes = |tensor: &pytorch_reader::Tensor| {
        let each = tensor.dtype().size() as u128;
        tensor.shape().iter().fold(each, |all, extent| all.saturating_mul(*extent as u128))
    };
    let all = tensors.iter().fold(0u128, |all, (_, tensor)| all.saturating_add(bytes(tensor)));
    if all > u128::from(size) {
        return Err(ReadError::TooLarge { bytes: all, file: size });
    }
    let largest = tensors.iter().map(|(_, tensor)| bytes(tensor)).max().unwrap_or(0);
    let at_once = largest.max(u128::from(taken.storage.min(size)));
    match all + at_once + u128::from(taken.listed) > u128::from(allowed) {
        true => Err(ReadError::Crowded { file: size }),
        false => Ok(()),
    }
}

/// Walks over the pickles: what they take, or why they are not interpreted.
fn walk(path: &Path, size: u64, allowed: u64) -> Result<Taken, ReadError> {
    let mut file = File::open(path)?;
    let mut head = Vec::new();
    file.by_ref().take(512).read_to_end(&mut head)?;
    file.rewind()?;
    if head.starts_with(b"PK\x03\x04") || head.starts_with(b"PK\x05\x06") {
        return archive(file, size, allowed);
    }
    if head.get(257..262) == Some(b"ustar") {
        return Err(ReadError::Ancient);
    }
    let within = &head[..head.len().min(64)];
    if !STREAM.iter().any(|magic| within.windows(magic.len()).any(|part| part == *magic)) {
        return Err(ReadError::Unknown);
    }
    let mut from = BufReader::new(file);
    for _ in 0..HEADERS {
        refused(weigh(&mut from, HEADER), size)?;
    }
    let weights = refused(weigh(&mut from, allowed), size)?;
    let order = refused(weigh(&mut from, allowed - weights.most), size)?;
    match order.list {
        true => Ok(weights.and(order)),
        false => Err(ReadError::Checkpoint("the order of its storages is no list".into())),
    }
}

/// Weighs the pickle in an archive, none of whose members may be compressed: none can unfold to more than the
/// file.
fn archive(mut file: File, size: u64, allowed: u64) -> Result<Taken, ReadError> {
    let damaged = |error: zip::result::ZipError| ReadError::Checkpoint(line(&error));
    let directory = directory(&mut BufReader::new(&file), size)?;
    if directory > allowed {
        return Err(ReadError::Crowded { file: size });
    }
    file.rewind()?;
    let mut archive = zip::ZipArchive::new(BufReader::new(file)).map_err(damaged)?;
    let mut pickles = Vec::new();
    for index in 0..archive.len() {
        let member = archive.by_index_raw(index).map_err(damaged)?;
        let name = member.name().map_err(damaged)?;
        if member.compression() != zip::CompressionMethod::Stored {
            return Err(ReadError::Compressed { member: line(&name) });
        }
        if name.strip_suffix("data.pkl").is_some_and(|root| root.is_empty() || root.ends_with('/'))
        {
            pickles.push(index);
        }
    }
    let mut all = Taken { most: directory, listed: directory, ..Taken::default() };
    for index in pickles {
        let member = archive.by_index_raw(index).map_err(damaged)?;
        // The reader holds a pickle whole.
        all.most = all.most.saturating_add(member.size());
        let left = allowed.checked_sub(all.most).ok_or(ReadError::Crowded { file: size })?;
        all = all.and(refused(weigh(&mut BufReader::new(member), left), size)?);
    }
    Ok(all)
}

fn refused(found: Result<Taken, Refused>, file: u64) -> Result<Taken, ReadError> {
    found.map_err(|refused| match refused {
        Refused::TooMuch => ReadError::Crowded { file },
        Refused::Damaged(what) => ReadError::Checkpoint(format!("in its pickle, {what}")),
    })
}

/// What the directory of an archive takes at most: that of each member, and several times its bytes, which are
/// the last of the file.
fn directory(from: &mut impl BufRead, size: u64) -> Result<u64, ReadError> {
    let (mut members, mut first, mut at) = (0u64, size, 0u64);
    let mut last = [0u8; 4];
    loop {
        let part = from.fill_buf()?;
        if part.is_empty() {
            return Ok(members * MEMBER_TAKES + 4 * (size - first.min(size)));
        }
        for byte in part {
            last = [last[1], last[2], last[3], *byte];
            at += 1;
            if last == MEMBER {
                members += 1;
                first = first.min(at);
            }
        }
        let length = part.len();
        from.consume(length);
    }
}
