//! Two-matrix residual networks under gradient descent, as their depth grows.
//!
//! ```text
//! x_{n+1} = x_n + (1/N) V_n tanh(W_n x_n),   ℓ = (1/S) Σ ‖x_N − y‖²
//! (W_n, V_n) ← (W_n, V_n) − η N ∂ℓ/∂(W_n, V_n)
//! ```
//!
//! Layers without biases; the learning rate carries the factor N, so that GD time t = η · steps means
//! the same at every depth. Sander, Ablin, Peyré (2022, section 3) prove for linear residual functions
//! that weights started smooth in depth stay so, and have a limit at rate 1/N, at all times, if the loss
//! at the start is small enough; Marion, Wu, Sander, Biau (2023) prove the first for two-matrix layers for
//! finite times, with a bound that grows with time, and for all times under a Polyak–Łojasiewicz
//! condition. Here the weights of networks of growing depth are held against those of a very deep one at
//! the same GD time, from starts whose loss is not small.

mod findings;
mod page;
mod run;

use super::{Experiment, Findings, Seeds, Size};
use crate::page::Text;
use anyhow::Result;
use deeplimit::Method;
use deeplimit::control::Control;
use deeplimit::field::Mlp;
use deeplimit::kernel::Activation;
use deeplimit::limit::{Interpolant, NeuralOde};
use deeplimit::objective::descent::Descent;
use run::{Run, Start};
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

/// The residual function. Its biases are zero and stay so.
const LAYER: Mlp = Mlp { width: 4, hidden: 8, activation: Activation::Tanh };
const BIASES: [&str; 2] = ["b1", "b2"];

const SAMPLES: usize = 16;

/// η.
const RATE: f64 = 0.1;

/// Layers and size of the weights of the network that gives the targets.
const TEACHER: (usize, f64) = (256, 2.0);

/// Tolerance of the memory-free gradients that repeat a training.
const TOLERANCE: f64 = 1e-4;

/// Depths from which on a training is repeated with memory-free gradients in the full size.
const DEEP: usize = 256;

/// Entries of the weights that are pictured: (kind, entry) of w1 and w2.
const SHOWN: [(usize, usize); 4] = [(0, 0), (0, 5), (2, 0), (2, 9)];

/// The trainings.
pub struct LargeDepth {
    /// Depths that are held against the reference, shallow to deep.
    depths: Vec<usize>,
    /// Depth of the reference.
    deepest: usize,
    /// Depths that are also trained with memory-free gradients.
    repeated: Vec<usize>,
    /// Depths of the long run.
    long: Vec<usize>,
    /// Steps of a training, and of the long run.
    steps: [usize; 2],
    seeds: Seeds,
    /// Of every repetition.
    runs: Vec<Run>,
    /// Of the repetition that was asked for last.
    reference: Mutex<Option<(usize, Reference)>>,
}

impl LargeDepth {
    /// Depths 2 to 64 against 512, or 2 to 1024 against 2^14.
    pub fn new(size: Size, seeds: Seeds) -> Self {
        let depths: Vec<usize> = (1..=size.pick(6, 10)).map(|power| 1 << power).collect();
        let repeated = size.pick(vec![64], depths.iter().copied().filter(|n| *n >= DEEP).collect());
        Self {
            depths,
            deepest: size.pick(512, 1 << 14),
            repeated,
            long: size.pick(vec![8, 32], vec![16, 64, 256]),
            steps: [512, 8192],
            seeds,
            runs: Run::all(seeds),
            reference: Mutex::default(),
        }
    }
}

/// The weights of the reference at the recorded steps, for each start.
type Reference = Arc<Vec<Vec<Control<f64>>>>;

/// Trainings of one depth, from both starts.
pub struct Case {
    /// Which of the repetitions.
    run: usize,
    depth: usize,
    /// To a loss of nearly zero; else for as long as the reference.
    long: bool,
}

/// What is known of a training at one time, or of one of its layers at the end.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Row {
    /// Which of the repetitions.
    run: usize,
    /// `training`, `repeated` (with memory-free gradients), `long` or `weights` (a line a layer).
    part: String,
    /// `smooth` or `independent`.
    start: String,
    depth: usize,
    step: usize,
    /// GD time, η · step.
    time: f64,
    loss: Option<f64>,
    /// N max_n ‖θ_{n+1} − θ_n‖.
    scaled_increment: Option<f64>,
    /// max_n ‖θ_n(t) − θ_n(0)‖.
    travel: Option<f64>,
    /// Distance to the reference's weights at the same time: max over the layers' depths s_n.
    distance_at_layers: Option<f64>,
    /// The same, max over all depths s.
    distance_largest: Option<f64>,
    /// The same, in L² over depth.
    distance_mean: Option<f64>,
    /// max_n ‖x_n − x(s_n)‖ for the neural ODE whose field interpolates the layers' functions.
    ode_function: Option<f64>,
    /// The same for the ODE whose weights interpolate the layers'.
    ode_weight: Option<f64>,
    /// max_n of the distance to the same training by backprop, by `travel`.
    repeated_gap: Option<f64>,
    /// Layer n, and the pictured entries of its weights.
    layer: Option<usize>,
    w_0: Option<f64>,
    w_5: Option<f64>,
    v_0: Option<f64>,
    v_9: Option<f64>,
}

