//! Runs over their whole life: killed, resumed, their data exchanged or moved, lengthened.

use super::deeplimit;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// Standard output of a command that ends well.
fn told(folder: &Path, arguments: &str) -> String {
    let output = deeplimit(folder).args(arguments.split_whitespace()).output().expect("run");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments}: {said}");
    String::from_utf8(output.stdout).expect("text")
}

/// The one object that a command ends with.
fn json(folder: &Path, arguments: &str) -> Value {
    let text = told(folder, &format!("{arguments} --json"));
    serde_json::from_str(text.lines().last().expect("a line")).expect("a JSON object")
}

/// What a command that ends well says on standard error.
fn said(folder: &Path, arguments: &str) -> String {
    let output = deeplimit(folder).args(arguments.split_whitespace()).output().expect("run");
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{arguments}: {text}");
    text
}

/// A refusal that names all these.
fn refused(folder: &Path, arguments: &str, expected: &[&str]) {
    let mut command = deeplimit(folder);
    command.args(arguments.split_whitespace());
    super::refused(command, expected);
}

/// Settings of a run of a moment on a table.
const SMALL: &str = "--set train.batch=16 --set train.epochs=2 --set network.stage.0.depth=3 \
     --set network.stage.0.transition.width=4";

/// A table of so many rows in two classes.
fn table(rows: usize) -> Vec<String> {
    let row = |i: usize| format!("{},{},{}\n", i % 7, (i * i) % 11, ["a", "b"][i % 2]);
    let head = "x,y,class\n".to_owned();
    std::iter::once(head).chain((0..rows).map(row)).collect()
}

/// A folder with a table and a run on it.
fn trained() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("table.csv"), table(100).concat()).expect("written");
    told(folder.path(), &format!("train --data table.csv --out run {SMALL}"));
    folder
}

fn metrics(run: &Path) -> Vec<Value> {
    let text = fs::read_to_string(run.join("metrics.jsonl")).expect("metrics");
    text.lines().map(|line| serde_json::from_str(line).expect("a line")).collect()
}

/// The text of metrics without what the clock and the allocator decide.
fn timeless(run: &Path) -> Vec<String> {
    let text = fs::read_to_string(run.join("metrics.jsonl")).expect("metrics");
    let value = |line: &mut String, key: &str| {
        let start = line.find(key).expect("a key") + key.len();
        let end = start + line[start..].find([',', '}']).expect("the end of a number");
        line.replace_range(start..end, "…");
    };
    let lines = text.lines().map(|line| {
        let mut line = line.to_owned();
        value(&mut line, "\"seconds\":");
        value(&mut line, "\"peak_mb\":");
        line
    });
    lines.collect()
}

/// The files of a folder, by name.
fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(folder).expect("the folder");
    let file = |entry: fs::DirEntry| {
        let name = entry.file_name().to_string_lossy().into_owned();
        (name, fs::read(entry.path()).expect("a file"))
    };
    entries.map(|entry| file(entry.expect("an entry"))).collect()
}

#[test]
fn a_run_killed_in_the_middle_resumes_to_the_same_bytes() {
    kill_and_resume("");
}

#[test]
fn a_run_killed_among_its_refinements_resumes_to_the_same_bytes() {
    kill_and_resume("--set train.refine=[[0,2],[1,3],[2,4],[4,6]] --set objective.depth.h1=1e-3");
}

