//! CIFAR-10 over depths, schemes and gradient methods: the small convolutional network of Sander,
//! Ablin, Peyré (2022, section 5.2).
//!
//! Every cell is one training; at its trained weights the gradient of each memory-free method is held
//! against backprop's, layer by layer, on one batch of training images.

use super::{Experiment, Findings, Size};
use crate::page::{
    CURVES, Claim, Curve, Figure, Frame, Part, Scale, Section, Stroke, Table, Text, significant,
};
use anyhow::{Context, Result, bail, ensure};
use deeplimit::control::Family;
use deeplimit::gradient::Backprop;
use deeplimit::kernel::Activation;
use deeplimit::limit::Slope;
use deeplimit::{Method, Scheme};
use deeplimit_nn::data::{Augment, HeldOut, Options, Source, Splits, batch};
use deeplimit_nn::network::{FieldName, HeadConfig, NetworkConfig, StageConfig, TransitionConfig};
use deeplimit_nn::train::{Config, GradientConfig, Optimiser, TrainConfig, Trainer};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// Gradient methods that train, the exact one first.
const METHODS: [&str; 4] =
    ["backprop", "adjoint-published", "adjoint-corrected", "adjoint-adaptive"];

/// The sweep.
pub struct DepthSweep {
    splits: Splits,
    options: Options,
    /// All depths of the sweep.
    depths: Vec<usize>,
    /// Depths and methods that are measured now; none stands for all.
    only: (Vec<usize>, Vec<String>),
    epochs: usize,
    seed: u64,
}

/// One training.
pub struct Case {
    scheme: Scheme,
    depth: usize,
    method: &'static str,
}

/// A layer of a trained network, and the gradient error of one method there.
#[derive(Serialize, Deserialize)]
pub struct Row {
    scheme: String,
    depth: usize,
    /// The method that trained.
    method: String,
    epochs: usize,
    /// Share of the held-out images that are classified wrongly, in per cent.
    test_error: f64,
    /// Mean loss of the last epoch.
    train_loss: f64,
    /// Median over the last epoch of the certificate's estimate; 0 for exact methods.
    certificate: f64,
    /// Seconds of the training.
    seconds: f64,
    /// The method whose gradient is held against backprop's at the trained weights.
    probe: String,
    /// Relative error over all parameters of the flow.
    gradient_error: f64,
    /// Control node, from the input on.
    layer: usize,
    /// Relative error over the parameters of this layer.
    layer_error: f64,
}

#[derive(Serialize)]
pub struct Settings {
    epochs: usize,
    training_images: usize,
    held_out_images: usize,
}

impl DepthSweep {
    /// Reads the images.
    ///
    /// # Errors
    /// If the folder does not hold CIFAR-10, or a depth or a method cannot be.
    pub fn new(
        data: PathBuf,
        size: Size,
        epochs: Option<usize>,
        depths: &[usize],
        methods: &[String],
        seed: u64,
    ) -> Result<Self> {
        ensure!(epochs != Some(0), "--epochs 0 is out of range, expected at least 1");
        let all = size.pick(vec![2, 4, 8], vec![2, 4, 8, 16, 32, 64]);
        if let Some(depth) = depths.iter().find(|depth| !all.contains(depth)) {
            bail!("--depth {depth} is not in the sweep; its depths are {all:?}");
        }
        let known = |name: &String| METHODS.contains(&name.as_str());
        if let Some(name) = methods.iter().find(|name| !known(name)) {
            bail!("--method {name} is not in the sweep; known are {}", METHODS.join(", "));
        }
        let options = Options {
            source: Source::Cifar10,
            path: Some(data),
            validation: HeldOut::Count(0),
            limit_train: size.pick(Some(5_120), None),
            limit_test: size.pick(Some(1_000), None),
            ..Options::default()
        };
        Ok(Self {
            splits: deeplimit_nn::data::load(&options)?,
            options,
            depths: all,
            only: (depths.to_vec(), methods.to_vec()),
            epochs: epochs.unwrap_or(size.pick(2, 5)),
            seed,
        })
    }

