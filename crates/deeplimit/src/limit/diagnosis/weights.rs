//! How the weights of one network vary with depth, which limit that says, and how sure it is.

use super::Diagnosed;
use super::distance::network_states;
use crate::control::Control;
use crate::limit::scaling::bend_exponent;
use crate::limit::{DepthStack, Regime, Roughness, ScalingError, Slope};
use crate::seed::{derive, uniform};
use crate::{Flow, Rows};
use serde::Serialize;

/// One parameter kind as a function of depth.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct KindVariation {
    /// Its name in weight files.
    pub kind: String,
    /// Its shape in one layer.
    pub shape: Vec<usize>,
    /// Root mean square of its entries.
    pub root_mean_square: f64,
    /// N · max_n ‖θ_{n+1} − θ_n‖₂: bounded in N where the weights have a Lipschitz limit.
    pub scaled_increment: f64,
    /// (N Σ ‖θ_{n+1} − θ_n‖²)^½: the H¹ seminorm (∫ ‖θ'‖² ds)^½ of the weights' linear interpolation.
    pub h1_seminorm: f64,
    /// H of this kind alone; None for kinds that do not vary.
    pub exponent: Option<f64>,
    /// H₂ of this kind alone; None for kinds that do not vary, and with fewer than five layers.
    pub bend_exponent: Option<f64>,
}

/// The kinds of a control, one by one.
pub(super) fn kinds(control: &Control<f64>) -> Result<Vec<KindVariation>, ScalingError> {
    let largest = control.largest_increments();
    let steps = control.nodes() as f64;
    let kind = |index: usize| {
        let kind = &control.kinds()[index];
        let values = &control.values()[index];
        let increments = (1..control.nodes()).flat_map(|node| {
            let pairs = control.at(index, node).iter().zip(control.at(index, node - 1));
            pairs.map(|(a, b)| (a - b) * (a - b))
        });
        let squares: f64 = increments.sum();
        let roughness = Roughness::of(&DepthStack::of_kind(control, index)?);
        let varies = squares > 0.0;
        Ok(KindVariation {
            kind: kind.name.to_owned(),
            shape: kind.shape.clone(),
            root_mean_square: (values.iter().map(|v| v * v).sum::<f64>()
                / values.len().max(1) as f64)
                .sqrt(),
            scaled_increment: steps * largest[index],
            h1_seminorm: (steps * squares).sqrt(),
            exponent: varies.then_some(roughness.exponent),
            bend_exponent: roughness.bend_exponent.filter(|_| varies),
        })
    };
    (0..control.kinds().len()).map(kind).collect()
}

/// A number and its 95 % interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Estimate {
    /// The number.
    pub value: f64,
    /// Lower end of the interval.
    pub low: f64,
    /// Upper end of the interval.
    pub high: f64,
}

/// The depth-scaling exponents of all weights together.
///
/// Intervals are value ± 1.96 √(b² + e²): b is the standard deviation over 400 bootstrap samples of
/// blocks of neighbouring entries (at most about 256 blocks; entries of one block share units and are
/// not independent), e the standard error of the fit over m. The first says how the exponent varies
/// with the choice of entries, the second how far the weights are from a power law.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Scaling {
    /// Control nodes.
    pub layers: usize,
    /// H, of first differences: half the slope of D(m) = mean ‖θ_{n+m} − θ_n‖².
    pub exponent: Estimate,
    /// H₂, of second differences, which a trend does not hide; None with fewer than five layers.
    pub bend_exponent: Option<Estimate>,
    /// The slope of Q(m) = Σ ‖N⁻¹ Σ_{block of m} θ‖²: 1 for smooth weights, 0 for independent ones
    /// of mean zero; None with fewer than sixteen layers.
    pub variation_exponent: Option<Estimate>,
    /// (m, D(m)).
    pub increments: Vec<(usize, f64)>,
    /// (m, D₂(m)).
    pub bends: Vec<(usize, f64)>,
    /// (m, Q(m)).
    pub variations: Vec<(usize, f64)>,
    /// D(1)/(4N), the Itô term's size in weights.
    pub ito_weights: f64,
    /// The share of the state that the Itô term of rough weights moves: (h/4) mean ‖f_{n+1}(x_n) −
    /// f_n(x_n)‖²/‖x_n‖². Above 0.1 rough weights count as diffusive.
    pub ito_state: f64,
    /// max ‖θ_n‖ / rms ‖θ_n‖; above √N/2 a jump.
    pub peak: f64,
    /// What the weights tend to.
    pub regime: Regime,
    /// Share of the bootstrap samples in which the weights are as smooth, as Hölder continuous or as
    /// rough.
    pub agreement: f64,
}

