//! The description of a network, and its check.

use super::basis::ControlConfig;
use super::error::NetworkError;
use super::field::{FieldName, Formula};
use super::normalised::Blueprint;
use super::step_size::StepSize;
use super::transition::TransitionConfig;
use crate::data::{Samples, Shape, Targets};
use deeplimit::control::{Expansion, Family, Sampling};
use deeplimit::field::LayerName;
use deeplimit::kernel::{Activation, Image};
use deeplimit::{AnyScheme, Scheme};
use serde::{Deserialize, Serialize};

/// A network: stages, each a transition followed by a flow, and a head.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NetworkConfig {
    /// How the last state becomes the outputs.
    pub head: HeadConfig,
    /// Transition and flow of each stage, first to last.
    pub stage: Vec<StageConfig>,
}

impl Default for NetworkConfig {
    fn default() -> Self {
        Self { stage: vec![StageConfig::default()], head: HeadConfig::default() }
    }
}

/// One stage.
///
/// | name | default | meaning | range |
/// |---|---|---|---|
/// | `transition` | linear to 64 | map to the flow's state | see [`TransitionConfig`] |
/// | `field` | `mlp` | residual function of the flow | see [`FieldName`] |
/// | `hidden` | as the state | hidden units (`mlp`) or channels (fields of images) | ≥ 1 |
/// | `activation` | `tanh` | nonlinearity of the field | see [`Activation`] |
/// | `depth` | 64 | number of steps N | ≥ 1 |
/// | `scheme` | `euler` | step in depth | `euler`, `heun`, `midpoint`, `rk4`, or one with an exact inverse: see [`AnyReversible`](deeplimit::scheme::reversible::AnyReversible) |
/// | `step_size` | `steps` | h = 1/N, or 1 over the number of functions | see [`StepSize`] |
/// | `init` | `smooth` | random weights as a function of depth | see [`Family`] |
/// | `gain` | 1 | factor on the random weights | > 0 |
/// | `zero_start` | false | the last normalisation, or convolution behind it, starts at 0, and the flow as the identity | fields that normalise |
/// | `tile` | by the caches and cores | samples that walk through the flow together | ≥ 1 |
/// | `dropout` | 0 | probability of a hidden unit to be left out in a training step, from all layers | 0 ≤ p < 1 |
/// | `rectified` | false | relu after the transition and after every step, as He, Zhang, Ren, Sun (2015) have it: no flow | fields that begin with relu, `euler`, exact gradient methods |
/// | `control` | one value a node | weights as a function of depth with few coefficients | see [`ControlConfig`] |
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StageConfig {
    /// Residual function.
    pub field: FieldName,
    /// Hidden units or channels; as many as the state has where none are given.
    pub hidden: Option<usize>,
    /// Nonlinearity; tanh where none is given.
    pub activation: Option<Activation>,
    /// Number of steps.
    pub depth: usize,
    /// Name of the scheme.
    pub scheme: String,
    /// Of which number the size of a step is the inverse.
    #[serde(skip_serializing_if = "StepSize::is_usual")]
    pub step_size: StepSize,
    /// Initial weights.
    pub init: Family,
    /// Factor on the initial weights.
    pub gain: f64,
    /// Whether scale and shift of the field's last normalisation start at 0, and the flow as the identity.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub zero_start: bool,
    /// Samples of a tile of the batch; chosen from the caches, the cores and the field where none are given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tile: Option<usize>,
    /// Probability that a hidden unit, or channel, is left out of a training step, from all layers.
    #[serde(skip_serializing_if = "is_zero")]
    pub dropout: f64,
    /// Whether relu follows the transition and every step, x ← relu(x + h f(x)), as He, Zhang, Ren, Sun
    /// (2015) have it: not a flow, and exact gradient methods only.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub rectified: bool,
    /// The functions of depth that the weights are made of; a value of its own at every node where none
    /// are named.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub control: Option<ControlConfig>,
    /// Map to the state of the flow.
    pub transition: TransitionConfig,
}

fn is_zero(number: &f64) -> bool {
    *number == 0.0
}

