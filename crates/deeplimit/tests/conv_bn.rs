//! The convolutional field with batch normalisation: its pull-back, and the gradient methods on it.

mod common;

use common::{order as slope, run};
use deeplimit::control::Family;
use deeplimit::field::{ConvBn, ConvBnLayer, Order, Statistics, Tiled};
use deeplimit::gradient::Due;
use deeplimit::kernel::Image;
use deeplimit::prelude::*;
use deeplimit::seed::uniform;

const CHANNELS: usize = 2;
const HIDDEN: usize = 3;
const IMAGES: [Image; 2] = [Image { height: 3, width: 2 }, Image { height: 4, width: 4 }];
/// Less than a tile of 16, and more than one.
const BATCHES: [usize; 2] = [5, 18];
const SCHEMES: [Scheme; 3] = [Scheme::EULER, Scheme::HEUN, Scheme::MIDPOINT];

/// Step of the central differences: their error, step² |f'''|/6 + 1e-16/step, is near 1e-10.
const STEP: f64 = 1e-5;

/// Step where slopes jump: a hundred times less often does a kink lie within it, and rounding is near 1e-8.
const STEP_BY_KINKS: f64 = 1e-7;

/// Agreement asked for, relative to the size of the directional derivative's terms.
const TOLERANCE: f64 = 1e-6;

/// Rounding of a few layers, far below any method's error.
const ROUNDING: f64 = 1e-12;

fn layer(order: Order, image: Image, activation: Activation) -> ConvBnLayer {
    ConvBnLayer { channels: CHANNELS, hidden: HIDDEN, image, activation, order }
}

/// Random weights; gains 1 + `spread`·v and shifts `spread`·v.
fn control(layer: &ConvBnLayer, nodes: usize, family: Family, spread: f64) -> Control<f64> {
    let mut control = Control::random(layer.kinds(), nodes, family, 7);
    let names: Vec<&str> = control.kinds().iter().map(|kind| kind.name).collect();
    for (name, values) in names.into_iter().zip(control.values_mut()) {
        let centre = match name {
            "g1" | "g2" | "g3" => 1.0,
            "be1" | "be2" | "be3" => 0.0,
            _ => continue,
        };
        values.iter_mut().for_each(|value| *value = centre + spread * *value);
    }
    control
}

/// (mean, variance) of every channel at every node, as a run could have gathered them.
fn held(layer: &ConvBnLayer, nodes: usize) -> Statistics {
    let channels = layer.normalised();
    let entry = |node: usize, channel: usize| {
        let at = |part: u64| uniform(50 + part, (node * channels + channel) as u64);
        [0.2 * at(0), 0.6 + 0.3 * at(1)]
    };
    let node = |node: usize| (0..channels).map(|channel| entry(node, channel)).collect();
    Statistics::Held((0..nodes).map(node).collect())
}

fn flow(
    layer: ConvBnLayer,
    control: Control<f64>,
    scheme: &Scheme,
    statistics: Statistics,
) -> Flow<ConvBn<f64>> {
    let field = ConvBn::new(layer, control);
    Flow::new(field.with_statistics(statistics), scheme.clone())
}

fn rows(samples: usize, image: Image, seed: u64) -> Tiled<f64> {
    let width = CHANNELS * image.pixels();
    let value = |row: usize, column: usize| uniform(seed, (row * width + column) as u64);
    Tiled::cut(&Rows::from_fn(samples, width, value))
}

