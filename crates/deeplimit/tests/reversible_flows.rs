//! Flows on schemes with an exact inverse, and the gradient method `reversible`.

mod common;

use common::run;
use deeplimit::gradient::{Due, REGISTRY, Reversible as ByInverse};
use deeplimit::prelude::*;
use deeplimit::scheme::reversible::{AnyReversible, Momentum};
use deeplimit::scheme::{AnyScheme, Nodes, StepTape, Stepper};
use deeplimit::seed::uniform;
use deeplimit::{GradientMethod, Spare};

const BY_INVERSE: Method = Method::Reversible(ByInverse);

fn rows(samples: usize, seed: u64) -> Rows<f64> {
    Rows::from_fn(samples, 3, |row, column| uniform(seed, (row * 3 + column) as u64))
}

fn mlp() -> Mlp {
    Mlp { width: 3, hidden: 5, activation: Activation::Tanh }
}

fn flow(scheme: &AnyReversible, steps: usize) -> Flow<Stacked<f64, Mlp>> {
    let scheme = AnyScheme::from(scheme.clone());
    Flow::new(Stacked::rough(mlp(), scheme.nodes_for(steps), 3), scheme)
}

/// Over 1 000 steps the inverse of momentum loses γ^{−1000}: 10^46 with the γ = 0.9 of
/// configurations, and still 10^5 with 0.99. Only γ near 1 leaves 12 digits; 0.999 loses a factor 2.7.
fn with_a_gamma_for_a_thousand_steps(scheme: AnyReversible) -> AnyReversible {
    match scheme {
        AnyReversible::Momentum(_) => AnyReversible::Momentum(Momentum { gamma: 0.999 }),
        other => other,
    }
}

#[test]
fn a_thousand_steps_come_back_to_twelve_digits_on_a_smooth_field() {
    for scheme in AnyReversible::ALL.map(with_a_gamma_for_a_thousand_steps) {
        let any = AnyScheme::from(scheme);
        let flow = Flow::new(Stacked::smooth(mlp(), any.nodes_for(1000), 5), any.clone());
        let run = run::run(&flow, BY_INVERSE, &rows(4, 1), &rows(4, 2));
        let lost = run.certificate.state_error();
        // 1 000 roundings of 1e-16, which this field magnifies by less than 10 on the way.
        assert!(lost > 0.0 && lost <= 1e-12, "{any}: e_0 = {lost:e}");
        assert_eq!(run.certificate.error_estimate(), lost, "{any}: nothing else is wrong");
        let anchors: Vec<usize> = run.certificate.anchors.iter().map(|a| a.layer).collect();
        assert_eq!(anchors, [0], "{any}");
    }
}

#[test]
fn the_certificate_shows_what_the_inverse_of_momentum_loses() {
    let flow = flow(&AnyReversible::Momentum(Momentum::default()), 256);
    let run = run::run(&flow, BY_INVERSE, &rows(4, 1), &rows(4, 2));
    // 2^−53 · 0.9^−256 = 6e-5, and the roundings of 256 steps instead of one.
    let lost = run.certificate.state_error();
    assert!((1e-7..1e-1).contains(&lost), "e_0 = {lost:e}");
}

/// A computation on states, all of them kept: the reference without any inverse.
struct Graph<'a> {
    field: &'a Stacked<f64, Mlp>,
    h: f64,
    values: Vec<Rows<f64>>,
    made: Vec<Made<'a>>,
}

/// Where a value comes from.
enum Made<'a> {
    Given,
    /// Σ factor · value.
    Sum(Vec<(f64, usize)>),
    /// The increment of a tableau at a value.
    Slope {
        base: &'a Scheme,
        step: usize,
        at: usize,
        tape: StepTape<Stacked<f64, Mlp>>,
    },
}

impl<'a> Graph<'a> {
    fn push(&mut self, value: Rows<f64>, made: Made<'a>) -> usize {
        self.values.push(value);
        self.made.push(made);
        self.values.len() - 1
    }

