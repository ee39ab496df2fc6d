//! What lies at a path where no data set is read as it is, and what to do about it.
//!
//! Names are looked at, in a folder and at most two below it; no file is opened.

use std::fs;
use std::path::{Path, PathBuf};

use super::cifar::Layout;
use super::{Source, known, picture};

/// Folders that are looked into at most.
const LOOKED_INTO: usize = 200;

/// What was found, and what to do, as the end of a message that begins with the path.
pub(super) fn hint(path: &Path) -> Option<String> {
    if path.is_file() {
        return of_file(path);
    }
    let mut folders = vec![path.to_owned()];
    let mut looked_into = 0;
    for _depth in 0..3 {
        let mut below = Vec::new();
        for folder in &folders {
            if looked_into == LOOKED_INTO {
                return None;
            }
            looked_into += 1;
            if folder != path
                && let Some(source) = known(folder)
            {
                let folder = folder.display();
                return Some(format!(
                    "holds no data set itself, but {folder} does ({source}): name that folder"
                ));
            }
            let (files, inner) = entries(folder);
            if let Some(hint) = of_files(folder, path, &files, &inner) {
                return Some(hint);
            }
            below.extend(inner);
        }
        folders = below;
    }
    None
}

/// Files and folders of a folder, by name.
pub(super) fn entries(folder: &Path) -> (Vec<PathBuf>, Vec<PathBuf>) {
    let mut all: Vec<PathBuf> =
        fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    all.sort();
    all.into_iter().partition(|path| !path.is_dir())
}

pub(super) fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// The first folder below one that holds images, where it has none itself.
pub(super) fn pictures_below(path: &Path) -> Option<String> {
    let (_, inner) = entries(path);
    let holds = |folder: &&PathBuf| entries(folder).0.iter().any(|file| picture::is_named(file));
    let folder = inner.iter().take(LOOKED_INTO).find(holds)?.display();
    Some(format!("holds no images itself, but its folder {folder} does: name that folder"))
}

/// A file where a folder is expected, or of a format that is not read.
fn of_file(path: &Path) -> Option<String> {
    let name = name(path);
    if let Some(hint) = archive(&name) {
        return Some(hint);
    }
    let of_set = |source: &Source| Layout::of(*source).is_some_and(|set| set.has_file(&name));
    if let Some(source) = Source::ALL.iter().find(|source| of_set(source)) {
        return Some(format!("is one file of a {source} set; name its folder"));
    }
    if let Some(set) = pickled(&name) {
        return Some(format!("is {}", not_pickles(set)));
    }
    let kind = foreign(&name)?;
    Some(match kind {
        IMAGE => {
            "is one image; deeplimit predict reads images, training reads data sets".to_owned()
        }
        kind => format!("is a {kind} file, which is not read; write it as a table, FILE.csv"),
    })
}

/// An archive, by its name.
pub(super) fn archive(name: &str) -> Option<String> {
    let how = unpacking(name)?;
    Some(format!("is an archive; {how}, and name the folder that comes out"))
}

/// What the files of a folder are; `path` is what was asked for.
fn of_files(folder: &Path, path: &Path, files: &[PathBuf], inner: &[PathBuf]) -> Option<String> {
    let names: Vec<String> = files.iter().map(|file| name(file)).collect();
    let place = match folder == path {
        true => "holds".to_owned(),
        false => format!("its folder {} holds", folder.display()),
    };
    if let Some(set) = names.iter().find_map(|name| pickled(name)) {
        return Some(format!("{place} {}", not_pickles(set)));
    }
    if let Some(table) = files.iter().find(|file| known(file) == Some(Source::Csv)) {
        let table = table.display();
        return Some(format!("{place} a table, but a table is named by its file: {table}"));
    }
    // What an archive gave may lie beside it.
    if inner.is_empty()
        && let Some((name, how)) = names.iter().find_map(|name| Some((name, unpacking(name)?)))
    {
        let named = if name.to_lowercase().contains("python") {
            not_pickles(if name.contains("100") { 100 } else { 10 })
        } else {
            format!("the archive {name}; {how}, and name the folder that comes out")
        };
        return Some(format!("{place} {named}"));
    }
    let (name, kind) = names.iter().find_map(|name| Some((name, foreign(name)?)))?;
    Some(match kind {
        IMAGE => format!(
            "{place} images such as {name}; deeplimit predict reads them, training reads IDX and CIFAR \
             files and tables"
        ),
        kind => format!("{place} {name}, a {kind} file, which is not read"),
    })
}

/// Which CIFAR set a file of Python pickles belongs to, by its name.
fn pickled(name: &str) -> Option<u32> {
    match name {
        "batches.meta" | "test_batch" => Some(10),
        "meta" => Some(100),
        _ => name.strip_prefix("data_batch_").filter(|rest| rest.len() == 1).map(|_| 10),
    }
}

fn not_pickles(set: u32) -> String {
    format!(
        "CIFAR-{set} as Python pickles, which are not read; unpack the binary version, \
         cifar-{set}-binary.tar.gz, and name the folder that comes out"
    )
}

/// How an archive is unpacked, by its name.
fn unpacking(name: &str) -> Option<String> {
    let lower = name.to_lowercase();
    let ends = |ends: &[&str]| ends.iter().any(|end| lower.ends_with(end));
    let command = match () {
        () if ends(&[".tar.gz", ".tgz"]) => "tar xzf",
        () if ends(&[".tar", ".tar.bz2", ".tar.xz"]) => "tar xf",
        () if ends(&[".zip"]) => "unzip",
        () if ends(&[".7z"]) => "7z x",
        () => return None,
    };
    Some(format!("unpack it with {command} {}", quoted(name)))
}

/// As a shell takes it.
fn quoted(name: &str) -> String {
    match name.chars().all(|c| c.is_ascii_alphanumeric() || "._-+/".contains(c)) {
        true => name.to_owned(),
        false => format!("'{}'", name.replace('\'', r"'\''")),
    }
}

const IMAGE: &str = "image";

/// A format that data sets come in elsewhere, by a file's name.
fn foreign(name: &str) -> Option<&'static str> {
    let (_, end) = name.rsplit_once('.')?;
    Some(match &end.to_lowercase()[..] {
        "png" | "jpg" | "jpeg" => IMAGE,
        "mat" => "MATLAB",
        "npz" | "npy" => "NumPy",
        "pkl" | "pickle" => "Python pickle",
        "h5" | "hdf5" => "HDF5",
        "parquet" | "arrow" | "feather" => "column store",
        "tfrecord" => "TensorFlow record",
        "xls" | "xlsx" | "ods" => "spreadsheet",
        _ => return None,
    })
}