    fn config(&self, case: &Case) -> Config {
        let stage = StageConfig {
            field: FieldName::named("conv-bn").expect("a field of the registry"),
            activation: Some(Activation::Relu),
            depth: case.depth,
            scheme: case.scheme.name().to_owned(),
            init: Family::Independent,
            transition: TransitionConfig::Conv { channels: 16, kernel: 5, stride: 3, padding: 0 },
            ..StageConfig::default()
        };
        Config {
            seed: self.seed,
            data: self.options.clone(),
            augment: Augment { crop: 4, flip: true, ..Augment::default() },
            gradient: GradientConfig {
                method: case.method.to_owned(),
                ..GradientConfig::default()
            },
            train: TrainConfig {
                epochs: self.epochs,
                batch: Some(256),
                optimiser: Optimiser::Sgd,
                rate: 0.1,
                momentum: Some(0.9),
                weight_decay: 5e-4,
                ..TrainConfig::default()
            },
            network: NetworkConfig {
                stage: vec![stage],
                head: HeadConfig { pool: true, ..HeadConfig::default() },
            },
            ..Config::default()
        }
    }
}

impl Experiment for DepthSweep {
    type Case = Case;
    type Row = Row;
    type Settings = Settings;

    const NAME: &'static str = "depth-sweep";

    fn title(&self) -> (Text, Text) {
        let about = "The small convolutional network of Sander, Ablin, Peyré (2022): a 5×5 stem with \
                     stride 3 to 16 channels of 10×10, one flow through conv – norm – relu – conv – norm \
                     from independent layers, pooled linear outputs; SGD with rate 0.1 (cosine), momentum \
                     0.9, weight decay 5·10⁻⁴, batches of 256, crops and flips. Is a network trained with \
                     memory-free gradients as good as one trained with backprop, and from which depth on?";
        ("CIFAR-10 over depth".into(), about.into())
    }

    fn settings(&self) -> Settings {
        Settings {
            epochs: self.epochs,
            training_images: self.splits.train.len(),
            held_out_images: self.splits.test.as_ref().map_or(0, |test| test.len()),
        }
    }

    fn cases(&self) -> Vec<Case> {
        let mut cases = Vec::new();
        for &depth in &self.depths {
            for scheme in [Scheme::EULER, Scheme::HEUN] {
                let case = |method| Case { scheme: scheme.clone(), depth, method };
                cases.extend(METHODS.map(case));
            }
        }
        cases
    }

    fn wanted(&self, case: &Case) -> bool {
        let (depths, methods) = &self.only;
        (depths.is_empty() || depths.contains(&case.depth))
            && (methods.is_empty() || methods.iter().any(|method| method == case.method))
    }

    fn key(&self, case: &Case) -> String {
        format!("{} depth {} {}", case.scheme.name(), case.depth, case.method)
    }

    fn measure(&self, case: &Case, scratch: &Path) -> Result<Vec<Row>> {
        let mut trainer = Trainer::with_splits(self.config(case), self.splits.clone())?;
        let notes = scratch.join("epochs.json");
        let mut last = Epoch::default();
        if notes.is_file() {
            trainer.resume(scratch)?;
            last = serde_json::from_slice(&std::fs::read(&notes)?)?;
        }
        std::fs::create_dir_all(scratch).with_context(|| scratch.display().to_string())?;
        while !trainer.finished() {
            last = Epoch { seconds: last.seconds, ..Epoch::default() };
            last.train(&mut trainer)?;
            trainer.save(scratch)?;
            deeplimit_nn::train::write_whole(&notes, &serde_json::to_vec(&last)?)?;
        }
        let test = trainer.test()?.context("CIFAR-10 has held-out images")?;
        let row = Row {
            scheme: case.scheme.name().to_owned(),
            depth: case.depth,
            method: case.method.to_owned(),
            epochs: self.epochs,
            test_error: 100.0 * (1.0 - test.hits as f64 / test.samples as f64),
            train_loss: last.loss,
            certificate: last.certificate,
            seconds: last.seconds,
            probe: String::new(),
            gradient_error: 0.0,
            layer: 0,
            layer_error: 0.0,
        };
        self.probe(&trainer, &row)
    }

