//! Theory E: which limit networks have, told from how their weights vary with depth,
//! `e_scaling.json`.

mod common;

use common::{assert_close, entry, list, load, number, numbers, numbers_of, object, text};
use deeplimit::field::Layer;
use deeplimit::limit::diagnosis::Scaling;
use deeplimit::limit::{DepthFeatures, DepthSlopes, DepthStack, Regime, Roughness, Slope};
use deeplimit::prelude::*;
use deeplimit::seed::{derive, normal, uniform};
use serde_json::Value;
use std::f64::consts::{PI, TAU};

/// What golden files call the regimes.
const NAMES: [(Regime, &str); 6] = [
    (Regime::SmoothOde, "ode_smooth"),
    (Regime::HoelderOde, "ode_holder"),
    (Regime::AveragedOde, "ode_averaged"),
    (Regime::Diffusive, "sde"),
    (Regime::Jump, "neither_jump"),
    (Regime::Diverging, "neither_diverge"),
];

fn name(regime: Regime) -> &'static str {
    NAMES.iter().find(|(named, _)| *named == regime).expect("a name for every regime").1
}

/// The weights of a golden example: depth and `[N, D]` numbers of each network.
fn networks(example: &Value) -> Vec<(usize, Vec<f64>)> {
    let depths = numbers(example, "N").into_iter().map(|depth| depth as usize);
    depths.zip(list(example, "theta").iter().map(numbers_of)).collect()
}

fn features(networks: &[(usize, Vec<f64>)]) -> Vec<DepthFeatures> {
    let stacks = networks.iter().map(|(depth, weights)| DepthStack::new(*depth, weights));
    stacks.map(|stack| DepthFeatures::of(&stack.expect("finite weights"))).collect()
}

#[test]
fn features_slopes_and_regimes_of_the_examples_are_the_golden_ones() {
    // The same formulas in double precision; what is left is the order of additions.
    let close = |what: &str, value: f64, golden: f64| assert_close(what, value, golden, 1e-9, 0.0);
    for (class, example) in object(entry(&load("e_scaling"), "examples")) {
        let features = features(&networks(example));
        for (found, golden) in features.iter().zip(list(example, "features")) {
            let what = |name: &str| format!("{class}, N = {}, {name}", found.layers);
            let close = |name: &str, value| close(&what(name), value, number(golden, name));
            close("r0", found.size);
            close("r1", found.first_difference);
            close("r2", found.second_difference);
            close("maxinc", found.largest_increment);
            close("Q", found.variation);
            close("P", found.primitive);
            close("peak", found.peak);
        }
        let slopes = DepthSlopes::fit(&features).expect("four depths");
        let golden = entry(example, "slopes");
        let close = |name: &str, slope: Slope| {
            // Exponents of size 1, some of which vanish.
            let what = format!("{class}, slope of {name}");
            assert_close(&what, slope.value, number(golden, name), 0.0, 1e-9);
        };
        close("r0", slopes.size);
        close("r1", slopes.first_difference);
        close("r2", slopes.second_difference);
        close("maxinc", slopes.largest_increment);
        close("Q", slopes.variation);
        close("P", slopes.primitive);
        close("peak", slopes.peak);
        assert_eq!(name(slopes.regime()), text(example, "cls"), "{class}: {slopes:?}");
    }
}

#[test]
fn roughness_of_single_networks_is_the_golden_one() {
    for (class, example) in object(entry(&load("e_scaling"), "examples")) {
        let networks = networks(example);
        for ((depth, weights), golden) in networks.iter().zip(list(example, "single")) {
            let found = Roughness::of(&DepthStack::new(*depth, weights).expect("finite weights"));
            let (distances, increments): (Vec<_>, Vec<_>) = found.increments.into_iter().unzip();
            let what = format!("{class}, N = {depth}");
            let golden_distances = numbers(golden, "ms").into_iter().map(|m| m as usize);
            assert_eq!(distances, golden_distances.collect::<Vec<_>>(), "{what}");
            for (value, golden) in increments.into_iter().zip(numbers(golden, "D")) {
                assert_close(&format!("{what}, D"), value, golden, 1e-9, 0.0);
            }
            // H is an exponent, which may vanish.
            assert_close(&what, found.exponent, number(golden, "H"), 0.0, 1e-9);
            assert_close(&what, found.ito, number(golden, "ito"), 1e-9, 0.0);
            assert_close(&what, found.peak, number(golden, "peak"), 1e-9, 0.0);
        }
    }
}

