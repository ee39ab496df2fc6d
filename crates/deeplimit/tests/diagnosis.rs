//! What a diagnosis says of networks whose limit is known.

use deeplimit::AnyScheme;
use deeplimit::control::{Control, Family, Kind};
use deeplimit::field::{AnyLayer, ConvBn, ConvBnLayer, Layer, Order};
use deeplimit::kernel::Image;
use deeplimit::limit::diagnosis::{Diagnosis, DiagnosisError, Standing};
use deeplimit::limit::{Bounds, Gaps, Regime, lipschitz_bound};
use deeplimit::prelude::*;
use deeplimit::seed::normal;

const WIDTH: usize = 6;

fn layer() -> AnyLayer {
    AnyLayer::Mlp(Mlp { width: WIDTH, hidden: 8, activation: Activation::Tanh })
}

fn rows(width: usize, samples: usize, seed: u64) -> Rows<f64> {
    Rows::from_fn(samples, width, |row, column| normal(seed, (row * width + column) as u64))
}

fn diagnose(field: Stacked<f64, AnyLayer>, scheme: impl Into<AnyScheme>) -> Diagnosis {
    let width = Layer::<f64>::width(field.layer());
    let flow = Flow::new(field, scheme);
    Diagnosis::of(&flow, &rows(width, 6, 1), &rows(width, 6, 2)).expect("finite numbers")
}

fn euler(field: Stacked<f64, AnyLayer>) -> Diagnosis {
    diagnose(field, Scheme::EULER)
}

/// The same layers in another order.
fn shuffled(control: &Control<f64>, seed: u64) -> Control<f64> {
    let mut order: Vec<usize> = (0..control.nodes()).collect();
    order.sort_by(|a, b| normal(seed, *a as u64).total_cmp(&normal(seed, *b as u64)));
    let kind = |kind| order.iter().flat_map(|node| control.at(kind, *node)).copied().collect();
    let values = (0..control.kinds().len()).map(kind).collect();
    Control::new(control.kinds().to_vec(), control.nodes(), values)
}

#[test]
fn smooth_weights_are_an_ode_and_the_same_layers_shuffled_only_average() {
    let field = Stacked::smooth(layer(), 64, 3);
    let smooth = euler(field.clone());
    assert_eq!(smooth.verdict.standing, Standing::SmoothOde, "{:?}", smooth.scaling);
    let [first, second] = &smooth.verdict.sentences;
    assert!(first.contains("discretises a neural ODE with a smooth control"), "{first}");
    assert!(second.contains("no stored states"), "{second}");

    let rough = euler(Stacked::new(layer(), shuffled(field.control(), 5)));
    assert_eq!(rough.verdict.standing, Standing::AveragedOde, "{:?}", rough.scaling);
    let [first, _] = &rough.verdict.sentences;
    assert!(first.contains("no limit") && first.contains("only averages"), "{first}");

    // The order of the layers is no matter for the averaged map, and for nothing else.
    let scaling = |diagnosis: &Diagnosis| diagnosis.scaling.known().expect("64 layers").clone();
    assert!(scaling(&smooth).ito_state < 0.01 * scaling(&rough).ito_state);
    let (near, far) = (&rough.function_interpolant, &rough.weight_interpolant);
    assert!(near.largest < 3.0 * smooth.function_interpolant.largest);
    assert!(far.largest > 2.0 * near.largest, "{} {}", far.largest, near.largest);
}

#[test]
fn weights_of_size_root_n_are_diffusive_and_weights_of_size_one_are_not() {
    for depth in [32usize, 128, 512] {
        let control = |size: f64| {
            let kinds = Layer::<f64>::kinds(&AnyLayer::Linear(Linear { width: 4 }));
            let values = (0..depth * 16).map(|i| 0.5 * size * normal(7, i as u64)).collect();
            Control::new(kinds, depth, vec![values])
        };
        let standing = |size| {
            let field = Stacked::new(AnyLayer::Linear(Linear { width: 4 }), control(size));
            euler(field).verdict
        };
        let diffusive = standing((depth as f64).sqrt());
        assert_eq!(diffusive.standing, Standing::Diffusive, "{depth}");
        assert!(diffusive.sentences[0].contains("diffusive"), "{:?}", diffusive.sentences);
        assert_eq!(standing(1.0).standing, Standing::AveragedOde, "{depth}");
    }
}

