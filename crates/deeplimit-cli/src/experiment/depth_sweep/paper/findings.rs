//! What the trainings of figure 4 show.

use super::{ADAPTIVE, EPOCHS, FROZEN, METHODS, PUBLISHED, RESAMPLED, Row, SCHEMES, WITHIN};
use crate::page::{
    CURVES, Claim, Curve, Figure, Frame, Part, Scale, Section, Stroke, Table, Text, significant,
};
use anyhow::Result;
use deeplimit::Scheme;
use deeplimit::limit::Slope;

/// One of a row's numbers.
type Column = fn(&Row) -> Option<f64>;

/// All rows that there are.
pub(super) struct Figure4<'a> {
    pub(super) rows: &'a [Row],
    /// Epochs of each training.
    pub(super) epochs: usize,
}

/// Points of test error by which two trainings of the same network may differ.
const MARGIN: f64 = 2.0;

/// Share of the seeds in which a claim over trainings has to be found.
const SHARE: f64 = 0.75;

/// Epochs from which on trainings are judged: a third of the paper's. Before, they tell speeds.
const JUDGED: usize = EPOCHS / 3;

/// Order from which on an error is said to fall: half of that of Euler's scheme in the theory.
const FALLS: f64 = 0.5;

/// Factor between estimate and error from which on one misses or overstates the other.
const FAR: f64 = 10.0;

