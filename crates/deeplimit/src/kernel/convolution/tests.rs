//! Convolutions, their transposes and weight gradients against the definition.

use super::*;
use crate::seed::uniform;

fn numbers<R: Real>(seed: u64, count: usize) -> Vec<R> {
    (0..count).map(|i| R::of(uniform(seed, i as u64))).collect()
}

/// inputs, outputs, height, width, side, stride, padding, samples
const CASES: [[usize; 8]; 17] = [
    [1, 1, 1, 1, 3, 1, 1, 1],
    [3, 5, 4, 6, 3, 1, 1, 3],
    [16, 16, 10, 10, 3, 1, 1, 16],
    [2, 7, 9, 8, 3, 2, 1, 17],
    [3, 16, 12, 11, 5, 3, 0, 5],
    [3, 4, 6, 6, 5, 1, 2, 33],
    [4, 6, 5, 7, 1, 1, 0, 4],
    [4, 3, 8, 8, 1, 2, 0, 9],
    [2, 2, 7, 5, 2, 2, 1, 8],
    [1, 2, 2, 40, 3, 1, 1, 16],
    [9, 5, 16, 8, 3, 1, 1, 16],
    [16, 20, 4, 5, 3, 1, 1, 3],
    [17, 16, 7, 11, 3, 1, 1, 18],
    [64, 17, 6, 6, 3, 1, 1, 16],
    [40, 17, 5, 9, 3, 1, 1, 19],
    [32, 32, 8, 11, 3, 1, 1, 16],
    [5, 17, 32, 32, 3, 2, 1, 19],
];

fn convolution(case: [usize; 8]) -> Convolution {
    let [inputs, outputs, height, width, side, stride, padding, _] = case;
    Convolution::new([inputs, outputs], Image { height, width }, side, stride, padding)
}

/// Σ bar · (w ∗ x) by the definition, term by term: `visit(weight, in, out)` of each.
fn terms(case: [usize; 8], mut visit: impl FnMut(usize, usize, usize)) {
    let [inputs, outputs, height, width, side, stride, padding, samples] = case;
    let out = convolution(case).out();
    for (o, i) in (0..outputs).flat_map(|o| (0..inputs).map(move |i| (o, i))) {
        for (y, x) in (0..out.height).flat_map(|y| (0..out.width).map(move |x| (y, x))) {
            for (k, l) in (0..side).flat_map(|k| (0..side).map(move |l| (k, l))) {
                let (sy, sx) = (y * stride + k, x * stride + l);
                let inside = (padding..padding + height).contains(&sy)
                    && (padding..padding + width).contains(&sx);
                for sample in (0..samples).take_while(|_| inside) {
                    let source = (i * height + sy - padding) * width + sx - padding;
                    let target = (o * out.height + y) * out.width + x;
                    let weight = ((o * inputs + i) * side + k) * side + l;
                    visit(weight, source * samples + sample, target * samples + sample);
                }
            }
        }
    }
}

fn close<R: Real>(case: [usize; 8], what: &str, ours: &[R], expected: &[f64], tolerance: f64) {
    for (ours, expected) in ours.iter().zip(expected) {
        let error = (ours.wide() - expected).abs();
        assert!(error < tolerance, "{what} of {case:?}: {ours} for {expected}");
    }
}

fn check<R: Real>(tolerance: f64) {
    for case in CASES {
        let (convolution, samples) = (convolution(case), case[7]);
        // Squares of four lose about a decimal digit.
        let tolerance = if convolution.is_winograd() { 10.0 * tolerance } else { tolerance };
        let weights = case[0] * case[1] * case[4] * case[4];
        let sizes =
            [case[0] * case[2] * case[3] * samples, case[1] * convolution.out().pixels() * samples];
        let (w, x) = (numbers::<R>(1, weights), numbers::<R>(2, sizes[0]));
        let (bar, bias) = (numbers::<R>(3, sizes[1]), numbers::<R>(4, case[1]));
        let plane = sizes[1] / case[1];
        let mut expected: Vec<f64> = (0..sizes[1]).map(|i| bias[i / plane].wide()).collect();
        let mut expected_x = vec![0.25; sizes[0]];
        let mut expected_w = vec![0.5; weights];
        terms(case, |weight, source, target| {
            expected[target] += w[weight].wide() * x[source].wide();
            expected_x[source] += w[weight].wide() * bar[target].wide();
            expected_w[weight] += bar[target].wide() * x[source].wide();
        });
        let total = |channel: &[R]| channel.iter().map(|v| v.wide()).sum();
        let expected_sums: Vec<f64> = bar.chunks_exact(plane).map(total).collect();
        // Whole images, and strips of rows.
        for strip in [1000, 8, 4] {
            let strips = |height: usize| {
                (0..height).step_by(strip).map(move |first| first..(first + strip).min(height))
            };
            let mut out = vec![R::nan(); sizes[1]];
            convolution.ready(&w, |ready| {
                for rows in strips(convolution.out().height) {
                    ready.rows(Start::Bias(&bias), &x[..], &mut out, samples, rows);
                }
            });
            close(case, "image", &out, &expected, tolerance);
            let mut x_bar = vec![R::of(0.25); sizes[0]];
            convolution.ready_transposed(&w, |ready| {
                for rows in strips(case[2]) {
                    ready.rows(Start::Add, &bar[..], &mut x_bar, samples, rows);
                }
            });
            close(case, "transpose", &x_bar, &expected_x, tolerance);
            let mut gradient = vec![R::of(0.5); weights];
            let mut sums = vec![R::zero(); case[1]];
            for rows in strips(convolution.out().height) {
                let gradients = [&mut gradient[..], &mut sums[..]];
                convolution.add_gradients_of_rows(&bar, &x[..], gradients, samples, rows);
            }
            close(case, "bias gradient", &sums, &expected_sums, 30.0 * tolerance);
            close(case, "weight gradient", &gradient, &expected_w, 30.0 * tolerance);
        }
    }
}

#[test]
fn convolutions_equal_their_definition() {
    check::<f64>(1e-13);
    check::<f32>(2e-5);
}
