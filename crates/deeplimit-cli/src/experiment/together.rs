//! One experiment for several seeds: a claim is what holds for nearly all of them.

use super::Findings;
use crate::page::{Claim, Part};

/// Of ten seeds one may miss a claim: ranges are wide enough for nearly all that chance brings, not for all.
const SHARE: f64 = 0.9;

/// What the seeds show together: every claim with the number of seeds in which it holds, and the figures of the
/// first seed. One seed alone is left as it is. A claim that a seed does not make does not hold for it.
pub fn judged(mut all: Vec<Findings>) -> Findings {
    if all.len() == 1 {
        return all.remove(0);
    }
    let mut names: Vec<String> = Vec::new();
    for claim in all.iter().flat_map(|findings| &findings.claims) {
        if !names.contains(&claim.claim) {
            names.push(claim.claim.clone());
        }
    }
    let of = |findings: &Findings, name: &str| {
        findings.claims.iter().find(|claim| claim.claim == name).cloned()
    };
    let judged = names.iter().map(|name| {
        judge(name, &all.iter().map(|findings| of(findings, name)).collect::<Vec<_>>())
    });
    let claims = judged.collect();
    let note = format!("Figures and tables show the first of {} seeds.", all.len());
    let mut sections = all.remove(0).sections;
    if let Some(first) = sections.first_mut() {
        first.parts.insert(0, Part::Text(note.into()));
    }
    Findings { claims, sections }
}

/// One claim over the seeds.
fn judge(name: &str, all: &[Option<Claim>]) -> Claim {
    let holds = all.iter().flatten().filter(|claim| claim.holds).count();
    let told = |claim: &Option<Claim>| {
        claim.as_ref().map_or("not measured".to_owned(), |claim| claim.measured.clone())
    };
    let mut measured: Vec<String> = all.iter().map(told).collect();
    if measured.iter().all(|one| *one == measured[0]) {
        measured.truncate(1);
    }
    let expected = all.iter().flatten().next().map_or("", |claim| &claim.expected);
    let least = (SHARE * all.len() as f64).ceil() as usize;
    Claim {
        claim: name.to_owned(),
        expected: format!("{expected}, in at least {least} of {} seeds", all.len()),
        measured: format!("in {holds} of {}: {}", all.len(), measured.join("; ")),
        holds: holds >= least,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::experiment::within;

    fn findings(value: f64) -> Findings {
        Findings { claims: vec![within("a slope", value, -1.1..=-0.9)], sections: Vec::new() }
    }

    #[test]
    fn a_claim_may_miss_one_seed_of_ten_and_none_of_nine() {
        for (seeds, missed, holds) in [(10, 1, true), (10, 2, false), (9, 0, true), (9, 1, false)] {
            let of = |seed| findings(if seed < missed { 0.0 } else { -1.0 });
            let claims = judged((0..seeds).map(of).collect()).claims;
            assert_eq!(claims[0].holds, holds, "{seeds} {missed}: {:?}", claims[0]);
            let found = format!("in {} of {seeds}: ", seeds - missed);
            assert!(claims[0].measured.starts_with(&found), "{:?}", claims[0]);
        }
    }

    #[test]
    fn a_claim_that_a_seed_does_not_make_does_not_hold_for_it() {
        let mut other = findings(-1.0);
        other.claims[0].claim = "another slope".into();
        let claims = judged(vec![findings(-1.0), other]).claims;
        assert_eq!(claims.len(), 2);
        for claim in claims {
            assert!(!claim.holds && claim.measured.contains("not measured"), "{claim:?}");
        }
    }
}
