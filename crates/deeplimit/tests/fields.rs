//! Pull-backs of every field, activation and scheme, held against central finite differences.

mod common;

use common::run;
use deeplimit::field::Layer;
use deeplimit::kernel::Image;
use deeplimit::prelude::*;
use deeplimit::scheme::Nodes;
use deeplimit::seed::uniform;

/// Heun's third-order scheme: unlike those of the library it reads the control at thirds between
/// nodes, where the shares of the two nodes differ.
const THIRDS: Scheme = Scheme::new(
    "thirds",
    3,
    Nodes::PerBoundary,
    &[&[], &[1.0 / 3.0], &[0.0, 2.0 / 3.0]],
    &[0.25, 0.0, 0.75],
    &[0.0, 1.0 / 3.0, 2.0 / 3.0],
);

fn schemes() -> impl Iterator<Item = Scheme> {
    Scheme::ALL.into_iter().chain([THIRDS])
}

/// Step of the central differences: their error, step² |f'''|/6 + 1e-16/step, is near 1e-10.
const STEP: f64 = 1e-5;

/// Agreement asked for, relative to the size of the directional derivative's terms.
const TOLERANCE: f64 = 1e-6;

fn rows(samples: usize, width: usize, seed: u64) -> Rows<f64> {
    Rows::from_fn(samples, width, |row, column| uniform(seed, (row * width + column) as u64))
}

/// ⟨bar, x_N⟩ of a net.
fn loss<L: Layer<f64>>(flow: &Flow<Stacked<f64, L>>, x0: &Rows<f64>, bar: &Rows<f64>) -> f64 {
    flow.forward(x0).dot(bar)
}

/// Checks the gradient of ⟨bar, x_N⟩ along random directions in the parameters, and along every
/// single parameter and entry of x_0 where `entries` is true.
///
/// With relu a difference may straddle a kink; the chance is proportional to the step, and the
/// fixed seeds of these tests stay clear of it.
fn check<L: Layer<f64>>(
    what: &str,
    flow: &Flow<Stacked<f64, L>>,
    samples: usize,
    method: Method,
    entries: bool,
) {
    let width = flow.field().layer().width();
    let (x0, bar) = (rows(samples, width, 71), rows(samples, width, 72));
    let run = run::run(flow, method, &x0, &bar);
    let norm = run.gradient.norm().hypot(run.x0_bar.norm_squared().sqrt());
    let difference = |control: &Control<f64>, direction: &Rows<f64>| {
        let at = |sign: f64| {
            let mut field = flow.field().clone();
            let shifts = control.values().iter().flatten();
            let slots = field.control_mut().values_mut().iter_mut().flatten();
            slots.zip(shifts).for_each(|(slot, shift)| *slot += sign * STEP * shift);
            let mut x0 = x0.clone();
            x0.add_scaled(sign * STEP, direction);
            loss(&Flow::new(field, flow.scheme().clone()).with_step(flow.h()), &x0, &bar)
        };
        (at(1.0) - at(-1.0)) / (2.0 * STEP)
    };
    let close = |place: &str, derivative: f64, difference: f64| {
        let error = (derivative - difference).abs();
        assert!(
            error <= TOLERANCE * norm,
            "{what}, {place}: derivative {derivative}, difference {difference}, norm {norm}"
        );
    };
    let zero = flow.field().zero_gradient();
    let still = x0.scratch();
    for seed in 0..3 {
        let layer = flow.field().layer();
        let direction = run::control_of(layer, zero.nodes(), |kind, entry| {
            uniform(80 + seed, (entry * 4 + kind) as u64)
        });
        let derivative = run.gradient.iter().zip(direction.iter()).map(|(g, d)| g * d).sum();
        close("parameters", derivative, difference(&direction, &still));
        let direction = rows(samples, width, 90 + seed);
        close("x_0", run.x0_bar.dot(&direction), difference(&zero, &direction));
    }
    if !entries {
        return;
    }
    for kind in 0..zero.values().len() {
        for entry in 0..zero.values()[kind].len() {
            let mut direction = zero.clone();
            direction.values_mut()[kind][entry] = 1.0;
            let name = format!("{}[{entry}]", zero.kinds()[kind].name);
            close(&name, run.gradient.values()[kind][entry], difference(&direction, &still));
        }
    }
    for entry in 0..x0.columns().len() {
        let mut direction = still.clone();
        direction.columns_mut()[entry] = 1.0;
        close(&format!("x_0[{entry}]"), run.x0_bar.columns()[entry], difference(&zero, &direction));
    }
}