impl Figure4<'_> {
    fn seeds(&self) -> Vec<u64> {
        let mut seeds: Vec<u64> = self.rows.iter().map(|row| row.seed).collect();
        seeds.sort_unstable();
        seeds.dedup();
        seeds
    }

    fn depths(&self) -> Vec<usize> {
        let mut depths: Vec<usize> = self.rows.iter().map(|row| row.depth).collect();
        depths.sort_unstable();
        depths.dedup();
        depths
    }

    fn row(&self, seed: u64, scheme: &Scheme, depth: usize, method: &str) -> Option<&Row> {
        self.rows.iter().find(|row| {
            row.seed == seed
                && row.scheme == scheme.name()
                && row.depth == depth
                && row.method == method
        })
    }

    /// The rows of all seeds.
    fn cell(&self, scheme: &Scheme, depth: usize, method: &str) -> Vec<&Row> {
        let seeds = self.seeds();
        seeds.iter().filter_map(|seed| self.row(*seed, scheme, depth, method)).collect()
    }

    /// By how many points a method's lowest error is above backprop's, for one seed.
    fn gap(&self, seed: u64, scheme: &Scheme, depth: usize, method: &str) -> Option<f64> {
        let [exact, other] =
            [METHODS[0], method].map(|method| self.row(seed, scheme, depth, method));
        Some(other?.best_error - exact?.best_error)
    }

    /// (depth, gap) of one seed, wherever both are there.
    fn gaps(&self, seed: u64, scheme: &Scheme, method: &str) -> Vec<(usize, f64)> {
        let gap = |depth: usize| Some((depth, self.gap(seed, scheme, depth, method)?));
        self.depths().into_iter().filter_map(gap).collect()
    }

    pub(super) fn claims(&self) -> Vec<Claim> {
        let mut claims: Vec<Claim> = self.nothing_is_missed().into_iter().collect();
        if self.epochs < JUDGED {
            return claims;
        }
        for scheme in &SCHEMES {
            claims.extend(self.deepest(scheme, PUBLISHED));
        }
        for scheme in &SCHEMES {
            claims.extend(self.closing(scheme));
        }
        claims.extend(self.heun_closes_earlier());
        for scheme in &SCHEMES {
            claims.extend(self.lost(scheme));
            claims.extend(self.mended(scheme));
        }
        for scheme in &SCHEMES {
            claims.extend(self.deepest(scheme, ADAPTIVE));
        }
        claims.extend(SCHEMES.iter().filter_map(|scheme| self.resampled_order(scheme)));
        claims.extend(self.functions_matter());
        claims
    }

    /// That at the greatest depth of both a training without stored activations is as good.
    fn deepest(&self, scheme: &Scheme, method: &str) -> Option<Claim> {
        let depth = *self.depths().iter().rev().find(|depth| {
            self.seeds().iter().any(|seed| self.gap(*seed, scheme, **depth, method).is_some())
        })?;
        let gaps = self.seeds().into_iter();
        let gaps: Vec<f64> =
            gaps.filter_map(|seed| self.gap(seed, scheme, depth, method)).collect();
        let source = match method {
            PUBLISHED => "Sander, Ablin, Peyré 2022, figure 4",
            _ => "own",
        };
        let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
        Some(by_seeds(
            format!(
                "{scheme}, N = {depth}: trained with {method} as good as with backprop ({source})"
            ),
            format!("lowest test error at most {MARGIN} points higher"),
            &gaps.iter().map(|gap| *gap <= MARGIN).collect::<Vec<_>>(),
            format!("{mean:+.1} points"),
        ))
    }

    /// The least depth at which a method was trained beside backprop, and its gap there, seed by seed.
    fn shallowest(&self, scheme: &Scheme, method: &str) -> Option<(usize, Vec<f64>)> {
        let there = |depth: usize| {
            let gaps = self.seeds().into_iter();
            let gaps = gaps.filter_map(|seed| self.gap(seed, scheme, depth, method));
            let gaps: Vec<f64> = gaps.collect();
            (!gaps.is_empty()).then_some((depth, gaps))
        };
        self.depths().into_iter().find_map(there)
    }

    /// That the paper's method does not train a flow of the fewest layers.
    fn lost(&self, scheme: &Scheme) -> Option<Claim> {
        let (depth, gaps) = self.shallowest(scheme, PUBLISHED)?;
        let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
        Some(by_seeds(
            format!(
                "{scheme}, N = {depth}: {PUBLISHED} does not train as backprop does (Sander, Ablin, Peyré \
                 2022, figure 3b, there a ResNet-101)"
            ),
            format!("lowest test error more than {MARGIN} points higher"),
            &gaps.iter().map(|gap| *gap > MARGIN).collect::<Vec<_>>(),
            format!("{mean:+.1} points"),
        ))
    }

    /// That with a tolerance it does.
    fn mended(&self, scheme: &Scheme) -> Option<Claim> {
        let (depth, gaps) = self.shallowest(scheme, WITHIN)?;
        let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
        Some(by_seeds(
            format!("{scheme}, N = {depth}: within a tolerance of 0.01 it does (own)"),
            format!("lowest test error at most {MARGIN} points higher"),
            &gaps.iter().map(|gap| *gap <= MARGIN).collect::<Vec<_>>(),
            format!("{mean:+.1} points"),
        ))
    }

    /// That the paper's method falls behind in few layers, and less in many.
    fn closing(&self, scheme: &Scheme) -> Option<Claim> {
        let gaps = self.seeds().into_iter().map(|seed| self.gaps(seed, scheme, PUBLISHED));
        let ends = gaps.filter_map(|gaps| Some([*gaps.first()?, *gaps.last()?]));
        let ends: Vec<[(usize, f64); 2]> = ends.filter(|[first, last]| first.0 < last.0).collect();
        let [(shallow, _), (deep, _)] = *ends.first()?;
        let mean = |end: usize| ends.iter().map(|e| e[end].1).sum::<f64>() / ends.len() as f64;
        Some(by_seeds(
            format!(
                "{scheme}: {PUBLISHED} falls behind backprop by less in many layers than in few \
                 (Sander, Ablin, Peyré 2022, figure 4)"
            ),
            format!("more points at N = {shallow} than at the greatest depth"),
            &ends.iter().map(|[first, last]| first.1 > last.1).collect::<Vec<_>>(),
            format!("{:+.1} at N = {shallow}, {:+.1} at N = {deep}", mean(0), mean(1)),
        ))
    }

    /// That Heun's networks need fewer layers for it.
    fn heun_closes_earlier(&self) -> Option<Claim> {
        let sums = self.seeds().into_iter().filter_map(|seed| {
            let [euler, heun] = [0, 1].map(|index| self.gaps(seed, &SCHEMES[index], PUBLISHED));
            let shared = |gaps: &[(usize, f64)], others: &[(usize, f64)]| -> Vec<f64> {
                let there = |depth| others.iter().any(|(other, _)| *other == depth);
                gaps.iter().filter(|(depth, _)| there(*depth)).map(|(_, gap)| *gap).collect()
            };
            let means = [shared(&euler, &heun), shared(&heun, &euler)];
            let mean = |gaps: &Vec<f64>| gaps.iter().sum::<f64>() / gaps.len() as f64;
            (!means[0].is_empty()).then(|| [mean(&means[0]), mean(&means[1])])
        });
        let sums: Vec<[f64; 2]> = sums.collect();
        let mean = |of: usize| sums.iter().map(|s| s[of]).sum::<f64>() / sums.len() as f64;
        (!sums.is_empty()).then(|| {
            by_seeds(
                format!(
                    "{PUBLISHED} falls behind backprop by less in Heun networks than in residual ones \
                     (Sander, Ablin, Peyré 2022, figure 4)"
                ),
                "fewer points in the mean over the depths of both".to_owned(),
                &sums.iter().map(|[euler, heun]| heun < euler).collect::<Vec<_>>(),
                format!("{:+.1} with Heun, {:+.1} with Euler", mean(1), mean(0)),
            )
        })
    }

    /// That the gradient of one network by the paper's method is the better the more often it is sampled.
    fn resampled_order(&self, scheme: &Scheme) -> Option<Claim> {
        let orders = self.seeds().into_iter().filter_map(|seed| {
            let error = |depth: usize| {
                let row = self.row(seed, scheme, depth, RESAMPLED)?;
                Some((depth as f64, row.published_error?))
            };
            let points: Vec<(f64, f64)> = self.depths().into_iter().filter_map(error).collect();
            (points.len() > 2).then(|| -Slope::fit(&points).value)
        });
        let orders: Vec<f64> = orders.collect();
        let mean = orders.iter().sum::<f64>() / orders.len() as f64;
        (!orders.is_empty()).then(|| {
            by_seeds(
                format!(
                    "{scheme}: the error of {PUBLISHED} falls with depth, one trained network resampled \
                     (Sander, Ablin, Peyré 2022, figure 3c)"
                ),
                format!("an order of at least {FALLS}"),
                &orders.iter().map(|order| *order >= FALLS).collect::<Vec<_>>(),
                format!("order {}", significant(mean)),
            )
        })
    }

    /// That networks without residual functions are worse: else equal errors would say nothing.
    fn functions_matter(&self) -> Option<Claim> {
        let pairs = self.seeds().into_iter().filter_map(|seed| {
            let mut own = self.rows.iter().filter(|row| row.seed == seed);
            let frozen = own.clone().find(|row| row.method == FROZEN)?;
            let trained = own.by_ref().filter(|row| row.method == METHODS[0]);
            let worst = trained.map(|row| row.best_error).reduce(f64::max)?;
            Some([frozen.best_error, worst])
        });
        let pairs: Vec<[f64; 2]> = pairs.collect();
        let mean = |of: usize| pairs.iter().map(|p| p[of]).sum::<f64>() / pairs.len() as f64;
        (!pairs.is_empty()).then(|| {
            by_seeds(
                "control: with residual functions that stay 0 the network is worse than any that \
                 backprop trained (own)"
                    .to_owned(),
                format!("lowest test error more than {MARGIN} points higher"),
                &pairs.iter().map(|[frozen, worst]| *frozen > worst + MARGIN).collect::<Vec<_>>(),
                format!("{:.1} % and at most {:.1} %", mean(0), mean(1)),
            )
        })
    }

    /// (error, estimate) of both methods at the weights of every training.
    fn estimates(&self) -> Vec<(f64, f64)> {
        let pairs = self.rows.iter().filter(|row| row.method != FROZEN).flat_map(|row| {
            [
                row.published_error.zip(row.published_estimate),
                row.adaptive_error.zip(row.adaptive_estimate),
            ]
        });
        pairs.flatten().collect()
    }

    /// That no gradient is off by far more than its estimate.
    fn nothing_is_missed(&self) -> Option<Claim> {
        let estimates = self.estimates();
        let ratio = |(error, estimate): &(f64, f64)| error / estimate;
        let largest = estimates.iter().map(ratio).reduce(f64::max)?;
        Some(Claim {
            claim: "at trained weights no gradient is off by far more than its estimate (own)"
                .into(),
            expected: format!("at most {FAR} times, in {} gradients", estimates.len()),
            measured: format!("at most {} times", significant(largest)),
            holds: largest <= FAR,
        })
    }

    /// How often an estimate is far too large.
    fn false_alarms(&self) -> Text {
        let estimates = self.estimates();
        let far = estimates.iter().filter(|(error, estimate)| *estimate > FAR * error).count();
        let all = estimates.len();
        format!(
            "False alarms: the estimate was more than {FAR} times the error in {far} of {all} gradients at \
             trained weights."
        )
        .into()
    }

    pub(super) fn sections(&self) -> Result<Vec<Section>> {
        let mut test = vec![Part::Table(self.table())];
        if self.epochs < JUDGED {
            let text = format!(
                "Trainings of {} epochs tell speeds: the paper's claims are judged from {JUDGED} on.",
                self.epochs
            );
            test.push(Part::Warning(text.into()));
        }
        test.push(Part::Figures(vec![self.as_in_the_paper()?, self.adaptive()?]));
        let errors = |method| {
            let figures = SCHEMES.iter().map(|scheme| self.gradient_errors(scheme, method));
            figures.collect::<Result<Vec<_>>>()
        };
        let gradients = vec![
            Part::Figures(errors(METHODS[0])?),
            Part::Figures(errors(RESAMPLED)?),
            Part::Text(self.false_alarms()),
        ];
        Ok(vec![
            Section { title: "Test error".into(), parts: test },
            Section { title: "Gradient error at the trained weights".into(), parts: gradients },
        ])
    }

    fn table(&self) -> Table {
        let mut head: Vec<Text> = vec!["scheme".into(), "N".into()];
        let columns = [METHODS[0], PUBLISHED, WITHIN, ADAPTIVE];
        head.extend(columns.map(Text::from));
        head.push("minutes".into());
        let shown = |rows: &[&Row]| -> Text {
            let Some(first) = rows.first() else { return "–".into() };
            let mut errors: Vec<f64> = rows.iter().map(|row| row.best_error).collect();
            errors.sort_by(f64::total_cmp);
            let mean = errors.iter().sum::<f64>() / errors.len() as f64;
            let left = rows.iter().filter(|row| row.diverged).count();
            let mut text = match errors[..] {
                [_] => format!("{mean:.1} ({:.1})", first.test_error),
                [low, .., high] => format!("{mean:.1} ({low:.1} to {high:.1})"),
                [] => unreachable!("there is a row"),
            };
            if left > 0 {
                text += &format!(", {left} diverged");
            }
            text.into()
        };
        let mut rows = Vec::new();
        for scheme in &SCHEMES {
            for depth in self.depths() {
                let cells = columns.map(|method| self.cell(scheme, depth, method));
                if cells.iter().all(Vec::is_empty) {
                    continue;
                }
                let mut row: Vec<Text> = vec![scheme.name().into(), depth.to_string().into()];
                row.extend(cells.iter().map(|rows| shown(rows)));
                let seconds: f64 = cells.iter().flatten().map(|row| row.seconds).sum();
                row.push(format!("{:.0}", seconds / 60.0).into());
                rows.push(row);
            }
        }
        let frozen: Vec<&Row> = self.rows.iter().filter(|row| row.method == FROZEN).collect();
        if !frozen.is_empty() {
            let seconds: f64 = frozen.iter().map(|row| row.seconds).sum();
            let minutes = format!("{:.0}", seconds / 60.0).into();
            let none = || Text::from("");
            let start: [Text; 3] = [FROZEN.into(), "0".into(), shown(&frozen)];
            rows.push(start.into_iter().chain([none(), none(), none(), minutes]).collect());
        }
        let caption = format!(
            "Lowest test error after any of {} epochs in per cent, by the method that trained; seeds: {:?}. In \
             brackets the error after the last epoch, or of several seeds the least and the largest",
            self.epochs,
            self.seeds()
        );
        Table { caption: caption.into(), head, rows }
    }

    /// (depth, mean over the seeds) of a number of a row.
    fn points(
        &self,
        scheme: &Scheme,
        method: &str,
        number: impl Fn(&Row) -> Option<f64>,
    ) -> Vec<(f64, f64)> {
        let point = |depth: usize| {
            let cell = self.cell(scheme, depth, method);
            let numbers: Vec<f64> = cell.iter().filter_map(|row| number(row)).collect();
            let mean = numbers.iter().sum::<f64>() / numbers.len() as f64;
            (!numbers.is_empty()).then_some((depth as f64, mean))
        };
        self.depths().into_iter().filter_map(point).collect()
    }

    fn errors(&self, scheme: &Scheme, method: &str) -> Vec<(f64, f64)> {
        self.points(scheme, method, |row| Some(row.best_error))
    }

    /// The four curves of the paper's figure, with its names.
    fn as_in_the_paper(&self) -> Result<Figure> {
        let curve = |scheme: usize, method: &str, name: &'static str, stroke| Curve {
            name: name.into(),
            ink: CURVES[scheme],
            stroke,
            points: self.errors(&SCHEMES[scheme], method),
        };
        let curves = [
            curve(0, METHODS[0], "ResNet + backprop", Stroke::Bold),
            curve(0, PUBLISHED, "ResNet + adjoint method", Stroke::Dashed),
            curve(1, METHODS[0], "HeunNet + backprop", Stroke::Bold),
            curve(1, PUBLISHED, "HeunNet + adjoint method", Stroke::Dashed),
        ];
        let note =
            "The paper's four curves: lowest test error after any epoch, mean over the seeds.";
        let figure = Figure::new("Test error over depth, as in figure 4", &FRAME, &curves)?;
        Ok(Figure { note: note.into(), ..figure })
    }

    fn adaptive(&self) -> Result<Figure> {
        let mut curves = Vec::new();
        for (index, scheme) in SCHEMES.iter().enumerate() {
            for (method, stroke) in [(METHODS[0], Stroke::Bold), (ADAPTIVE, Stroke::Dashed)] {
                let name = format!("{scheme}, {method}").into();
                let points = self.errors(scheme, method);
                curves.push(Curve { name, ink: CURVES[index], stroke, points });
            }
        }
        Ok(Figure::new("Test error over depth, adjoint-adaptive", &FRAME, &curves)?)
    }

    /// Of networks that a method has trained, or that are resampled.
    fn gradient_errors(&self, scheme: &Scheme, method: &str) -> Result<Figure> {
        let probes: [(&'static str, Column); 2] =
            [(PUBLISHED, |row| row.published_error), (ADAPTIVE, |row| row.adaptive_error)];
        let mut curves = Vec::new();
        for (index, (name, number)) in probes.into_iter().enumerate() {
            let points = self.points(scheme, method, number);
            let (ink, stroke) = (CURVES[index + 1], Stroke::Bold);
            curves.push(Curve { name: name.into(), ink, stroke, points });
        }
        let frame = Frame { x: "depth N", y: "relative gradient error", ..Frame::RATES };
        let (what, note) = match method {
            RESAMPLED => {
                (", resampled", "The deepest network of backprop at other depths, as in figure 3c.")
            }
            _ => ("", "At the weights that backprop has trained, another network at every depth."),
        };
        let title = format!("Whole gradient, {scheme}{what}");
        Ok(Figure { note: note.into(), ..Figure::new(title, &frame, &curves)? })
    }
}

const FRAME: Frame<'static> =
    Frame { x: "depth N", y: "test error (%)", scale: Scale::Linear, ..Frame::RATES };

/// A claim that has to be found in most seeds.
fn by_seeds(claim: String, expected: String, found: &[bool], measured: String) -> Claim {
    let (held, all) = (found.iter().filter(|held| **held).count(), found.len());
    let needed = (SHARE * all as f64).ceil() as usize;
    Claim {
        claim,
        expected: format!("{expected}, in {needed} of {all} seeds"),
        measured: format!("{held} of {all}; {measured}"),
        holds: held >= needed,
    }
}

#[cfg(test)]
mod tests;
