//! Which limit networks have as their depth grows, told from how their weights vary with depth.
//!
//! ```text
//! r₀ = rms ‖θ_n‖,  r₁ = rms ‖θ_{n+1} − θ_n‖,  r₂ = rms ‖θ_{n+1} − 2 θ_n + θ_{n−1}‖
//! Q  = N⁻² Σ ‖θ_n‖²,  P = max_n ‖N⁻¹ Σ_{j≤n} θ_j‖,  peak = max ‖θ_n‖ / r₀
//! ```
//!
//! Q is the quadratic variation of V_n = N⁻¹ Σ_{j≤n} θ_j, the weights' primitive in depth, and P
//! its size. Over a family of networks of growing depth N each behaves like a power of N:
//!
//! | regime | r₀ | r₁ | r₂ | Q | P | peak |
//! |---|---|---|---|---|---|---|
//! | [smooth ODE](Regime::SmoothOde) | 0 | −1 | −2, or −1 above a noise of order 1/N | −1 | 0 | 0 |
//! | [Hölder ODE](Regime::HoelderOde) | 0 | −½ … −1 | −½ | −1 | 0 | 0 |
//! | [averaged ODE](Regime::AveragedOde) | 0 | 0 | 0 | −1 | 0 | 0 |
//! | [diffusive](Regime::Diffusive) | ½ | ½ | ½ | 0 | 0 | 0 |
//! | [jump](Regime::Jump) | ½ | ½ | ½ | 0 | 0 | ½ |
//! | [diverging](Regime::Diverging) | | | | > 0, or P > 0 | > 0, or Q > 0 | |
//!
//! The question and the first two kinds of statistics are those of Cohen, Cont, Rossier, Xu (2021),
//! who put a factor N^{−α} in front of a layer; here it is always 1/N, and theirs goes into the
//! weights: θ N^{1−α}. That r₂ and not r₁ tells smooth from Hölder continuous weights, and the
//! thresholds, were found on random families with N = 32 … 512: a smooth trend hides noise from first
//! differences, and r₁ takes some Hölder families for smooth ones.
//!
//! Weights in single precision are known to 6e-8 of their size, which r₂ of smooth weights reaches
//! at depths of some ten thousand: their slope then is that of the rounding.

use super::{DepthStack, ScalingError, Slope};
use crate::Real;
use serde::Serialize;
use std::fmt;

/// What x_{n+1} = x_n + (1/N) f(x_n, θ_n) tends to as N grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Regime {
    /// A neural ODE whose weights are a differentiable function of depth.
    SmoothOde,
    /// A neural ODE whose weights are a continuous function of depth, like a path of Brownian
    /// motion.
    HoelderOde,
    /// A neural ODE with the layer functions' averages over depth: the weights are bounded, and too
    /// rough to have a limit themselves.
    AveragedOde,
    /// A stochastic differential equation: independent weights of size √N.
    Diffusive,
    /// No differential equation: a few layers, of size N, make a change of their own.
    Jump,
    /// Nothing: the weights' sum over depth grows without bound.
    Diverging,
}

impl Regime {
    /// All regimes.
    pub const ALL: [Self; 6] = [
        Self::SmoothOde,
        Self::HoelderOde,
        Self::AveragedOde,
        Self::Diffusive,
        Self::Jump,
        Self::Diverging,
    ];

    /// The ODE whose weights have differences of this order in the distance of layers; none where
    /// they do not vanish with it.
    pub(super) fn continuous(order: f64) -> Option<Self> {
        if order > 0.75 {
            Some(Self::SmoothOde)
        } else if order > 0.25 {
            Some(Self::HoelderOde)
        } else {
            None
        }
    }
}

impl fmt::Display for Regime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::SmoothOde => "smooth ODE",
            Self::HoelderOde => "Hölder ODE",
            Self::AveragedOde => "averaged ODE",
            Self::Diffusive => "diffusive",
            Self::Jump => "jump",
            Self::Diverging => "diverging",
        })
    }
}

