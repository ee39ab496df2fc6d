//! The binary layouts of CIFAR-10 and CIFAR-100 (A. Krizhevsky, Learning Multiple Layers of Features from
//! Tiny Images, 2009): a record is the bytes of its labels and 3 × 32 × 32 pixel bytes, red, green, blue.
//!
//! CIFAR-10 has one label, and lies in `data_batch_1.bin` to `data_batch_5.bin`, those that are present, in
//! order, and `test_batch.bin`. CIFAR-100 has two, of 20 groups and of 100 classes, and lies in `train.bin`
//! and `test.bin`. A file of class names is read where present. Each may be gzipped with `.gz` at the end of
//! its name; of a pair the plain file is read.
//!
//! A file may hold any number of whole records, so that a file cut exactly between two records is
//! not seen here; its gzip twin would be.

use std::path::{Path, PathBuf};

use super::read::{self, Reader};
use super::split::{CIFAR_TEST, Raw, Wanted};
use super::{DataError, HeldOut, Inputs, Place, Samples, Shape, Source, Targets};

const SHAPE: Shape = Shape { channels: 3, height: 32, width: 32 };
const PIXELS: usize = 3 * 32 * 32;

/// How a set of the family is laid out.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Layout {
    train: &'static [&'static str],
    test: &'static str,
    /// Bytes of labels in a record.
    labels: usize,
    /// Which of them is the class.
    label: usize,
    /// The file of class names.
    names_file: &'static str,
    /// The class names where that file is not there.
    names: &'static str,
}

const CIFAR10: Layout = Layout {
    train: &[
        "data_batch_1.bin",
        "data_batch_2.bin",
        "data_batch_3.bin",
        "data_batch_4.bin",
        "data_batch_5.bin",
    ],
    test: "test_batch.bin",
    labels: 1,
    label: 0,
    names_file: "batches.meta.txt",
    names: "airplane automobile bird cat deer dog frog horse ship truck",
};

const CIFAR100: Layout = Layout {
    train: &["train.bin"],
    test: "test.bin",
    labels: 2,
    label: 1,
    names_file: "fine_label_names.txt",
    names: "apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly \
            camel can castle caterpillar cattle chair chimpanzee clock cloud cockroach couch crab crocodile \
            cup dinosaur dolphin elephant flatfish forest fox girl hamster house kangaroo keyboard lamp \
            lawn_mower leopard lion lizard lobster man maple_tree motorcycle mountain mouse mushroom oak_tree \
            orange orchid otter palm_tree pear pickup_truck pine_tree plain plate poppy porcupine possum \
            rabbit raccoon ray road rocket rose sea seal shark shrew skunk skyscraper snail snake spider \
            squirrel streetcar sunflower sweet_pepper table tank telephone television tiger tractor train \
            trout tulip turtle wardrobe whale willow_tree wolf woman worm",
};

const CIFAR100_COARSE: Layout = Layout {
    label: 0,
    names_file: "coarse_label_names.txt",
    names: "aquatic_mammals fish flowers food_containers fruit_and_vegetables household_electrical_devices \
            household_furniture insects large_carnivores large_man-made_outdoor_things \
            large_natural_outdoor_scenes large_omnivores_and_herbivores medium_mammals \
            non-insect_invertebrates people reptiles small_mammals trees vehicles_1 vehicles_2",
    ..CIFAR100
};

impl Layout {
    /// Those that differ in their files.
    pub(super) const FILES: [&'static Self; 2] = [&CIFAR10, &CIFAR100];

    /// That of a file of another name, by its end `.bin` and its size.
    pub(super) fn of_size(path: &Path) -> Option<&'static Self> {
        let name = path.file_name()?.to_string_lossy();
        let bytes = read::unpacked_len(path)?;
        let fits = |layout: &Self| bytes > 0 && bytes % layout.record() as u64 == 0;
        let fitting = Self::FILES.into_iter().find(|layout| fits(layout));
        fitting.filter(|_| name.ends_with(".bin") || name.ends_with(".bin.gz"))
    }

