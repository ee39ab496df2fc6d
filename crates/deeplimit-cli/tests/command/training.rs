//! A training from its settings to its folder.

use super::{QUICK, deeplimit, json, refused};
use assert_cmd::Command;
use serde_json::Value;
use std::fs;
use std::path::Path;

#[test]
fn a_training_run_leaves_a_whole_folder_and_ends_with_one_object() {
    let folder = tempfile::tempdir().expect("a folder");
    let output = deeplimit(folder.path()).args(["train", "--json"]).args(QUICK).output();
    let output = output.expect("run");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let summary = json(&output.stdout);
    let accuracy = summary["test_accuracy"].as_f64().expect("an accuracy");
    assert!((0.3..=1.0).contains(&accuracy), "{accuracy}");
    assert_eq!(summary["epochs"], 2);
    assert_eq!(summary["gradient_method"], "auto");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        said.contains("gradients by auto: memory-free within 0.01, recomputed where"),
        "{said}"
    );
    assert!(summary["certificate"]["error_estimate"].as_f64().expect("a number") < 0.1);
    let run = folder.path().join(summary["run"].as_str().expect("a path"));
    for file in ["config.toml", "metrics.jsonl", "report.html", "weights/best.safetensors"] {
        assert!(run.join(file).metadata().expect(file).len() > 100, "{file}");
    }
    let config = fs::read_to_string(run.join("config.toml")).expect("the configuration");
    assert!(config.contains("weight_decay"), "defaults are written out");

    let output = deeplimit(folder.path()).args(["evaluate", "--json"]).arg(&run).output();
    let evaluation = json(&output.expect("run").stdout);
    assert_eq!(evaluation["accuracy"], summary["test_accuracy"]);
    let weights = run.join("weights/last.safetensors");
    for path in [run.as_path(), weights.as_path()] {
        let output = deeplimit(folder.path()).args(["info", "--json"]).arg(path).output();
        assert_eq!(json(&output.expect("run").stdout)["position"]["step"], 6);
    }
}

#[test]
fn a_normalised_network_goes_through_every_command() {
    let folder = tempfile::tempdir().expect("a folder");
    let transition = "network.stage.0.transition={kind=\"conv\",channels=4,stride=2}";
    let output = deeplimit(folder.path())
        .args(["train", "--json", "--out", "run", "--set", "network.stage.0.field=conv-bn"])
        .args(["--set", transition])
        .args(QUICK)
        .output()
        .expect("run");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let trained = json(&output.stdout);
    let page = fs::read_to_string(folder.path().join("run/report.html")).expect("the page");
    assert!(page.contains("be1"), "weight paths of every kind");
    let evaluate = deeplimit(folder.path()).args(["evaluate", "run", "--json"]).output();
    assert_eq!(json(&evaluate.expect("run").stdout)["accuracy"], trained["test_accuracy"]);
    let weights = "run/weights/last.safetensors";
    let info = deeplimit(folder.path()).args(["info", weights]).output().expect("run");
    let text = String::from_utf8_lossy(&info.stdout).into_owned();
    assert!(text.contains("stages.0.running_variance"), "{text}");
    let arguments = "gradcheck --field conv-bn --width 2 --image 3 --depth 8 --batch 17 --repeat 1";
    let output = deeplimit(folder.path()).args(arguments.split_whitespace()).output();
    assert!(output.expect("run").status.success());
}

/// Lines of metrics.
pub fn metrics(run: &Path) -> Vec<Value> {
    let text = fs::read_to_string(run.join("metrics.jsonl")).expect("metrics");
    text.lines().map(|line| serde_json::from_str(line).expect("a line")).collect()
}

