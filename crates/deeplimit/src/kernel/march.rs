//! Narrow layers σ(K x + b) in double precision, walked one after the other to the end and back. A whole
//! walk, there and back, in one call: for products this small, a call costs more than the product.

use super::activation::Activation;
use super::simd::{Lanes, dispatch};
use pulp::{Simd, WithSimd};

/// Samples are padded with zeros to a multiple of this; no cotangent reaches the padding.
const LANES: usize = 8;

/// A stage of a step: the node whose weights it takes, from the step's first; how far along the stage
/// before it stands; its share of the step.
type Stage = (usize, f64, f64);

/// One node a step, x + h σ.
const EULER: (usize, &[Stage]) = (1, &[(0, 0.0, 1.0)]);

/// The classical scheme on a step of two node distances: start, middle and end of a step are nodes, so
/// that weights which are a smooth function of depth are read exactly.
const CLASSICAL: (usize, &[Stage]) =
    (2, &[(0, 0.0, 1.0 / 6.0), (1, 0.5, 1.0 / 3.0), (1, 0.5, 1.0 / 3.0), (2, 1.0, 1.0 / 6.0)]);

/// Steps of x' = σ(K(s) x + b(s)) over s ∈ [0, 1].
#[derive(Clone, Copy)]
pub(crate) struct March<'a> {
    activation: Activation,
    width: usize,
    steps: usize,
    /// Nodes from a step to the next, and its stages.
    stride: usize,
    stages: &'static [Stage],
    /// `[nodes, width, width]` and `[nodes, width]`.
    weights: &'a [f64],
    biases: &'a [f64],
}

/// States at one end of a step, `[width, samples]`, and their cotangents.
type Visit<'v> = &'v mut dyn FnMut(usize, &[f64], &[f64]);

impl<'a> March<'a> {
    /// A step a node: a residual network.
    pub fn euler(
        activation: Activation,
        width: usize,
        weights: &'a [f64],
        biases: &'a [f64],
    ) -> Self {
        let (stride, stages) = EULER;
        let steps = biases.len() / width;
        Self { activation, width, steps, stride, stages, weights, biases }
    }

    /// A step of fourth order every two nodes, of which there is an odd number.
    pub fn classical(
        activation: Activation,
        width: usize,
        weights: &'a [f64],
        biases: &'a [f64],
    ) -> Self {
        let (stride, stages) = CLASSICAL;
        let steps = (biases.len() / width - 1) / stride;
        Self { activation, width, steps, stride, stages, weights, biases }
    }

    /// To the end, and, where `turn` gives cotangents of the states there, back with them: gradients of
    /// weights and biases. States are `[width, samples]`.
    ///
    /// # Panics
    /// If lengths do not match.
    pub fn there_and_back<T>(
        &self,
        inputs: &[f64],
        turn: impl FnOnce(&[f64]) -> (T, Option<Vec<f64>>),
        mut visit: Option<Visit<'_>>,
    ) -> (T, [Vec<f64>; 2]) {
        let samples = inputs.len() / self.width;
        assert_eq!(inputs.len(), samples * self.width, "states of {} numbers", self.width);
        assert_eq!(self.weights.len(), self.biases.len() * self.width, "a bias a row");
        let padded = samples.next_multiple_of(LANES);
        let block = self.width * padded;
        let stages = self.steps * self.stages.len();
        f64::with_scratch((2 * stages + 5) * block, |scratch| {
            let (kept, rest) = scratch.split_at_mut(2 * stages * block);
            let (x, rest) = rest.split_at_mut(block);
            pad(inputs, samples, padded, x);
            dispatch(Forward { march: self, padded, kept, x, values: &mut rest[..block] });
            let (found, cotangents) = turn(&unpadded(x, samples, padded));
            let Some(cotangents) = cotangents else { return (found, [vec![], vec![]]) };
            let [weights, biases] = [self.weights, self.biases].map(|of| vec![0.0; of.len()]);
            let mut gradient = [weights, biases];
            let (bar, rest) = rest.split_at_mut(block);
            pad(&cotangents, samples, padded, bar);
            if let Some(visit) = &mut visit {
                visit(self.steps, &unpadded(x, samples, padded), &cotangents);
            }
            for step in (0..self.steps).rev() {
                let gradient = &mut gradient;
                dispatch(Backward { march: self, padded, step, kept, bar, rest, gradient });
                if let Some(visit) = &mut visit {
                    let first = 2 * step * self.stages.len() * block;
                    let state = unpadded(&kept[first..][..block], samples, padded);
                    visit(step, &state, &unpadded(bar, samples, padded));
                }
            }
            (found, gradient)
        })
    }
}

