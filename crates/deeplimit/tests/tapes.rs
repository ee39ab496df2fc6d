//! What gradient methods keep between the way forward and the way back, in bytes.

mod common;

use common::run;
use deeplimit::gradient::Adjoint;
use deeplimit::prelude::*;
use deeplimit::scheme::AnyScheme;

fn batch() -> Rows<f64> {
    Rows::from_fn(2, 3, |row, column| (row * 3 + column) as f64 * 0.1)
}

/// Bytes that a method keeps between the ways at a depth, for a batch of 2.
fn tape_bytes(method: Method, scheme: &AnyScheme, steps: usize) -> usize {
    let layer = Mlp { width: 3, hidden: 5, activation: Activation::Tanh };
    let field = Stacked::<f64, _>::smooth(layer, scheme.nodes_for(steps), 1);
    let flow = Flow::new(field, scheme.clone());
    let (_, recording) = flow.record(&method, &batch());
    recording.bytes()
}

#[test]
fn adjoint_tapes_do_not_grow_with_depth_and_the_others_as_stated() {
    for scheme in AnyScheme::all() {
        for entry in run::fitting(&scheme) {
            let bytes = |steps| tape_bytes(entry.method, &scheme, steps);
            let (shallow, deep, what) = (bytes(10), bytes(10_000), entry.name);
            match entry.method {
                Method::Adjoint(adjoint) => {
                    assert_eq!(shallow, deep, "{what}, {scheme}");
                    // x_N, x_0, and at most the few states that start a predictor.
                    let states = shallow / batch().bytes();
                    assert!((2..=4).contains(&states), "{what}, {scheme}: {states} states");
                    let anchored = Method::Adjoint(Adjoint { anchors: Some(4), ..adjoint });
                    let more = tape_bytes(anchored, &scheme, 10_000) - deep;
                    assert_eq!(more, 3 * batch().bytes(), "{what}: three anchors more");
                    for adjoint in [adjoint, adjoint.within(1e-3)] {
                        for steps in [1, 2, 3, 10, 100] {
                            let bytes = tape_bytes(Method::Adjoint(adjoint), &scheme, steps);
                            let states = adjoint.states_kept(steps);
                            assert_eq!(bytes, states * batch().bytes(), "{what}, {steps} steps");
                        }
                    }
                    // x_N, √N anchors, and the states that start a predictor; nothing else.
                    let within = adjoint.within(1e-3);
                    assert_eq!(within.states_kept(100), adjoint.states_kept(100) + 9, "{what}");
                }
                Method::Checkpoint(_) => {
                    let state = batch().bytes();
                    assert_eq!((shallow, deep), (3 * state, 100 * state), "{what}: sqrt(N) states");
                }
                Method::Reversible(_) => {
                    assert_eq!(shallow, deep, "{what}, {scheme}");
                    // x_0, and the scheme's own: y, z and F, or two of a kind.
                    let own = if scheme.to_string() == "reversible-heun" { 3 } else { 2 };
                    assert_eq!(shallow, (1 + own) * batch().bytes(), "{what}, {scheme}");
                }
                Method::Backprop(_) => assert_eq!(deep, 1000 * shallow, "{what}: linear in depth"),
            }
        }
    }
}
