//! `[gradient]`: the method and its settings, or the budget that decides them.

use super::auto::{AUTO, TOLERANCE};
use super::config::{ConfigError, out_of_range};
use crate::network::{Network, NetworkPlan};
use deeplimit::Method;
use deeplimit::gradient::{Backprop, Budget, Checkpoint, Misfit, Plan, REGISTRY, Reversible, Wish};
use serde::{Deserialize, Serialize};
use std::num::NonZeroUsize;

/// How gradients are computed.
///
/// | name | default | meaning | range |
/// |---|---|---|---|
/// | `method` | `auto`, with a `memory_budget` `planned` | gradient method, or a formula such as `P1C2`; `planned` is whichever the budget allows, `auto` a certified adjoint or `checkpoint`, as each flow turns out | see `deeplimit gradcheck` |
/// | `memory_budget` | none | most bytes that the gradient of the flows may take beyond weights and their gradient | such as `"256 MiB"`, or a number of bytes |
/// | `tolerance` | none, with `auto` 0.01 | certificate above which a segment is walked again with stored steps | 1e-6 ≤ tolerance < 1 |
/// | `anchors` | √depth with a tolerance, else 1 | states kept to check and reset the reconstruction | 1 to the depth |
/// | `segments` | √depth | segments of `checkpoint` | 1 to the depth |
/// | `slots` | none | most states that `checkpoint` keeps, instead of segments | 1 to the depth |
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(from = "Written")]
pub struct GradientConfig {
    /// Name of the method, or [`PLANNED`] or [`AUTO`].
    pub method: String,
    /// What the method's slots, anchors and tiles are fitted to; with [`PLANNED`] the method too.
    pub memory_budget: Option<Budget>,
    /// Only for the adjoints.
    pub tolerance: Option<f64>,
    /// Only for the adjoints.
    pub anchors: Option<NonZeroUsize>,
    /// Only for `checkpoint`.
    pub segments: Option<NonZeroUsize>,
    /// Only for `checkpoint`, without `segments`.
    pub slots: Option<NonZeroUsize>,
}

impl Default for GradientConfig {
    fn default() -> Self {
        Written::default().into()
    }
}

/// The method where a budget alone decides.
pub const PLANNED: &str = "planned";

/// The adjoint that a plan may choose, and that [`AUTO`] begins with.
const USUAL: &str = "adjoint-adaptive";

/// The table as it is written: what is not there depends on what is.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default, rename = "GradientConfig")]
struct Written {
    method: Option<String>,
    memory_budget: Option<Budget>,
    tolerance: Option<f64>,
    anchors: Option<NonZeroUsize>,
    segments: Option<NonZeroUsize>,
    slots: Option<NonZeroUsize>,
}

impl From<Written> for GradientConfig {
    fn from(written: Written) -> Self {
        let Written { method, memory_budget, tolerance, anchors, segments, slots } = written;
        let unnamed = if memory_budget.is_some() { PLANNED } else { AUTO };
        let method = method.unwrap_or_else(|| unnamed.to_owned());
        Self { method, memory_budget, tolerance, anchors, segments, slots }
    }
}

