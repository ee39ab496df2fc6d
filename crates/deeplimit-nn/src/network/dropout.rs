//! Dropout of the hidden units of a flow's residual function (Srivastava, Hinton, Krizhevsky, Sutskever,
//! Salakhutdinov 2014).
//!
//! ```text
//! f(x, θ) = W₂ diag(m) σ(W₁ x + b₁) + b₂,     m_j = 0 with probability p, else 1/(1 − p)
//! ```
//!
//! m is drawn anew at every step, once for the whole batch (Graham, Reizenstein, Robinson 2015), and is the
//! same at every depth (Gal, Ghahramani 2016): f stays as smooth in depth as its weights, and keeps its
//! limit. So it is a factor of the step's weights: whatever evaluates f again, to reconstruct a state or to
//! recompute one, meets the same units. Of images whole channels are units.

use super::config::StagePlan;
use deeplimit::control::Control;
use deeplimit::seed;

/// The m of a step, with the weights that it multiplies.
pub(super) struct Mask {
    /// Which kind: the last weights, `[outputs, units, …]`.
    kind: usize,
    /// Numbers that one unit and one output share.
    window: usize,
    factors: Vec<f32>,
}

impl Mask {
    /// The mask of a stage that a seed draws; none without dropout.
    pub fn draw(plan: &StagePlan, seed: u64) -> Option<Self> {
        if plan.dropout == 0.0 {
            return None;
        }
        let kinds = plan.formula.kinds();
        let kind = kinds.iter().rposition(|kind| kind.name.starts_with('w'));
        let kind = kind.expect("a field with hidden units has weights behind them");
        let shape = &kinds[kind].shape;
        let is_dropped = |unit| 0.5 * (seed::uniform(seed, unit) + 1.0) < plan.dropout;
        let kept = (1.0 / (1.0 - plan.dropout)) as f32;
        let factor = |unit: usize| if is_dropped(unit as u64) { 0.0 } else { kept };
        let factors = (0..shape[1]).map(factor).collect();
        Some(Self { kind, window: shape[2..].iter().product(), factors })
    }

    /// Weights times m; and as well ∂loss/∂(W₂ m) times m, which is ∂loss/∂W₂.
    pub fn apply(&self, control: &mut Control<f32>) {
        let values = &mut control.values_mut()[self.kind];
        for (of_unit, factor) in
            values.chunks_exact_mut(self.window).zip(self.factors.iter().cycle())
        {
            of_unit.iter_mut().for_each(|value| *value *= factor);
        }
    }
}