    fn sum(&mut self, terms: &[(f64, usize)]) -> usize {
        let mut value = self.values[0].scratch();
        value.set_zero();
        terms.iter().for_each(|(factor, term)| value.add_scaled(*factor, &self.values[*term]));
        self.push(value, Made::Sum(terms.to_vec()))
    }

    fn slope(&mut self, base: &'a Scheme, step: usize, at: usize) -> usize {
        self.slope_of(base, step, at, Stepper::linearize)
    }

    /// The increment of the step with −h from the end of a step.
    fn slope_back(&mut self, base: &'a Scheme, step: usize, at: usize) -> usize {
        self.slope_of(base, step, at, Stepper::linearize_backward)
    }

    fn slope_of(
        &mut self,
        base: &'a Scheme,
        step: usize,
        at: usize,
        linearize: impl Fn(
            &mut Stepper<'a, Stacked<f64, Mlp>>,
            usize,
            &Rows<f64>,
            &mut Rows<f64>,
            &mut StepTape<Stacked<f64, Mlp>>,
        ),
    ) -> usize {
        let mut stepper = Stepper::new(self.field, base, self.h, &self.values[at]);
        let mut tape = stepper.step_tape();
        let mut value = self.values[at].scratch();
        linearize(&mut stepper, step, &self.values[at], &mut value, &mut tape);
        self.push(value, Made::Slope { base, step, at, tape })
    }

    /// The gradient of ⟨bar, end⟩ in the first value and in θ.
    fn gradient(self, end: usize, bar: &Rows<f64>) -> (Rows<f64>, Control<f64>) {
        let mut gradient = self.field.zero_gradient();
        let sink = self.field.open(&mut gradient);
        let mut zero = bar.scratch();
        zero.set_zero();
        let mut bars = vec![zero; self.values.len()];
        bars[end].copy_from(bar);
        for (index, made) in self.made.into_iter().enumerate().rev() {
            let bar = bars[index].clone();
            match made {
                Made::Given => {}
                Made::Sum(terms) => {
                    terms.iter().for_each(|(factor, term)| bars[*term].add_scaled(*factor, &bar));
                }
                Made::Slope { base, step, at, mut tape } => {
                    let mut stepper = Stepper::new(self.field, base, self.h, &bar);
                    let (due, x_bar) = (Some(Due::now(&sink)), &mut bars[at]);
                    stepper.pull_back_increment(step, &mut tape, 1.0, &bar, x_bar, due);
                }
            }
        }
        drop(sink);
        (bars.swap_remove(0), gradient)
    }
}

const HALF_WAY: Scheme = Scheme::new("half-way", 1, Nodes::PerBoundary, &[&[]], &[1.0], &[0.5]);

/// The network of a scheme, written out from its formulas; its input is value 0.
fn network<'a>(scheme: &'a AnyReversible, steps: usize, graph: &mut Graph<'a>) -> usize {
    let (h, euler, start) = (graph.h, &Scheme::EULER, 0);
    match scheme {
        AnyReversible::Leapfrog(_) => {
            let first = graph.slope(euler, 0, start);
            let (mut before, mut x) = (start, graph.sum(&[(1.0, start), (h, first)]));
            for n in 1..steps {
                let f = graph.slope(euler, n, x);
                (before, x) = (x, graph.sum(&[(1.0, before), (2.0 * h, f)]));
            }
            x
        }
        AnyReversible::Momentum(Momentum { gamma }) => {
            let (mut x, mut v) = (start, graph.sum(&[]));
            for n in 0..steps {
                let f = graph.slope(euler, n, x);
                v = graph.sum(&[(*gamma, v), (1.0 - gamma, f)]);
                x = graph.sum(&[(1.0, x), (h, v)]);
            }
            x
        }
        AnyReversible::ReversibleHeun(_) => {
            let (mut y, mut z, mut f) = (start, start, graph.slope(euler, 0, start));
            for n in 0..steps {
                z = graph.sum(&[(2.0, y), (-1.0, z), (h, f)]);
                let next = graph.slope(euler, n + 1, z);
                y = graph.sum(&[(1.0, y), (h / 2.0, f), (h / 2.0, next)]);
                f = next;
            }
            y
        }
        AnyReversible::AsynchronousLeapfrog(_) => {
            let (mut x, mut v) = (start, graph.slope(euler, 0, start));
            for n in 0..steps {
                let k = graph.sum(&[(1.0, x), (h / 2.0, v)]);
                let u = graph.slope(&HALF_WAY, n, k);
                v = graph.sum(&[(2.0, u), (-1.0, v)]);
                x = graph.sum(&[(1.0, k), (h / 2.0, v)]);
            }
            x
        }
        AnyReversible::McCallumFoster(pair) => {
            let (c, mut y, mut z) = (pair.coupling, start, start);
            for n in 0..steps {
                let there = graph.slope(&pair.base, n, z);
                y = graph.sum(&[(c, y), (1.0 - c, z), (h, there)]);
                let back = graph.slope_back(&pair.base, n, y);
                z = graph.sum(&[(1.0, z), (h, back)]);
            }
            y
        }
    }
}

