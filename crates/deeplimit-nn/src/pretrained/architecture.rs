//! Which residual network a list of tensors is.

use super::layout::{Expected, Unrecognised};
use serde::{Deserialize, Serialize};
use std::collections::{HashMap, HashSet};

/// A residual network of images as PyTorch's users have it: stages of blocks, each stage with twice the channels
/// of the one before at half the size.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Written")]
pub struct Architecture {
    /// How it begins.
    pub family: Family,
    /// Three convolutions a block, with windows of 1×1, 3×3 and 1×1 pixels, instead of two with 3×3.
    pub bottleneck: bool,
    /// Blocks of each stage.
    pub blocks: Vec<usize>,
    /// Outputs of the head.
    pub classes: usize,
    /// Channels after the stem.
    pub stem: usize,
    /// Channels within the first stage's blocks.
    pub hidden: usize,
    /// Channels of the first stage's state.
    pub width: usize,
    /// The way around a block that changes the shape.
    pub shortcuts: Shortcuts,
    /// Name of the head.
    pub head: Head,
    /// Whether the maxima of 3×3 windows, two apart, follow the stem. The tensors do not tell.
    pub pool: bool,
    /// Of bottleneck blocks that change the size, whether the windows of the first 1×1 convolution are two apart
    /// (He et al.'s own, called v1) or those of the 3×3 one (torchvision's, called v1.5). The tensors do not tell.
    pub stride_in_1x1: bool,
    /// Whether normalisation and relu come before every convolution (He, Zhang, Ren, Sun 2016), none of them behind
    /// the stem's.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub preactivation: bool,
    /// With `preactivation`: whether a normalisation called `bn` and relu come before the head.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub final_norm: bool,
    /// With `preactivation`: whether shortcuts take x itself, or relu(norm(x)). The tensors do not tell; those
    /// called `downsample` take x, those called `shortcut` relu(norm(x)).
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub raw_shortcuts: bool,
}

/// How residual networks begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Family {
    /// Windows of 3×3 pixels, for images of 32×32 (He, Zhang, Ren, Sun 2015, section 4.2).
    Cifar,
    /// Windows of 7×7 pixels, two apart, for images of 224×224.
    Imagenet,
}

/// The way around a block that changes the shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Shortcuts {
    /// Every second pixel, and zeros for the new channels (option A). The tensors do not tell where the zeros
    /// are: half before and half behind.
    Pad,
    /// A 1×1 convolution (option B) that is called `downsample`; normalised, but for networks with
    /// `preactivation`.
    Downsample,
    /// The same, called `shortcut`.
    Shortcut,
}

impl Shortcuts {
    /// Its name in a block, where it has parameters.
    pub fn name(self) -> Option<&'static str> {
        match self {
            Self::Pad => None,
            Self::Downsample => Some("downsample"),
            Self::Shortcut => Some("shortcut"),
        }
    }
}

/// Names of the affine map to the classes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Head {
    /// `linear`.
    Linear,
    /// `fc`.
    Fc,
}

impl Head {
    /// The name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Linear => "linear",
            Self::Fc => "fc",
        }
    }
}

/// An architecture in a file. Earlier versions knew no other networks than the two families' usual ones.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    family: Family,
    bottleneck: bool,
    blocks: Vec<usize>,
    classes: usize,
    stem: Option<usize>,
    hidden: Option<usize>,
    width: Option<usize>,
    shortcuts: Option<Shortcuts>,
    head: Option<Head>,
    pool: Option<bool>,
    stride_in_1x1: Option<bool>,
    #[serde(default)]
    preactivation: bool,
    #[serde(default)]
    final_norm: bool,
    #[serde(default)]
    raw_shortcuts: bool,
}

impl From<Written> for Architecture {
    fn from(written: Written) -> Self {
        let Written { family, bottleneck, blocks, classes, .. } = written;
        let Written { preactivation, final_norm, raw_shortcuts, .. } = written;
        let usual = Self::usual(family, bottleneck, blocks, classes);
        Self {
            stem: written.stem.unwrap_or(usual.stem),
            hidden: written.hidden.unwrap_or(usual.hidden),
            width: written.width.unwrap_or(usual.width),
            shortcuts: written.shortcuts.unwrap_or(usual.shortcuts),
            head: written.head.unwrap_or(usual.head),
            pool: written.pool.unwrap_or(usual.pool),
            stride_in_1x1: written.stride_in_1x1.unwrap_or(usual.stride_in_1x1),
            preactivation,
            final_norm,
            raw_shortcuts,
            ..usual
        }
    }
}

