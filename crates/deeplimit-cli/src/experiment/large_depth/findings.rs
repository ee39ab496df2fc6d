//! What the trainings show.

use super::{RATE, Row, Start, TOLERANCE};
use crate::experiment::{Seeds, least, most};
use crate::page::{Claim, significant};
use deeplimit::limit::Slope;

/// Rates are fitted from this depth on; below, terms of higher order show.
const FIT_FROM: usize = 8;

/// GD time to which the steepness of smooth weights and their distance to the limit are held against theory.
/// The bounds hold for all N at any time, but grow with time: later the fronts that form are thinner than
/// a layer of the networks measured here.
pub const EARLY: f64 = 3.2;

/// How far a memory-free training may be from backprop's, in tolerances of its gradients: their errors
/// add up over the steps.
const GAP: f64 = 10.0 * TOLERANCE;

/// The rows, and what was asked for.
#[derive(Clone, Copy)]
pub struct Shown<'a> {
    pub rows: &'a [Row],
    pub seeds: Seeds,
    /// The repetition that is looked at.
    pub run: usize,
    /// The least depth that was trained with memory-free gradients too; the one that is pictured.
    pub repeated: usize,
    /// Depth of the reference.
    pub deepest: usize,
}

pub type Value = fn(&Row) -> Option<f64>;