/// Rows with zeros after the samples.
fn pad(from: &[f64], samples: usize, padded: usize, to: &mut [f64]) {
    for (from, to) in from.chunks_exact(samples).zip(to.chunks_exact_mut(padded)) {
        to[..samples].copy_from_slice(from);
        to[samples..].fill(0.0);
    }
}

fn unpadded(from: &[f64], samples: usize, padded: usize) -> Vec<f64> {
    from.chunks_exact(padded).flat_map(|row| &row[..samples]).copied().collect()
}

/// All steps, from `x` to the end; every stage keeps its state and the slopes there.
struct Forward<'m, 'a> {
    march: &'m March<'a>,
    padded: usize,
    kept: &'m mut [f64],
    x: &'m mut [f64],
    /// σ of the stage.
    values: &'m mut [f64],
}

impl WithSimd for Forward<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _simd: S) {
        let Self { march, padded, kept, x, values } = self;
        let block = march.width * padded;
        let h = 1.0 / march.steps as f64;
        for (step, kept) in kept.chunks_exact_mut(2 * block * march.stages.len()).enumerate() {
            for (index, &(offset, along, share)) in march.stages.iter().enumerate() {
                let (before, own) = kept.split_at_mut(2 * block * index);
                let (state, slopes) = own[..2 * block].split_at_mut(block);
                match index {
                    0 => state.copy_from_slice(x),
                    _ => set_sum(state, &before[..block], h * along, values),
                }
                layer(march, march.stride * step + offset, padded, state, values, slopes);
                add_scaled(x, h * share, values);
            }
        }
    }
}

/// One step back: `bar`, the cotangents of its end, become those of its start, and gradients are added.
struct Backward<'m, 'a> {
    march: &'m March<'a>,
    padded: usize,
    step: usize,
    kept: &'m [f64],
    bar: &'m mut [f64],
    /// Three blocks of any numbers.
    rest: &'m mut [f64],
    gradient: &'m mut [Vec<f64>; 2],
}

impl WithSimd for Backward<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _simd: S) {
        let Self { march, padded, step, kept, bar, rest, gradient: [weights_bar, biases_bar] } =
            self;
        let (width, stages) = (march.width, march.stages);
        let block = width * padded;
        let h = 1.0 / march.steps as f64;
        let (z_bar, rest) = rest.split_at_mut(block);
        let (state_bar, sum) = rest.split_at_mut(block);
        sum.fill(0.0);
        let mut after = 0.0;
        for (index, &(offset, along, share)) in stages.iter().enumerate().rev() {
            let kept = &kept[2 * block * (step * stages.len() + index)..][..2 * block];
            let (state, slopes) = kept.split_at(block);
            for i in 0..block {
                // `state_bar` is that of the stage after this one, which began with this one's value.
                let later = if after == 0.0 { 0.0 } else { h * after * state_bar[i] };
                z_bar[i] = (h * share * bar[i] + later) * slopes[i];
            }
            let node = march.stride * step + offset;
            let weights = &march.weights[node * width * width..][..width * width];
            let weights_bar = &mut weights_bar[node * width * width..][..width * width];
            let biases_bar = &mut biases_bar[node * width..][..width];
            state_bar.fill(0.0);
            for row in 0..width {
                let z_bar = &z_bar[row * padded..][..padded];
                biases_bar[row] += total(z_bar);
                for column in 0..width {
                    let place = column * padded;
                    weights_bar[row * width + column] += dot(z_bar, &state[place..][..padded]);
                    let weight = weights[row * width + column];
                    add_scaled(&mut state_bar[place..][..padded], weight, z_bar);
                }
            }
            add_scaled(sum, 1.0, state_bar);
            after = along;
        }
        add_scaled(bar, 1.0, sum);
    }
}