    fn findings(&self, rows: &[Row]) -> Result<Findings> {
        let is_there = |depth: &usize| rows.iter().any(|row| row.depth == *depth);
        let depths: Vec<usize> = self.depths.iter().copied().filter(is_there).collect();
        let table = Sweep { rows, depths: &depths };
        Ok(Findings { claims: table.claims(), sections: table.sections()? })
    }
}

/// What is known of an epoch.
#[derive(Default, Serialize, Deserialize)]
struct Epoch {
    loss: f64,
    certificate: f64,
    /// Of all epochs so far.
    seconds: f64,
}

impl Epoch {
    /// The steps of one epoch.
    fn train(&mut self, trainer: &mut Trainer) -> Result<()> {
        let began = std::time::Instant::now();
        let (mut losses, mut estimates) = (Vec::new(), Vec::new());
        loop {
            let step = trainer.step()?;
            losses.push(step.score.loss);
            estimates.push(step.certificates[0].error_estimate());
            if step.epoch_ended {
                break;
            }
        }
        estimates.sort_by(f64::total_cmp);
        self.loss = losses.iter().sum::<f64>() / losses.len() as f64;
        self.certificate = estimates[estimates.len() / 2];
        self.seconds += began.elapsed().as_secs_f64();
        Ok(())
    }
}

impl DepthSweep {
    /// A row a memory-free method and layer: its gradient's error at the trained weights.
    fn probe(&self, trainer: &Trainer, trained: &Row) -> Result<Vec<Row>> {
        let samples = &self.splits.train;
        let indices: Vec<u32> = (0..256.min(samples.len() as u32)).collect();
        let batch = batch(samples, &indices, &self.splits.normalisation, None)?;
        let network = trainer.network();
        let gradient = |method: &Method| network.flow_gradients(&batch, method).swap_remove(0);
        let exact = gradient(&Method::Backprop(Backprop));
        let mut rows = Vec::new();
        for probe in &METHODS[1..] {
            let found = gradient(&probe.parse()?);
            let gradient_error = found.relative_error(&exact);
            let errors = found.relative_errors(&exact);
            rows.extend(errors.into_iter().enumerate().map(|(layer, layer_error)| Row {
                probe: (*probe).to_owned(),
                gradient_error,
                layer,
                layer_error,
                scheme: trained.scheme.clone(),
                method: trained.method.clone(),
                ..*trained
            }));
        }
        Ok(rows)
    }
}

/// The rows of a sweep, and what they show.
struct Sweep<'a> {
    rows: &'a [Row],
    /// Those that were measured.
    depths: &'a [usize],
}

const SCHEMES: [Scheme; 2] = [Scheme::EULER, Scheme::HEUN];