    /// That of a source, if it is of the family.
    pub(super) fn of(source: Source) -> Option<&'static Self> {
        match source {
            Source::Cifar10 => Some(&CIFAR10),
            Source::Cifar100 => Some(&CIFAR100),
            Source::Cifar100Coarse => Some(&CIFAR100_COARSE),
            Source::Digits | Source::Idx | Source::Csv => None,
        }
    }

    /// Whether a folder holds a training or a test file.
    pub(super) fn is_in(&self, folder: &Path) -> bool {
        read::find(folder, self.train).is_some() || read::find(folder, &[self.test]).is_some()
    }

    /// Whether a file of the set has this name.
    pub(super) fn has_file(&self, name: &str) -> bool {
        let plain = name.strip_suffix(".gz").unwrap_or(name);
        plain == self.test || self.train.contains(&plain)
    }

    /// The file names that make a folder such a set.
    pub(super) fn expected(&self) -> String {
        match self.train {
            [only] => format!("{only}(.gz)"),
            [first, .., last] => format!("{first}(.gz) to {last}(.gz)"),
            [] => String::new(),
        }
    }

    /// The bytes of a record.
    fn record(&self) -> usize {
        self.labels + PIXELS
    }

    /// Reads a folder, or what is needed of it.
    pub(super) fn load(&self, folder: &Path, wanted: Wanted) -> Result<Raw, DataError> {
        read::require_folder(folder)?;
        let names = self.class_names(folder)?;
        let test_file = read::find(folder, &[self.test]);
        if let (Wanted::Scored(_), Some(file)) = (wanted, &test_file) {
            let test = self.samples(std::slice::from_ref(file), &names)?;
            return Ok(Raw {
                train: None,
                test: Some(test),
                files: vec![file.clone()],
                table: None,
            });
        }
        let mut files: Vec<PathBuf> =
            self.train.iter().filter_map(|name| read::find(folder, &[name])).collect();
        if files.is_empty() {
            read::require(folder, self.train)?;
        }
        if let Wanted::Scored(asked) = wanted
            && let HeldOut::Count(count) = asked.unwrap_or(CIFAR_TEST)
            && count > 0
        {
            return self.last(files, count, &names);
        }
        let train = Some(self.samples(&files, &names)?);
        let test = match test_file {
            Some(file) => {
                let test = self.samples(std::slice::from_ref(&file), &names)?;
                files.push(file);
                Some(test)
            }
            None => None,
        };
        Ok(Raw { train, test, files, table: None })
    }

    /// The last files, as many as hold more than `count` records, if there are so many.
    fn last(
        &self,
        mut files: Vec<PathBuf>,
        count: usize,
        names: &[String],
    ) -> Result<Raw, DataError> {
        let counts = files.iter().map(|file| self.count(file)).collect::<Result<Vec<_>, _>>()?;
        let (mut first, mut records) = (files.len(), 0);
        while first > 0 && records <= count as u64 {
            first -= 1;
            records += counts[first];
        }
        let files = files.split_off(first);
        let train = self.samples(&files, names)?.numbered_from(counts[..first].iter().sum())?;
        Ok(Raw { train: Some(train), test: None, files, table: None })
    }

    /// The records of a file, which is read only where its size does not tell.
    fn count(&self, file: &Path) -> Result<u64, DataError> {
        let record = self.record() as u64;
        match read::unpacked_len(file) {
            Some(bytes) if bytes % record == 0 => Ok(bytes / record),
            _ => Ok(Reader::open(file)?.skip_to_end()? / record),
        }
    }

    fn class_names(&self, folder: &Path) -> Result<Vec<String>, DataError> {
        let known: Vec<String> = self.names.split_whitespace().map(str::to_owned).collect();
        let Some(file) = read::find(folder, &[self.names_file]) else { return Ok(known) };
        let names = read::names(&file)?;
        if names.len() != known.len() {
            let (found, expected) = (names.len() as u64, known.len() as u64);
            return Err(DataError::CountMismatch { file, what: "class names", found, expected });
        }
        Ok(names)
    }

    fn samples(&self, files: &[PathBuf], names: &[String]) -> Result<Samples, DataError> {
        let lengths = files.iter().filter_map(|file| read::unpacked_len(file));
        let mut pixels = Vec::with_capacity(lengths.sum::<u64>() as usize);
        let mut labels = Vec::new();
        for file in files {
            self.append(file, names.len() as u32, &mut pixels, &mut labels)?;
        }
        let targets = Targets::Classes { labels, names: names.to_vec() };
        Samples::new(SHAPE, Inputs::Bytes { bytes: pixels, full: 255 }, targets)
    }

    /// Appends the records of one file.
    fn append(
        &self,
        path: &Path,
        classes: u32,
        pixels: &mut Vec<u8>,
        labels: &mut Vec<u32>,
    ) -> Result<(), DataError> {
        self.records(path, |index, record| {
            let label = u32::from(record[self.label]);
            if label >= classes {
                let (file, expected) = (path.to_owned(), [0, classes.saturating_sub(1)]);
                return Err(DataError::BadLabel { file, record: index, found: label, expected });
            }
            labels.push(label);
            pixels.extend_from_slice(&record[self.labels..]);
            Ok(())
        })
    }

    /// Reads the images of one file, whatever their labels.
    pub(super) fn images(&self, path: &Path) -> Result<(Shape, Inputs), DataError> {
        let mut bytes = Vec::with_capacity(read::unpacked_len(path).unwrap_or(0) as usize);
        self.records(path, |_, record| {
            bytes.extend_from_slice(&record[self.labels..]);
            Ok(())
        })?;
        Ok((SHAPE, Inputs::Bytes { bytes, full: 255 }))
    }

    /// Shows the records of one file, one after the other.
    fn records(
        &self,
        path: &Path,
        mut show: impl FnMut(u64, &[u8]) -> Result<(), DataError>,
    ) -> Result<(), DataError> {
        let mut reader = Reader::open(path)?;
        let mut record = vec![0; self.record()];
        for index in 0.. {
            let place = Place::Record(index);
            match reader.fill(&mut record, place)? {
                0 if index == 0 => return Err(DataError::NoSamples { file: path.to_owned() }),
                0 => break,
                found if found < record.len() => {
                    let (expected, found) = (record.len() as u64, found as u64);
                    let file = path.to_owned();
                    return Err(DataError::WrongLength { file, place, expected, found });
                }
                _ => show(index, &record)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_layouts_have_as_many_names_as_classes_each_once() {
        for (layout, classes) in [(&CIFAR10, 10), (&CIFAR100, 100), (&CIFAR100_COARSE, 20)] {
            let names: std::collections::BTreeSet<&str> = layout.names.split_whitespace().collect();
            assert_eq!(names.len(), classes);
            assert_eq!(layout.names.split_whitespace().count(), classes);
            // In the order of the alphabet, as their authors have them.
            assert!(names.into_iter().eq(layout.names.split_whitespace()));
        }
    }
}
