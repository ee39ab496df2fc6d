//! Flows of Burn blocks in Burn's graph: any number of them, anywhere between a network's other modules.
//!
//! ```text
//! batch → modules → x_0 → flow, no graph of its own, tape of the gradient method → x_N → modules → loss
//! ```
//!
//! For Burn a flow is one operation, of x_0 and of its blocks' parameters, whose way back is the pull-back of
//! the gradient method. `loss.backward()` finds what it finds of any other network, wherever flows stand:
//! one behind another, beside one another, with connections around them, or one of them twice.

use crate::TensorState;
use crate::blocks::{BlockError, Blocks, Residual};
use crate::gradients::Flat;
use crate::way_back::{MOST_INPUTS, with_way_back};
use burn::backend::DispatchTensor;
use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::Tensor;
use deeplimit::{AnyScheme, Bytes, Certificate, Field, Flow, Method};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// A flow of blocks, ready for one training step.
pub struct FlowPass<M: Residual<D>, const D: usize> {
    flow: Arc<Flow<Blocks<M, D>>>,
    parameters: Vec<Parameter>,
}

/// What is known of one pass through a flow, while it goes on.
pub struct Pass {
    tape_bytes: usize,
    certificate: Arc<OnceLock<Certificate>>,
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
        Ok(Self::of(blocks, Blocks::new(blocks.to_vec(), x0)?, scheme))
    }

    /// A flow through blocks that have been checked in an earlier step.
    pub fn trusted(blocks: &[M], scheme: impl Into<AnyScheme>) -> Self {
        Self::of(blocks, Blocks::trusted(blocks.to_vec()), scheme)
    }

    fn of(blocks: &[M], field: Blocks<M, D>, scheme: impl Into<AnyScheme>) -> Self {
        let parameters =
            blocks.iter().enumerate().flat_map(|(block, module)| trained(block, module));
        Self { flow: Arc::new(Flow::new(field, scheme)), parameters: parameters.collect() }
    }

    /// x_N for inference: no graph, nothing kept.
    pub fn infer(&self, x0: Tensor<D>) -> Tensor<D> {
        self.flow.forward(&TensorState(x0.inner())).0
    }

    /// Walks the flow without a graph. For Burn the x_N returned is a function of x_0 and of the blocks'
    /// parameters: build the rest of the loss on it, and see [`gradients_of`].
    ///
    /// # Panics
    /// If the method does not walk the scheme's steps back (see [`Method::fits`]).
    pub fn forward(&self, method: &Method, x0: Tensor<D>) -> (Tensor<D>, Pass) {
        let (end, recording) = self.flow.record(method, &TensorState(x0.clone().inner()));
        let certificate = Arc::new(OnceLock::new());
        let pass = Pass { tape_bytes: recording.bytes(), certificate: certificate.clone() };
        let (found, nothing) = (Found::default(), nothing(&end.0));
        let strands = self.parameters.iter().map(|parameter| parameter.strand(&found)).collect();
        let strands = bundled(strands, MOST_INPUTS - 1, &nothing);
        if !x0.is_tracked() && strands.is_empty() {
            return (Tensor::from_inner(end.0), pass);
        }
        let (mut inputs, mut bars) = (vec![x0.into_dispatch()], Vec::new());
        for Strand { end, bar } in strands {
            inputs.push(end);
            bars.push(bar);
        }
        let (flow, method) = (self.flow.clone(), *method);
        let back = move |bar: DispatchTensor| {
            let x_bar = TensorState(Tensor::from_dispatch(bar));
            let mut gradient = flow.field().zero_gradient();
            let (x0_bar, judged) = flow.pull_back(&method, recording, &x_bar, &mut gradient);
            found.set(gradient.blocks);
            certificate.set(judged).expect("Burn walks an operation back once");
            let parameters = bars.into_iter().map(|bar| bar(nothing.clone()));
            std::iter::once(Some(x0_bar.0.into_dispatch())).chain(parameters).collect()
        };
        let end = with_way_back(inputs, end.0.into_dispatch(), Box::new(back));
        (Tensor::from_dispatch(end), pass)
    }
}

impl Pass {
    /// Bytes of the states kept.
    pub fn tape_bytes(&self) -> usize {
        self.tape_bytes
    }

    /// How good the gradient is, once a backward pass has walked the flow back.
    pub fn certificate(&self) -> Option<&Certificate> {
        self.certificate.get()
    }
}

/// What the way back through a flow finds: the gradients of each block's parameters.
#[derive(Clone, Default)]
struct Found(Arc<Mutex<Vec<Flat>>>);

impl Found {
    fn set(&self, blocks: Vec<Mutex<Flat>>) {
        let flat = |block: Mutex<Flat>| block.into_inner().unwrap_or_else(PoisonError::into_inner);
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) =
            blocks.into_iter().map(flat).collect();
    }

    fn take(&self, [block, index]: [usize; 2]) -> Option<Tensor<1>> {
        let mut blocks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // A block that no step has read has no list.
        blocks[block].get_mut(index).and_then(Option::take)
    }
}

/// A parameter that the loss is to be differentiated by.
struct Parameter {
    /// Its block, and its place among the block's parameters.
    place: [usize; 2],
    value: DispatchTensor,
    /// From the flat gradient, where there is one, to that of the parameter.
    shaped: Arc<dyn Fn(Option<Tensor<1>>) -> Option<DispatchTensor> + Send + Sync>,
}