/// Checks the gradient of ⟨bar, x_N⟩ by backprop along every single parameter and entry of x_0 of
/// the first and the last sample, and along random directions.
fn check(
    scheme: &Scheme,
    layer: ConvBnLayer,
    samples: usize,
    at: &Statistics,
    change: impl Fn(ConvBn<f64>) -> ConvBn<f64>,
) {
    let what = format!("{scheme}, {layer:?}, {samples} samples");
    let image = layer.image;
    let parameters = control(&layer, scheme.nodes_for(2), Family::Rough, 0.1);
    let build = |parameters: Control<f64>| {
        let field = flow(layer, parameters, scheme, at.clone()).into_field();
        Flow::new(change(field), scheme.clone())
    };
    let (x0, bar) = (rows(samples, image, 71), rows(samples, image, 72));
    let found = run::run(&build(parameters.clone()), run::parse("backprop"), &x0, &bar);
    let norm = found.gradient.norm().hypot(found.x0_bar.norm_squared().sqrt());
    let step = if layer.activation == Activation::Relu { STEP_BY_KINKS } else { STEP };
    let close = |place: &str, derivative: f64, loss: &dyn Fn(f64) -> f64| {
        let difference = (loss(step) - loss(-step)) / (2.0 * step);
        assert!(
            (derivative - difference).abs() <= TOLERANCE * norm,
            "{what}, {place}: derivative {derivative}, difference {difference}, norm {norm}"
        );
    };
    for kind in 0..parameters.kinds().len() {
        for entry in 0..parameters.values()[kind].len() {
            let loss = |step: f64| {
                let mut moved = parameters.clone();
                moved.values_mut()[kind][entry] += step;
                build(moved).forward(&x0).dot(&bar)
            };
            let name = format!("{}[{entry}]", parameters.kinds()[kind].name);
            close(&name, found.gradient.values()[kind][entry], &loss);
        }
    }
    let still = build(parameters);
    let along = |direction: &Tiled<f64>| {
        let direction = direction.clone();
        let (x0, bar, still) = (&x0, &bar, &still);
        move |step: f64| {
            let mut moved = x0.clone();
            moved.add_scaled(step, &direction);
            still.forward(&moved).dot(bar)
        }
    };
    let width = CHANNELS * image.pixels();
    for place in 0..2 * width {
        let (row, column) = (if place < width { 0 } else { samples - 1 }, place % width);
        let unit = |r: usize, c: usize| f64::from(u8::from((r, c) == (row, column)));
        let unit = Tiled::cut(&Rows::from_fn(samples, width, unit));
        close(&format!("x_0[{row}, {column}]"), found.x0_bar.dot(&unit), &along(&unit));
    }
    for seed in 90..93 {
        let direction = rows(samples, image, seed);
        close("x_0", found.x0_bar.dot(&direction), &along(&direction));
    }
}

/// Every scheme and nonlinearity with every order, on one of the images each time.
fn layers() -> impl Iterator<Item = (Scheme, ConvBnLayer)> {
    let all =
        SCHEMES.into_iter().flat_map(|scheme| Order::ALL.map(|order| (scheme.clone(), order)));
    all.flat_map(|(scheme, order)| {
        Activation::ALL.into_iter().enumerate().map(move |(index, activation)| {
            (scheme.clone(), layer(order, IMAGES[index % 2], activation))
        })
    })
}

#[test]
fn gradients_with_batch_statistics_agree_with_finite_differences() {
    for (scheme, layer) in layers() {
        for samples in BATCHES {
            check(&scheme, layer, samples, &Statistics::Batch, |field| field);
        }
    }
}

#[test]
fn gradients_with_held_statistics_agree_with_finite_differences() {
    for (scheme, layer) in layers() {
        for samples in BATCHES {
            check(&scheme, layer, samples, &held(&layer, scheme.nodes_for(2)), |field| field);
        }
    }
}

/// Fields that begin with relu, which can follow every step too.
fn rectifiable() -> [ConvBnLayer; 2] {
    [Order::Pre, Order::Bottleneck].map(|order| layer(order, IMAGES[1], Activation::Relu))
}

#[test]
fn gradients_with_relu_after_every_step_agree_with_finite_differences() {
    for layer in rectifiable() {
        for (samples, at) in [(5, Statistics::Batch), (18, held(&layer, 2))] {
            check(&Scheme::EULER, layer, samples, &at, ConvBn::rectified);
        }
    }
}

#[test]
fn relu_after_every_step_is_the_block_of_he_and_others_and_checkpointing_is_backprop() {
    let relu = |x: &mut Tiled<f64>| {
        let entries = x.tiles_mut().iter_mut().flat_map(|tile| tile.columns_mut());
        entries.for_each(|value| *value = value.max(0.0));
    };
    for layer in rectifiable() {
        let parameters = control(&layer, 7, Family::Rough, 0.1);
        let plain = flow(layer, parameters, &Scheme::EULER, Statistics::Batch);
        let field = plain.field();
        let (mut x, bar) = (rows(18, IMAGES[1], 1), rows(18, IMAGES[1], 2));
        let x0 = x.clone();
        relu(&mut x);
        let (mut slope, mut tape) = (x.scratch(), field.tape(&x));
        for node in 0..7 {
            field.eval(deeplimit::control::Position::node(node), &x, &mut slope, &mut tape);
            x.add_scaled(1.0 / 7.0, &slope);
            relu(&mut x);
        }
        let blocks = Flow::new(field.clone().rectified(), Scheme::EULER);
        let mut end = blocks.forward(&x0);
        relu(&mut end);
        assert!(run::distance(&end, &x) <= ROUNDING);
        assert!(run::distance(&plain.forward(&x0), &x) > 0.01, "another function");
        let exact = run::run(&blocks, run::parse("backprop"), &x0, &bar);
        let found = run::run(&blocks, run::parse("checkpoint"), &x0, &bar);
        assert!(found.gradient.relative_error(&exact.gradient) <= ROUNDING);
        assert!(run::distance(&found.x0_bar, &exact.x0_bar) <= ROUNDING);
    }
}

