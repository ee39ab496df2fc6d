//! Tensors from what `torch.save` writes: archives (since PyTorch 1.6) and streams of pickles (0.1.10 to 1.5).
//!
//! A pickle tells names, shapes and storages; a storage is a part of the file, as it is: members of archives are
//! not compressed.

use super::foreign;
use super::pickle::{Budget, Keep, Pickled, Refused, Storage, Tensor, interpret};
use super::read::{Listed, Place, ReadError, line};
use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use zip::ZipArchive;
use zip::result::ZipError;

/// What interpreting a small file may take: one that is larger may take as much as it is.
const FLOOR: u64 = 64 << 20;

/// The header of a member in an archive's directory, and what one takes in memory.
const MEMBER: [u8; 4] = *b"PK\x01\x02";
/// The record at the end of an archive.
const END: [u8; 4] = *b"PK\x05\x06";
const MEMBER_TAKES: u64 = 1024;

/// The number that a stream of pickles begins with, as its protocols write it.
const STREAM: [&[u8]; 2] =
    [&[0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19], b"119547037146038801333356"];
/// The first pickles of a stream: that number, a version, the machine.
const HEADERS: usize = 3;

/// An open archive, of which members are checked.
pub(super) type Archive = ZipArchive<BufReader<File>>;

/// The tensors of a file with these first bytes; of an archive also the archive.
pub(super) fn list(
    mut file: File,
    head: &[u8],
    size: u64,
) -> Result<(Vec<Listed>, Option<Archive>), ReadError> {
    let budget = Budget(size.max(FLOOR));
    if head.starts_with(b"PK\x03\x04") || head.starts_with(b"PK\x05\x06") {
        return archive(file, size, budget);
    }
    if let Some(error) = foreign::by_beginning(head) {
        return Err(error);
    }
    let within = &head[..head.len().min(64)];
    if !STREAM.iter().any(|magic| within.windows(magic.len()).any(|part| part == *magic)) {
        return Err(match head {
            [0x80, 2..=5, ..] => ReadError::Foreign {
                what: "a pickle of Python that torch.save did not write".to_owned(),
                instead: "load it, and write its state_dict with torch.save".to_owned(),
            },
            _ => ReadError::Unknown,
        });
    }
    file.rewind()?;
    stream(file, size, budget)
}

/// Where a storage lies in the file.
#[derive(Clone, Copy, Debug)]
struct Bytes {
    begin: u64,
    count: u64,
    /// Which member of an archive it is.
    member: Option<usize>,
}

/// Bytes that a storage takes beside what the pickle tells of it: its place, and one in a table by its name.
const TAKES: usize = size_of::<Option<Bytes>>() + 128;

/// A tensor with its place in the file.
fn listed(
    name: String,
    tensor: Tensor,
    storages: &[Storage],
    bytes: &[Option<Bytes>],
) -> Result<Listed, ReadError> {
    let Tensor { shape, numbers } = tensor;
    let view = match numbers {
        Ok(view) => view,
        Err(kind) => return Ok(Listed { name, shape, place: Err(kind) }),
    };
    let storage = &storages[view.storage];
    let element = storage.element.ok_or_else(|| damaged("a storage's class is not known"))?;
    let Some(kind) = element.kind() else {
        return Ok(Listed { name, shape, place: Err(element.name().to_owned()) });
    };
    let Bytes { begin, count, member } = bytes[view.storage].ok_or_else(|| {
        damaged(&format!("storage {:?} of tensor {name:?} is missing", storage.key))
    })?;
    let [first, numbers] = storage.part.unwrap_or([0, count / kind.size() as u64]);
    let beyond = || damaged(&format!("tensor {name:?} reaches beyond its storage"));
    let end = first.checked_add(numbers).ok_or_else(beyond)?;
    if end > count / kind.size() as u64 {
        return Err(beyond());
    }
    // The last number, where there is one.
    let last = shape.iter().zip(&view.strides).try_fold(view.offset, |at, (extent, stride)| {
        let steps = (extent.saturating_sub(1) as u64).checked_mul(*stride as u64)?;
        at.checked_add(steps)
    });
    let empty = shape.contains(&0);
    if !empty && last.is_none_or(|last| last >= numbers) {
        return Err(beyond());
    }
    let offset = if empty { 0 } else { first + view.offset };
    let mut step = 1usize;
    let mut dense = true;
    for (extent, stride) in shape.iter().zip(&view.strides).rev() {
        dense &= *extent == 1 || *stride == step;
        step = step.saturating_mul(*extent);
    }
    let strides = (!dense && !empty).then_some(view.strides);
    Ok(Listed { name, shape, place: Ok(Place { kind, begin, count, offset, strides, member }) })
}

