//! Minimisation from many starts: all of them descend, and the lowest places are gone to exactly.

use super::minimise::{Minimum, Objective, descend, minimise};
use rayon::prelude::*;

/// How many starts, and how exactly.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Effort {
    /// Starts.
    pub starts: u64,
    /// Different minima that are polished, the lowest first.
    pub kept: usize,
    /// 2-norm of the gradient at which a start's descent ends, and that of a polished minimum.
    pub tolerances: [f64; 2],
    /// Iterations of L-BFGS at most.
    pub iterations: u64,
}

/// What many starts have come to.
#[derive(Clone, Debug)]
pub struct Found {
    /// Different minima, the lowest first.
    pub minima: Vec<Minimum>,
    /// The energy that each start came to, before it was polished.
    pub energies: Vec<f64>,
}

impl Found {
    /// How many starts came to an energy, to a share of it.
    pub fn reached(&self, energy: f64, share: f64) -> usize {
        self.energies.iter().filter(|e| (**e - energy).abs() <= share * energy.abs()).count()
    }
}

/// The lowest minima from starts 0, 1, …, on all threads. Minima count as different where their energies
/// differ by more than the share `apart`.
pub fn lowest<O: Objective + Sync>(
    objective: &O,
    start: impl Fn(u64) -> Vec<f64> + Sync,
    effort: &Effort,
    apart: f64,
) -> Found {
    let [rough, exact] = effort.tolerances;
    let descended = |index: u64| descend(objective, &start(index), rough, effort.iterations);
    let mut ends: Vec<Minimum> = (0..effort.starts).into_par_iter().map(descended).collect();
    let energies: Vec<f64> = ends.iter().map(|end| end.energy).collect();
    ends.sort_by(|a, b| a.energy.total_cmp(&b.energy));
    ends.dedup_by(|next, kept| is_same(kept.energy, next.energy, apart));
    ends.truncate(effort.kept);
    let polish = |end: Minimum| minimise(objective, &end.variables, exact, effort.iterations);
    let mut minima: Vec<Minimum> = ends.into_par_iter().map(polish).collect();
    minima.sort_by(|a, b| a.energy.total_cmp(&b.energy));
    minima.dedup_by(|next, kept| is_same(kept.energy, next.energy, apart));
    Found { minima, energies }
}

fn is_same(a: f64, b: f64, apart: f64) -> bool {
    (a - b).abs() <= apart * a.abs()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// (u² − 1)² + u/10 in each of two variables: minima near ±1 of each, the lowest near (−1, −1).
    struct Wells;

    impl Objective for Wells {
        fn energy_and_gradient(&self, u: &[f64]) -> (f64, Vec<f64>) {
            let energy = u.iter().map(|u| (u * u - 1.0).powi(2) + 0.1 * u).sum();
            (energy, u.iter().map(|u| 4.0 * u * (u * u - 1.0) + 0.1).collect())
        }
    }

    #[test]
    fn the_lowest_of_several_minima_comes_first_and_is_exact() {
        let starts = [[0.9, 0.8], [0.7, -0.9], [-0.8, -0.9], [-1.1, -0.7], [-0.9, 1.0]];
        let effort = Effort { starts: 5, kept: 3, tolerances: [1e-4, 1e-12], iterations: 100 };
        let found = lowest(&Wells, |index| starts[index as usize].to_vec(), &effort, 1e-6);
        assert_eq!((found.minima.len(), found.energies.len()), (3, 5), "two of four are the same");
        let low = &found.minima[0];
        assert!(low.gradient_norm() <= 1e-12 && low.variables.iter().all(|u| *u < -1.0), "{low:?}");
        assert_eq!(found.reached(low.energy, 1e-6), 2);
        assert!(found.minima[2].variables.iter().all(|u| *u > 0.9));
        let one = lowest(
            &Wells,
            |index| starts[index as usize].to_vec(),
            &Effort { kept: 1, ..effort },
            1e-6,
        );
        assert_eq!(one.minima, found.minima[..1]);
    }
}
