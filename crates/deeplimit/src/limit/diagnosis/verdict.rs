//! What a diagnosis says, in words: which limit the flow has, and which gradient method fits it.

use super::methods::TOLERANCE;
use super::{Diagnosis, Finding, MethodErrors, Scaling};
use crate::limit::Regime;
use serde::Serialize;

/// Where a flow stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Standing {
    /// A neural ODE with a control that is smooth in depth.
    SmoothOde,
    /// A neural ODE with a continuous control.
    HoelderOde,
    /// Weights without a limit, whose functions average out.
    AveragedOde,
    /// A stochastic differential equation.
    Diffusive,
    /// No differential equation, because of a few layers.
    Jump,
    /// h L ≥ 1: no ODE at this depth.
    OutsideRegime,
    /// Too few layers to tell.
    TooShallow,
}

/// The verdict on a flow.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Verdict {
    /// Where it stands.
    pub standing: Standing,
    /// Two sentences: what it is, and how its gradient is best computed.
    pub sentences: [String; 2],
    /// The gradient method to use.
    pub method: Recommendation,
}

/// A gradient method, with its settings in a configuration.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Recommendation {
    /// `gradient.method`.
    pub method: String,
    /// `gradient.tolerance`, where one is needed.
    pub tolerance: Option<f64>,
    /// Its relative gradient error on this flow, in single precision.
    pub gradient_error: f64,
    /// Its cost in evaluations of all layers.
    pub cost_units: f64,
}

/// Errors of a single layer's gradient up to this share are accepted: a layer may have hardly any.
const WORST_LAYER: f64 = 0.1;
/// With more than this share walked again a certified adjoint stores most of the network anyway.
const MOST_AGAIN: f64 = 0.5;

impl Verdict {
    /// Holds the place of the verdict.
    pub(super) fn none() -> Self {
        let method = Recommendation {
            method: String::new(),
            tolerance: None,
            gradient_error: f64::NAN,
            cost_units: f64::NAN,
        };
        Self { standing: Standing::TooShallow, sentences: Default::default(), method }
    }

    pub(super) fn of(diagnosis: &Diagnosis) -> Self {
        let standing = standing(diagnosis);
        let method = recommend(&diagnosis.methods);
        let sentences = [first(diagnosis, standing), second(diagnosis, standing, &method)];
        Self { standing, sentences, method }
    }
}

fn standing(diagnosis: &Diagnosis) -> Standing {
    let regime = diagnosis.scaling.known().map(|scaling| scaling.regime);
    // A few layers of size N have h ‖J_n‖ of size 1 at any depth: more layers would not help.
    if diagnosis.jacobians.layers_beyond > 0 && regime != Some(Regime::Jump) {
        return Standing::OutsideRegime;
    }
    match regime {
        None => Standing::TooShallow,
        Some(Regime::SmoothOde) => Standing::SmoothOde,
        Some(Regime::HoelderOde) => Standing::HoelderOde,
        Some(Regime::AveragedOde) => Standing::AveragedOde,
        Some(Regime::Diffusive) => Standing::Diffusive,
        Some(Regime::Jump | Regime::Diverging) => Standing::Jump,
    }
}

/// The cheapest method without stored states whose error is below the tolerance, the better one of
/// two that cost alike; else the certified one, unless it walks most of the network again; else
/// checkpointing.
fn recommend(methods: &[MethodErrors]) -> Recommendation {
    let of = |row: &MethodErrors| Recommendation {
        method: row.method.clone(),
        tolerance: row.tolerance,
        gradient_error: row.single.gradient,
        cost_units: row.cost_units,
    };
    let named = |name: &str, tolerance: Option<f64>| {
        methods.iter().find(|row| row.method == name && row.tolerance == tolerance)
    };
    if let Some(row) = named("reversible", None) {
        return of(row);
    }
    let good = |row: &&MethodErrors| {
        row.tolerance.is_none()
            && row.method.starts_with("adjoint")
            && row.single.gradient <= TOLERANCE
            && row.single.estimate <= 10.0 * TOLERANCE
            && row.single.worst_layer <= WORST_LAYER
            && row.single.stalled == 0
    };
    let cost = |row: &MethodErrors| ((4.0 * row.cost_units).round(), row.single.gradient);
    let cheapest = methods.iter().filter(good).min_by(|a, b| {
        let ((cost_a, error_a), (cost_b, error_b)) = (cost(a), cost(b));
        cost_a.total_cmp(&cost_b).then(error_a.total_cmp(&error_b))
    });
    let certified = named("adjoint-adaptive", Some(TOLERANCE))
        .filter(|row| row.single.again <= MOST_AGAIN && row.single.gradient <= 4.0 * TOLERANCE);
    let row = cheapest.or(certified).or_else(|| named("checkpoint", None));
    of(row.expect("checkpoint walks every tableau back"))
}

