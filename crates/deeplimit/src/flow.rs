//! The flow x_0 → x_N: field + control + scheme.

use crate::Field;
use crate::scheme::{Scheme, Stepper};

/// Field + control + scheme: the map x_0 → x_N.
#[derive(Clone, Debug)]
pub struct Flow<F> {
    field: F,
    scheme: Scheme,
    steps: usize,
    h: f64,
    tile: Option<usize>,
}

impl<F: Field> Flow<F> {
    /// As many steps as the field's control nodes allow, of size h = 1/N.
    ///
    /// # Panics
    /// If there are too few nodes for one step.
    pub fn new(field: F, scheme: Scheme) -> Self {
        let steps = scheme.steps_for(field.nodes());
        assert!(steps > 0, "{} nodes are too few for a step of {scheme}", field.nodes());
        Self { field, scheme, steps, h: 1.0 / steps as f64, tile: None }
    }

    /// Steps of size `h` instead of 1/N.
    pub fn with_step(self, h: f64) -> Self {
        Self { h, ..self }
    }

    /// Tiles of `samples` samples instead of the field's own choice; for fields that want the whole
    /// batch together it changes nothing.
    ///
    /// # Panics
    /// If `samples` is zero.
    pub fn with_tile(self, samples: usize) -> Self {
        assert!(samples > 0, "a tile holds at least one sample");
        Self { tile: Some(samples), ..self }
    }

    /// The field.
    pub fn field(&self) -> &F {
        &self.field
    }

    /// The field, without a copy.
    pub fn into_field(self) -> F {
        self.field
    }

    /// The scheme.
    pub fn scheme(&self) -> &Scheme {
        &self.scheme
    }

    /// Depth N: the number of steps.
    pub fn steps(&self) -> usize {
        self.steps
    }

    /// Step size.
    pub fn h(&self) -> f64 {
        self.h
    }

    /// Scratch space for one tile.
    pub fn stepper(&self, like: &F::State) -> Stepper<'_, F> {
        Stepper::new(&self.field, &self.scheme, self.h, like)
    }

    /// Samples of a tile of a batch like `x`; `None` where the batch goes whole.
    pub(crate) fn tile_samples(&self, x: &F::State) -> Option<usize> {
        self.field.tile_samples(x).map(|own| self.tile.unwrap_or(own))
    }

    /// All states x_0 … x_N of the batch.
    pub fn states(&self, x0: &F::State) -> Vec<F::State> {
        let mut stepper = self.stepper(x0);
        let mut states = vec![x0.clone()];
        for step in 0..self.steps {
            let mut x = states[step].clone();
            stepper.advance(step..step + 1, &mut x);
            states.push(x);
        }
        states
    }
}
