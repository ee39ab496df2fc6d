//! The exposures of convolutional fields beside those of an mlp and their formula.

use super::*;
use crate::State;
use crate::field::Kinks;
use crate::kernel::sums;
use crate::seed::uniform;

fn numbers(seed: u64, count: usize) -> Vec<f64> {
    (0..count).map(|i| uniform(seed, i as u64)).collect()
}

/// On an image of one pixel, with weights at the middle of the window alone, it is an mlp; but of the
/// window's nine places a curved unit could have been moved along any.
#[test]
fn exposures_are_those_of_an_mlp_at_every_pixel_and_of_their_formula() {
    let (channels, hidden, samples) = (3, 5, 37);
    let layer = |activation| crate::field::Mlp { width: channels, hidden, activation };
    let small = [numbers(1, 15), numbers(2, 5), numbers(3, 15), numbers(4, 3)];
    let theta = small.each_ref().map(Vec::as_slice);
    let state = |seed| Rows::new(samples, channels, &numbers(seed, samples * channels));
    let (x, there, bar) = (state(5), state(6), state(7));
    let apart = Apart { point: &x, truth: &there, kinks: Kinks::Near };
    for activation in Activation::ALL {
        let mlp = layer(activation);
        let mut tape = Layer::<f64>::tape(&mlp, samples);
        let (mut out, mut back) = (x.scratch(), x.scratch());
        mlp.linearize(&theta, &x, &mut out, &mut tape);
        mlp.pull_back(&theta, &x, &mut tape, &bar, &mut back, true);
        let found = mlp.exposure(&theta, &x, &tape, apart);

        let norm = |v: &mut dyn Iterator<Item = f64>| v.map(|v| v * v).sum::<f64>().sqrt();
        let of_unit = |j: usize| {
            let w = &small[0][3 * j..][..3];
            let of_sample = |s: usize| {
                let (a, b) =
                    (|k| x.columns()[k * samples + s], |k| there.columns()[k * samples + s]);
                let z = small[1][j] + (0..3).map(|k| w[k] * a(k)).sum::<f64>();
                let (mut value, mut curvature) = ([0.0], [0.0]);
                activation.apply(&[z], &mut value);
                activation.curvature(&[z], &value, &[1.0], &mut curvature);
                let reach = norm(&mut w.iter().copied()) * norm(&mut (0..3).map(|k| a(k) - b(k)));
                let change = match activation.bend() {
                    Bend::Straight => 0.0,
                    Bend::Kinked => f64::from(z.abs() <= reach),
                    Bend::Curved => curvature[0].abs() * reach / 3f64.sqrt(),
                };
                let cotangent: f64 =
                    (0..3).map(|k| small[2][5 * k + j] * bar.columns()[k * samples + s]).sum();
                change * cotangent.abs() * (1.0 + (0..3).map(|k| a(k).powi(2)).sum::<f64>()).sqrt()
            };
            (0..samples).map(of_sample).sum::<f64>().powi(2)
        };
        let expected: f64 = (0..hidden).map(of_unit).sum();
        assert!((found - expected).abs() <= 1e-12 * expected, "{activation}: {found}, {expected}");
        assert_eq!(expected > 0.0, activation != Activation::Identity, "{activation}");

        let conv = Conv::new(channels, hidden, Image { height: 1, width: 1 }, activation);
        let wide = |kind: usize| {
            let weights = small[kind].iter();
            weights
                .flat_map(|w| (0..9).map(move |i| if i == 4 { *w } else { 0.0 }))
                .collect::<Vec<f64>>()
        };
        let (w1, w2) = (wide(0), wide(2));
        let theta = [&w1[..], &small[1], &w2, &small[3]];
        let mut tape = Layer::<f64>::tape(&conv, samples);
        conv.linearize(&theta, &x, &mut out, &mut tape);
        back.set_zero();
        conv.pull_back(&theta, &x, &mut tape, &bar, &mut back, true);
        let places = if activation.bend() == Bend::Curved { 9.0 } else { 1.0 };
        let found = places * conv.exposure(&theta, &x, &tape, apart);
        assert!((found - expected).abs() <= 1e-12 * expected, "{activation}: {found}, {expected}");
    }
}

