//! A Burn tensor as a state: samples along the first dimension.

use burn::tensor::Tensor;
use deeplimit::{Bytes, State};

/// A tensor `[samples, …]` outside any autodiff graph.
#[derive(Clone, Debug)]
pub struct TensorState<const D: usize>(pub Tensor<D>);

impl<const D: usize> Bytes for TensorState<D> {
    fn bytes(&self) -> usize {
        self.0.shape().num_elements() * self.0.dtype().size()
    }
}

impl<const D: usize> TensorState<D> {
    /// Replaces the tensor by a function of it.
    fn update(&mut self, f: impl FnOnce(Tensor<D>) -> Tensor<D>) {
        self.0 = f(self.0.clone());
    }
}

impl<const D: usize> State for TensorState<D> {
    /// The tensor itself: tensors are values, so sharing it is safe.
    fn scratch(&self) -> Self {
        self.clone()
    }

    fn samples(&self) -> usize {
        self.0.dims()[0]
    }

    fn copy_from(&mut self, x: &Self) {
        self.0 = x.0.clone();
    }

    fn set_zero(&mut self) {
        self.update(|x| x.zeros_like());
    }

    fn scale(&mut self, factor: f64) {
        self.update(|x| x.mul_scalar(factor));
    }

    fn add_scaled(&mut self, factor: f64, x: &Self) {
        self.update(|sum| sum.add(x.0.clone().mul_scalar(factor)));
    }

    fn set_sum(&mut self, x: &Self, factor: f64, y: &Self) {
        self.0 = x.0.clone().add(y.0.clone().mul_scalar(factor));
    }

    fn dot(&self, other: &Self) -> f64 {
        self.0.clone().mul(other.0.clone()).sum().into_scalar::<f32>().into()
    }

    fn distance_squared(&self, other: &Self) -> f64 {
        let difference = Self(self.0.clone().sub(other.0.clone()));
        difference.dot(&difference)
    }

    fn slice(&self, start: usize, count: usize) -> Self {
        Self(self.0.clone().narrow(0, start, count))
    }

    fn join(tiles: Vec<Self>) -> Self {
        Self(Tensor::cat(tiles.into_iter().map(|tile| tile.0).collect(), 0))
    }
}
