//! A budget of memory, and the plan that keeps to it.
//!
//! The budget is of all that the gradient of the flows needs beyond the parameters and their gradient:
//! the batch's x_0, x_N and their cotangents, tapes, and scratch space of all tiles that threads have in
//! their hands. [`Footprint`] tells what a method needs; a [`Planner`] looks for the least expected time
//! among all that fits,
//!
//! ```text
//! cost · slowness(tile),   cost = evaluations + 2 pull-backs, of all layers
//! ```
//!
//! | method | cost, times the stages of the scheme |
//! |---|---|
//! | backprop | 3 |
//! | checkpoint with k slots | 3 + t(N + 1, k)/N: 4 where all states fit (see [`revolve`]) |
//! | adjoint with m evaluations a layer | 3 + m; until a tolerance is met, typically 4.5 |
//! | reversible | that of its inverse |
//!
//! On equal terms the exact method is taken, and the larger tile. Checkpoints get as many slots as fit, an
//! adjoint √N anchors or the number nearest to it that fits. Smaller tiles hold less at a time. They are
//! taken to be slower by a twentieth for each halving, as weights serve fewer samples, and below 16
//! samples, where vector registers are not full, by 16 over their number. These and the 4.5 are estimates:
//! they decide between methods, not whether one fits.

mod bytes;

pub use bytes::{BadBudget, Budget};

use super::footprint::{Footprint, Phases, root};
use super::{Adjoint, Backprop, Checkpoint, Method, Reversible, Sweeps, revolve};
use serde::{Serialize, Serializer};
use std::fmt::{self, Display};
use std::num::NonZeroUsize;

/// Which methods a plan may choose from. Flows on a scheme with an exact inverse are walked back by
/// `reversible`, whatever is wished.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Wish {
    /// Whichever is fastest: backprop, checkpoints, or this adjoint.
    Any(Adjoint),
    /// The family of a method, with its number of slots or anchors fitted to the budget.
    Family(Method),
}

/// How one flow is walked.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Choice {
    /// The gradient method.
    #[serde(serialize_with = "as_text")]
    pub method: Method,
    /// Samples of a tile; none where that is the field's own choice, or the batch goes whole.
    pub tile: Option<usize>,
}

fn as_text<S: Serializer>(method: &Method, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&told(method))
}

/// A method in a few words.
fn told(method: &Method) -> String {
    let many = |count: usize, what: &str| {
        if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
    };
    match method {
        Method::Checkpoint(Checkpoint { slots: Some(slots), .. }) => {
            format!("checkpoint with {}", many(slots.get(), "slot"))
        }
        Method::Adjoint(Adjoint { anchors: Some(anchors), .. }) => {
            format!("{} with {}", method.name(), many(*anchors, "anchor"))
        }
        _ => method.name().to_owned(),
    }
}

impl Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&told(&self.method))?;
        match self.tile {
            None => Ok(()),
            Some(1) => f.write_str(", tiles of 1 sample"),
            Some(samples) => write!(f, ", tiles of {samples} samples"),
        }
    }
}

/// Methods and tiles that keep to a budget.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Plan {
    /// The budget.
    pub budget: Budget,
    /// One a flow.
    pub choices: Vec<Choice>,
    /// Bytes that are never exceeded.
    pub bytes: usize,
    /// Expected cost of the gradient in evaluations of all layers, a pull-back counted as 2: the mean over
    /// the flows, weighted by their steps.
    pub cost_units: f64,
    /// Why these, in a few words.
    pub reason: String,
}

/// What is picked, what it takes and why, on one line.
impl Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut choices: Vec<String> = self.choices.iter().map(Choice::to_string).collect();
        choices.dedup();
        let (budget, most) = (self.budget, Budget(self.bytes));
        write!(
            f,
            "{}: at most {most} of {budget}, cost {:.2} ({})",
            choices.join("; then "),
            self.cost_units,
            self.reason
        )
    }
}

/// No method keeps to the budget.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error(
    "{budget} is too small a memory budget{family}; the least possible is {} bytes ({}), by {choice}",
    least.0,
    least
)]
pub struct TooSmall {
    /// What was asked.
    pub budget: Budget,
    /// What is possible.
    pub least: Budget,
    /// Of which methods.
    pub family: String,
    /// How.
    pub choice: String,
}

/// What there is to plan: flows one after the other.
#[derive(Clone, Debug)]
pub struct Planner {
    /// The sizes of each flow, first to last.
    pub flows: Vec<Footprint>,
    /// Whether the last flow goes there and back in one sweep ([`Flow::gradient`](crate::Flow::gradient));
    /// the others are recorded for the whole batch, before any is pulled back.
    pub sweeps: bool,
    /// Bytes that are there all the time besides, such as states between the flows.
    pub around: usize,
    /// Most bytes that are asked for while no flow is walked, but recorded ones keep theirs.
    pub between: usize,
    /// Threads that walk tiles.
    pub threads: usize,
}

/// What is weighed against others.
struct Candidate {
    /// Halvings of the tiles.
    tiling: usize,
    methods: Vec<Method>,
    bytes: usize,
}

