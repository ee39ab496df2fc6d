//! The flow x_0 → x_N: field + control + scheme.

use crate::Field;
use crate::scheme::reversible::{AnyReversible, Reversible, Slope};
use crate::scheme::{AnyScheme, Scheme, Stepper};

/// Field + control + scheme: the map x_0 → x_N.
#[derive(Clone, Debug)]
pub struct Flow<F> {
    field: F,
    scheme: AnyScheme,
    steps: usize,
    h: f64,
    tile: Option<usize>,
}

impl<F: Field> Flow<F> {
    /// As many steps as the field's control nodes allow, of size h = 1/N, of a tableau or of a
    /// scheme with an exact inverse.
    ///
    /// # Panics
    /// If there are too few nodes for one step, or a field with relu after every step meets another
    /// scheme than Euler's.
    pub fn new(field: F, scheme: impl Into<AnyScheme>) -> Self {
        let scheme = scheme.into();
        let euler = scheme == AnyScheme::from(Scheme::EULER);
        assert!(
            euler || !field.is_rectified(),
            "relu follows Euler's steps, not those of {scheme}"
        );
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

    /// The same flow after a change of its field's parameters.
    ///
    /// # Panics
    /// If the change adds or removes control nodes.
    pub fn update(self, change: impl FnOnce(&mut F)) -> Self {
        let Self { mut field, scheme, steps, h, tile } = self;
        let nodes = field.nodes();
        change(&mut field);
        assert_eq!(field.nodes(), nodes, "a flow keeps its depth");
        Self { field, scheme, steps, h, tile }
    }

    /// The field, without a copy.
    pub fn into_field(self) -> F {
        self.field
    }

    /// The scheme.
    pub fn scheme(&self) -> &AnyScheme {
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

    /// Scratch space for one tile of a flow with a tableau.
    ///
    /// # Panics
    /// If the scheme is one with an exact inverse.
    pub fn stepper(&self, like: &F::State) -> Stepper<'_, F> {
        match &self.scheme {
            AnyScheme::RungeKutta(scheme) => Stepper::new(&self.field, scheme, self.h, like),
            AnyScheme::Reversible(scheme) => panic!(
                "{scheme} steps are no steps of a tableau; the gradient method reversible, and no \
                 other, walks them back"
            ),
        }
    }

    /// The scheme and scratch space for one tile, of a flow whose scheme has an exact inverse.
    pub(crate) fn slope(&self, like: &F::State) -> Option<(&AnyReversible, Slope<'_, F>)> {
        match &self.scheme {
            AnyScheme::RungeKutta(_) => None,
            AnyScheme::Reversible(scheme) => {
                Some((scheme, Slope::new(&self.field, scheme.base(), self.h, like)))
            }
        }
    }

    /// The tile's samples, where they are not the field's own choice.
    pub(crate) fn tile(&self) -> Option<usize> {
        self.tile
    }

    /// Samples of a tile of a batch like `x`; `None` where the batch goes whole.
    pub(crate) fn tile_samples(&self, x: &F::State) -> Option<usize> {
        self.field.tile_samples(x).map(|own| self.tile.unwrap_or(own))
    }

    /// x_N of one tile.
    pub(crate) fn end(&self, x0: F::State) -> F::State {
        if let Some((scheme, slope)) = self.slope(&x0) {
            let mut slope = slope.forward_only();
            let mut states = scheme.start(&mut slope, &x0);
            (0..self.steps).for_each(|n| scheme.step(&mut slope, n, &mut states));
            return states.swap_remove(0);
        }
        let mut x = x0;
        self.stepper(&x).advance(0..self.steps, &mut x);
        x
    }

    /// All states x_0 … x_N of the batch.
    pub fn states(&self, x0: &F::State) -> Vec<F::State> {
        let mut passed = vec![x0.clone()];
        if let Some((scheme, slope)) = self.slope(x0) {
            let mut slope = slope.forward_only();
            let mut states = scheme.start(&mut slope, x0);
            for n in 0..self.steps {
                scheme.step(&mut slope, n, &mut states);
                passed.push(states[0].clone());
            }
            return passed;
        }
        let mut stepper = self.stepper(x0);
        for step in 0..self.steps {
            let mut x = passed[step].clone();
            stepper.advance(step..step + 1, &mut x);
            passed.push(x);
        }
        passed
    }
}
