//! A workload ready to be stepped: its flow, its gradient, and the memory of spent tapes.

use crate::workload::{Workload, WorkloadField};
use anyhow::Result;
use deeplimit::control::Control;
use deeplimit::field::{AnyLayer, ConvBn, Field, Stacked, Tiled};
use deeplimit::gradient::MethodTape;
use deeplimit::{Flow, Method, Rows, Scheme, Spare};
use std::num::NonZeroUsize;

/// A flow of some field and all that a step of it needs.
pub struct Ready<F: Field> {
    flow: Flow<F>,
    x0: F::State,
    gradient: F::Gradient,
    spare: Spare<MethodTape<F>>,
}

/// A workload with its weights.
pub enum Problem {
    /// Of samples that do not see each other.
    Layer(Box<Ready<Stacked<f32, AnyLayer>>>),
    /// With batch normalisation.
    Normalised(Box<Ready<ConvBn<f32>>>),
}

/// What one step finds.
pub struct Found<'p> {
    /// The loss.
    pub loss: f64,
    /// ∂loss/∂θ.
    pub gradient: &'p Control<f32>,
    /// ∂loss/∂x_0.
    pub x0_bar: Rows<f32>,
    /// Cost in ways forward.
    pub cost_units: f64,
}

impl Problem {
    /// Builds the weights of a workload.
    pub fn new(workload: &Workload, tile: Option<NonZeroUsize>) -> Result<Self> {
        let x0 = workload.state();
        Ok(match workload.field()? {
            WorkloadField::Layer(field) => Self::Layer(Box::new(Ready::new(field, x0, tile))),
            WorkloadField::Normalised(field) => {
                Self::Normalised(Box::new(Ready::new(field, Tiled::cut(&x0), tile)))
            }
        })
    }

    /// The way forward, the loss, and the gradient with respect to every parameter and x_0.
    pub fn step(&mut self, workload: &Workload, method: &Method) -> Found<'_> {
        match self {
            Self::Layer(ready) => {
                let Ready { flow, x0, gradient, spare } = &mut **ready;
                let loss = |end, samples| workload.loss(end, samples);
                let sweep = flow.gradient(method, x0, loss, gradient, spare);
                Found {
                    loss: sweep.losses.iter().sum(),
                    gradient,
                    x0_bar: sweep.x0_bar,
                    cost_units: sweep.certificate.cost_units,
                }
            }
            Self::Normalised(ready) => {
                let Ready { flow, x0, gradient, spare } = &mut **ready;
                let loss = |end: Tiled<f32>, samples| {
                    let (loss, bar) = workload.loss(end.whole(), samples);
                    (loss, Tiled::cut(&bar))
                };
                let sweep = flow.gradient(method, x0, loss, gradient, spare);
                Found {
                    loss: sweep.losses.iter().sum(),
                    gradient,
                    x0_bar: sweep.x0_bar.whole(),
                    cost_units: sweep.certificate.cost_units,
                }
            }
        }
    }
}

impl<F: Field> Ready<F> {
    fn new(field: F, x0: F::State, tile: Option<NonZeroUsize>) -> Self {
        let gradient = field.zero_gradient();
        let flow = Flow::new(field, Scheme::EULER);
        let flow = match tile {
            Some(samples) => flow.with_tile(samples.get()),
            None => flow,
        };
        Self { flow, x0, gradient, spare: Spare::default() }
    }
}
