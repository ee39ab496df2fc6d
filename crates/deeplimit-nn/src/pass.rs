//! One training step across graphs and flows.
//!
//! ```text
//! batch → stem (graph A) → x_0 → flow, no graph, tape of the gradient method → x_N
//!       → head + loss (graph B) → ∂loss/∂x_N → pull back the flow → ∂loss/∂x_0, ∂loss/∂θ
//!       → backward through A → one gradient record → optimiser
//! ```

use crate::blocks::{BlockError, Blocks, Residual};
use crate::{TensorState, gradients};
use burn::module::Module;
use burn::optim::GradientsParams;
use burn::tensor::Tensor;
use deeplimit::gradient::MethodTape;
use deeplimit::{AnyScheme, Bytes, Certificate, Flow, Method, Recording};

/// A flow of blocks, ready for one training step.
pub struct FlowPass<M: Residual<D>, const D: usize> {
    flow: Flow<Blocks<M, D>>,
}

/// What a step keeps between the way forward and the way back.
pub struct Pass<M: Residual<D>, const D: usize> {
    flow: Flow<Blocks<M, D>>,
    method: Method,
    recording: Recording<MethodTape<Blocks<M, D>>>,
    start: Tensor<D>,
    end: Tensor<D>,
}

impl<M: Residual<D>, const D: usize> FlowPass<M, D> {
    /// A flow through `blocks`, checked on the state `x0` (see [`Blocks::new`]).
    ///
    /// # Errors
    /// Those of [`Blocks::new`].
    pub fn new(
        blocks: &[M],
        scheme: impl Into<AnyScheme>,
        x0: &Tensor<D>,
    ) -> Result<Self, BlockError> {
        let blocks = Blocks::new(blocks.to_vec(), x0)?;
        Ok(Self { flow: Flow::new(blocks, scheme) })
    }

    /// A flow through blocks that have been checked in an earlier step.
    pub fn trusted(blocks: &[M], scheme: impl Into<AnyScheme>) -> Self {
        Self { flow: Flow::new(Blocks::trusted(blocks.to_vec()), scheme) }
    }

    /// x_N for inference: no graph, nothing kept.
    pub fn infer(&self, x0: Tensor<D>) -> Tensor<D> {
        self.flow.forward(&TensorState(x0.inner())).0
    }

    /// Walks the flow without a graph; the x_N returned is a new leaf to build the rest of the
    /// loss on.
    ///
    /// # Panics
    /// If the method does not walk the scheme's steps back (see [`Method::fits`]).
    pub fn forward(self, method: &Method, x0: Tensor<D>) -> (Tensor<D>, Pass<M, D>) {
        let (end, recording) = self.flow.record(method, &TensorState(x0.clone().inner()));
        let end = Tensor::from_inner(end.0).require_grad();
        let pass =
            Pass { flow: self.flow, method: *method, recording, start: x0, end: end.clone() };
        (end, pass)
    }
}

impl<M: Residual<D>, const D: usize> Pass<M, D> {
    /// Bytes of the states kept.
    pub fn tape_bytes(&self) -> usize {
        self.recording.bytes()
    }

    /// Gradients of a scalar loss built on x_N, for every parameter of `network`: of what lies
    /// behind the flow, of its blocks, and of what lies before it; with the certificate of the
    /// flow's pull-back.
    pub fn backward<N: Module>(
        self,
        loss: &Tensor<1>,
        network: &N,
    ) -> (GradientsParams, Certificate) {
        let mut found = loss.backward();
        let x_bar = self.end.grad_remove(&mut found);
        let x_bar = TensorState(x_bar.unwrap_or_else(|| self.end.clone().inner().zeros_like()));
        let mut record = GradientsParams::from_grads(found, network);
        let mut gradient = deeplimit::Field::zero_gradient(self.flow.field());
        let (x0_bar, certificate) =
            self.flow.pull_back(&self.method, self.recording, &x_bar, &mut gradient);
        for (block, flat) in self.flow.field().blocks().iter().zip(gradient.blocks) {
            let flat = flat.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
            gradients::register(block, flat, &mut record);
        }
        if self.start.is_tracked() {
            let before = self.start.mul(Tensor::from_inner(x0_bar.0)).sum().backward();
            gradients::merge(network, &mut record, GradientsParams::from_grads(before, network));
        }
        (record, certificate)
    }
}
