//! Theory B: deep linear residual networks under gradient descent.

mod support_ab;

use deeplimit::field::Layer;
use deeplimit::limit::Bounds;
use deeplimit::objective::linear::{Descent, Guarantee, Quadratic};
use deeplimit::prelude::*;
use serde_json::Value;
use std::f64::consts::PI;
use support_ab::{assert_close, blend, count, decay, golden, list, number, numbers, rows};

/// Substeps a layer of the golden ODE solutions.
const SUBSTEPS: usize = 4;

fn transpose(x: &Rows<f64>) -> Rows<f64> {
    Rows::from_fn(x.width(), x.rows(), |row, column| x.at(column, row))
}

/// A descent at its start, for one of the golden blocks.
fn start(golden: &Value, block: &str, layers: usize) -> Descent<f64> {
    let [m1, m2] = ["M1", "M2"].map(|name| numbers(&golden[name]));
    let noise = numbers(&golden["xi"]);
    let noise = |factor: f64| noise[..layers * 9].iter().map(|v| factor * v).collect();
    let weights: Vec<f64> = match block {
        "zero" => vec![0.0; layers * 9],
        "iid" => noise(0.5),
        "diffusive" => noise(0.5 * (layers as f64).sqrt()),
        _ => {
            let s = (0..layers).map(|n| PI * n as f64 / layers as f64);
            s.flat_map(|s| blend(&[m1.clone(), m2.clone()], &[s.cos(), s.sin()])).collect()
        }
    };
    let loss = if block == "data_smooth" {
        let [x, y] = ["X", "Y"].map(|name| transpose(&rows(&golden[name])));
        Quadratic::data(x, y)
    } else {
        Quadratic::map(&rows(&golden["B"]))
    };
    descent(loss, layers, weights, number(&golden["eta"]))
}

fn descent(loss: Quadratic<f64>, layers: usize, weights: Vec<f64>, rate: f64) -> Descent<f64> {
    let layer = Linear { width: 3 };
    let control = Control::new(Layer::<f64>::kinds(&layer), layers, vec![weights]);
    Descent::new(loss, Stacked::new(layer, control), rate)
}

/// Goes on to `steps` steps: the golden column `t` counts steps, not GD time.
fn advance_to(descent: Descent<f64>, steps: usize) -> Descent<f64> {
    let missing = steps - descent.steps();
    descent.advance(missing)
}

/// max_n ‖θ_n‖ (Frobenius), as the golden column `max_theta` has it.
fn largest_frobenius(descent: &Descent<f64>) -> f64 {
    let norm = |weight: &[f64]| weight.iter().map(|v| v * v).sum::<f64>().sqrt();
    descent.control().values()[0].chunks_exact(9).map(norm).fold(0.0, f64::max)
}

/// The limit N → ∞ at one time, by Richardson extrapolation of two depths.
struct Limit {
    coarse: Descent<f64>,
    fine: Descent<f64>,
}

impl Limit {
    /// (max_n ‖θ_n − θ_limit(s_n)‖, ‖Π − Π_limit‖).
    fn distances(&self, descent: &Descent<f64>) -> (f64, f64) {
        let layers = descent.flow().steps();
        let at = |of: &Descent<f64>, n: usize| {
            of.control().at(0, n * of.flow().steps() / layers).to_vec()
        };
        let node = |n: usize| {
            let limit = [at(&self.fine, n), at(&self.coarse, n), at(descent, n)];
            blend(&limit, &[2.0, -1.0, -1.0]).iter().map(|v| v * v).sum::<f64>().sqrt()
        };
        let maps = [&self.fine, &self.coarse, descent].map(|of| of.map().to_vec());
        let map = blend(&maps, &[2.0, -1.0, -1.0]).iter().map(|v| v * v).sum::<f64>().sqrt();
        ((0..layers).map(node).fold(0.0, f64::max), map)
    }
}

/// Checks a block of the golden table; returns for each time the points (N, value) of dist_ode,
/// theta_vs_ref and map_vs_ref.
fn check_block(block: &str) -> Vec<[Vec<(f64, f64)>; 3]> {
    let golden = golden("b_linear.json");
    let n_ref = count(&golden["N_ref"]);
    let tables = list(&golden["results"][block]);
    let has_limit = !tables[0]["rows"][0]["map_vs_ref"].is_null();
    let mut limit = has_limit.then(|| Limit {
        coarse: start(&golden, block, n_ref / 2),
        fine: start(&golden, block, n_ref),
    });
    let depths = tables.iter().map(|table| count(&table["N"]));
    let mut descents: Vec<_> = depths.map(|layers| start(&golden, block, layers)).collect();
    let mut all = Vec::new();
    for (index, steps) in list(&golden["times"]).iter().map(count).enumerate() {
        limit = limit.map(|limit| Limit {
            coarse: advance_to(limit.coarse, steps),
            fine: advance_to(limit.fine, steps),
        });
        descents = descents.into_iter().map(|descent| advance_to(descent, steps)).collect();
        let mut columns = [vec![], vec![], vec![]];
        for (descent, table) in descents.iter().zip(tables) {
            let (layers, row) = (descent.flow().steps(), &table["rows"][index]);
            assert_eq!(count(&row["t"]), steps);
            let check = |value: f64, name: &str| {
                let what = format!("{block}, N = {layers}, t = {steps}, {name}");
                assert_close(value, number(&row[name]), 1e-8, 1e-12, &what);
            };
            let ode = descent.ode_distance(SUBSTEPS);
            check(descent.loss(), "loss");
            check(descent.scaled_increment(), "N_max_dtheta");
            check(largest_frobenius(descent), "max_theta");
            check(descent.gradient_norm_squared(), "grad_norm_sq");
            check(ode, "dist_ode");
            assert!(descent.largest_weight() <= largest_frobenius(descent) * (1.0 + 1e-14));
            columns[0].push((layers as f64, ode));
            if let Some((weights, map)) = limit.as_ref().map(|limit| limit.distances(descent)) {
                check(weights, "theta_vs_ref");
                check(map, "map_vs_ref");
                columns[1].push((layers as f64, weights));
                columns[2].push((layers as f64, map));
            }
        }
        all.push(columns);
    }
    all
}

