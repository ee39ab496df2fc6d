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
    /// Whether Newton steps polish, too: where a gradient has no derivative they lead nowhere.
    pub newton: bool,
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
    /// How many starts ended within a relative `share` of an energy.
    pub fn reached(&self, energy: f64, share: f64) -> usize {
        self.energies.iter().filter(|e| is_same(energy, **e, share)).count()
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
    distinct(&mut ends, apart);
    ends.truncate(effort.kept);
    let polish = |end: Minimum| {
        let mut polished = match effort.newton {
            true => minimise(objective, &end.variables, exact, effort.iterations),
            false => descend(objective, &end.variables, exact, effort.iterations),
        };
        polished.evaluations += end.evaluations;
        polished
    };
    let mut minima: Vec<Minimum> = ends.into_par_iter().map(polish).collect();
    distinct(&mut minima, apart);
    Found { minima, energies }
}

/// Sorts minima, the lowest first, and leaves one of those that are the same.
fn distinct(minima: &mut Vec<Minimum>, apart: f64) {
    minima.sort_by(|a, b| a.energy.total_cmp(&b.energy));
    minima.dedup_by(|next, kept| is_same(kept.energy, next.energy, apart));
}

/// Whether an energy is `a`, to a share of it.
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

    const STARTS: [[f64; 2]; 5] =
        [[0.9, 0.8], [0.7, -0.9], [-0.8, -0.9], [-1.1, -0.7], [-0.9, 1.0]];

    const EFFORT: Effort =
        Effort { starts: 5, kept: 3, tolerances: [1e-4, 1e-12], iterations: 100, newton: true };

    fn found(effort: &Effort) -> Found {
        lowest(&Wells, |index| STARTS[index as usize].to_vec(), effort, 1e-6)
    }

    #[test]
    fn the_lowest_of_several_minima_comes_first_and_is_exact() {
        let all = found(&EFFORT);
        assert_eq!((all.minima.len(), all.energies.len()), (3, 5), "two of four are the same");
        let low = &all.minima[0];
        assert!(low.gradient_norm() <= 1e-12 && low.variables.iter().all(|u| *u < -1.0), "{low:?}");
        assert_eq!(all.reached(low.energy, 1e-6), 2);
        assert!(all.minima[2].variables.iter().all(|u| *u > 0.9));
        let one = found(&Effort { kept: 1, ..EFFORT });
        assert_eq!(one.minima, all.minima[..1]);
    }

    #[test]
    fn newton_steps_are_taken_where_they_are_asked_for() {
        // Without iterations nothing else moves.
        let still = Effort { kept: 1, iterations: 0, newton: false, ..EFFORT };
        let start = found(&still).minima.remove(0);
        assert_eq!((&start.variables[..], start.evaluations), (&STARTS[2][..], 2));
        let moved = found(&Effort { newton: true, ..still }).minima.remove(0);
        assert!(moved.gradient_norm() <= 1e-12 && moved.energy < start.energy, "{moved:?}");
    }
}
