//! How much a pickle makes, found without making it: every operation is passed over, and none is done.

use std::io::{BufRead, Error, ErrorKind, Read, Result, copy, sink};

/// What follows an operation's byte.
enum Follows {
    /// So many bytes.
    Bytes(u64),
    /// Bytes, whose number so many bytes tell, least first.
    Counted(usize),
    /// So many lines.
    Lines(usize),
}

/// Operations of a pickle (Python's `pickletools` has the list).
fn follows(operation: u8) -> Follows {
    match operation {
        b'K' | b'q' | b'h' | 0x80 | 0x82 => Follows::Bytes(1),
        b'M' | 0x83 => Follows::Bytes(2),
        b'J' | b'r' | b'j' | 0x84 => Follows::Bytes(4),
        b'G' | 0x95 => Follows::Bytes(8),
        b'U' | b'C' | 0x8a | 0x8c => Follows::Counted(1),
        b'T' | b'B' | b'X' | 0x8b => Follows::Counted(4),
        0x8d | 0x8e | 0x96 => Follows::Counted(8),
        b'I' | b'L' | b'F' | b'S' | b'V' | b'P' | b'p' | b'g' => Follows::Lines(1),
        b'c' | b'i' => Follows::Lines(2),
        _ => Follows::Bytes(0),
    }
}

/// Operations of the pickle that begins here, up to its end.
///
/// # Errors
/// If it has no end.
pub(super) fn operations(from: &mut impl BufRead) -> Result<u64> {
    let mut count = 0;
    loop {
        let operation = byte(from)?;
        count += 1;
        match follows(operation) {
            _ if operation == b'.' => return Ok(count),
            Follows::Bytes(length) => pass_over(from, length)?,
            Follows::Counted(digits) => {
                let mut length = [0; 8];
                from.read_exact(&mut length[..digits])?;
                pass_over(from, u64::from_le_bytes(length))?;
            }
            Follows::Lines(lines) => {
                for _ in 0..lines {
                    while byte(from)? != b'\n' {}
                }
            }
        }
    }
}

fn byte(from: &mut impl BufRead) -> Result<u8> {
    let mut byte = [0];
    from.read_exact(&mut byte)?;
    Ok(byte[0])
}

fn pass_over(from: &mut impl BufRead, length: u64) -> Result<()> {
    match copy(&mut from.by_ref().take(length), &mut sink())? == length {
        true => Ok(()),
        false => Err(Error::new(ErrorKind::UnexpectedEof, "a pickle without an end")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operations_are_counted_to_the_end_of_the_pickle_and_not_beyond() {
        // A protocol, a dictionary, a memo, a text, a number in a line, two entries set; the end.
        let pickle = b"\x80\x02}q\x00(X\x03\x00\x00\x00a.bI12\nu.rest";
        let mut from = &pickle[..];
        assert_eq!(operations(&mut from).expect("whole"), 8);
        assert_eq!(from, b"rest");
        for length in 0..pickle.len() - 4 {
            assert!(operations(&mut &pickle[..length]).is_err(), "cut at {length}");
        }
        assert!(operations(&mut &b"\x8d\xff\xff\xff\xff\xff\xff\xff\x7fabc."[..]).is_err());
    }
}