/// More stages than any such network has.
const STAGES: usize = 8;

impl Architecture {
    /// The usual network of a family: He et al.'s for CIFAR-10, of 16 channels, without parameters in its
    /// shortcuts; torchvision's, of 64 channels.
    pub fn usual(family: Family, bottleneck: bool, blocks: Vec<usize>, classes: usize) -> Self {
        let imagenet = family == Family::Imagenet;
        let stem = if imagenet { 64 } else { 16 };
        Self {
            family,
            bottleneck,
            blocks,
            classes,
            stem,
            hidden: stem,
            width: if bottleneck { 4 * stem } else { stem },
            shortcuts: if imagenet { Shortcuts::Downsample } else { Shortcuts::Pad },
            head: if imagenet { Head::Fc } else { Head::Linear },
            pool: imagenet,
            stride_in_1x1: false,
            preactivation: false,
            final_norm: false,
            raw_shortcuts: false,
        }
    }

    /// Channels of each stage's state.
    pub fn widths(&self) -> Vec<usize> {
        self.doubled(self.width)
    }

    /// Channels within each stage's blocks.
    pub fn hidden(&self) -> Vec<usize> {
        self.doubled(self.hidden)
    }

    fn doubled(&self, first: usize) -> Vec<usize> {
        (0..self.blocks.len()).map(|stage| first.saturating_mul(1 << stage)).collect()
    }

    /// Whether a stage's first block changes the state's shape.
    pub fn reshapes(&self, stage: usize) -> bool {
        stage > 0 || self.width != self.stem
    }

    /// Distance of the windows in a stage's first block.
    pub fn stride(&self, stage: usize) -> usize {
        if stage == 0 { 1 } else { 2 }
    }

    /// Side of the stem's windows.
    pub fn window(&self) -> usize {
        if self.family == Family::Cifar { 3 } else { 7 }
    }

