//! Inputs without targets: what a trained network is asked about.
//!
//! Read are a PNG or JPEG file or a folder of them, IDX images, and records of the CIFAR sets, whose labels
//! are skipped.

use std::ops::Range;
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use super::cifar::Layout;
use super::reshape::Reshape;
use super::{DataError, Inputs, Normalisation, Shape, batch, hint, idx, picture};

/// What a network takes, and which images are brought to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taken {
    /// The shape of an input.
    pub shape: Shape,
    /// [`Options::resize`](super::Options::resize) of the run: images of any size are brought to that.
    pub resize: bool,
    /// [`Options::channels`](super::Options::channels) of the run: so are images in grey or in colour.
    pub channels: bool,
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

/// Inputs without targets, of which some are read at a time.
#[derive(Debug)]
pub struct Unlabelled {
    taken: Taken,
    held: Held,
    /// Names of the files, where each holds one input.
    files: Option<Vec<String>>,
    left_out: Vec<String>,
}

#[derive(Debug)]
enum Held {
    /// All of one shape, in memory.
    Together { inputs: Inputs, len: usize, shape: Shape, reshape: Option<Reshape> },
    /// In a file each.
    Pictures(Vec<PathBuf>),
}

impl Unlabelled {
    /// Finds out what lies at a path, and reads it if it is one file of many images.
    ///
    /// # Errors
    /// A [`DataError`] for a path that holds no images, or images of another shape than are taken.
    pub fn open(path: &Path, taken: Taken) -> Result<Self, DataError> {
        if !path.exists() {
            return Err(DataError::Missing { path: path.to_owned() });
        }
        if path.is_file() {
            return Self::of_file(path, taken);
        }
        let (files, folders) = hint::entries(path);
        let (pictures, others): (Vec<_>, Vec<_>) =
            files.into_iter().partition(|file| picture::is_named(file));
        if !pictures.is_empty() {
            let files = others.iter().map(|file| hint::name(file));
            let folders = folders.iter().map(|folder| hint::name(folder) + "/");
            let left_out = files.chain(folders).collect();
            return Ok(Self { left_out, ..Self::pictures(pictures, taken) });
        }
        let many: Vec<PathBuf> = others.into_iter().filter(|file| kind(file).is_some()).collect();
        match &many[..] {
            [only] => Self::of_file(only, taken),
            [] => {
                Err(DataError::NoImages { path: path.to_owned(), hint: hint::pictures_below(path) })
            }
            _ => Err(DataError::SeveralSets { path: path.to_owned(), files: many }),
        }
    }

    fn pictures(files: Vec<PathBuf>, taken: Taken) -> Self {
        let names = files.iter().map(|file| hint::name(file)).collect();
        Self { taken, held: Held::Pictures(files), files: Some(names), left_out: Vec::new() }
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
                let hint = hint::archive(&hint::name(path));
                return Err(DataError::NoImages { path: path.to_owned(), hint });
            }
        };
        let reshape = taken.reshape(shape, path)?;
        let len = inputs.len() / shape.elements();
        let held = Held::Together { inputs, len, shape, reshape };
        Ok(Self { taken, held, files: None, left_out: Vec::new() })
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

    /// The name of each file, where each holds one input.
    pub fn files(&self) -> Option<&[String]> {
        self.files.as_deref()
    }

    /// Files of the folder that are not images, and folders in it.
    pub fn left_out(&self) -> &[String] {
        &self.left_out
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
