//! How fast the kernels are alone: GFLOP/s of one core, in the definition's operations, at the
//! shapes of the workloads.
//!
//! ```sh
//! cargo run --release -p deeplimit-bench --example kernels            # all
//! cargo run --release -p deeplimit-bench --example kernels conv       # names that contain "conv"
//! ```

use deeplimit::kernel::{
    Activation, Buffer, Convolution, Image, InstructionSet, Matrix, Start, multiply, outer,
};
use std::hint::black_box;
use std::time::{Duration, Instant};

/// Median over half a second of calls.
fn seconds(mut call: impl FnMut()) -> f64 {
    call();
    let (began, mut times) = (Instant::now(), Vec::new());
    while times.len() < 5 || began.elapsed() < Duration::from_millis(500) {
        let began = Instant::now();
        call();
        times.push(began.elapsed().as_secs_f64());
    }
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

fn numbers(count: usize) -> Buffer<f32> {
    (0..count).map(|i| ((i * 7919) % 1009) as f32 / 1009.0 - 0.5).collect()
}

fn main() {
    let wanted = std::env::args().nth(1).unwrap_or_default();
    println!("kernels for {}, one core", InstructionSet::current().name());
    let report = |name: String, flops: f64, call: &mut dyn FnMut()| {
        if name.contains(&wanted) {
            let time = seconds(call);
            println!("{name:42} {:9.1} us {:7.1} GFLOP/s", 1e6 * time, 1e-9 * flops / time);
        }
    };
    for (rows, inner, samples) in
        [(64, 64, 64), (64, 64, 16), (16, 16, 64), (128, 128, 64), (128, 128, 128), (512, 512, 128)]
    {
        let (left, right) = (numbers(rows * inner), numbers(inner * samples));
        let (mut out, mut weight) = (numbers(rows * samples), numbers(rows * inner));
        let flops = (2 * rows * inner * samples) as f64;
        let shape = format!("{rows} x {inner}, {samples} samples");
        report(format!("product {shape}"), flops, &mut || {
            multiply(&mut out, Start::Zero, Matrix::new(&left, rows, inner), &right, samples);
            black_box(&out);
        });
        let mut back = numbers(inner * samples);
        report(format!("transposed product {shape}"), flops, &mut || {
            let left = Matrix::new(&left, rows, inner).t();
            multiply(&mut back, Start::Zero, left, &out, samples);
            black_box(&back);
        });
        report(format!("outer product {shape}"), flops, &mut || {
            outer(&mut weight, Start::Add, &out, &right, samples);
            black_box(&weight);
        });
    }
    for (channels, side) in [(16, 10), (16, 32), (64, 32)] {
        let image = Image { height: side, width: side };
        let convolution = Convolution::same([channels, channels], image);
        let samples = 16;
        let length = channels * image.pixels() * samples;
        let (x, bar) = (numbers(length), numbers(length));
        let (mut out, weight) = (numbers(length), numbers(9 * channels * channels));
        let (bias, mut gradient) = (numbers(channels), numbers(weight.len()));
        let flops = (2 * 9 * channels * length) as f64;
        let shape = format!("{channels} channels of {side} x {side}");
        report(format!("conv {shape}"), flops, &mut || {
            convolution.apply(&weight, Start::Bias(&bias), &x, &mut out, samples);
            black_box(&out);
        });
        report(format!("transposed conv {shape}"), flops, &mut || {
            convolution.apply_transposed(&weight, Start::Zero, &bar, &mut out, samples);
            black_box(&out);
        });
        report(format!("conv gradient {shape}"), flops, &mut || {
            convolution.add_weight_gradient(&bar, &x, &mut gradient, samples);
            black_box(&gradient);
        });
    }
    for activation in Activation::ALL {
        let (z, mut a) = (numbers(4096), numbers(4096));
        report(format!("{activation}, a number as one operation"), 4096.0, &mut || {
            activation.apply(&z, &mut a);
            black_box(&a);
        });
    }
}
