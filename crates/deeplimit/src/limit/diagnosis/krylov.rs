//! Extreme eigenvalues and singular values of Jacobians without their matrices, by the iterations of
//! Lanczos (1950) and Arnoldi (1951), all samples of a batch at once.
//!
//! What they give lies within the true extremes: estimates from below of norms, which a dozen steps
//! bring to a relative error of some 10⁻³ or better (Kuczyński, Woźniakowski 1992: the error after k
//! steps is at most of order (log(width)/k)², and far smaller where the extremes stand apart).

use super::Diagnosed;
use super::parts::{add_each, dots, inverses, norms, scale_each};
use crate::control::Position;
use crate::seed::normal;
use crate::{Rows, State};

/// One layer's function, linearised at the states of a batch.
pub(super) struct Local<'f, F: Diagnosed> {
    field: &'f F,
    position: Position,
    x: Rows<f64>,
    state: F::State,
    tape: F::Tape,
    /// Tape and output of evaluations beside x.
    beside: (F::Tape, F::State),
    /// Distance of those evaluations from x, a part.
    reach: Vec<f64>,
}

impl<'f, F: Diagnosed> Local<'f, F> {
    pub(super) fn new(field: &'f F, node: usize, x: &Rows<f64>) -> Self {
        let state = F::state(x.clone());
        let (mut tape, mut out) = (field.tape(&state), state.scratch());
        let position = Position::node(node);
        field.linearize(position, &state, &mut out, &mut tape);
        let beside = (field.tape(&state), out);
        let reach = reach::<F>(x);
        Self { field, position, x: x.clone(), state, tape, beside, reach }
    }

    /// J v by central differences. Their error is about 1e-9 of ‖J‖‖v‖ where the field is smooth;
    /// across a kink they average its two sides.
    pub(super) fn apply(&mut self, v: &Rows<f64>) -> Rows<f64> {
        let Self { field, position, x, beside: (tape, out), reach, .. } = self;
        let f = |x: Rows<f64>| {
            field.eval(*position, &F::state(x), out, tape);
            F::rows(out.clone())
        };
        directional::<F>(f, x, v, reach)
    }

    /// Jᵀ v.
    pub(super) fn transpose(&mut self, v: &Rows<f64>) -> Rows<f64> {
        let mut bar = self.state.scratch();
        bar.set_zero();
        let v = F::state(v.clone());
        self.field.pull_back(self.position, &self.state, &mut self.tape, &v, &mut bar, None);
        F::rows(bar)
    }

    /// ‖J‖₂ of each part.
    pub(super) fn spectral_norms(&mut self, steps: usize) -> Vec<f64> {
        let start = self.start();
        let ritz = lanczos(start, steps, F::SAMPLES_MEET, |v| {
            let image = self.apply(v);
            self.transpose(&image)
        });
        ritz.iter().map(|ritz| ritz.largest().max(0.0).sqrt()).collect()
    }

    /// The largest and the smallest eigenvalue of (J + Jᵀ)/2 of each part.
    pub(super) fn field_of_values(&mut self, steps: usize) -> Vec<[f64; 2]> {
        let start = self.start();
        let ritz = lanczos(start, steps, F::SAMPLES_MEET, |v| {
            let (mut sum, transposed) = (self.apply(v), self.transpose(v));
            sum.add_scaled(1.0, &transposed);
            sum.scale(0.5);
            sum
        });
        ritz.iter().map(|ritz| [ritz.largest(), -ritz.negative().largest()]).collect()
    }

    /// Directions without a preference.
    fn start(&self) -> Rows<f64> {
        let rows = self.x.rows();
        Rows::from_fn(rows, self.x.width(), |row, column| normal(5, (row + column * rows) as u64))
    }
}

/// How far from x a central difference looks: 1e-5 where x has entries of size 1. Its square, and
/// rounding over it, then are both some 1e-10.
pub(super) fn reach<F: Diagnosed>(x: &Rows<f64>) -> Vec<f64> {
    let parts = norms(x, F::SAMPLES_MEET);
    let entries = x.columns().len() as f64 / parts.len().max(1) as f64;
    parts.into_iter().map(|norm| 1e-5 * (norm / entries.sqrt()).max(1.0)).collect()
}

