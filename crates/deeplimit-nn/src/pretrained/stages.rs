//! Which stages of a residual network become flows.

use std::str::FromStr;

/// Stages by their numbers, from 1 as in PyTorch's names.
///
/// # Example
///
/// ```
/// use deeplimit_nn::pretrained::Stages;
///
/// let flows: Stages = "1,3".parse().expect("a list");
/// assert!(flows.has(1) && !flows.has(2));
/// assert_eq!("none".parse(), Ok(Stages::none()));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Stages {
    /// All there are.
    #[default]
    All,
    /// These.
    Only(Vec<usize>),
}

impl Stages {
    /// None at all.
    pub fn none() -> Self {
        Self::Only(Vec::new())
    }

    /// Whether a stage is among them.
    pub fn has(&self, stage: usize) -> bool {
        match self {
            Self::All => true,
            Self::Only(stages) => stages.contains(&stage),
        }
    }

    /// The first that is named, but not one of so many.
    pub(super) fn beyond(&self, count: usize) -> Option<usize> {
        match self {
            Self::All => None,
            Self::Only(stages) => stages.iter().copied().find(|stage| !(1..=count).contains(stage)),
        }
    }
}

impl FromStr for Stages {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "all" => return Ok(Self::All),
            "none" => return Ok(Self::none()),
            _ => {}
        }
        let wrong = || "expected all, none, or numbers of stages such as 1,3".to_owned();
        let stages: Result<Vec<usize>, _> = text.split(',').map(str::parse).collect();
        let stages = stages.map_err(|_| wrong())?;
        let twice = |(index, stage): (usize, &usize)| stages[..index].contains(stage);
        if stages.iter().enumerate().any(twice) { Err(wrong()) } else { Ok(Self::Only(stages)) }
    }
}
