//! What a diagnosis needs of a field beyond [`Field`]: its weights, its twin in single precision, and
//! states as rows.

use super::Finding;
use crate::control::Control;
use crate::field::{ConvBn, Stacked, Tiled};
use crate::limit::{LipschitzLayer, lipschitz_bound};
use crate::{Field, Rows};

/// A field in double precision whose flow can be diagnosed.
pub trait Diagnosed: Field<Gradient = Control<f64>> + Clone {
    /// The same field in single precision, in which networks train.
    type Single: Field<Gradient = Control<f32>>;

    /// Whether samples see each other, so that the Jacobian is one of the whole batch.
    const SAMPLES_MEET: bool;

    /// The weights.
    fn control(&self) -> &Control<f64>;

    /// The same field with other weights, at as many nodes as they have.
    fn with_control(&self, control: Control<f64>) -> Self;

    /// The twin.
    fn single(&self) -> Self::Single;

    /// A state of rows.
    fn state(x: Rows<f64>) -> Self::State;

    /// A state of the twin.
    fn single_state(x: &Rows<f64>) -> <Self::Single as Field>::State;

    /// The rows of a state.
    fn rows(x: Self::State) -> Rows<f64>;

    /// The rows of a twin's state.
    fn single_rows(x: <Self::Single as Field>::State) -> Rows<f64>;

    /// max_n of a Lipschitz constant of f_n that holds everywhere.
    fn certain_lipschitz(&self) -> Finding<f64>;
}

impl<L: LipschitzLayer<f64> + LipschitzLayer<f32>> Diagnosed for Stacked<f64, L> {
    type Single = Stacked<f32, L>;
    const SAMPLES_MEET: bool = false;

    fn control(&self) -> &Control<f64> {
        self.control()
    }

    fn with_control(&self, control: Control<f64>) -> Self {
        Self::new(self.layer().clone(), control)
    }

    fn single(&self) -> Stacked<f32, L> {
        Stacked::new(self.layer().clone(), self.control().cast())
    }

    fn state(x: Rows<f64>) -> Rows<f64> {
        x
    }

    fn single_state(x: &Rows<f64>) -> Rows<f32> {
        x.cast()
    }

    fn rows(x: Rows<f64>) -> Rows<f64> {
        x
    }

    fn single_rows(x: Rows<f32>) -> Rows<f64> {
        x.cast()
    }

    fn certain_lipschitz(&self) -> Finding<f64> {
        Finding::Known(lipschitz_bound(self))
    }
}

impl Diagnosed for ConvBn<f64> {
    type Single = ConvBn<f32>;
    const SAMPLES_MEET: bool = true;

    fn control(&self) -> &Control<f64> {
        self.control()
    }

    fn with_control(&self, control: Control<f64>) -> Self {
        self.with_other_control(control)
    }

    fn single(&self) -> ConvBn<f32> {
        self.cast()
    }

    fn state(x: Rows<f64>) -> Tiled<f64> {
        Tiled::cut(&x)
    }

    fn single_state(x: &Rows<f64>) -> Tiled<f32> {
        Tiled::cut(&x.cast())
    }

    fn rows(x: Tiled<f64>) -> Rows<f64> {
        x.whole()
    }

    fn single_rows(x: Tiled<f32>) -> Rows<f64> {
        x.whole().cast()
    }

    fn certain_lipschitz(&self) -> Finding<f64> {
        Finding::unknown(
            "a batch normalisation divides by the deviation of whatever batch comes, which may be \
             as small as it likes: no constant below 1/√ε per normalisation holds everywhere",
        )
    }
}