impl GradientConfig {
    /// The method with its settings, for flows of so many steps at least. Where there is a budget, it is
    /// what [`plan`](Self::plan) fits to it; of [`PLANNED`] and [`AUTO`] the adjoint that may be chosen.
    ///
    /// # Errors
    /// If the method is unknown, or a setting does not belong to it.
    pub fn check(&self, depth: usize) -> Result<Method, ConfigError> {
        for (key, count) in [
            ("gradient.anchors", self.anchors),
            ("gradient.segments", self.segments),
            ("gradient.slots", self.slots),
        ] {
            if let Some(count) = count.filter(|count| count.get() > depth) {
                let expected = format!("at most {depth}, the depth of the shallowest flow");
                return out_of_range(key, count, expected);
            }
        }
        let unused = |key, instead| {
            Err(ConfigError::Unused {
                key,
                beside: format!("gradient.method = {:?}", self.method),
                instead,
            })
        };
        // States are kept in single precision: no reconstruction is better than its rounding.
        if let Some(tolerance) = self.tolerance.filter(|t| !(1e-6..1.0).contains(t)) {
            return out_of_range("gradient.tolerance", tolerance, "1e-6 ≤ tolerance < 1");
        }
        let planned = self.method == PLANNED;
        if planned && self.memory_budget.is_none() {
            let known = REGISTRY.map(|entry| entry.name).join(", ");
            return Err(ConfigError::NoBudget { known });
        }
        if let Some(budget) = self.memory_budget {
            for (key, count) in [
                ("gradient.anchors", self.anchors),
                ("gradient.segments", self.segments),
                ("gradient.slots", self.slots),
            ] {
                if count.is_some() {
                    return Err(ConfigError::Unused {
                        key,
                        beside: format!("gradient.memory_budget = \"{budget}\""),
                        instead: "the plan chooses their number: leave one of them out",
                    });
                }
            }
        }
        let auto = self.method == AUTO;
        if auto && self.memory_budget.is_some() {
            return unused(
                "gradient.memory_budget",
                "leave out the method: the budget chooses one",
            );
        }
        let name = if planned || auto { USUAL } else { self.method.as_str() };
        let method: Method = name.parse()?;
        if !matches!(method, Method::Checkpoint(_)) {
            for (key, count) in
                [("gradient.segments", self.segments), ("gradient.slots", self.slots)]
            {
                if count.is_some() {
                    return unused(key, "use method = \"checkpoint\" or leave it out");
                }
            }
        }
        if let (Some(_), Some(segments)) = (self.slots, self.segments) {
            return Err(ConfigError::Unused {
                key: "gradient.slots",
                beside: format!("gradient.segments = {segments}"),
                instead: "slots and segments are two schedules: leave one of them out",
            });
        }
        if self.anchors.is_some() && !matches!(method, Method::Adjoint(_)) {
            return unused("gradient.anchors", "use one of the adjoints or leave it out");
        }
        if self.tolerance.is_some() && !matches!(method, Method::Adjoint(_)) {
            return unused("gradient.tolerance", "use one of the adjoints or leave it out");
        }
        Ok(match method {
            Method::Backprop(_) => Method::Backprop(Backprop),
            Method::Reversible(_) => Method::Reversible(Reversible),
            Method::Checkpoint(_) => {
                Method::Checkpoint(Checkpoint { segments: self.segments, slots: self.slots })
            }
            Method::Adjoint(mut adjoint) => {
                adjoint.anchors = self.anchors.map(NonZeroUsize::get);
                Method::Adjoint(match self.tolerance.or(auto.then_some(TOLERANCE)) {
                    Some(tolerance) => adjoint.within(tolerance),
                    None => adjoint,
                })
            }
        })
    }
}

impl GradientConfig {
    /// Checks that a method of this configuration walks all flows of a network back.
    ///
    /// # Errors
    /// [`ConfigError::Misfit`], which names the method, and the stage with its scheme;
    /// [`ConfigError::Rectified`], where relu follows the steps of a stage.
    pub fn check_flows(&self, method: &Method, plan: &NetworkPlan) -> Result<(), ConfigError> {
        if [PLANNED, AUTO].contains(&self.method.as_str()) {
            // Both walk a scheme with an exact inverse back by that, and relu by checkpoints.
            return Ok(());
        }
        let exact = matches!(method, Method::Backprop(_) | Method::Checkpoint(_));
        let rectified = plan.stages.iter().position(|stage| stage.rectified);
        if let Some(stage) = rectified.filter(|_| !exact) {
            return Err(ConfigError::Rectified { method: self.method.clone(), stage });
        }
        for (stage, plan) in plan.stages.iter().enumerate() {
            method.fits(&plan.scheme).map_err(|Misfit { scheme, instead, .. }| {
                ConfigError::Misfit { method: self.method.clone(), stage, scheme, instead }
            })?;
        }
        Ok(())
    }
}