/// What the flow is.
fn first(diagnosis: &Diagnosis, standing: Standing) -> String {
    let layers = diagnosis.layers;
    let near = percent(diagnosis.function_interpolant.relative);
    let weights_near = percent(diagnosis.weight_interpolant.relative);
    let jacobians = &diagnosis.jacobians;
    let told = match &diagnosis.scaling {
        Finding::Known(scaling) => order(scaling),
        Finding::Unknown { .. } => String::new(),
    };
    let ito = diagnosis.scaling.known().map_or(f64::NAN, |scaling| scaling.ito_state);
    match standing {
        Standing::SmoothOde => format!(
            "The flow discretises a neural ODE with a smooth control: its {layers} layers are samples \
             of weights that vary smoothly with depth ({told}), and its states stay within {near} of \
             the ODE's solution."
        ),
        Standing::HoelderOde => format!(
            "The flow discretises a neural ODE whose control is continuous in depth and not \
             differentiable, like a path of Brownian motion ({told}), and its states stay within \
             {near} of the ODE's solution."
        ),
        Standing::AveragedOde => format!(
            "The weights have no limit as functions of depth ({told}): the map only averages its \
             {layers} layers, and is within {near} of the ODE that interpolates their functions, but \
             {weights_near} from the one that interpolates their weights."
        ),
        Standing::Diffusive => format!(
            "The flow is diffusive: its weights are independent from layer to layer ({told}) and so \
             large, as √N is, that their Itô term alone moves the states by {}, so that its deep limit \
             would be a stochastic differential equation and no neural ODE.",
            percent(ito)
        ),
        Standing::Jump => format!(
            "The flow has no differential equation as its limit: a few of its {layers} layers make a \
             change of their own, the largest with weights {:.1} times the root mean square.",
            diagnosis.scaling.known().map_or(f64::NAN, |scaling| scaling.peak)
        ),
        Standing::OutsideRegime => format!(
            "The flow is outside the regime of an ODE at this depth: h L = {:.2} is not below 1 (in {} \
             of {layers} layers h ‖J_n‖ ≥ 1), so that a single layer can move two states by more than \
             they are apart.",
            jacobians.step_lipschitz, jacobians.layers_beyond
        ),
        Standing::TooShallow => format!(
            "With {layers} layers there is no telling how the weights vary with depth: {}.",
            diagnosis.scaling.reason().unwrap_or_default()
        ),
    }
}

impl Scaling {
    /// Why the weights, as samples of a function of depth, have no limit: in words that go on after "the
    /// weights". `None` where they have one, smooth or as continuous as a path of Brownian motion.
    pub fn without_limit(&self) -> Option<String> {
        let told = order(self);
        match self.regime {
            Regime::SmoothOde | Regime::HoelderOde => None,
            Regime::AveragedOde => {
                Some(format!("are rough and have no limit as functions of depth ({told})"))
            }
            Regime::Diffusive => Some(format!(
                "are diffusive: independent from layer to layer and as large as √N ({told}), so that a \
                 deep limit would be a stochastic differential equation"
            )),
            Regime::Jump | Regime::Diverging => Some(format!(
                "jump: a few layers make a change of their own, the largest with weights {:.1} times \
                 the root mean square",
                self.peak
            )),
        }
    }
}

/// How its gradient is best computed.
fn second(diagnosis: &Diagnosis, standing: Standing, method: &Recommendation) -> String {
    let Recommendation { method: name, tolerance, gradient_error, cost_units } = method;
    let settings = match tolerance {
        Some(tolerance) => format!("{name} with tolerance = {tolerance}"),
        None => name.clone(),
    };
    let measured = format!(
        "a relative gradient error of {gradient_error:.1e} in single precision for {cost_units:.1} \
         evaluations of all layers"
    );
    let outside = standing == Standing::OutsideRegime;
    match (name.as_str(), outside) {
        ("checkpoint", true) => format!(
            "Reconstructing states backwards does not contract where h ‖J_n‖ ≥ 1: use {settings}, which \
             is exact ({measured}), or more layers."
        ),
        ("checkpoint", false) => format!(
            "No method without stored states reaches an error of {TOLERANCE:.0e} here: use {settings}, \
             which is exact ({measured})."
        ),
        ("reversible", _) => format!(
            "Its {} steps have an exact inverse: use {settings} ({measured}).",
            diagnosis.scheme
        ),
        (_, true) => format!(
            "Reconstructing states backwards need not contract where h ‖J_n‖ ≥ 1; {settings} still has \
             {measured}, because its certificate has what fails walked again with stored states, and \
             more layers would help."
        ),
        _ if tolerance.is_some() => format!(
            "Without stored states no method reaches an error of {TOLERANCE:.0e} here throughout: use \
             {settings}, which walks again what its certificate doubts ({measured})."
        ),
        _ => {
            let backprop = diagnosis.methods.iter().find(|row| row.method == "backprop");
            let cost = backprop.map_or(f64::NAN, |row| row.cost_units);
            format!(
                "Its gradient needs no stored states: use {settings}, with {measured} (backprop: \
                 {cost:.1})."
            )
        }
    }
}

/// The exponent that decided, with its interval.
fn order(scaling: &Scaling) -> String {
    let (name, estimate, points) = match &scaling.bend_exponent {
        Some(bend) => ("H₂", bend, &scaling.bends),
        None => ("H", &scaling.exponent, &scaling.increments),
    };
    // Over two distances the interval knows nothing of the fit.
    let reach = points.last().map_or(0, |(m, _)| *m);
    let number = |value: f64| format!("{value:.2}").replace('-', "−");
    let share = 100.0 * scaling.agreement;
    let borderline = [0.75, 0.25].into_iter().any(|t| estimate.low < t && t < estimate.high);
    let border = if borderline { ", a borderline case" } else { "" };
    format!(
        "order {name} = {} over distances of 1 to {reach} layers, 95 % interval {} to {}; smooth above 0.75, without a limit below 0.25; the \
         same in {share:.0} % of resampled weights{border}",
        number(estimate.value),
        number(estimate.low),
        number(estimate.high)
    )
}

/// Two or more significant digits, without an exponent down to a millionth.
fn percent(share: f64) -> String {
    let value = 100.0 * share;
    if value == 0.0 {
        return "0 %".to_owned();
    }
    if value.abs() < 1e-6 || value.is_nan() {
        return format!("{value:.1e} %");
    }
    let decimals = (1.0 - value.abs().log10().floor()).max(0.0) as usize;
    format!("{value:.decimals$} %")
}