#[derive(Serialize)]
pub struct Settings {
    width: usize,
    hidden: usize,
    samples: usize,
    rate: f64,
    steps: [usize; 2],
    reference_depth: usize,
    tolerance: f64,
    seeds: u64,
}

impl LargeDepth {
    /// Steps at which a training of `steps` steps is recorded: 0, and powers of two times a part.
    fn recorded(steps: usize) -> Vec<usize> {
        let mut all: Vec<usize> = (0..8).map(|power| steps >> power).filter(|s| *s > 0).collect();
        all.push(0);
        all.reverse();
        all
    }

    /// The weights of a descent at the recorded steps, and its end.
    fn train(start: Descent<f64, Mlp>, steps: usize) -> (Vec<Recorded>, Descent<f64, Mlp>) {
        let (mut descent, mut all) = (start, Vec::new());
        for step in Self::recorded(steps) {
            let more = step - descent.steps();
            descent = descent.advance(more);
            all.push((step, descent.loss(), descent.control().clone()));
        }
        (all, descent)
    }

    /// The reference's weights at the recorded steps, for each start: trained when they are asked for
    /// first.
    fn reference(&self, run: usize) -> Reference {
        let mut latest = self.reference.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, reference)) = latest.as_ref().filter(|(of, _)| *of == run) {
            return Arc::clone(reference);
        }
        // There are never two of them.
        *latest = None;
        let reference = Arc::new(both(|start| {
            let start = self.runs[run].descent(start, self.deepest);
            let (recorded, _) = Self::train(start, self.steps[0]);
            recorded.into_iter().map(|(_, _, control)| control).collect()
        }));
        *latest = Some((run, Arc::clone(&reference)));
        reference
    }

    /// What a state of a training says by itself.
    fn row(part: &str, start: Start, first: &Control<f64>, at: &At<'_>) -> Row {
        let nodes = at.control.nodes();
        Row {
            part: part.to_owned(),
            start: start.name().to_owned(),
            depth: nodes,
            step: at.step,
            time: RATE * at.step as f64,
            loss: Some(at.loss),
            scaled_increment: Some(nodes as f64 * at.control.largest_increment()),
            travel: Some(at.control.depth_distance(first).at_nodes),
            ..Row::default()
        }
    }

    /// The trainings of one start at one depth.
    fn training(&self, run: usize, start: Start, depth: usize) -> Vec<Row> {
        let index = Start::ALL.iter().position(|s| *s == start).expect("one of all");
        let (references, own) = (self.reference(run), &self.runs[run]);
        let reference = &references[index];
        let (recorded, end) = Self::train(own.descent(start, depth), self.steps[0]);
        let first = &recorded[0].2;
        let mut rows = Vec::new();
        for ((step, loss, control), deep) in recorded.iter().zip(reference) {
            let at = At { step: *step, loss: *loss, control };
            let distance = control.depth_distance(deep);
            rows.push(Row {
                distance_at_layers: Some(distance.at_nodes),
                distance_largest: Some(distance.largest),
                distance_mean: Some(distance.root_mean_square),
                ..Self::row("training", start, first, &at)
            });
        }
        let inputs = own.inputs();
        let ode = |interpolant| NeuralOde::new(end.flow(), interpolant).distance(&inputs);
        if let Some(last) = rows.last_mut() {
            last.ode_function = Some(ode(Interpolant::Function));
            last.ode_weight = Some(ode(Interpolant::Weight));
        }
        if self.repeated.contains(&depth) {
            let adaptive = match "adjoint-adaptive".parse() {
                Ok(Method::Adjoint(adjoint)) => Method::Adjoint(adjoint.within(TOLERANCE)),
                _ => unreachable!("adjoint-adaptive is an adjoint of the registry"),
            };
            let descent = own.descent(start, depth).with_method(adaptive);
            let (again, _) = Self::train(descent, self.steps[0]);
            for ((step, loss, control), (_, _, exact)) in again.iter().zip(&recorded).skip(1) {
                let at = At { step: *step, loss: *loss, control };
                let row = Self::row("repeated", start, first, &at);
                let travel = exact.depth_distance(first).at_nodes;
                let gap = control.depth_distance(exact).at_nodes / travel;
                rows.push(Row { repeated_gap: Some(gap), ..row });
            }
        }
        let pictured = [16, self.repeated[0]];
        // Weights are pictured of one network.
        if run == 0 && pictured.contains(&depth) {
            rows.extend(Self::weights(start, end.control(), end.steps()));
        }
        if run == 0 && depth == self.repeated[0] {
            let deep = reference.last().expect("step 0 is recorded");
            rows.extend(Self::weights(start, deep, end.steps()));
        }
        rows
    }

    /// A line a layer, of at most as many layers as the picture has points.
    fn weights(start: Start, control: &Control<f64>, step: usize) -> Vec<Row> {
        let stride = control.nodes().div_ceil(256);
        let row = |layer: usize| {
            let [w_0, w_5, v_0, v_9] =
                SHOWN.map(|(kind, entry)| Some(control.at(kind, layer)[entry]));
            Row {
                part: "weights".into(),
                start: start.name().to_owned(),
                depth: control.nodes(),
                step,
                time: RATE * step as f64,
                layer: Some(layer),
                w_0,
                w_5,
                v_0,
                v_9,
                ..Row::default()
            }
        };
        (0..control.nodes()).step_by(stride).map(row).collect()
    }

    /// The long run from one start: recorded at every power of √2.
    fn long_run(&self, run: usize, start: Start, depth: usize) -> Vec<Row> {
        let run = &self.runs[run];
        let mut descent = run.descent(start, depth);
        let first = descent.control().clone();
        let mut rows = Vec::new();
        let last = self.steps[1];
        let powers = (2..).map(|power| 2f64.powf(f64::from(power) / 2.0).round() as usize);
        for step in std::iter::once(0).chain(powers.take_while(|step| *step <= last)) {
            let more = step - descent.steps();
            descent = descent.advance(more);
            let at = At { step, loss: descent.loss(), control: descent.control() };
            rows.push(Self::row("long", start, &first, &at));
        }
        let ode = NeuralOde::new(descent.flow(), Interpolant::Function).distance(&run.inputs());
        if let Some(last) = rows.last_mut() {
            last.ode_function = Some(ode);
        }
        rows
    }
}