#[test]
fn steps_that_do_not_contract_are_outside_the_regime() {
    let control = Family::Smooth.sample(16, 16, 12.0, 3);
    let linear = Linear { width: 4 };
    let kinds = Layer::<f64>::kinds(&linear);
    let field = Stacked::new(AnyLayer::Linear(linear), Control::new(kinds, 16, vec![control]));
    let found = euler(field);
    assert!(found.jacobians.step_lipschitz >= 1.0, "{}", found.jacobians.step_lipschitz);
    assert_eq!(found.verdict.standing, Standing::OutsideRegime);
    let [first, second] = &found.verdict.sentences;
    assert!(first.contains("outside the regime"), "{first}");
    assert!(second.contains("contract"), "{second}");
    let used = found.methods.iter().find(|row| {
        row.method == found.verdict.method.method && row.tolerance == found.verdict.method.tolerance
    });
    assert!(used.expect("a measured method").single.gradient < 4e-3, "{used:?}");
}

#[test]
fn one_layer_of_size_n_is_a_jump() {
    let mut field = Stacked::<f64, _>::smooth(AnyLayer::Linear(Linear { width: 4 }), 256, 3);
    for weight in &mut field.control_mut().values_mut()[0][100 * 16..101 * 16] {
        *weight *= 60.0; // h L stays below 1.
    }
    let found = euler(field);
    assert_eq!(found.verdict.standing, Standing::Jump, "{:?}", found.scaling);
}

/// Constants without Jacobians' matrices are those with them.
#[test]
fn bounds_are_those_of_dense_jacobians_and_hold() {
    let layer = Mlp { width: WIDTH, hidden: 8, activation: Activation::Tanh };
    for family in [Family::Smooth, Family::Rough] {
        let field = Stacked::<f64, _>::random(layer.clone(), 24, family, 4);
        let certain = lipschitz_bound(&field);
        let flow = Flow::new(field, Scheme::EULER);
        let x0 = rows(WIDTH, 20, 1); // Two pieces that are walked apart.
        let found = Diagnosis::of(&flow, &x0, &rows(WIDTH, 20, 2)).expect("finite numbers");
        let along = found.bounds.known().expect("a residual network");
        let dense = Bounds::measure(&flow, &x0, along.points).expect("a residual network");
        let close = |name: &str, a: f64, b: f64, tolerance: f64| {
            assert!((a / b - 1.0).abs() < tolerance, "{family:?} {name}: {a} {b}");
        };
        // Differences are known to 1e-9; norms to the Lanczos iteration's, which ends on six numbers.
        close("M", along.bounds.curvature, dense.curvature, 1e-7);
        close("C", along.bounds.speed, dense.speed, 1e-12);
        close("jump", along.bounds.jump, dense.jump, 1e-12);
        close("L", along.bounds.lipschitz, dense.lipschitz, 1e-6);
        close("local", along.bounds.local, dense.local, 1e-5);
        let everywhere = along.certain.known().expect("an mlp has one");
        assert_eq!(everywhere.lipschitz, certain);
        assert!(everywhere.smooth >= along.bounds.smooth);
        let distance = &found.function_interpolant;
        assert!(distance.resolved && distance.halving <= 1e-3 * distance.largest);
        let path = distance.per_layer.iter().zip(&along.local_path);
        assert!(path.clone().all(|(measured, bound)| *measured <= bound * (1.0 + 1e-9)));
        assert!(distance.largest <= along.bounds.smoothness_free);
        assert_eq!(found.gaps.known(), Gaps::measure(&flow, &x0).ok().as_ref());
    }
}

