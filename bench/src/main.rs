//! Times one gradient of the workloads W1 … W9 with every gradient method.
//!
//! One step is the way forward through N layers, the loss (the mean of x_N²), and the gradient with
//! respect to every parameter and x_0, in `f32`. The gradient is checked against the golden numbers
//! of the workload in the same run: a fast wrong answer is no answer.

mod memory;
mod problem;
mod workload;

use anyhow::{Result, bail};
use clap::Parser;
use deeplimit::Spare;
use deeplimit::field::Layer;
use deeplimit::gradient::REGISTRY;
use deeplimit::kernel::{Image, InstructionSet};
use deeplimit::prelude::*;
use problem::Problem;
use serde::Serialize;
use std::io::Write;
use std::num::NonZeroUsize;
use std::time::{Duration, Instant};
use workload::Workload;

/// Times one gradient of deep residual flows.
#[derive(Parser)]
struct Arguments {
    /// Workload, W1 … W9.
    #[arg(long)]
    workload: Option<String>,
    /// Gradient method, by name or formula; all of the registry where none is given.
    #[arg(long)]
    method: Option<String>,
    /// All workloads.
    #[arg(long, conflicts_with = "workload")]
    all: bool,
    /// List workloads and methods.
    #[arg(long)]
    list: bool,
    /// One JSON object a row.
    #[arg(long)]
    json: bool,
    /// Threads.
    #[arg(long, default_value_t = 2)]
    threads: usize,
    /// Seconds of timed steps a row; at least three steps are made.
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    /// Another depth than the workload's: gradients are then not checked.
    #[arg(long)]
    depth: Option<usize>,
    /// Samples of a tile, instead of the field's own choice.
    #[arg(long)]
    tile: Option<NonZeroUsize>,
}

/// One row.
#[derive(Serialize)]
struct Row {
    workload: String,
    method: String,
    depth: usize,
    ms_median: f64,
    ms_min: f64,
    ms_max: f64,
    steps: usize,
    /// Peak resident memory above the baseline, in MB; null where the system does not tell.
    peak_mb: Option<f64>,
    /// Resident memory before the problem was built.
    baseline_mb: Option<f64>,
    /// 3 ways forward over the median time.
    gflops_useful: f64,
    /// The ways forward that were made (a pull-back counts two) over the median time.
    gflops_executed: f64,
    /// Largest error of the golden gradient entries, relative to the largest of them; null at a
    /// depth that has no golden numbers.
    grad_rel_err: Option<f64>,
    loss_rel_err: Option<f64>,
    threads: usize,
    /// The instruction set of the kernels.
    simd: &'static str,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let out = &mut std::io::stdout();
    if arguments.list {
        for workload in workload::names() {
            writeln!(out, "{workload}")?;
        }
        for entry in &REGISTRY {
            writeln!(out, "{}: {}", entry.name, entry.summary)?;
        }
        return Ok(());
    }
    rayon::ThreadPoolBuilder::new().num_threads(arguments.threads).build_global()?;
    let names = match &arguments.workload {
        Some(name) => vec![name.clone()],
        None if arguments.all => workload::names(),
        None => bail!("--workload W1, --all or --list"),
    };
    let methods: Vec<String> = match &arguments.method {
        Some(method) => vec![method.clone()],
        None => REGISTRY.iter().map(|entry| entry.name.to_owned()).collect(),
    };
    for name in &names {
        for method in &methods {
            let row = time(name, method, &arguments)?;
            if arguments.json {
                writeln!(out, "{}", serde_json::to_string(&row)?)?;
            } else {
                writeln!(
                    out,
                    "{:4} {:18} {:9.2} ms (least {:9.2})  {:6.1} GFLOP/s  gradient error {}",
                    row.workload,
                    row.method,
                    row.ms_median,
                    row.ms_min,
                    row.gflops_executed,
                    row.grad_rel_err.map_or("unknown".to_owned(), |error| format!("{error:.1e}"))
                )?;
            }
        }
    }
    Ok(())
}

/// A tiny unrelated problem, so that code and threads are in the baseline and not charged to the
/// problem, as `peers.py` does.
fn dry_run(method: &Method) {
    let image = Image { height: 8, width: 8 };
    let fields: [AnyLayer; 2] = [
        AnyLayer::Mlp(Mlp { width: 4, hidden: 4, activation: Activation::Tanh }),
        AnyLayer::Conv(Conv::new(16, 16, image, Activation::Relu)),
    ];
    for layer in fields {
        let x0 = Rows::from_fn(2, Layer::<f32>::width(&layer), |_, _| 1.0);
        let flow = Flow::new(Stacked::smooth(layer, 4, 1), Scheme::EULER).with_tile(1);
        let mut gradient = flow.field().zero_gradient();
        flow.gradient(method, &x0, |end, _| ((), end), &mut gradient, &Spare::default());
    }
}

fn time(name: &str, method_name: &str, arguments: &Arguments) -> Result<Row> {
    let method: Method = method_name.parse()?;
    dry_run(&method);
    memory::reset_peak();
    let baseline = memory::resident_mb();
    let mut workload = Workload::named(name)?;
    if let Some(depth) = arguments.depth {
        workload = workload.with_depth(depth);
    }
    let mut problem = Problem::new(&workload, arguments.tile)?;
    let found = problem.step(&workload, &method);
    let errors = workload.errors(found.loss, found.gradient, &found.x0_bar);
    let cost_units = found.cost_units;
    let mut times = Vec::new();
    let began = Instant::now();
    while times.len() < 3 || began.elapsed() < Duration::from_secs_f64(arguments.seconds) {
        let began = Instant::now();
        problem.step(&workload, &method);
        times.push(1e3 * began.elapsed().as_secs_f64());
    }
    times.sort_by(f64::total_cmp);
    let median = times[times.len() / 2];
    let forward = workload.forward_flops() / (1e6 * median);
    Ok(Row {
        workload: workload.name.clone(),
        method: method_name.to_owned(),
        depth: workload.depth(),
        ms_median: median,
        ms_min: times[0],
        ms_max: times[times.len() - 1],
        steps: times.len(),
        peak_mb: memory::peak_mb().zip(baseline).map(|(peak, baseline)| peak - baseline),
        baseline_mb: baseline,
        gflops_useful: 3.0 * forward,
        gflops_executed: cost_units * forward,
        grad_rel_err: errors.as_ref().map(|errors| errors.gradient),
        loss_rel_err: errors.as_ref().map(|errors| errors.loss),
        threads: arguments.threads,
        simd: InstructionSet::current().name(),
    })
}
