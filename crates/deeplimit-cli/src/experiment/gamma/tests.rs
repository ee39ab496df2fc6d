use super::*;
use std::collections::BTreeSet;

fn tiny(sets: Vec<Set>, world: World) -> Gamma {
    let powers = |last: u32| (2..=last).map(|power| 1 << power).collect();
    Gamma {
        sets,
        depths: powers(8),
        starts: Starts { layers: 640, least: 8, limit: 60 },
        problems: OTHERS.to_vec(),
        others_at: powers(6),
        others_starts: Starts { layers: 640, least: 8, limit: 100 },
        sequences_at: vec![256, 1024, 4096, 16_384],
        contrast_at: vec![8, 16, 32, 64],
        contrast_starts: 4,
        shown: vec![8, 64],
        seeds: Seeds { first: 1, count: 2 },
        world,
    }
}

fn rows(experiment: &Gamma, is_wanted: impl Fn(&Case) -> bool) -> Vec<Row> {
    let cases = experiment.cases().into_iter().filter(is_wanted);
    cases.flat_map(|case| experiment.measure(&case, Path::new("")).unwrap()).collect()
}

fn failing(experiment: &Gamma, rows: &[Row]) -> BTreeSet<String> {
    let claims = experiment.findings(rows).unwrap().claims;
    claims.into_iter().filter(|claim| !claim.holds).map(|claim| claim.claim).collect()
}

/// Whether a claim with these words is among those that fail.
#[track_caller]
fn assert_fails(failing: &BTreeSet<String>, words: &str) {
    assert!(failing.iter().any(|claim| claim.contains(words)), "{words} holds; {failing:#?}");
}

#[test]
fn claims_hold_on_a_tiny_size_and_each_fails_on_wrong_rows() {
    let experiment = tiny(vec![data::moons()], RIGHT);
    let good = rows(&experiment, |_| true);
    assert_eq!(failing(&experiment, &good), BTreeSet::new());

    let mut failed = BTreeSet::new();
    let mut wrong = |words: &str, change: &dyn Fn(&mut Row)| {
        let mut rows = good.clone();
        rows.iter_mut().for_each(change);
        let found = failing(&experiment, &rows);
        assert_fails(&found, words);
        failed.extend(found);
    };
    let is = |row: &Row, part: Part| row.part == part && row.problem == BASE.name;
    // One seed of two, at one n.
    wrong("ends below the tabulated", &|row| {
        if is(row, Part::Network) && row.seed == 2 && row.layers == Some(32) {
            row.from_depths = row.from_depths.map(|e| e * 0.999);
        }
    });
    wrong("the search finds the tabulated minimum", &|row| {
        if row.part == Part::Network && row.seed == 2 && row.layers == Some(16) {
            row.energy = row.energy.map(|e| e * 1.02);
        }
    });
    wrong("starts that come to the minimum", &|row| row.reached = Some(0));
    wrong("the limit found from starts of its own", &|row| {
        if row.part == Part::Limit && row.seed == 2 {
            row.energy = row.energy.map(|e| e + 0.001);
        }
    });
    wrong("limits from the networks", &|row| row.missed = row.missed.map(|_| -0.01));
    wrong("largest ‖∇E‖ of all minima", &|row| row.gradient_norm = Some(1e-3));
    wrong("least eigenvalue of the limit", &|row| row.curvature = row.curvature.map(|c| -c));
    wrong("L² distance of the limits of degree", &|row| {
        if row.part == Part::Coarse {
            row.constant = Some(0.1);
            row.energy = row.energy.map(|e| e + 0.01);
            row.equation = row.force;
            row.last_end = Some(5.0);
        }
    });
    // Everything that falls stays, and what stays grows.
    wrong("Euler–Lagrange residual at the nodes", &|row| {
        if let (Part::Network | Part::Branch, Some(n)) = (row.part, row.layers.map(|n| n as f64)) {
            let all = [
                &mut row.constant,
                &mut row.affine,
                &mut row.derivative,
                &mut row.nodal,
                &mut row.readout,
                &mut row.equation,
                &mut row.first_end,
                &mut row.last_end,
                &mut row.steepness,
                &mut row.consistency,
                &mut row.recovery,
            ];
            all.into_iter().for_each(|value| *value = value.map(|v| v * n));
            row.energy = row.energy.map(|e| e + 0.01);
            row.moved = row.moved.map(|v| 100.0 * v * n);
        }
    });
    wrong("networks of no seed are below", &|row| {
        // Of one seed, lower than those of the seed with the lowest limit.
        if row.problem != BASE.name && row.part == Part::Limit && row.seed == 1 {
            row.energy = row.energy.map(|e| e - 0.01);
        }
        if row.problem != BASE.name && row.part == Part::Network && row.seed == 2 {
            row.energy = row.energy.map(|e| 0.9 * e);
        }
    });
    wrong("it is another one", &|row| {
        if row.part == Part::Branch {
            row.energy = Some(0.05);
        }
    });
    wrong("liminf E_n", &|row| {
        if row.part == Part::Sequence {
            row.energy = row.limit_energy.map(|e| 0.9 * e);
            row.excess = row.layers.map(|n| -(n as f64).sqrt());
        }
    });
    wrong("control: with a penalty without", &|row| {
        if row.part == Part::Wrong {
            row.energy = row.limit_energy;
        }
    });
    // Networks with weight decay that come together and are smooth; strong decay under which they do not.
    wrong("weight decay 0.002: least", &|row| {
        if row.alpha.is_some() {
            row.constant = Some(if row.alpha == Some(0.2) { 1.0 } else { 1e-6 });
            row.steepness = Some(5.0);
        }
    });
    let all = experiment.findings(&good).unwrap().claims;
    let all: BTreeSet<String> = all.into_iter().map(|claim| claim.claim).collect();
    let never: Vec<_> = all.difference(&failed).collect();
    assert!(never.is_empty(), "every claim can fail: {never:#?}");
    assert_eq!(failing(&experiment, &[]), all, "nothing shows nothing");
}

