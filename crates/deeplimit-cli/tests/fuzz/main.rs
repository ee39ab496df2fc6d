//! Changed files: whatever is in a file, the command ends with exit code 0, 1 or 2, says at most one line of error, does not
//! panic, and keeps to a gigabyte of memory.
//!
//! `DEEPLIMIT_FUZZ_SECONDS` (20) is how long to try, `DEEPLIMIT_FUZZ_SEED` (1) which changes to try.

mod kinds;
mod mutate;

use kinds::Kind;
use mutate::Random;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Address space that a command may take, in KiB.
const MEMORY: usize = 1 << 20;
/// A change may ask for an honest long run; such a command is ended and not judged.
const PATIENCE: Duration = Duration::from_secs(10);

/// What a command did.
struct Outcome {
    status: ExitStatus,
    stderr: String,
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().expect("a whole number"))
}

/// Runs the command in a folder within its memory; `None` where it was ended.
fn run(folder: &Path, arguments: &[String], log: &Path) -> Option<Outcome> {
    let file = File::create(log).expect("a log");
    let limited = format!("ulimit -v {MEMORY}; exec \"$0\" \"$@\"");
    let mut child = Command::new("sh")
        .args(["-c", &limited, env!("CARGO_BIN_EXE_deeplimit"), "--threads", "1"])
        .args(arguments)
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(file)
        .spawn()
        .expect("the command starts");
    let began = Instant::now();
    loop {
        if let Some(status) = child.try_wait().expect("a child") {
            let stderr = String::from_utf8_lossy(&fs::read(log).expect("a log")).into_owned();
            return Some(Outcome { status, stderr });
        }
        if began.elapsed() > PATIENCE {
            child.kill().expect("ended");
            child.wait().expect("ended");
            return None;
        }
        sleep(Duration::from_millis(1));
    }
}

/// What is wrong with how a command ended.
fn fault(outcome: &Outcome) -> Option<&'static str> {
    let Outcome { status, stderr } = outcome;
    let errors = stderr.lines().filter(|line| line.starts_with("deeplimit: ")).count();
    match status.code() {
        _ if stderr.contains("panicked at") => Some("it panicked"),
        None => Some("a signal ended it"),
        Some(0 | 1) => (errors > 0).then_some("it said an error and did not fail"),
        // Wrong arguments are clap's, which says usage and hints in lines of their own.
        Some(2) if stderr.starts_with("error: ") => None,
        Some(2) if errors != 1 => Some("it did not say one line of error"),
        Some(2) if !stderr.lines().last().unwrap_or_default().starts_with("deeplimit: ") => {
            Some("the error has more than one line")
        }
        Some(2) => None,
        Some(_) => Some("the exit code is not 0, 1 or 2"),
    }
}

/// One change of one file, read by one of the commands; an answer that is a fault is described.
fn attempt(kinds: &[Kind], seed: u64, place: &Path) -> Option<String> {
    let mut random = Random::new(seed);
    let kind = random.pick(kinds);
    let target = place.join(kind.root.file_name().expect("a name"));
    copy(&kind.root, &target);
    for beside in ["table.csv", "seen.safetensors"] {
        copy(&kind.root.with_file_name(beside), &place.join(beside));
    }
    let changed = random.pick(&kind.files);
    let inside = changed.strip_prefix(&kind.root).expect("a file of its kind");
    let file = if inside.as_os_str().is_empty() { target.clone() } else { target.join(inside) };
    let bytes = (kind.change)(&fs::read(changed).expect("an honest file"), &mut random);
    fs::write(&file, &bytes).expect("written");
    let command = random.pick(&kind.commands);
    let word = |word: &str| match word {
        "@" => target.display().to_string(),
        ">" => place.join("out.safetensors").display().to_string(),
        other => other.to_owned(),
    };
    let arguments: Vec<String> = command.split_whitespace().map(word).collect();
    let outcome = run(place, &arguments, &place.join("log"))?;
    let what = fault(&outcome)?;
    let kept = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("fuzz-{seed}"));
    let _ = fs::remove_dir_all(&kept);
    copy(place, &kept);
    let said: String = outcome.stderr.chars().take(600).collect();
    let (name, kept) = (kind.name, kept.display());
    Some(format!(
        "seed {seed}, {name}, `deeplimit {command}`: {what} ({}; files in {kept})\n{said}",
        outcome.status
    ))
}

fn copy(from: &Path, to: &Path) {
    if from.is_dir() {
        fs::create_dir_all(to).expect("a folder");
        for entry in fs::read_dir(from).expect("a folder") {
            let entry = entry.expect("an entry");
            copy(&entry.path(), &to.join(entry.file_name()));
        }
    } else if from.is_file() {
        fs::copy(from, to).expect("copied");
    }
}

fn honest(folder: &Path) -> Vec<Kind> {
    kinds::all(folder, |command| {
        let arguments: Vec<String> = command.split_whitespace().map(str::to_owned).collect();
        let outcome = run(folder, &arguments, &folder.join("log")).expect("in time");
        assert!(outcome.status.success(), "{command}: {}", outcome.stderr);
    })
}

#[test]
fn honest_files_are_read_and_a_panic_would_be_seen() {
    let folder = tempfile::tempdir().expect("a folder");
    for kind in honest(folder.path()) {
        if kind.root.starts_with(folder.path().join("checkpoints")) {
            continue; // some of these are examples of what is refused
        }
        for command in &kind.commands {
            let free = folder.path().join("free");
            let _ = fs::remove_dir_all(&free);
            let _ = fs::remove_file(&free);
            let word = |word: &str| match word {
                "@" => kind.root.display().to_string(),
                ">" => free.display().to_string(),
                other => other.to_owned(),
            };
            let arguments: Vec<String> = command.split_whitespace().map(word).collect();
            let Outcome { status, stderr } =
                run(folder.path(), &arguments, &folder.path().join("log")).expect("in time");
            assert!(matches!(status.code(), Some(0 | 1)), "{command}: {stderr}");
        }
    }
    let status = Command::new("sh").args(["-c", "exit 101"]).status().expect("run");
    let says = |stderr: &str| fault(&Outcome { status, stderr: stderr.to_owned() });
    assert_eq!(says("thread 'main' panicked at x"), Some("it panicked"));
    assert_eq!(says(""), Some("the exit code is not 0, 1 or 2"));
}

#[test]
fn changed_files_end_in_one_line_whatever_was_changed() {
    let folder = tempfile::tempdir().expect("a folder");
    let kinds = honest(folder.path());
    let until = Instant::now() + Duration::from_secs(number("DEEPLIMIT_FUZZ_SECONDS", 20));
    let first = number("DEEPLIMIT_FUZZ_SEED", 1) << 32;
    let (next, faults) = (AtomicU64::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while Instant::now() < until {
                    let seed = first + next.fetch_add(1, Ordering::Relaxed);
                    let place: PathBuf = folder.path().join(format!("attempt-{seed}"));
                    fs::create_dir(&place).expect("a folder");
                    if let Some(fault) = attempt(&kinds, seed, &place) {
                        faults.lock().expect("no panic").push(fault);
                    }
                    fs::remove_dir_all(&place).expect("removed");
                }
            });
        }
    });
    let (tried, faults) = (next.into_inner(), faults.into_inner().expect("no panic"));
    println!("{tried} changed files over {} kinds", kinds.len());
    assert!(faults.is_empty(), "{} of {tried}:\n{}", faults.len(), faults.join("\n"));
}
