//! The convolutional field f(x, θ) = conv₂(σ(conv₁(x) + b₁)) + b₂ with 3×3 windows.

use super::{Layer, NodeGradient};
use crate::control::Kind;
use crate::kernel::{
    Activation, Image, Matrix, MatrixMut, gather_patches, multiply, scatter_patches,
};
use crate::{Real, Rows, State};

/// f(x) = W₂ ∗ σ(W₁ ∗ x + b₁) + b₂: cross-correlations with stride 1 and zero padding 1;
/// W₁ `[hidden, channels, 3, 3]`, b₁ `[hidden]`, W₂ `[channels, hidden, 3, 3]`, b₂ `[channels]`.
#[derive(Clone, Debug)]
pub struct Conv {
    /// Channels of the state.
    pub channels: usize,
    /// Channels between the two convolutions.
    pub hidden: usize,
    /// Height and width of the images.
    pub image: Image,
    /// The nonlinearity.
    pub activation: Activation,
}

impl Conv {
    /// Numbers that the neighbourhoods of one sample unroll to.
    fn unrolled(&self) -> usize {
        9 * self.hidden.max(self.channels) * self.image.pixels()
    }
}

/// Pre-activations z and activations a of all samples; and, sized when they are first needed,
/// their cotangents and the unrolled neighbourhoods of one sample.
pub struct ConvTape<R> {
    z: Vec<R>,
    a: Vec<R>,
    z_bar: Vec<R>,
    a_bar: Vec<R>,
    patches: Vec<R>,
}

impl<R: Real> Layer<R> for Conv {
    type Tape = ConvTape<R>;

    fn kinds(&self) -> Vec<Kind> {
        let (outer, inner) = (self.channels, self.hidden);
        vec![
            Kind { name: "w1", shape: vec![inner, outer, 3, 3], fan_in: 9 * outer },
            Kind { name: "b1", shape: vec![inner], fan_in: 9 * outer },
            Kind { name: "w2", shape: vec![outer, inner, 3, 3], fan_in: 9 * inner },
            Kind { name: "b2", shape: vec![outer], fan_in: 9 * inner },
        ]
    }

    fn width(&self) -> usize {
        self.channels * self.image.pixels()
    }

    fn tape(&self, rows: usize) -> ConvTape<R> {
        let pixels = self.image.pixels();
        let buffer = || vec![R::zero(); rows * self.hidden * pixels];
        let (z_bar, a_bar, patches) = Default::default();
        ConvTape { z: buffer(), a: buffer(), z_bar, a_bar, patches }
    }

    fn tape_bytes(&self, tape: &ConvTape<R>) -> usize {
        let buffers = [&tape.z, &tape.a, &tape.z_bar, &tape.a_bar, &tape.patches];
        buffers.map(|v| size_of_val(&v[..])).iter().sum()
    }

    fn linearize(&self, theta: &[&[R]], x: &Rows<R>, out: &mut Rows<R>, tape: &mut ConvTape<R>) {
        let ConvTape { z, a, patches, .. } = tape;
        patches.resize(self.unrolled(), R::zero());
        convolve(self.image, theta[0], theta[1], x.data(), z, patches);
        self.activation.apply(z, a);
        convolve(self.image, theta[2], theta[3], a, out.data_mut(), patches);
    }

    fn pull_back(
        &self,
        theta: &[&[R]],
        x: &Rows<R>,
        tape: &mut ConvTape<R>,
        cotangent: &Rows<R>,
        x_bar: &mut Rows<R>,
        mut gradient: Option<&mut NodeGradient<'_, R>>,
    ) {
        let ConvTape { z, a, z_bar, a_bar, patches } = tape;
        let (image, bar) = (self.image, cotangent.data());
        patches.resize(self.unrolled(), R::zero());
        a_bar.clear();
        a_bar.resize(a.len(), R::zero());
        z_bar.resize(z.len(), R::zero());
        if let Some(gradient) = gradient.as_deref_mut() {
            convolution_gradient(image, bar, a, self.channels, gradient, 2, patches);
        }
        convolve_transposed(image, theta[2], self.channels, bar, a_bar, patches);
        self.activation.pull_back(z, a, a_bar, z_bar);
        if let Some(gradient) = gradient {
            convolution_gradient(image, z_bar, x.data(), self.hidden, gradient, 0, patches);
        }
        convolve_transposed(image, theta[0], self.hidden, z_bar, x_bar.data_mut(), patches);
    }

    fn release(&self, tape: &mut ConvTape<R>) {
        tape.patches = Vec::new();
    }

    fn has_kink(&self) -> bool {
        self.activation.has_kink()
    }