impl Scaling {
    /// Measures the weights of a flow, and their Itô term at the states of a batch.
    ///
    /// # Errors
    /// If there are fewer than three control nodes, or a weight is not finite.
    pub fn measure<F: Diagnosed>(flow: &Flow<F>, x0: &Rows<f64>) -> Result<Self, ScalingError> {
        let ito = super::orders::ito(flow, &network_states(flow, x0));
        scaling(flow.field().control(), ito)
    }
}

/// Rough weights whose Itô term moves the state by more than this share are diffusive.
///
/// One network shows a size and no growth, so that a number has to divide the two. Matrices `[4, 4]` of
/// normal numbers of size √N/2 lie at 0.5 at any depth, those of size 0.6 at 0.72/N, and those that
/// alternate by size 1 at 4/N: below the number from 40 layers on.
pub(super) const DIFFUSES: f64 = 0.1;

/// Blocks of entries that the bootstrap draws from.
const BLOCKS: usize = 256;
/// Bootstrap samples.
const SAMPLES: u64 = 400;

/// Measures all weights, given the Itô term's share of the state.
pub(super) fn scaling(control: &Control<f64>, ito_state: f64) -> Result<Scaling, ScalingError> {
    let all = Roughness::of(&DepthStack::of_all(control)?);
    let blocks = blocks(control)?;
    let curves = Curves::of(&all);
    let whole = curves.exponents(blocks.iter());
    let draws: Vec<Exponents> = (0..SAMPLES)
        .map(|sample| {
            let seed = derive(11, sample);
            let pick = |index: usize| {
                let place = (uniform(seed, index as u64) + 1.0) / 2.0 * blocks.len() as f64;
                &blocks[(place as usize).min(blocks.len() - 1)]
            };
            curves.exponents((0..blocks.len()).map(pick))
        })
        .collect();
    let estimate = |what: fn(&Exponents) -> Slope| {
        let Slope { value, error } = what(&whole);
        let draws: Vec<f64> = draws.iter().map(|draw| what(draw).value).collect();
        let reach = 1.96 * (variance(&draws) + error.powi(2)).sqrt();
        // Two points leave no scatter to tell a fit's error from.
        let reach = if error.is_finite() { reach } else { 1.96 * variance(&draws).sqrt() };
        Estimate { value, low: value - reach, high: value + reach }
    };
    let order = |exponents: &Exponents| {
        let order = if all.bends.len() > 1 { exponents.bend } else { exponents.first };
        Regime::continuous(order.value)
    };
    let told = Regime::continuous(all.order());
    let agreeing = draws.iter().filter(|draw| order(draw) == told).count();
    Ok(Scaling {
        layers: all.layers,
        exponent: estimate(|e| e.first),
        bend_exponent: (all.bends.len() > 1).then(|| estimate(|e| e.bend)),
        variation_exponent: (curves.blocks.len() > 2).then(|| estimate(|e| e.variation)),
        increments: all.increments.clone(),
        bends: all.bends.clone(),
        variations: curves.blocks.iter().copied().zip(whole.variations.clone()).collect(),
        ito_weights: all.ito,
        ito_state,
        peak: all.peak,
        regime: all.regime_with(ito_state > DIFFUSES),
        agreement: agreeing as f64 / SAMPLES as f64,
    })
}

/// What a block of entries adds to every curve.
struct Block {
    size: f64,
    increments: Vec<f64>,
    bends: Vec<f64>,
    variations: Vec<f64>,
}