/// Numbers a layer of the random families.
const LENGTH: usize = 16;
const DEPTHS: [usize; 5] = [32, 64, 128, 256, 512];
const TRIALS: u64 = 60;

/// Random weights of a regime at one depth. Networks of one seed share their smooth part, of the
/// golden form A₀ + cos(π s) A₁ + sin(2π s) A₂; their noise is independent from depth to depth.
fn draw(regime: Regime, layers: usize, seed: u64) -> Vec<f64> {
    let n = layers as f64;
    let fresh = derive(seed, layers as u64);
    let noise = |layer: usize, entry: usize| normal(fresh, (layer * LENGTH + entry) as u64);
    let smooth = |layer: usize, entry: usize| {
        let part = |part: usize| normal(seed, (part * LENGTH + entry) as u64);
        let s = layer as f64 / n;
        part(0) + (PI * s).cos() * part(1) + (TAU * s).sin() * part(2)
    };
    let mut walk = [0.0; LENGTH];
    // One to three layers that jump, at places of depth time.
    let jumps: Vec<usize> = (0..=(seed % 3))
        .map(|jump| (n * (0.5 + 0.45 * uniform(derive(seed, 1), jump))).floor() as usize)
        .collect();
    let mut weight = |layer: usize, entry: usize| match regime {
        Regime::SmoothOde => smooth(layer, entry) + 0.1 / n * noise(layer, entry),
        Regime::HoelderOde => {
            walk[entry] += noise(layer, entry);
            smooth(layer, entry) + 0.9 / n.sqrt() * walk[entry]
        }
        Regime::AveragedOde => smooth(layer, entry) + 0.6 * noise(layer, entry),
        Regime::Diffusive => smooth(layer, entry) + 0.5 * n.sqrt() * noise(layer, entry),
        Regime::Jump if jumps.contains(&layer) => n * normal(derive(seed, 2), entry as u64),
        Regime::Jump => smooth(layer, entry),
        Regime::Diverging if seed.is_multiple_of(2) => n.sqrt() * smooth(layer, entry),
        Regime::Diverging => n.powf(0.8) * noise(layer, entry),
    };
    (0..layers * LENGTH).map(|i| weight(i / LENGTH, i % LENGTH)).collect()
}

/// As [`draw`]; averaged networks of odd trials alternate, A(s) + (−1)ⁿ B, instead of being noisy.
fn draw_either(regime: Regime, layers: usize, seed: u64, trial: u64) -> Vec<f64> {
    if regime != Regime::AveragedOde || trial.is_multiple_of(2) {
        return draw(regime, layers, seed);
    }
    let mut weights = draw(Regime::SmoothOde, layers, seed);
    for (index, weight) in weights.iter_mut().enumerate() {
        let (layer, entry) = (index / LENGTH, index % LENGTH);
        let sign = if layer.is_multiple_of(2) { 1.0 } else { -1.0 };
        *weight += sign * normal(derive(seed, 3), entry as u64);
    }
    weights
}

/// Checks that `tell` recognises 95 % of each regime's random networks, and as many as the golden
/// confusion matrix of that name has, up to the golden tolerance.
fn check(confusion: &str, regimes: &[Regime], tell: impl Fn(Regime, u64) -> Regime) {
    let golden = load("e_scaling");
    for regime in regimes {
        let right = (0..TRIALS).filter(|trial| tell(*regime, *trial) == *regime).count();
        let share = right as f64 / TRIALS as f64;
        let row = entry(entry(&golden, confusion), name(*regime));
        let least = number(row, name(*regime)) - number(entry(&golden, "tol"), "confusion_abs");
        let least = least.max(0.95);
        assert!(share >= least, "{regime}: {share} of its networks, not {least}");
    }
}

