//! Predictors of the increment Φ_n from the increments of the deeper layers n+1, n+2, …

use crate::State;
use std::collections::VecDeque;

/// How the increment of a layer is guessed before the layer is evaluated.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Predictor {
    /// No guess: the step with −h is the start.
    None,
    /// Extrapolation of order k: ĝ = Σ_{j=1..k} (−1)^{j+1} C(k,j) o_{n+j}, the polynomial through
    /// the k deeper increments. Needs the last k states of the way forward.
    Extrapolation(usize),
    /// Least squares fitted on the way back, on K backward differences of the deeper increments,
    /// one scalar each, with exponential forgetting: adapts to how smooth the weights are.
    Learned(usize),
}

/// Weight of the past in the learned fit.
const FORGETTING: f64 = 0.8;

/// The history of increments on the way back, and the guess from it.
pub(super) struct Prediction<S> {
    kind: Predictor,
    /// o_{n+1}, o_{n+2}, …
    history: VecDeque<S>,
    /// r_1, r_2, …: backward differences of the history.
    differences: Vec<S>,
    ridge: f64,
    gram: Vec<Vec<f64>>,
    moments: Vec<f64>,
    fitted: bool,
}

impl<S: State> Prediction<S> {
    /// No history yet. The fit's ridge stands above the rounding of the states.
    pub fn new(kind: Predictor, like: &S, single_precision: bool) -> Self {
        let size = if let Predictor::Learned(size) = kind { size } else { 0 };
        Self {
            kind,
            history: VecDeque::new(),
            differences: (0..size).map(|_| like.scratch()).collect(),
            ridge: if single_precision { 1e-6 } else { 1e-10 },
            gram: vec![vec![0.0; size]; size],
            moments: vec![0.0; size],
            fitted: false,
        }
    }

    /// Writes y + factor ĝ with the guess ĝ for the next layer, which is zero as long as nothing is
    /// known.
    pub fn guess(&mut self, out: &mut S, y: &S, factor: f64) {
        let mut combine = |terms: &[(f64, &S)]| out.set_combination(y, factor, terms);
        match self.kind {
            Predictor::Extrapolation(order) => {
                let order = order.min(self.history.len());
                combine(&extrapolation(order, self.history.iter()));
            }
            Predictor::Learned(_) if self.fitted => {
                let weights = ridge_solution(&self.gram, &self.moments, self.ridge);
                combine(&weights.into_iter().zip(&self.differences).collect::<Vec<_>>());
            }
            Predictor::Learned(_) => match self.history.front() {
                Some(newest) => combine(&[(1.0, newest)]),
                None => combine(&[]),
            },
            Predictor::None => combine(&[]),
        }
    }

    /// The terms of the guess for the next layer, as they will be when `increment` is learnt; none where
    /// only learning tells them.
    pub fn next_terms<'s>(&'s self, increment: &'s S) -> Option<Vec<(f64, &'s S)>> {
        let Predictor::Extrapolation(order) = self.kind else { return None };
        let order = order.min(self.history.len() + 1);
        Some(extrapolation(order, std::iter::once(increment).chain(&self.history)))
    }

    /// Takes the increment of the layer just guessed, and may leave any state in its place.
    pub fn learn(&mut self, increment: &mut S) {
        let keep = match self.kind {
            Predictor::None => return,
            Predictor::Extrapolation(order) => order,
            Predictor::Learned(size) => {
                if self.history.len() == size {
                    self.fit(increment);
                }
                size
            }
        };
        if keep == 0 {
            return;
        }
        let mut slot = if self.history.len() == keep {
            self.history.pop_back().expect("a full history is not empty")
        } else {
            increment.scratch()
        };
        std::mem::swap(&mut slot, increment);
        self.history.push_front(slot);
        if self.history.len() == keep {
            self.difference();
        }
    }

    /// Adds the layer's equation Σ c_i r_i ≈ o to the fit.
    fn fit(&mut self, increment: &S) {
        for i in 0..self.differences.len() {
            for j in 0..=i {
                let product = self.differences[i].dot(&self.differences[j]);
                self.gram[i][j] = FORGETTING * self.gram[i][j] + product;
                self.gram[j][i] = self.gram[i][j];
            }
            let product = self.differences[i].dot(increment);
            self.moments[i] = FORGETTING * self.moments[i] + product;
        }
        self.fitted = true;
    }

    /// r_{i+1} = ∇^i o_{n+1} = Σ_j (−1)^j C(i,j) o_{n+1+j}.
    fn difference(&mut self) {
        for (i, difference) in self.differences.iter_mut().enumerate() {
            let mut weight = 1.0;
            difference.copy_from(&self.history[0]);
            for j in 1..=i {
                weight *= -((i + 1 - j) as f64) / j as f64;
                difference.add_scaled(weight, &self.history[j]);
            }
        }
    }
}