/// `values = σ(K x + b)` at a node, and `slopes = σ'` there.
#[inline(always)]
fn layer(
    march: &March<'_>,
    node: usize,
    padded: usize,
    x: &[f64],
    values: &mut [f64],
    slopes: &mut [f64],
) {
    let width = march.width;
    for row in 0..width {
        let weights = &march.weights[(node * width + row) * width..][..width];
        let out = &mut values[row * padded..][..padded];
        out.fill(march.biases[node * width + row]);
        for column in 0..width {
            add_scaled(out, weights[column], &x[column * padded..][..padded]);
        }
    }
    match march.activation {
        Activation::Tanh => {
            for i in 0..values.len() {
                values[i] = tanh(values[i]);
                slopes[i] = 1.0 - values[i] * values[i];
            }
        }
        Activation::Relu => {
            for i in 0..values.len() {
                slopes[i] = if values[i] > 0.0 { 1.0 } else { 0.0 };
                values[i] = if values[i] <= 0.0 { 0.0 } else { values[i] };
            }
        }
        other => {
            let z = values.to_vec();
            other.apply_and_slope(&z, values, slopes);
        }
    }
}

/// tanh z to three units in the last place, in vector lanes: e^{2z} − 1 = 2^k (e^r − 1) + (2^k − 1) with
/// |r| ≤ ½ log 2 (Cody, Waite 1980).
#[inline(always)]
fn tanh(z: f64) -> f64 {
    /// log 2, of which the first part times a small whole number is exact.
    const LOG_2: [f64; 2] = [6.931_471_803_691_238e-1, 1.908_214_929_270_587_7e-10];
    /// The sum with a small number has its nearest whole number as last bits.
    const ROUND: f64 = 6_755_399_441_055_744.0;
    /// 1/j! from j = 13 to 2.
    const SERIES: [f64; 12] = [
        1.605_904_383_682_161_3e-10,
        2.087_675_698_786_81e-9,
        2.505_210_838_544_172e-8,
        2.755_731_922_398_589e-7,
        2.755_731_922_398_589_3e-6,
        2.480_158_730_158_73e-5,
        1.984_126_984_126_984e-4,
        1.388_888_888_888_889e-3,
        8.333_333_333_333_333e-3,
        4.166_666_666_666_666_4e-2,
        1.666_666_666_666_666_6e-1,
        0.5,
    ];
    // Comparisons that keep NaN.
    let z = if z > 22.0 { 22.0 } else { z };
    let z = if z < -22.0 { -22.0 } else { z };
    let twice = 2.0 * z;
    let shifted = twice * std::f64::consts::LOG2_E + ROUND;
    let whole = shifted - ROUND;
    let r = (twice - whole * LOG_2[0]) - whole * LOG_2[1];
    let mut series = SERIES[0];
    for factor in &SERIES[1..] {
        series = series * r + factor;
    }
    let less_one = r + r * r * series;
    let power = f64::from_bits((shifted.to_bits() << 52).wrapping_add(1023 << 52));
    let exponential = power * less_one + (power - 1.0);
    exponential / (exponential + 2.0)
}

/// `y += factor x`.
#[inline(always)]
fn add_scaled(y: &mut [f64], factor: f64, x: &[f64]) {
    for i in 0..y.len() {
        y[i] += factor * x[i];
    }
}

/// `out = x + factor y`.
#[inline(always)]
fn set_sum(out: &mut [f64], x: &[f64], factor: f64, y: &[f64]) {
    for i in 0..out.len() {
        out[i] = x[i] + factor * y[i];
    }
}

/// Σ a b of a whole number of lanes.
#[inline(always)]
fn dot(a: &[f64], b: &[f64]) -> f64 {
    let mut sums = [0.0; LANES];
    for (a, b) in a.chunks_exact(LANES).zip(b.chunks_exact(LANES)) {
        for lane in 0..LANES {
            sums[lane] += a[lane] * b[lane];
        }
    }
    sums.iter().sum()
}