/// How the weights of one network vary with depth; the norms are 2-norms over all numbers of a
/// layer.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DepthFeatures {
    /// N.
    pub layers: usize,
    /// r₀ = rms ‖θ_n‖.
    pub size: f64,
    /// r₁ = rms ‖θ_{n+1} − θ_n‖.
    pub first_difference: f64,
    /// r₂ = rms ‖θ_{n+1} − 2 θ_n + θ_{n−1}‖.
    pub second_difference: f64,
    /// max_n ‖θ_{n+1} − θ_n‖.
    pub largest_increment: f64,
    /// Q = N⁻² Σ ‖θ_n‖².
    pub variation: f64,
    /// P = max_n ‖N⁻¹ Σ_{j≤n} θ_j‖.
    pub primitive: f64,
    /// max ‖θ_n‖ / r₀.
    pub peak: f64,
}

impl DepthFeatures {
    /// Measures the weights of one network.
    pub fn of<R: Real>(stack: &DepthStack<'_, R>) -> Self {
        let sizes: Vec<f64> = stack.squares([(0, 1.0)]).collect();
        let increments: Vec<f64> = stack.squares([(1, 1.0), (0, -1.0)]).collect();
        let bends: Vec<f64> = stack.squares([(2, 1.0), (1, -2.0), (0, 1.0)]).collect();
        let [size, first_difference, second_difference] =
            [&sizes, &increments, &bends].map(|squares| mean(squares).sqrt());
        Self {
            layers: stack.layers(),
            size,
            first_difference,
            second_difference,
            largest_increment: largest(&increments).sqrt(),
            variation: stack.variation(1),
            primitive: stack.primitive(),
            peak: largest(&sizes).sqrt() / size,
        }
    }
}

/// The exponents p of the features ∝ Nᵖ over a family of depths.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DepthSlopes {
    /// Of r₀.
    pub size: Slope,
    /// Of r₁.
    pub first_difference: Slope,
    /// Of r₂.
    pub second_difference: Slope,
    /// Of max_n ‖θ_{n+1} − θ_n‖.
    pub largest_increment: Slope,
    /// Of Q.
    pub variation: Slope,
    /// Of P.
    pub primitive: Slope,
    /// Of the peak.
    pub peak: Slope,
}

impl DepthSlopes {
    /// Fits the features of networks of different depths, trained or drawn in the same way.
    ///
    /// # Errors
    /// If not even two depths differ.
    pub fn fit(family: &[DepthFeatures]) -> Result<Self, ScalingError> {
        if family.iter().all(|features| features.layers == family[0].layers) {
            return Err(ScalingError::OneDepth { networks: family.len() });
        }
        let slope = |feature: fn(&DepthFeatures) -> f64| {
            let points = family.iter().map(|features| (features.layers as f64, feature(features)));
            Slope::fit(&points.collect::<Vec<_>>())
        };
        Ok(Self {
            size: slope(|features| features.size),
            first_difference: slope(|features| features.first_difference),
            second_difference: slope(|features| features.second_difference),
            largest_increment: slope(|features| features.largest_increment),
            variation: slope(|features| features.variation),
            primitive: slope(|features| features.primitive),
            peak: slope(|features| features.peak),
        })
    }

    /// The regime of the family: diverging where P grows faster than N^¼ or Q faster than N^0.35;
    /// a jump where the peak grows faster than N^0.3; diffusive where Q falls more slowly than
    /// N^−½; else by the order −(slope of r₂), smooth above ¾, Hölder above ¼, averaged below.
    ///
    /// With five depths from 32 to 512 none of 2400 random families was mistaken
    /// (`tests/golden/e_scaling.json`).
    pub fn regime(&self) -> Regime {
        if self.primitive.value > 0.25 || self.variation.value > 0.35 {
            Regime::Diverging
        } else if self.peak.value > 0.3 {
            Regime::Jump
        } else if self.variation.value > -0.5 {
            Regime::Diffusive
        } else if self.second_difference.value.is_nan() {
            Regime::SmoothOde // Weights that do not bend at all: r₂ = 0.
        } else {
            Regime::continuous(-self.second_difference.value).unwrap_or(Regime::AveragedOde)
        }
    }
}

