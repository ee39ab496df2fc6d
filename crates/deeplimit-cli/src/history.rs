//! The lines of a run, in memory that does not grow with its steps.
//!
//! Of a run of many steps groups of neighbours are held, of 2^k steps each. Of a group are held its first
//! line, and those that are lowest or highest in what is drawn with its peaks; what is counted is counted over
//! all steps.

use crate::metrics::{EpochLine, Line, StepLine};

/// Groups that are held: while there are no more steps, all lines are.
const MOST: usize = 1024;

/// What has been recorded of a run.
#[derive(Clone, Debug, Default)]
pub struct History {
    groups: Vec<Group>,
    /// Steps of a whole group; the last may have fewer.
    width: usize,
    last: Option<StepLine>,
    counts: Counts,
    epochs: Vec<EpochLine>,
}

/// What is counted over all steps.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Counts {
    /// Steps.
    pub steps: usize,
    /// Steps whose certificate estimates an error, or that were walked again.
    pub inexact: usize,
    /// Steps at which the reconstruction did not contract in some layer.
    pub stalled: usize,
    /// The first of them.
    pub first_stalled: Option<usize>,
    /// Layers, summed over the steps, at which it did not.
    pub stalled_layers: usize,
    /// Steps whose estimate is not finite.
    pub broken: usize,
    /// Steps in which layers were walked again.
    pub again: usize,
    /// Their shares of the layers, added up.
    pub again_shares: f64,
}

impl Counts {
    fn take(&mut self, line: &StepLine) {
        let estimate = line.error_estimate();
        self.steps += 1;
        self.inexact += usize::from(estimate != 0.0 || line.again != 0.0);
        if line.stalled > 0 {
            self.stalled += 1;
            self.first_stalled.get_or_insert(line.step);
            self.stalled_layers += line.stalled;
        }
        self.broken += usize::from(!estimate.is_finite());
        if line.again > 0.0 {
            self.again += 1;
            self.again_shares += line.again;
        }
    }

    /// Mean share of the layers that were walked again.
    pub fn again_share(&self) -> f64 {
        self.again_shares / self.steps.max(1) as f64
    }
}

/// What is drawn with its peaks, or told at its largest.
const WATCHED: [fn(&StepLine) -> f64; 6] = [
    |line| line.loss,
    |line| line.gradient_norm,
    |line| line.state_error,
    |line| line.defect,
    |line| line.kink.unwrap_or(f64::NAN),
    StepLine::error_estimate,
];

/// The lines that are held of neighbouring steps; the first is that of the first step.
#[derive(Clone, Debug)]
struct Group(Vec<StepLine>);

impl Group {
    /// The group of both, which are neighbours.
    fn join(self, next: Self) -> Self {
        let mut lines = self.0;
        lines.extend(next.0);
        let mut held = vec![false; lines.len()];
        held[0] = true;
        for value in WATCHED {
            let finite = || (0..lines.len()).filter(|place| value(&lines[*place]).is_finite());
            let by_value = |a: &usize, b: &usize| value(&lines[*a]).total_cmp(&value(&lines[*b]));
            for place in finite().min_by(by_value).into_iter().chain(finite().max_by(by_value)) {
                held[place] = true;
            }
        }
        let mut held = held.into_iter();
        lines.retain(|_| held.next() == Some(true));
        Self(lines)
    }
}

impl History {
    /// Takes in the next line.
    pub fn push(&mut self, line: Line) {
        match line {
            Line::Epoch(line) => self.epochs.push(line),
            Line::Step(line) => {
                let width = self.width.max(1);
                let group = Group(vec![line.clone()]);
                match self.groups.pop_if(|_| !self.counts.steps.is_multiple_of(width)) {
                    Some(open) => self.groups.push(open.join(group)),
                    None => self.groups.push(group),
                }
                self.counts.take(&line);
                self.last = Some(line);
                self.width = width;
                if self.groups.len() > MOST {
                    self.halve();
                }
            }
        }
    }

    /// Makes one group of two.
    fn halve(&mut self) {
        let mut groups = std::mem::take(&mut self.groups).into_iter();
        while let Some(group) = groups.next() {
            self.groups.push(match groups.next() {
                Some(next) => group.join(next),
                None => group,
            });
        }
        self.width *= 2;
    }

