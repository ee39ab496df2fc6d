//! A budget of memory is kept to: measured by an allocator that counts.

#[path = "common/counting.rs"]
mod counting;

use deeplimit::field::{Accountable, ConvBn, ConvBnLayer, Layer, Order, Tiled};
use deeplimit::gradient::{Budget, Choice, Planner, Wish};
use deeplimit::kernel::Image;
use deeplimit::prelude::*;
use deeplimit::scheme::AnyScheme;
use deeplimit::scheme::reversible::AnyReversible;
use deeplimit::seed::uniform;
use deeplimit::{Sweep, control::Family};
use std::collections::BTreeMap;
use std::sync::Mutex;

#[global_allocator]
static ALLOCATOR: counting::Counting = counting::Counting;

/// Tests of this file wait for one another: they share the allocator.
static ALONE: Mutex<()> = Mutex::new(());

fn adjoint(tolerance: Option<f64>) -> deeplimit::gradient::Adjoint {
    let Ok(Method::Adjoint(adjoint)) = "adjoint-adaptive".parse() else { panic!("an adjoint") };
    tolerance.map_or(adjoint, |tolerance| adjoint.within(tolerance))
}

fn rows<R: Real>(samples: usize, width: usize) -> Rows<R> {
    Rows::from_fn(samples, width, |row, column| R::of(uniform(3, (row * width + column) as u64)))
}

/// A flow, its batch, and how it is told in messages.
struct Case<F: Field> {
    what: String,
    /// Anew each time, since some fields remember their first walk.
    flow: Box<dyn Fn() -> Flow<F> + Sync>,
    x0: Box<dyn Fn() -> F::State + Sync>,
}

impl<F: Accountable> Case<F> {
    fn planner(&self, threads: usize, sweeps: bool) -> Planner {
        let footprint = (self.flow)().footprint(&(self.x0)());
        Planner { flows: vec![footprint], sweeps, around: 0, between: 0, threads }
    }

    /// Most bytes of a gradient, and its cost.
    fn measure(&self, choice: Choice, threads: usize, sweeps: bool) -> (usize, f64) {
        let flow = (self.flow)();
        let flow = match choice.tile {
            Some(samples) => flow.with_tile(samples),
            None => flow,
        };
        let mut gradient = flow.field().zero_gradient();
        let (cost, most) = counting::peak_on(threads, || {
            let x0 = (self.x0)();
            if !sweeps {
                let (end, recording) = flow.record(&choice.method, &x0);
                let found = flow.pull_back(&choice.method, recording, &end, &mut gradient);
                return found.1.cost_units;
            }
            let spare = deeplimit::Spare::default();
            let mut cost = 0.0;
            // Backprop leaves its tapes for the second.
            let twice = matches!(choice.method, Method::Backprop(_));
            for _ in 0..1 + usize::from(twice) {
                let loss = |end: F::State, _| ((), end.clone());
                let Sweep { certificate, .. } =
                    flow.gradient(&choice.method, &x0, loss, &mut gradient, &spare);
                cost = certificate.cost_units;
            }
            cost
        });
        (most, cost)
    }
}

fn mlp<R: Real>(depth: usize, scheme: &AnyScheme, samples: usize) -> Case<Stacked<R, AnyLayer>> {
    let mlp = Mlp { width: 48, hidden: 40, activation: Activation::Gelu };
    layer("mlp", AnyLayer::Mlp(mlp), depth, scheme, samples)
}

fn conv<R: Real>(depth: usize, scheme: &AnyScheme, samples: usize) -> Case<Stacked<R, AnyLayer>> {
    let conv = Conv::new(5, 7, Image { height: 6, width: 5 }, Activation::Relu);
    layer("conv", AnyLayer::Conv(conv), depth, scheme, samples)
}

fn layer<R: Real>(
    name: &str,
    layer: AnyLayer,
    depth: usize,
    scheme: &AnyScheme,
    samples: usize,
) -> Case<Stacked<R, AnyLayer>> {
    let (scheme, width) = (scheme.clone(), Layer::<R>::width(&layer));
    Case {
        what: format!("{name} {} {scheme}, depth {depth}, batch {samples}", R::NAME),
        flow: Box::new(move || {
            let field = Stacked::rough(layer.clone(), scheme.nodes_for(depth), 5);
            Flow::new(field, scheme.clone())
        }),
        x0: Box::new(move || rows(samples, width)),
    }
}

