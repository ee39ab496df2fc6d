//! The built-in digits: the UCI set "Optical Recognition of Handwritten Digits" (E. Alpaydin and
//! C. Kaynak, 1998), 3,823 training and 1,797 test images of 8×8 pixels with values 0 to 16.
//!
//! The archive and its format are described in `data/README.md` of this crate.

use super::read::Reader;
use super::{DataError, Inputs, Place, Samples, Shape, Targets};

const ARCHIVE: &[u8] = include_bytes!("../../data/optdigits.bin.gz");
const NAME: &str = "built-in optdigits.bin.gz";
const PIXELS: usize = 64;
const CLASSES: u32 = 10;
/// The first four bytes of the archive, "OPTD".
const MAGIC: u32 = 0x4f50_5444;

/// The training and the test part.
pub(super) fn load() -> Result<(Samples, Samples), DataError> {
    read(ARCHIVE)
}

fn read(archive: &[u8]) -> Result<(Samples, Samples), DataError> {
    let mut reader = Reader::from_bytes(NAME, archive)?;
    let mut header = [0; 12];
    reader.exact(&mut header, Place::Header)?;
    let [a, b, c, d, train @ .., e, f, g, h] = header;
    let found = u32::from_be_bytes([a, b, c, d]);
    if found != MAGIC {
        let (file, meaning) = (reader.file(), "the digits archive");
        return Err(DataError::BadMagic { file, found, expected: MAGIC, meaning });
    }
    let (train, test) = (u32::from_be_bytes(train), u32::from_be_bytes([e, f, g, h]));
    let train_part = part(&mut reader, 0, u64::from(train))?;
    let test_part = part(&mut reader, u64::from(train), u64::from(test))?;
    reader.end(u64::from(train) + u64::from(test))?;
    Ok((train_part, test_part))
}

/// Reads `count` records of 64 pixels and a label.
fn part(reader: &mut Reader<'_>, first: u64, count: u64) -> Result<Samples, DataError> {
    let (mut pixels, mut labels) = (Vec::new(), Vec::new());
    let mut record = [0; PIXELS + 1];
    for index in first..first + count {
        reader.exact(&mut record, Place::Record(index))?;
        let label = u32::from(record[PIXELS]);
        if label >= CLASSES {
            let file = reader.file();
            let expected = [0, CLASSES - 1];
            return Err(DataError::BadLabel { file, record: index, found: label, expected });
        }
        pixels.extend_from_slice(&record[..PIXELS]);
        labels.push(label);
    }
    let names = (0..CLASSES).map(|digit| digit.to_string()).collect();
    Samples::new(
        Shape::image(1, 8, 8),
        Inputs::Bytes { bytes: pixels, full: 16 },
        Targets::Classes { labels, names },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_digits_have_the_counts_that_their_authors_give() {
        let (train, test) = load().unwrap();
        assert_eq!(train.class_counts(), [376, 389, 380, 389, 387, 376, 377, 387, 380, 382]);
        assert_eq!(test.class_counts(), [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]);
        for part in [train, test] {
            let Inputs::Bytes { bytes, full: 16 } = part.inputs() else { panic!("not bytes") };
            assert_eq!(bytes.iter().max(), Some(&16));
        }
    }

    #[test]
    fn a_cut_archive_is_an_error_that_names_the_record() {
        let message = read(&ARCHIVE[..ARCHIVE.len() / 2]).unwrap_err().to_string();
        assert!(message.starts_with("built-in optdigits.bin.gz: record "), "{message}");
        assert!(message.ends_with("the gzip stream is truncated"), "{message}");
        let mut garbled = ARCHIVE.to_vec();
        garbled[ARCHIVE.len() - 8] ^= 1; // the checksum
        let message = read(&garbled).unwrap_err().to_string();
        assert!(message.contains("record 5620: the gzip stream is corrupt"), "{message}");
    }
}