/// What the weights of a single network tell of its regime: less than a family, because a size
/// cannot be told from a growth.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Roughness {
    /// N.
    pub layers: usize,
    /// (m, D(m)) with D(m) = mean ‖θ_{n+m} − θ_n‖², at the distances m = 1, 2, 4, 8 that do not
    /// exceed N/8 (1 and 2 always).
    pub increments: Vec<(usize, f64)>,
    /// H, half the slope of log D(m) over log m: 1 for smooth weights, ½ for Brownian paths, 0 for
    /// independent weights.
    pub exponent: f64,
    /// (m, D₂(m)) with D₂(m) = mean ‖θ_{n+m} − 2 θ_n + θ_{n−m}‖², at the distances m = 1, 2, 4, … that
    /// do not exceed N/16 (1 and 2 from five layers on).
    pub bends: Vec<(usize, f64)>,
    /// H₂, half the slope of log D₂(m) over log m: 2 for smooth weights (1 or more above a noise of
    /// order 1/N), ½ for Brownian paths, 0 for independent weights. A trend, which hides noise from
    /// D, cancels. None with fewer than five layers.
    pub bend_exponent: Option<f64>,
    /// D(1)/(4N): the size of the Itô term ½ Σ h² J_n f_n, by which a network with independent
    /// weights differs from its neural ODE.
    pub ito: f64,
    /// max ‖θ_n‖ / r₀.
    pub peak: f64,
}

impl Roughness {
    /// Measures the weights of one network.
    pub fn of<R: Real>(stack: &DepthStack<'_, R>) -> Self {
        let layers = stack.layers();
        let sizes: Vec<f64> = stack.squares([(0, 1.0)]).collect();
        let size = mean(&sizes);
        let distance = |m: usize| {
            let squares: Vec<f64> = stack.squares([(m, 1.0), (0, -1.0)]).collect();
            (m, mean(&squares))
        };
        let distances = [1, 2, 4, 8].into_iter().filter(|m| *m <= (layers / 8).max(2));
        let increments: Vec<(usize, f64)> = distances.map(distance).collect();
        // Weights of an exact period may return to the same numbers: D = 0 up to their rounding.
        let least = f64::EPSILON.powi(2) * size;
        let points = increments.iter().map(|(m, d)| (*m as f64, d.max(least)));
        let exponent = match increments[0].1 {
            0.0 => 1.0, // Every layer the same, or no weights at all.
            _ => Slope::fit(&points.collect::<Vec<_>>()).value / 2.0,
        };
        let ito = increments[0].1 / (4.0 * layers as f64);
        let bend = |m: usize| {
            let squares: Vec<f64> = stack.squares([(2 * m, 1.0), (m, -2.0), (0, 1.0)]).collect();
            (m, mean(&squares))
        };
        let distances = (0..).map(|power| 1 << power);
        let distances = distances.take_while(|m| *m <= (layers / 16).max(2) && 2 * m < layers);
        let bends: Vec<(usize, f64)> = distances.map(bend).collect();
        let bend_exponent = (bends.len() > 1).then(|| bend_exponent(&bends, size));
        let peak = (largest(&sizes) / size).sqrt();
        Self { layers, increments, exponent, bends, bend_exponent, ito, peak }
    }

    /// The order by which weights are told to be smooth, Hölder continuous or rough: H₂, and H where
    /// there are too few layers for it.
    pub fn order(&self) -> f64 {
        self.bend_exponent.unwrap_or(self.exponent)
    }

    /// The regime of the network: a jump where the peak is above √N/2; else by the
    /// [`order`](Self::order), smooth above ¾, Hölder above ¼; else diffusive where the Itô term is
    /// above 0.02, averaged below.
    ///
    /// Error rates over random networks: `single_networks_are_recognised_the_better_the_deeper_they_are`
    /// in `tests/golden_scaling.rs`. [`Regime::Diverging`] is never the answer: it
    /// cannot be seen at one depth. Nor can a jump in few layers: the peak lies between 1 and √N, so
    /// that below 16 layers a layer twice as large as the others is one, and below 4 any layer is.
    pub fn regime(&self) -> Regime {
        self.regime_with(self.ito > 0.02)
    }

    /// [`regime`](Self::regime), given whether the Itô term of rough weights counts.
    pub(super) fn regime_with(&self, diffuses: bool) -> Regime {
        if self.peak > 0.5 * (self.layers as f64).sqrt() {
            return Regime::Jump;
        }
        let noise = if diffuses { Regime::Diffusive } else { Regime::AveragedOde };
        Regime::continuous(self.order()).unwrap_or(noise)
    }
}