impl Sweep<'_> {
    /// Any row of a training.
    fn cell(&self, scheme: &Scheme, depth: usize, method: &str) -> Option<&Row> {
        let mut rows = self.rows.iter();
        rows.find(|r| r.scheme == scheme.name() && r.depth == depth && r.method == method)
    }

    /// (depth, mean over the trainings of the whole gradient's error) of one method.
    fn errors(&self, scheme: &Scheme, probe: &str) -> Vec<(f64, f64)> {
        let at = |depth: &usize| {
            let rows = self.rows.iter().filter(|row| {
                row.scheme == scheme.name()
                    && row.depth == *depth
                    && row.probe == probe
                    && row.layer == 0
            });
            let logs: Vec<f64> = rows.map(|row| row.gradient_error.ln()).collect();
            (*depth as f64, (logs.iter().sum::<f64>() / logs.len() as f64).exp())
        };
        self.depths.iter().map(at).collect()
    }

    fn claims(&self) -> Vec<Claim> {
        let mut claims = Vec::new();
        for scheme in SCHEMES {
            let name = scheme.name();
            let [published, corrected] =
                ["adjoint-published", "adjoint-corrected"].map(|probe| self.errors(&scheme, probe));
            // Beyond, sweeps do not contract (h L ≥ 1), and no order holds.
            let pairs: Vec<(f64, f64)> = (published.iter().zip(&corrected))
                .map(|(p, c)| (p.1, c.1))
                .filter(|(published, _)| *published < LOST)
                .collect();
            let better =
                pairs.iter().filter(|(published, corrected)| corrected < published).count();
            claims.push(Claim {
                claim: format!(
                    "{name}: at trained weights the corrected gradient is more accurate than the \
                     published one, at the same cost, wherever the latter is off by less than {LOST}"
                ),
                expected: format!("all of {} depths, at least 1", pairs.len()),
                measured: format!("{better} depths"),
                holds: better == pairs.len() && better > 0,
            });
            // Two points have a slope, but no trend.
            let fitted = [("published", &published), ("corrected", &corrected)];
            for (probe, errors) in fitted.into_iter().filter(|_| self.depths.len() > 2) {
                let order = -Slope::fit(errors).value;
                claims.push(Claim {
                    claim: format!("{name}: the {probe} gradient's error falls with depth"),
                    expected: "an order above 0".into(),
                    measured: format!("order {}", significant(order)),
                    holds: order > 0.0,
                });
            }
            claims.extend(self.deepest_training(&scheme));
        }
        claims.push(self.failures_are_flagged());
        claims
    }

    /// That at the greatest depth of both, training without stored activations is as good.
    fn deepest_training(&self, scheme: &Scheme) -> Option<Claim> {
        let both = |depth: &usize| {
            let cell = |method| self.cell(scheme, *depth, method);
            Some((*depth, cell(METHODS[0])?, cell(METHODS[3])?))
        };
        let (depth, exact, adaptive) = self.depths.iter().rev().find_map(both)?;
        let gap = adaptive.test_error - exact.test_error;
        let [adaptive, exact] = [adaptive, exact].map(|cell| cell.test_error);
        Some(Claim {
            claim: format!(
                "{}, depth {depth}: trained with adjoint-adaptive as good as with backprop (Sander, \
                 Ablin, Peyré 2022, section 5)",
                scheme.name()
            ),
            expected: format!("test error at most {MARGIN} points higher"),
            measured: format!("{adaptive:.1} % and {exact:.1} %: {gap:+.1} points"),
            holds: gap <= MARGIN,
        })
    }

    /// That the certificate has told of every training that ended worse.
    fn failures_are_flagged(&self) -> Claim {
        let (mut failed, mut flagged) = (0, 0);
        for scheme in SCHEMES {
            for &depth in self.depths {
                let Some(exact) = self.cell(&scheme, depth, METHODS[0]) else { continue };
                let others = METHODS[1..].iter().filter_map(|m| self.cell(&scheme, depth, m));
                for worse in others.filter(|cell| cell.test_error > exact.test_error + MARGIN) {
                    failed += 1;
                    flagged += usize::from(worse.certificate >= FLAG);
                }
            }
        }
        Claim {
            claim: format!(
                "every training without stored activations that ended more than {MARGIN} points above \
                 backprop's was told of by its certificate"
            ),
            expected: format!("{failed} of {failed} with a median estimate of at least {FLAG}"),
            measured: format!("{flagged} of {failed}"),
            holds: flagged == failed,
        }
    }

    fn sections(&self) -> Result<Vec<Section>> {
        let mut head: Vec<Text> = vec!["scheme".into(), "depth".into()];
        head.extend(METHODS.map(Text::from));
        let mut rows: Vec<Vec<Text>> = Vec::new();
        for scheme in SCHEMES {
            for &depth in self.depths {
                let mut row: Vec<Text> = vec![scheme.name().into(), depth.to_string().into()];
                row.extend(METHODS.iter().map(|method| {
                    let cell = self.cell(&scheme, depth, method);
                    let shown = |cell: &Row| {
                        let (error, estimate) = (cell.test_error, significant(cell.certificate));
                        match cell.certificate {
                            0.0 => format!("{error:.1} %"),
                            _ => format!("{error:.1} % ({estimate})"),
                        }
                    };
                    cell.map_or("–".into(), |cell| shown(cell).into())
                }));
                rows.push(row);
            }
        }
        let caption =
            "Error on held-out images, by the method that trained; in brackets the certificate's \
                       estimate of the gradient error, median of the last epoch"
                .into();
        let test = Part::Table(Table { caption, head, rows });
        let mut curves = Vec::new();
        for scheme in SCHEMES {
            curves.push(self.test_errors(&scheme)?);
        }
        let mut errors = Vec::new();
        for scheme in SCHEMES {
            errors.push(self.gradient_errors(&scheme)?);
        }
        let mut layers = Vec::new();
        for scheme in SCHEMES {
            layers.push(self.layer_errors(&scheme)?);
        }
        let note = "One seed and few epochs: differences of a point or two are noise of training, not \
                    of gradients.";
        Ok(vec![
            Section {
                title: "Test error".into(),
                parts: vec![test, Part::Figures(curves), Part::Text(note.into())],
            },
            Section {
                title: "Gradient error at the trained weights".into(),
                parts: vec![Part::Figures(errors), Part::Figures(layers)],
            },
        ])
    }

    fn test_errors(&self, scheme: &Scheme) -> Result<Figure> {
        let curve = |(index, method): (usize, &&'static str)| {
            let point = |depth: &usize| {
                let cell = self.cell(scheme, *depth, method)?;
                Some((*depth as f64, cell.test_error))
            };
            let points = self.depths.iter().filter_map(point).collect();
            let name = (*method).into();
            Curve { name, ink: CURVES[index], stroke: Stroke::Bold, points }
        };
        let curves: Vec<Curve> = METHODS.iter().enumerate().map(curve).collect();
        let frame =
            Frame { x: "depth N", y: "test error (%)", scale: Scale::Linear, ..Frame::RATES };
        Ok(Figure::new(format!("Test error, {}", scheme.name()), &frame, &curves)?)
    }

    fn gradient_errors(&self, scheme: &Scheme) -> Result<Figure> {
        let mut curves = Vec::new();
        for (index, probe) in METHODS.iter().enumerate().skip(1) {
            let points = self.errors(scheme, probe);
            let (ink, stroke) = (CURVES[index], Stroke::Bold);
            let fitted = significant(-Slope::fit(&points).value);
            let name = format!("{probe}, order {fitted}").into();
            curves.push(Curve { name, ink, stroke, points });
        }
        let frame = Frame { x: "depth N", y: "relative gradient error", ..Frame::RATES };
        let title = format!("Whole gradient, {}", scheme.name());
        let note = "Geometric means over the networks that the methods have trained.".into();
        Ok(Figure { note, ..Figure::new(title, &frame, &curves)? })
    }

    fn layer_errors(&self, scheme: &Scheme) -> Result<Figure> {
        let depth = self.depths.last().copied().unwrap_or(0);
        let mut curves = Vec::new();
        for (index, probe) in METHODS.iter().enumerate().skip(1) {
            let rows = self.rows.iter().filter(|row| {
                row.scheme == scheme.name()
                    && row.depth == depth
                    && row.method == METHODS[0]
                    && row.probe == *probe
            });
            let points = rows.map(|row| (row.layer as f64, row.layer_error)).collect();
            let (name, ink) = ((*probe).into(), CURVES[index]);
            curves.push(Curve { name, ink, stroke: Stroke::Bold, points });
        }
        let frame = Frame {
            x: "layer n",
            y: "relative gradient error",
            across: Scale::Counted,
            ..Frame::RATES
        };
        let title = format!("Layer by layer, {}, depth {depth}", scheme.name());
        let note = "At the weights that backprop has trained.".into();
        Ok(Figure { note, ..Figure::new(title, &frame, &curves)? })
    }
}

