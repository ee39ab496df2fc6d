//! Data and starts of the trainings with one seed.

use super::{BIASES, LAYER, RATE, SAMPLES, TEACHER};
use crate::experiment::Seeds;
use deeplimit::control::{Control, Family, Kind};
use deeplimit::field::{Layer, Mlp, Stacked};
use deeplimit::objective::descent::{Descent, Quadratic};
use deeplimit::{Flow, Rows, Scheme, seed};
use serde::{Deserialize, Serialize};
use std::f64::consts::{PI, TAU};

/// How the weights vary with depth before training.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Start {
    /// One smooth function of depth, sampled at the layers.
    Smooth,
    /// Every layer independent.
    Independent,
}

impl Start {
    pub const ALL: [Self; 2] = [Self::Smooth, Self::Independent];

    pub fn name(self) -> &'static str {
        match self {
            Self::Smooth => "smooth",
            Self::Independent => "independent",
        }
    }
}

/// The trainings with one seed, that decides data and starts.
pub struct Run {
    pub seed: u64,
}

impl Run {
    pub fn all(seeds: Seeds) -> Vec<Self> {
        seeds.all().map(|seed| Self { seed }).collect()
    }

    fn kinds() -> Vec<Kind> {
        Layer::<f64>::kinds(&LAYER)
    }

    /// A₀ + cos(π s) A₁ + sin(2π s) A₂ with entries of size `size`/√fan_in, sampled at s_n = n/N; zero
    /// biases.
    fn smooth(depth: usize, size: f64, seed: u64) -> Control<f64> {
        let kinds = Self::kinds();
        let value = |kind: usize, entry: usize, s: f64| {
            let Kind { name, fan_in, .. } = kinds[kind];
            if BIASES.contains(&name) {
                return 0.0;
            }
            let (seed, count) = (seed::derive(seed, kind as u64), kinds[kind].len());
            let part = |part: usize| seed::uniform(seed, (part * count + entry) as u64);
            let value = part(0) + (PI * s).cos() * part(1) + (TAU * s).sin() * part(2);
            size / (fan_in as f64).sqrt() * value
        };
        Control::sampled(kinds.clone(), depth, value)
    }

    /// Weights before training.
    pub fn start(&self, start: Start, depth: usize) -> Control<f64> {
        if start == Start::Smooth {
            return Self::smooth(depth, 1.0, self.seed);
        }
        let kinds = Self::kinds();
        let mut control = Control::random(kinds.clone(), depth, Family::Independent, self.seed);
        for (kind, values) in kinds.iter().zip(control.values_mut()) {
            if BIASES.contains(&kind.name) {
                values.fill(0.0);
            }
        }
        control
    }

    pub fn inputs(&self) -> Rows<f64> {
        let seed = seed::derive(self.seed, 1000);
        let width = LAYER.width;
        Rows::from_fn(SAMPLES, width, |row, column| {
            seed::normal(seed, (row * width + column) as u64)
        })
    }

    /// A descent at its start: all samples in one tile, so that it stays on its thread.
    pub fn descent(&self, start: Start, depth: usize) -> Descent<f64, Mlp> {
        let (layers, size) = TEACHER;
        let teacher = Self::smooth(layers, size, seed::derive(self.seed, 1001));
        let teacher = Flow::new(Stacked::new(LAYER, teacher), Scheme::EULER);
        let targets = teacher.forward(&self.inputs());
        let field = Stacked::new(LAYER, self.start(start, depth));
        Descent::new(Quadratic::data(self.inputs(), targets), field, RATE)
            .with_fixed(&BIASES)
            .with_tile(SAMPLES)
    }
}