    /// The mlp's formula at every pixel: the window there stands for the state.
    fn kink_exposure(
        &self,
        theta: &[&[R]],
        x: &Rows<R>,
        tape: &ConvTape<R>,
        displacement: &Rows<R>,
    ) -> f64 {
        let pixels = self.image.pixels();
        let square = |v: &R| v.wide() * v.wide();
        let reach: Vec<f64> = theta[0]
            .chunks_exact(9 * self.channels)
            .map(|w| w.iter().map(square).sum::<f64>().sqrt())
            .collect();
        let mut patches = vec![R::zero(); 9 * self.channels * pixels];
        let mut window_norms = |sample: &[R]| -> Vec<f64> {
            gather_patches(self.image, sample, &mut patches);
            let mut norms = vec![0.0; pixels];
            for plane in patches.chunks_exact(pixels) {
                norms.iter_mut().zip(plane).for_each(|(sum, v)| *sum += square(v));
            }
            norms.iter().map(|sum| sum.sqrt()).collect()
        };
        let mut exposed = vec![0.0; self.hidden];
        for sample in 0..x.samples() {
            let distances = window_norms(displacement.row(sample));
            let sizes = window_norms(x.row(sample));
            for channel in 0..self.hidden {
                let start = (sample * self.hidden + channel) * pixels;
                for pixel in 0..pixels {
                    if tape.z[start + pixel].wide().abs() <= reach[channel] * distances[pixel] {
                        let bar = tape.a_bar[start + pixel].wide().abs();
                        exposed[channel] += bar * sizes[pixel].hypot(1.0);
                    }
                }
            }
        }
        exposed.iter().map(|sum| sum * sum).sum()
    }
}

/// `out = W ∗ x + b` for every sample.
fn convolve<R: Real>(
    image: Image,
    weight: &[R],
    bias: &[R],
    x: &[R],
    out: &mut [R],
    patches: &mut [R],
) {
    let (pixels, outputs) = (image.pixels(), bias.len());
    let taps = weight.len() / outputs;
    let patches = &mut patches[..taps * pixels];
    let weight = Matrix::new(weight, outputs, taps);
    let samples = x.chunks_exact(taps / 9 * pixels).zip(out.chunks_exact_mut(outputs * pixels));
    for (x, out) in samples {
        gather_patches(image, x, patches);
        for (plane, bias) in out.chunks_exact_mut(pixels).zip(bias) {
            plane.fill(*bias);
        }
        let right = Matrix::new(patches, taps, pixels);
        multiply(MatrixMut::new(out, outputs, pixels), R::one(), R::one(), weight, right);
    }
}

/// `x_bar += W ∗ᵀ bar` for every sample.
fn convolve_transposed<R: Real>(
    image: Image,
    weight: &[R],
    outputs: usize,
    bar: &[R],
    x_bar: &mut [R],
    patches: &mut [R],
) {
    let pixels = image.pixels();
    let taps = weight.len() / outputs;
    let patches = &mut patches[..taps * pixels];
    let weight = Matrix::new(weight, outputs, taps);
    let samples = bar.chunks_exact(outputs * pixels).zip(x_bar.chunks_exact_mut(taps / 9 * pixels));
    for (bar, x_bar) in samples {
        let bar = Matrix::new(bar, outputs, pixels);
        let unrolled = MatrixMut::new(patches, taps, pixels);
        multiply(unrolled, R::zero(), R::one(), weight.t(), bar);
        scatter_patches(image, patches, x_bar);
    }
}

/// Adds the gradients of weight and bias, `gradient[first]` and `gradient[first + 1]`.
fn convolution_gradient<R: Real>(
    image: Image,
    bar: &[R],
    x: &[R],
    outputs: usize,
    gradient: &mut NodeGradient<'_, R>,
    first: usize,
    patches: &mut [R],
) {
    let pixels = image.pixels();
    let taps = gradient[first].len() / outputs;
    let patches = &mut patches[..taps * pixels];
    let samples = bar.chunks_exact(outputs * pixels).zip(x.chunks_exact(taps / 9 * pixels));
    for (bar, x) in samples {
        gather_patches(image, x, patches);
        let slot = MatrixMut::new(gradient[first], outputs, taps);
        let (left, right) = (Matrix::new(bar, outputs, pixels), Matrix::new(patches, taps, pixels));
        multiply(slot, R::one(), R::one(), left, right.t());
        for (slot, plane) in gradient[first + 1].iter_mut().zip(bar.chunks_exact(pixels)) {
            *slot += plane.iter().copied().sum::<R>();
        }
    }
}
