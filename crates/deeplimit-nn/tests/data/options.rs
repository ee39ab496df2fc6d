//! Options, and finding out what a path holds.

use super::*;

#[test]
fn paths_that_hold_nothing_known_say_what_was_looked_for() {
    let nothing = folder(&[("notes.txt", vec![])]);
    let message = detect(nothing.path()).unwrap_err().to_string();
    assert!(message.ends_with(
        "holds no data set known here; expected a folder with data_batch_1.bin(.gz) to \
         data_batch_5.bin(.gz), train.bin(.gz) or train-images-idx3-ubyte(.gz), or a .csv or .tsv file \
         (.csv.gz, .tsv.gz)"
    ));
    let at = |source, path: PathBuf| Options { source, path: Some(path), ..Options::default() };
    let message = complaint(load(&at(Source::Cifar10, nothing.path().into())), &nothing);
    assert!(
        message.starts_with("FOLDER: holds none of data_batch_1.bin, data_batch_1.bin.gz, "),
        "{message}"
    );
    let message = complaint(load(&at(Source::Idx, nothing.path().join("gone"))), &nothing);
    assert_eq!(message, "gone: no such file or folder");
    let message = complaint(load(&at(Source::Idx, nothing.path().join("notes.txt"))), &nothing);
    assert_eq!(message, "notes.txt: is a file, expected the folder that holds the data files");
    let message = complaint(load(&at(Source::Csv, nothing.path().into())), &nothing);
    assert_eq!(message, "FOLDER: is a folder, expected a file");
    let message = complaint(load(&at(Source::Csv, nothing.path().join("gone.csv"))), &nothing);
    assert_eq!(message, "gone.csv: no such file or folder");

    let mut files = mnist(1, 1);
    files.push(("data_batch_1.bin", cifar(&[1])));
    let both = folder(&files);
    let message = detect(both.path()).unwrap_err().to_string();
    assert!(message.ends_with("holds both cifar10 and idx files; name the source"), "{message}");
}

#[test]
fn options_that_contradict_each_other_are_refused() {
    let check = |options: Options| load(&options).unwrap_err().to_string();
    let digits = Options::default;
    assert_eq!(
        check(Options { path: Some("here".into()), ..digits() }),
        "option path does not apply to source digits: it is built in"
    );
    assert_eq!(check(Options { source: Source::Idx, ..digits() }), "source idx needs a path");
    assert_eq!(
        check(Options { task: Some(Task::Regression), ..digits() }),
        "option task = \"regression\" does not apply to source digits: its targets are classes"
    );
    assert_eq!(
        check(Options { limit_train: Some(0), ..digits() }),
        "option limit_train: 0, expected at least 1"
    );
    for found in [-0.1, 1.0, f64::NAN] {
        let message = check(Options { validation: HeldOut::Fraction(found), ..digits() });
        assert!(message.starts_with("option validation: fraction "), "{message}");
    }
    assert_eq!(
        check(Options { validation: HeldOut::Count(3823), ..digits() }),
        "option validation: holding out 3823 of 3823 samples leaves none to train on"
    );
    let given = Normalisation { mean: vec![0.0], std: vec![0.0], target: None };
    assert_eq!(
        check(Options { normalise: Normalise::Given(given), ..digits() }),
        "normalisation: standard deviation: 0, expected a finite positive number"
    );
    let given = Normalisation { mean: vec![0.0; 3], std: vec![1.0; 3], target: None };
    assert_eq!(
        check(Options { normalise: Normalise::Given(given), ..digits() }),
        "normalisation: means: 3, expected 1; channels = 3 makes three of one"
    );
}

#[test]
fn options_and_normalisation_survive_toml_and_json_and_unknown_keys_do_not_pass() {
    let options: Options = toml::from_str(
        "source = 'csv'\npath = 'iris.csv'\nvalidation = 20\ntest = 0.25\nlimit_train = 50\n\
         normalise = { given = { mean = [0.5], std = [0.25] } }",
    )
    .unwrap();
    assert_eq!(options.validation, HeldOut::Count(20));
    assert_eq!(options.test, Some(HeldOut::Fraction(0.25)));
    assert_eq!(toml::from_str::<Options>(&toml::to_string(&options).unwrap()).unwrap(), options);
    let seen = Options { resize: Some(32), channels: Some(3), ..Options::default() };
    assert_eq!(toml::from_str::<Options>("resize = 32\nchannels = 3").unwrap(), seen);
    assert_eq!(toml::from_str::<Options>(&toml::to_string(&seen).unwrap()).unwrap(), seen);
    let default = Options::default();
    assert_eq!(toml::from_str::<Options>(&toml::to_string(&default).unwrap()).unwrap(), default);
    let error = toml::from_str::<Options>("sede = 1").unwrap_err().to_string();
    assert!(error.contains("sede"), "{error}");
    let error = toml::from_str::<Options>("validation = 'half'").unwrap_err().to_string();
    assert!(error.contains("a count such as 5000 or a fraction such as 0.1"), "{error}");

    let folder = table("1,2,10.5\n2,2,30\n3,2,80\n");
    let measured = load_table(&folder, Task::Regression).unwrap().normalisation;
    let text = toml::to_string(&measured).unwrap();
    assert_eq!(toml::from_str::<Normalisation>(&text).unwrap(), measured);
    for source in Source::ALL {
        assert_eq!(source.name().parse::<Source>().unwrap(), source);
    }
    assert!("mnist".parse::<Source>().is_err());
}
