//! One network at many depths, and in its limit.

use super::{QUICK, deeplimit, json, refused};
use serde_json::Value;
use std::fs;

/// A control of few coefficients, in a run of a second or so.
const SPLINE: [&str; 2] = ["--set", "network.stage.0.control={basis=\"spline\",coefficients=5}"];

#[test]
fn a_run_in_a_basis_goes_through_every_command() {
    let folder = tempfile::tempdir().expect("a folder");
    let train = ["train", "--json", "--out", "run"];
    let output = deeplimit(folder.path()).args(train).args(QUICK).args(SPLINE).output();
    let output = output.expect("run");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    assert!(said.contains("depth 6 (of 5 spline coefficients)"), "{said}");
    let trained = json(&output.stdout);
    let config = fs::read_to_string(folder.path().join("run/config.toml")).expect("the file");
    assert!(
        config.contains("basis = \"spline\"") && config.contains("coefficients = 5"),
        "{config}"
    );

    let run = |arguments: &str| {
        let output = deeplimit(folder.path()).args(arguments.split_whitespace()).output();
        let output = output.expect("run");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text")
    };
    let evaluated = json(run("evaluate run --json").as_bytes());
    assert_eq!(evaluated["accuracy"], trained["test_accuracy"]);
    let info = run("info run/weights/last.safetensors");
    assert!(
        info.contains("[5, 64, 64]") && info.contains("coefficients of the basis spline"),
        "{info}"
    );
    assert!(run("info run").contains("[network.stage.control]"), "the configuration");
    assert!(run("diagnose run --samples 8").contains("flow 0: 6 layers"));
    run("train --resume run");
}

#[test]
fn one_run_is_evaluated_at_many_depths_and_in_its_limit() {
    let folder = tempfile::tempdir().expect("a folder");
    let train = ["train", "--out", "run"];
    let output = deeplimit(folder.path()).args(train).args(QUICK).args(SPLINE).output();
    assert!(output.expect("run").status.success());
    let evaluate = |arguments: &[&str]| {
        let output = deeplimit(folder.path()).args(["evaluate", "run"]).args(arguments).output();
        let output = output.expect("run");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text")
    };
    let own = json(evaluate(&["--json"]).as_bytes());
    let swept = json(evaluate(&["--json", "--depth", "6,16,64,256,limit"]).as_bytes());
    assert_eq!(swept["samples"], own["samples"]);
    assert_eq!(swept["tolerance"], 1e-6);
    assert_eq!(swept["flows"][0]["basis"], "5 spline coefficients");
    assert!(swept["flows"][0]["without_limit"].is_null());
    let rows = swept["depths"].as_array().expect("rows");
    assert_eq!(rows.len(), 5);
    assert_eq!((&rows[0]["accuracy"], &rows[0]["loss"]), (&own["accuracy"], &own["loss"]));
    let distances: Vec<f64> = rows[..4]
        .iter()
        .map(|row| row["states"][0].as_f64().expect("a distance to the limit"))
        .collect();
    for pair in distances.windows(2) {
        // Depth grows fourfold, and by 16/6 at first: the distance falls in proportion.
        assert!((0.1..0.6).contains(&(pair[1] / pair[0])), "{distances:?}");
    }
    assert!(rows[3]["outputs"].as_f64().expect("a distance") < 0.05);
    let (deep, limit) = (&rows[3], &rows[4]);
    assert_eq!(limit["depth"], "limit");
    assert!(limit["states"].is_null() && limit["evaluations"][0].as_u64().expect("a count") > 20);
    let loss = |row: &Value| row["loss"].as_f64().expect("a loss");
    assert!((loss(deep) / loss(limit) - 1.0).abs() < 0.01, "{} {}", loss(deep), loss(limit));

    let text = evaluate(&["--depth", "8,limit", "--tolerance", "1e-4"]);
    for part in
        ["a control of 5 spline coefficients", "state to limit", "solved by Dormand", "1e-4"]
    {
        assert!(text.contains(part), "{part:?} in {text}");
    }
    assert!(!evaluate(&["--depth", "8"]).contains("to limit"), "no column of a limit not solved");

    for (arguments, part) in [
        (["--depth", "8", "--tolerance", "1e-4"], "add limit to --depth"),
        (["--depth", "limit", "--tolerance", "7"], "--tolerance 7: out of range"),
    ] {
        let mut command = deeplimit(folder.path());
        command.args(["evaluate", "run"]).args(arguments);
        refused(command, &[part]);
    }
    let output = deeplimit(folder.path()).args(["evaluate", "run", "--depth", "8,0"]).output();
    let output = output.expect("run");
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("a number of steps above 0"));
}

/// Of weights with a value at every node: smooth ones have the limit of their interpolant; rough ones and
/// too few have none, which is said, and no distance to it is printed.
#[test]
fn a_network_without_a_limit_is_told_so_and_has_no_distance_to_one() {
    let folder = tempfile::tempdir().expect("a folder");
    let swept = |name: &str, init: &str, depth: &str| {
        let init = format!("network.stage.0.init={init}");
        let depth = format!("network.stage.0.depth={depth}");
        let settings = ["--set", init.as_str(), "--set", depth.as_str(), "--set", "train.epochs=1"];
        let train = ["train", "--out", name];
        let output = deeplimit(folder.path()).args(train).args(QUICK).args(settings).output();
        assert!(output.expect("run").status.success());
        let evaluate = |more: &[&str]| {
            let depths = ["evaluate", name, "--depth", "16,32,limit"];
            let output = deeplimit(folder.path()).args(depths).args(more).output().expect("run");
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            String::from_utf8(output.stdout).expect("text")
        };
        (json(evaluate(&["--json"]).as_bytes()), evaluate(&[]))
    };
    let (object, text) = swept("smooth", "smooth", "32");
    assert!(object["flows"][0]["without_limit"].is_null(), "{object}");
    assert_eq!(object["depths"].as_array().map(Vec::len), Some(3));
    assert!(
        text.contains("interpolated at other depths") && text.contains("state to limit"),
        "{text}"
    );

    for (name, init, depth, reason) in [
        ("rough", "independent", "32", "no limit as functions of depth"),
        ("shallow", "smooth", "2", "cannot be told: 2 layers are too few"),
    ] {
        let (object, text) = swept(name, init, depth);
        let said = object["flows"][0]["without_limit"].as_str().expect("a reason");
        assert!(said.contains(reason), "{said}");
        let rows = object["depths"].as_array().expect("rows");
        assert!(rows.len() == 2 && rows.iter().all(|row| row["states"].is_null()), "{object}");
        assert!(object["tolerance"].is_null());
        assert!(text.contains("flow 0 has no deep limit: its weights "), "{text}");
        assert!(!text.contains("to limit") && !text.contains("Dormand"), "{text}");
    }
}