#[test]
#[should_panic(expected = "only backprop and checkpoint walk back")]
fn an_adjoint_refuses_steps_with_relu_behind_them() {
    let layer = rectifiable()[0];
    let field =
        flow(layer, control(&layer, 3, Family::Rough, 0.1), &Scheme::EULER, Statistics::Batch);
    let blocks = Flow::new(field.into_field().rectified(), Scheme::EULER);
    let (x0, bar) = (rows(5, IMAGES[1], 1), rows(5, IMAGES[1], 2));
    run::run(&blocks, run::parse("adjoint-corrected"), &x0, &bar);
}

/// A flow of seven steps with its x_0 and a cotangent.
fn example(
    order: Order,
    scheme: &Scheme,
    batch: bool,
) -> (Flow<ConvBn<f64>>, Tiled<f64>, Tiled<f64>) {
    let layer = layer(order, IMAGES[1], Activation::Gelu);
    let nodes = scheme.nodes_for(7);
    let parameters = control(&layer, nodes, Family::Rough, 0.1);
    let statistics = if batch { Statistics::Batch } else { held(&layer, nodes) };
    let flow = flow(layer, parameters, scheme, statistics);
    (flow, rows(18, IMAGES[1], 1), rows(18, IMAGES[1], 2))
}

#[test]
fn checkpointing_is_backprop() {
    for (scheme, order) in SCHEMES.iter().flat_map(|s| Order::ALL.map(|order| (s, order))) {
        for batch in [true, false] {
            let (flow, x0, bar) = example(order, scheme, batch);
            let exact = run::run(&flow, run::parse("backprop"), &x0, &bar);
            let found = run::run(&flow, run::parse("checkpoint"), &x0, &bar);
            let error = found.gradient.relative_error(&exact.gradient);
            assert!(error <= ROUNDING, "{scheme}: gradient {error:e}");
            let error = run::distance(&found.x0_bar, &exact.x0_bar);
            assert!(error <= ROUNDING, "{scheme}: x_0 {error:e}");
        }
    }
}

#[test]
fn a_layer_linearised_again_at_the_same_state_has_the_same_bits() {
    let (flow, x, bar) = example(Order::Pre, &Scheme::HEUN, true);
    let field = flow.field();
    for depth in [2.0, 2.5] {
        let position = deeplimit::control::Position::at(depth);
        let linearise = || {
            let (mut out, mut x_bar, mut tape) = (x.scratch(), x.clone(), field.tape(&x));
            let mut gradient = field.zero_gradient();
            field.linearize(position, &x, &mut out, &mut tape);
            let statistics = tape.statistics();
            let sink = field.open(&mut gradient);
            field.pull_back(position, &x, &mut tape, &bar, &mut x_bar, Some(Due::now(&sink)));
            drop(sink);
            (out, x_bar, gradient, statistics)
        };
        assert!(linearise() == linearise(), "at {depth}");
    }
}

#[test]
fn a_gradient_has_the_same_bits_for_one_and_two_threads() {
    for method in ["backprop", "checkpoint", "adjoint-predicted", "adjoint-adaptive"] {
        let on = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
            pool.expect("a pool").install(|| {
                let (flow, x0, bar) = example(Order::Bottleneck, &Scheme::EULER, true);
                let found = run::run(&flow, run::parse(method), &x0, &bar);
                (found.end, found.x0_bar, found.gradient)
            })
        };
        assert!(on(1) == on(2), "{method}");
    }
}

#[test]
fn the_corrected_adjoint_has_order_two_on_weights_smooth_in_depth() {
    for order in Order::ALL {
        let depths = [32, 64, 128, 256];
        let error = |steps: &usize| {
            let layer = layer(order, IMAGES[1], Activation::Tanh);
            let parameters = control(&layer, *steps, Family::Smooth, 0.0);
            let flow = flow(layer, parameters, &Scheme::EULER, Statistics::Batch);
            let (x0, bar) = (rows(18, IMAGES[1], 1), rows(18, IMAGES[1], 2));
            let exact = run::run(&flow, run::parse("backprop"), &x0, &bar);
            let found = run::run(&flow, run::parse("adjoint-corrected"), &x0, &bar);
            found.gradient.relative_error(&exact.gradient)
        };
        let errors: Vec<f64> = depths.iter().map(error).collect();
        let found = slope(&depths, &errors);
        assert!(found >= 2.0 - 0.3, "order {found:.2} of {errors:?}");
    }
}