/// The parameters of a block that take part in Burn's graph.
fn trained<M: Module>(block: usize, module: &M) -> Vec<Parameter> {
    struct Finder {
        place: [usize; 2],
        found: Vec<Parameter>,
    }
    impl ModuleVisitor for Finder {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            let (place, value) = (self.place, param.val());
            self.place[1] += 1;
            if !value.is_tracked() {
                return;
            }
            // What Burn computes from other parameters must be told that nothing is to be added.
            let zeros = (!value.is_require_grad()).then(|| value.clone().inner().zeros_like());
            let shape = value.shape();
            let shaped = move |flat: Option<Tensor<1>>| {
                let gradient = flat.map(|flat| flat.reshape::<D, _>(shape.clone()));
                gradient.or_else(|| zeros.clone()).map(Tensor::into_dispatch)
            };
            let (value, shaped) = (value.into_dispatch(), Arc::new(shaped));
            self.found.push(Parameter { place, value, shaped });
        }
    }
    let mut finder = Finder { place: [block, 0], found: Vec::new() };
    module.visit(&mut finder);
    finder.found
}

/// A tensor of Burn's graph that a flow is a function of beside x_0.
struct Strand {
    end: DispatchTensor,
    /// Its gradient on the way back, once the flow's is known; a bundle passes on what it gets.
    bar: Box<dyn FnOnce(DispatchTensor) -> Option<DispatchTensor> + Send>,
}

impl Parameter {
    fn strand(&self, found: &Found) -> Strand {
        let (found, place, shaped) = (found.clone(), self.place, self.shaped.clone());
        let bar = move |_| shaped(found.take(place));
        Strand { end: self.value.clone(), bar: Box::new(bar) }
    }
}

/// The value of a bundle, and its gradient: it only holds strands together.
fn nothing<const D: usize>(like: &Tensor<D>) -> DispatchTensor {
    Tensor::<1>::zeros([1], &like.device()).into_dispatch()
}

/// Not more than `most` strands: an operation has few inputs. Others are bundled, and bundles of them, so
/// that the graph is not deep.
fn bundled(mut strands: Vec<Strand>, most: usize, nothing: &DispatchTensor) -> Vec<Strand> {
    while strands.len() > most {
        let mut bundles = Vec::with_capacity(strands.len().div_ceil(MOST_INPUTS));
        let mut rest = strands.into_iter().peekable();
        while rest.peek().is_some() {
            let (ends, bars): (Vec<_>, Vec<_>) =
                rest.by_ref().take(MOST_INPUTS).map(|strand| (strand.end, strand.bar)).unzip();
            let back = move |passed: DispatchTensor| {
                bars.into_iter().map(|bar| bar(passed.clone())).collect()
            };
            let end = with_way_back(ends, nothing.clone(), Box::new(back));
            bundles.push(Strand { end, bar: Box::new(Some) });
        }
        strands = bundles;
    }
    strands
}

/// Parameters that a loss has no gradient for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{} of {trained} trained parameters have no gradient, {}: the loss does not depend on them; build it \
     on them, or freeze them with no_grad() or freeze_group(…)",
    names.len(),
    some(names)
)]
pub struct MissingGradients {
    /// Their names, such as `blocks.3.norm.gamma`.
    pub names: Vec<String>,
    /// Parameters that a gradient is wanted for.
    pub trained: usize,
}

/// The first names, and how many more there are.
fn some(names: &[String]) -> String {
    const TOLD: usize = 3;
    let more = names.len().saturating_sub(TOLD);
    let told = names[..names.len() - more].join(", ");
    if more > 0 { format!("{told} and {more} more") } else { told }
}

/// The gradients of a scalar loss for every trained parameter of a network, ready for an optimiser: what
/// plain automatic differentiation finds, with every flow that the loss is built on.
///
/// # Errors
/// If a parameter that requires a gradient has none. An optimiser would leave it as it is, and say nothing.
///
/// # Panics
/// Those of [`Tensor::backward`]: if the loss has no graph, or one that was walked back before.
pub fn gradients_of<N: Module>(
    loss: &Tensor<1>,
    network: &N,
) -> Result<GradientsParams, MissingGradients> {
    struct Missing<'g> {
        found: &'g GradientsParams,
        path: Vec<String>,
        names: Vec<String>,
        trained: usize,
    }
    impl ModuleVisitor for Missing<'_> {
        fn enter_module(&mut self, name: &str, _container: &str) {
            self.path.push(name.to_owned());
        }

        fn exit_module(&mut self, _name: &str, _container: &str) {
            self.path.pop();
        }

        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            if !param.is_require_grad() {
                return;
            }
            self.trained += 1;
            if self.found.get::<D>(param.id).is_none() {
                self.names.push(self.path.join("."));
            }
        }
    }
    let found = GradientsParams::from_grads(loss.backward(), network);
    let mut missing = Missing { found: &found, path: Vec::new(), names: Vec::new(), trained: 0 };
    network.visit(&mut missing);
    let Missing { names, trained, .. } = missing;
    if names.is_empty() { Ok(found) } else { Err(MissingGradients { names, trained }) }
}
