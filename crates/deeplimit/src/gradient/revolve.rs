//! Binomial checkpointing: where to keep states when only so many can be kept (Griewank 1992;
//! Griewank, Walther 2000, "revolve").
//!
//! To reverse l steps from a kept state with s slots, its own included, one walks m steps, keeps
//! that state, reverses the l − m steps behind it with s − 1 slots, and then the first m with s:
//!
//! ```text
//! t(l, s) = min_m m + t(m, s) + t(l − m, s − 1),   t(1, s) = 0
//!         = r l − β(s + 1, r − 1),   β(s, r) = C(s + r, s),   β(s, r − 1) < l ≤ β(s, r)
//! ```
//!
//! β(s, r) steps can be reversed with s slots where no step is walked more than r times.
//!
//! The way forward of a flow ends at x_N, because the loss stands between it and the way back. The
//! loss is therefore the last of l = N + 1 steps, the only one whose turn comes at once. All N steps
//! are then linearised once each: t(N + 1, s) + N evaluations of the step altogether, which is the
//! fewest for s states between the ways (a test proves it against all places to keep them).

/// How many of `steps` steps to walk from a kept state before the next one is kept; `slots` counts
/// the kept state.
///
/// Every m with β(s, r−2) ≤ m ≤ β(s, r−1) and β(s−1, r−1) ≤ l − m ≤ β(s−1, r) is optimal; this is
/// the largest of them.
pub(super) fn stride(steps: usize, slots: usize) -> usize {
    debug_assert!(steps > 1 && slots > 0, "{steps} steps, {slots} slots");
    let slots = slots.min(steps);
    let (mut repeats, mut reach, mut before) = (0, 1, 1);
    while reach < steps {
        repeats += 1;
        before = reach;
        reach = reach * (slots + repeats) / repeats;
    }
    // β(s−1, r−1), from β(s, r−1).
    let rest = before * slots / (slots + repeats - 1);
    before.min(steps - rest)
}

/// t(l, s): how many steps are walked to reverse so many, with so many slots, the first state's included.
pub(super) fn walked(steps: usize, slots: usize) -> u128 {
    debug_assert!(steps > 0 && slots > 0, "{steps} steps, {slots} slots");
    let (steps, slots) = (steps as u128, slots.min(steps) as u128);
    let (mut repeats, mut reach) = (0, 1);
    while reach < steps {
        repeats += 1;
        reach = reach * (slots + repeats) / repeats;
    }
    // β(s + 1, r − 1), from β(s, r).
    repeats * steps - reach * repeats / (slots + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const STEPS: usize = 61;
    const SLOTS: usize = 8;

    /// t(l, s) by its recursion, over every m; `[s][l]`.
    fn least() -> Vec<Vec<usize>> {
        let mut least = vec![vec![usize::MAX / 4; STEPS + 1]; SLOTS + 1];
        least.iter_mut().for_each(|row| row[1] = 0);
        for slots in 1..=SLOTS {
            for steps in 2..=STEPS {
                let cost = |m: usize| m + least[slots][m] + least[slots - 1][steps - m];
                least[slots][steps] = (1..steps).map(cost).min().expect("a place");
            }
        }
        least
    }

    /// The steps walked by this schedule.
    fn scheduled(steps: usize, slots: usize) -> usize {
        if steps == 1 {
            return 0;
        }
        let m = stride(steps, slots);
        m + scheduled(m, slots) + scheduled(steps - m, slots - 1)
    }

    #[test]
    fn the_schedule_walks_the_fewest_steps_which_are_those_of_the_formula() {
        let least = least();
        for (slots, least) in least.iter().enumerate().skip(1) {
            for (steps, least) in least.iter().enumerate().skip(1) {
                let what = format!("{steps} steps, {slots} slots");
                assert_eq!(*least as u128, walked(steps, slots), "{what}: the formula");
                assert_eq!(*least, scheduled(steps, slots), "{what}: the schedule");
            }
        }
    }

    /// Between the ways any states may be kept: x_0, then either no more, or one after m steps.
    #[test]
    fn no_other_choice_of_states_before_the_loss_needs_fewer_steps_than_the_loss_as_last_step() {
        let least = least();
        let mut again = vec![vec![usize::MAX / 4; STEPS]; SLOTS + 1]; // walked on the way back
        for slots in 1..=SLOTS {
            for steps in 1..STEPS {
                let next = |m: usize| least[slots][m] + again[slots - 1][steps - m];
                let kept = (1..steps).map(next).min();
                again[slots][steps] = kept.unwrap_or(usize::MAX).min(least[slots][steps]);
                let whole = steps + again[slots][steps];
                assert_eq!(whole, least[slots][steps + 1], "{steps} steps, {slots} slots");
            }
        }
    }

    #[test]
    fn deep_flows_do_not_overflow() {
        for (steps, slots) in [(1 << 30, 1 << 30), (1 << 30, 30), (1_000_000, 3)] {
            let m = stride(steps, slots);
            assert!((1..steps).contains(&m), "{steps} steps, {slots} slots: {m}");
            assert!(walked(steps, slots) >= steps as u128 - 1, "{steps} steps, {slots} slots");
        }
    }
}
