//! The experiment on memory, in a process of its own: its allocator counts every byte.

use assert_cmd::Command;
use serde_json::Value;
use std::fs;
use std::path::Path;

fn measure(folder: &Path) -> Value {
    let mut command = Command::cargo_bin("deeplimit").expect("the binary of this package");
    let output = command.args(["experiment", "memory", "--quick", "--json", "--out"]).arg(folder);
    let output = output.output().expect("run");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text} {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_str(text.trim()).expect("one JSON object")
}

/// The columns of rows.csv that do not hold times.
fn bytes(folder: &Path) -> Vec<String> {
    let table = fs::read_to_string(folder.join("rows.csv")).expect("rows.csv");
    let head: Vec<&str> = table.lines().next().expect("a head").split(',').collect();
    let time = head.iter().position(|name| *name == "milliseconds").expect("a column of times");
    let without = |line: &str| {
        // Commas inside names are quoted, and stand before the times.
        let cells: Vec<&str> = line.rsplitn(head.len() - time + 1, ',').collect();
        let kept = cells.iter().enumerate().filter(|(i, _)| *i != head.len() - 1 - time);
        kept.map(|(_, cell)| *cell).collect::<Vec<_>>().join(",")
    };
    table.lines().map(without).collect()
}

#[test]
fn a_killed_measurement_of_memory_goes_on_and_counts_the_same_bytes() {
    let place = tempfile::tempdir().expect("a folder");
    let folder = place.path().join("memory");
    let first = measure(&folder);
    assert_eq!(first["holds"], true, "{first}");
    let whole = bytes(&folder);
    // As a kill in the middle of writing the fourth case leaves it.
    let cases = fs::read_to_string(folder.join("cases.jsonl")).expect("cases");
    let lines: Vec<&str> = cases.lines().collect();
    assert_eq!(lines.len(), 8);
    let left = format!("{}\n{}", lines[..3].join("\n"), &lines[3][..40]);
    fs::write(folder.join("cases.jsonl"), left).expect("write");
    assert_eq!(measure(&folder)["holds"], true);
    assert_eq!(bytes(&folder), whole);
}
