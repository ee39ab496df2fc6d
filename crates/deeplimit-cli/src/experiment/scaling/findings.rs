//! What the trainings show.

use super::exponents::Family;
use super::{ALPHA, LAST, RATE, Row, Start};
use crate::experiment::{Seeds, within};
use crate::page::{Claim, significant};
use deeplimit::limit::Regime;

/// How far an exponent may be from the theory's: half of what lies between neighbouring classes.
const CLOSE: f64 = 0.25;

/// Steps after which smooth weights without the penalty are held against theory. It bounds their
/// steepness for all N at any time, but the bound grows with time: later the fronts that form are
/// thinner than a layer of the networks measured here.
const EARLY: usize = 64;

pub type Value = fn(&Row) -> f64;

/// The rows of all trainings.
pub struct Shown<'a> {
    pub rows: &'a [Row],
    pub seeds: Seeds,
}

/// Networks of a start before training, after it, and after training with the penalty.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum State {
    Before,
    Trained,
    Penalised,
}

impl State {
    pub const ALL: [Self; 3] = [Self::Before, Self::Trained, Self::Penalised];

    pub fn name(self) -> &'static str {
        match self {
            Self::Before => "before training",
            Self::Trained => "trained without the penalty",
            Self::Penalised => "trained with the penalty",
        }
    }

    /// Whether a row is of such a network, after so many steps.
    pub fn is_at(self, row: &Row, steps: usize) -> bool {
        row.penalised == (self == Self::Penalised) && row.steps == steps
    }

    /// Whether a row is of such a network.
    pub fn is(self, row: &Row) -> bool {
        self.is_at(row, if self == Self::Before { 0 } else { LAST })
    }
}

/// The regime of a start's networks in theory.
pub fn regime(start: Start, state: State) -> Regime {
    match (start, state) {
        (Start::Smooth, _) | (_, State::Penalised) => Regime::SmoothOde,
        (Start::Independent, _) => Regime::AveragedOde,
        (Start::Diffusive, _) => Regime::Diffusive,
    }
}

/// The exponent of r₂ in theory.
pub fn bend(start: Start, state: State) -> f64 {
    match regime(start, state) {
        Regime::Diffusive => 0.5,
        Regime::AveragedOde => 0.0,
        _ => -2.0,
    }
}

/// The exponent of N max ‖θ_{n+1} − θ_n‖ and of the H¹ seminorm in theory: one more than that of r₂ for
/// rough weights, 0 for smooth ones.
pub fn steepness(start: Start, state: State) -> f64 {
    (bend(start, state) + 1.0).max(0.0)
}

/// Why a family has its regime.
fn reason(start: Start, state: State) -> &'static str {
    match (state, start) {
        (State::Before, _) => "as it is drawn",
        (State::Penalised, _) => {
            "minimisers are bounded in H¹ and smooth (Thorpe, van Gennip 2023), and the penalty is a heat \
             equation for the weights"
        }
        (_, Start::Smooth) => {
            "gradients are smooth in depth where weights are (Sander, Ablin, Peyré 2022; Marion, Wu, \
             Sander, Biau 2023)"
        }
        _ => "nothing takes the roughness of the start away",
    }
}