/// Standard output of a command that ends well.
pub fn told(mut command: Command) -> String {
    let output = command.output().expect("run");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

#[test]
fn a_refined_run_is_gone_on_with_and_its_report_shows_the_depth() {
    let folder = tempfile::tempdir().expect("a folder");
    let command = |arguments: &str| {
        let mut command = deeplimit(folder.path());
        command.args(arguments.split_whitespace());
        command
    };
    told({
        let mut train = command("train --out run --set objective.depth.h1=1e-3");
        train.args(QUICK);
        train
    });
    let refined = told(command("refine run --depth 12 --by cubic --epochs 4 --out finer --json"));
    let refined = json(refined.as_bytes());
    assert_eq!(refined["before"]["depths"], serde_json::json!([6]));
    assert_eq!(refined["after"]["depths"], serde_json::json!([12]));
    assert_eq!((&refined["step"], &refined["steps"]), (&6.into(), &12.into()));
    let loss = |standing: &str| refined[standing]["validation_loss"].as_f64().expect("a loss");
    assert!((loss("after") - loss("before")).abs() < 0.2 * loss("before"), "{refined}");
    let info = json(told(command("info finer --json")).as_bytes());
    assert_eq!(info["position"]["depths"], serde_json::json!([12]));
    assert_eq!(info["config"]["network"]["stage"][0]["depth"], 12);
    // Before it is trained on, its weights are the last ones.
    assert!(told(command("evaluate finer")).contains("finer/weights/last.safetensors after 6"));
    assert!(told(command("info finer")).contains("6, of depth 12"));
    let text = |run: &str| fs::read_to_string(folder.path().join(run).join("metrics.jsonl"));
    assert_eq!(text("finer").expect("metrics"), text("run").expect("metrics"));
    told(command("train --resume finer --json"));
    let lines = metrics(&folder.path().join("finer"));
    let steps = lines.iter().filter(|line| line["kind"] == "step");
    let depths: Vec<&Value> = steps.map(|line| &line["depths"][0]).collect();
    assert_eq!(depths[..6], [6; 6]);
    assert_eq!(depths[6..], [12; 6]);
    assert!(lines.iter().all(|line| line["penalty"].as_f64().expect("a penalty") > 0.0));
    let page = fs::read_to_string(folder.path().join("finer/report.html")).expect("the page");
    assert!(page.contains("<figcaption>Depth<") && page.contains("<figcaption>Penalty<"));
    told(command("diagnose finer --samples 8"));
    assert!(folder.path().join("finer/diagnosis.json").is_file());
    // Back to fewer layers, in a folder of its own making, with nothing left to train.
    let text = told(command("refine finer --depth 4 --by average"));
    assert!(text.contains("depth 12 → 4") && text.contains("--epochs"), "{text}");
    assert!(folder.path().join("runs/finer-depth4-001/config.toml").is_file());
    for (arguments, parts) in [
        ("refine finer --depth 8 --stage 1", ["--stage 1", "stages 0 to 0"]),
        ("refine finer --depth 8 --epochs 2", ["train.epochs = 2", "at least"]),
        ("refine finer --depth 8 --out run", ["run folder run", "exists"]),
        ("refine nowhere --depth 8", ["nowhere", "config.toml"]),
    ] {
        refused(command(arguments), &parts);
    }
}

#[test]
fn a_schedule_of_depths_is_told_and_followed() {
    let folder = tempfile::tempdir().expect("a folder");
    let settings = ["--set", "train.epochs=3", "--set", "train.refine=[[0,2],[1,4],[2,6]]"];
    let train = |out: &str| {
        let mut command = deeplimit(folder.path());
        command.args(["train", "--out", out]).args(QUICK).args(settings);
        command
    };
    let output = train("whole").output().expect("run");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() && said.contains("depth 2 → 4 → 6;"), "{said}");
    let whole = metrics(&folder.path().join("whole"));
    let depths: Vec<&Value> = whole.iter().map(|line| &line["depths"][0]).collect();
    assert_eq!(depths, [[2; 4], [4; 4], [6; 4]].as_flattened());
    let evaluated = told({
        let mut command = deeplimit(folder.path());
        command.args(["evaluate", "whole", "--json"]);
        command
    });
    assert!(json(evaluated.as_bytes())["accuracy"].is_number());
}

#[test]
fn a_misspelt_key_is_answered_with_the_nearest_and_its_line() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("run.toml");
    fs::write(&file, "seed = 1\n[[network.stage]]\ndetph = 3\n").expect("written");
    let mut command = deeplimit(folder.path());
    command.args(["train", "run.toml"]);
    refused(command, &["run.toml: line 3", "`detph`", "`depth`"]);
    assert!(!folder.path().join("runs").exists(), "nothing was begun");
}

