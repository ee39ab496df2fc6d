//! The command, run as a user runs it.

use assert_cmd::Command;
use deeplimit::Scheme;
use deeplimit::gradient::{Entry, REGISTRY};
use serde_json::Value;
use std::fs;
use std::path::Path;

fn deeplimit(folder: &Path) -> Command {
    let mut command = Command::cargo_bin("deeplimit").expect("the binary of this package");
    command.current_dir(folder);
    command
}

/// Settings of a run of a second or so.
const QUICK: [&str; 8] = [
    "--set",
    "train.epochs=2",
    "--set",
    "network.stage.0.depth=6",
    "--set",
    "data.limit_train=400",
    "--set",
    "data.limit_test=200",
];

fn json(output: &[u8]) -> Value {
    let text = String::from_utf8(output.to_vec()).expect("text");
    serde_json::from_str(text.lines().last().expect("a line")).expect("a JSON object")
}

/// The lines of standard error, without those that say how long something takes on a busy machine.
fn lines_told(text: &str) -> impl Iterator<Item = &str> {
    text.trim_end().lines().filter(|line| !line.ends_with(" so far"))
}

/// One line on standard error, exit code 2, and nothing on standard output.
fn refused(mut command: Command, expected: &[&str]) {
    let output = command.output().expect("run");
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{text}");
    assert_eq!(lines_told(&text).count(), 1, "one line: {text}");
    assert!(output.stdout.is_empty());
    for part in expected {
        assert!(text.contains(part), "{part:?} in {text}");
    }
}

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
fn metrics(run: &Path) -> Vec<Value> {
    let text = fs::read_to_string(run.join("metrics.jsonl")).expect("metrics");
    text.lines().map(|line| serde_json::from_str(line).expect("a line")).collect()
}

/// Standard output of a command that ends well.
fn told(mut command: Command) -> String {
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

#[test]
fn gradcheck_prints_a_row_a_method_with_every_field() {
    let folder = tempfile::tempdir().expect("a folder");
    let arguments = "gradcheck --field mlp --width 8 --hidden 8 --depth 16 --batch 5 --scheme euler \
                     --dtype f64 --seed 1 --json --repeat 1";
    let output = deeplimit(folder.path()).args(arguments.split_whitespace()).output();
    let output = output.expect("run");
    assert!(output.status.success());
    let rows = json(&output.stdout);
    let rows = rows.as_array().expect("an array");
    let fit = |entry: &&Entry| entry.method.fits(&Scheme::EULER.into()).is_ok();
    let names: Vec<&str> = REGISTRY.iter().filter(fit).map(|entry| entry.name).collect();
    assert_eq!(names.len(), REGISTRY.len() - 1, "all but reversible");
    let found: Vec<&str> = rows.iter().filter_map(|row| row["method"].as_str()).collect();
    assert_eq!(found, names);
    for row in rows {
        for field in [
            "method",
            "gradient_error",
            "state_error",
            "defect",
            "kink",
            "cost_units",
            "evaluations",
            "milliseconds",
            "tape_bytes",
            "depth",
            "batch",
            "dtype",
            "scheme",
            "field",
        ] {
            assert!(row.get(field).is_some(), "{field} in {row}");
        }
    }
    assert_eq!(rows[0]["gradient_error"], 0.0);
    assert_eq!(rows[0]["cost_units"], 3.0);
}

#[test]
fn a_memory_budget_is_planned_told_and_kept_in_the_run() {
    let folder = tempfile::tempdir().expect("a folder");
    let output = deeplimit(folder.path())
        .args(["train", "--json", "--out", "run", "--set", "gradient.memory_budget=2 MiB"])
        .args(["--threads", "1"])
        .args(QUICK)
        .output()
        .expect("run");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    assert!(said.contains("gradients by planned\nmemory plan: "), "{said}");
    let plan = json(&output.stdout)["memory_plan"].clone();
    assert_eq!(plan["budget"], "2 MiB");
    assert!(plan["bytes"].as_u64().expect("bytes") <= 2 << 20, "{plan}");
    let page = fs::read_to_string(folder.path().join("run/report.html")).expect("the page");
    assert!(page.contains("memory plan"));
    let info = deeplimit(folder.path()).args(["info", "run", "--json"]).output().expect("run");
    let info = json(&info.stdout);
    assert_eq!(info["memory_plan"]["choices"], plan["choices"]);
    assert_eq!(info["config"]["gradient"]["method"], "planned");

    let mut refusal = deeplimit(folder.path());
    refusal.args(["gradcheck", "--depth", "50", "--batch", "40", "--memory-budget", "1 KiB"]);
    let output = refusal.output().expect("run");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let least = said.split("the least possible is ").nth(1).and_then(|s| s.split(' ').next());
    let least: usize = least.and_then(|least| least.parse().ok()).expect("a number of bytes");
    let check = |budget: usize| {
        let arguments = "gradcheck --depth 50 --batch 40 --repeat 1 --json --memory-budget";
        let mut command = deeplimit(folder.path());
        command.args(arguments.split_whitespace()).arg(budget.to_string());
        command
    };
    refused(check(least - 1), &["--memory-budget", "the least possible is"]);
    let output = check(least).output().expect("run");
    assert!(output.status.success());
    assert!(json(&output.stdout)[0]["gradient_error"].as_f64().expect("a number") < 1e-12);
}

#[test]
fn gradcheck_refuses_a_method_that_does_not_go_with_the_scheme() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut command = deeplimit(folder.path());
    command.args(["gradcheck", "--scheme", "heun", "--method", "reversible"]);
    refused(command, &["reversible", "heun steps", "leapfrog"]);
}

/// Slope of the gradient error in the depth, from 64 to 512, beside theory (orders of P_kC_m).
#[test]
fn gradcheck_errors_fall_with_the_orders_of_theory() {
    let folder = tempfile::tempdir().expect("a folder");
    let errors = |depth: &str, weights: &str| -> Vec<(String, f64)> {
        let output = deeplimit(folder.path())
            .args(["gradcheck", "--width", "16", "--batch", "32", "--repeat", "1", "--json"])
            .args(["--depth", depth, weights])
            .output()
            .expect("run");
        let rows = json(&output.stdout);
        let rows = rows.as_array().expect("an array").iter();
        let pair = |row: &Value| {
            let error = row["gradient_error"].as_f64().expect("a number");
            (row["method"].as_str().expect("a name").to_owned(), error)
        };
        rows.map(pair).collect()
    };
    let check = |weights: &str, expected: &[(&str, f64)]| {
        let (shallow, deep) = (errors("64", weights), errors("512", weights));
        for (method, order) in expected {
            let at = |rows: &[(String, f64)]| {
                rows.iter().find(|(name, _)| name == method).expect("a row").1
            };
            let slope = (at(&shallow) / at(&deep)).ln() / 8f64.ln();
            assert!((slope - order).abs() < 0.25, "{method} {weights}: {slope:.2}, not {order}");
        }
    };
    check(
        "--smooth",
        &[
            ("adjoint-published", 1.0),
            ("adjoint-corrected", 2.0),
            ("adjoint-predicted", 3.0),
            ("adjoint-learned", 4.0),
        ],
    );
    check(
        "--rough",
        &[
            ("adjoint-published", 1.0),
            ("adjoint-corrected", 2.0),
            ("adjoint-predicted", 1.0),
            ("adjoint-learned", 2.0),
        ],
    );
}

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
