//! A flow with h L > 1 trained by the paper's adjoint, by backprop, and by the adjoint within a tolerance, after
//! figure 3b of the paper. There it is a ResNet-101 on ImageNet, which is beyond two cores; here the small network of
//! figure 4 with two residual functions that do not start at 0, and beside it one with many.

use super::{BACKPROP, Images, Part, Row, finite};
use crate::experiment::depth_sweep::paper::{FROZEN, PUBLISHED, Training, WITHIN};
use crate::experiment::depth_sweep::training::Course;
use anyhow::Result;
use deeplimit::Scheme;
use deeplimit_nn::data::batch;
use deeplimit_nn::network::Probe;
use deeplimit_nn::train::Trainer;
use std::path::Path;

/// Images at which h L is measured.
const IMAGES: usize = 32;

/// What is trained: with few residual functions by all methods, with many by two.
pub fn all([few, many]: [usize; 2]) -> [(usize, &'static [&'static str]); 2] {
    [(few, &[FROZEN, BACKPROP, PUBLISHED, WITHIN]), (many, &[BACKPROP, PUBLISHED])]
}

impl Images {
    pub(super) fn training(&self, depth: usize, method: &str, scratch: &Path) -> Result<Vec<Row>> {
        let training = Training {
            options: &self.options,
            seed: self.seed,
            scheme: &Scheme::EULER,
            depth,
            method,
            epochs: self.sizes.epochs[if depth == self.sizes.flows[0] { 1 } else { 2 }],
            zero_start: false,
            fast: false,
        };
        let mut trainer = Trainer::with_splits(training.config(), self.splits.clone())?;
        let course = Course::of(&mut trainer, scratch)?;
        let mut value = None;
        if method == BACKPROP {
            let samples = &self.splits.train;
            let indices: Vec<u32> = (0..IMAGES.min(samples.len()) as u32).collect();
            let images = batch(samples, &indices, &self.splits.normalisation, None)?;
            let diagnosis = trainer.network().diagnose(Probe::Batch(&images))?;
            value = finite(diagnosis[0].jacobians.step_lipschitz);
        }
        Ok(vec![Row {
            value,
            loss: finite(course.train_loss),
            test_error: finite(course.test_error),
            estimate: finite(course.certificate),
            diverged: course.diverged,
            ..Row::new(Part::Training, &Scheme::EULER, depth, method)
        }])
    }
}