/// Neighbouring entries of each kind, put together to about [`BLOCKS`] blocks.
fn blocks(control: &Control<f64>) -> Result<Vec<Block>, ScalingError> {
    let (nodes, entries) = (control.nodes(), control.len() / control.nodes());
    let mut blocks = Vec::new();
    for (index, kind) in control.kinds().iter().enumerate() {
        let count = (BLOCKS * kind.len()).div_ceil(entries.max(1)).clamp(1, kind.len().max(1));
        for block in 0..count {
            let range = block * kind.len() / count..(block + 1) * kind.len() / count;
            let rows = (0..nodes).flat_map(|node| &control.at(index, node)[range.clone()]);
            let values: Vec<f64> = rows.copied().collect();
            let stack = DepthStack::new(nodes, &values)?;
            let roughness = Roughness::of(&stack);
            let second = |curve: Vec<(usize, f64)>| curve.into_iter().map(|(_, d)| d).collect();
            let variation = |m: &usize| stack.variation(*m);
            blocks.push(Block {
                size: values.iter().map(|v| v * v).sum::<f64>() / nodes as f64,
                increments: second(roughness.increments),
                bends: second(roughness.bends),
                variations: block_lengths(nodes).iter().map(variation).collect(),
            });
        }
    }
    Ok(blocks)
}

/// The m of Q(m).
fn block_lengths(layers: usize) -> Vec<usize> {
    (0..)
        .map(|power| 1 << power)
        .take_while(|m| *m <= layers / 16 || *m * 4 <= layers && *m <= 4)
        .collect()
}

/// The m of every curve.
struct Curves {
    increments: Vec<usize>,
    bends: Vec<usize>,
    blocks: Vec<usize>,
}

/// Exponents of sums over some blocks; H and H₂ are halves of slopes.
struct Exponents {
    first: Slope,
    bend: Slope,
    variation: Slope,
    variations: Vec<f64>,
}

impl Curves {
    fn of(all: &Roughness) -> Self {
        let firsts = |curve: &[(usize, f64)]| curve.iter().map(|(m, _)| *m).collect();
        Self {
            increments: firsts(&all.increments),
            bends: firsts(&all.bends),
            blocks: block_lengths(all.layers),
        }
    }

    fn exponents<'b>(&self, blocks: impl Iterator<Item = &'b Block>) -> Exponents {
        let mut sum = Block {
            size: 0.0,
            increments: vec![0.0; self.increments.len()],
            bends: vec![0.0; self.bends.len()],
            variations: vec![0.0; self.blocks.len()],
        };
        let add = |to: &mut [f64], from: &[f64]| to.iter_mut().zip(from).for_each(|(t, f)| *t += f);
        for block in blocks {
            sum.size += block.size;
            add(&mut sum.increments, &block.increments);
            add(&mut sum.bends, &block.bends);
            add(&mut sum.variations, &block.variations);
        }
        let straight = 1e-12 * sum.size;
        let half = |Slope { value, error }| Slope { value: value / 2.0, error: error / 2.0 };
        let curve = |ms: &[usize], values: &[f64]| -> Vec<(f64, f64)> {
            ms.iter().zip(values).map(|(m, d)| (*m as f64, d.max(straight))).collect()
        };
        let bends: Vec<(usize, f64)> =
            self.bends.iter().copied().zip(sum.bends.iter().copied()).collect();
        let mut bend = half(Slope::fit(&curve(&self.bends, &sum.bends)));
        if !bends.is_empty() {
            bend.value = bend_exponent(&bends, sum.size);
        }
        let mut first = half(Slope::fit(&curve(&self.increments, &sum.increments)));
        if sum.increments.iter().all(|d| *d <= straight) {
            first = Slope { value: 1.0, error: 0.0 }; // Every layer the same.
        }
        let points = self.blocks.iter().zip(&sum.variations).map(|(m, q)| (*m as f64, *q));
        let variation = Slope::fit(&points.collect::<Vec<_>>());
        Exponents { first, bend, variation, variations: sum.variations }
    }
}

fn variance(values: &[f64]) -> f64 {
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (count - 1.0)
}