#[test]
fn families_of_random_networks_are_recognised() {
    check("confusion_family", &Regime::ALL, |regime, trial| {
        let seed = derive(100, trial);
        let networks = DEPTHS.map(|depth| (depth, draw_either(regime, depth, seed, trial)));
        DepthSlopes::fit(&features(&networks)).expect("five depths").regime()
    });
}

#[test]
fn single_deep_networks_are_recognised_but_for_divergence() {
    let seen = Regime::ALL.into_iter().filter(|regime| *regime != Regime::Diverging);
    let tell = |regime, trial| {
        let weights = draw(regime, 512, derive(200, trial));
        Roughness::of(&DepthStack::new(512, &weights).expect("finite weights")).regime()
    };
    check("confusion_single", &seen.collect::<Vec<_>>(), tell);
    let seen_as = (0..TRIALS).map(|trial| tell(Regime::Diverging, trial));
    for regime in seen_as {
        let expected = [Regime::SmoothOde, Regime::Diffusive];
        assert!(expected.contains(&regime), "a diverging network seen as {regime}");
    }
}

/// One network of each regime and depth, as x' = θ x with θ of 4 × 4 numbers, whose Itô term is that of
/// its states: what a diagnosis says. Errors are rare from the start, but for weights that alternate by
/// as much as they are large: at 32 layers they still move the states by a tenth, and count as
/// diffusive.
#[test]
fn single_networks_are_recognised_the_better_the_deeper_they_are() {
    let layer = Linear { width: 4 };
    let x0 = Rows::from_fn(4, 4, |row, column| normal(1, (row * 4 + column) as u64));
    let tell = |regime: Regime, layers: usize, trial: u64| {
        let weights = draw_either(regime, layers, derive(400, trial), trial);
        let control = Control::new(Layer::<f64>::kinds(&layer), layers, vec![weights]);
        let flow = Flow::new(Stacked::new(layer.clone(), control), Scheme::EULER);
        let scaling = Scaling::measure(&flow, &x0).expect("finite weights");
        assert!((0.0..=1.0).contains(&scaling.agreement));
        scaling.regime
    };
    let seen: Vec<Regime> =
        Regime::ALL.into_iter().filter(|regime| *regime != Regime::Diverging).collect();
    for layers in DEPTHS {
        let mut rights = 0;
        for regime in &seen {
            let right = (0..TRIALS).filter(|trial| tell(*regime, layers, *trial) == *regime);
            let right = right.count();
            rights += right;
            println!("N = {layers}, {regime}: {right} of {TRIALS}");
            if layers == 512 {
                assert!(right as f64 >= 0.95 * TRIALS as f64, "{regime}: {right} of {TRIALS}");
            }
        }
        let share = rights as f64 / (TRIALS as usize * seen.len()) as f64;
        assert!(share >= 0.9, "N = {layers}: {share}");
    }
}

#[test]
fn three_standard_errors_hold_nine_exponents_of_ten() {
    // Rough weights have exponents that are known and scatter independently from depth to depth,
    // less at larger ones. Student's t with three degrees of freedom leaves 94 % within 3 errors.
    let mut within = 0;
    for trial in 0..TRIALS {
        let networks =
            DEPTHS.map(|depth| (depth, draw(Regime::Diffusive, depth, derive(300, trial))));
        let slopes = DepthSlopes::fit(&features(&networks)).expect("five depths");
        let slope = slopes.second_difference;
        within += u64::from((slope.value - 0.5).abs() <= 3.0 * slope.error);
    }
    let share = within as f64 / TRIALS as f64;
    assert!((0.85..=0.99).contains(&share), "{share}");
}