/// Half the slope of D₂, for weights of mean square `size`.
pub(super) fn bend_exponent(bends: &[(usize, f64)], size: f64) -> f64 {
    // Weights in single precision are known to 6e-8: what bends less than a millionth is straight.
    let straight = 1e-12 * size;
    if bends.iter().all(|(_, bend)| *bend <= straight) {
        return 2.0;
    }
    let points: Vec<_> = bends.iter().map(|(m, bend)| (*m as f64, bend.max(straight))).collect();
    Slope::fit(&points).value / 2.0
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

fn largest(values: &[f64]) -> f64 {
    super::ode::largest(values.iter().copied())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn features(layers: usize, weights: &[f64]) -> DepthFeatures {
        DepthFeatures::of(&DepthStack::new(layers, weights).expect("a stack"))
    }

    fn roughness(layers: usize, weight: impl Fn(usize) -> f64) -> Roughness {
        let weights: Vec<f64> = (0..layers).map(weight).collect();
        Roughness::of(&DepthStack::new(layers, &weights).expect("a stack"))
    }

    #[test]
    fn features_of_three_layers_are_those_by_hand() {
        let found = features(3, &[1.0, 0.0, 3.0, 4.0, -3.0, 4.0]);
        let expected = DepthFeatures {
            layers: 3,
            size: (51.0f64 / 3.0).sqrt(),
            first_difference: (56.0f64 / 2.0).sqrt(), // (2, 4) and (−6, 0).
            second_difference: 80f64.sqrt(),          // (−8, −4).
            largest_increment: 6.0,
            variation: 51.0 / 9.0,
            primitive: 65f64.sqrt() / 3.0, // (1, 0), (4, 4), (1, 8).
            peak: 5.0 / 17f64.sqrt(),
        };
        assert_eq!(found, expected);
    }

    #[test]
    fn weights_that_do_not_change_with_depth_are_smooth() {
        for value in [0.0, 0.7] {
            let family = [8, 16, 32].map(|layers| features(layers, &vec![value; 2 * layers]));
            let slopes = DepthSlopes::fit(&family).expect("three depths");
            assert_eq!(slopes.regime(), Regime::SmoothOde, "{slopes:?}");
            assert_eq!(roughness(32, |_| value).regime(), Regime::SmoothOde);
        }
    }

    #[test]
    fn second_differences_tell_hoelder_from_smooth_where_a_trend_hides_the_first() {
        let slope = |value| Slope { value, error: 0.01 };
        let slopes = DepthSlopes {
            size: slope(0.0),
            first_difference: slope(-0.8),
            second_difference: slope(-0.5),
            largest_increment: slope(-0.7),
            variation: slope(-1.0),
            primitive: slope(0.0),
            peak: slope(0.0),
        };
        assert_eq!(slopes.regime(), Regime::HoelderOde);
    }

    #[test]
    fn weights_that_alternate_exactly_are_rough() {
        for layers in [9, 17, 64] {
            let alternating = roughness(layers, |n| if n % 2 == 0 { 0.3 } else { -0.1 });
            assert_eq!(alternating.regime(), Regime::AveragedOde, "{alternating:?}");
            assert!(alternating.exponent < -1.0, "{alternating:?}"); // D(2) = 0.
        }
    }

    #[test]
    fn increments_are_taken_at_no_more_than_an_eighth_of_the_depth() {
        let distances = |layers| {
            let increments = roughness(layers, |n| n as f64).increments;
            increments.into_iter().map(|(m, _)| m).collect::<Vec<_>>()
        };
        assert_eq!(distances(3), [1, 2]);
        assert_eq!(distances(31), [1, 2]);
        assert_eq!(distances(32), [1, 2, 4]);
        assert_eq!(distances(63), [1, 2, 4]);
        assert_eq!(distances(1000), [1, 2, 4, 8]);
    }

    #[test]
    fn one_depth_is_refused_and_counted() {
        let same = [features(3, &[1.0, 2.0, 3.0]), features(3, &[1.0, 2.0, 4.0])];
        assert_eq!(DepthSlopes::fit(&same), Err(ScalingError::OneDepth { networks: 2 }));
        assert_eq!(DepthSlopes::fit(&[]), Err(ScalingError::OneDepth { networks: 0 }));
    }
}
