//! Inputs without targets: what a trained network is asked about.
//!
//! Read are tables in the format of the run, whose target column may be there or not, a PNG or JPEG file or a
//! folder of them, IDX images, and records of the CIFAR sets, whose labels are skipped.

use std::ops::Range;
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use super::cifar::Layout;
use super::reshape::Reshape;
use super::table::{self, TableRows};
use super::{DataError, Inputs, Normalisation, Options, Schema, Shape, batch, hint, idx, picture};

/// Inputs without targets, of which some are read at a time.
#[derive(Debug)]
pub struct Unlabelled {
    taken: Taken,
    held: Held,
    /// The name of each input: that of its file, or its number.
    names: Names,
    notes: Vec<String>,
}

/// What a network takes, and which images are brought to it.
#[derive(Clone, Copy, Debug)]
struct Taken {
    shape: Shape,
    /// Whether images of any size are.
    resize: bool,
    /// Whether images in grey or in colour are.
    channels: bool,
}

#[derive(Debug)]
enum Held {
    /// All of one shape, in memory.
    Together { inputs: Inputs, len: usize, shape: Shape, reshape: Option<Reshape> },
    /// In a file each.
    Pictures(Vec<PathBuf>),
}

#[derive(Debug)]
enum Names {
    /// Those of files.
    Files(Vec<String>),
    /// The number of each row of a table, of which some may be left out.
    Rows(Vec<u64>),
    /// From 0 on.
    InOrder,
}

/// The name of an input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InputName {
    /// Its file, where each input has one.
    File(String),
    /// Its number in a file of many, counted from 0.
    Index(u64),
}

impl Taken {
    /// How images of a shape are seen; `None` where they are as the network takes them.
    fn reshape(self, found: Shape, file: &Path) -> Result<Option<Reshape>, DataError> {
        let Self { shape: expected, resize, channels } = self;
        let same_size = (found.height, found.width) == (expected.height, expected.width);
        if (!same_size && !resize) || (found.channels != expected.channels && !channels) {
            let file = file.to_owned();
            return Err(DataError::OtherShape { file, found, expected });
        }
        Ok(Reshape::between(found, expected))
    }
}

impl Unlabelled {
    /// Finds out what lies at a path, and reads it if it is one file of many inputs. They are read as a run with
    /// these options and this schema reads its own.
    ///
    /// # Errors
    /// A [`DataError`] for a path that holds no inputs, or others than the network takes.
    pub fn open(path: &Path, options: &Options, schema: &Schema) -> Result<Self, DataError> {
        let no_inputs = |hint| Err(DataError::NoInputs { path: path.to_owned(), hint });
        if !path.exists() {
            return Err(DataError::Missing { path: path.to_owned() });
        }
        if let Some(format) = &schema.table {
            if path.is_dir() {
                let hint = "is a folder, but the network takes the rows of a table; name its file";
                return no_inputs(Some(hint.to_owned()));
            }
            return Self::rows(table::rows_by(path, options, format)?);
        }
        let Some(shape) = schema.shape else {
            return no_inputs(Some(
                "is not read: the network does not say what it takes".to_owned(),
            ));
        };
        let (resize, channels) = (options.resize.is_some(), options.channels.is_some());
        let taken = Taken { shape, resize, channels };
        if path.is_file() {
            return Self::of_file(path, taken);
        }
        let (files, folders) = hint::entries(path);
        let (pictures, others): (Vec<_>, Vec<_>) =
            files.into_iter().partition(|file| picture::is_named(file));
        if !pictures.is_empty() {
            let others = others.iter().map(|file| hint::name(file));
            let folders = folders.iter().map(|folder| hint::name(folder) + "/");
            let notes = left_out(&others.chain(folders).collect::<Vec<_>>());
            return Ok(Self { notes, ..Self::pictures(pictures, taken) });
        }
        let many: Vec<PathBuf> = others.into_iter().filter(|file| kind(file).is_some()).collect();
        match &many[..] {
            [only] => Self::of_file(only, taken),
            [] => no_inputs(hint::pictures_below(path)),
            _ => Err(DataError::SeveralSets { path: path.to_owned(), files: many }),
        }
    }

