//! Batch normalisation in evaluation mode on the way back.
//!
//! On the way there a channel is normalised by the moments of the batch. A way back that normalises by
//! running statistics undoes another function: its reconstruction is off by what the two differ, however
//! deep the network. Implementations fall into this where a layer is called in evaluation mode, or moves
//! its running statistics, when states are recovered. Variants:
//!
//! - "batch": as [`ConvBn`] does it, both ways by the moments of the batch;
//! - "held": the way back by statistics averaged over ten other batches;
//! - "again": no method; the difference between two walks there, before and after a way back.

use super::{Row, judged, with_repair};
use crate::experiment::walks::{random, walk, walk_back_on};
use deeplimit::control::Family;
use deeplimit::field::{ConvBn, ConvBnLayer, LayerStatistics, Order, Statistics, Tiled};
use deeplimit::gradient::Backprop;
use deeplimit::kernel::{Activation, Image};
use deeplimit::prelude::*;
use deeplimit::seed;
use deeplimit_nn::network::Formula;

const CHANNELS: usize = 2;
const HIDDEN: usize = 3;
const IMAGE: Image = Image { height: 4, width: 4 };
const METHODS: [&str; 2] = ["adjoint-corrected", "adjoint-adaptive"];
const BATCHES: [usize; 3] = [8, 32, 128];
const OTHERS: u64 = 10;

/// Networks of a depth.
pub fn measure(depth: usize, seed: u64) -> Vec<Row> {
    let layer = ConvBnLayer {
        channels: CHANNELS,
        hidden: HIDDEN,
        image: IMAGE,
        activation: Activation::Tanh,
        order: Order::Post,
    };
    let control: Control<f64> = Formula::ConvBn(layer).initial(depth, Family::Smooth, 1.0, seed);
    let field = || ConvBn::new(layer, control.clone());
    let mut rows = Vec::new();
    for batch in BATCHES {
        let draw = |part: u64| {
            Tiled::cut(&random(batch, CHANNELS * IMAGE.pixels(), seed::derive(seed, part)))
        };
        let (x0, bar) = (draw(1), draw(2));
        let ends = [&x0, &bar];
        let flow = Flow::new(field(), Scheme::EULER);
        let exact = walk(&flow, &Method::Backprop(Backprop), ends).gradient;
        let others = (0..OTHERS).map(|other| {
            let flow = Flow::new(field(), Scheme::EULER);
            flow.forward(&draw(10 + other));
            flow.field().gathered().expect("a walk through every layer")
        });
        let running = Statistics::Held(mean(&others.collect::<Vec<_>>()));
        let held = Flow::new(field().with_statistics(running), Scheme::EULER);
        let named = |variant: &str, row: Row| Row {
            failure: "statistics".into(),
            variant: variant.into(),
            strength: batch as f64,
            ..row
        };
        for method in METHODS {
            let there = flow.forward(&x0);
            rows.push(named("batch", judged(&flow, method, ends, &exact)));
            let difference = flow.forward(&x0).distance_squared(&there).sqrt();
            let again = Row { method: method.into(), depth, ..Row::default() };
            rows.push(named("again", Row { state_error: difference, ..again }));
            let [plain, within] =
                with_repair(method).map(|method| walk_back_on(&flow, &held, &method, ends));
            let row = Row { method: method.into(), depth, ..Row::default() };
            rows.push(named("held", row.found(&plain, &exact).repaired(&within, &exact)));
        }
    }
    rows
}

/// The mean over several batches of the statistics of every node and channel.
fn mean(batches: &[Vec<LayerStatistics>]) -> Vec<LayerStatistics> {
    let share = 1.0 / batches.len() as f64;
    let channel = |node: usize, channel: usize| {
        let sum = |at: usize| batches.iter().map(|batch| batch[node][channel][at]).sum::<f64>();
        [0, 1].map(|at| share * sum(at))
    };
    let node = |node: usize| (0..HIDDEN + CHANNELS).map(|at| channel(node, at)).collect();
    (0..batches[0].len()).map(node).collect()
}
