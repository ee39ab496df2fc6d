//! Networks of n layers, the variables in which their penalty is a plain square, and their objective.

use super::minimise::Objective;
use super::problem::{Form, Problem, Readout};
use super::walk::Walk;
use crate::Rows;
use crate::control::Control;
use crate::kernel::sums::dot;
use crate::kernel::vector::add_scaled;
use crate::seed::{derive, normal};
use std::ops::Range;

/// A network: the control (K_i, b_i), i = 0 … n − 1, and the readout (W, c).
#[derive(Clone, Debug, PartialEq)]
pub struct Network {
    /// K and b at the nodes s_i = i/n.
    pub control: Control<f64>,
    /// W and c.
    pub readout: Readout,
}

impl Network {
    /// Independent normal numbers: K and W of size 1, b and c of size 0.3.
    pub fn random(problem: &Problem, layers: usize, seed: u64) -> Self {
        let draw = |part: u64, size: f64, count: usize| -> Vec<f64> {
            let seed = derive(seed, part);
            (0..count as u64).map(|index| size * normal(seed, index)).collect()
        };
        let (kinds, outputs) = (problem.kinds(), problem.outputs());
        let values =
            vec![draw(0, 1.0, layers * kinds[0].len()), draw(1, 0.3, layers * kinds[1].len())];
        let matrix = draw(2, 1.0, outputs * problem.layer().width);
        let readout = Readout { matrix, offset: draw(3, 0.3, outputs) };
        Self { control: Control::new(kinds, layers, values), readout }
    }

    /// n.
    pub fn layers(&self) -> usize {
        self.control.nodes()
    }

    /// With another number of layers: K and b interpolated linearly between the nodes, and constant
    /// after the last.
    pub fn prolonged(&self, layers: usize) -> Self {
        let kinds = self.control.kinds();
        let mut values: Vec<Vec<f64>> = vec![Vec::new(); kinds.len()];
        for node in 0..layers {
            let all = self.control.read(node * self.layers(), layers);
            let mut rest = &all[..];
            for (kind, values) in kinds.iter().zip(&mut values) {
                let own;
                (own, rest) = rest.split_at(kind.len());
                values.extend(own);
            }
        }
        let control = Control::new(kinds.to_vec(), layers, values);
        Self { control, readout: self.readout.clone() }
    }

    /// n Σ_{i≥1} ‖θ_i − θ_{i−1}‖² over K and b: ∫ ‖θ'‖² ds of the control that is affine between the nodes.
    pub fn steepness(&self) -> f64 {
        let kinds = self.control.kinds().iter().zip(self.control.values());
        let squares = kinds.flat_map(|(kind, values)| {
            values.iter().zip(&values[kind.len()..]).map(|(a, b)| (b - a).powi(2))
        });
        self.layers() as f64 * squares.sum::<f64>()
    }
}

/// The parts of the objective at a point.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Energy {
    /// (1/S) Σ ‖g(W x + c) − y‖².
    pub misfit: f64,
    /// The penalty of K and b.
    pub control: f64,
    /// a₃ ‖W‖² + a₄ ‖c‖².
    pub readout: f64,
}

impl Energy {
    /// The objective, their sum.
    pub fn total(&self) -> f64 {
        self.misfit + self.control + self.readout
    }
}

/// The objective E_n of the networks of n layers.
///
/// Its variables, all in one vector: of K and then of b, for the smooth form, √τ θ_0 and
/// √n (θ_i − θ_{i−1}), for weight decay θ_i/√n; then W and c. The penalty of the control is a₁ (of b: a₂)
/// times the square of their norm, so that minimisers need about as many iterations at any n; in θ itself
/// the smooth form has a condition number of order n².
#[derive(Clone, Copy, Debug)]
pub struct Discrete<'p> {
    problem: &'p Problem,
    layers: usize,
}

impl<'p> Discrete<'p> {
    /// For networks of `layers` layers.
    ///
    /// # Panics
    /// If `layers` is zero.
    pub fn new(problem: &'p Problem, layers: usize) -> Self {
        assert!(layers > 0, "a network has at least one layer");
        Self { problem, layers }
    }

    /// The variables of a network.
    ///
    /// # Panics
    /// If it has another number of layers.
    pub fn variables(&self, network: &Network) -> Vec<f64> {
        assert_eq!(network.layers(), self.layers, "a network of {} layers", self.layers);
        let mut all = Vec::new();
        for (kind, values) in network.control.kinds().iter().zip(network.control.values()) {
            match self.scales() {
                Scales::Increments { first, rest } => {
                    all.extend(values[..kind.len()].iter().map(|v| first * v));
                    let pairs = values.iter().zip(&values[kind.len()..]);
                    all.extend(pairs.map(|(a, b)| rest * (b - a)));
                }
                Scales::Values(scale) => all.extend(values.iter().map(|v| scale * v)),
            }
        }
        all.extend(&network.readout.matrix);
        all.extend(&network.readout.offset);
        all
    }

