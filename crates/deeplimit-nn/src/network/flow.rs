//! The flow of a stage, whichever field it has: from rows to rows.

use super::relu::{before_relu, rectify};
use deeplimit::control::Control;
use deeplimit::field::{Accountable, AnyLayer, ConvBn, LayerStatistics, Sink, Stacked, Tiled};
use deeplimit::gradient::{Evidence, Footprint, MethodTape, Turn};
use deeplimit::{Bytes, Certificate, Field, Flow, GradientMethod, Method, Real, Rows, Spare};
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A flow with its present weights.
#[expect(clippy::large_enum_variant, reason = "there is one a stage")]
pub(super) enum AnyFlow<R: Real = f32> {
    /// Samples do not see each other.
    Layer(Flow<Stacked<R, AnyLayer>>),
    /// Samples meet in normalisations.
    ConvBn(Flow<ConvBn<R>>),
}

/// Memory of the tapes of one gradient, kept for the next: it need not be asked for, and cleared,
/// again.
#[derive(Default)]
pub struct Memory {
    layer: Spare<MethodTape<Stacked<f32, AnyLayer>>>,
    conv_bn: Spare<MethodTape<ConvBn<f32>>>,
}

/// What the way back through a flow finds.
pub(super) struct Found {
    /// ∂loss/∂x_0.
    pub(super) x0_bar: Rows<f32>,
    /// ∂loss/∂θ.
    pub(super) gradient: Control<f32>,
    pub(super) certificate: Certificate,
    /// Bytes of the tapes that were there at the same time.
    pub(super) tape_bytes: usize,
    /// The batch's mean and unbiased variance in every normalised channel, node by node.
    pub(super) statistics: Option<Vec<LayerStatistics>>,
}

/// The way back through a flow, for a cotangent of its end.
pub(super) type WayBack = Box<dyn FnOnce(&Rows<f32>) -> Found>;

/// Runs `$body` with the flow unwrapped.
macro_rules! each {
    ($any:expr, $flow:ident => $body:expr) => {
        match $any {
            AnyFlow::Layer($flow) => $body,
            AnyFlow::ConvBn($flow) => $body,
        }
    };
}

impl AnyFlow {
    /// x_N, keeping nothing.
    pub(super) fn forward(&self, x0: Rows<f32>) -> Rows<f32> {
        each!(self, flow => forward(flow, x0))
    }

    /// The sizes that decide the memory of a gradient for batches like `x0`.
    pub(super) fn footprint(&self, x0: Rows<f32>) -> Footprint {
        each!(self, flow => footprint(flow, x0))
    }

    /// x_N, and the way back.
    pub(super) fn record(self, method: Method, x0: Rows<f32>) -> (Rows<f32>, WayBack) {
        each!(self, flow => record(flow, method, x0))
    }

    /// There and back in one sweep, with fewer tapes at a time; `loss` gives, for some samples of
    /// the batch, what is to be known of their loss, and the cotangent of their end.
    pub(super) fn sweep<L: Send>(
        self,
        method: Method,
        x0: Rows<f32>,
        loss: impl Fn(&Rows<f32>, Range<usize>) -> (L, Rows<f32>) + Sync,
        memory: &Memory,
    ) -> (Vec<L>, Found) {
        match self {
            Self::Layer(flow) => sweep(&flow, method, x0, loss, &memory.layer),
            Self::ConvBn(flow) => sweep(&flow, method, x0, loss, &memory.conv_bn),
        }
    }
}

/// A field whose states are rows, or made of them.
trait OnRows:
    for<'g> Field<Gradient = Control<f32>, Sink<'g> = Sink<'g, f32>> + Accountable + 'static
{
    fn state(x: Rows<f32>) -> Self::State;
    fn rows(x: Self::State) -> Rows<f32>;
    fn statistics(&self) -> Option<Vec<LayerStatistics>>;
}

impl OnRows for Stacked<f32, AnyLayer> {
    fn state(x: Rows<f32>) -> Rows<f32> {
        x
    }

    fn rows(x: Rows<f32>) -> Rows<f32> {
        x
    }

    fn statistics(&self) -> Option<Vec<LayerStatistics>> {
        None
    }
}