impl Shown<'_> {
    pub fn family(&self, start: Start, state: State) -> Family<'_> {
        self.of(start, |row| state.is(row))
    }

    /// Networks after so many steps.
    pub fn family_at(&self, start: Start, state: State, steps: usize) -> Family<'_> {
        self.of(start, |row| state.is_at(row, steps))
    }

    fn of(&self, start: Start, is: impl Fn(&Row) -> bool) -> Family<'_> {
        let rows = self.rows.iter().filter(|row| row.layer.is_none() && row.start == start);
        Family { rows: rows.filter(|row| is(row)).collect(), seeds: self.seeds }
    }

    pub fn claims(&self) -> Vec<Claim> {
        let mut claims = Vec::new();
        for state in State::ALL {
            claims.extend(Start::ALL.map(|start| self.regime_claim(start, state)));
        }
        for state in [State::Trained, State::Penalised] {
            for start in Start::ALL {
                claims.extend(self.exponent_claims(start, state));
            }
        }
        claims.extend(self.late());
        claims.push(self.kept());
        claims.extend(self.losses());
        claims
    }

    fn regime_claim(&self, start: Start, state: State) -> Claim {
        let (family, when) = self.judged(start, state);
        let (expected, reason) = (regime(start, state), reason(start, state));
        let claim = format!("{} start, {when}, regime for every seed: {reason}", start.name());
        let holds = family.share(expected) == 1.0;
        Claim { claim, expected: expected.to_string(), measured: family.regimes(), holds }
    }

    /// The networks that are held against theory, and what they are called.
    fn judged(&self, start: Start, state: State) -> (Family<'_>, String) {
        match (start, state) {
            (Start::Smooth, State::Trained) => {
                let time = significant(EARLY as f64 * RATE);
                let name = format!("trained to t = {time} without the penalty");
                (self.family_at(start, state, EARLY), name)
            }
            _ => (self.family(start, state), state.name().to_owned()),
        }
    }

    fn exponent_claims(&self, start: Start, state: State) -> Vec<Claim> {
        let (family, when) = self.judged(start, state);
        let measures: [(&str, f64, Value); 3] = [
            ("r₂", bend(start, state), |row| row.second_difference),
            ("N max ‖θ_{n+1} − θ_n‖", steepness(start, state), |row| row.scaled_increment),
            ("(N Σ ‖θ_n − θ_{n−1}‖²)^½", steepness(start, state), |row| row.seminorm),
        ];
        let claim = |(name, theory, value): (&str, f64, Value)| {
            let near = significant(theory);
            let claim = format!(
                "{} start, {when}: exponent in N of {name}, near {near} in theory",
                start.name()
            );
            family.exponent(value).lies_in(claim, theory - CLOSE..=theory + CLOSE)
        };
        measures.map(claim).to_vec()
    }

    /// What a long training without the penalty makes of a smooth start.
    fn late(&self) -> [Claim; 2] {
        let steep: Value = |row| row.scaled_increment;
        let family = self.family(Start::Smooth, State::Trained);
        [
            family.exponent(steep).lies_in(
                "smooth start, trained without the penalty to the end: N max ‖θ_{n+1} − θ_n‖ grows more \
                 slowly than the N of rough weights (observed; at any one time the bound of theory holds \
                 for all N, but it grows exponentially with time); exponent",
                -CLOSE..=1.0,
            ),
            within(
                "smooth start: at the end N max ‖θ_{n+1} − θ_n‖ is smaller with the penalty than without \
                 it; ratio, deepest networks",
                self.family(Start::Smooth, State::Penalised).deepest(steep) / family.deepest(steep),
                0.0..=0.5,
            ),
        ]
    }

    fn kept(&self) -> Claim {
        let deepest =
            |state| self.family(Start::Independent, state).deepest(|row| row.second_difference);
        within(
            "independent start, trained without the penalty: the roughness is that of the start; r₂ by r₂ \
             before training, of the deepest networks",
            deepest(State::Trained) / deepest(State::Before),
            0.5..=2.0,
        )
    }

    fn losses(&self) -> Vec<Claim> {
        let loss: Value = |row| row.loss;
        let mut claims = Vec::new();
        for (start, state) in [
            (Start::Smooth, State::Trained),
            (Start::Smooth, State::Penalised),
            (Start::Independent, State::Penalised),
        ] {
            let claim = format!(
                "{} start, {}: the loss reached does not depend on the depth; its exponent in N",
                start.name(),
                state.name()
            );
            claims.push(self.family(start, state).exponent(loss).lies_in(claim, -CLOSE..=CLOSE));
        }
        let end = |start, state, value: Value| self.family(start, state).deepest(value);
        claims.push(within(
            "trained with the penalty: both starts reach the same loss; that of the independent by that of \
             the smooth start, deepest networks",
            end(Start::Independent, State::Penalised, loss)
                / end(Start::Smooth, State::Penalised, loss),
            0.5..=2.0,
        ));
        let objective: Value = |row| row.loss + row.penalty;
        claims.push(within(
            "smooth start: the loss with the penalty is of the order of that without it; ratio, deepest \
             networks",
            end(Start::Smooth, State::Penalised, loss) / end(Start::Smooth, State::Trained, loss),
            0.1..=10.0,
        ));
        claims.push(within(
            format!(
                "smooth start: with the penalty loss and penalty (α = {ALPHA}) together end lower than \
                 without it; ratio, deepest networks"
            ),
            end(Start::Smooth, State::Penalised, objective)
                / end(Start::Smooth, State::Trained, objective),
            0.0..=1.0,
        ));
        claims
    }
}