    /// The network of some variables.
    ///
    /// # Panics
    /// If their number is wrong.
    pub fn network(&self, variables: &[f64]) -> Network {
        let kinds = self.problem.kinds();
        let mut rest = variables;
        let mut take = |count: usize| {
            let own;
            (own, rest) = rest.split_at(count);
            own.to_vec()
        };
        let mut values = Vec::new();
        for kind in &kinds {
            let mut own = take(self.layers * kind.len());
            match self.scales() {
                Scales::Increments { first, rest } => {
                    own[..kind.len()].iter_mut().for_each(|v| *v /= first);
                    for index in kind.len()..own.len() {
                        own[index] = own[index - kind.len()] + own[index] / rest;
                    }
                }
                Scales::Values(scale) => own.iter_mut().for_each(|v| *v /= scale),
            }
            values.push(own);
        }
        let outputs = self.problem.outputs();
        let matrix = take(outputs * self.problem.layer().width);
        let readout = Readout { matrix, offset: take(outputs) };
        assert!(rest.is_empty(), "{} variables are too many", variables.len());
        Network { control: Control::new(kinds, self.layers, values), readout }
    }

    fn scales(&self) -> Scales {
        let root = (self.layers as f64).sqrt();
        match self.problem.penalty().form {
            Form::Smooth { tau } => Scales::Increments { first: tau.sqrt(), rest: root },
            Form::Decay => Scales::Values(1.0 / root),
        }
    }

    /// The objective of a network.
    ///
    /// # Panics
    /// If it has another number of layers.
    pub fn energy(&self, network: &Network) -> Energy {
        let walk = Walk::network(self.problem.layer(), network.control.clone());
        let end = walk.end(self.problem.inputs());
        Energy {
            misfit: self.problem.misfit(&end, &network.readout).0,
            control: self.control_penalty(&self.variables(network)),
            readout: self.problem.readout_penalty(&network.readout),
        }
    }

    /// The penalty of K and b.
    fn control_penalty(&self, variables: &[f64]) -> f64 {
        self.parts().map(|(part, a)| a * dot(&variables[part.clone()], &variables[part])).sum()
    }

    /// Where the variables of K and of b are, and the factor of their square.
    fn parts(&self) -> impl Iterator<Item = (Range<usize>, f64)> {
        let mut end = 0;
        let factors = self.problem.penalty().factors();
        self.problem.kinds().into_iter().zip(factors).map(move |(kind, a)| {
            let start = end;
            end += self.layers * kind.len();
            (start..end, a)
        })
    }

    /// The gradient in the variables from that in K, b, W and c.
    fn pulled_back(&self, gradient: Control<f64>, readout: Readout) -> Vec<f64> {
        let mut all = Vec::new();
        let lengths: Vec<usize> = gradient.kinds().iter().map(|kind| kind.len()).collect();
        for (length, mut own) in lengths.into_iter().zip(gradient.into_values()) {
            match self.scales() {
                Scales::Increments { first, rest } => {
                    for index in (length..own.len()).rev() {
                        own[index - length] += own[index];
                        own[index] /= rest;
                    }
                    own[..length].iter_mut().for_each(|v| *v /= first);
                }
                Scales::Values(scale) => own.iter_mut().for_each(|v| *v /= scale),
            }
            all.extend(own);
        }
        all.extend(readout.matrix);
        all.extend(readout.offset);
        all
    }
}

/// How variables come from the control.
enum Scales {
    /// The first value and the increments, each times a factor.
    Increments { first: f64, rest: f64 },
    /// The values times a factor.
    Values(f64),
}

impl Objective for Discrete<'_> {
    fn energy_and_gradient(&self, variables: &[f64]) -> (f64, Vec<f64>) {
        let Network { control, readout } = self.network(variables);
        let walk = Walk::network(self.problem.layer(), control);
        let turn = |end: &Rows<f64>| {
            let (misfit, end_bar, readout_bar) = self.problem.misfit(end, &readout);
            ((misfit, readout_bar), end_bar)
        };
        let ((misfit, mut readout_bar), gradient) =
            walk.there_and_back(self.problem.inputs(), turn, None);
        self.problem.add_readout_slope(&readout, &mut readout_bar);
        let mut gradient = self.pulled_back(gradient, readout_bar);
        for (part, a) in self.parts() {
            add_scaled(&mut gradient[part.clone()], 2.0 * a, &variables[part]);
        }
        let penalties = self.control_penalty(variables) + self.problem.readout_penalty(&readout);
        (misfit + penalties, gradient)
    }
}