/// The increments of the deeper layers, nearest first, with the weights (−1)^{j+1} C(order, j).
fn extrapolation<'s, S>(order: usize, deeper: impl Iterator<Item = &'s S>) -> Vec<(f64, &'s S)> {
    let mut weight = -1.0;
    let terms = (1..=order).zip(deeper).map(|(j, deeper)| {
        weight *= -((order + 1 - j) as f64) / j as f64;
        (weight, deeper)
    });
    terms.collect()
}

/// c = (A + ρ diag A)⁻¹ b by elimination; an unknown whose pivot vanishes is set to 0.
fn ridge_solution(gram: &[Vec<f64>], moments: &[f64], ridge: f64) -> Vec<f64> {
    let size = moments.len();
    let mut a = gram.to_vec();
    let mut b = moments.to_vec();
    for (i, row) in a.iter_mut().enumerate() {
        row[i] *= 1.0 + ridge;
    }
    for pivot in 0..size {
        for row in pivot + 1..size {
            let (above, below) = a.split_at_mut(row);
            let (above, below) = (&above[pivot][pivot..], &mut below[0][pivot..]);
            let factor = if above[0] > 0.0 { below[0] / above[0] } else { 0.0 };
            below.iter_mut().zip(above).for_each(|(value, above)| *value -= factor * above);
            b[row] -= factor * b[pivot];
        }
    }
    let mut solution = vec![0.0; size];
    for row in (0..size).rev() {
        let known: f64 = (row + 1..size).map(|column| a[row][column] * solution[column]).sum();
        if a[row][row] > 0.0 {
            solution[row] = (b[row] - known) / a[row][row];
        }
    }
    solution
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Rows;

    fn sample(f: impl Fn(f64) -> f64, s: f64) -> Rows<f64> {
        Rows::from_fn(1, 3, |_, column| f(s) * (column as f64 + 1.0))
    }

    #[test]
    fn extrapolation_of_order_k_is_exact_on_polynomials_of_degree_below_k() {
        for order in 1..=4 {
            let f = |s: f64| 1.0 + s.powi(order as i32 - 1);
            let mut prediction =
                Prediction::new(Predictor::Extrapolation(order), &sample(f, 0.0), false);
            for n in (1..=order).rev() {
                prediction.learn(&mut sample(f, n as f64));
            }
            let mut guess = sample(f, 0.0).scratch();
            let mut zero = guess.scratch();
            zero.set_zero();
            prediction.guess(&mut guess, &zero, 1.0);
            let error = guess.distance_squared(&sample(f, 0.0)).sqrt();
            assert!(error < 1e-10, "order {order}: {error}");
        }
    }

    #[test]
    fn the_next_guess_is_known_before_its_increment_is_learnt() {
        for order in 0..=3 {
            let mut prediction =
                Prediction::new(Predictor::Extrapolation(order), &sample(|_| 0.0, 0.0), false);
            let y = sample(f64::cos, 0.3);
            for n in (0..6).rev() {
                let mut increment = sample(f64::sin, f64::from(n));
                let (mut before, mut after) = (y.scratch(), y.scratch());
                let terms = prediction.next_terms(&increment).expect("an extrapolation's");
                before.set_combination(&y, 0.5, &terms);
                prediction.learn(&mut increment);
                prediction.guess(&mut after, &y, 0.5);
                assert_eq!(before, after, "order {order}, layer {n}");
            }
        }
    }

    #[test]
    fn the_learned_predictor_finds_alternation_and_straight_lines() {
        let cases: [fn(f64) -> f64; 2] = [|s| if s % 2.0 == 0.0 { 1.0 } else { -1.0 }, |s| 3.0 * s];
        for f in cases {
            let mut prediction = Prediction::new(Predictor::Learned(2), &sample(f, 0.0), false);
            for n in (1..12).rev() {
                prediction.learn(&mut sample(f, f64::from(n)));
            }
            let mut guess = sample(f, 0.0).scratch();
            let mut zero = guess.scratch();
            zero.set_zero();
            prediction.guess(&mut guess, &zero, 1.0);
            let error = guess.distance_squared(&sample(f, 0.0)).sqrt();
            assert!(error < 1e-6, "{error}");
        }
    }

    #[test]
    fn constant_increments_do_not_make_the_fit_singular() {
        let mut prediction = Prediction::new(Predictor::Learned(2), &sample(|_| 1.0, 0.0), false);
        for _ in 0..5 {
            prediction.learn(&mut sample(|_| 2.0, 0.0));
        }
        let mut guess = sample(|_| 0.0, 0.0);
        let zero = guess.clone();
        prediction.guess(&mut guess, &zero, 1.0);
        assert!(guess.distance_squared(&sample(|_| 2.0, 0.0)).sqrt() < 1e-8);
    }
}
