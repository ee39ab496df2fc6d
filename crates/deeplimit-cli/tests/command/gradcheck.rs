//! What gradients cost and how wrong they are, and a budget for their memory.

use super::{QUICK, deeplimit, json, refused};
use deeplimit::Scheme;
use deeplimit::gradient::{Entry, REGISTRY};
use serde_json::Value;
use std::fs;

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
