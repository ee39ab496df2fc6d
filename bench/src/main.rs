//! Times one gradient of the workloads W1 … W9 with every gradient method.
//!
//! One step is the way forward through N layers, the loss (the mean of x_N²), and the gradient with
//! respect to every parameter and x_0, in `f32`. The gradient is checked against the golden numbers
//! of the workload in the same run: a fast wrong answer is no answer.

mod memory;
mod workload;

use anyhow::{Result, bail};
use clap::Parser;
use deeplimit::control::Control;
use deeplimit::field::{AnyLayer, Stacked};
use deeplimit::gradient::{MethodTape, REGISTRY};
use deeplimit::{Field, Flow, Method, Rows, Scheme, Spare, State};
use memory::resident_mb;
use serde::Serialize;
use std::io::Write;
use std::ops::Range;
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
}

/// One row.
#[derive(Serialize)]
struct Row {
    workload: String,
    method: String,
    ms_median: f64,
    ms_min: f64,
    ms_max: f64,
    steps: usize,
    /// Peak resident memory above the baseline, in MB; null where the system does not tell.
    peak_mb: Option<f64>,
    /// Resident memory before the problem was built.
    baseline_mb: Option<f64>,
    /// 3 forward passes over the median time.
    gflops_useful: f64,
    /// Largest error of the golden gradient entries, relative to the largest of them.
    grad_rel_err: f64,
    loss_rel_err: f64,
    threads: usize,
}

type CpuField = Stacked<f32, AnyLayer>;
type CpuFlow = Flow<CpuField>;

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
        if arguments.all && !workload::is_supported(name) {
            writeln!(std::io::stderr(), "{name} is left out: {}", workload::UNSUPPORTED)?;
            continue;
        }
        let baseline = resident_mb();
        let workload = Workload::named(name)?;
        let flow = Flow::new(workload.field()?, Scheme::EULER);
        for method in &methods {
            let row = time(&workload, &flow, method, baseline, &arguments)?;
            if arguments.json {
                writeln!(out, "{}", serde_json::to_string(&row)?)?;
            } else {
                writeln!(
                    out,
                    "{:4} {:18} {:9.2} ms (least {:9.2})  {:6.1} GFLOP/s  gradient error {:.1e}",
                    row.workload,
                    row.method,
                    row.ms_median,
                    row.ms_min,
                    row.gflops_useful,
                    row.grad_rel_err
                )?;
            }
        }
    }
    Ok(())
}

fn time(
    workload: &Workload,
    flow: &CpuFlow,
    name: &str,
    baseline: Option<f64>,
    arguments: &Arguments,
) -> Result<Row> {
    let method: Method = name.parse()?;
    let x0 = workload.state();
    memory::reset_peak();
    let mut gradient = flow.field().zero_gradient();
    let spare = Spare::default();
    let (loss, x0_bar) = step(flow, &method, &x0, &mut gradient, &spare);
    let errors = workload.errors(loss, &gradient, &x0_bar);
    let mut times = Vec::new();
    let began = Instant::now();
    while times.len() < 3 || began.elapsed() < Duration::from_secs_f64(arguments.seconds) {
        let began = Instant::now();
        gradient.values_mut().iter_mut().for_each(|values| values.fill(0.0));
        step(flow, &method, &x0, &mut gradient, &spare);
        times.push(1e3 * began.elapsed().as_secs_f64());
    }
    times.sort_by(f64::total_cmp);
    let median = times[times.len() / 2];
    Ok(Row {
        workload: workload.name.clone(),
        method: name.to_owned(),
        ms_median: median,
        ms_min: times[0],
        ms_max: times[times.len() - 1],
        steps: times.len(),
        peak_mb: memory::peak_mb().zip(baseline).map(|(peak, baseline)| peak - baseline),
        baseline_mb: baseline,
        gflops_useful: 3.0 * workload.forward_flops() / (1e6 * median),
        grad_rel_err: errors.gradient,
        loss_rel_err: errors.loss,
        threads: arguments.threads,
    })
}

/// One step: loss and the cotangent of x_0; the parameters' gradient is added.
fn step(
    flow: &CpuFlow,
    method: &Method,
    x0: &Rows<f32>,
    gradient: &mut Control<f32>,
    spare: &Spare<MethodTape<CpuField>>,
) -> (f64, Rows<f32>) {
    let count = x0.columns().len() as f64;
    let square = |mut end: Rows<f32>, _: Range<usize>| {
        let loss = end.norm_squared() / count;
        end.scale(2.0 / count);
        (loss, end)
    };
    let sweep = flow.gradient(method, x0, square, gradient, spare);
    (sweep.losses.iter().sum(), sweep.x0_bar)
}