/// Strips of every kind: one, several, short last ones, for direct windows and Winograd's.
#[test]
fn strips_of_rows_make_the_layer_of_its_formula() {
    for height in 1..=13 {
        for (channels, hidden, activation) in
            [(2, 3, Activation::Relu), (16, 17, Activation::Relu), (3, 2, Activation::Tanh)]
        {
            let (image, samples) = (Image { height, width: 33 }, 3);
            let conv = Conv::new(channels, hidden, image, activation);
            let kinds = Layer::<f64>::kinds(&conv);
            let theta: Vec<Vec<f64>> =
                kinds.iter().enumerate().map(|(i, k)| numbers(i as u64, k.len())).collect();
            let theta: Vec<&[f64]> = theta.iter().map(Vec::as_slice).collect();
            let width = Layer::<f64>::width(&conv);
            let x = Rows::new(samples, width, &numbers(7, samples * width));
            let bar = Rows::new(samples, width, &numbers(8, samples * width));

            let length = samples * conv.hidden_width();
            let (mut z, mut a) = (vec![0.0; length], vec![0.0; length]);
            let (mut a_bar, mut z_bar) = (vec![0.0; length], vec![0.0; length]);
            let (mut f, mut x_bar) = (x.scratch(), x.scratch());
            conv.inner.apply(theta[0], Start::Bias(theta[1]), x.columns(), &mut z, samples);
            activation.apply(&z, &mut a);
            let start = Start::Bias(theta[3]);
            conv.outer.apply(theta[2], start, &a, f.columns_mut(), samples);
            let bars = bar.columns();
            conv.outer.apply_transposed(theta[2], Start::Zero, bars, &mut a_bar, samples);
            activation.pull_back(&z, &a, &a_bar, &mut z_bar);
            let to = x_bar.columns_mut();
            conv.inner.apply_transposed(theta[0], Start::Zero, &z_bar, to, samples);
            let mut gradient: Vec<Vec<f64>> =
                kinds.iter().map(|kind| vec![0.0; kind.len()]).collect();
            conv.inner.add_weight_gradient(&z_bar, x.columns(), &mut gradient[0], samples);
            conv.outer.add_weight_gradient(bars, &a, &mut gradient[2], samples);
            sums::add_row_sums(&mut gradient[1], &z_bar, length / hidden);
            sums::add_row_sums(&mut gradient[3], bars, samples * image.pixels());

            let close = |what: &str, ours: &[f64], expected: &[f64]| {
                let far = ours.iter().zip(expected).map(|(a, b)| (a - b).abs());
                let far = far.fold(0.0, f64::max);
                assert!(far < 1e-10, "{what} of {height} rows, {channels} channels: {far}");
            };
            let mut tape = Layer::<f64>::tape(&conv, samples);
            let (mut out, mut back) = (x.scratch(), x.scratch());
            conv.linearize(&theta, &x, &mut out, &mut tape);
            close("f", out.columns(), f.columns());
            conv.pull_back(&theta, &x, &mut tape, &bar, &mut back, true);
            close("the cotangent", back.columns(), x_bar.columns());
            let mut found: Vec<Vec<f64>> = kinds.iter().map(|kind| vec![0.0; kind.len()]).collect();
            let mut slots: Vec<&mut [f64]> = found.iter_mut().map(Vec::as_mut_slice).collect();
            conv.add_gradient(&x, &tape, &bar, &mut slots, false);
            for (kind, (found, expected)) in kinds.iter().zip(found.iter().zip(&gradient)) {
                close(kind.name, found, expected);
            }
            let (mut a, mut scratch) = (bar.clone(), bar.clone());
            let states = [&mut a, &mut scratch];
            conv.pull_back_step(&theta, &x, &mut tape, 0.25, states, true);
            x_bar.add_to(0.25, &bar);
            close("the cotangent of a step", a.columns(), x_bar.columns());
            found.iter_mut().for_each(|kind| kind.fill(7.0)); // Forgotten.
            let mut slots: Vec<&mut [f64]> = found.iter_mut().map(Vec::as_mut_slice).collect();
            conv.add_gradient(&x, &tape, &scratch, &mut slots, true);
            for (kind, (found, expected)) in kinds.iter().zip(found.iter().zip(&gradient)) {
                let scaled: Vec<f64> = expected.iter().map(|value| 0.25 * value).collect();
                close(kind.name, found, &scaled);
            }
            conv.linearize_step(&theta, &x, 0.25, &mut out, &mut tape);
            f.add_to(0.25, &x);
            close("a step", out.columns(), f.columns());
        }
    }
}
