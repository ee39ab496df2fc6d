//! Whether a network's flow is an ODE: everything that can be measured of one flow, and a verdict.
//!
//! [`Diagnosis::of`] takes a flow in double precision, a batch of its inputs x_0 and the loss's
//! cotangents of its ends, and measures
//!
//! - the distance of its states to its neural ODE, for both interpolants, beside the bounds on it
//!   (Sander, Ablin, Peyré 2022; [`Bounds`](super::Bounds) states them),
//! - Lipschitz and one-sided Lipschitz constants along the trajectories ([`Jacobians`]),
//! - how its weights vary with depth, and which limit that says ([`Scaling`]; after Cohen, Cont,
//!   Rossier, Xu 2021),
//! - what halving and doubling the depth, and neighbouring schemes, do to it
//!   ([`Gaps`], [`Doubling`]),
//! - the error of every gradient method that fits its scheme ([`MethodErrors`]).
//!
//! What a flow does not have is a [`Finding`] with the reason, never a number. Estimates: Jacobians
//! are known from Lanczos iterations and central differences, suprema from maxima over points.

mod distance;
mod field;
mod jacobians;
mod krylov;
mod methods;
mod orders;
mod parts;
mod pictures;
mod verdict;
mod weights;

pub use distance::{BoundsAlong, CertainBounds, Distance};
pub use field::Diagnosed;
pub use jacobians::Jacobians;
pub use methods::{Errors, MethodErrors};
pub use orders::Doubling;
pub use pictures::{Pictures, Spectra, Trajectories, WeightPaths};
pub use verdict::{Recommendation, Standing, Verdict};
pub use weights::{Estimate, KindVariation, Scaling};

use super::{Gaps, Interpolant, ScalingError};
use crate::{Flow, Rows, Scheme, State};
use serde::Serialize;

/// What was measured, or why there is nothing to measure.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Finding<T> {
    /// It was.
    Known(T),
    /// It was not: `{"value": null, "reason": …}`.
    Unknown {
        /// Null in JSON.
        value: (),
        /// Why.
        reason: String,
    },
}

impl<T> Finding<T> {
    /// Nothing, for a reason.
    pub fn unknown(reason: &str) -> Self {
        Self::Unknown { value: (), reason: reason.to_owned() }
    }

    /// What was measured.
    pub fn known(&self) -> Option<&T> {
        match self {
            Self::Known(value) => Some(value),
            Self::Unknown { .. } => None,
        }
    }

    /// Why nothing was.
    pub fn reason(&self) -> Option<&str> {
        match self {
            Self::Known(_) => None,
            Self::Unknown { reason, .. } => Some(reason),
        }
    }

    /// The same of something made of it.
    pub fn map<U>(self, make: impl FnOnce(T) -> U) -> Finding<U> {
        match self {
            Self::Known(value) => Finding::Known(make(value)),
            Self::Unknown { reason, .. } => Finding::Unknown { value: (), reason },
        }
    }
}

/// All that is known of one flow.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Diagnosis {
    /// The step in depth.
    pub scheme: String,
    /// N.
    pub layers: usize,
    /// h.
    pub step: f64,
    /// Samples of the batch.
    pub samples: usize,
    /// Numbers a sample.
    pub width: usize,
    /// Whether samples see each other (batch normalisation by the statistics of this batch, as in
    /// training): norms and Jacobians are then those of the whole batch.
    pub samples_meet: bool,
    /// max_n ‖x_n‖, and ‖x_N − x_0‖, over the whole batch.
    pub state_size: f64,
    /// ‖x_N − x_0‖.
    pub state_change: f64,
    /// The distance to the ODE of the function interpolant.
    pub function_interpolant: Distance,
    /// The distance to the ODE of the weight interpolant.
    pub weight_interpolant: Distance,
    /// The bounds on the first of them.
    pub bounds: Finding<BoundsAlong>,
    /// Lipschitz constants along the trajectories.
    pub jacobians: Jacobians,
    /// Each parameter kind as a function of depth.
    pub kinds: Finding<Vec<KindVariation>>,
    /// All weights, and the limit that they say.
    pub scaling: Finding<Scaling>,
    /// The merge gap, whose order is that of halving the depth, the frozen-layer and the Euler–Heun
    /// gap.
    pub gaps: Finding<Gaps>,
    /// The order of doubling the depth.
    pub doubling: Doubling,
    /// Gradient methods.
    pub methods: Vec<MethodErrors>,
    /// What it all says.
    pub verdict: Verdict,
    /// Data of the pictures.
    pub pictures: Pictures,
}