/// Asserts that all three distances fall like 1/N from N = 64, at all times at which they are not
/// zero. (Over all depths the slope of map_vs_ref at t = 300, where it is 1e-7, is 0.88.)
fn assert_first_order(times: &[[Vec<(f64, f64)>; 3]]) {
    for column in times.iter().flatten() {
        let deep = &column[3..];
        if deep.iter().all(|(_, distance)| *distance > 1e-12) {
            let slope = decay(deep);
            assert!((0.95..=1.05).contains(&slope), "{slope}: {column:?}");
        }
    }
}

#[test]
fn from_zero_weights_a_limit_exists_and_is_approached_at_first_order_at_all_times() {
    assert_first_order(&check_block("zero"));
}

#[test]
fn from_smooth_weights_a_limit_exists_and_is_approached_at_first_order_at_all_times() {
    assert_first_order(&check_block("smooth"));
}

#[test]
fn fitting_data_approaches_the_limit_at_first_order_too() {
    assert_first_order(&check_block("data_smooth"));
}

#[test]
fn from_independent_weights_the_network_stays_near_its_own_ode_at_all_times() {
    for [distances, ..] in check_block("iid") {
        let slope = decay(&distances);
        assert!((0.85..=1.15).contains(&slope), "{slope}");
    }
}

#[test]
fn from_diffusive_weights_the_network_stays_away_from_its_ode() {
    for [distances, ..] in check_block("diffusive") {
        // N = 32 … 512.
        assert!(distances[2..].iter().all(|(_, distance)| (0.05..0.2).contains(distance)));
    }
}

#[test]
fn only_weights_smooth_in_depth_stay_so() {
    let golden = golden("b_linear.json");
    let increments = |block: &str| {
        [64, 512].map(|layers| start(&golden, block, layers).advance(20).scaled_increment())
    };
    let [coarse, fine] = increments("smooth");
    assert!((0.9..1.1).contains(&(fine / coarse)), "{coarse} {fine}");
    let [coarse, fine] = increments("iid");
    assert!(fine / coarse > 6.0, "{coarse} {fine}");
}

#[test]
fn from_zero_weights_near_the_identity_everything_guaranteed_holds() {
    let golden = golden("b_linear.json");
    let certified = &golden["certified"];
    let (rate, radius) = (number(&certified["eta"]), number(&certified["rho"]));
    for table in list(&certified["rows"]) {
        let layers = count(&table["N"]);
        let loss = Quadratic::map(&rows(&certified["B"]));
        let mut descent = descent(loss, layers, vec![0.0; layers * 9], rate);
        let guarantee = Guarantee::new(radius, &descent);
        assert!(guarantee.closes(0.0), "ρ = 1/3 closes within 1/(3e) of the identity");
        for row in list(&table["rows"]) {
            descent = advance_to(descent, count(&row["t"]));
            let check = |value: f64, name: &str| {
                let what = format!("certified, N = {layers}, t = {}, {name}", row["t"]);
                assert_close(value, number(&row[name]), 1e-8, 1e-12, &what);
            };
            let ode = descent.ode_distance(SUBSTEPS);
            check(descent.loss(), "loss");
            check(descent.scaled_increment(), "N_max_dtheta");
            check(largest_frobenius(&descent), "max_theta");
            check(ode, "dist_ode");
            check(descent.gradient_norm_squared(), "grad_norm_sq");
            check(guarantee.loss(descent.time()), "loss_bound");
            check(guarantee.scaled_increment(), "N_dtheta_bound");
            assert!(descent.loss() <= guarantee.loss(descent.time()) * (1.0 + 1e-12));
            assert!(descent.scaled_increment() <= guarantee.scaled_increment());
            assert!(descent.largest_weight() <= radius.min(guarantee.travel()));
            let unit = Rows::from_fn(3, 3, |i, j| f64::from(i == j));
            let bounds = Bounds::measure(descent.flow(), &unit, SUBSTEPS).expect("Euler");
            assert!(ode <= bounds.smooth + 1e-15);
        }
    }
}
