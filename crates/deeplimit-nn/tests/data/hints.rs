//! What lies at a path that holds no data set as it is read, and what to do about it.

use super::*;

/// A folder of empty files, some in folders.
fn files(names: &[&str]) -> TempDir {
    let folder = TempDir::new().unwrap();
    for name in names {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, []).unwrap();
    }
    folder
}

#[test]
fn other_shapes_of_known_sets_are_named_with_what_to_do() {
    let pickles = ["data_batch_1", "data_batch_2", "test_batch", "batches.meta", "readme.html"];
    let deep: Vec<String> =
        pickles.iter().map(|name| format!("cifar-10-batches-py/{name}")).collect();
    let deep: Vec<&str> = deep.iter().map(String::as_str).collect();
    let binary10 = "holds CIFAR-10 as Python pickles, which are not read; unpack the binary version, \
                    cifar-10-binary.tar.gz, and name the folder that comes out";
    let cases: &[(&[&str], &str, &[&str])] = &[
        (&pickles, "", &[binary10]),
        (&deep, "", &["its folder FOLDER/cifar-10-batches-py ", binary10]),
        (&pickles, "data_batch_1", &["is CIFAR-10 as Python pickles", "cifar-10-binary.tar.gz"]),
        (&["train", "test", "meta", "file.txt"], "", &["cifar-100-binary.tar.gz"]),
        (&["cifar-10-python.tar.gz"], "", &["holds CIFAR-10 as Python pickles"]),
        (
            &["cifar-10-batches-bin/data_batch_1.bin"],
            "",
            &["FOLDER/cifar-10-batches-bin does (cifar10): name that folder"],
        ),
        (&["cifar-100-binary/train.bin"], "", &["cifar-100-binary does (cifar100)"]),
        (&["MNIST/raw/train-images-idx3-ubyte"], "", &["FOLDER/MNIST/raw does (idx)"]),
        (
            &["cifar-10-binary.tar.gz"],
            "",
            &["the archive cifar-10-binary.tar.gz; unpack it with tar xzf cifar-10-binary.tar.gz"],
        ),
        (
            &["cifar-10-binary.tar.gz"],
            "cifar-10-binary.tar.gz",
            &["is an archive; unpack it with tar xzf cifar-10-binary.tar.gz, and name the folder"],
        ),
        (&["my digits.zip"], "my digits.zip", &["unpack it with unzip 'my digits.zip'"]),
        (
            &["data_batch_1.bin"],
            "data_batch_1.bin",
            &["one file of a cifar10 set; name its folder"],
        ),
        (&["mnist.npz"], "mnist.npz", &["is a NumPy file, which is not read"]),
        (&["emnist-letters.mat"], "", &["holds emnist-letters.mat, a MATLAB file"]),
        (&["cats/a.jpg", "dogs/b.jpg"], "", &["images such as a.jpg", "deeplimit predict"]),
        (&["a.PNG"], "a.PNG", &["is one image; deeplimit predict"]),
        (&["table.csv"], "", &["a table is named by its file: FOLDER/table.csv"]),
    ];
    for (names, asked, expected) in cases {
        let folder = files(names);
        let path = folder.path().join(asked);
        let message = detect(&path).unwrap_err().to_string();
        let message = message.replace(&folder.path().display().to_string(), "FOLDER");
        assert!(!message.contains('\n'));
        for expected in *expected {
            assert!(message.contains(expected), "{names:?}: {expected:?} in {message:?}");
        }
        // A source that was named explicitly gets the same answer, if it is not another that is there.
        for source in [Source::Cifar10, Source::Idx] {
            let options = Options { source, path: Some(path.clone()), ..Options::default() };
            let again = load(&options).unwrap_err().to_string();
            let again = again.replace(&folder.path().display().to_string(), "FOLDER");
            assert_eq!(again, message, "{names:?} {source}");
        }
    }
}

#[test]
fn a_source_that_does_not_fit_the_files_is_told_which_does() {
    let folder = folder(&mnist(1, 1));
    let path = Some(folder.path().to_owned());
    let options = Options { source: Source::Cifar10, path, ..Options::default() };
    let message = complaint(load(&options), &folder);
    assert_eq!(message, "FOLDER: holds idx files, but data.source is cifar10");
}