/// Points of test error by which two trainings of the same network may differ; those whose gradients
/// are right differ by less than one.
const MARGIN: f64 = 2.0;

/// Relative gradient error from which on a gradient is taken for lost.
const LOST: f64 = 0.5;

/// Estimate of the certificate from which on a gradient is not to be used.
const FLAG: f64 = 0.1;

#[cfg(test)]
mod tests {
    use super::*;

    /// Rows as theory wants them: errors fall with depth, and at depth 2, where nothing is recovered, the
    /// certificate says so.
    fn rows() -> Vec<Row> {
        let mut rows = Vec::new();
        for scheme in SCHEMES {
            for depth in [2, 8, 32] {
                for method in METHODS {
                    let exact = method == METHODS[0];
                    let lost = depth == 2 && !exact;
                    for (order, probe) in METHODS[1..].iter().enumerate() {
                        rows.push(Row {
                            scheme: scheme.name().to_owned(),
                            depth,
                            method: method.to_owned(),
                            epochs: 5,
                            test_error: if lost { 60.0 } else { 50.0 },
                            train_loss: 1.0,
                            certificate: if exact { 0.0 } else { 0.05 + 9.95 * f64::from(lost) },
                            seconds: 1.0,
                            probe: (*probe).to_owned(),
                            gradient_error: 2.0 * (depth as f64).powi(-1 - order as i32),
                            layer: 0,
                            layer_error: 0.1,
                        });
                    }
                }
            }
        }
        rows
    }

