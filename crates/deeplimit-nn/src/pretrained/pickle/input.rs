//! The bytes of a pickle, one operation after the other.

use super::{LONGEST, Refused};
use std::io::{BufRead, Read, copy, sink};

/// The bytes of a pickle.
pub(super) struct Input<'f, F> {
    pub from: &'f mut F,
    /// Operations so far.
    pub passed: u64,
}

impl<F: BufRead> Input<'_, F> {
    pub(super) fn byte(&mut self) -> Result<u8, Refused> {
        self.passed += 1;
        Ok(self.unsigned(1)? as u8)
    }

    /// A number of so many bytes, eight at most, least first.
    pub(super) fn unsigned(&mut self, length: usize) -> Result<u64, Refused> {
        let mut bytes = [0; 8];
        self.from.read_exact(&mut bytes[..length]).map_err(|_| Refused::Cut)?;
        Ok(u64::from_le_bytes(bytes))
    }

    pub(super) fn skip(&mut self, length: u64) -> Result<(), Refused> {
        match copy(&mut self.from.by_ref().take(length), &mut sink()) {
            Ok(passed) if passed == length => Ok(()),
            _ => Err(Refused::Cut),
        }
    }

    /// A text of so many bytes; `None` if it is too long to be kept.
    pub(super) fn text(&mut self, length: u64) -> Result<Option<String>, Refused> {
        if length > LONGEST {
            return self.skip(length).map(|()| None);
        }
        let mut bytes = vec![0; length as usize];
        self.from.read_exact(&mut bytes).map_err(|_| Refused::Cut)?;
        Ok(Some(readable(bytes)))
    }

    /// A line, without its end; `None` if it is too long to be kept.
    pub(super) fn line(&mut self) -> Result<Option<String>, Refused> {
        let mut line = Vec::new();
        let found = self.from.by_ref().take(LONGEST).read_until(b'\n', &mut line);
        found.map_err(|_| Refused::Cut)?;
        if line.pop_if(|last| *last == b'\n').is_some() {
            return Ok(Some(readable(line)));
        }
        loop {
            if self.unsigned(1)? as u8 == b'\n' {
                return Ok(None);
            }
        }
    }
}

/// The text that bytes are, each by itself where they are not Unicode.
fn readable(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes)
        .unwrap_or_else(|error| error.into_bytes().into_iter().map(char::from).collect())
}