    /// The network that has these tensors, by name and shape; counters of batches do not matter.
    ///
    /// # Errors
    /// [`Unrecognised`], with what differs from the nearest network.
    pub fn recognise<'t>(
        found: impl Iterator<Item = (&'t str, &'t [usize])> + Clone,
    ) -> Result<Self, Unrecognised> {
        let found = found.filter(|(name, _)| !name.ends_with(".num_batches_tracked"));
        let shapes: HashMap<&str, &[usize]> = found.clone().collect();
        let unexpected = || found.clone().map(|(name, _)| name.to_owned()).collect();
        let Some(nearest) = Self::nearest(&shapes) else {
            return Err(Unrecognised { unexpected: unexpected(), ..Unrecognised::default() });
        };
        let expected = nearest.tensors();
        let mut fault = Unrecognised::default();
        for Expected { name, shape: expected } in &expected {
            match shapes.get(&name[..]).copied() {
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
        match fault.is_none() {
            true => Ok(nearest),
            false => Err(Unrecognised { nearest: Some(Box::new(nearest)), ..fault }),
        }
    }

    /// The network whose tensors are most like these; `None` if they are not like any.
    fn nearest(shapes: &HashMap<&str, &[usize]>) -> Option<Self> {
        let shape = |name: &str| shapes.get(name).copied();
        let has = |name: &str| shapes.contains_key(name);
        let extent = |name: &str| shape(name)?.first().copied().filter(|extent| *extent > 0);
        let blocks = |stage: usize| {
            (0..).take_while(|block| has(&format!("layer{stage}.{block}.conv1.weight"))).count()
        };
        let blocks: Vec<usize> = (1..).map(blocks).take_while(|blocks| *blocks > 0).collect();
        // Of a block there are ten tensors at least: with fewer than a third of them there is no nearest network.
        let least = blocks.iter().fold(0, |all, blocks| all + 10 * blocks) / 3;
        if !(1..=STAGES).contains(&blocks.len()) || shapes.len() < least {
            return None;
        }
        let family = match shape("conv1.weight") {
            Some([.., 3]) => Family::Cifar,
            Some([.., 7]) => Family::Imagenet,
            _ if blocks.len() == 3 => Family::Cifar,
            _ => Family::Imagenet,
        };
        let heads = [Head::Linear, Head::Fc];
        let head = heads.into_iter().find(|head| has(&format!("{}.weight", head.name())));
        let shortcuts =
            [Shortcuts::Downsample, Shortcuts::Shortcut].into_iter().find(|shortcuts| {
                let name = shortcuts.name().unwrap_or_default();
                (1..=blocks.len()).any(|stage| has(&format!("layer{stage}.0.{name}.0.weight")))
            });
        let preactivation = preactivated(shapes);
        // Without a name in the way of its stages it has no shortcut that is known.
        let shortcuts = shortcuts.or_else(|| preactivation.then_some(Shortcuts::Shortcut));
        let bottleneck = has("layer1.0.conv3.weight");
        let usual = Self::usual(family, bottleneck, blocks, 1);
        let head = head.unwrap_or(usual.head);
        let last = if bottleneck { "layer1.0.conv3.weight" } else { "layer1.0.conv2.weight" };
        Some(Self {
            classes: extent(&format!("{}.weight", head.name())).unwrap_or(1),
            stem: extent("conv1.weight").unwrap_or(usual.stem),
            hidden: extent("layer1.0.conv1.weight").unwrap_or(usual.hidden),
            width: extent(last).unwrap_or(usual.width),
            shortcuts: shortcuts.unwrap_or(Shortcuts::Pad),
            head,
            preactivation,
            final_norm: preactivation && has("bn.weight"),
            raw_shortcuts: preactivation && shortcuts == Some(Shortcuts::Downsample),
            ..usual
        })
    }
}

/// Whether normalisations of blocks have the channels that come in, where these are others than go out; or, where
/// there is no such block, whether one follows the last block and none the stem.
fn preactivated(shapes: &HashMap<&str, &[usize]>) -> bool {
    let before = |(name, shape): (&&str, &&[usize])| {
        let block = name.strip_suffix(".conv1.weight")?;
        let channels = shapes.get(&format!("{block}.bn1.weight")[..])?.first()?;
        let [outputs, inputs, ..] = shape[..] else { return None };
        (outputs != inputs && [outputs, inputs].contains(channels)).then_some(*channels == inputs)
    };
    let mut votes: Vec<bool> = shapes.iter().filter_map(before).collect();
    votes.sort_unstable();
    match votes.get(votes.len() / 2) {
        Some(most) => *most,
        None => !shapes.contains_key("bn1.weight") && shapes.contains_key("bn.weight"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recognised(tensors: &[Expected]) -> Result<Architecture, Unrecognised> {
        Architecture::recognise(tensors.iter().map(|tensor| (&tensor.name[..], &tensor.shape[..])))
    }

    fn all() -> Vec<(Architecture, &'static str, usize)> {
        let usual = |family, bottleneck, blocks: &[usize], classes| {
            Architecture::usual(family, bottleneck, blocks.to_vec(), classes)
        };
        use Family::{Cifar, Imagenet};
        let projected = Architecture {
            shortcuts: Shortcuts::Downsample,
            head: Head::Fc,
            ..usual(Cifar, false, &[3; 3], 10)
        };
        let small_stem = Architecture {
            stem: 64,
            hidden: 64,
            width: 64,
            shortcuts: Shortcuts::Shortcut,
            ..usual(Cifar, false, &[2; 4], 10)
        };
        let preactivation = Architecture { preactivation: true, ..small_stem.clone() };
        let bottleneck = Architecture {
            bottleneck: true,
            width: 256,
            blocks: vec![3, 4, 6, 3],
            ..preactivation.clone()
        };
        let normalised = Architecture {
            blocks: vec![18; 3],
            preactivation: true,
            final_norm: true,
            raw_shortcuts: true,
            ..projected.clone()
        };
        let deep = Architecture { bottleneck: true, width: 64, ..normalised.clone() };
        let wide = Architecture { hidden: 128, ..usual(Imagenet, true, &[3, 4, 6, 3], 1000) };
        vec![
            (usual(Cifar, false, &[3; 3], 10), "resnet20 (CIFAR)", 269_722),
            (usual(Cifar, false, &[9; 3], 10), "resnet56 (CIFAR)", 853_018),
            (usual(Imagenet, false, &[2; 4], 1000), "resnet18 (ImageNet)", 11_689_512),
            (usual(Imagenet, false, &[3, 4, 6, 3], 1000), "resnet34 (ImageNet)", 21_797_672),
            (usual(Imagenet, true, &[3, 4, 6, 3], 1000), "resnet50 (ImageNet)", 25_557_032),
            (usual(Imagenet, true, &[3, 4, 23, 3], 1000), "resnet101 (ImageNet)", 44_549_160),
            (usual(Imagenet, true, &[3, 8, 36, 3], 1000), "resnet152 (ImageNet)", 60_192_808),
            (usual(Imagenet, false, &[1, 2, 1, 1], 7), "resnet of 1, 2, 1, 1 blocks (ImageNet)", 0),
            (projected, "resnet20 (CIFAR, 1×1 shortcuts)", 272_474),
            (small_stem, "resnet18 (3×3 stem)", 11_173_962),
            (preactivation, "preact resnet18 (3×3 stem)", 11_171_146),
            (bottleneck, "preact resnet50 (3×3 stem)", 23_509_066),
            (normalised, "preact resnet110 (CIFAR, normalised before the head)", 1_730_522),
            (deep, "preact resnet164 (CIFAR, normalised before the head)", 1_703_258),
            (wide, "resnet50 (ImageNet, 64 channels, then 128 within 256)", 68_883_240),
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

    #[test]
    fn preactivation_of_another_kind_is_refused_with_what_differs() {
        let (known, ..) = all().into_iter().find(|(net, ..)| net.preactivation).expect("one");
        // A stem that is normalised, shortcuts without weights, normalised ones.
        let mut tensors = known.tensors();
        let norm = |name: &str| Expected { name: format!("{name}.weight"), shape: vec![64] };
        tensors.push(norm("bn1"));
        tensors.retain(|tensor| !tensor.name.starts_with("layer2.0.shortcut"));
        tensors.push(norm("layer3.0.shortcut.1"));
        let error = recognised(&tensors).expect_err("another network");
        assert_eq!(error.missing, ["layer2.0.shortcut.0.weight"]);
        assert_eq!(error.unexpected, ["bn1.weight", "layer3.0.shortcut.1.weight"]);
        let text = error.to_string();
        assert!(text.contains("nearest to preact resnet18 (3×3 stem)"), "{text}");
        tensors.retain(|tensor| !tensor.name.contains("shortcut"));
        let text = recognised(&tensors).expect_err("no shortcut").to_string();
        assert!(text.contains("missing layer2.0.shortcut.0.weight"), "{text}");
    }

    /// Without its head or its stem, or with other ones, it is still near.
    #[test]
    fn the_nearest_network_is_told_whatever_is_missing() {
        for lost in ["linear", "conv1", "bn1"] {
            let mut tensors = Architecture::usual(Family::Cifar, false, vec![2; 3], 10).tensors();
            tensors.retain(|tensor| !tensor.name.starts_with(lost));
            let text = recognised(&tensors).expect_err(lost).to_string();
            assert!(text.contains("nearest to resnet14 (CIFAR)"), "{text}");
            assert!(text.contains(&format!("missing {lost}.weight")), "{text}");
        }
    }

    #[test]
    fn files_of_earlier_versions_tell_of_the_usual_networks() {
        let text = r#"{"family":"cifar","bottleneck":false,"blocks":[3,3,3],"classes":10}"#;
        let old: Architecture = serde_json::from_str(text).expect("an architecture");
        assert_eq!(old, Architecture::usual(Family::Cifar, false, vec![3; 3], 10));
        for (architecture, ..) in all() {
            let text = serde_json::to_string(&architecture).expect("plain data");
            assert_eq!(
                serde_json::from_str::<Architecture>(&text).expect("the same"),
                architecture
            );
        }
    }
}