/// (f(x + ε v) − f(x − ε v))/(2 ε) with ε‖v‖ = `reach` in each part.
pub(super) fn directional<F: Diagnosed>(
    mut f: impl FnMut(Rows<f64>) -> Rows<f64>,
    x: &Rows<f64>,
    v: &Rows<f64>,
    reach: &[f64],
) -> Rows<f64> {
    let inverse = inverses(&norms(v, F::SAMPLES_MEET));
    let steps: Vec<f64> =
        inverse.iter().zip(reach).map(|(inverse, reach)| inverse * reach).collect();
    let [mut ahead, mut behind] = [x.clone(), x.clone()];
    add_each(&mut ahead, &steps, v);
    add_each(&mut behind, &steps.iter().map(|step| -step).collect::<Vec<_>>(), v);
    let (mut change, behind) = (f(ahead), f(behind));
    change.add_scaled(-1.0, &behind);
    scale_each(&mut change, &inverses(&steps.iter().map(|step| 2.0 * step).collect::<Vec<_>>()));
    change
}

/// The tridiagonal matrix of a Lanczos iteration.
#[derive(Clone, Debug, Default)]
pub(super) struct Ritz {
    diagonal: Vec<f64>,
    /// Beside the diagonal; one fewer.
    beside: Vec<f64>,
}

impl Ritz {
    /// The largest eigenvalue, by bisection with Sturm's count of the eigenvalues above a number.
    fn largest(&self) -> f64 {
        let size = |n: usize| self.beside.get(n).map_or(0.0, |b| b.abs());
        let rows = self.diagonal.iter().enumerate();
        let bounds = rows.map(|(n, a)| (a, size(n) + n.checked_sub(1).map_or(0.0, size)));
        let (mut low, mut high) = (f64::NEG_INFINITY, f64::NEG_INFINITY);
        for (a, reach) in bounds {
            low = low.max(*a); // An eigenvalue lies at or above every diagonal entry.
            high = high.max(a + reach);
        }
        if !(high - low).is_finite() {
            return high;
        }
        for _ in 0..60 {
            let middle = low + (high - low) / 2.0;
            if self.is_above(middle) { low = middle } else { high = middle }
        }
        high
    }

    /// Whether an eigenvalue lies above x: whether a pivot of T − x is positive.
    fn is_above(&self, x: f64) -> bool {
        let mut pivot = f64::INFINITY;
        for (n, a) in self.diagonal.iter().enumerate() {
            let beside = n.checked_sub(1).map_or(0.0, |n| self.beside[n]);
            pivot = a - x - beside * beside / pivot;
            if pivot > 0.0 {
                return true;
            }
            if pivot == 0.0 {
                pivot = -f64::MIN_POSITIVE;
            }
        }
        false
    }

    fn negative(&self) -> Self {
        Self { diagonal: self.diagonal.iter().map(|a| -a).collect(), beside: self.beside.clone() }
    }
}