impl GradientConfig {
    /// How a network's gradient keeps to the budget, for batches of so many samples on so many threads;
    /// `None` without a budget. `method` is the checked one.
    ///
    /// # Errors
    /// If there is no way; the error names the least budget that there is one for.
    pub fn plan(
        &self,
        method: &Method,
        network: &Network,
        samples: usize,
        threads: usize,
    ) -> Result<Option<Plan>, ConfigError> {
        let Some(budget) = self.memory_budget else { return Ok(None) };
        let rectified = network.plans().any(|stage| stage.rectified);
        let wish = match method {
            Method::Adjoint(_) if rectified => {
                Wish::Family(Method::Checkpoint(Checkpoint::default()))
            }
            Method::Adjoint(adjoint) if self.method == PLANNED => Wish::Any(*adjoint),
            named => Wish::Family(*named),
        };
        Ok(Some(network.planner(samples, threads).plan(wish, budget)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str) -> Result<Method, String> {
        let config: GradientConfig = toml::from_str(text).expect("a configuration");
        config.check(16).map_err(|error| error.to_string())
    }

    #[test]
    fn a_budget_plans_unless_a_method_is_named_and_a_plan_needs_a_budget() {
        let config = |text: &str| toml::from_str::<GradientConfig>(text);
        let method = |text: &str| config(text).expect("a configuration").method;
        assert_eq!(method(""), "auto");
        assert_eq!(method("memory_budget = '64 KiB'"), "planned");
        assert_eq!(method("memory_budget = 65536\nmethod = 'backprop'"), "backprop");
        let planned = config("memory_budget = '1.5 MiB'").expect("a configuration");
        let written = toml::to_string(&planned).expect("plain data");
        assert!(written.contains("method = \"planned\"") && written.contains("1.50 MiB"));
        assert_eq!(config(&written), Ok(planned));
        assert!(check("method = 'planned'").expect_err("no budget").contains("memory_budget"));
        for (text, part) in [
            ("slots = 3", "gradient.slots means nothing with gradient.memory_budget = \"64 KiB\""),
            ("anchors = 3", "gradient.anchors means nothing"),
            ("method = 'backprop'\ntolerance = 0.1", "gradient.tolerance means nothing"),
        ] {
            let text = format!("memory_budget = '64 KiB'\n{text}");
            let error = check(&text).expect_err(&text);
            assert!(error.contains(part), "{error}");
        }
        for bad in ["'12 parsecs'", "'MiB'", "0", "-5", "'1e3'", "'-1 MiB'"] {
            let error = config(&format!("memory_budget = {bad}")).expect_err(bad);
            assert!(error.to_string().contains("is no memory budget"), "{error}");
        }
    }

    #[test]
    fn auto_is_an_adjoint_within_a_tolerance_until_it_turns_out_otherwise() {
        let tolerance = |text: &str| match check(text) {
            Ok(Method::Adjoint(adjoint)) => adjoint.tolerance,
            other => panic!("{text}: {other:?}"),
        };
        assert_eq!(tolerance("method = 'auto'"), Some(TOLERANCE));
        assert_eq!(tolerance("method = 'auto'\ntolerance = 0.2"), Some(0.2));
        let error = check("method = 'auto'\nmemory_budget = '1 MiB'").expect_err("two choices");
        assert!(error.contains("gradient.memory_budget means nothing"), "{error}");
        let error = check("method = 'auto'\nslots = 3").expect_err("no checkpoint yet");
        assert!(error.contains("gradient.slots"), "{error}");
    }

    #[test]
    fn slots_go_to_checkpoint_and_are_refused_by_name_elsewhere() {
        let eight = Checkpoint { segments: None, slots: NonZeroUsize::new(8) };
        let found = check("method = 'checkpoint'\nslots = 8");
        assert_eq!(found, Ok(Method::Checkpoint(eight)));
        for (text, parts) in [
            ("method = 'backprop'\nslots = 8", ["gradient.slots", "\"backprop\""]),
            ("method = 'P1C2'\nslots = 8", ["gradient.slots", "\"P1C2\""]),
            ("slots = 8", ["gradient.slots", "\"auto\""]),
            ("method = 'checkpoint'\nslots = 17", ["gradient.slots = 17", "depth"]),
            (
                "method = 'checkpoint'\nslots = 8\nsegments = 3",
                ["gradient.slots", "gradient.segments = 3"],
            ),
        ] {
            let error = check(text).expect_err(text);
            assert!(parts.iter().all(|part| error.contains(part)), "{text}: {error}");
        }
    }
}
