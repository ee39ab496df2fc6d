//! Which taps of a window lie inside the image, along one axis.

use std::ops::Range;

/// Consecutive targets along one axis that see the same part of the window.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Run {
    pub target: usize,
    pub target_step: usize,
    pub count: usize,
    pub tap: usize,
    pub tap_step: usize,
    pub taps: usize,
    /// Source of the first target at the first tap.
    pub source: usize,
    pub source_per_tap: isize,
    pub source_per_target: usize,
}

impl Run {
    /// Which of its targets lie in a range.
    pub fn within(&self, range: &Range<usize>) -> Range<usize> {
        let before = |end: usize| end.saturating_sub(self.target).div_ceil(self.target_step);
        before(range.start).min(self.count)..before(range.end).min(self.count)
    }
}

/// One axis of a convolution.
#[derive(Clone, Copy)]
pub(super) struct Axis {
    pub length: usize,
    pub side: usize,
    pub stride: usize,
    pub padding: usize,
}

impl Axis {
    pub fn out(self) -> usize {
        (self.length + 2 * self.padding - self.side) / self.stride + 1
    }

    /// Targets are outputs, sources inputs: source = target · stride + tap − padding.
    pub fn forward(self) -> Vec<Run> {
        let Self { length, side, stride, padding } = self;
        let run = |target: usize| {
            let inside =
                |tap: &usize| (padding..padding + length).contains(&(target * stride + tap));
            let mut taps = (0..side).filter(inside);
            let tap = taps.next().unwrap_or(0);
            let count = (0..side).filter(inside).count();
            Run {
                target,
                target_step: 1,
                count: 1,
                tap,
                tap_step: 1,
                taps: count,
                source: (target * stride + tap).saturating_sub(padding),
                source_per_tap: 1,
                source_per_target: stride,
            }
        };
        grouped((0..self.out()).map(run))
    }

    /// Targets are inputs, sources outputs: source = (target + padding − tap) / stride.
    pub fn transposed(self) -> Vec<Run> {
        let Self { length, side, stride, padding } = self;
        let run = |target: usize| {
            let inside = |tap: &usize| {
                let at = (target + padding).checked_sub(*tap);
                at.is_some_and(|at| at % stride == 0 && at / stride < self.out())
            };
            let tap = (0..side).find(inside).unwrap_or(0);
            Run {
                target,
                target_step: stride,
                count: 1,
                tap,
                tap_step: stride,
                taps: (0..side).filter(inside).count(),
                source: (target + padding).saturating_sub(tap) / stride,
                source_per_tap: -1,
                source_per_target: 1,
            }
        };
        let phases =
            (0..stride).flat_map(|phase| grouped((phase..length).step_by(stride).map(run)));
        phases.collect()
    }
}

/// Joins neighbours that see the same taps.
fn grouped(runs: impl Iterator<Item = Run>) -> Vec<Run> {
    let mut groups: Vec<Run> = Vec::new();
    for run in runs {
        match groups.last_mut() {
            Some(last) if (last.tap, last.taps) == (run.tap, run.taps) => last.count += 1,
            _ => groups.push(run),
        }
    }
    groups
}