impl OnRows for ConvBn<f32> {
    fn state(x: Rows<f32>) -> Tiled<f32> {
        Tiled::cut(&x)
    }

    fn rows(x: Tiled<f32>) -> Rows<f32> {
        x.whole()
    }

    fn statistics(&self) -> Option<Vec<LayerStatistics>> {
        self.gathered()
    }
}

/// The end as it is seen from behind: after relu, where relu follows every step.
fn seen<F: OnRows>(flow: &Flow<F>, end: F::State) -> Rows<f32> {
    let mut end = F::rows(end);
    if flow.field().is_rectified() {
        rectify(end.columns_mut());
    }
    end
}

fn forward<F: OnRows>(flow: &Flow<F>, x0: Rows<f32>) -> Rows<f32> {
    seen(flow, flow.forward(&F::state(x0)))
}

fn footprint<F: OnRows>(flow: &Flow<F>, x0: Rows<f32>) -> Footprint {
    flow.footprint(&F::state(x0))
}

fn record<F: OnRows>(flow: Flow<F>, method: Method, x0: Rows<f32>) -> (Rows<f32>, WayBack) {
    let (end, recording) = flow.record(&method, &F::state(x0));
    let end = seen(&flow, end);
    let kept = flow.field().is_rectified().then(|| end.clone());
    let back = move |bar: &Rows<f32>| {
        let tape_bytes = recording.bytes() + kept.as_ref().map_or(0, Bytes::bytes);
        let bar = F::state(match &kept {
            Some(seen) => {
                let mut bar = bar.clone();
                before_relu(seen.columns(), bar.columns_mut());
                bar
            }
            None => bar.clone(),
        });
        let mut gradient = flow.field().zero_gradient();
        let (x0_bar, certificate) = flow.pull_back(&method, recording, &bar, &mut gradient);
        let statistics = flow.field().statistics();
        Found { x0_bar: F::rows(x0_bar), gradient, certificate, tape_bytes, statistics }
    };
    (end, Box::new(back))
}

fn sweep<F: OnRows, L: Send>(
    flow: &Flow<F>,
    method: Method,
    x0: Rows<f32>,
    loss: impl Fn(&Rows<f32>, Range<usize>) -> (L, Rows<f32>) + Sync,
    spare: &Spare<MethodTape<F>>,
) -> (Vec<L>, Found) {
    let metered = Metered { method, largest: AtomicUsize::new(0) };
    let mut gradient = flow.field().zero_gradient();
    let loss = |end: F::State, samples: Range<usize>| {
        let end = seen(flow, end);
        let (loss, mut bar) = loss(&end, samples);
        if flow.field().is_rectified() {
            before_relu(end.columns(), bar.columns_mut());
        }
        drop(end);
        (loss, F::state(bar))
    };
    let sweep = flow.gradient(&metered, &F::state(x0), loss, &mut gradient, spare);
    let at_once = sweep.losses.len().min(rayon::current_num_threads());
    let found = Found {
        x0_bar: F::rows(sweep.x0_bar),
        gradient,
        certificate: sweep.certificate,
        tape_bytes: at_once * metered.largest.into_inner(),
        statistics: flow.field().statistics(),
    };
    (sweep.losses, found)
}

/// A method that remembers its largest tape.
struct Metered {
    method: Method,
    largest: AtomicUsize,
}

impl<F: Field> GradientMethod<F> for Metered {
    type Tape = MethodTape<F>;

    fn record(
        &self,
        flow: &Flow<F>,
        x0: F::State,
        spent: Option<MethodTape<F>>,
    ) -> (F::State, MethodTape<F>) {
        let (end, tape) = self.method.record(flow, x0, spent);
        self.largest.fetch_max(tape.bytes(), Ordering::Relaxed);
        (end, tape)
    }

    fn pull_back(
        &self,
        flow: &Flow<F>,
        tape: MethodTape<F>,
        x_bar: &mut F::State,
        sink: &F::Sink<'_>,
        turn: &Turn<'_>,
    ) -> (Evidence, Option<MethodTape<F>>) {
        self.method.pull_back(flow, tape, x_bar, sink, turn)
    }
}
