//! What is said of a residual network: its name, and what its tensors do not tell.

use super::{Architecture, Family, Shortcuts};
use std::fmt;

impl Architecture {
    /// What the tensors do not tell, and is taken for granted.
    pub fn assumed(&self) -> Vec<String> {
        let mut all = Vec::new();
        if self.bottleneck {
            all.push(match self.stride_in_1x1 {
                true => "the first 1×1 windows of a block stride (v1)".to_owned(),
                false => {
                    "the 3×3 windows of a block stride (v1.5); --stride-in-1x1 for v1".to_owned()
                }
            });
        }
        if self.preactivation && (0..self.blocks.len()).any(|stage| self.reshapes(stage)) {
            let told = match self.raw_shortcuts {
                true => "shortcuts take x itself; --raw-shortcuts false for relu(norm(x))",
                false => "shortcuts take relu(norm(x)); --raw-shortcuts true for x itself",
            };
            all.push(told.to_owned());
        }
        if self.preactivation && !self.final_norm {
            all.push("no relu comes before the head".to_owned());
        }
        all
    }
}

impl fmt::Display for Architecture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let convolutions = if self.bottleneck { 3 } else { 2 };
        let depth = convolutions * self.blocks.iter().sum::<usize>() + 2;
        let usual: [&[usize]; 4] = [&[2, 2, 2, 2], &[3, 4, 6, 3], &[3, 4, 23, 3], &[3, 8, 36, 3]];
        let three = self.blocks.len() == 3;
        let equal = three && self.blocks.iter().all(|blocks| *blocks == self.blocks[0]);
        if self.preactivation {
            write!(f, "preact ")?;
        }
        match equal || usual.contains(&&self.blocks[..]) {
            true => write!(f, "resnet{depth}")?,
            false => {
                let blocks: Vec<String> = self.blocks.iter().map(usize::to_string).collect();
                write!(f, "resnet of {} blocks", blocks.join(", "))?;
            }
        }
        let family = match self.family {
            Family::Cifar if three => "CIFAR",
            Family::Cifar => "3×3 stem",
            Family::Imagenet => "ImageNet",
        };
        write!(f, " ({family}")?;
        let own = Self::usual(self.family, self.bottleneck, self.blocks.clone(), self.classes);
        let others = self.shortcuts != Shortcuts::Pad && !self.preactivation;
        if three && self.family == Family::Cifar && others {
            write!(f, ", 1×1 shortcuts")?;
        }
        let usual = if three || self.family == Family::Imagenet { own.stem } else { 64 };
        let wide = [self.stem, self.hidden, self.width];
        if wide != [usual, usual, if self.bottleneck { 4 * usual } else { usual }] {
            let [stem, hidden, width] = wide;
            match self.bottleneck || hidden != width {
                true => write!(f, ", {stem} channels, then {hidden} within {width}")?,
                false => write!(f, ", {stem} channels, then {width}")?,
            }
        }
        if self.final_norm {
            write!(f, ", normalised before the head")?;
        }
        write!(f, ")")
    }
}
