//! The convolutional field f(x, θ) = conv₂(σ(conv₁(x) + b₁)) + b₂ with 3×3 windows.

use super::{Layer, NodeGradient};
use crate::control::Kind;
use crate::kernel::{Activation, Buffer, Convolution, Image, Start, vector};
use crate::{Real, Rows};

/// f(x) = W₂ ∗ σ(W₁ ∗ x + b₁) + b₂: cross-correlations with stride 1 and zero padding 1;
/// W₁ `[hidden, channels, 3, 3]`, b₁ `[hidden]`, W₂ `[channels, hidden, 3, 3]`, b₂ `[channels]`.
#[derive(Clone, Debug)]
pub struct Conv {
    activation: Activation,
    /// conv₁ and conv₂.
    inner: Convolution,
    outer: Convolution,
}

impl Conv {
    /// States of `channels` images, `hidden` channels between the two convolutions.
    pub fn new(channels: usize, hidden: usize, image: Image, activation: Activation) -> Self {
        let inner = Convolution::same([channels, hidden], image);
        let outer = Convolution::same([hidden, channels], image);
        Self { activation, inner, outer }
    }

    /// Height and width of the images.
    pub fn image(&self) -> Image {
        self.inner.image()
    }

    /// Numbers that the hidden channels of one sample hold.
    fn hidden_width(&self) -> usize {
        self.outer.inputs() * self.image().pixels()
    }
}

/// Pre-activations z and activations a; and the cotangents of both, sized at the first pull-back.
pub struct ConvTape<R> {
    z: Buffer<R>,
    a: Buffer<R>,
    z_bar: Buffer<R>,
    a_bar: Buffer<R>,
}

impl<R: Real> Layer<R> for Conv {
    type Tape = ConvTape<R>;

    fn kinds(&self) -> Vec<Kind> {
        let (outer, inner) = (self.inner.inputs(), self.outer.inputs());
        vec![
            Kind { name: "w1", shape: vec![inner, outer, 3, 3], fan_in: 9 * outer },
            Kind { name: "b1", shape: vec![inner], fan_in: 9 * outer },
            Kind { name: "w2", shape: vec![outer, inner, 3, 3], fan_in: 9 * inner },
            Kind { name: "b2", shape: vec![outer], fan_in: 9 * inner },
        ]
    }

    fn width(&self) -> usize {
        self.inner.inputs() * self.image().pixels()
    }

    /// What fills the widest vectors: each weight serves all pixels already.
    fn tile_samples(&self, _batch: usize) -> usize {
        16
    }

    fn tape(&self, rows: usize) -> ConvTape<R> {
        let buffer = || Buffer::zeros(rows * self.hidden_width());
        ConvTape { z: buffer(), a: buffer(), z_bar: Buffer::default(), a_bar: Buffer::default() }
    }

    fn tape_bytes(&self, tape: &ConvTape<R>) -> usize {
        [&tape.z, &tape.a, &tape.z_bar, &tape.a_bar].map(|v| size_of_val(&v[..])).iter().sum()
    }

    fn linearize(&self, theta: &[&[R]], x: &Rows<R>, out: &mut Rows<R>, tape: &mut ConvTape<R>) {
        let ConvTape { z, a, .. } = tape;
        self.inner.apply(theta[0], Start::Bias(theta[1]), x.columns(), z, x.rows());
        self.activation.apply(z, a);
        self.outer.apply(theta[2], Start::Bias(theta[3]), a, out.columns_mut(), x.rows());
    }

    fn pull_back(
        &self,
        theta: &[&[R]],
        x: &Rows<R>,
        tape: &mut ConvTape<R>,
        cotangent: &Rows<R>,
        x_bar: &mut Rows<R>,
    ) {
        let ConvTape { z, a, z_bar, a_bar } = tape;
        let (bar, rows) = (cotangent.columns(), x.rows());
        a_bar.resize(a.len());
        z_bar.resize(z.len());
        self.outer.apply_transposed(theta[2], Start::Zero, bar, a_bar, rows);
        self.activation.pull_back(z, a, a_bar, z_bar);
        self.inner.apply_transposed(theta[0], Start::Add, z_bar, x_bar.columns_mut(), rows);
    }

    fn add_gradient(
        &self,
        x: &Rows<R>,
        tape: &ConvTape<R>,
        cotangent: &Rows<R>,
        gradient: &mut NodeGradient<'_, R>,
    ) {
        let ConvTape { a, z_bar, .. } = tape;
        let (bar, rows) = (cotangent.columns(), x.rows());
        let plane = self.image().pixels() * rows;
        self.inner.add_weight_gradient(z_bar, x.columns(), gradient[0], rows);
        vector::add_row_sums(gradient[1], z_bar, plane);
        self.outer.add_weight_gradient(bar, a, gradient[2], rows);
        vector::add_row_sums(gradient[3], bar, plane);
    }

    fn hand_over(&self, from: &mut ConvTape<R>, to: &mut ConvTape<R>) {
        to.z_bar = std::mem::take(&mut from.z_bar);
        to.a_bar = std::mem::take(&mut from.a_bar);
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
        let rows = x.rows();
        let distances = window_norms(self.image(), displacement, R::zero());
        let sizes = window_norms(self.image(), x, R::one());
        let plane = self.image().pixels() * rows;
        let units = theta[0].chunks_exact(9 * self.inner.inputs());
        let units = units.zip(tape.z.chunks_exact(plane).zip(tape.a_bar.chunks_exact(plane)));
        let exposed = units.map(|(weights, (z, a_bar))| {
            let reach = R::of(vector::dot(weights, weights).sqrt());
            vector::sum_within(reach, z, a_bar, &distances, &sizes).powi(2)
        });
        exposed.sum()
    }
}

/// √(more + the squares of all channels in the 3×3 window around it) for every pixel and sample.
pub(super) fn window_norms<R: Real>(image: Image, x: &Rows<R>, more: R) -> Vec<R> {
    let Image { height, width } = image;
    let rows = x.rows();
    let mut squares = vec![R::zero(); image.pixels() * rows];
    vector::add_column_squares(&mut squares, x.columns());
    let mut sums = vec![more; squares.len()];
    for (y, x) in (0..height).flat_map(|y| (0..width).map(move |x| (y, x))) {
        let pixel = (y * width + x) * rows;
        for near_y in y.saturating_sub(1)..(y + 2).min(height) {
            for near_x in x.saturating_sub(1)..(x + 2).min(width) {
                let near = (near_y * width + near_x) * rows;
                let (sums, near) = (&mut sums[pixel..pixel + rows], &squares[near..near + rows]);
                sums.iter_mut().zip(near).for_each(|(sum, square)| *sum += *square);
            }
        }
    }
    sums.iter_mut().for_each(|sum| *sum = sum.sqrt());
    sums
}