/// Samples that fill the widest vector registers.
const LANES: f64 = 16.0;

/// What a halving of the tile costs while registers stay full.
const HALVING: f64 = 0.05;

/// Evaluations that a layer typically gets where they go on until a tolerance is met.
const UNTIL_WITHIN: f64 = 1.5;

impl Planner {
    /// The fastest way that keeps to a budget.
    ///
    /// # Errors
    /// If there is none; the error names the least budget that there is one for.
    ///
    /// # Panics
    /// If there is no flow.
    pub fn plan(&self, wish: Wish, budget: Budget) -> Result<Plan, TooSmall> {
        let tilings = self.flows.iter().map(|flow| flow.tilings.len()).max().expect("a flow");
        let mut best: Option<(f64, Candidate)> = None;
        let mut least: Option<Candidate> = None;
        // The first of each family tells, for the reason, what it costs where its own tiles are used.
        let mut seen = Vec::new();
        for tiling in 0..tilings {
            for family in families(wish) {
                let smallest = self.smallest(tiling, family);
                let found = self.fitting(tiling, family, budget);
                if tiling == 0 {
                    let bytes = found.as_ref().map_or(smallest.bytes, |found| found.bytes);
                    let shown = found.as_ref().unwrap_or(&smallest);
                    seen.push((self.cost(shown), shown.methods.clone(), bytes));
                }
                if least.as_ref().is_none_or(|least| smallest.bytes < least.bytes) {
                    least = Some(smallest);
                }
                let Some(found) = found else { continue };
                let time = self.cost(&found) * self.slowness(tiling);
                if best.as_ref().is_none_or(|(least, _)| time < *least) {
                    best = Some((time, found));
                }
            }
        }
        let least = least.expect("a family and a tiling");
        let Some((_, found)) = best else {
            return Err(TooSmall {
                budget,
                least: Budget(least.bytes),
                family: match wish {
                    Wish::Any(_) => String::new(),
                    Wish::Family(method) => format!(" for {}", method.name()),
                },
                choice: joined(&self.choices(&least)),
            });
        };
        let others = seen.iter().filter(|(_, methods, _)| !same_family(methods, &found.methods));
        let others: Vec<String> = others
            .map(|(cost, methods, bytes)| {
                let methods: Vec<String> = methods.iter().map(told).collect();
                let (what, bytes) = (shortest(methods), Budget(*bytes));
                if bytes > budget {
                    format!("{what} would take {bytes}")
                } else {
                    format!("{what} would cost {cost:.2}")
                }
            })
            .collect();
        let reason = match wish {
            Wish::Family(method) => format!("{} was asked for", method.name()),
            Wish::Any(_) if others.is_empty() => "it is the only method here".to_owned(),
            Wish::Any(_) => others.join(", "),
        };
        Ok(Plan {
            budget,
            choices: self.choices(&found),
            bytes: found.bytes,
            cost_units: self.cost(&found),
            reason,
        })
    }

    /// Bytes that a gradient takes at most with the same method in every flow, on the fields' own tiles.
    pub fn bytes(&self, method: &Method) -> usize {
        self.peak(0, &vec![*method; self.flows.len()])
    }

    /// The candidate of a family that takes the least.
    fn smallest(&self, tiling: usize, family: Method) -> Candidate {
        let all: Box<dyn Iterator<Item = usize>> = match family {
            Method::Adjoint(_) => Box::new(1..=self.deepest()),
            _ => Box::new(std::iter::once(1)),
        };
        let candidates = all.map(|count| self.candidate(tiling, family, count));
        candidates.min_by_key(|candidate| candidate.bytes).expect("a count")
    }

    /// The best candidate of a family that fits.
    fn fitting(&self, tiling: usize, family: Method, budget: Budget) -> Option<Candidate> {
        let of = |count: usize| {
            Some(self.candidate(tiling, family, count)).filter(|found| found.bytes <= budget.0)
        };
        let deepest = self.deepest();
        match family {
            Method::Backprop(_) | Method::Reversible(_) => of(1),
            Method::Checkpoint(_) => {
                // The more slots, the more memory: the last count that fits, by bisection.
                let (mut fits, mut beyond) = (0, deepest + 1);
                while beyond - fits > 1 {
                    let middle = fits + (beyond - fits) / 2;
                    if of(middle).is_some() { fits = middle } else { beyond = middle }
                }
                if fits == 0 { None } else { of(fits) }
            }
            Method::Adjoint(_) => {
                let middle = root(deepest);
                let near = (0..deepest).flat_map(|away| {
                    [middle.checked_sub(away), (away > 0).then_some(middle + away)]
                });
                near.flatten().filter(|count| (1..=deepest).contains(count)).find_map(of)
            }
        }
    }

