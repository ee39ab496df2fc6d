//! The exact inverse of a reversible scheme: its states come back from the last ones.
//!
//! With S_n the step of the scheme on its two or three states u, of which the first is x:
//!
//! ```text
//! u_n = S_n⁻¹(u_{n+1}),   ū_n = S_n'(u_n)ᵀ ū_{n+1},   evaluations shared between both
//! ```
//!
//! The gradient is exact but for rounding, in the memory of one layer, at one evaluation a step more
//! than backpropagation (those of the base, twice, for McCallum–Foster pairs). What the inverse loses
//! in precision is measured, not assumed: x_0 is kept as an anchor, and the certificate's e_0 is the
//! distance of the recovered x_0 from it. The schemes' sources stand in
//! [`scheme::reversible`](crate::scheme::reversible).

use super::{Evidence, GradientMethod, Turn};
use crate::scheme::Work;
use crate::scheme::reversible::{Reversible as _, zeros};
use crate::{Bytes, Field, Flow, State};

/// Recovers the states by the scheme's own inverse; only for flows on a
/// [`Reversible`](crate::scheme::reversible::Reversible) scheme.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Reversible;

/// The scheme's states after the last step, and x_0: a number independent of depth.
pub struct ReversibleTape<S> {
    states: Vec<S>,
    x0: S,
    work: Work,
}

impl<S: Bytes> Bytes for ReversibleTape<S> {
    fn bytes(&self) -> usize {
        self.states.iter().map(Bytes::bytes).sum::<usize>() + self.x0.bytes()
    }
}

/// Why a walk cannot begin.
fn no_inverse<F: Field>(flow: &Flow<F>) -> ! {
    panic!("the gradient method reversible needs an exact inverse, which {} has not", flow.scheme())
}

impl<F: Field> GradientMethod<F> for Reversible {
    type Tape = ReversibleTape<F::State>;

    /// # Panics
    /// If the flow's scheme has no exact inverse.
    fn record(
        &self,
        flow: &Flow<F>,
        x0: F::State,
        _spent: Option<ReversibleTape<F::State>>,
    ) -> (F::State, ReversibleTape<F::State>) {
        let Some((scheme, slope)) = flow.slope(&x0) else { no_inverse(flow) };
        let mut slope = slope.forward_only();
        let mut states = scheme.start(&mut slope, &x0);
        (0..flow.steps()).for_each(|n| scheme.step(&mut slope, n, &mut states));
        (states[0].clone(), ReversibleTape { states, x0, work: slope.work() })
    }

    fn pull_back(
        &self,
        flow: &Flow<F>,
        tape: ReversibleTape<F::State>,
        x_bar: &mut F::State,
        sink: &F::Sink<'_>,
        turn: &Turn<'_>,
    ) -> (Evidence, Option<ReversibleTape<F::State>>) {
        let ReversibleTape { mut states, x0, work } = tape;
        let Some((scheme, mut slope)) = flow.slope(&x0) else { no_inverse(flow) };
        slope.count(work);
        let mut bars: Vec<F::State> = states.iter().map(zeros).collect();
        bars[0].copy_from(x_bar);
        for n in (0..flow.steps()).rev() {
            let adjoint = Some((&mut bars[..], turn.due(n, sink)));
            scheme.unstep(&mut slope, n, &mut states, adjoint);
            // The start belongs to step 0, which is left after it.
            if n > 0 {
                turn.leave(n);
            }
        }
        *x_bar = scheme.start_pull_back(&mut slope, &x0, bars, turn.due(0, sink));
        turn.leave(0);
        let lost = (0, states[0].distance_squared(&x0), x0.norm_squared());
        let evidence = Evidence { anchors: vec![lost], work: slope.work(), ..Evidence::default() };
        (evidence, None)
    }
}