/// Σ a of a whole number of lanes.
#[inline(always)]
fn total(a: &[f64]) -> f64 {
    let mut sums = [0.0; LANES];
    for a in a.chunks_exact(LANES) {
        for lane in 0..LANES {
            sums[lane] += a[lane];
        }
    }
    sums.iter().sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::{Control, Family};
    use crate::field::{Dense, Layer, Stacked};
    use crate::gradient::Backprop;
    use crate::seed::uniform;
    use crate::{Field, Flow, Rows, Scheme};

    #[test]
    fn tanh_is_that_of_the_library_to_three_roundings() {
        for i in -30_000..30_000 {
            let z = f64::from(i) * 0.001 + 1e-5;
            let (found, exact) = (tanh(z), z.tanh());
            assert!(
                (found - exact).abs() <= 3.0 * f64::EPSILON * exact.abs(),
                "{z}: {found} {exact}"
            );
        }
        for tiny in [0.0, 1e-300, -1e-17, 1e-9] {
            assert!((tanh(tiny) - tiny).abs() <= 3.0 * f64::EPSILON * tiny.abs(), "{tiny}");
        }
        assert!(tanh(f64::NAN).is_nan());
        assert_eq!([tanh(f64::INFINITY), tanh(f64::NEG_INFINITY)], [1.0, -1.0]);
    }

    #[test]
    fn a_march_is_the_walk_of_a_flow() {
        for activation in
            [Activation::Tanh, Activation::Relu, Activation::Gelu, Activation::Identity]
        {
            for (width, samples, steps) in [(1, 1, 1), (2, 12, 5), (3, 17, 8), (5, 8, 3)] {
                let layer = Dense { width, activation };
                let kinds = Layer::<f64>::kinds(&layer);
                let control = Control::<f64>::random(kinds, steps, Family::Independent, 3);
                let draw = |seed, row, column| uniform(seed, (row * 10 + column) as u64);
                let inputs = Rows::from_fn(samples, width, |row, column| draw(1, row, column));
                let cotangent = Rows::from_fn(samples, width, |row, column| draw(2, row, column));
                let flow = Flow::new(Stacked::new(layer, control.clone()), Scheme::EULER);
                let (_, recording) = flow.record(&Backprop, &inputs);
                let mut expected = flow.field().zero_gradient();
                flow.pull_back(&Backprop, recording, &cotangent, &mut expected);
                let values = control.values();
                let march = March::euler(activation, width, &values[0], &values[1]);
                let turn = |end: &[f64]| (end.to_vec(), Some(cotangent.columns().to_vec()));
                let (end, gradient) = march.there_and_back(inputs.columns(), turn, None);
                let what = format!("{activation}, {width}, {samples}, {steps}");
                for (a, b) in end.iter().zip(flow.forward(&inputs).columns()) {
                    assert!((a - b).abs() < 1e-13, "{what}");
                }
                for (own, other) in gradient.iter().zip(expected.values()) {
                    for (a, b) in own.iter().zip(other.iter()) {
                        assert!((a - b).abs() < 1e-12, "{what}: {a} {b}");
                    }
                }
            }
        }
    }

    #[test]
    fn classical_steps_are_of_fourth_order_and_their_gradients_derivatives() {
        // x' = tanh(k(s) x + b(s)) of one number.
        let at = |steps: usize, bump: f64| {
            let s = |node: usize| node as f64 / (2 * steps) as f64;
            let weights: Vec<f64> = (0..=2 * steps).map(|n| 1.5 + s(n)).collect();
            let mut biases: Vec<f64> = (0..=2 * steps).map(|n| -s(n) * s(n)).collect();
            biases[1] += bump;
            let march = March::classical(Activation::Tanh, 1, &weights, &biases);
            let turn = |end: &[f64]| (end[0], Some(vec![1.0]));
            let (end, gradient) = march.there_and_back(&[0.7], turn, None);
            (end, gradient[1][1])
        };
        let exact = at(4096, 0.0).0;
        let errors = [8, 16].map(|steps| (at(steps, 0.0).0 - exact).abs());
        let order = (errors[0] / errors[1]).log2();
        assert!((3.8..4.2).contains(&order), "{order}");
        let difference = (at(4, 1e-5).0 - at(4, -1e-5).0) / 2e-5;
        assert!((difference - at(4, 0.0).1).abs() < 1e-9, "{difference}");
    }
}