#[test]
fn in_a_world_with_the_wrong_power_of_n_nothing_converges() {
    let world = World { power: -1.0, shuffled: false };
    let experiment = tiny(vec![data::moons()], world);
    let is_wanted = |case: &Case| match case {
        Case::Minima(_, variant, _) => *variant == BASE,
        Case::Sequences(..) => true,
        Case::Contrast(..) => false,
    };
    let found = failing(&experiment, &rows(&experiment, is_wanted));
    for words in [
        "min E_n − E_∞",
        "to the limit, L² distance, constant",
        "∫ ‖θ'‖² ds of the minimisers",
        "‖∇E_n‖ at the network sampled",
        "liminf E_n",
        "alternating",
    ] {
        assert_fails(&found, words);
    }
}

#[test]
fn in_a_world_of_shuffled_layers_minimisers_have_no_limit() {
    let world = World { power: 0.0, shuffled: true };
    let experiment = tiny(vec![data::moons()], world);
    let is_wanted = |case: &Case| matches!(case, Case::Minima(_, variant, _) if *variant == BASE);
    let found = failing(&experiment, &rows(&experiment, is_wanted));
    for words in
        ["to the limit, L² distance, constant", "H¹ distance", "∫ ‖θ'‖² ds of the minimisers"]
    {
        assert_fails(&found, words);
    }
}

#[test]
fn minima_of_too_few_starts_are_local_ones_and_found_out() {
    let few = Starts { layers: 1, least: 1, limit: 1 };
    let sets = vec![data::real(None).unwrap()];
    let seeds = Seeds { first: 1, count: 6 };
    let experiment = Gamma { starts: few, depths: vec![4, 8], seeds, ..tiny(sets, RIGHT) };
    let is_wanted = |case: &Case| matches!(case, Case::Minima(_, variant, _) if *variant == BASE);
    let found = failing(&experiment, &rows(&experiment, is_wanted));
    assert_fails(&found, "the search finds the tabulated minimum");
    assert_fails(&found, "starts that come to the minimum");
}