/// A flow that cannot be diagnosed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DiagnosisError {
    /// A weight is infinite or not a number.
    #[error(transparent)]
    Weights(#[from] ScalingError),
    /// The states leave the numbers.
    #[error(
        "the state after layer {layer} is not finite; diagnose weights from before it diverged"
    )]
    States {
        /// The first such layer.
        layer: usize,
    },
    /// The cotangent of the end is not finite, or zero.
    #[error("the loss's cotangent is {what}: there is no gradient to measure the error of")]
    Cotangent {
        /// What it is.
        what: &'static str,
    },
    /// Batch normalisation has nothing to go by.
    #[error(
        "of one sample with images of 1×1 pixels batch normalisation sees one number a channel, which has \
         no variance; diagnose with two samples or more"
    )]
    OneNumber,
}

impl Diagnosis {
    /// Measures a flow from x_0, with the loss's cotangent of x_N. The work is that of a few hundred
    /// walks of the batch through the network.
    ///
    /// # Errors
    /// If weights, states or the cotangent are not finite, or the cotangent is zero.
    ///
    /// # Panics
    /// If x_0 and the cotangent have different shapes, or no sample.
    pub fn of<F: Diagnosed>(
        flow: &Flow<F>,
        x0: &Rows<f64>,
        cotangent: &Rows<f64>,
    ) -> Result<Self, DiagnosisError> {
        assert!(x0.rows() > 0, "a batch has at least one sample");
        assert_eq!((x0.rows(), x0.width()), (cotangent.rows(), cotangent.width()));
        let control = flow.field().control();
        if let Some(place) = control.values().iter().enumerate().find_map(|(kind, values)| {
            let length = control.kinds()[kind].len().max(1);
            values.iter().position(|value| !value.is_finite()).map(|place| place / length)
        }) {
            return Err(ScalingError::NotFinite { layer: place }.into());
        }
        let weight = cotangent.norm_squared();
        if !weight.is_finite() || weight == 0.0 {
            let what = if weight == 0.0 { "zero" } else { "not finite" };
            return Err(DiagnosisError::Cotangent { what });
        }
        let network = distance::network_states(flow, x0);
        let broken = network.iter().position(|x| !x.norm_squared().is_finite());
        if let Some(layer) = broken {
            return Err(DiagnosisError::States { layer: layer.saturating_sub(1) });
        }

        let euler = *flow.scheme() == Scheme::EULER.into();
        let (solution, function_interpolant) =
            distance::solve(flow, Interpolant::Function, x0, &network);
        let (_, weight_interpolant) = distance::solve(flow, Interpolant::Weight, x0, &network);
        let (jacobians, segments) = jacobians::measure(flow, &network, euler.then_some(&solution));
        let only_euler = |what: &str| {
            format!(
                "{what} about residual networks, which are Euler steps; for {} steps there is no \
                 theory here",
                flow.scheme()
            )
        };
        let bounds = if euler {
            Finding::Known(distance::bounds(flow, x0, function_interpolant.substeps, &segments))
        } else {
            Finding::unknown(&only_euler("the bounds are"))
        };
        let gaps = match Gaps::measure(flow, &F::state(x0.clone())) {
            Ok(gaps) => Finding::Known(gaps),
            Err(_) => Finding::unknown(&only_euler("these gaps are")),
        };
        let ito = orders::ito(flow, &network);
        let scaling = finding(weights::scaling(control, ito));
        let kinds = finding(weights::kinds(control));
        let methods = methods::compare(flow, x0, cotangent);
        let end = &network[flow.steps()];
        let mut diagnosis = Self {
            scheme: flow.scheme().to_string(),
            layers: flow.steps(),
            step: flow.h(),
            samples: x0.rows(),
            width: x0.width(),
            samples_meet: F::SAMPLES_MEET,
            state_size: super::ode::largest(network.iter().map(|x| x.norm_squared().sqrt())),
            state_change: end.distance_squared(x0).sqrt(),
            doubling: orders::doubling(flow, x0, end),
            pictures: Pictures {
                weights: pictures::weights(control),
                trajectories: pictures::trajectories(&network, &solution),
                spectra: pictures::spectra(flow, &network),
            },
            function_interpolant,
            weight_interpolant,
            bounds,
            jacobians,
            kinds,
            scaling,
            gaps,
            methods,
            verdict: Verdict::none(),
        };
        diagnosis.verdict = Verdict::of(&diagnosis);
        Ok(diagnosis)
    }
}

fn finding<T>(result: Result<T, ScalingError>) -> Finding<T> {
    match result {
        Ok(value) => Finding::Known(value),
        Err(error) => Finding::unknown(&error.to_string()),
    }
}
