//! One experiment for several seeds: a claim is what holds for nearly all of them.

use super::Findings;
use crate::page::{Claim, Part, Section};
use anyhow::{Result, ensure};

/// Of ten seeds one may miss a claim: ranges are wide enough for nearly all that chance brings, not for all.
const SHARE: f64 = 0.9;

/// What the seeds show together: every claim with the number of seeds in which it holds, and the figures of the
/// first seed. One seed alone is left as it is.
///
/// # Errors
/// If the seeds do not make the same claims.
pub fn judged(mut all: Vec<Findings>) -> Result<Findings> {
    if all.len() == 1 {
        return Ok(all.remove(0));
    }
    let claims: Vec<Vec<Claim>> = all.iter().map(|findings| findings.claims.clone()).collect();
    let names = |claims: &[Claim]| claims.iter().map(|c| c.claim.clone()).collect::<Vec<_>>();
    ensure!(
        claims.iter().all(|own| names(own) == names(&claims[0])),
        "the seeds do not make the same claims"
    );
    let judged = (0..claims[0].len())
        .map(|index| judge(&claims.iter().map(|own| &own[index]).collect::<Vec<_>>()));
    let note = format!("Of {} seeds these are the first one's.", claims.len());
    let mut sections =
        vec![Section { title: "Figures".into(), parts: vec![Part::Text(note.into())] }];
    let claims = judged.collect();
    sections.append(&mut all.remove(0).sections);
    Ok(Findings { claims, sections })
}

/// One claim over the seeds.
fn judge(all: &[&Claim]) -> Claim {
    let holds = all.iter().filter(|claim| claim.holds).count();
    let mut measured: Vec<&str> = all.iter().map(|claim| &claim.measured[..]).collect();
    if measured.iter().all(|one| *one == measured[0]) {
        measured.truncate(1);
    }
    let least = (SHARE * all.len() as f64).ceil() as usize;
    Claim {
        claim: all[0].claim.clone(),
        expected: format!("{}, in at least {least} of {} seeds", all[0].expected, all.len()),
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
            let claims = judged((0..seeds).map(of).collect()).expect("the same claims").claims;
            assert_eq!(claims[0].holds, holds, "{seeds} {missed}: {:?}", claims[0]);
            let found = format!("in {} of {seeds}: ", seeds - missed);
            assert!(claims[0].measured.starts_with(&found), "{:?}", claims[0]);
        }
    }

    #[test]
    fn other_claims_for_another_seed_are_an_error() {
        let mut other = findings(-1.0);
        other.claims[0].claim = "another slope".into();
        assert!(judged(vec![findings(-1.0), other]).is_err());
    }
}