impl Shown<'_> {
    pub fn of<'s>(&'s self, part: &'s str, start: Start) -> impl Iterator<Item = &'s Row> {
        let is =
            move |row: &&Row| row.run == self.run && row.part == part && row.start == start.name();
        self.rows.iter().filter(is)
    }

    /// What is found for every seed.
    pub fn each<T>(&self, value: impl Fn(Self) -> T) -> Vec<T> {
        (0..self.seeds.count as usize).map(|run| value(Self { run, ..*self })).collect()
    }

    /// The recorded steps of the trainings, in order.
    fn steps(&self) -> Vec<usize> {
        let mut steps: Vec<usize> =
            self.of("training", Start::Smooth).map(|row| row.step).collect();
        steps.sort_unstable();
        steps.dedup();
        steps
    }

    pub fn last_step(&self) -> usize {
        self.steps().last().copied().unwrap_or(0)
    }

    /// (depth, value) of the trainings at one step; NaN where it is lost.
    pub fn over_depth(&self, start: Start, step: usize, value: Value) -> Vec<(f64, f64)> {
        let rows = self.of("training", start).filter(|row| row.step == step);
        rows.map(|row| (row.depth as f64, value(row).unwrap_or(f64::NAN))).collect()
    }

    /// (time, value) of one depth.
    pub fn over_time(
        &self,
        part: &str,
        start: Start,
        depth: usize,
        value: Value,
    ) -> Vec<(f64, f64)> {
        let rows = self.of(part, start).filter(|row| row.depth == depth);
        rows.filter_map(|row| Some((row.time, value(row)?))).collect()
    }

    pub fn depths(&self, part: &str) -> Vec<usize> {
        let mut depths: Vec<usize> = self.of(part, Start::Smooth).map(|row| row.depth).collect();
        depths.dedup();
        depths
    }

    /// The exponent in N of a value at one step.
    pub fn rate(&self, start: Start, step: usize, value: Value) -> f64 {
        let points = self.over_depth(start, step, value);
        let points: Vec<_> = points.into_iter().filter(|(n, _)| *n >= FIT_FROM as f64).collect();
        Slope::fit(&points).value
    }

    /// The exponents at the recorded steps to a time, but the first, which is before training: the least
    /// and the greatest.
    pub fn rates(&self, start: Start, until: f64, value: Value) -> (f64, f64) {
        let steps: Vec<usize> = self.steps();
        let steps = steps.iter().skip(1).filter(|step| RATE * **step as f64 <= until);
        let rates: Vec<f64> = steps.map(|step| self.rate(start, *step, value)).collect();
        (least(rates.iter().copied()), most(rates))
    }

    /// The exponent in N at the last step of the three deepest networks.
    pub fn deepest_rate(&self, start: Start, value: Value) -> f64 {
        let points = self.over_depth(start, self.last_step(), value);
        Slope::fit(&points[points.len().saturating_sub(3)..]).value
    }

    pub fn claims(&self) -> Vec<Claim> {
        use Start::{Independent, Smooth};
        let mut claims = self.limits();
        claims.extend(self.steepness());
        for (start, range) in [(Smooth, -1.25..=-0.75), (Independent, -1.6..=-0.7)] {
            claims.push(self.seeds.each(
                format!(
                    "{} start: after training the network is at a distance of order 1/N from the ODE \
                     that interpolates its layers' functions, {}; exponent",
                    start.name(),
                    match start {
                        Smooth => "max ‖x_n − x(s_n)‖",
                        Independent => "as any bounded weights are (averaging)",
                    }
                ),
                &self.each(|own| own.rate(start, own.last_step(), |row| row.ode_function)),
                range,
            ));
        }
        claims.push(self.seeds.each(
            "smooth start: the same for the ODE whose weights interpolate the layers'; exponent",
            &self.each(|own| own.rate(Smooth, own.last_step(), |row| row.ode_weight)),
            -1.25..=-0.75,
        ));
        claims.push(self.seeds.each(
            "independent start: to the ODE whose weights interpolate the layers' it does not come nearer \
             (averaging is of functions, not of weights); exponent",
            &self.each(|own| own.rate(Independent, own.last_step(), |row| row.ode_weight)),
            -0.3..=0.3,
        ));
        for start in Start::ALL {
            let gap = |own: Self| {
                most(own.of("repeated", start).map(|row| row.repeated_gap.unwrap_or(f64::NAN)))
            };
            claims.push(self.seeds.each(
                format!(
                    "{} start, N ≥ {}: trained with adjoint-adaptive at tolerance {} the weights stay \
                     with backprop's at all times; largest distance by the way they went",
                    start.name(),
                    self.repeated,
                    significant(TOLERANCE),
                ),
                &self.each(gap),
                0.0..=GAP,
            ));
        }
        claims.extend(self.long_claims());
        claims
    }

    /// That smooth starts have limits as functions of depth, and independent ones none.
    fn limits(&self) -> Vec<Claim> {
        use Start::{Independent, Smooth};
        let mut claims = Vec::new();
        let largest: Value = |row| row.distance_largest;
        let measures: [(&str, Value); 2] = [
            ("max over depth", largest),
            ("at the layers' own depths", |row| row.distance_at_layers),
        ];
        for (name, value) in measures {
            for (which, end) in [("steepest", 0), ("flattest", 1)] {
                let rate = |own: Self| {
                    let (least, greatest) = own.rates(Smooth, EARLY, value);
                    [least, greatest][end]
                };
                claims.push(self.seeds.each(
                    format!(
                        "smooth start: the weights' distance to those of the reference, {name}, falls like \
                         1/N at every recorded time to t = {EARLY} (observed; Sander, Ablin, Peyré 2022, \
                         section 3, prove it for linear residual functions and a small loss at the start); \
                         {which} exponent"
                    ),
                    &self.each(rate),
                    -1.15..=-0.85,
                ));
            }
        }
        claims.push(self.seeds.each(
            "smooth start: and to the end of training, max over depth; flattest exponent",
            &self.each(|own| own.rates(Smooth, f64::INFINITY, largest).1),
            -1.5..=-0.6,
        ));
        claims.push(self.seeds.each(
            "smooth start: the same in L² over depth, where the constant piece after the last layer adds \
             N^(−3/2), at the end of training; exponent",
            &self.each(|own| own.rate(Smooth, own.last_step(), |row| row.distance_mean)),
            -1.6..=-0.75,
        ));
        claims.push(self.seeds.each(
            "independent start: the weights have no limit as functions of depth; exponent of their \
             distance at the end",
            &self.each(|own| own.rate(Independent, own.last_step(), largest)),
            -0.25..=0.25,
        ));
        claims
    }

    fn steepness(&self) -> Vec<Claim> {
        use Start::{Independent, Smooth};
        let steep: Value = |row| row.scaled_increment;
        let farthest = |own: Self| {
            let (least, greatest) = own.rates(Smooth, EARLY, steep);
            if least.abs() > greatest.abs() { least } else { greatest }
        };
        let last = |own: Self| own.rate(Smooth, own.last_step(), steep);
        vec![
            self.seeds.each(
                format!(
                    "smooth start: N max ‖θ_{{n+1}} − θ_n‖ is bounded uniformly in N at every recorded time \
                     to t = {EARLY} (Marion, Wu, Sander, Biau 2023, for finite times); exponent farthest \
                     from 0"
                ),
                &self.each(farthest),
                -0.1..=0.1,
            ),
            self.seeds.each(
                "smooth start: at the end of training it grows slower with N than from an independent start \
                 (observed: the bound grows with time); exponent",
                &self.each(last),
                -0.25..=0.75,
            ),
            self.seeds.each(
                "and the slower, the deeper: exponent over the three deepest less that over all, at the end",
                &self.each(|own| own.deepest_rate(Smooth, steep) - last(own)),
                f64::NEG_INFINITY..=0.05,
            ),
            self.seeds.each(
                "independent start: N max ‖θ_{n+1} − θ_n‖ grows like N; exponent at the end",
                &self.each(|own| own.rate(Independent, own.last_step(), steep)),
                0.75..=1.25,
            ),
        ]
    }

    /// The share of the loss that a long run leaves, the exponent of the largest steepness of all times,
    /// and how many times that of the first sixteenth of the time it is: the largest of all depths.
    pub fn long_run(&self, start: Start) -> [f64; 3] {
        let (mut left, mut peaks, mut growth) = (Vec::new(), Vec::new(), Vec::new());
        for depth in self.depths("long") {
            let losses = self.over_time("long", start, depth, |row| row.loss);
            let steep = self.over_time("long", start, depth, |row| row.scaled_increment);
            let ends = |points: &[(f64, f64)]| points[points.len() - 1].1 / points[0].1;
            left.push(ends(&losses));
            let end = steep[steep.len() - 1].0;
            let early = steep.iter().filter(|(time, _)| *time <= end / 16.0);
            let early = most(early.map(|point| point.1));
            let whole = most(steep.iter().map(|point| point.1));
            growth.push(whole / early);
            peaks.push((depth as f64, whole));
        }
        [most(left), Slope::fit(&peaks).value, most(growth)]
    }

    fn long_claims(&self) -> [Claim; 3] {
        let found = |start, which: usize| self.each(|own| own.long_run(start)[which]);
        [
            self.seeds.each(
                "long run, smooth start: the loss goes to nearly zero at every depth; share of it that \
                 is left",
                &found(Start::Smooth, 0),
                0.0..=1e-3,
            ),
            self.seeds.each(
                "long run, smooth start: the largest N max ‖θ_{n+1} − θ_n‖ of all times grows slower with N \
                 than the 1 of an independent start (observed; that it is bounded is proved for linear \
                 residual functions with a small loss at the start, and for two-matrix ones under a \
                 Polyak–Łojasiewicz condition, and is not claimed here); exponent in N",
                &found(Start::Smooth, 1),
                -0.25..=0.85,
            ),
            self.seeds.each(
                "long run, independent start: it grows like N; exponent in N",
                &found(Start::Independent, 1),
                0.85..=1.25,
            ),
        ]
    }
}
