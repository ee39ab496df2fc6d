//! Tables, trained on and evaluated as a user does it.

use assert_cmd::Command;
use serde_json::Value;
use std::fs;
use std::path::Path;

/// The command with these arguments, parted by blanks.
fn deeplimit(folder: &Path, arguments: &str) -> Command {
    let mut command = super::deeplimit(folder);
    command.args(arguments.split_whitespace());
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
    super::refusal(&mut deeplimit(folder, arguments))
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

/// A run on a table of two measures of which one tells apart two classes, 0 and 1.
fn trained(folder: &Path) -> String {
    let row = |index: u32| {
        let class = index % 2;
        let (size, noise) = (f64::from(class) + 0.3 * noise(index, 7), noise(index, 11));
        format!("{size:.3},{noise:.3},{class}\n")
    };
    let rows: String = (0..300).map(row).collect();
    fs::write(folder.join("train.csv"), format!("size,noise,forged\n{rows}")).expect("written");
    let run = "train --data train.csv --out run --set train.epochs=20 --set train.batch=32";
    done(folder, &format!("{run} {SMALL}"));
    let rows: String = (1000..1100).map(row).collect();
    format!("size,noise,forged\n{rows}")
}

/// Between −1 and 1, another number for each index.
fn noise(index: u32, times: u32) -> f64 {
    f64::from(index * times % 101) / 50.0 - 1.0
}

#[test]
fn another_table_is_evaluated_whole_its_columns_and_classes_matched_by_name() {
    let folder = tempfile::tempdir().expect("a folder");
    let test = trained(folder.path());
    let evaluate = |name: &str, text: &str| {
        fs::write(folder.path().join(name), text).expect("written");
        json(folder.path(), &format!("evaluate run --json --data {name}"))
    };
    let whole = evaluate("test.csv", &test);
    assert_eq!(whole["samples"], 100);
    let accuracy = whole["accuracy"].as_f64().expect("an accuracy");
    assert!(accuracy > 0.9, "{accuracy}");
    // The same samples, with their columns in another order and one more.
    let cells = |line: &str| line.split(',').map(str::to_owned).collect::<Vec<_>>();
    let turned = |line: &str| {
        let cells = cells(line);
        format!("{},{},7,{}\n", cells[2], cells[1], cells[0])
    };
    let moved: String = test.lines().map(turned).collect();
    let moved = moved.replacen("noise,7", "noise,id", 1);
    assert_eq!(evaluate("moved.csv", &moved), whole);
    // One class alone, and of names that sort otherwise.
    let ones: String =
        test.lines().filter(|line| !line.ends_with(",0")).map(|line| format!("{line}\n")).collect();
    let ones = evaluate("ones.csv", &ones);
    assert_eq!(ones["samples"], 50);
    assert!(ones["accuracy"].as_f64().expect("an accuracy") > 0.9, "{ones}");
    let named = test.replace(",0\n", ",unreal\n").replace(",1\n", ",real\n");
    fs::write(folder.path().join("named.csv"), named).expect("written");
    let message = refused(folder.path(), "evaluate run --data named.csv");
    assert!(
        message.ends_with(
            "named.csv: classes real, unreal; the run has 0, 1, by whose names they are matched"
        ),
        "{message}"
    );
    let renamed = test.replacen("size", "width", 1);
    fs::write(folder.path().join("renamed.csv"), renamed).expect("written");
    let message = refused(folder.path(), "evaluate run --data renamed.csv");
    assert!(
        message.contains("no \"size\", which the run was trained with; the file has \"width\""),
        "{message}"
    );
    assert!(refused(folder.path(), "diagnose run --data renamed.csv").contains("no \"size\""));
    done(folder.path(), "diagnose run --data moved.csv --out diagnosis --samples 16");
}

#[test]
fn the_table_of_a_run_that_has_moved_is_evaluated_on_what_was_held_out() {
    let folder = tempfile::tempdir().expect("a folder");
    trained(folder.path());
    let own = json(folder.path(), "evaluate run --json");
    assert_eq!(own["samples"], 60);
    fs::rename(folder.path().join("train.csv"), folder.path().join("moved.csv")).expect("moved");
    assert_eq!(json(folder.path(), "evaluate run --json --data moved.csv"), own);
}

#[test]
fn weights_go_on_with_the_same_columns_and_classes_only() {
    let folder = tempfile::tempdir().expect("a folder");
    let other = trained(folder.path());
    let init = |name: &str, text: String| {
        fs::write(folder.path().join(name), text).expect("written");
        format!("train --init run --data {name} --out {name}.run --set train.epochs=1")
    };
    done(folder.path(), &init("same.csv", other.clone()));
    let turned = init("turned.csv", other.replacen("size,noise", "noise,size", 1));
    assert!(
        refused(folder.path(), &turned)
            .contains("inputs noise, size; the weights are for size, noise")
    );
    let named = init("named.csv", other.replace(",0\n", ",unreal\n").replace(",1\n", ",real\n"));
    assert!(
        refused(folder.path(), &named).contains("classes real, unreal; the weights are for 0, 1")
    );
    done(folder.path(), &format!("{named} --new-head"));
}