fn all_listed(
    pickled: &Pickled,
    budget: &mut Budget,
    size: u64,
    bytes: &[Option<Bytes>],
) -> Result<Vec<Listed>, ReadError> {
    let tensors = refused(pickled.tensors(budget), size)?;
    refused(budget.take(tensors.len() * size_of::<Listed>()), size)?;
    let tensors = tensors.into_iter();
    tensors.map(|(name, tensor)| listed(name, tensor, &pickled.storages, bytes)).collect()
}

fn damaged(what: &str) -> ReadError {
    ReadError::Checkpoint(line(&what))
}

fn refused<T>(found: Result<T, Refused>, file: u64) -> Result<T, ReadError> {
    found.map_err(|refused| match refused {
        Refused::TooMuch => ReadError::Crowded { allowed: file.max(FLOOR), file },
        Refused::Cut => ReadError::Cut { found: file, expected: None },
        Refused::Damaged(what) => ReadError::Checkpoint(format!("in its pickle, {}", line(&what))),
    })
}

/// Three pickles, that of the tensors, the order of the storages, and the storages, each with its length.
fn stream(
    file: File,
    size: u64,
    mut budget: Budget,
) -> Result<(Vec<Listed>, Option<Archive>), ReadError> {
    let mut from = BufReader::new(file);
    for _ in 0..HEADERS {
        refused(interpret(&mut from, &mut budget, Keep::Tensors), size)?;
    }
    let pickled = refused(interpret(&mut from, &mut budget, Keep::Tensors), size)?;
    let order = refused(interpret(&mut from, &mut budget, Keep::Texts), size)?;
    let order = order.list().ok_or_else(|| damaged("the order of its storages is no list"))?;
    refused(budget.take(pickled.storages.len() * TAKES), size)?;
    let mut bytes: Vec<Option<Bytes>> = vec![None; pickled.storages.len()];
    let mut own: HashMap<&str, Vec<usize>> = HashMap::new();
    for (index, storage) in pickled.storages.iter().enumerate() {
        own.entry(&storage.key).or_default().push(index);
    }
    for key in order {
        let mut count = [0; 8];
        from.read_exact(&mut count).map_err(|_| ReadError::Cut { found: size, expected: None })?;
        let (begin, count) = (from.stream_position()?, u64::from_le_bytes(count));
        let same = own.remove(key).ok_or_else(|| {
            damaged(&format!("storage {key:?} belongs to no tensor, or is there twice"))
        })?;
        let number = pickled.storages[same[0]].element.map_or(1, |element| element.size() as u64);
        let count = count.saturating_mul(number);
        let end = begin.saturating_add(count);
        if end > size {
            return Err(ReadError::Cut { found: size, expected: Some(end) });
        }
        for index in same {
            bytes[index] = Some(Bytes { begin, count, member: None });
        }
        from.seek(SeekFrom::Start(end))?;
    }
    Ok((all_listed(&pickled, &mut budget, size, &bytes)?, None))
}