    /// A family with so many slots or anchors in the deepest flow, and as many for their depth in others.
    fn candidate(&self, tiling: usize, family: Method, count: usize) -> Candidate {
        let share = count as f64 / self.deepest() as f64;
        let methods: Vec<Method> = self
            .flows
            .iter()
            .map(|flow| {
                let count = ((flow.steps as f64 * share).round() as usize).clamp(1, flow.steps);
                match family {
                    _ if flow.reversible.is_some() => Method::Reversible(Reversible),
                    Method::Checkpoint(_) => Method::Checkpoint(Checkpoint {
                        segments: None,
                        slots: NonZeroUsize::new(count),
                    }),
                    Method::Adjoint(adjoint) => {
                        Method::Adjoint(Adjoint { anchors: Some(count), ..adjoint })
                    }
                    other => other,
                }
            })
            .collect();
        let bytes = self.peak(tiling, &methods);
        Candidate { tiling, methods, bytes }
    }

    /// The most bytes there are at a time: recorded flows one after the other, the last one, and back.
    fn peak(&self, tiling: usize, methods: &[Method]) -> usize {
        let flows = self.flows.iter().zip(methods);
        let phases: Vec<Phases> = flows
            .map(|(flow, method)| flow.phases(at(flow, tiling), method, self.threads))
            .collect();
        let scratch: usize = phases.iter().map(|phases| phases.scratch).sum();
        let (last, earlier) = phases.split_last().expect("a flow");
        let (mut kept, mut most) = (0, 0);
        for phases in earlier {
            most = most.max(kept + phases.record).max(kept + phases.back);
            kept += phases.kept;
        }
        // A sweep leaves its memory for the next gradient, when earlier flows are recorded again.
        let (own, spare) =
            if self.sweeps { (last.sweep, last.spare) } else { (last.record.max(last.back), 0) };
        let walked = (most + spare).max(kept + own);
        self.around + scratch + PASSING + walked.max(kept + spare + self.between)
    }

    fn deepest(&self) -> usize {
        self.flows.iter().map(|flow| flow.steps).max().expect("a flow")
    }

    fn choices(&self, candidate: &Candidate) -> Vec<Choice> {
        let flows = self.flows.iter().zip(&candidate.methods);
        let choice = |(flow, method): (&Footprint, &Method)| Choice {
            method: *method,
            tile: flow.tilings[at(flow, candidate.tiling)].samples,
        };
        flows.map(choice).collect()
    }

    /// Cost in evaluations of all layers.
    fn cost(&self, candidate: &Candidate) -> f64 {
        let weight = |flow: &Footprint| flow.steps as f64;
        let flows = self.flows.iter().zip(&candidate.methods);
        let sum: f64 = flows.map(|(flow, method)| weight(flow) * cost(flow, method)).sum();
        sum / self.flows.iter().map(weight).sum::<f64>()
    }

    /// How much longer than on the fields' own tiles it takes: the worst of the flows.
    fn slowness(&self, tiling: usize) -> f64 {
        let slowness = |flow: &Footprint| {
            let at = at(flow, tiling);
            let samples = flow.tilings[at].samples.map_or(LANES, |samples| samples as f64);
            let own = flow.tilings[0].samples.map_or(LANES, |samples| samples as f64);
            // Tiles that the field itself chooses, or the user, are as fast as can be.
            let empty = LANES.min(own) / LANES.min(samples);
            (1.0 + HALVING * at as f64) * empty
        };
        self.flows.iter().map(slowness).fold(1.0, f64::max)
    }
}

/// Bytes of what passes: jobs of the thread pool, vectors of a few numbers.
const PASSING: usize = 16 << 10;

/// The tiling of a flow after so many halvings, or its last one.
fn at(flow: &Footprint, halvings: usize) -> usize {
    halvings.min(flow.tilings.len() - 1)
}

/// The families to look through; exact ones first.
fn families(wish: Wish) -> Vec<Method> {
    match wish {
        Wish::Family(method) => vec![method],
        Wish::Any(adjoint) => vec![
            Method::Backprop(Backprop),
            Method::Checkpoint(Checkpoint::default()),
            Method::Adjoint(adjoint),
        ],
    }
}

/// Cost of a method in evaluations of all layers.
fn cost(flow: &Footprint, method: &Method) -> f64 {
    let steps = flow.steps as f64;
    let a_stage = match method {
        Method::Backprop(_) => 3.0,
        Method::Checkpoint(Checkpoint { slots: Some(slots), .. }) => {
            3.0 + revolve::walked(flow.steps + 1, slots.get()) as f64 / steps
        }
        Method::Checkpoint(_) => 4.0,
        Method::Adjoint(Adjoint { sweeps: Sweeps::Fixed(count), .. }) => 3.0 + *count as f64,
        Method::Adjoint(_) => 3.0 + UNTIL_WITHIN,
        Method::Reversible(_) => return flow.reversible.unwrap_or(0.0),
    };
    a_stage * flow.stages as f64
}

fn same_family(a: &[Method], b: &[Method]) -> bool {
    a.iter().zip(b).all(|(a, b)| std::mem::discriminant(a) == std::mem::discriminant(b))
}

fn joined(choices: &[Choice]) -> String {
    shortest(choices.iter().map(Choice::to_string).collect())
}

/// One after the other; alike neighbours once.
fn shortest(mut texts: Vec<String>) -> String {
    texts.dedup();
    texts.join("; then ")
}
