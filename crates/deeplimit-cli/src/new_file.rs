//! Files that an option names to be written. None that is there already is overwritten.

use anyhow::{Context, Result, bail};
use deeplimit_nn::train::{write_whole, write_whole_by};
use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;

/// Refuses a file that is there, or a folder, before any work is done for it. What is neither, such as
/// `/dev/stdout`, can be written to.
pub fn check(option: &str, path: &Path) -> Result<()> {
    let name = path.display();
    if path.is_dir() {
        bail!("{option} {name}: is a folder; name a file in it");
    }
    if path.is_file() {
        bail!(
            "{option} {name}: exists already, and is not overwritten; name another file, or remove it"
        );
    }
    Ok(())
}

/// Writes a file that is not there yet by `write`, whole or not at all; what is no file is written to as it is.
pub fn write_by(
    option: &str,
    path: &Path,
    write: impl FnOnce(&Path) -> std::io::Result<()>,
) -> Result<()> {
    check(option, path)?;
    let place = || format!("cannot write {}", path.display());
    match path.exists() {
        true => write(path).with_context(place),
        false => write_whole_by(path, write).with_context(place),
    }
}

/// Writes a file that is not there yet, whole or not at all.
pub fn write(option: &str, path: &Path, bytes: &[u8]) -> Result<()> {
    check(option, path)?;
    let place = || format!("cannot write {}", path.display());
    if path.exists() {
        let mut file = OpenOptions::new().write(true).open(path).with_context(place)?;
        return file.write_all(bytes).with_context(place);
    }
    write_whole(path, bytes).with_context(place)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_is_kept_and_told_by_the_option_that_named_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("table.csv");
        write("--out", &file, b"first").expect("written");
        let error = write("--out", &file, b"second").expect_err("there already").to_string();
        assert!(error.starts_with("--out ") && error.contains("name another file"), "{error}");
        assert_eq!(std::fs::read(&file).expect("read"), b"first");
        let error = check("--out", folder.path()).expect_err("a folder").to_string();
        assert!(error.contains("is a folder"), "{error}");
        #[cfg(unix)]
        write("--out", Path::new("/dev/null"), b"gone").expect("a place that is no file");
    }
}
