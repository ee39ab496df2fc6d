//! Safetensors files, written so that equal contents are equal bytes.
//!
//! The library writes the texts of a header in the order of a hash map, which is another one each
//! time, and a file that no one but its owner may read. Here names ascend, and a file is made as any
//! other of the process. The format: eight bytes with the length of the header, the header in JSON,
//! the numbers of all tensors one after the other.

use safetensors::SafeTensorError;
use safetensors::tensor::{TensorInfo, View};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

/// The longest header that the format allows.
const LONGEST_HEADER: usize = 100_000_000;

/// The bytes that a header's length is a multiple of.
const ALIGNMENT: usize = 8;

/// What a header says under one name.
#[derive(Serialize)]
#[serde(untagged)]
enum Entry<'t> {
    Texts(&'t BTreeMap<String, String>),
    Tensor(TensorInfo),
}

/// Writes tensors, each under its name, and texts that go with them; one tensor after the other.
///
/// # Errors
/// If the header would be too long, or the bytes cannot be written.
pub(crate) fn write<'t, V: View>(
    to: &mut impl Write,
    tensors: impl IntoIterator<Item = (&'t str, V)>,
    texts: &BTreeMap<String, String>,
) -> Result<(), SafeTensorError> {
    let mut tensors: Vec<(&str, V)> = tensors.into_iter().collect();
    // Wider numbers first, so that all lie at multiples of their size.
    tensors.sort_by(|(a, left), (b, right)| right.dtype().cmp(&left.dtype()).then(a.cmp(b)));
    let mut header = BTreeMap::new();
    if !texts.is_empty() {
        header.insert("__metadata__", Entry::Texts(texts));
    }
    let mut end = 0;
    for (name, tensor) in &tensors {
        let start = end;
        end += tensor.data_len();
        let (dtype, shape) = (tensor.dtype(), tensor.shape().to_vec());
        header.insert(name, Entry::Tensor(TensorInfo { dtype, shape, data_offsets: (start, end) }));
    }
    let mut header = serde_json::to_vec(&header)?;
    header.resize(header.len().next_multiple_of(ALIGNMENT), b' ');
    if header.len() > LONGEST_HEADER {
        return Err(SafeTensorError::HeaderTooLarge);
    }
    to.write_all(&(header.len() as u64).to_le_bytes())?;
    to.write_all(&header)?;
    for (_, tensor) in &tensors {
        to.write_all(&tensor.data())?;
    }
    Ok(())
}

/// The same as bytes.
///
/// # Errors
/// If the header would be too long.
pub(crate) fn bytes<'t, V: View>(
    tensors: impl IntoIterator<Item = (&'t str, V)>,
    texts: &BTreeMap<String, String>,
) -> Result<Vec<u8>, SafeTensorError> {
    let mut bytes = Vec::new();
    write(&mut bytes, tensors, texts)?;
    Ok(bytes)
}

/// The same into a file.
///
/// # Errors
/// If the header would be too long, or the file cannot be written.
pub(crate) fn create<'t, V: View>(
    path: &Path,
    tensors: impl IntoIterator<Item = (&'t str, V)>,
    texts: &BTreeMap<String, String>,
) -> Result<(), SafeTensorError> {
    let mut file = BufWriter::with_capacity(1 << 20, File::create(path)?);
    write(&mut file, tensors, texts)?;
    Ok(file.flush()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use safetensors::tensor::{Dtype, SafeTensors, TensorView};

    #[test]
    fn the_library_reads_what_is_written_and_equal_contents_are_equal_bytes() {
        let texts: BTreeMap<String, String> =
            (0..9).map(|i| (format!("key {i}"), "\"é\"".to_owned())).collect();
        let (counter, weights) = ([7u8, 0, 0, 0, 0, 0, 0, 0], [0u8, 0, 128, 63, 0, 0, 0, 64]);
        let tensors = || {
            let view =
                |dtype, shape: &[usize], bytes| TensorView::new(dtype, shape.to_vec(), bytes);
            [
                ("a", view(Dtype::F32, &[2, 1], &weights[..]).unwrap()),
                ("b", view(Dtype::I64, &[], &counter[..]).unwrap()),
                ("none", view(Dtype::F32, &[0, 4], &[]).unwrap()),
            ]
        };
        let written = bytes(tensors(), &texts).unwrap();
        assert_eq!((written.len() - 16) % ALIGNMENT, 0);
        let file = SafeTensors::deserialize(&written).unwrap();
        for (name, tensor) in tensors() {
            assert_eq!(file.tensor(name).unwrap(), tensor, "{name}");
        }
        let (_, header) = SafeTensors::read_metadata(&written).unwrap();
        assert_eq!(header.info("b").unwrap().data_offsets, (0, 8), "wider numbers first");
        let found: BTreeMap<String, String> =
            header.metadata().clone().unwrap().into_iter().collect();
        assert_eq!(found, texts);
        assert_eq!(bytes(tensors().into_iter().rev(), &texts).unwrap(), written);
    }
}