    fn failing(rows: &[Row]) -> Vec<String> {
        let claims = Sweep { rows, depths: &[2, 8, 32] }.claims();
        claims.into_iter().filter(|claim| !claim.holds).map(|claim| claim.claim).collect()
    }

    #[test]
    fn claims_hold_on_what_theory_says_and_each_fails_on_what_it_forbids() {
        assert_eq!(failing(&rows()), Vec::<String>::new());
        let broken = |change: fn(&mut Row)| {
            let mut rows = rows();
            rows.iter_mut().for_each(change);
            failing(&rows)
        };
        let worse = |row: &mut Row| {
            if row.probe == "adjoint-corrected" {
                row.gradient_error *= 100.0;
            }
        };
        assert!(broken(worse).iter().any(|claim| claim.contains("more accurate")));
        let grows = |row: &mut Row| row.gradient_error = 1e-3 * row.depth as f64;
        assert!(broken(grows).iter().any(|claim| claim.contains("falls with depth")));
        let silent = |row: &mut Row| row.certificate = 0.01;
        assert_eq!(broken(silent).len(), 1);
        let bad = |row: &mut Row| {
            if row.depth == 32 && row.method == "adjoint-adaptive" {
                (row.test_error, row.certificate) = (55.0, 10.0);
            }
        };
        let failed = broken(bad);
        assert_eq!(failed.len(), 2, "{failed:?}");
        assert!(failed.iter().all(|claim| claim.contains("as good as")));
    }

    #[test]
    fn the_page_shows_what_was_measured_and_a_dash_for_what_was_not() {
        let mut rows = rows();
        rows.retain(|row| row.depth != 32 || row.method != "adjoint-published");
        let sections = Sweep { rows: &rows, depths: &[2, 8, 32] }.sections().expect("drawn");
        let Some(Part::Table(table)) = sections[0].parts.first() else { panic!("a table first") };
        assert_eq!(table.rows.len(), 6);
        assert_eq!(table.rows[0][2..4], ["50.0 %", "60.0 % (10.0)"].map(Text::from));
        assert_eq!(table.rows[2][3], "–");
    }
}
