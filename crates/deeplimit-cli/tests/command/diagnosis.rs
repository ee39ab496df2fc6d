//! Whether a trained network is an ODE.

use super::{QUICK, deeplimit, json, refused};
use serde_json::Value;
use std::fs;

#[test]
fn a_diagnosis_is_an_object_a_page_and_words_and_says_what_went_in() {
    let folder = tempfile::tempdir().expect("a folder");
    let train = ["train", "--out", "run", "--set", "network.stage.0.depth=16"];
    let train = deeplimit(folder.path()).args(train).args(&QUICK[..2]).args(&QUICK[4..]).output();
    assert!(train.expect("run").status.success());
    let samples = ["diagnose", "run", "--json", "--samples", "8"];
    let output = deeplimit(folder.path()).args(samples).output().expect("run");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let report = json(&output.stdout);
    assert_eq!(report["inputs"]["kind"], "data");
    assert_eq!(report["inputs"]["samples"], 8);
    let flow = &report["flows"][0];
    assert_eq!(flow["layers"], 16);
    let number = |path: &str| flow.pointer(path).and_then(Value::as_f64).expect(path);
    assert!(number("/function_interpolant/largest") <= number("/bounds/local"));
    assert!(number("/bounds/local") <= number("/bounds/smooth"));
    assert!(number("/jacobians/lipschitz") <= number("/jacobians/certain"));
    assert_eq!(flow["kinds"].as_array().map(Vec::len), Some(4));
    assert_eq!(flow["verdict"]["standing"], "smooth-ode", "{}", flow["scaling"]);
    let kept = fs::read_to_string(folder.path().join("run/diagnosis.json")).expect("kept");
    assert_eq!(json(kept.as_bytes()), report);
    let page = fs::read_to_string(folder.path().join("run/diagnosis.html")).expect("a page");
    assert!(page.matches("<svg").count() >= 8 && page.contains("smooth control"));

    let weights = "run/weights/last.safetensors";
    let words = deeplimit(folder.path()).args(["diagnose", weights, "--out", "kept"]).output();
    let words = String::from_utf8(words.expect("run").stdout).expect("text");
    for part in
        ["64 training samples of digits", "H₂ = ", "adjoint-adaptive", "kept/diagnosis.html"]
    {
        assert!(words.contains(part), "{part:?} in {words}");
    }
    assert!(folder.path().join("kept/diagnosis.html").is_file());
}

#[test]
fn without_its_data_a_diagnosis_is_of_synthetic_inputs_and_says_so() {
    let folder = tempfile::tempdir().expect("a folder");
    let line = |i: usize| format!("{},{},{}\n", (i * 7) % 13, (i * 5) % 11, i % 3);
    let table: String = (0..90).map(line).collect();
    fs::write(folder.path().join("table.csv"), table).expect("written");
    let train =
        ["train", "--data", "table.csv", "--out", "run", "--set", "network.stage.0.depth=8"];
    let more = ["--set", "train.epochs=1", "--set", "train.batch=30"];
    let train = deeplimit(folder.path()).args(train).args(more).output().expect("run");
    assert!(train.status.success(), "{}", String::from_utf8_lossy(&train.stderr));
    fs::remove_file(folder.path().join("table.csv")).expect("removed");
    let output = deeplimit(folder.path()).args(["diagnose", "run"]).output().expect("run");
    let text = String::from_utf8(output.stdout).expect("text");
    assert!(text.contains("SYNTHETIC") && text.contains("table.csv"), "{text}");
    let page = fs::read_to_string(folder.path().join("run/diagnosis.html")).expect("a page");
    assert!(page.contains("SYNTHETIC"));
    // A data set that was asked for and is not there is an error.
    let mut command = deeplimit(folder.path());
    command.args(["diagnose", "run", "--data", "elsewhere.csv"]);
    refused(command, &["elsewhere.csv"]);
}

#[test]
fn what_cannot_be_diagnosed_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut command = deeplimit(folder.path());
    command.args(["diagnose", "nowhere"]);
    refused(command, &["nowhere", "no such file"]);
    fs::create_dir(folder.path().join("empty")).expect("a folder");
    let mut command = deeplimit(folder.path());
    command.args(["diagnose", "empty"]);
    refused(command, &["empty", "no such weights"]);
}