/// Step, loss and weights of a training at one time.
type Recorded = (usize, f64, Control<f64>);

/// A training at one time.
struct At<'a> {
    step: usize,
    loss: f64,
    control: &'a Control<f64>,
}

/// What `work` finds for both starts, each on a thread.
fn both<T: Send>(work: impl Fn(Start) -> T + Sync) -> Vec<T> {
    let (smooth, independent) = rayon::join(|| work(Start::Smooth), || work(Start::Independent));
    vec![smooth, independent]
}

impl Experiment for LargeDepth {
    type Case = Case;
    type Row = Row;
    type Settings = Settings;

    const NAME: &'static str = "large-depth";

    fn title(&self) -> (Text, Text) {
        let about = format!(
            "Networks x + V tanh(W x)/N of width {} with {} hidden units and no biases, N = {} to {}, \
             trained by gradient descent (rate {RATE} N, backprop in f64) on {SAMPLES} samples of a \
             network with other weights, and held against a network of {} layers at the same GD time: do \
             the weights have a limit as functions of depth?",
            LAYER.width,
            LAYER.hidden,
            self.depths.first().unwrap_or(&0),
            self.depths.last().unwrap_or(&0),
            self.deepest,
        );
        ("Training at large depth".into(), about.into())
    }

    fn settings(&self) -> Settings {
        Settings {
            width: LAYER.width,
            hidden: LAYER.hidden,
            samples: SAMPLES,
            rate: RATE,
            steps: self.steps,
            reference_depth: self.deepest,
            tolerance: TOLERANCE,
            seeds: self.seeds.count,
        }
    }

    fn cases(&self) -> Vec<Case> {
        let of = |run: usize| {
            let trainings = self.depths.iter().map(move |depth| (*depth, false));
            let all = trainings.chain(self.long.iter().map(|depth| (*depth, true)));
            all.map(move |(depth, long)| Case { run, depth, long })
        };
        (0..self.runs.len()).flat_map(of).collect()
    }

    fn key(&self, Case { run, depth, long }: &Case) -> String {
        let seed = self.runs[*run].seed;
        match long {
            false => format!("seed {seed}, depth {depth}"),
            true => format!("seed {seed}, long run, depth {depth}"),
        }
    }