/// An archive, none of whose members may be compressed: none can unfold to more than the file.
fn archive(
    mut file: File,
    size: u64,
    mut budget: Budget,
) -> Result<(Vec<Listed>, Option<Archive>), ReadError> {
    file.rewind()?;
    let Directory { takes: directory, ends } = directory(&mut BufReader::new(&file), size)?;
    if !ends {
        return Err(ReadError::Cut { found: size, expected: None });
    }
    let crowded = || ReadError::Crowded { allowed: size.max(FLOOR), file: size };
    budget.0 = budget.0.checked_sub(directory).ok_or_else(crowded)?;
    file.rewind()?;
    let mut archive = ZipArchive::new(BufReader::new(file)).map_err(|error| broken(&error))?;
    let (mut names, mut compressed) = (Vec::with_capacity(archive.len()), None);
    for index in 0..archive.len() {
        let member = archive.by_index_raw(index).map_err(|error| broken(&error))?;
        let name = member.name().map_err(|error| broken(&error))?.into_owned();
        if member.compression() != zip::CompressionMethod::Stored {
            compressed.get_or_insert(line(&name));
        }
        names.push(name);
    }
    if let Some(error) = foreign::by_members(&names) {
        return Err(error);
    }
    if let Some(member) = compressed {
        return Err(ReadError::Compressed { member });
    }
    let is_root = |name: &&String| **name == "data.pkl" || name.ends_with("/data.pkl");
    let pickle = names.iter().filter(is_root).min_by_key(|name| name.len());
    let pickle = pickle.ok_or_else(|| damaged("it has no data.pkl"))?;
    let root = &pickle[..pickle.len() - "data.pkl".len()];
    if let Ok(order) = archive.by_name(&format!("{root}byteorder")) {
        let mut text = String::new();
        let read = order.take(16).read_to_string(&mut text);
        if read.is_ok() && text.trim() == "big" {
            return Err(ReadError::Foreign {
                what: "a checkpoint of a machine that writes the largest byte first".to_owned(),
                instead: "load it in PyTorch and save it anew".to_owned(),
            });
        }
    }
    if let Some(index) = archive.index_for_name(pickle) {
        check(&mut archive, index)?;
    }
    let member = archive.by_name(pickle).map_err(|error| broken(&error))?;
    let pickled = interpret(&mut BufReader::new(member), &mut budget, Keep::Tensors);
    let pickled = pickled.map_err(|refused| match refused {
        Refused::Cut => Refused::Damaged("it has no end".to_owned()),
        other => other,
    });
    let pickled = refused(pickled, size)?;
    refused(budget.take(pickled.storages.len() * TAKES), size)?;
    let mut bytes = Vec::with_capacity(pickled.storages.len());
    for storage in &pickled.storages {
        let name = format!("{root}data/{}", storage.key);
        let found = archive.index_for_name(&name).map(|index| {
            let member = archive.by_index_raw(index).map_err(|error| broken(&error))?;
            let begin = member.data_start().ok_or_else(|| damaged("a member has no data"))?;
            Ok::<_, ReadError>(Bytes { begin, count: member.size(), member: Some(index) })
        });
        bytes.push(found.transpose()?);
    }
    Ok((all_listed(&pickled, &mut budget, size, &bytes)?, Some(archive)))
}

fn broken(error: &ZipError) -> ReadError {
    ReadError::Checkpoint(line(error))
}

/// Checks the checksum of a member.
pub(super) fn check(archive: &mut Archive, member: usize) -> Result<(), ReadError> {
    let mut member = archive.by_index(member).map_err(|error| broken(&error))?;
    match io::copy(&mut member, &mut io::sink()) {
        Ok(_) => Ok(()),
        Err(error) => Err(damaged(&format!("{error} in member {:?}", member.name_raw()))),
    }
}

/// What is known of an archive's directory before it is read.
struct Directory {
    /// Bytes that it takes in memory at most: those of each member, and several times its own, which are the last
    /// of the file.
    takes: u64,
    /// Whether there is the record that ends it.
    ends: bool,
}

fn directory(from: &mut impl BufRead, size: u64) -> Result<Directory, ReadError> {
    let (mut members, mut first, mut at, mut ends) = (0u64, size, 0u64, false);
    let mut last = [0u8; 4];
    loop {
        let part = from.fill_buf()?;
        if part.is_empty() {
            let takes = members * MEMBER_TAKES + 4 * (size - first.min(size));
            return Ok(Directory { takes, ends });
        }
        for byte in part {
            last = [last[1], last[2], last[3], *byte];
            at += 1;
            if last == MEMBER {
                members += 1;
                first = first.min(at);
            }
            ends |= last == END;
        }
        let length = part.len();
        from.consume(length);
    }
}
