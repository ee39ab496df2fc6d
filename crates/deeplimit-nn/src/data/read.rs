//! Reading a file, plain or gzip, with errors that know the place.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use flate2::bufread::MultiGzDecoder;

use super::{DataError, Place};

const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];

/// A file says at its end that it unpacks to more than this many times its size, and is not believed.
const BELIEVED: u64 = 64;

/// An open file, decompressed on the way where its name ends in `.gz`.
pub(super) struct Reader<'a> {
    file: PathBuf,
    gzip: bool,
    /// Bytes that will come, where that is known; only to have room for them.
    expected: u64,
    inner: Box<dyn Read + 'a>,
}

impl<'a> Reader<'a> {
    /// Opens a file.
    pub(super) fn open(path: &Path) -> Result<Self, DataError> {
        if path.is_dir() {
            return Err(DataError::NotAFile { path: path.to_owned() });
        }
        let file = File::open(path).map_err(|cause| match cause.kind() {
            io::ErrorKind::NotFound => DataError::Missing { path: path.to_owned() },
            _ => DataError::Io { file: path.to_owned(), cause },
        })?;
        let reader = Self::from_buffered(path, BufReader::with_capacity(1 << 16, file))?;
        Ok(Self { expected: unpacked_len(path).unwrap_or(0), ..reader })
    }

    /// Reads bytes in memory as if they were the file of that name.
    pub(super) fn from_bytes(name: &str, bytes: &'a [u8]) -> Result<Self, DataError> {
        Self::from_buffered(Path::new(name), bytes)
    }

    fn from_buffered(path: &Path, mut bytes: impl BufRead + 'a) -> Result<Self, DataError> {
        let gzip = path.extension().is_some_and(|extension| extension == "gz");
        let start =
            bytes.fill_buf().map_err(|cause| DataError::Io { file: path.to_owned(), cause })?;
        // No format read here can start with gzip's magic number.
        if !gzip && start.starts_with(&GZIP_MAGIC) {
            return Err(DataError::UnexpectedGzip { file: path.to_owned() });
        }
        let inner: Box<dyn Read + 'a> =
            if gzip { Box::new(MultiGzDecoder::new(bytes)) } else { Box::new(bytes) };
        Ok(Self { file: path.to_owned(), gzip, expected: 0, inner })
    }

    /// The file's path.
    pub(super) fn file(&self) -> PathBuf {
        self.file.clone()
    }

    /// Fills the buffer as far as the file goes, and says how far that is.
    pub(super) fn fill(&mut self, buffer: &mut [u8], place: Place) -> Result<usize, DataError> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.inner.read(&mut buffer[filled..]) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(cause) if cause.kind() == io::ErrorKind::Interrupted => {}
                Err(cause) => return Err(self.error(cause, place)),
            }
        }
        Ok(filled)
    }

    /// Fills the whole buffer.
    pub(super) fn exact(&mut self, buffer: &mut [u8], place: Place) -> Result<(), DataError> {
        let (expected, found) = (buffer.len() as u64, self.fill(buffer, place)? as u64);
        if found < expected {
            return Err(DataError::WrongLength { file: self.file(), place, expected, found });
        }
        Ok(())
    }

    /// Checks that nothing follows; of a gzip stream this also checks the checksum.
    pub(super) fn end(&mut self, records: u64) -> Result<(), DataError> {
        match self.fill(&mut [0], Place::Record(records))? {
            0 => Ok(()),
            _ => Err(DataError::TrailingBytes { file: self.file(), records }),
        }
    }

    /// Reads `count` records of `size` bytes; memory grows with what the file really holds, so
    /// that a garbled header cannot ask for all of it.
    pub(super) fn records(&mut self, count: u64, size: u64) -> Result<Vec<u8>, DataError> {
        let expected = count.saturating_mul(size);
        let mut bytes = Vec::with_capacity(expected.min(self.expected) as usize);
        let outcome = (&mut self.inner).take(expected).read_to_end(&mut bytes);
        let found = bytes.len() as u64;
        let place = Place::Record(found / size.max(1));
        outcome.map_err(|cause| self.error(cause, place))?;
        if found < expected {
            let found = found % size.max(1);
            return Err(DataError::WrongLength { file: self.file(), place, expected: size, found });
        }
        Ok(bytes)
    }

    /// Reads and forgets what is left, and says how many bytes that was.
    pub(super) fn skip_to_end(&mut self) -> Result<u64, DataError> {
        let outcome = io::copy(&mut self.inner, &mut io::sink());
        outcome.map_err(|cause| self.error(cause, Place::Header))
    }

    /// Names the file and the place of a failure to read.
    pub(super) fn error(&self, cause: io::Error, place: Place) -> DataError {
        io_error(&self.file, self.gzip, cause, place)
    }

    /// The bytes alone, for a parser of its own, and what [`io_error`] needs to name them.
    pub(super) fn into_parts(self) -> (Box<dyn Read + 'a>, PathBuf, bool) {
        (self.inner, self.file, self.gzip)
    }
}

