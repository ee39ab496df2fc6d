//! What the trainings show.

use super::exponents::{Estimate, Family};
use super::{ALPHA, Row, Start};
use crate::experiment::within;
use crate::page::{Claim, significant};
use deeplimit::limit::Regime;
use std::ops::RangeInclusive;

/// How far an exponent may be from the theory's: half of what lies between neighbouring classes.
const CLOSE: f64 = 0.25;

/// The rows of all trainings.
pub struct Shown<'a> {
    pub rows: &'a [Row],
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

    pub fn holds(self, row: &Row) -> bool {
        match self {
            Self::Before => row.steps == 0 && !row.penalised,
            Self::Trained => row.steps > 0 && !row.penalised,
            Self::Penalised => row.steps > 0 && row.penalised,
        }
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

/// The exponent of r₂ in theory; those of N max ‖θ_{n+1} − θ_n‖ and of the H¹ seminorm are one more for
/// rough weights, and 0 for smooth ones.
pub fn bend(start: Start, state: State) -> f64 {
    match regime(start, state) {
        Regime::Diffusive => 0.5,
        Regime::AveragedOde => 0.0,
        _ => -2.0,
    }
}

/// The exponent of N max ‖θ_{n+1} − θ_n‖ and of the H¹ seminorm in theory.
pub fn steepness(start: Start, state: State) -> f64 {
    (bend(start, state) + 1.0).max(0.0)
}

/// Why a family has its regime.
fn reason(start: Start, state: State) -> &'static str {
    match (state, start) {
        (State::Penalised, _) => {
            "minimisers are bounded in H¹ and smooth (Thorpe, van Gennip 2023), and the penalty is a heat \
             equation for the weights"
        }
        (_, Start::Smooth) => {
            "gradients are smooth in depth where weights are (Sander, Ablin, Peyré 2022; Marion, Wu, \
             Sander, Biau 2023)"
        }
        _ => "without the penalty nothing takes the roughness of the start away",
    }
}

/// A claim that an exponent's whole confidence interval lies in a range.
fn lies(claim: String, exponent: Estimate, range: RangeInclusive<f64>) -> Claim {
    let holds = exponent.is_in(&range);
    let claim = within(claim, exponent.mean, range);
    let expected = format!("{}, with its whole interval", claim.expected);
    Claim { expected, measured: exponent.to_string(), holds, ..claim }
}

impl Shown<'_> {
    pub fn family(&self, start: Start, state: State) -> Family<'_> {
        let rows = self.rows.iter().filter(|row| row.layer.is_none() && row.start == start);
        Family { rows: rows.filter(|row| state.holds(row)).collect() }
    }

    pub fn claims(&self) -> Vec<Claim> {
        let mut claims = Vec::new();
        for state in State::ALL {
            claims.extend(Start::ALL.map(|start| self.regime_claim(start, state)));
        }
        for state in [State::Trained, State::Penalised] {
            for start in Start::ALL {
                claims.push(
                    self.exponent_claim(start, state, "r₂", bend, |row| row.second_difference),
                );
                let name = "N max ‖θ_{n+1} − θ_n‖";
                let value = |row: &Row| row.scaled_increment;
                claims.push(self.exponent_claim(start, state, name, steepness, value));
                let name = "the H¹ seminorm (N Σ ‖θ_n − θ_{n−1}‖²)^½";
                claims.push(self.exponent_claim(start, state, name, steepness, |row| row.seminorm));
            }
        }
        claims.push(self.kept());
        claims.extend(self.losses());
        claims
    }

    fn regime_claim(&self, start: Start, state: State) -> Claim {
        let family = self.family(start, state);
        let expected = regime(start, state);
        let because = match state {
            State::Before => String::new(),
            _ => format!(" ({})", reason(start, state)),
        };
        let claim = format!(
            "{} start, {}: the regime of every seed's networks{because}",
            start.name(),
            state.name()
        );
        let holds = family.share(expected) == 1.0;
        Claim { claim, expected: expected.to_string(), measured: family.regimes(), holds }
    }

    fn exponent_claim(
        &self,
        start: Start,
        state: State,
        name: &str,
        theory: fn(Start, State) -> f64,
        value: impl Fn(&Row) -> f64,
    ) -> Claim {
        let expected = theory(start, state);
        let claim = format!(
            "{} start, {}: exponent in N of {name}, near {} in theory",
            start.name(),
            state.name(),
            significant(expected),
        );
        let exponent = self.family(start, state).exponent(value);
        lies(claim, exponent, expected - CLOSE..=expected + CLOSE)
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
        let loss = |row: &Row| row.loss;
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
            claims.push(lies(claim, self.family(start, state).exponent(loss), -CLOSE..=CLOSE));
        }
        let end = |start, state, value: fn(&Row) -> f64| self.family(start, state).deepest(value);
        claims.push(within(
            "trained with the penalty: both starts reach the same loss; that of the independent by that of \
             the smooth start, deepest networks",
            end(Start::Independent, State::Penalised, loss)
                / end(Start::Smooth, State::Penalised, loss),
            0.5..=2.0,
        ));
        let objective: fn(&Row) -> f64 = |row| row.loss + row.penalty;
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