fn conv_bn<R: Real>(
    order: Order,
    depth: usize,
    scheme: &AnyScheme,
    samples: usize,
) -> Case<ConvBn<R>> {
    let scheme = scheme.clone();
    let image = Image { height: 5, width: 6 };
    let layer = ConvBnLayer { channels: 4, hidden: 6, image, activation: Activation::Relu, order };
    Case {
        what: format!("conv-bn {order:?} {} {scheme}, depth {depth}, batch {samples}", R::NAME),
        flow: Box::new(move || {
            let kinds = layer.kinds();
            let control = Control::random(kinds, scheme.nodes_for(depth), Family::Smooth, 5);
            Flow::new(ConvBn::new(layer, control), scheme.clone())
        }),
        x0: Box::new(move || Tiled::cut(&rows(samples, 4 * image.pixels()))),
    }
}

/// Measured over promised, for each kind of choice: the least, the largest, their number and sum.
#[derive(Default)]
struct Ratios(BTreeMap<String, Vec<(f64, String)>>);

impl Ratios {
    fn note(&mut self, method: &Method, ratio: f64, what: String) {
        self.0.entry(method.name().to_owned()).or_default().push((ratio, what));
    }
}

fn wishes() -> Vec<Wish> {
    vec![
        Wish::Any(adjoint(None)),
        Wish::Any(adjoint(Some(1e-2))),
        Wish::Family("checkpoint".parse().expect("a method")),
        Wish::Family(Method::Adjoint(adjoint(None))),
        Wish::Family(Method::Adjoint(adjoint(Some(1e-5)))),
        Wish::Family("P2C1".parse().expect("a method")),
    ]
}

/// Budgets from the least to what backprop takes, and more.
fn check<F: Accountable>(case: &Case<F>, ratios: &mut Ratios) {
    for (threads, sweeps) in [(1, true), (2, true), (2, false)] {
        let planner = case.planner(threads, sweeps);
        let backprop = planner.bytes(&"backprop".parse().expect("a method"));
        let reversible = matches!((case.flow)().scheme(), AnyScheme::Reversible(_));
        for wish in wishes().into_iter().take(if reversible { 1 } else { usize::MAX }) {
            let least = planner.plan(wish, Budget(1)).expect_err("nothing fits a byte").least;
            let enough = planner.plan(wish, least).expect("the least is enough");
            assert_eq!(enough.bytes, least.0, "{}", case.what);
            planner.plan(wish, Budget(least.0 - 1)).expect_err("a byte less is not");
            let mut budget = least.0;
            // Where all methods are one, once.
            while budget < 2 * backprop.max(least.0 + 1) {
                let plan = planner.plan(wish, Budget(budget)).expect("more than the least");
                let choice = plan.choices[0];
                let (most, cost) = case.measure(choice, threads, sweeps);
                let what = format!(
                    "{}, {threads} threads, sweeps {sweeps}: {choice}: {most} of {} of {budget}",
                    case.what, plan.bytes
                );
                assert!(most <= plan.bytes && plan.bytes <= budget, "{what}");
                if matches!(choice.method, Method::Backprop(_) | Method::Checkpoint(_)) {
                    assert!((plan.cost_units - cost).abs() < 1e-9, "{what}: {cost}");
                }
                ratios.note(&choice.method, most as f64 / plan.bytes as f64, what);
                budget = budget * 5 / 2;
            }
        }
    }
}

#[test]
fn measured_memory_never_exceeds_the_budget() {
    let _alone = ALONE.lock();
    let mut ratios = Ratios::default();
    for scheme in [Scheme::EULER, Scheme::HEUN].map(AnyScheme::from) {
        for depth in [1, 2, 14] {
            check(&mlp::<f32>(depth, &scheme, 40), &mut ratios);
            check(&conv::<f64>(depth, &scheme, 17), &mut ratios);
            check(&conv_bn::<f32>(Order::Post, depth, &scheme, 33), &mut ratios);
        }
        check(&mlp::<f64>(7, &scheme, 1), &mut ratios);
        check(&conv::<f32>(5, &scheme, 17), &mut ratios);
        for order in Order::ALL {
            check(&conv_bn::<f64>(order, 5, &scheme, 17), &mut ratios);
        }
    }
    check(&mlp::<f32>(120, &Scheme::EULER.into(), 33), &mut ratios);
    // Walked back by the scheme's inverse, whatever is wished.
    for scheme in AnyReversible::ALL.map(AnyScheme::from) {
        check(&mlp::<f32>(9, &scheme, 33), &mut ratios);
        check(&conv_bn::<f64>(Order::Pre, 4, &scheme, 17), &mut ratios);
    }
    for (name, found) in &ratios.0 {
        let mean = found.iter().map(|(ratio, _)| ratio).sum::<f64>() / found.len() as f64;
        let least = found.iter().min_by(|a, b| a.0.total_cmp(&b.0)).expect("one");
        println!(
            "{name:20} {:5} runs, measured/promised {mean:.2} on average, {:.2} at least: {}",
            found.len(),
            least.0,
            least.1
        );
    }
}
