//! The `deeplimit` command.
//!
//! Results go to standard output, progress to standard error. Exit codes: 0 success, 1 a check
//! failed, 2 an error.

mod commands;
mod config;
mod diagnosis;
mod experiment;
mod history;
mod imported;
mod memory;
mod metrics;
mod new_file;
mod page;
mod progress;
mod report;
mod run_folder;
mod shell;
mod trained;
mod weight_paths;
mod words;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Parser, Subcommand};
use std::io::Write;
use std::process::ExitCode;
use words::Meaning;

/// Trains residual networks of any depth in the memory of one layer, and certifies their gradients.
///
/// Without a command: trains the built-in digits.
#[derive(Parser)]
#[command(name = "deeplimit", version)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    /// Threads of the flows; all cores where none are given.
    #[arg(long, global = true, value_name = "COUNT")]
    threads: Option<std::num::NonZeroUsize>,
}

#[derive(Subcommand)]
enum Command {
    /// Train a network; without arguments, on the built-in digits.
    Train(commands::train::Arguments),
    /// Loss and accuracy of a trained network.
    Evaluate(commands::evaluate::Arguments),
    /// What a trained network says of data without labels: classes and their probabilities, or values.
    Predict(commands::predict::Arguments),
    /// Read a pretrained residual network of PyTorch, recognise it, write it as safetensors.
    Import(commands::import::Import),
    /// Write weights as plain safetensors, which PyTorch loads.
    Export(commands::import::Export),
    /// Turn a pretrained residual network into flows, which train memory-free.
    Convert(commands::convert::Arguments),
    /// Carry a run to another depth; training goes on from there.
    Refine(commands::refine::Arguments),
    /// How near the flows of a trained network are to their neural ODEs, and what follows.
    Diagnose(commands::diagnose::Arguments),
    /// Error, memory and cost of every gradient method on a random flow.
    Gradcheck(commands::gradcheck::Arguments),
    /// What the theory says, measured: a page with figures and a verdict on every claim.
    Experiment(commands::experiment::Arguments),
    /// What a run, a weights file or a data folder holds.
    Info(commands::info::Arguments),
}

/// How a command that did not fail has ended.
enum Outcome {
    Success,
    /// A check that the command makes did not hold.
    CheckFailed,
}

fn main() -> ExitCode {
    let arguments = Arguments::try_parse().unwrap_or_else(|error| refuse(&error));
    match run(arguments) {
        Ok(Outcome::Success) => ExitCode::SUCCESS,
        Ok(Outcome::CheckFailed) => ExitCode::from(1),
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("deeplimit: {}", one_line(&error)));
            ExitCode::from(2)
        }
    }
}

/// Ends with what is wrong with the arguments, or with the help that was asked for. An option of `train` that
/// is a setting is answered with it.
fn refuse(error: &clap::Error) -> ! {
    let unknown = (error.kind() == ErrorKind::UnknownArgument)
        .then(|| error.get(ContextKind::InvalidArg))
        .flatten();
    if let Some(ContextValue::String(option)) = unknown
        && std::env::args().nth(1).is_some_and(|command| command == "train")
        && let Some(meaning) = words::meaning(option.trim_start_matches('-'), &[])
    {
        say(&match meaning {
            Meaning::Key(key) => {
                format!("deeplimit: train has no option {option}; give --set {key}=VALUE instead")
            }
            Meaning::Answer(answer) => {
                format!("deeplimit: train has no option {option}: {answer}")
            }
        });
        std::process::exit(2);
    }
    error.exit()
}

fn run(arguments: Arguments) -> anyhow::Result<Outcome> {
    if let Some(threads) = arguments.threads {
        rayon::ThreadPoolBuilder::new().num_threads(threads.get()).build_global()?;
    }
    match arguments.command {
        None => commands::train::run(commands::train::Arguments::default()),
        Some(Command::Train(arguments)) => commands::train::run(arguments),
        Some(Command::Evaluate(arguments)) => commands::evaluate::run(&arguments),
        Some(Command::Predict(arguments)) => commands::predict::run(&arguments),
        Some(Command::Import(arguments)) => commands::import::import(&arguments),
        Some(Command::Export(arguments)) => commands::import::export(&arguments),
        Some(Command::Convert(arguments)) => commands::convert::run(&arguments),
        Some(Command::Refine(arguments)) => commands::refine::run(&arguments),
        Some(Command::Diagnose(arguments)) => commands::diagnose::run(&arguments),
        Some(Command::Gradcheck(arguments)) => commands::gradcheck::run(&arguments),
        Some(Command::Experiment(arguments)) => commands::experiment::run(&arguments),
        Some(Command::Info(arguments)) => commands::info::run(&arguments),
    }
}

/// Tells the user something on standard error; if that is closed, there is no one left to tell.
fn say(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// The chain of causes on one line; a cause that its error repeats is said once.
fn one_line(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain() {
        let cause = cause.to_string().replace('\n', " ");
        if text.is_empty() {
            text = cause;
        } else if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        cause
            .downcast_ref::<std::io::Error>()
            .is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
    })
}