/// So many steps of the Lanczos iteration on a symmetric map of each part, every direction made
/// orthogonal to all before. A part whose directions are used up stops earlier.
pub(super) fn lanczos(
    start: Rows<f64>,
    steps: usize,
    together: bool,
    mut map: impl FnMut(&Rows<f64>) -> Rows<f64>,
) -> Vec<Ritz> {
    let mut v = start;
    let inverse = inverses(&norms(&v, together));
    scale_each(&mut v, &inverse);
    let mut found = vec![Ritz::default(); inverse.len()];
    let mut open = vec![true; inverse.len()];
    let mut basis: Vec<Rows<f64>> = Vec::with_capacity(steps);
    for step in 0..steps {
        let mut image = map(&v);
        let diagonal = dots(&image, &v, together);
        basis.push(v);
        // Twice, because rounding leaves some of the first time (Parlett's "twice is enough").
        for _ in 0..2 {
            for direction in &basis {
                let along = dots(&image, direction, together);
                let back: Vec<f64> = along.iter().map(|along| -along).collect();
                add_each(&mut image, &back, direction);
            }
        }
        let beside = norms(&image, together);
        for (part, ritz) in found.iter_mut().enumerate() {
            if !open[part] {
                continue;
            }
            ritz.diagonal.push(diagonal[part]);
            let size = ritz.diagonal.iter().chain(&ritz.beside).fold(0.0f64, |m, v| m.max(v.abs()));
            // Rounding of a map by central differences is some 1e-9 of its size.
            if beside[part] <= 1e-8 * size || step + 1 == steps {
                open[part] = false;
            } else {
                ritz.beside.push(beside[part]);
            }
        }
        if !open.iter().any(|open| *open) {
            break;
        }
        let factors = inverses(&beside).into_iter().zip(&open);
        let factors: Vec<f64> = factors.map(|(f, open)| if *open { f } else { 0.0 }).collect();
        scale_each(&mut image, &factors);
        v = image;
    }
    found
}

