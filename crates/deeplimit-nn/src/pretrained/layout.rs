//! The tensors of a residual network, and what differs where they are not there.

use super::Architecture;

/// A tensor that a network must have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expected {
    /// Its name.
    pub name: String,
    /// Its shape.
    pub shape: Vec<usize>,
}

impl Architecture {
    /// All tensors in PyTorch's order, without counters of batches.
    pub fn tensors(&self) -> Vec<Expected> {
        let mut all = Layout(Vec::new());
        let window = self.window();
        all.add("conv1.weight", vec![self.stem, 3, window, window]);
        if !self.preactivation {
            all.norm("bn1", self.stem);
        }
        let (widths, mut inputs) = (self.widths(), self.stem);
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
                    if self.preactivation {
                        all.norm(&format!("{name}.bn{index}"), from);
                    }
                    all.add(&format!("{name}.conv{index}.weight"), vec![to, from, side, side]);
                    if !self.preactivation {
                        all.norm(&format!("{name}.bn{index}"), to);
                    }
                }
                if block == 0
                    && self.reshapes(stage)
                    && let Some(shortcut) = self.shortcuts.name()
                {
                    all.add(&format!("{name}.{shortcut}.0.weight"), vec![width, inputs, 1, 1]);
                    if !self.preactivation {
                        all.norm(&format!("{name}.{shortcut}.1"), width);
                    }
                }
                inputs = width;
            }
        }
        if self.final_norm {
            all.norm("bn", inputs);
        }
        let head = self.head.name();
        all.add(&format!("{head}.weight"), vec![self.classes, inputs]);
        all.add(&format!("{head}.bias"), vec![self.classes]);
        all.0
    }
}

struct Layout(Vec<Expected>);

impl Layout {
    fn add(&mut self, name: &str, shape: Vec<usize>) {
        self.0.push(Expected { name: name.to_owned(), shape });
    }

    fn norm(&mut self, name: &str, channels: usize) {
        for part in ["weight", "bias", "running_mean", "running_var"] {
            self.add(&format!("{name}.{part}"), vec![channels]);
        }
    }
}

/// Tensors that are not those of any residual network known here.
#[derive(Clone, Debug, Default, PartialEq, Eq, thiserror::Error)]
#[error("no residual network that is known: {}", self.told())]
pub struct Unrecognised {
    /// What was compared with, where it came to that.
    pub nearest: Option<Box<Architecture>>,
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
    /// Whether nothing differs.
    pub(super) fn is_none(&self) -> bool {
        self.missing.is_empty() && self.unexpected.is_empty() && self.misshapen.is_empty()
    }

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
