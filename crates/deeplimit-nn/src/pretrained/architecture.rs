//! Which residual network a list of tensors is.

use serde::{Deserialize, Serialize};
use std::collections::{HashMap, HashSet};
use std::fmt;

/// A residual network of images as PyTorch's users have it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Architecture {
    /// Where its stem and its shortcuts come from.
    pub family: Family,
    /// Three convolutions a block, with windows of 1×1, 3×3 and 1×1 pixels, instead of two with 3×3.
    pub bottleneck: bool,
    /// Blocks of each stage.
    pub blocks: Vec<usize>,
    /// Outputs of the head.
    pub classes: usize,
}

/// The two kinds of residual networks of He, Zhang, Ren, Sun (2015).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Family {
    /// For images of 32×32 pixels (their section 4.2): a stem of 3×3 windows to 16 channels, stages of 16,
    /// 32 and 64, shortcuts without parameters (option A).
    Cifar,
    /// For images of 224×224 pixels, as torchvision builds them: a stem of 7×7 windows and maxima, stages
    /// of 64, 128, 256 and 512 channels, projections where the shape changes.
    Imagenet,
}

/// A tensor that a network must have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expected {
    /// Its name.
    pub name: String,
    /// Its shape.
    pub shape: Vec<usize>,
}

/// Tensors that are not those of any residual network known here.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no residual network: {}", self.told())]
pub struct Unrecognised {
    /// What was compared with, where it came to that.
    pub nearest: Option<Architecture>,
    /// Names that are expected and not there.
    pub missing: Vec<String>,
    /// Names that are there and not expected.
    pub unexpected: Vec<String>,
    /// Names whose shapes differ, with the found and the expected one.
    pub misshapen: Vec<(String, Vec<usize>, Vec<usize>)>,
}

/// Names that an error lists of each kind.
const LISTED: usize = 3;

/// The first of many, each in one line that is not longer than a name should be.
fn listed(all: impl ExactSizeIterator<Item = String>) -> String {
    const LONGEST: usize = 80;
    let more = all.len().saturating_sub(LISTED);
    let shown = all.take(LISTED).map(|one| {
        let mut characters = one.chars();
        let first: String =
            characters.by_ref().take(LONGEST).flat_map(char::escape_debug).collect();
        first + if characters.next().is_some() { "…" } else { "" }
    });
    let shown = shown.collect::<Vec<_>>().join(", ");
    if more > 0 { format!("{shown} and {more} more") } else { shown }
}

impl Unrecognised {
    fn told(&self) -> String {
        let named = |names: &[String]| listed(names.iter().cloned());
        let Some(nearest) = &self.nearest else {
            let found = match self.unexpected.is_empty() {
                true => "there is no tensor".to_owned(),
                false => format!("found {}", named(&self.unexpected)),
            };
            return format!(
                "conv1.weight, bn1.weight, layer1.0.conv1.weight, … are expected, {found}"
            );
        };
        let misshapen = self.misshapen.iter();
        let misshapen = misshapen
            .map(|(name, found, expected)| format!("{name} is {found:?} instead of {expected:?}"));
        let parts = [
            ("missing", named(&self.missing)),
            ("unexpected", named(&self.unexpected)),
            ("misshapen", listed(misshapen)),
        ];
        let parts = parts.into_iter().filter(|(_, names)| !names.is_empty());
        let parts: Vec<String> = parts.map(|(what, names)| format!("{what} {names}")).collect();
        format!("nearest to {nearest}; {}", parts.join("; "))
    }
}

impl fmt::Display for Architecture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let convolutions = if self.bottleneck { 3 } else { 2 };
        let depth = convolutions * self.blocks.iter().sum::<usize>() + 2;
        let usual: [&[usize]; 5] =
            [&[2, 2, 2, 2], &[3, 4, 6, 3], &[3, 4, 6, 3], &[3, 4, 23, 3], &[3, 8, 36, 3]];
        match self.family {
            Family::Cifar if self.blocks.iter().all(|blocks| *blocks == self.blocks[0]) => {
                write!(f, "resnet{depth} (CIFAR)")
            }
            Family::Imagenet if usual.contains(&&self.blocks[..]) => {
                write!(f, "resnet{depth} (ImageNet)")
            }
            family => {
                let blocks: Vec<String> = self.blocks.iter().map(usize::to_string).collect();
                write!(f, "resnet of {} blocks ({family:?})", blocks.join(", "))
            }
        }
    }
}

impl Architecture {
    /// Channels of each stage's state.
    pub fn widths(&self) -> Vec<usize> {
        let expansion = if self.bottleneck { 4 } else { 1 };
        self.hidden().into_iter().map(|hidden| expansion * hidden).collect()
    }