/// The Hessenberg matrix, row by row, of so many Arnoldi steps of a map of one part: its eigenvalues
/// approach the outermost ones of the map.
pub(super) fn arnoldi(
    start: Rows<f64>,
    steps: usize,
    mut map: impl FnMut(&Rows<f64>) -> Rows<f64>,
) -> (usize, Vec<f64>) {
    let mut v = start;
    v.scale(1.0 / v.norm_squared().sqrt());
    let (mut basis, mut columns): (Vec<Rows<f64>>, Vec<Vec<f64>>) = (Vec::new(), Vec::new());
    let mut size = 0.0f64;
    for _ in 0..steps {
        let mut image = map(&v);
        size = size.max(image.norm_squared().sqrt());
        basis.push(v);
        let mut column = vec![0.0; basis.len()];
        for _ in 0..2 {
            for (entry, direction) in column.iter_mut().zip(&basis) {
                let along = image.dot(direction);
                *entry += along;
                image.add_scaled(-along, direction);
            }
        }
        let rest = image.norm_squared().sqrt();
        column.push(rest);
        columns.push(column);
        if rest <= 1e-8 * size {
            break;
        }
        image.scale(1.0 / rest);
        v = image;
    }
    let count = columns.len();
    let entry = |row: usize, column: usize| columns[column].get(row).copied().unwrap_or(0.0);
    (count, (0..count * count).map(|i| entry(i / count, i % count)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::{Control, Family};
    use crate::field::{Conv, ConvBn, ConvBnLayer, Mlp, Order, Stacked};
    use crate::kernel::{Activation, Image};
    use crate::limit::Jacobian;

    /// Diagonal matrices, a sample each.
    fn diagonal(entries: &[[f64; 3]]) -> impl FnMut(&Rows<f64>) -> Rows<f64> {
        move |v| Rows::from_fn(v.rows(), 3, |row, column| entries[row][column] * v.at(row, column))
    }

    #[test]
    fn ritz_values_of_small_matrices_are_their_eigenvalues_and_each_part_has_its_own() {
        let entries = [[3.0, -5.0, 1.0], [-2.0, -2.0, -2.0], [-1.0, -7.0, -4.0], [0.0, 0.0, 0.0]];
        let start = Rows::from_fn(4, 3, |row, column| 1.0 + 0.1 * (row + column) as f64);
        let found = lanczos(start, 8, false, diagonal(&entries));
        for (ritz, [largest, smallest]) in
            found.iter().zip([[3.0, -5.0], [-2.0, -2.0], [-1.0, -7.0], [0.0, 0.0]])
        {
            assert!((ritz.largest() - largest).abs() < 1e-12, "{ritz:?}");
            assert!((-ritz.negative().largest() - smallest).abs() < 1e-12, "{ritz:?}");
        }
    }

    #[test]
    fn a_batch_together_is_one_part() {
        let entries = [[3.0, -5.0, 1.0], [-2.0, -2.0, 4.0]];
        let start = Rows::from_fn(2, 3, |row, column| 1.0 + 0.1 * (row + 2 * column) as f64);
        let found = lanczos(start, 8, true, diagonal(&entries));
        assert_eq!(found.len(), 1);
        assert!((found[0].largest() - 4.0).abs() < 1e-12, "{found:?}");
    }

    #[test]
    fn norms_without_matrices_are_those_of_the_jacobians() {
        let field = Stacked::<f64, _>::rough(
            Mlp { width: 9, hidden: 14, activation: Activation::Tanh },
            3,
            2,
        );
        let x = Rows::from_fn(5, 9, |row, column| ((row * 9 + column) as f64).sin());
        let mut local = Local::new(&field, 1, &x);
        // As many steps as there are directions: nothing is left but the differences' 1e-9.
        let (norms, values) = (local.spectral_norms(9), local.field_of_values(9));
        let jacobians = Jacobian::of(&field, Position::node(1), &x);
        for ((jacobian, norm), [up, down]) in jacobians.iter().zip(norms).zip(values) {
            assert!((norm / jacobian.spectral_norm() - 1.0).abs() < 1e-7);
            assert!((up - jacobian.logarithmic_norm(1.0)).abs() < 1e-7);
            assert!((-down - jacobian.logarithmic_norm(-1.0)).abs() < 1e-7);
        }
    }

    #[test]
    fn a_dozen_steps_are_within_a_percent_on_a_wide_layer() {
        let image = Image { height: 6, width: 6 };
        let layer = Conv::new(3, 4, image, Activation::Gelu);
        let field = Stacked::<f64, _>::smooth(layer, 4, 3);
        let x = Rows::from_fn(3, 108, |row, column| ((row * 108 + column) as f64).sin());
        let mut local = Local::new(&field, 2, &x);
        let jacobians = Jacobian::of(&field, Position::node(2), &x);
        for (jacobian, norm) in jacobians.iter().zip(local.spectral_norms(12)) {
            let ratio = norm / jacobian.spectral_norm();
            assert!((0.99..1.000_001).contains(&ratio), "{ratio}");
        }
    }

    /// Of a batch normalisation the transposed Jacobian must fit the differences, too.
    #[test]
    fn pull_backs_repeat_and_fit_the_differences_where_samples_meet() {
        let image = Image { height: 3, width: 3 };
        let layer = ConvBnLayer {
            channels: 2,
            hidden: 3,
            image,
            activation: Activation::Tanh,
            order: Order::Post,
        };
        let kinds = layer.kinds();
        let control = Control::random(kinds, 3, Family::Smooth, 4);
        let field = ConvBn::new(layer, control);
        let numbers = |seed: f64| {
            Rows::from_fn(20, 18, move |row, column| ((row * 18 + column) as f64 * seed).sin())
        };
        let (x, v, w) = (numbers(1.1), numbers(0.7), numbers(0.3));
        let mut local = Local::new(&field, 1, &x);
        for _ in 0..2 {
            let there = local.apply(&v).dot(&w);
            let back = local.transpose(&w).dot(&v);
            assert!((there - back).abs() < 1e-6 * (1.0 + there.abs()), "{there} {back}");
        }
        // Shifting a whole batch changes nothing after a normalisation but for the padding; a norm
        // of the whole batch is at least that of any direction in it.
        let norm = local.spectral_norms(12)[0];
        let stretch = local.apply(&v).norm_squared().sqrt() / v.norm_squared().sqrt();
        assert!(norm >= stretch, "{norm} {stretch}");
    }

    #[test]
    fn arnoldi_keeps_the_spectrum_of_a_map_it_has_exhausted() {
        let start = Rows::from_fn(1, 3, |_, column| 1.0 + column as f64);
        let (count, values) = arnoldi(start, 10, diagonal(&[[3.0, -5.0, 1.0]]));
        assert_eq!(count, 3);
        let trace: f64 = values.iter().step_by(4).sum();
        assert!((trace + 1.0).abs() < 1e-12, "{values:?}");
    }
}