impl Default for StageConfig {
    fn default() -> Self {
        Self {
            field: FieldName::Layer(LayerName::Mlp),
            hidden: None,
            activation: None,
            depth: 64,
            scheme: Scheme::EULER.name().to_owned(),
            step_size: StepSize::Steps,
            init: Family::Smooth,
            gain: 1.0,
            zero_start: false,
            tile: None,
            dropout: 0.0,
            rectified: false,
            control: None,
            transition: TransitionConfig::Linear { width: 64 },
        }
    }
}

/// How the last state becomes the outputs: pooled or not, then an affine map.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HeadConfig {
    /// Whether each channel is averaged over the image first.
    pub pool: bool,
    /// With `pool`: averaged over windows of so many pixels a side, so many apart, instead of the whole
    /// image. Pixels that are left over at the right and below are not looked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub window: Option<usize>,
    /// Nonlinearity before that; none where none is given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub activation: Option<Activation>,
    /// Whether the last state is normalised before all that, by the batch, as He, Zhang, Ren, Sun (2016) do.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub norm: bool,
}

/// A stage that has been checked: shapes are known and fit.
#[derive(Clone, Debug)]
pub struct StagePlan {
    /// Shape before the transition.
    pub input: Shape,
    /// Shape of the flow's state.
    pub state: Shape,
    /// The transition.
    pub transition: TransitionConfig,
    /// The residual function.
    pub formula: Formula,
    /// The step in depth.
    pub scheme: AnyScheme,
    /// Number of steps.
    pub depth: usize,
    /// Of which number the size of a step is the inverse.
    pub step_size: StepSize,
    /// Initial weights.
    pub init: Family,
    /// Factor on them.
    pub gain: f64,
    /// Whether the last normalisation starts at 0.
    pub zero_start: bool,
    /// Samples of a tile, where the field's own choice is not wanted.
    pub tile: Option<usize>,
    /// Probability of a hidden unit to be left out of a training step.
    pub dropout: f64,
    /// Whether relu follows the transition and every step.
    pub rectified: bool,
    /// The basis of the control; none where every node has its own value.
    pub control: Option<Expansion>,
}

impl StagePlan {
    /// Whether weights of this stage can go on in another: all but depth, tile, dropout and initial values agree; a
    /// control in a basis may go on with a value of its own at every node.
    pub(crate) fn goes_on_as(&self, other: &Self) -> bool {
        self.input == other.input
            && self.state == other.state
            && self.transition == other.transition
            && self.formula == other.formula
            && self.scheme == other.scheme
            && self.step_size == other.step_size
            && self.rectified == other.rectified
            && (other.control.is_none() || self.control == other.control)
    }

    /// Which part of the stage normalises images of one pixel by the batch, if one does: of a single sample
    /// a channel is then one number.
    pub(super) fn normalises_one_pixel(&self) -> Option<&'static str> {
        let one = |pixels: Option<usize>| pixels == Some(1);
        if one(Blueprint::of(self).and_then(|blueprint| blueprint.fewest_pixels())) {
            return Some("transition");
        }
        one(self.formula.fewest_pixels()).then_some("field")
    }

    /// Control nodes of the flow.
    pub fn nodes(&self) -> usize {
        self.scheme.nodes_for(self.depth)
    }

    /// The size of a step.
    pub fn h(&self) -> f64 {
        match self.step_size {
            StepSize::Steps => 1.0 / self.depth as f64,
            StepSize::Functions => 1.0 / self.nodes() as f64,
        }
    }

    /// The values of the control's basis at the nodes, where it has one.
    pub(super) fn sampling(&self) -> Option<Sampling> {
        let depths = self.scheme.node_depths(self.depth);
        self.control.map(|expansion| expansion.sampling(depths))
    }

    /// Rows of the trained arrays: coefficients of the basis, or nodes.
    pub fn rows(&self) -> usize {
        self.control.map_or_else(|| self.nodes(), |expansion| expansion.coefficients())
    }
}

/// What a network puts out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outputs {
    /// One logit a class; the loss is the cross-entropy.
    Classes(usize),
    /// One number; the loss is the mean squared error.
    Value,
}

impl Outputs {
    /// What the targets of a data set ask for.
    pub fn of(samples: &Samples) -> Self {
        match samples.targets() {
            Targets::Values(_) => Self::Value,
            _ => Self::Classes(samples.classes().unwrap_or(1)),
        }
    }