#[test]
fn gradients_are_those_of_backpropagation_through_the_same_network() {
    for scheme in AnyReversible::ALL {
        for steps in [1, 2, 3, 12] {
            let flow = flow(&scheme, steps);
            let (x0, bar) = (rows(5, 1), rows(5, 2));
            let (field, h) = (flow.field(), flow.h());
            let mut graph = Graph { field, h, values: vec![x0.clone()], made: vec![Made::Given] };
            let end = network(&scheme, steps, &mut graph);
            let what = format!("{scheme}, {steps} steps");
            let run = run::run(&flow, BY_INVERSE, &x0, &bar);
            let off = run::distance(&run.end, &graph.values[end]);
            assert!(off < 1e-13, "{what}: x_N is off by {off:e}");
            let (x0_bar, gradient) = graph.gradient(end, &bar);
            // Rounding of 12 steps, and of their inverses.
            let off = run::distance(&run.x0_bar, &x0_bar);
            assert!(off < 1e-10, "{what}: the cotangent of x_0 is off by {off:e}");
            let off = run.gradient.relative_error(&gradient);
            assert!(off < 1e-10, "{what}: the gradient is off by {off:e}");
        }
    }
}

#[test]
fn walks_forward_recorded_or_not_agree_with_the_states() {
    for scheme in AnyReversible::ALL {
        let (flow, x0) = (flow(&scheme, 7), rows(5, 1));
        let states = flow.states(&x0);
        assert_eq!(states.len(), 8, "{scheme}");
        assert_eq!(states.first(), Some(&x0), "{scheme}");
        assert_eq!(states.last(), Some(&flow.forward(&x0)), "{scheme}");
        assert_eq!(flow.record(&BY_INVERSE, &x0).0, flow.forward(&x0), "{scheme}");
    }
}

fn tiled(scheme: &AnyReversible, tile: usize) -> Flow<Stacked<f32, Mlp>> {
    let scheme = AnyScheme::from(scheme.clone());
    let field = Stacked::rough(mlp(), scheme.nodes_for(9), 4);
    Flow::new(field, scheme).with_tile(tile)
}

#[test]
fn gradients_have_the_same_bits_for_any_number_of_threads() {
    for scheme in AnyReversible::ALL {
        for samples in [1, 4, 5, 33] {
            let on = |threads: usize| {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
                pool.expect("a pool").install(|| {
                    let (x0, bar) = (rows(samples, 1).cast(), rows(samples, 2).cast());
                    let run = run::run(&tiled(&scheme, 4), BY_INVERSE, &x0, &bar);
                    (run.end, run.x0_bar, run.gradient)
                })
            };
            let alone = on(1);
            for threads in [2, 3] {
                assert!(on(threads) == alone, "{scheme}, {samples} samples, {threads} threads");
            }
        }
    }
}