#[test]
fn impossible_combinations_are_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    for (setting, part) in [
        ("gradient.segments=3", "gradient.segments means nothing"),
        ("gradient.method=planned", "needs gradient.memory_budget"),
        ("gradient.memory_budget=12 parsecs", "\"12 parsecs\" is no memory budget"),
        ("gradient.memory_budget=10 KiB", "the least possible is "),
        ("gradient.slots=3", "gradient.slots means nothing"),
        ("train.refine=[[0,8],[5,16]]", "network.stage.0.depth = 64, but train.refine ends"),
        ("train.refine=[[1,64]]", "train.refine = [[1, 64]]"),
        ("train.refine_by=cubic", "train.refine_by means nothing"),
        ("train.refine_by=qubic", "did you mean `cubic`"),
        ("objective.depth.h1=0", "objective.depth.h1 = 0"),
        ("objective.depth.step=implicit", "unknown value `implicit`"),
        ("objective.dpeth.h1=1", "did you mean `depth`"),
        ("gradient.method=reversible", "gradient.method = \"reversible\""),
        ("gradient.method=reversible", "network.stage.0.scheme = \"euler\""),
        ("gradient.method=backprob", "backprop"),
        ("network.stage.0.transition={kind=\"conv\",channels=4,kernel=9}", "kernel"),
        ("network.stage.0.scheme=eulr", "euler"),
        ("train.batch=0", "train.batch"),
        ("train.momentum=0.5", "sgd"),
        ("data.source=cifar10", "path"),
        ("network.stage.0.activation=rleu", "`relu`"),
        ("network.stage.0.field=conv-nb", "did you mean `conv-bn`"),
        ("network.stage.0.field=conv-bn", "a conv-bn field needs images"),
        ("network.stage.0.control={basis=\"splin\",coefficients=8}", "did you mean `spline`"),
        ("network.stage.0.control={basis=\"spline\"}", "coefficients"),
        ("network.stage.0.control={basis=\"spline\",coefficients=3}", "at least 4 coefficients"),
        ("network.stage.0.control={basis=\"linear\",coefficients=65}", "take at most 64"),
    ] {
        let mut command = deeplimit(folder.path());
        command.args(["train", "--set", setting]);
        refused(command, &[part]);
    }
    let mut command = deeplimit(folder.path());
    command.args(["train", "--set", "network.stage.0.scheme=leapfrog"]);
    command.args(["--set", "gradient.method=adjoint-adaptive"]);
    let parts = ["gradient.method = \"adjoint-adaptive\"", "network.stage.0.scheme = \"leapfrog\""];
    refused(command, &parts);
}

#[test]
fn garbled_data_is_named_by_file_and_record() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut records = vec![0u8; 20 * 3073];
    records[7 * 3073] = 11;
    fs::write(folder.path().join("data_batch_1.bin"), &records).expect("written");
    let train = || {
        let mut command = deeplimit(folder.path());
        command.args(["train", "--data", "."]);
        command
    };
    refused(train(), &["data_batch_1.bin", "record 7", "11"]);

    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    let noise = (0..records.len()).map(|i| ((i * i * 2_654_435_761) >> 13) as u8 % 10);
    let noise: Vec<u8> = noise.collect();
    std::io::Write::write_all(&mut packed, &noise).expect("packed");
    let packed = packed.finish().expect("packed");
    fs::remove_file(folder.path().join("data_batch_1.bin")).expect("removed");
    let half = &packed[..packed.len() / 2];
    fs::write(folder.path().join("data_batch_1.bin.gz"), half).expect("written");
    refused(train(), &["data_batch_1.bin.gz"]);
    assert!(!folder.path().join("runs").exists(), "nothing was trained on it");
}

#[test]
fn a_run_folder_that_is_there_is_not_overwritten() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::create_dir(folder.path().join("mine")).expect("made");
    let mut command = deeplimit(folder.path());
    command.args(["train", "--out", "mine"]).args(QUICK);
    refused(command, &["mine"]);
    let mut command = deeplimit(folder.path());
    command.args(["train", "--resume", "mine"]);
    refused(command, &["mine", "config.toml"]);
}