    /// Numbers a sample.
    pub fn count(self) -> usize {
        match self {
            Self::Classes(count) => count,
            Self::Value => 1,
        }
    }
}

/// A network that has been checked.
#[derive(Clone, Debug)]
pub struct NetworkPlan {
    /// The stages.
    pub stages: Vec<StagePlan>,
    /// How the last state is read.
    pub head: HeadConfig,
    /// What comes out.
    pub outputs: Outputs,
}

impl NetworkConfig {
    /// Checks that the network can be built for inputs of a shape.
    ///
    /// # Errors
    /// A [`NetworkError`] that names the stage and the setting.
    pub fn check(&self, input: Shape, outputs: Outputs) -> Result<NetworkPlan, NetworkError> {
        if self.stage.is_empty() {
            return Err(NetworkError::NoStage);
        }
        let mut shape = input;
        let mut stages = Vec::new();
        for (index, stage) in self.stage.iter().enumerate() {
            let plan = stage.check(index, shape)?;
            shape = plan.state;
            stages.push(plan);
        }
        let last = self.stage.last().map(|stage| stage.transition);
        if self.head.pool && !last.is_some_and(|transition| transition.gives_images(shape)) {
            return Err(NetworkError::Combination {
                stage: self.stage.len() - 1,
                reason: "network.head.pool averages over images, but the last state is none; \
                         leave it out"
                    .to_owned(),
            });
        }
        self.head.check_window(shape)?;
        self.head.check_norm(&self.stage)?;
        Ok(NetworkPlan { stages, head: self.head, outputs })
    }
}

impl StageConfig {
    fn check(&self, stage: usize, input: Shape) -> Result<StagePlan, NetworkError> {
        let out_of_range = |setting, found: String, expected: &str| {
            Err(NetworkError::OutOfRange { stage, setting, found, expected: expected.to_owned() })
        };
        if self.depth == 0 {
            return out_of_range("depth", "0".into(), "at least 1");
        }
        if self.hidden == Some(0) {
            return out_of_range("hidden", "0".into(), "at least 1");
        }
        if self.tile == Some(0) {
            return out_of_range("tile", "0".into(), "at least 1");
        }
        if !(self.gain > 0.0 && self.gain.is_finite()) {
            return out_of_range("gain", self.gain.to_string(), "a positive number");
        }
        if !(0.0..1.0).contains(&self.dropout) {
            return out_of_range("dropout", self.dropout.to_string(), "0 ≤ p < 1");
        }
        let Some(scheme) = AnyScheme::named(&self.scheme) else {
            let known: Vec<String> = AnyScheme::all().map(|scheme| scheme.to_string()).collect();
            return out_of_range("scheme", format!("{:?}", self.scheme), &known.join(", "));
        };
        self.step_size.check(stage, &scheme)?;
        let control = self.expansion(stage, &scheme)?;
        let state = self.transition.shape_after(stage, input)?;
        let formula = self.formula(stage, state)?;
        self.check_rectified(stage, &scheme, &formula)?;
        Ok(StagePlan {
            input,
            state,
            transition: self.transition,
            formula,
            scheme,
            depth: self.depth,
            step_size: self.step_size,
            init: self.init,
            gain: self.gain,
            zero_start: self.zero_start,
            tile: self.tile,
            dropout: self.dropout,
            rectified: self.rectified,
            control,
        })
    }

    /// Checks that relu can follow every step.
    fn check_rectified(
        &self,
        stage: usize,
        scheme: &AnyScheme,
        formula: &Formula,
    ) -> Result<(), NetworkError> {
        let refused = |reason| {
            let reason = format!("rectified = true puts relu after every step: {reason}");
            Err(NetworkError::Combination { stage, reason })
        };
        if !self.rectified {
            return Ok(());
        }
        if !formula.begins_with_relu() {
            return refused(
                "it needs a field that begins with it, \"conv-bn-pre\" or \"conv-bn-bottleneck\" with \
                 activation = \"relu\"",
            );
        }
        if *scheme != AnyScheme::from(Scheme::EULER) {
            return refused("it needs scheme = \"euler\"");
        }
        if let TransitionConfig::Stem { relu: true, .. } = self.transition {
            return refused("and after the transition; leave out its `relu`");
        }
        Ok(())
    }

