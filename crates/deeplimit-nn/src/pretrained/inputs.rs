//! How the inputs of a network trained elsewhere are normalised: the usual ways, by name.

use crate::data::Normalisation;
use std::fmt;
use std::str::FromStr;

/// Mean and standard deviation of the three colours, in units of full brightness.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Inputs {
    /// The mean of each.
    pub mean: [f64; 3],
    /// The standard deviation of each.
    pub std: [f64; 3],
}

/// The usual ones. Of CIFAR-10's deviations two are in use: over all pixels, and the mean of those of the images.
const USUAL: [(&str, [f64; 3], [f64; 3]); 5] = [
    ("imagenet", [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
    ("cifar10", [0.4914, 0.4822, 0.4465], [0.2470, 0.2435, 0.2616]),
    ("cifar10-images", [0.4914, 0.4822, 0.4465], [0.2023, 0.1994, 0.2010]),
    ("half", [0.5; 3], [0.5; 3]),
    ("none", [0.0; 3], [1.0; 3]),
];

impl Inputs {
    /// Those of ImageNet's colours, which both families of networks were first trained with.
    pub const IMAGENET: Self = Self { mean: USUAL[0].1, std: USUAL[0].2 };

    /// The usual ones.
    pub fn usual() -> impl Iterator<Item = Self> {
        USUAL.into_iter().map(|(_, mean, std)| Self { mean, std })
    }

    /// Its name, if it is a usual one.
    pub fn name(&self) -> Option<&'static str> {
        let own =
            |(_, mean, std): &&(&str, [f64; 3], [f64; 3])| *mean == self.mean && *std == self.std;
        USUAL.iter().find(own).map(|(name, ..)| *name)
    }

    /// As a data set is told.
    pub fn normalisation(&self) -> Normalisation {
        Normalisation { mean: self.mean.to_vec(), std: self.std.to_vec(), target: None }
    }

    /// Of a normalisation of three colours.
    pub(super) fn of(normalisation: &Normalisation) -> Option<Self> {
        let three = |values: &[f64]| <[f64; 3]>::try_from(values).ok();
        let inputs = Self { mean: three(&normalisation.mean)?, std: three(&normalisation.std)? };
        let fine = |[mean, std]: [&f64; 2]| mean.is_finite() && std.is_finite() && *std > 0.0;
        inputs.mean.iter().zip(&inputs.std).all(|(mean, std)| fine([mean, std])).then_some(inputs)
    }
}

impl fmt::Display for Inputs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let told = |values: [f64; 3]| values.map(|value| value.to_string()).join(", ");
        match self.name() {
            Some("none") => write!(f, "none: values in 0 … 1"),
            Some(name) => {
                write!(f, "{name}: mean {}, deviation {}", told(self.mean), told(self.std))
            }
            None => write!(f, "mean {}, deviation {}", told(self.mean), told(self.std)),
        }
    }
}

/// Three numbers, or the usual ones of a name.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Colours {
    /// One a colour.
    Numbers([f64; 3]),
    /// Mean and deviation of that name.
    Named(Inputs),
}

impl FromStr for Colours {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some((_, mean, std)) = USUAL.into_iter().find(|(name, ..)| *name == text) {
            return Ok(Self::Named(Inputs { mean, std }));
        }
        let numbers: Result<Vec<f64>, _> =
            text.split(',').map(|part| part.trim().parse()).collect();
        let numbers = numbers.ok().and_then(|numbers| <[f64; 3]>::try_from(numbers).ok());
        numbers
            .filter(|numbers| numbers.iter().all(|number| number.is_finite()))
            .map(Self::Numbers)
            .ok_or_else(|| {
                let names = USUAL.map(|(name, ..)| name).join(", ");
                format!("expected three numbers such as 0.5,0.5,0.5, or one of {names}")
            })
    }
}

impl Inputs {
    /// What is meant by a mean and a deviation; a name that stands alone means both.
    ///
    /// # Errors
    /// If one of them is missing, or a deviation is not positive.
    pub fn given(mean: Option<Colours>, std: Option<Colours>) -> Result<Option<Self>, String> {
        let inputs = match (mean, std) {
            (None, None) => return Ok(None),
            (Some(Colours::Named(both)), None) | (None, Some(Colours::Named(both))) => both,
            (Some(Colours::Numbers(_)), None) => {
                return Err("--mean needs --std beside it".to_owned());
            }
            (None, Some(Colours::Numbers(_))) => {
                return Err("--std needs --mean beside it".to_owned());
            }
            (Some(mean), Some(std)) => Self {
                mean: match mean {
                    Colours::Numbers(mean) => mean,
                    Colours::Named(both) => both.mean,
                },
                std: match std {
                    Colours::Numbers(std) => std,
                    Colours::Named(both) => both.std,
                },
            },
        };
        match inputs.std.iter().find(|std| **std <= 0.0) {
            Some(std) => Err(format!("--std {std}: expected numbers above 0")),
            None => Ok(Some(inputs)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(mean: Option<&str>, std: Option<&str>) -> Result<Option<Inputs>, String> {
        let colours = |text: Option<&str>| text.map(str::parse::<Colours>).transpose();
        Inputs::given(colours(mean)?, colours(std)?)
    }

    #[test]
    fn names_and_numbers_are_read_and_a_name_alone_means_both() {
        let none = Inputs { mean: [0.0; 3], std: [1.0; 3] };
        assert_eq!(given(None, None), Ok(None));
        assert_eq!(given(Some("imagenet"), None), Ok(Some(Inputs::IMAGENET)));
        assert_eq!(given(None, Some("none")), Ok(Some(none)));
        assert_eq!(given(Some("0,0,0"), Some("1,1, 1")), Ok(Some(none)));
        let mixed = given(Some("cifar10"), Some("0.2,0.2,0.2")).expect("both").expect("given");
        assert_eq!((mixed.mean[0], mixed.std), (0.4914, [0.2; 3]));
        for (mean, std, says) in [
            (Some("0,0,0"), None, "--std"),
            (None, Some("1,1,1"), "--mean"),
            (Some("0,0,0"), Some("1,0,1"), "above 0"),
            (Some("0,0"), None, "three numbers"),
            (Some("cifar"), None, "cifar10"),
            (Some("0,0,nan"), None, "three numbers"),
        ] {
            let error = given(mean, std).expect_err(says);
            assert!(error.contains(says), "{error}");
        }
    }

    #[test]
    fn usual_ones_are_called_by_their_names() {
        for inputs in Inputs::usual() {
            let name = inputs.name().expect("a name");
            assert_eq!(given(Some(name), None), Ok(Some(inputs)));
            assert!(inputs.to_string().starts_with(name));
            assert_eq!(Inputs::of(&inputs.normalisation()), Some(inputs));
        }
        let own = Inputs { mean: [0.1; 3], std: [0.2; 3] };
        assert_eq!(
            (own.name(), own.to_string()),
            (None, "mean 0.1, 0.1, 0.1, deviation 0.2, 0.2, 0.2".into())
        );
    }
}