#[test]
fn increments_and_seminorms_are_those_by_hand() {
    let kinds = vec![Kind { name: "theta", shape: vec![1, 1], fan_in: 1 }];
    let control = Control::new(kinds, 4, vec![vec![0.0, 0.5, 0.25, 0.25]]);
    let linear = AnyLayer::Linear(Linear { width: 1 });
    let kinds = Layer::<f64>::kinds(&linear);
    let control = Control::new(kinds, 4, control.into_values());
    let found = euler(Stacked::new(linear, control));
    let kind = &found.kinds.known().expect("4 layers")[0];
    assert_eq!(kind.scaled_increment, 4.0 * 0.5);
    assert!((kind.h1_seminorm - (4.0f64 * (0.25 + 0.0625)).sqrt()).abs() < 1e-15);
}

#[test]
fn every_scheme_is_diagnosed_and_what_has_no_theory_says_so() {
    for scheme in AnyScheme::all() {
        let nodes = scheme.nodes_for(32);
        let found = diagnose(Stacked::smooth(layer(), nodes, 3), scheme.clone());
        let residual = scheme == Scheme::EULER.into();
        assert_eq!(found.bounds.known().is_some(), residual, "{scheme}");
        assert_eq!(found.gaps.known().is_some(), residual, "{scheme}");
        if !residual {
            let reason = found.bounds.reason().expect("a reason");
            assert!(reason.contains(&scheme.to_string()), "{reason}");
            let json = serde_json::to_value(&found).expect("plain data");
            assert!(json["bounds"]["value"].is_null() && json["bounds"]["reason"].is_string());
        }
        assert_eq!(found.verdict.standing, Standing::SmoothOde, "{scheme}");
        let order = found.doubling.order.expect("above rounding");
        // Pre-asymptotic at 32 steps; the fourth-order ones are near their best.
        let expected = found.doubling.expected as f64;
        assert!((order - expected).abs() < 0.5, "{scheme}: {order}");
        let exact = matches!(scheme, AnyScheme::Reversible(_));
        let names: Vec<&str> = found.methods.iter().map(|row| &row.method[..]).collect();
        assert_eq!(names == ["reversible"], exact, "{names:?}");
        assert_eq!(found.verdict.method.method == "reversible", exact);
    }
}

#[test]
fn methods_have_the_errors_of_their_orders_and_backprop_none() {
    let found = euler(Stacked::smooth(layer(), 64, 3));
    let error = |name: &str| {
        let row = found.methods.iter().find(|row| row.method == name && row.tolerance.is_none());
        row.expect(name).double.gradient
    };
    assert_eq!(error("backprop"), 0.0);
    assert!(error("checkpoint") < 1e-13);
    assert!(error("adjoint-published") > 5.0 * error("adjoint-corrected"));
    assert!(error("adjoint-corrected") > 5.0 * error("adjoint-learned"));
    for row in &found.methods {
        // Rounding of 64 layers in single precision.
        assert!(row.single.gradient < row.double.gradient + 1e-5, "{row:?}");
        assert!(row.double.worst_layer >= row.double.gradient * 0.99, "{row:?}");
    }
}

#[test]
fn samples_that_meet_are_one_part_without_a_certain_constant() {
    let image = Image { height: 3, width: 4 };
    let layer = ConvBnLayer {
        channels: 2,
        hidden: 3,
        image,
        activation: Activation::Tanh,
        order: Order::Post,
    };
    let control = |nodes| {
        let mut control = Control::random(layer.kinds(), nodes, Family::Smooth, 4);
        for kind in [1, 4] {
            control.values_mut()[kind].fill(1.0);
        }
        control
    };
    let field = ConvBn::new(layer, control(32));
    let flow = Flow::new(field, Scheme::EULER);
    let found = Diagnosis::of(&flow, &rows(24, 9, 1), &rows(24, 9, 2)).expect("finite numbers");
    assert!(found.samples_meet);
    let reason = found.jacobians.certain.reason().expect("no constant");
    assert!(reason.contains("normalisation"), "{reason}");
    let along = found.bounds.known().expect("a residual network");
    assert!(along.certain.known().is_none());
    assert!(found.function_interpolant.largest <= along.bounds.local);
    assert_eq!(found.verdict.standing, Standing::SmoothOde);
    let spectra = found.pictures.spectra.known().expect("they converge");
    assert!(spectra.how.contains("Arnoldi"), "{}", spectra.how);
}