    fn formula(&self, stage: usize, state: Shape) -> Result<Formula, NetworkError> {
        let name = self.field.name();
        let wrong = |reason: String| Err(NetworkError::Combination { stage, reason });
        if self.hidden.is_some() && !self.field.has_hidden() {
            return wrong(format!("a {name} field has no hidden layer; leave out `hidden`"));
        }
        if self.dropout > 0.0 && !self.field.has_hidden() {
            return wrong(format!("a {name} field has no hidden units; leave out `dropout`"));
        }
        if self.activation.is_some() && !self.field.has_activation() {
            return wrong(format!("a {name} field has no nonlinearity; leave out `activation`"));
        }
        if self.zero_start && !matches!(self.field, FieldName::ConvBn(_)) {
            return wrong(format!(
                "a {name} field has no normalisation that zero_start = true could start at 0; use \
                 field = \"conv-bn\", or leave it out"
            ));
        }
        if self.tile.is_some() && matches!(self.field, FieldName::ConvBn(_)) {
            return wrong(format!("a {name} field takes the whole batch; leave out `tile`"));
        }
        let images = self.field.needs_images();
        if images && !self.transition.gives_images(state) {
            return wrong(format!(
                "a {name} field needs images, but the state is {} numbers a sample; use \
                 field = \"mlp\" or a transition with kind = \"conv\"",
                state.elements()
            ));
        }
        let image = Image { height: state.height, width: state.width };
        let own_width = if images { state.channels } else { state.elements() };
        let hidden = self.hidden.unwrap_or(own_width);
        let activation = self.activation.unwrap_or(Activation::Tanh);
        Ok(self.field.formula(state.channels, image, hidden, activation))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use deeplimit::control::Basis;
    use deeplimit::field::Order;

    fn stage(config: StageConfig) -> NetworkConfig {
        NetworkConfig { stage: vec![config], ..NetworkConfig::default() }
    }

    #[test]
    fn impossible_settings_are_named() {
        let check = |config: StageConfig| {
            let error = stage(config).check(Shape::table(9), Outputs::Classes(2));
            error.expect_err("an impossible network").to_string()
        };
        let base = StageConfig::default();
        assert!(check(StageConfig { depth: 0, ..base.clone() }).contains("stage.0.depth"));
        assert!(check(StageConfig { tile: Some(0), ..base.clone() }).contains("stage.0.tile"));
        for dropout in [-0.1, 1.0, f64::NAN] {
            let error = check(StageConfig { dropout, ..base.clone() });
            assert!(error.contains("stage.0.dropout"), "{error}");
        }
        let dense = FieldName::Layer(LayerName::Dense);
        let error = check(StageConfig { dropout: 0.5, field: dense, ..base.clone() });
        assert!(error.contains("a dense field has no hidden units"), "{error}");
        let control = |basis, coefficients, init| StageConfig {
            control: Some(ControlConfig { basis, coefficients }),
            init,
            depth: 8,
            ..base.clone()
        };
        for (basis, coefficients, init, part) in [
            (
                Basis::Spline,
                3,
                Family::Smooth,
                "a spline control takes at least 4 coefficients, not 3",
            ),
            (Basis::Constant, 0, Family::Smooth, "at least 1"),
            (Basis::Fourier, 6, Family::Smooth, "not 6; take 5 or 7"),
            (Basis::Linear, 9, Family::Smooth, "the 8 nodes of 8 euler steps do not tell 9 linear"),
            (Basis::Linear, 4, Family::Independent, "init = \"independent\" draws every layer"),
        ] {
            let error = check(control(basis, coefficients, init));
            assert!(error.contains("network.stage.0") && error.contains(part), "{error}");
        }
        let whole =
            StageConfig { tile: Some(8), field: FieldName::ConvBn(Order::Post), ..base.clone() };
        assert!(check(whole).contains("whole batch"));
        assert!(check(StageConfig { scheme: "eulr".into(), ..base.clone() }).contains("euler"));
        assert!(
            check(StageConfig { field: FieldName::ConvBn(Order::Post), ..base }).contains("images")
        );
    }
}
