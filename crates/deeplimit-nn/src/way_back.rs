//! An operation of Burn's graph whose way back is a function: what lets a flow take part in plain automatic
//! differentiation, without a graph of its own.

#[cfg(any(feature = "cuda", feature = "wgpu"))]
use burn::backend::Cube;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{
    Autodiff, Backend, BackendTensor, Dispatch, DispatchKindConversion, DispatchTensor, Flex,
    backend_extension,
};
use std::sync::{Arc, Mutex, PoisonError};

/// From the gradient of what comes out to those of what goes in; `None` where there is none.
pub(crate) type WayBack = Box<dyn FnOnce(DispatchTensor) -> Vec<Option<DispatchTensor>> + Send>;

/// Most inputs of one operation.
pub(crate) const MOST_INPUTS: usize = 4;

/// A tensor of the value `value`, which Burn's graph takes for a function of `inputs`; `back` is that
/// function's way back. It runs in the middle of a backward pass, whose graph is locked: tensors that take
/// part in the pass must not take part in what it does.
///
/// # Panics
/// If there is no input, or there are more than [`MOST_INPUTS`].
pub(crate) fn with_way_back(
    mut inputs: Vec<DispatchTensor>,
    value: DispatchTensor,
    back: WayBack,
) -> DispatchTensor {
    assert!((1..=MOST_INPUTS).contains(&inputs.len()), "{} inputs of an operation", inputs.len());
    // Where there are fewer, the first stands again, and gets its gradient once.
    inputs.resize(MOST_INPUTS, inputs[0].clone());
    let [a, b, c, d] = inputs.try_into().expect("that many");
    <Dispatch as Operation>::operation(a, b, c, d, value, back)
}

/// What a backend is asked for.
#[backend_extension(Flex, Cube: cfg(any(feature = "cuda", feature = "wgpu")), Autodiff)]
pub(crate) trait Operation: Backend {
    /// Outside any graph there is no way back.
    fn operation(
        _a: FloatTensor<Self>,
        _b: FloatTensor<Self>,
        _c: FloatTensor<Self>,
        _d: FloatTensor<Self>,
        value: FloatTensor<Self>,
        _back: WayBack,
    ) -> FloatTensor<Self> {
        value
    }
}

impl Operation for Flex {}

#[cfg(any(feature = "cuda", feature = "wgpu"))]
impl Operation for Cube {}

impl<B: Operation, C: CheckpointStrategy> Operation for Autodiff<B, C>
where
    DispatchTensor: DispatchKindConversion<B>,
{
    fn operation(
        a: FloatTensor<Self>,
        b: FloatTensor<Self>,
        c: FloatTensor<Self>,
        d: FloatTensor<Self>,
        value: FloatTensor<Self>,
        back: WayBack,
    ) -> FloatTensor<Self> {
        let (nodes, value) = ([a, b, c, d].map(|input| input.node()), value.into_primitive());
        match Step.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(operation) => operation.finish(State::new(back), value),
            OpsKind::UnTracked(operation) => operation.finish(value),
        }
    }
}

/// A way back that is walked once.
#[derive(Clone)]
struct State(Arc<Mutex<Option<WayBack>>>);

impl State {
    fn new(back: WayBack) -> Self {
        Self(Arc::new(Mutex::new(Some(back))))
    }

    fn take(&self) -> WayBack {
        let back = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        back.expect("Burn walks an operation back once")
    }
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a way back")
    }
}

#[derive(Debug)]
struct Step;

impl<B: Backend> Backward<B, MOST_INPUTS> for Step
where
    DispatchTensor: DispatchKindConversion<B>,
{
    type State = State;

    fn backward(self, ops: Ops<State, MOST_INPUTS>, grads: &mut Gradients, _: &mut Checkpointer) {
        let bar = BackendTensor::Float(grads.consume::<B>(&ops.node));
        let bar = <DispatchTensor as DispatchKindConversion<B>>::from_backend(bar);
        for (node, bar) in ops.parents.into_iter().zip(ops.state.take()(bar)) {
            let Some((node, bar)) = node.zip(bar) else { continue };
            let bar = <DispatchTensor as DispatchKindConversion<B>>::try_into_backend(bar);
            match bar {
                Ok(BackendTensor::Float(bar)) => grads.register::<B>(node.id, bar),
                _ => unreachable!("gradients are float tensors outside any graph, on their device"),
            }
        }
    }
}