    /// The lines of steps that are held, in their order; the last is among them.
    pub fn steps(&self) -> impl Iterator<Item = &StepLine> {
        let held = self.groups.iter().flat_map(|group| &group.0);
        let shown = held.clone().next_back().map(|line| line.step);
        held.chain(self.last.as_ref().filter(move |last| Some(last.step) != shown))
    }

    /// Lines at even distances: the first of each group.
    pub fn typical(&self) -> impl Iterator<Item = &StepLine> {
        self.groups.iter().map(|group| &group.0[0])
    }

    /// The line of the last step.
    pub fn last_step(&self) -> Option<&StepLine> {
        self.last.as_ref()
    }

    /// The lines of epochs.
    pub fn epochs(&self) -> &[EpochLine] {
        &self.epochs
    }

    /// What is counted over all steps.
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// Seconds of training at the last line.
    pub fn seconds(&self) -> f64 {
        let step = self.last.as_ref().map(|line| (line.step, line.seconds));
        let epoch = self.epochs.last().map(|line| (line.step, line.seconds));
        match (step, epoch) {
            (Some(step), Some(epoch)) if step.0 > epoch.0 => step.1,
            // The line of an epoch comes after that of its last step.
            (_, Some(epoch)) => epoch.1,
            (step, None) => step.map_or(0.0, |step| step.1),
        }
    }
}

impl FromIterator<Line> for History {
    fn from_iter<I: IntoIterator<Item = Line>>(lines: I) -> Self {
        let mut history = Self::default();
        lines.into_iter().for_each(|line| history.push(line));
        history
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::step;

    fn of(steps: usize, line: impl Fn(usize) -> StepLine) -> History {
        (1..=steps).map(|step| Line::Step(line(step))).collect()
    }

    #[test]
    fn while_there_are_few_steps_all_lines_are_held() {
        for steps in [1, 2, 1023, 1024] {
            let history = of(steps, step);
            let held: Vec<usize> = history.steps().map(|line| line.step).collect();
            assert_eq!(held, (1..=steps).collect::<Vec<_>>());
            assert_eq!(history.typical().count(), steps);
        }
    }

    #[test]
    fn of_many_steps_no_more_lines_are_held_than_of_some() {
        let noisy = |n: usize| {
            let noise = |part: usize| ((n * 7919 + part * 104_729) % 1009) as f64;
            let (loss, gradient_norm) = (noise(1), noise(2));
            let (state_error, defect) = (noise(3), noise(4));
            StepLine { loss, gradient_norm, state_error, defect, kink: Some(noise(5)), ..step(n) }
        };
        for steps in [5_000, 200_000] {
            let held = of(steps, noisy).steps().count();
            assert!((1024..=12 * 1024).contains(&held), "{held} lines of {steps} steps");
        }
    }

    #[test]
    fn peaks_ends_and_counts_are_those_of_all_steps() {
        let line = |n: usize| {
            let plain = step(n);
            match n {
                7_001 => StepLine { loss: 50.0, ..plain },
                7_002 => StepLine { loss: -50.0, ..plain },
                7_003 => StepLine { loss: f64::NAN, ..plain },
                9_500 => StepLine { defect: 3.0, stalled: 2, again: 0.25, ..plain },
                9_501 => StepLine { defect: f64::NAN, stalled: 1, ..plain },
                _ => plain,
            }
        };
        let history = of(12_345, line);
        let held: Vec<usize> = history.steps().map(|line| line.step).collect();
        for kept in [1, 7_001, 7_002, 9_500, 12_345] {
            assert!(held.contains(&kept), "{kept}");
        }
        assert!(held.is_sorted());
        assert_eq!(history.last_step().map(|line| line.step), Some(12_345));
        let apart: Vec<usize> = history.typical().map(|line| line.step).collect();
        assert!(apart.windows(2).all(|pair| pair[1] - pair[0] == 16), "at even distances");
        let expected = Counts {
            steps: 12_345,
            inexact: 12_345,
            stalled: 2,
            first_stalled: Some(9_500),
            stalled_layers: 3,
            broken: 1,
            again: 1,
            again_shares: 0.25,
        };
        assert_eq!(*history.counts(), expected);
    }
}