/// Names the file and the place of a failure to read.
pub(super) fn io_error(file: &Path, gzip: bool, cause: io::Error, place: Place) -> DataError {
    let file = file.to_owned();
    match cause.kind() {
        io::ErrorKind::UnexpectedEof if gzip => DataError::Gzip { file, place, truncated: true },
        io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput if gzip => {
            DataError::Gzip { file, place, truncated: false }
        }
        _ => DataError::Io { file, cause },
    }
}

/// The bytes that a file has, or would have unpacked, where its size and its end tell that.
///
/// A gzip stream ends in the length of what it holds, modulo 2³². That is not true of several streams in one
/// file, of which the last speaks: then it is too little for their packed bytes, unless these pack well.
pub(super) fn unpacked_len(path: &Path) -> Option<u64> {
    let mut file = File::open(path).ok()?;
    let packed = file.metadata().ok()?.len();
    if path.extension().is_none_or(|extension| extension != "gz") {
        return Some(packed);
    }
    let mut end = [0; 4];
    file.seek(SeekFrom::End(-4)).ok()?;
    file.read_exact(&mut end).ok()?;
    let length = u64::from(u32::from_le_bytes(end));
    // What does not pack becomes a little more.
    let most_packed = length + length / 8 + 1024;
    (packed <= most_packed && length / BELIEVED <= packed).then_some(length)
}

/// The first of `name` and `name.gz`, for each name in turn, that the folder holds.
pub(super) fn find<N: AsRef<str>>(folder: &Path, names: &[N]) -> Option<PathBuf> {
    candidates(names).into_iter().map(|name| folder.join(name)).find(|path| path.is_file())
}

/// Finds a file, or says which names were looked for.
pub(super) fn require<N: AsRef<str>>(folder: &Path, names: &[N]) -> Result<PathBuf, DataError> {
    find(folder, names)
        .ok_or_else(|| DataError::NotFound { folder: folder.to_owned(), tried: candidates(names) })
}

/// Checks that a path is a folder.
pub(super) fn require_folder(path: &Path) -> Result<(), DataError> {
    match (path.is_dir(), path.exists()) {
        (true, _) => Ok(()),
        (false, true) => Err(DataError::NotAFolder { path: path.to_owned() }),
        (false, false) => Err(DataError::Missing { path: path.to_owned() }),
    }
}

/// Reads class names, one a line; blank lines at the end do not count.
pub(super) fn names(path: &Path) -> Result<Vec<String>, DataError> {
    let mut reader = Reader::open(path)?;
    let mut bytes = Vec::new();
    let outcome = reader.inner.read_to_end(&mut bytes);
    outcome.map_err(|cause| reader.error(cause, Place::Header))?;
    let text = String::from_utf8(bytes).map_err(|error| {
        let valid = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = 1 + valid.iter().filter(|&&byte| byte == b'\n').count() as u64;
        DataError::NotText { file: path.to_owned(), line }
    })?;
    Ok(text.trim_end().lines().map(|line| line.trim().to_owned()).collect())
}

fn candidates<N: AsRef<str>>(names: &[N]) -> Vec<String> {
    let both = |name: &str| [name.to_owned(), format!("{name}.gz")];
    names.iter().flat_map(|name| both(name.as_ref())).collect()
}