/// Kills a run after its sixth line of metrics, and goes on.
fn kill_and_resume(more: &str) {
    let folder = tempfile::tempdir().expect("a folder");
    let at = folder.path();
    let train = format!(
        "train {more} --set train.epochs=12 --set train.checkpoint_every=2 \
         --set network.stage.0.depth=6 --set data.limit_train=400 --set data.limit_test=200 --out"
    );
    told(at, &format!("{train} whole"));
    let mut child = std::process::Command::new(deeplimit(at).get_program())
        .args(train.split_whitespace())
        .arg("killed")
        .current_dir(at)
        .stderr(std::process::Stdio::null())
        .spawn()
        .expect("spawn");
    let [whole, killed] = ["whole", "killed"].map(|run| at.join(run));
    let file = killed.join("metrics.jsonl");
    let written = || fs::read_to_string(&file).unwrap_or_default();
    while written().lines().count() < 6 {
        assert!(child.try_wait().expect("status").is_none(), "still training");
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    child.kill().expect("SIGKILL"); // std sends SIGKILL on Unix
    child.wait().expect("the end");
    let before = written();
    assert!(before.lines().count() < metrics(&whole).len(), "killed in the middle");
    let step = json(at, "info killed")["position"]["step"].as_u64().expect("a step");
    let kept = |line: &&str| {
        let line = serde_json::from_str::<Value>(line);
        line.is_ok_and(|line| line["step"].as_u64().expect("a step") <= step)
    };
    let kept: String = before.split_inclusive('\n').take_while(kept).collect();

    told(at, "train --resume killed");
    assert!(written().starts_with(&kept), "history is not rewritten");
    assert_eq!(timeless(&killed), timeless(&whole));
    assert!(files(&killed.join("weights")) == files(&whole.join("weights")), "weights");
    let config = |run: &Path| fs::read(run.join("config.toml")).expect("a file");
    assert_eq!(config(&killed), config(&whole));
}

#[test]
fn a_line_that_was_half_written_is_cut_off_and_the_others_stay_as_they_are() {
    let folder = trained();
    let file = folder.path().join("run/metrics.jsonl");
    let before = fs::read_to_string(&file).expect("metrics");
    // As an earlier version may have written it: other spaces, a number with more digits than it needs.
    let odd = before.replacen("\"rate\":0.002", "\"rate\": 0.00200000000000000000", 1);
    assert_ne!(odd, before);
    for end in ["", "{\"kind\":\"step\",\"epo"] {
        fs::write(&file, format!("{odd}{end}")).expect("written");
        told(folder.path(), "train --resume run");
        assert_eq!(fs::read_to_string(&file).expect("metrics"), odd);
    }
    fs::write(&file, odd.trim_end()).expect("written");
    told(folder.path(), "train --resume run");
    assert_eq!(fs::read_to_string(&file).expect("metrics"), odd);
    fs::write(&file, odd.replacen("{\"kind\"", "{\"kin\"", 2)).expect("written");
    refused(folder.path(), "train --resume run", &["run/metrics.jsonl: line 1"]);
}

#[test]
fn a_run_does_not_go_on_with_other_data_unless_one_insists() {
    let folder = trained();
    let at = folder.path();
    let mut rows = table(100);
    rows[1..].reverse();
    fs::write(at.join("table.csv"), rows.concat()).expect("written");
    let commands = [
        ("evaluate run", "test"),
        ("evaluate run/weights/last.safetensors", "test"),
        ("evaluate run --depth 3", "training"),
        ("diagnose run --samples 4", "training"),
        ("refine run --depth 4 --out finer", "training"),
        ("train --resume run --epochs 3", "training"),
    ];
    for (command, part) in commands {
        let part = format!("the {part} samples are not those of the run: it had ");
        refused(at, command, &["table.csv: ", &part, "--accept-changed-data"]);
    }
    // Other data are asked for: they need not be those of the run.
    told(at, "evaluate run --data table.csv");
    for (command, _) in commands {
        let text = said(at, &format!("{command} --accept-changed-data"));
        assert!(text.contains("are not those of the run"), "{command}: {text}");
    }
    // What was accepted is the run's now.
    told(at, "train --resume run --epochs 4");
    told(at, "evaluate run/weights/last.safetensors");

    fs::write(at.join("table.csv"), table(90).concat()).expect("written");
    refused(at, "train --resume run", &["it had 72 (digest ", "found 65 (digest "]);
    fs::write(at.join("table.csv"), table(100).concat().replace(",b", ",c")).expect("written");
    refused(
        at,
        "evaluate finer",
        &["the classes are not those of the run: it had a, b, found a, c"],
    );
}

#[test]
fn a_run_of_an_earlier_version_goes_on_and_says_that_its_data_are_not_checked() {
    let folder = trained();
    let at = folder.path();
    for name in ["last", "best"] {
        let file = at.join(format!("run/weights/{name}.safetensors"));
        let bytes = fs::read(&file).expect("weights");
        // The entry under a name of the same length that no one reads.
        let place = bytes.windows(9).position(|part| part == b"\"digests\"").expect("the entry");
        let mut old = bytes.clone();
        old[place..place + 9].copy_from_slice(b"\"unknown\"");
        fs::write(&file, old).expect("written");
    }
    fs::write(at.join("table.csv"), table(101).concat()).expect("written");
    told(at, "evaluate run");
    let text = said(at, "train --resume run --epochs 3");
    assert!(text.contains("not checked"), "{text}");
    assert!(!said(at, "train --resume run --epochs 4").contains("not checked"));
}

#[test]
fn a_run_finds_its_data_from_anywhere_and_goes_on_where_they_have_moved() {
    let folder = trained();
    let at = folder.path();
    let elsewhere = at.join("elsewhere");
    fs::create_dir(&elsewhere).expect("a folder");
    let accuracy = json(at, "evaluate run")["accuracy"].clone();
    for run in ["../run", "../run/weights/best.safetensors"] {
        assert_eq!(json(&elsewhere, &format!("evaluate {run}"))["accuracy"], accuracy, "{run}");
    }
    told(&elsewhere, "train --resume ../run --epochs 3");
    // All together to another place.
    let moved = at.join("moved");
    fs::create_dir(&moved).expect("a folder");
    for name in ["run", "table.csv"] {
        fs::rename(at.join(name), moved.join(name)).expect("moved");
    }
    let text = said(&moved, "evaluate run");
    assert!(text.contains("not there any more; they are read from"), "{text}");
    told(&moved, "train --resume run --epochs 4");
    assert!(!said(&elsewhere, "evaluate ../moved/run").contains("any more"));

    // The data alone.
    fs::rename(moved.join("table.csv"), elsewhere.join("other.csv")).expect("moved");
    for command in ["train --resume run", "evaluate run", "refine run --depth 4"] {
        refused(&moved, command, &["table.csv: the data of the run are not there", "--data PATH"]);
    }
    assert!(told(&moved, "diagnose run --samples 4").contains("SYNTHETIC"));
    told(&moved, "refine run --depth 4 --out finer --data ../elsewhere/other.csv");
    told(&moved, "train --resume run --epochs 5 --data ../elsewhere/other.csv");
    told(at, "evaluate moved/run");
    told(at, "train --resume moved/run --epochs 6");
    // Where they lie may be written into the configuration, too.
    fs::rename(elsewhere.join("other.csv"), at.join("last.csv")).expect("moved");
    let file = moved.join("run/config.toml");
    let text = fs::read_to_string(&file).expect("the configuration");
    fs::write(&file, text.replace("../elsewhere/other.csv", "../last.csv")).expect("written");
    told(at, "evaluate moved/run");
    told(at, "train --resume moved/run");
    // Other data under the option are refused, too.
    fs::write(at.join("last.csv"), table(99).concat()).expect("written");
    refused(at, "train --resume moved/run --data last.csv", &["last.csv: ", "it had 72"]);
}

#[test]
fn a_finished_run_goes_on_for_more_epochs_at_the_rates_of_a_run_of_so_many() {
    let folder = trained();
    let at = folder.path();
    told(at, &format!("train --data table.csv --out whole {SMALL} --epochs 5"));
    let text = said(at, "train --resume run --epochs 5");
    assert!(text.contains("epochs 2 → 5:"), "{text}");
    let rates = |run: &str| -> Vec<(u64, f64)> {
        let lines = metrics(&at.join(run));
        let steps = lines.iter().filter(|line| line["kind"] == "step");
        let rate = |line: &Value| (line["step"].as_u64().unwrap(), line["rate"].as_f64().unwrap());
        steps.map(rate).collect()
    };
    let (run, whole) = (rates("run"), rates("whole"));
    assert_eq!((run.len(), whole.len()), (20, 20), "72 samples in batches of 16");
    assert_ne!(run[7], whole[7]);
    assert_eq!(run[8..], whole[8..]);
    let info = json(at, "info run");
    assert_eq!(info["position"]["changed_epochs"], serde_json::json!([[8, 2]]));
    assert_eq!(info["config"]["train"]["epochs"], 5);
    // It is a run of five epochs now, whoever goes on with it.
    let before = fs::read(at.join("run/metrics.jsonl")).expect("metrics");
    assert!(!said(at, "train --resume run").contains("epochs 2"));
    assert_eq!(fs::read(at.join("run/metrics.jsonl")).expect("metrics"), before);
    refused(at, "train --resume run --epochs 4", &["train.epochs = 4", "done or begun"]);
    told(at, "evaluate run");
}

#[test]
fn an_edited_configuration_of_a_run_is_refused_by_name() {
    let folder = trained();
    let at = folder.path();
    let file = at.join("run/config.toml");
    let text = fs::read_to_string(&file).expect("the configuration");
    for (old, new, parts) in [
        ("rate = 0.002", "rate = 0.1", ["train.rate is 0.1", "trained with 0.002"]),
        ("depth = 3", "depth = 4", ["network.stage.0.depth is 4", "trained with 3"]),
        ("validation = 0.1", "limit_test = 5", ["data.limit_test is 5", "trained with not given"]),
    ] {
        let edited = text.replace(old, new);
        assert_ne!(edited, text);
        fs::write(&file, edited).expect("written");
        for command in
            ["evaluate run", "diagnose run", "train --resume run", "refine run --depth 6"]
        {
            refused(at, command, &parts);
        }
        let note = said(at, "info run");
        assert!(note.contains(parts[0]), "{note}");
    }
    // The way out that the message names.
    fs::write(&file, text.replace("rate = 0.002", "rate = 0.1")).expect("written");
    told(at, "train run/config.toml --init run --out other");
}

#[cfg(unix)]
#[test]
fn all_files_of_a_run_may_be_read_by_the_same_people() {
    use std::os::unix::fs::PermissionsExt;
    let folder = trained();
    let run = folder.path().join("run");
    let mode = |path: &Path| path.metadata().expect("a file").permissions().mode() & 0o777;
    // A file as this process makes it, whatever its umask.
    let plain = folder.path().join("plain");
    fs::write(&plain, "").expect("written");
    for folder in [run.clone(), run.join("weights")] {
        for entry in fs::read_dir(folder).expect("the folder") {
            let path = entry.expect("an entry").path();
            if path.is_file() {
                assert_eq!(mode(&path), mode(&plain), "{}", path.display());
            }
        }
    }
    told(folder.path(), "export run --out exported.safetensors");
    assert_eq!(mode(&folder.path().join("exported.safetensors")), mode(&plain));
}

#[cfg(unix)]
#[test]
fn the_commands_that_are_printed_run_as_they_stand() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = folder.path();
    fs::write(at.join("table.csv"), table(100).concat()).expect("written");
    let program = deeplimit(at).get_program().to_owned();
    let program = Path::new(&program).parent().expect("a folder").to_owned();
    let path = format!("{}:{}", program.display(), std::env::var("PATH").expect("a path"));
    let shell = |command: &str| {
        let mut shell = std::process::Command::new("sh");
        let output = shell.args(["-c", command]).env("PATH", &path).current_dir(at).output();
        let output = output.expect("run");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{command}: {said}");
        String::from_utf8(output.stdout).expect("text")
    };
    let commands = |text: &str| -> Vec<String> {
        let lines = text.lines().filter_map(|line| line.strip_prefix("  deeplimit "));
        // What the command is for stands behind it.
        lines.map(|line| format!("deeplimit {}", line.split("    ").next().unwrap())).collect()
    };
    let train = format!("deeplimit train --data table.csv {SMALL}");
    let text = shell(&format!("{train} --out \"it's a \\$run\""));
    let next = commands(&text);
    let words: Vec<&str> = next.iter().filter_map(|line| line.split(' ').nth(1)).collect();
    assert_eq!(words, ["evaluate", "diagnose", "refine", "gradcheck"], "{text}");
    for command in &next[..3] {
        let text = shell(command);
        commands(&text).iter().for_each(|command| drop(shell(command)));
    }
}
