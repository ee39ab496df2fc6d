//! Tables, trained on and evaluated as a user does it.

use assert_cmd::Command;
use serde_json::Value;
use std::fs;
use std::path::Path;

/// The command with these arguments, parted by blanks.
fn deeplimit(folder: &Path, arguments: &str) -> Command {
    let mut command = Command::cargo_bin("deeplimit").expect("the binary of this package");
    command.current_dir(folder).args(arguments.split_whitespace());
    command
}

/// Standard output and standard error of a command that ends well.
fn done(folder: &Path, arguments: &str) -> [String; 2] {
    let output = deeplimit(folder, arguments).output().expect("run");
    let [out, err] =
        [output.stdout, output.stderr].map(|text| String::from_utf8(text).expect("text"));
    assert!(output.status.success(), "{arguments}: {err}");
    [out, err]
}

fn json(folder: &Path, arguments: &str) -> Value {
    let [out, _] = done(folder, arguments);
    serde_json::from_str(out.lines().last().expect("a line")).expect("a JSON object")
}

/// The one line of a command that ends with exit code 2.
fn refused(folder: &Path, arguments: &str) -> String {
    let output = deeplimit(folder, arguments).output().expect("run");
    let text = String::from_utf8_lossy(&output.stderr).trim_end().to_owned();
    assert_eq!(output.status.code(), Some(2), "{arguments}: {text}");
    assert_eq!(text.lines().count(), 1, "one line: {text}");
    text
}

/// A hundred and fifty flowers of three kinds, that two numbers tell apart.
fn flowers() -> String {
    let line = |index: usize| {
        let (kind, noise) = (index % 3, (index * 37 % 100) as f64 / 100.0);
        format!("{:.2},{:.2},kind{kind}\n", kind as f64 + 0.6 * noise, 2.0 - kind as f64 + noise)
    };
    (0..150).map(line).collect()
}

const SMALL: &str = "--set network.stage.0.depth=4";

#[test]
fn a_small_table_trains_without_any_option_and_says_what_was_understood() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("iris.csv"), flowers()).expect("written");
    // 120 to train and validate on, 12 of which are held out: fewer than the usual batch.
    let [_, told] = done(folder.path(), &format!("train --data iris.csv --out run {SMALL}"));
    for line in [
        "table with no header, separated by \",\"",
        "2 features: columns 1 to 2",
        "target column 3, 3 classes: kind0, kind1, kind2",
    ] {
        assert!(told.lines().any(|found| found == line), "{line:?} in {told}");
        for what in ["iris.csv", "run", "run/weights/last.safetensors"] {
            let [info, _] = done(folder.path(), &format!("info {what}"));
            assert!(info.lines().any(|found| found == line), "{line:?} in {info}");
        }
    }
    let info = json(folder.path(), "info run --json");
    assert_eq!(info["config"]["train"]["batch"], 108);
    assert_eq!(info["schema"]["classes"], serde_json::json!(["kind0", "kind1", "kind2"]));
    assert_eq!(info["schema"]["table"]["features"][1]["place"], 2);
    let message = refused(folder.path(), "train --data iris.csv --set train.batch=128");
    assert!(
        message.ends_with(
            "train.batch = 128 is out of range, expected 1 to 108, the number of training samples"
        ),
        "{message}"
    );
    done(folder.path(), "train --resume run");
    assert_eq!(json(folder.path(), "evaluate run --json")["samples"], 30);
}

#[test]
fn options_of_a_table_go_through_info_and_training() {
    let folder = tempfile::tempdir().expect("a folder");
    let rows = flowers().replace('.', "§").replace(',', ";").replace('§', ",");
    let rows: String = rows
        .lines()
        .enumerate()
        .map(|(row, line)| {
            let (length, rest) = line.split_once(';').expect("two columns");
            let sex = ["F", "I", "M"][row % 3];
            let length = if row % 10 == 0 { "NA" } else { length };
            format!("{row};{sex};{length};{rest}\n")
        })
        .collect();
    fs::write(folder.path().join("t.csv"), format!("id;sex;länge;breite;art\n{rows}"))
        .expect("written");
    let options = "--set data.drop=id --set data.target=art --set data.missing=median";
    let [info, _] = done(folder.path(), &format!("info t.csv {options}"));
    for line in [
        "table with a header, separated by \";\", decimal commas",
        "3 features: sex, länge, breite",
        "categories, one input each: sex (F, I, M)",
        "left out: \"id\"",
        "15 missing values are filled in with medians of the training samples",
    ] {
        assert!(info.lines().any(|found| found == line), "{line:?} in {info}");
    }
    let train = format!("train --data t.csv --out run --json {options} {SMALL}");
    assert!(json(folder.path(), &train)["test_accuracy"].as_f64().expect("an accuracy") > 0.3);
    let schema = &json(folder.path(), "info run --json")["schema"]["table"];
    assert!(schema["features"][1]["kind"]["numbers"]["fill"].is_f64(), "{schema}");
    assert!(refused(folder.path(), "info t.csv --set data.drop=nr").contains("no column \"nr\""));
    assert!(refused(folder.path(), "info run --set data.drop=id").contains("--set is about"));
    let message = refused(folder.path(), "train --set data.target=1 --set data.source=digits");
    assert!(message.contains("option target does not apply to source digits"), "{message}");
}

#[test]
fn one_class_is_refused_wherever_it_comes_from() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("one.csv"), "a,b\n1,x\n2,x\n3,x\n").expect("written");
    assert!(refused(folder.path(), "train --data one.csv").contains("one class only, \"x\""));
    let images = folder.path().join("images");
    fs::create_dir(&images).expect("a folder");
    let header = |magic: u32, sizes: &[u32]| -> Vec<u8> {
        [&[magic], sizes].concat().iter().flat_map(|number| number.to_be_bytes()).collect()
    };
    let pixels = [header(0x803, &[20, 2, 2]), vec![7; 80]].concat();
    fs::write(images.join("train-images-idx3-ubyte"), pixels).expect("written");
    let labels = [header(0x801, &[20]), vec![3; 20]].concat();
    fs::write(images.join("train-labels-idx1-ubyte"), labels).expect("written");
    let message = refused(folder.path(), "train --data images");
    assert!(message.contains("all training samples are of one class, \"3\""), "{message}");
}

#[test]
fn an_offset_of_coordinates_or_of_the_target_changes_no_loss() {
    let folder = tempfile::tempdir().expect("a folder");
    let table = |north: f64, begin: f64| {
        let row = |index: u32| {
            let (a, b) =
                (f64::from(index * 7919 % 2003) / 1000.0, f64::from(index * 31 % 97) / 97.0);
            format!("{:.3},{b:.3},{:.3}\n", north + a, begin + 30.0 * (3.0 * a).sin() + b)
        };
        "north,noise,value\n".to_owned() + &(0..400).map(row).collect::<String>()
    };
    let loss = |name: &str, text: String| {
        fs::write(folder.path().join(name), text).expect("written");
        let arguments = format!(
            "train --data {name} --out {name}.run --json --set data.task=regression --set train.epochs=5 {SMALL}"
        );
        json(folder.path(), &arguments)["test_loss"].as_f64().expect("a loss")
    };
    let near = loss("near.csv", table(0.0, 0.0));
    for (name, text) in [("north.csv", table(5_400_000.0, 0.0)), ("late.csv", table(0.0, 1.7e9))] {
        let far = loss(name, text);
        // Inputs differ by a rounding of double precision, which single precision hardly shows.
        assert!((far - near).abs() < 1e-3 * near, "{name}: {far} {near}");
    }
}
