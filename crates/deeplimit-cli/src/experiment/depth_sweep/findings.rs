//! What the rows of a sweep show.

use super::{METHODS, Row};
use crate::page::{
    CURVES, Claim, Curve, Figure, Frame, Part, Scale, Section, Stroke, Table, Text, significant,
};
use anyhow::Result;
use deeplimit::Scheme;
use deeplimit::limit::Slope;

/// The rows of a sweep, and what they show.
pub(super) struct Sweep<'a> {
    pub(super) rows: &'a [Row],
    /// Those that were measured.
    pub(super) depths: &'a [usize],
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

    pub(super) fn claims(&self) -> Vec<Claim> {
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
            claims.extend(
                [METHODS[1], METHODS[3]]
                    .map(|m| self.deepest_training(&scheme, m))
                    .into_iter()
                    .flatten(),
            );
        }
        claims.push(self.nothing_is_missed());
        claims
    }

    /// That at the greatest depth of both, training without stored activations is as good.
    fn deepest_training(&self, scheme: &Scheme, method: &str) -> Option<Claim> {
        let both = |depth: &usize| {
            let cell = |method| self.cell(scheme, *depth, method);
            Some((*depth, cell(METHODS[0])?, cell(method)?))
        };
        let (depth, exact, other) = self.depths.iter().rev().find_map(both)?;
        let gap = other.test_error - exact.test_error;
        let [other, exact] = [other, exact].map(|cell| cell.test_error);
        Some(Claim {
            claim: format!(
                "{}, depth {depth}: trained with {method} as good as with backprop",
                scheme.name()
            ),
            expected: format!("test error at most {MARGIN} points higher"),
            measured: format!("{other:.1} % and {exact:.1} %: {gap:+.1} points"),
            holds: gap <= MARGIN,
        })
    }

    /// (estimate, error) of every training's own method: the median over its last epoch, and at its end.
    fn estimates(&self) -> Vec<(f64, f64)> {
        let own = self.rows.iter().filter(|row| row.probe == row.method && row.layer == 0);
        own.map(|row| (row.certificate, row.gradient_error)).collect()
    }

    /// That no estimate is far too small.
    fn nothing_is_missed(&self) -> Claim {
        let estimates = self.estimates();
        let largest =
            estimates.iter().map(|(estimate, error)| error / estimate).fold(0.0, f64::max);
        Claim {
            claim: "no training's gradient was off by far more than its estimate".into(),
            expected: format!(
                "errors at most {FAR} times the estimate in {} trainings",
                estimates.len()
            ),
            measured: format!("at most {} times", significant(largest)),
            holds: largest <= FAR,
        }
    }

    /// How often an estimate is far too large, and what it says of trainings that are as good as backprop's.
    fn false_alarms(&self) -> Text {
        let estimates = self.estimates();
        let far = estimates.iter().filter(|(estimate, error)| *estimate > FAR * error).count();
        let (mut good, mut flagged) = (0, 0);
        for scheme in SCHEMES {
            for &depth in self.depths {
                let Some(exact) = self.cell(&scheme, depth, METHODS[0]) else { continue };
                let others = METHODS[1..].iter().filter_map(|m| self.cell(&scheme, depth, m));
                for cell in others.filter(|cell| cell.test_error <= exact.test_error + MARGIN) {
                    good += 1;
                    flagged += usize::from(cell.certificate >= FLAG);
                }
            }
        }
        format!(
            "False alarms: the estimate was more than {FAR} times the error in {far} of {} trainings without \
             stored activations, and at least {FLAG} in {flagged} of the {good} that ended at most {MARGIN} \
             points above backprop's. With relu it is cautious, and tells no good training from a bad one here.",
            estimates.len()
        )
        .into()
    }

    pub(super) fn sections(&self) -> Result<Vec<Section>> {
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
                parts: vec![
                    Part::Figures(errors),
                    Part::Figures(layers),
                    Part::Text(self.false_alarms()),
                ],
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

/// Factor between estimate and error from which on one misses or overstates the other.
const FAR: f64 = 10.0;

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
        let silent = |row: &mut Row| row.certificate = 1e-3;
        let failed = broken(silent);
        assert_eq!(failed.len(), 1, "{failed:?}");
        assert!(failed[0].contains("more than its estimate"));
        let bad = |row: &mut Row| {
            if row.depth == 32 && row.method == "adjoint-adaptive" {
                row.test_error = 55.0;
            }
        };
        let failed = broken(bad);
        assert_eq!(failed.len(), 2, "{failed:?}");
        assert!(failed.iter().all(|claim| claim.contains("adjoint-adaptive as good as")));
    }

    #[test]
    fn an_estimate_that_always_cries_wolf_is_told() {
        let mut rows = rows();
        let said = |rows: &[Row]| Sweep { rows, depths: &[2, 8, 32] }.false_alarms().into_owned();
        assert!(said(&rows).contains("error in 10 of 18"), "{}", said(&rows));
        rows.iter_mut().for_each(|row| row.certificate = 1e6);
        assert!(said(&rows).contains("error in 18 of 18"), "{}", said(&rows));
        assert!(said(&rows).contains("in 12 of the 12"), "{}", said(&rows));
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