    fn measure(&self, case: &Case, _scratch: &Path) -> Result<Vec<Row>> {
        let Case { run, depth, long } = *case;
        let rows = if long {
            both(|start| self.long_run(run, start, depth)).concat()
        } else {
            // Before the two starts of this depth take both threads.
            self.reference(run);
            both(|start| self.training(run, start, depth)).concat()
        };
        Ok(rows.into_iter().map(|row| Row { run, ..row }).collect())
    }

    fn findings(&self, rows: &[Row]) -> Result<Findings> {
        let shown = findings::Shown {
            rows,
            seeds: self.seeds,
            run: 0,
            repeated: self.repeated[0],
            deepest: self.deepest,
        };
        Ok(Findings { claims: shown.claims(), sections: shown.sections()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::page::Claim;

    const SEEDS: Seeds = Seeds { first: 1, count: 2 };

    fn tiny() -> LargeDepth {
        LargeDepth {
            depths: vec![8, 16, 32, 64],
            deepest: 512,
            repeated: vec![32],
            long: vec![8, 16],
            steps: [64, 4096],
            seeds: SEEDS,
            runs: Run::all(SEEDS),
            reference: Mutex::default(),
        }
    }

    fn failed(claims: &[Claim]) -> Vec<&str> {
        claims.iter().filter(|claim| !claim.holds).map(|claim| claim.claim.as_str()).collect()
    }

    #[test]
    fn claims_hold_on_a_tiny_size_and_fail_for_rows_that_are_not_so() {
        let experiment = tiny();
        let measure = |case| experiment.measure(&case, Path::new("unused")).expect("rows");
        let rows: Vec<Row> = experiment.cases().into_iter().flat_map(measure).collect();
        let found = experiment.findings(&rows).expect("findings");
        assert_eq!(failed(&found.claims), Vec::<&str>::new());
        let bent = |bend: fn(&mut Row)| {
            let mut rows = rows.clone();
            rows.iter_mut().for_each(bend);
            failed(&experiment.findings(&rows).expect("findings").claims).len()
        };
        let is_smooth = |row: &Row| row.start == "smooth";
        assert!(is_smooth(&rows[0]));
        // Three of the largest distance, one of the mean: no rate any more.
        let stuck = bent(|row| {
            if row.start == "smooth" {
                row.distance_largest = row.distance_largest.map(|_| 1.0);
                row.distance_mean = row.distance_mean.map(|_| 1.0);
            }
        });
        assert_eq!(stuck, 4);
        assert_eq!(bent(|row| row.repeated_gap = row.repeated_gap.map(|_| 0.1)), 2);
        assert_eq!(bent(|row| row.ode_function = None), 2);
        let rough = bent(|row| {
            if row.start == "smooth" {
                row.scaled_increment = row.scaled_increment.map(|_| row.depth as f64);
            }
        });
        // Early, at the end, and in the long run.
        assert_eq!(rough, 3);
        // Layers drawn independently in the place of smooth ones.
        let false_world: Vec<Row> = (rows.iter().filter(|row| !is_smooth(row)))
            .flat_map(|row| [row.clone(), Row { start: "smooth".into(), ..row.clone() }])
            .collect();
        let found = experiment.findings(&false_world).expect("findings").claims;
        let fallen = failed(&found);
        assert!(fallen.len() >= 8, "{fallen:?}");
        assert!(
            fallen.iter().all(|claim| claim.contains("smooth start") || claim.starts_with("and "))
        );
        let nothing = experiment.findings(&[]).expect("findings").claims;
        assert!(nothing.iter().all(|claim| !claim.holds), "nothing measured is no success");
    }

    #[test]
    fn the_two_starts_have_no_biases_and_are_what_they_are_called() {
        let experiment = tiny();
        for start in Start::ALL {
            let [coarse, fine] = [64, 128].map(|depth| experiment.runs[0].start(start, depth));
            for (kind, values) in fine.kinds().iter().zip(fine.values()) {
                assert_eq!(values.iter().all(|v| *v == 0.0), BIASES.contains(&kind.name));
            }
            let ratio = fine.largest_increment() / coarse.largest_increment();
            match start {
                Start::Smooth => assert!((ratio - 0.5).abs() < 0.01, "{ratio}"),
                Start::Independent => assert!((0.8..1.25).contains(&ratio), "{ratio}"),
            }
            // The function is the same at every depth, sampled at n/N.
            let gap = coarse.depth_distance(&fine).at_nodes;
            assert_eq!(gap == 0.0, start == Start::Smooth, "{gap}");
        }
    }
}