/// Calls `visit` with every layer of the library, with every activation, in a size that straddles
/// the kernels' edges.
macro_rules! for_every_layer {
    (|$name:ident, $layer:ident| $body:expr) => {{
        {
            let ($name, $layer) = ("linear".to_owned(), Linear { width: 3 });
            $body;
        }
        for activation in Activation::ALL {
            {
                let $name = format!("dense {activation}");
                let $layer = Dense { width: 3, activation };
                $body;
            }
            {
                let $name = format!("mlp {activation}");
                let $layer = Mlp { width: 3, hidden: 5, activation };
                $body;
            }
            for (height, width) in [(1, 1), (1, 3), (3, 2)] {
                let $name = format!("conv {height}x{width} {activation}");
                let image = Image { height, width };
                let $layer = Conv::new(2, 3, image, activation);
                $body;
            }
        }
    }};
}

fn flow<L: Layer<f64>>(layer: &L, scheme: &Scheme, steps: usize) -> Flow<Stacked<f64, L>> {
    Flow::new(Stacked::rough(layer.clone(), scheme.nodes_for(steps), 7), scheme.clone())
}

#[test]
fn every_entry_of_every_gradient_agrees_with_finite_differences() {
    for scheme in schemes() {
        for_every_layer!(|name, layer| {
            let what = format!("{name}, {scheme}");
            check(&what, &flow(&layer, &scheme, 2), 1, run::parse("backprop"), true);
        });
    }
}

#[test]
fn gradients_agree_with_finite_differences_at_the_edges_of_depth_and_batch() {
    for scheme in schemes() {
        for_every_layer!(|name, layer| {
            for steps in [1, 2, 3] {
                for samples in [1, 3, 4, 5] {
                    let flow = flow(&layer, &scheme, steps).with_tile(4);
                    let what = format!("{name}, {scheme}, {steps} steps, {samples} samples");
                    check(&what, &flow, samples, run::parse("backprop"), false);
                }
            }
        });
    }
}

#[test]
fn the_fields_own_tiles_give_the_gradient_of_the_whole_batch() {
    for_every_layer!(|name, layer| {
        let flow = flow(&layer, &Scheme::HEUN, 3);
        let width = Layer::<f64>::width(&layer);
        for samples in [1, 31, 32, 33] {
            let (x0, bar) = (rows(samples, width, 1), rows(samples, width, 2));
            let tiled = run::run(&flow, run::parse("backprop"), &x0, &bar);
            let whole = flow.clone().with_tile(samples);
            let whole = run::run(&whole, run::parse("backprop"), &x0, &bar);
            // Only the order of the additions differs.
            let error = tiled.gradient.relative_error(&whole.gradient);
            assert!(error < 1e-13, "{name}, {samples} samples: gradient {error:e}");
            let error = run::distance(&tiled.x0_bar, &whole.x0_bar);
            assert!(error < 1e-13, "{name}, {samples} samples: x_0 {error:e}");
        }
    });
}

#[test]
fn a_step_of_its_own_size_scales_the_flow_and_its_gradient() {
    for scheme in schemes() {
        let layer = Mlp { width: 3, hidden: 5, activation: Activation::Gelu };
        check(
            &format!("{scheme}"),
            &flow(&layer, &scheme, 3).with_step(0.21),
            2,
            run::parse("backprop"),
            true,
        );
        // With f = b everywhere every scheme walks straight: x_N = x_0 + N h b.
        let layer = Dense { width: 3, activation: Activation::Identity };
        let control =
            run::control_of(
                &layer,
                scheme.nodes_for(3),
                |kind, _| if kind == 1 { 2.0 } else { 0.0 },
            );
        let straight = Flow::new(Stacked::new(layer, control), scheme.clone()).with_step(0.21);
        let end = straight.forward(&Rows::zeros(1, 3));
        assert!(
            end.to_vec().iter().all(|x| (x - 3.0 * 0.21 * 2.0).abs() < 1e-14),
            "{scheme}: {end:?}"
        );
    }
}