#[test]
fn a_sweep_finds_what_two_walks_find_and_tiles_what_the_batch_finds() {
    for scheme in AnyReversible::ALL {
        let x0 = rows(11, 1).cast::<f32>();
        let flow = tiled(&scheme, 4);
        let (end, recording) = flow.record(&BY_INVERSE, &x0);
        let mut expected = flow.field().zero_gradient();
        let (x0_bar, certificate) = flow.pull_back(&BY_INVERSE, recording, &end, &mut expected);
        let mut found = flow.field().zero_gradient();
        let loss = |end: Rows<f32>, _| ((), end);
        let sweep = flow.gradient(&BY_INVERSE, &x0, loss, &mut found, &Spare::default());
        assert_eq!((sweep.x0_bar, found), (x0_bar, expected.clone()), "{scheme}");
        assert_eq!(sweep.certificate, certificate, "{scheme}");

        let whole = tiled(&scheme, 11);
        let of_batch = run::run(&whole, BY_INVERSE, &x0, &whole.forward(&x0)).gradient;
        let off = expected.relative_error(&of_batch);
        assert!(off < 1e-5, "{scheme}: {off:e}"); // Sums of f32 in another order.
    }
}

#[test]
fn work_is_an_evaluation_of_the_base_on_either_way_and_a_pull_back_of_it() {
    // Evaluations a step and way, then of the starts: F at x_0 and at z_N, and F at x_0 again, or v
    // at x_0 on either way; pull-backs of the starts.
    for (name, a_step, starts, start_bars) in [
        ("leapfrog", 1, 0, 0),
        ("momentum", 1, 0, 0),
        ("reversible-heun", 1, 3, 1),
        ("asynchronous-leapfrog", 1, 2, 1),
        ("mccallum-foster-euler", 2, 0, 0),
        ("mccallum-foster-heun", 4, 0, 0),
        ("mccallum-foster-midpoint", 4, 0, 0),
        ("mccallum-foster-rk4", 8, 0, 0),
    ] {
        let scheme = AnyScheme::named(name).expect("a scheme");
        let steps = 10;
        let flow = Flow::new(Stacked::rough(mlp(), scheme.nodes_for(steps), 3), scheme);
        let certificate = run::run(&flow, BY_INVERSE, &rows(2, 1), &rows(2, 2)).certificate;
        let whole = |a_step: f64| (a_step * steps as f64).round() as usize;
        let evaluations = 2 * a_step * steps + starts;
        assert_eq!(whole(certificate.evaluations), evaluations, "{name}");
        let cost = evaluations + 2 * (a_step * steps + start_bars);
        assert_eq!(whole(certificate.cost_units), cost, "{name}");
    }
}

/// What a panic says.
fn panic_of(work: impl FnOnce() + std::panic::UnwindSafe) -> String {
    let panic = std::panic::catch_unwind(work).expect_err("a panic");
    panic.downcast_ref::<String>().expect("a message").clone()
}

#[test]
fn a_method_refuses_the_schemes_that_it_does_not_walk_back_and_names_both() {
    for scheme in AnyScheme::all() {
        for entry in &REGISTRY {
            let inverse = matches!(scheme, AnyScheme::Reversible(_));
            let fits = entry.method.fits(&scheme);
            assert_eq!(fits.is_ok(), inverse == (entry.name == "reversible"), "{}", entry.name);
            let Err(misfit) = fits else { continue };
            let family = entry.name.split('-').next().expect("a name");
            let scheme = scheme.clone();
            let said = panic_of(move || {
                let field = Stacked::rough(mlp(), scheme.nodes_for(2), 3);
                Flow::new(field, scheme).record(&entry.method, &rows(1, 1));
            });
            assert_eq!(said, misfit.to_string());
            assert!(said.contains(family) && said.contains(&misfit.scheme), "{said}");
        }
    }
}

#[test]
fn methods_that_are_used_without_the_registry_refuse_too() {
    let (leapfrog, euler) = (AnyReversible::ALL[0].clone(), Scheme::EULER);
    let said = panic_of(move || {
        deeplimit::gradient::Backprop.record(&flow(&leapfrog, 3), rows(1, 1), None);
    });
    assert!(said.contains("leapfrog") && said.contains("reversible"), "{said}");
    let said = panic_of(move || {
        let flow = Flow::new(Stacked::rough(mlp(), 3, 3), euler);
        ByInverse.record(&flow, rows(1, 1), None);
    });
    assert!(said.contains("euler") && said.contains("reversible"), "{said}");
}
