//! The command, run as a user runs it.

mod checkpoints;
mod depths;
mod diagnosis;
mod gradcheck;
mod predict;
mod predicted_tables;
mod pretrained;
mod runs;
mod tables;
mod training;

use assert_cmd::Command;
use serde_json::Value;
use std::path::Path;
use std::process::Output;

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

/// The one line on standard error of a command that ends with exit code 2 and prints nothing.
fn refusal(command: &mut Command) -> String {
    let output = command.output().expect("run");
    assert!(output.stdout.is_empty(), "{command:?}");
    line_of_refusal(command, &output)
}

/// The one line on standard error of a command that ended with exit code 2. Lines that say how long something
/// takes on a busy machine do not count.
fn line_of_refusal(command: &Command, output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{command:?}: {text}");
    let lines: Vec<&str> =
        text.trim_end().lines().filter(|line| !line.ends_with(" so far")).collect();
    assert_eq!(lines.len(), 1, "{command:?}: one line: {text}");
    lines[0].to_owned()
}

/// A [`refusal`] that names all these.
fn refused(mut command: Command, expected: &[&str]) {
    let text = refusal(&mut command);
    for part in expected {
        assert!(text.contains(part), "{part:?} in {text}");
    }
}
