//! The text of a table: UTF-8 whose lines end in `\n`, whatever the file holds.
//!
//! UTF-16 is known by its byte order mark, or by every other byte being zero. Carriage returns end lines
//! where the beginning of the file has no `\n` at all.

use std::io::{self, Read};

/// Bytes that are looked at before the first line is read.
const AHEAD: u64 = 1 << 16;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Encoding {
    Utf8,
    Utf16 { big: bool },
}

/// What no text holds.
#[derive(Debug, thiserror::Error)]
#[error("is cut or garbled UTF-16 text")]
pub(super) struct Garbled;

/// A file's text, decoded on the way.
pub(super) struct Text<'a> {
    inner: Box<dyn Read + 'a>,
    encoding: Encoding,
    returns: bool,
    /// Bytes that are not decoded yet.
    raw: Vec<u8>,
    /// Bytes that are, and how many of them were taken.
    ready: Vec<u8>,
    taken: usize,
    ended: bool,
    /// A failure behind what is ready.
    failed: Option<io::Error>,
}

impl<'a> Text<'a> {
    /// Looks at the beginning of a file.
    pub(super) fn new(inner: Box<dyn Read + 'a>) -> Self {
        let mut text = Self {
            inner,
            encoding: Encoding::Utf8,
            returns: false,
            raw: Vec::new(),
            ready: Vec::new(),
            taken: 0,
            ended: false,
            failed: None,
        };
        text.fetch();
        let (encoding, mark) = encoding(&text.raw);
        text.encoding = encoding;
        text.raw.drain(..mark);
        text.decode();
        text.returns = text.ready.contains(&b'\r') && !text.ready.contains(&b'\n');
        text.end_lines(0);
        text
    }

    /// The beginning of the text, and whether it is all of it.
    pub(super) fn ahead(&self) -> (&[u8], bool) {
        (&self.ready[self.taken..], self.ended)
    }

    /// Reads some more bytes as the file has them. A failure waits until all before it is taken.
    fn fetch(&mut self) {
        let before = self.raw.len();
        match (&mut self.inner).take(AHEAD).read_to_end(&mut self.raw) {
            Ok(0) => self.ended = true,
            Ok(count) => self.ended = (count as u64) < AHEAD,
            Err(error) => {
                self.failed = Some(error);
                self.ended = self.raw.len() == before;
            }
        }
    }

    fn decode(&mut self) {
        match self.encoding {
            Encoding::Utf8 => self.ready.append(&mut self.raw),
            Encoding::Utf16 { big } => {
                let unit = |pair: &[u8]| match big {
                    true => u16::from_be_bytes([pair[0], pair[1]]),
                    false => u16::from_le_bytes([pair[0], pair[1]]),
                };
                let mut units: Vec<u16> = self.raw.chunks_exact(2).map(unit).collect();
                // The first half of a pair waits for the second.
                if !self.ended && units.last().is_some_and(|last| (0xd800..0xdc00).contains(last)) {
                    units.pop();
                }
                self.raw.drain(..2 * units.len());
                let mut garbled = self.ended && self.failed.is_none() && !self.raw.is_empty();
                let mut buffer = [0; 4];
                for character in char::decode_utf16(units) {
                    let Ok(character) = character else {
                        garbled = true;
                        break;
                    };
                    self.ready.extend_from_slice(character.encode_utf8(&mut buffer).as_bytes());
                }
                if garbled {
                    self.failed = Some(io::Error::other(Garbled));
                }
            }
        }
    }

    fn end_lines(&mut self, from: usize) {
        if self.returns {
            let ends = self.ready[from..].iter_mut().filter(|byte| **byte == b'\r');
            ends.for_each(|byte| *byte = b'\n');
        }
    }
}

impl Read for Text<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.taken == self.ready.len() {
            if let Some(error) = self.failed.take() {
                return Err(error);
            }
            if self.ended {
                return Ok(0);
            }
            self.ready.clear();
            self.taken = 0;
            self.fetch();
            self.decode();
            self.end_lines(0);
        }
        let count = buffer.len().min(self.ready.len() - self.taken);
        buffer[..count].copy_from_slice(&self.ready[self.taken..self.taken + count]);
        self.taken += count;
        Ok(count)
    }
}

/// The encoding of a file that begins so, and the length of its byte order mark.
fn encoding(start: &[u8]) -> (Encoding, usize) {
    let (little, big) = (Encoding::Utf16 { big: false }, Encoding::Utf16 { big: true });
    match start {
        [0xef, 0xbb, 0xbf, ..] => return (Encoding::Utf8, 3),
        [0xff, 0xfe, ..] => return (little, 2),
        [0xfe, 0xff, ..] => return (big, 2),
        _ => {}
    }
    let pairs = || start.chunks_exact(2).take(512);
    let all = |zero: usize| pairs().all(|pair| pair[zero] == 0 && pair[1 - zero] != 0);
    match (pairs().len() > 0, all(0), all(1)) {
        (true, true, _) => (big, 0),
        (true, _, true) => (little, 0),
        _ => (Encoding::Utf8, 0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> io::Result<String> {
        let mut text = String::new();
        Text::new(Box::new(bytes)).read_to_string(&mut text).map(|_| text)
    }

    fn utf16(text: &str, big: bool) -> Vec<u8> {
        let bytes = |unit: u16| if big { unit.to_be_bytes() } else { unit.to_le_bytes() };
        text.encode_utf16().flat_map(bytes).collect()
    }

    #[test]
    fn the_same_text_is_read_from_any_encoding_and_any_line_end() {
        // Longer than what is looked at first, with pairs of units across every border.
        let line = "länge;5,1;𝒳\n";
        let text = line.repeat(20_001);
        assert_eq!(read(text.as_bytes()).unwrap(), text);
        assert_eq!(read(&[b"\xef\xbb\xbf", text.as_bytes()].concat()).unwrap(), text);
        for big in [false, true] {
            let marked = utf16(&format!("\u{feff}{text}"), big);
            assert_eq!(read(&marked).unwrap(), text, "{big}");
            assert_eq!(read(&utf16("a,b\n1,2\n", big)).unwrap(), "a,b\n1,2\n");
        }
        assert_eq!(read(text.replace('\n', "\r").as_bytes()).unwrap(), text);
        let windows = text.replace('\n', "\r\n");
        assert_eq!(read(windows.as_bytes()).unwrap(), windows);
    }

    #[test]
    fn garbled_utf16_is_an_error_behind_what_is_whole() {
        let whole = utf16("\u{feff}a,b\n", false);
        for tail in [&b"\x31"[..], &b"\x00\xd8"[..], &b"\x00\xdc\x31\x00"[..]] {
            let bytes = [&whole, tail].concat();
            let mut text = Text::new(Box::new(&bytes[..]));
            let mut start = [0; 4];
            text.read_exact(&mut start).unwrap();
            assert_eq!(&start, b"a,b\n");
            let error = text.read(&mut start).unwrap_err();
            assert!(error.get_ref().is_some_and(|error| error.is::<Garbled>()), "{error}");
        }
    }
}
