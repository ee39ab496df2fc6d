//! The registry of CPU layers: one type for whichever of them a configuration names.

use super::Apart;
use super::conv::ConvTape;
use super::dense::DenseTape;
use super::mlp::MlpTape;
use super::{Conv, Dense, Layer, Linear, Mlp, NodeGradient};
use crate::control::Kind;
use crate::kernel::{Activation, Bend, Image};
use crate::{Heap, Real, Rows};
use serde::{Deserialize, Serialize};

/// Any layer of the registry.
#[derive(Clone, Debug, PartialEq)]
#[expect(clippy::large_enum_variant, reason = "there is one of them a flow, however deep")]
pub enum AnyLayer {
    /// θ x.
    Linear(Linear),
    /// σ(K x + b).
    Dense(Dense),
    /// W₂ σ(W₁ x + b₁) + b₂.
    Mlp(Mlp),
    /// conv₂(σ(conv₁(x) + b₁)) + b₂.
    Conv(Conv),
}

/// The tape of whichever layer it is.
pub enum AnyTape<R> {
    /// Nothing is kept.
    Linear(()),
    /// Of a dense layer.
    Dense(DenseTape<R>),
    /// Of an mlp.
    Mlp(MlpTape<R>),
    /// Of a convolutional layer.
    Conv(ConvTape<R>),
}

impl<R> Heap for AnyTape<R> {
    fn heap(&self) -> usize {
        match self {
            Self::Linear(()) => 0,
            Self::Dense(tape) => tape.heap(),
            Self::Mlp(tape) => tape.heap(),
            Self::Conv(tape) => tape.heap(),
        }
    }
}

/// The layers that a configuration can name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LayerName {
    /// θ x.
    Linear,
    /// σ(K x + b).
    Dense,
    /// W₂ σ(W₁ x + b₁) + b₂.
    Mlp,
    /// conv₂(σ(conv₁(x) + b₁)) + b₂.
    Conv,
}

impl LayerName {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Linear, Self::Dense, Self::Mlp, Self::Conv];

    /// The name in configurations.
    pub fn name(self) -> &'static str {
        match self {
            Self::Linear => "linear",
            Self::Dense => "dense",
            Self::Mlp => "mlp",
            Self::Conv => "conv",
        }
    }

    /// Whether the layer has a hidden width of its own.
    pub fn has_hidden(self) -> bool {
        matches!(self, Self::Mlp | Self::Conv)
    }

    /// Whether the layer has a nonlinearity.
    pub fn has_activation(self) -> bool {
        self != Self::Linear
    }

    /// The layer for states of `channels` images; all but `conv` see them as one row of numbers.
    /// What a layer does not have (`hidden`, `activation`) is not used.
    pub fn layer(
        self,
        channels: usize,
        image: Image,
        hidden: usize,
        activation: Activation,
    ) -> AnyLayer {
        let width = channels * image.pixels();
        match self {
            Self::Linear => AnyLayer::Linear(Linear { width }),
            Self::Dense => AnyLayer::Dense(Dense { width, activation }),
            Self::Mlp => AnyLayer::Mlp(Mlp { width, hidden, activation }),
            Self::Conv => AnyLayer::Conv(Conv::new(channels, hidden, image, activation)),
        }
    }
}

/// Runs `$body` with the layer (and its tape) unwrapped.
macro_rules! each {
    ($layer:expr, $inner:ident => $body:expr) => {
        match $layer {
            AnyLayer::Linear($inner) => $body,
            AnyLayer::Dense($inner) => $body,
            AnyLayer::Mlp($inner) => $body,
            AnyLayer::Conv($inner) => $body,
        }
    };
    ($layer:expr, $tape:expr, ($inner:ident, $kept:ident) => $body:expr) => {
        match ($layer, $tape) {
            (AnyLayer::Linear($inner), AnyTape::Linear($kept)) => $body,
            (AnyLayer::Dense($inner), AnyTape::Dense($kept)) => $body,
            (AnyLayer::Mlp($inner), AnyTape::Mlp($kept)) => $body,
            (AnyLayer::Conv($inner), AnyTape::Conv($kept)) => $body,
            _ => unreachable!("a tape belongs to the layer that made it"),
        }
    };
}

impl<R: Real> Layer<R> for AnyLayer {
    type Tape = AnyTape<R>;

    fn kinds(&self) -> Vec<Kind> {
        each!(self, layer => Layer::<R>::kinds(layer))
    }

    fn width(&self) -> usize {
        each!(self, layer => Layer::<R>::width(layer))
    }

    fn tile_samples(&self, batch: usize) -> usize {
        each!(self, layer => Layer::<R>::tile_samples(layer, batch))
    }

    fn tape(&self, rows: usize) -> AnyTape<R> {
        match self {
            Self::Linear(_) => AnyTape::Linear(()),
            Self::Dense(layer) => AnyTape::Dense(layer.tape(rows)),
            Self::Mlp(layer) => AnyTape::Mlp(layer.tape(rows)),
            Self::Conv(layer) => AnyTape::Conv(layer.tape(rows)),
        }
    }

    fn tape_bytes(&self, tape: &AnyTape<R>) -> usize {
        each!(self, tape, (layer, tape) => Layer::<R>::tape_bytes(layer, tape))
    }

    fn hand_over(&self, from: &mut AnyTape<R>, to: &mut AnyTape<R>) {
        match (self, from, to) {
            (Self::Linear(_), ..) => {}
            (Self::Dense(layer), AnyTape::Dense(from), AnyTape::Dense(to)) => {
                layer.hand_over(from, to);
            }
            (Self::Mlp(layer), AnyTape::Mlp(from), AnyTape::Mlp(to)) => layer.hand_over(from, to),
            (Self::Conv(layer), AnyTape::Conv(from), AnyTape::Conv(to)) => {
                layer.hand_over(from, to);
            }
            _ => unreachable!("a tape belongs to the layer that made it"),
        }
    }

    fn linearize(&self, theta: &[&[R]], x: &Rows<R>, out: &mut Rows<R>, tape: &mut AnyTape<R>) {
        each!(self, tape, (layer, tape) => layer.linearize(theta, x, out, tape));
    }

    fn linearize_step(
        &self,
        theta: &[&[R]],
        x: &Rows<R>,
        h: f64,
        next: &mut Rows<R>,
        tape: &mut AnyTape<R>,
    ) {
        each!(self, tape, (layer, tape) => layer.linearize_step(theta, x, h, next, tape));
    }

    fn pull_back(
        &self,
        theta: &[&[R]],
        x: &Rows<R>,
        tape: &mut AnyTape<R>,
        cotangent: &Rows<R>,
        x_bar: &mut Rows<R>,
        with_gradient: bool,
    ) {
        each!(self, tape, (layer, tape) => {
            layer.pull_back(theta, x, tape, cotangent, x_bar, with_gradient);
        });
    }

    fn add_gradient(
        &self,
        x: &Rows<R>,
        tape: &AnyTape<R>,
        cotangent: &Rows<R>,
        gradient: &mut NodeGradient<'_, R>,
        fresh: bool,
    ) {
        each!(self, tape, (layer, tape) => layer.add_gradient(x, tape, cotangent, gradient, fresh));
    }

    fn bend(&self) -> Bend {
        each!(self, layer => Layer::<R>::bend(layer))
    }

    fn exposure(
        &self,
        theta: &[&[R]],
        x: &Rows<R>,
        tape: &AnyTape<R>,
        apart: Apart<'_, Rows<R>>,
    ) -> f64 {
        each!(self, tape, (layer, tape) => layer.exposure(theta, x, tape, apart))
    }
}
