//! The real sets, where they are there.

use super::*;

#[test]
fn cifar10_has_5000_images_a_class_and_the_known_statistics() {
    let Some(folder) = shared("cifar10") else { return };
    let splits = load(&all(&folder)).unwrap();
    assert_eq!(splits.train.class_counts(), [5000; 10]);
    assert_eq!(names(&splits.train)[..2], ["airplane".to_owned(), "automobile".to_owned()]);
    // Both are known to five digits.
    let Normalisation { mean, std, .. } = splits.normalisation;
    for (found, known) in mean.iter().zip([0.49140, 0.48216, 0.44653]) {
        assert!((found - known).abs() < 0.6e-5, "{found} {known}");
    }
    for (found, known) in std.iter().zip([0.24703, 0.24349, 0.26159]) {
        assert!((found - known).abs() < 0.6e-5, "{found} {known}");
    }
}

#[test]
fn fashion_mnist_has_6000_and_1000_images_a_class() {
    let Some(folder) = shared("fashion_mnist") else { return };
    let options = Options { validation: HeldOut::Count(0), ..Options::at(&folder).unwrap() };
    let splits = load(&options).unwrap();
    assert_eq!(splits.name, "fashion_mnist");
    assert_eq!(splits.train.class_counts(), [6000; 10]);
    assert_eq!(splits.test.as_ref().unwrap().class_counts(), [1000; 10]);
    assert_eq!(splits.train.shape(), Shape::image(1, 28, 28));
    // As published with many implementations: 0.2860 and 0.3530.
    assert!((splits.normalisation.mean[0] - 0.2860).abs() < 1e-4);
    assert!((splits.normalisation.std[0] - 0.3530).abs() < 1e-4);
}

#[test]
fn the_classical_tables_are_read_and_what_they_miss_is_named() {
    let Some(folder) = shared("tabular") else { return };
    let read = |file: &str, task| load(&Options { task: Some(task), ..all(&folder.join(file)) });
    for (file, samples, features, classes) in [
        ("iris.csv", 150, 4, 3),
        ("wine.csv", 178, 13, 3),
        ("sonar.csv", 208, 60, 2),
        ("ionosphere.csv", 351, 34, 2),
        ("banknote_authentication.csv", 1372, 4, 2),
        ("winequality-red.csv", 1599, 11, 6),
    ] {
        let train = read(file, Task::Classification).unwrap().train;
        assert_eq!((train.len(), train.shape()), (samples, Shape::table(features)), "{file}");
        assert_eq!(train.classes(), Some(classes), "{file}");
    }
    assert!(read("winequality-red.csv", Task::Regression).is_ok());
    // The second feature of ionosphere is constant.
    let ionosphere = read("ionosphere.csv", Task::Classification).unwrap();
    assert_eq!(ionosphere.normalisation.std[1], 1.0);
    // A category and seven measures of an animal, and the rings of its shell.
    let abalone = read("abalone.csv", Task::Regression).unwrap();
    assert_eq!((abalone.train.len(), abalone.train.shape()), (4177, Shape::table(10)));
    let inputs = abalone.table.as_ref().unwrap().input_names();
    assert_eq!(inputs[..4], ["column 1=F", "column 1=I", "column 1=M", "column 2"]);
    assert_eq!(read("abalone.csv", Task::Classification).unwrap().train.classes(), Some(28));
    // Sixteen values are missing, in lines of their own.
    let error = read("breast-cancer-wisconsin.csv", Task::Classification).unwrap_err();
    assert!(
        matches!(error, DataError::BadCell { line: 24, fault: CellFault::Missing, .. }),
        "{error}"
    );
    for (missing, samples) in [(Missing::Median, 699), (Missing::Drop, 683)] {
        let options = Options { missing, ..all(&folder.join("breast-cancer-wisconsin.csv")) };
        let splits = load(&options).unwrap();
        assert_eq!((splits.train.len(), splits.train.classes()), (samples, Some(2)));
    }
}