    /// Rows of a table.
    fn rows(rows: TableRows) -> Result<Self, DataError> {
        let TableRows { values, numbers, notes, .. } = rows;
        let len = numbers.len();
        let shape = Shape::table(values.len() / len.max(1));
        let taken = Taken { shape, resize: false, channels: false };
        let held = Held::Together { inputs: Inputs::Floats(values), len, shape, reshape: None };
        Ok(Self { taken, held, names: Names::Rows(numbers), notes })
    }

    fn pictures(files: Vec<PathBuf>, taken: Taken) -> Self {
        let names = Names::Files(files.iter().map(|file| hint::name(file)).collect());
        Self { taken, held: Held::Pictures(files), names, notes: Vec::new() }
    }

    fn of_file(path: &Path, taken: Taken) -> Result<Self, DataError> {
        let (shape, inputs) = match kind(path) {
            Some(Kind::Idx) => idx::images(path)?,
            Some(Kind::Cifar(layout)) => layout.images(path)?,
            // An image of any name is known by its first bytes.
            None if picture::is_here(path) => {
                return Ok(Self::pictures(vec![path.to_owned()], taken));
            }
            None => {
                let shape = taken.shape;
                let hint = match table::is_named(path) {
                    true => Some(format!("is a table, but the network takes images of {shape}")),
                    false => hint::archive(&hint::name(path)),
                };
                return Err(DataError::NoInputs { path: path.to_owned(), hint });
            }
        };
        let reshape = taken.reshape(shape, path)?;
        let len = inputs.len() / shape.elements();
        let held = Held::Together { inputs, len, shape, reshape };
        Ok(Self { taken, held, names: Names::InOrder, notes: Vec::new() })
    }

    /// How many inputs there are.
    pub fn len(&self) -> usize {
        match &self.held {
            Held::Together { len, .. } => *len,
            Held::Pictures(files) => files.len(),
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The shape of an input, as the network takes it.
    pub fn shape(&self) -> Shape {
        self.taken.shape
    }

    /// The name of an input.
    pub fn name(&self, index: usize) -> InputName {
        match &self.names {
            Names::Files(names) => InputName::File(names[index].clone()),
            Names::Rows(numbers) => InputName::Index(numbers[index]),
            Names::InOrder => InputName::Index(index as u64),
        }
    }

    /// Whether each input has a file of its own.
    pub fn in_files(&self) -> bool {
        matches!(self.names, Names::Files(_))
    }

    /// What is worth saying about how inputs were read, a line each.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// Some of the inputs, normalised, row-major `[inputs, channels, height, width]`.
    ///
    /// # Errors
    /// A [`DataError`] for an image that cannot be read or has another shape than is taken, or a normalisation
    /// of other channels.
    pub fn read(
        &self,
        range: Range<usize>,
        normalisation: &Normalisation,
    ) -> Result<Vec<f32>, DataError> {
        match &self.held {
            Held::Together { inputs, shape, reshape, .. } => {
                batch::inputs(inputs, *shape, reshape.as_ref(), range, normalisation)
            }
            Held::Pictures(files) => {
                let one = |file: &PathBuf| {
                    let (shape, inputs) = picture::read(file)?;
                    let reshape = self.taken.reshape(shape, file)?;
                    batch::inputs(&inputs, shape, reshape.as_ref(), 0..1, normalisation)
                };
                let read = files[range].par_iter().map(one).collect::<Result<Vec<_>, _>>()?;
                Ok(read.concat())
            }
        }
    }
}

/// What of a folder is no image, said in a line if there is any.
fn left_out(names: &[String]) -> Vec<String> {
    let [first, more @ ..] = names else { return Vec::new() };
    let more = if more.is_empty() { String::new() } else { format!(" and {} more", more.len()) };
    vec![format!("left out what is no PNG or JPEG file: {first}{more}")]
}

/// A file of many images.
enum Kind {
    Idx,
    Cifar(&'static Layout),
}

/// Of which kind a file is, by its name, or by how it begins or its size.
fn kind(path: &Path) -> Option<Kind> {
    let name = hint::name(path);
    let named = Layout::FILES.into_iter().find(|layout| layout.has_file(&name));
    if let Some(layout) = named.or_else(|| Layout::of_size(path)) {
        return Some(Kind::Cifar(layout));
    }
    idx::is_images(path).then_some(Kind::Idx)
}