    /// Channels within each stage's blocks.
    pub fn hidden(&self) -> Vec<usize> {
        let first = self.stem();
        (0..self.blocks.len()).map(|stage| first << stage).collect()
    }

    /// Channels after the stem.
    pub fn stem(&self) -> usize {
        match self.family {
            Family::Cifar => 16,
            Family::Imagenet => 64,
        }
    }

    /// Name of the head.
    pub fn head(&self) -> &'static str {
        match self.family {
            Family::Cifar => "linear",
            Family::Imagenet => "fc",
        }
    }

    /// Whether a stage's first block changes the state's shape.
    pub fn reshapes(&self, stage: usize) -> bool {
        stage > 0 || self.widths()[0] != self.stem()
    }

    /// Distance of the windows in a stage's first block.
    pub fn stride(&self, stage: usize) -> usize {
        if stage == 0 { 1 } else { 2 }
    }

    /// All tensors in PyTorch's order, without counters of batches.
    pub fn tensors(&self) -> Vec<Expected> {
        let mut all = Vec::new();
        let mut add = |name: String, shape: Vec<usize>| all.push(Expected { name, shape });
        let norm = |add: &mut dyn FnMut(String, Vec<usize>), name: &str, channels: usize| {
            for part in ["weight", "bias", "running_mean", "running_var"] {
                add(format!("{name}.{part}"), vec![channels]);
            }
        };
        let side = if self.family == Family::Cifar { 3 } else { 7 };
        add("conv1.weight".into(), vec![self.stem(), 3, side, side]);
        norm(&mut add, "bn1", self.stem());
        let (widths, mut inputs) = (self.widths(), self.stem());
        for (stage, hidden) in self.hidden().into_iter().enumerate() {
            for block in 0..self.blocks[stage] {
                let name = format!("layer{}.{block}", stage + 1);
                let width = widths[stage];
                let shapes = match self.bottleneck {
                    false => vec![[hidden, inputs, 3], [width, hidden, 3]],
                    true => vec![[hidden, inputs, 1], [hidden, hidden, 3], [width, hidden, 1]],
                };
                for (index, [to, from, side]) in shapes.into_iter().enumerate() {
                    let index = index + 1;
                    add(format!("{name}.conv{index}.weight"), vec![to, from, side, side]);
                    norm(&mut add, &format!("{name}.bn{index}"), to);
                }
                if block == 0 && self.family == Family::Imagenet && self.reshapes(stage) {
                    add(format!("{name}.downsample.0.weight"), vec![width, inputs, 1, 1]);
                    norm(&mut add, &format!("{name}.downsample.1"), width);
                }
                inputs = width;
            }
        }
        add(format!("{}.weight", self.head()), vec![self.classes, inputs]);
        add(format!("{}.bias", self.head()), vec![self.classes]);
        all
    }

    /// The network that has these tensors, by name and shape; counters of batches do not matter.
    ///
    /// # Errors
    /// [`Unrecognised`], with the first missing, unexpected and misshapen names.
    pub fn recognise<'t>(
        found: impl Iterator<Item = (&'t str, &'t [usize])> + Clone,
    ) -> Result<Self, Unrecognised> {
        let found = found.filter(|(name, _)| !name.ends_with(".num_batches_tracked"));
        let shapes: HashMap<&str, &[usize]> = found.clone().collect();
        let shape = |name: &str| shapes.get(name).copied();
        let has = |name: String| shapes.contains_key(&name[..]);
        let unknown = || Unrecognised {
            nearest: None,
            missing: Vec::new(),
            unexpected: found.clone().map(|(name, _)| name.to_owned()).collect(),
            misshapen: Vec::new(),
        };
        let head = ["linear", "fc"].into_iter().find(|head| has(format!("{head}.weight")));
        let head = head.ok_or_else(unknown)?;
        let classes = shape(&format!("{head}.weight")).and_then(|shape| shape.first().copied());
        let blocks = |stage: usize| {
            (0..).take_while(|block| has(format!("layer{stage}.{block}.conv1.weight"))).count()
        };
        let blocks: Vec<usize> = (1..).map(blocks).take_while(|blocks| *blocks > 0).collect();
        let stages = if head == "linear" { 3 } else { 4 };
        // Of a block there are ten tensors at least: with fewer than a third of them there is no nearest network.
        let least = blocks.iter().fold(0, |all, blocks| all + 10 * blocks) / 3;
        let whole = blocks.len() == stages && has("conv1.weight".to_owned());
        if !whole || shapes.len() < least {
            return Err(unknown());
        }
        let nearest = Self {
            family: if head == "linear" { Family::Cifar } else { Family::Imagenet },
            bottleneck: has("layer1.0.conv3.weight".to_owned()),
            blocks,
            classes: classes.unwrap_or(1),
        };
        let expected = nearest.tensors();
        let mut fault = Unrecognised {
            nearest: Some(nearest.clone()),
            missing: Vec::new(),
            unexpected: Vec::new(),
            misshapen: Vec::new(),
        };
        for Expected { name, shape: expected } in &expected {
            match shape(name) {
                None => fault.missing.push(name.clone()),
                Some(found) if found != expected => {
                    fault.misshapen.push((name.clone(), found.to_vec(), expected.clone()));
                }
                Some(_) => {}
            }
        }
        let known: HashSet<&str> = expected.iter().map(|tensor| &tensor.name[..]).collect();
        let strange = found.clone().filter(|(name, _)| !known.contains(name));
        fault.unexpected = strange.map(|(name, _)| name.to_owned()).collect();
        match fault.missing.is_empty() && fault.unexpected.is_empty() && fault.misshapen.is_empty()
        {
            true => Ok(nearest),
            false => Err(fault),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recognised(tensors: &[Expected]) -> Result<Architecture, Unrecognised> {
        Architecture::recognise(tensors.iter().map(|tensor| (&tensor.name[..], &tensor.shape[..])))
    }

    fn all() -> Vec<(Architecture, &'static str, usize)> {
        let built = |family, bottleneck, blocks: &[usize], classes| Architecture {
            family,
            bottleneck,
            blocks: blocks.to_vec(),
            classes,
        };
        use Family::{Cifar, Imagenet};
        vec![
            (built(Cifar, false, &[3; 3], 10), "resnet20 (CIFAR)", 269_722),
            (built(Cifar, false, &[9; 3], 10), "resnet56 (CIFAR)", 853_018),
            (built(Imagenet, false, &[2; 4], 1000), "resnet18 (ImageNet)", 11_689_512),
            (built(Imagenet, false, &[3, 4, 6, 3], 1000), "resnet34 (ImageNet)", 21_797_672),
            (built(Imagenet, true, &[3, 4, 6, 3], 1000), "resnet50 (ImageNet)", 25_557_032),
            (built(Imagenet, true, &[3, 4, 23, 3], 1000), "resnet101 (ImageNet)", 44_549_160),
            (built(Imagenet, true, &[3, 8, 36, 3], 1000), "resnet152 (ImageNet)", 60_192_808),
            (built(Imagenet, false, &[1, 2, 1, 1], 7), "resnet of 1, 2, 1, 1 blocks (Imagenet)", 0),
        ]
    }

    /// The numbers of parameters are those of the papers' networks as torchvision and others have them.
    #[test]
    fn networks_are_recognised_by_their_tensors_and_have_the_known_sizes() {
        for (architecture, name, parameters) in all() {
            let tensors = architecture.tensors();
            assert_eq!(recognised(&tensors).as_ref(), Ok(&architecture));
            assert_eq!(architecture.to_string(), name);
            let trained = tensors.iter().filter(|tensor| !tensor.name.contains("running"));
            let count: usize = trained.map(|tensor| tensor.shape.iter().product::<usize>()).sum();
            assert!(parameters == 0 || count == parameters, "{name}: {count}");
        }
    }

    #[test]
    fn what_does_not_fit_is_named() {
        for (architecture, ..) in all() {
            let mut tensors = architecture.tensors();
            tensors.retain(|tensor| tensor.name != "layer2.0.bn1.running_var");
            tensors.iter_mut().find(|t| t.name == "layer3.0.conv2.weight").expect("it").shape[0] +=
                1;
            tensors.push(Expected { name: "extra.weight".into(), shape: vec![2] });
            let error = recognised(&tensors).expect_err("three faults");
            assert_eq!(error.missing, ["layer2.0.bn1.running_var"]);
            assert_eq!(error.unexpected, ["extra.weight"]);
            assert_eq!(error.misshapen.len(), 1);
            let text = error.to_string();
            for part in ["layer2.0.bn1.running_var", "extra.weight", "layer3.0.conv2.weight is"] {
                assert!(text.contains(part), "{text}");
            }
        }
        let other = Expected { name: "encoder.weight".into(), shape: vec![3] };
        let text = recognised(&[other]).expect_err("no network").to_string();
        assert!(
            text.contains("encoder.weight") && text.contains("layer1.0.conv1.weight"),
            "{text}"
        );
        assert!(recognised(&[]).expect_err("nothing").to_string().contains("no tensor"));
    }
}