#[test]
fn a_network_that_does_nothing_is_its_own_ode() {
    let found = euler(Stacked::random(layer(), 16, Family::Zero, 1));
    assert_eq!(found.verdict.standing, Standing::SmoothOde);
    let distance = &found.function_interpolant;
    assert_eq!((distance.largest, distance.relative_to_change), (0.0, 0.0));
    assert!(distance.resolved);
    assert_eq!((found.doubling.once, found.doubling.order), (0.0, None));
    let kinds = found.kinds.known().expect("16 layers");
    assert!(kinds.iter().all(|kind| kind.exponent.is_none() && kind.h1_seminorm == 0.0));
    assert!(found.verdict.sentences[0].contains("within 0"), "{:?}", found.verdict.sentences);
}

#[test]
fn few_layers_are_not_judged_by_their_weights() {
    let found = euler(Stacked::smooth(layer(), 2, 3));
    assert_eq!(found.verdict.standing, Standing::TooShallow);
    assert!(found.scaling.reason().expect("too few").contains("too few"));
    assert_eq!(euler(Stacked::smooth(layer(), 1, 3)).layers, 1);
    // From three layers on there is a regime, however little it rests on.
    assert!(euler(Stacked::smooth(layer(), 3, 3)).scaling.known().is_some());
}

#[test]
fn trajectories_keep_the_states_variance_of_a_plane() {
    // States that move in a plane: two components hold all of their variance.
    let linear = AnyLayer::Linear(Linear { width: 3 });
    let turn = [0.0, -2.0, 0.0, 2.0, 0.0, 0.0, 0.0, 0.0, 0.0];
    let kinds = Layer::<f64>::kinds(&linear);
    let field = Stacked::new(linear, Control::new(kinds, 32, vec![turn.repeat(32)]));
    let flow = Flow::new(field, Scheme::EULER);
    let x0 =
        Rows::from_fn(5, 3, |row, column| if column == 2 { 1.0 } else { (row + column) as f64 });
    let found = Diagnosis::of(&flow, &x0, &x0).expect("finite numbers");
    let [first, second] = found.pictures.trajectories.variance;
    assert!((first + second - 1.0).abs() < 1e-9, "{first} {second}");
    let spectra = found.pictures.spectra.known().expect("they converge");
    let largest = spectra.layers[0].1.iter().map(|[_, im]| *im).fold(0.0, f64::max);
    assert!((largest - 2.0 / 32.0).abs() < 1e-12, "{largest}"); // ± 2i h.
    assert_eq!(found.scaling.known().expect("32 layers").regime, Regime::SmoothOde);
}

#[test]
fn numbers_that_are_none_are_refused_with_their_place() {
    let mut field = Stacked::<f64, _>::smooth(layer(), 5, 3);
    let fault = |field: &Stacked<f64, AnyLayer>, cotangent: &Rows<f64>| {
        let flow = Flow::new(field.clone(), Scheme::EULER);
        Diagnosis::of(&flow, &rows(WIDTH, 2, 1), cotangent).expect_err("no numbers")
    };
    let zero = Rows::zeros(2, WIDTH);
    assert_eq!(fault(&field, &zero), DiagnosisError::Cotangent { what: "zero" });
    field.control_mut().values_mut()[1][8 * 3 + 2] = f64::NAN;
    let text = fault(&field, &rows(WIDTH, 2, 2)).to_string();
    assert!(text.contains("layer 3"), "{text}");
}
