//! What the fine-tunings and the deep flows show.

use super::entrants::{Entrant, told};
use super::rows::{Kind, Row};
use super::transfer::Start;
use crate::experiment::Size;
use crate::experiment::within;
use crate::page::{Claim, significant};
use deeplimit::limit::Slope;

/// Points of accuracy by which two fine-tunings with exact gradients may differ: by rounding alone they take
/// other ways.
const NOISE: f64 = 0.2;
const NOISE_QUICK: f64 = 0.5;

/// Points that a fine-tuned network may lie below the original; and where statistics move along, or the
/// gradient is one that nobody certifies.
const LOSS: f64 = 1.0;
const LOSS_ELSE: f64 = 1.5;

/// Points that a short fine-tuning gains at least.
const GAIN: f64 = 2.0;

/// Points below the exact methods from which on a fine-tuning has failed.
const MARGIN: f64 = 2.0;

/// Loss after a few steps of training deep flows over that before.
const LEARNT: f64 = 0.8;

/// Memory of a gradient of deep flows over that at the network's own depth.
const KEPT: f64 = 1.1;

/// Points of accuracy between two ways to carry weights.
const CARRIED: f64 = 10.0;

/// Points of accuracy that trained weights are ahead of random ones on other images.
const TRANSFERRED: f64 = 3.0;

/// Estimate of the certificate from which on a gradient is not to be used.
const FLAG: f64 = 0.1;

/// The rows of all cases.
pub struct Shown<'a> {
    pub rows: &'a [Row],
    pub size: Size,
    /// Whether there is another set of images.
    pub transferred: bool,
}

impl Shown<'_> {
    pub fn of_kind(&self, kind: Kind) -> impl Iterator<Item = &Row> {
        self.rows.iter().filter(move |row| row.kind == kind)
    }

    /// The rows of a kind that are of a method.
    pub fn of(&self, kind: Kind, entrant: &Entrant) -> impl Iterator<Item = &Row> {
        let (name, statistics) = (entrant.name(), told(entrant.statistics));
        self.of_kind(kind).filter(move |row| row.method == name && row.statistics == statistics)
    }

    pub fn tuned(&self, entrant: &Entrant) -> Option<&Row> {
        self.of(Kind::Tuned, entrant).next()
    }

    /// Accuracy after fine-tuning; not a number where there is none.
    fn accuracy(&self, entrant: &Entrant) -> f64 {
        self.tuned(entrant).and_then(|row| row.accuracy).unwrap_or(f64::NAN)
    }

    fn accuracy_of(&self, kind: Kind) -> f64 {
        self.of_kind(kind).next().and_then(|row| row.accuracy).unwrap_or(f64::NAN)
    }

    /// (blocks, a number) of the gradients of a method.
    pub fn over_depth(
        &self,
        entrant: &Entrant,
        value: impl Fn(&Row) -> Option<f64>,
    ) -> Vec<(f64, f64)> {
        let rows = self.of(Kind::Gradient, entrant);
        rows.filter_map(|row| Some((row.blocks as f64, value(row)?))).collect()
    }

    pub fn claims(&self) -> Vec<Claim> {
        let mut claims = vec![self.exact_methods_agree()];
        let restored = [
            (Entrant::CHECKPOINT, LOSS),
            (Entrant::CERTIFIED, LOSS),
            (Entrant::CHECKPOINT_BY_BATCH, LOSS_ELSE),
            (Entrant::PREDICTED, LOSS_ELSE),
        ];
        claims.extend(restored.iter().map(|(entrant, loss)| self.restores(entrant, *loss)));
        claims.push(self.failures_are_flagged());
        claims.extend(self.memory());
        claims
            .extend([Entrant::PREDICTED, Entrant::ADAPTIVE].map(|entrant| self.recovers(&entrant)));
        claims.push(self.carries());
        claims.extend(Entrant::deep().iter().map(|entrant| self.learns(entrant)));
        claims.extend(self.transferred.then(|| self.transfers()));
        claims
    }

    /// That trained weights are a better start on other images than random ones.
    fn transfers(&self) -> Claim {
        let of = |start| self.of_kind(Kind::Transfer).find(|row| row.start == Some(start));
        let accuracy = |start| of(start).and_then(|row| row.accuracy).unwrap_or(f64::NAN);
        within(
            "on other images, with a new head: flows with the network's weights are better than flows from \
             random ones after as many steps; points of accuracy between them",
            accuracy(Start::Pretrained) - accuracy(Start::Random),
            TRANSFERRED..=f64::INFINITY,
        )
    }

    fn exact_methods_agree(&self) -> Claim {
        let noise = self.size.pick(NOISE_QUICK, NOISE);
        let [backprop, checkpoint] =
            [Entrant::BACKPROP, Entrant::CHECKPOINT].map(|entrant| self.accuracy(&entrant));
        within(
            "fine-tuned by checkpoint as by backprop: both gradients are exact; points of accuracy \
             between them",
            (backprop - checkpoint).abs(),
            0.0..=noise,
        )
    }

    /// That a method brings back what conversion has lost: all but a little, or in quick size a part.
    fn restores(&self, entrant: &Entrant, loss: f64) -> Claim {
        let (original, converted) =
            (self.accuracy_of(Kind::Original), self.accuracy_of(Kind::Converted));
        let tuned = self.accuracy(entrant);
        match self.size {
            Size::Full => within(
                format!(
                    "{entrant}: fine-tuned flows are as good as the network was; points below it"
                ),
                original - tuned,
                f64::NEG_INFINITY..=loss,
            ),
            Size::Quick => within(
                format!(
                    "{entrant}: fine-tuned flows are better than by conversion alone; points above"
                ),
                tuned - converted,
                GAIN..=f64::INFINITY,
            ),
        }
    }

    /// That the certificate has told of every fine-tuning that ended worse.
    fn failures_are_flagged(&self) -> Claim {
        let exact = self.accuracy(&Entrant::CHECKPOINT);
        let all: Vec<Entrant> =
            Entrant::tuned().into_iter().filter(|entrant| self.tuned(entrant).is_some()).collect();
        let is_worse = |entrant: &&Entrant| {
            let good = self.accuracy(entrant) >= exact - MARGIN;
            !good
        };
        let is_flagged = |entrant: &&Entrant| {
            let row = self.tuned(entrant);
            row.is_some_and(|row| row.estimate.is_none_or(|estimate| estimate >= FLAG))
        };
        let failed: Vec<&Entrant> = all.iter().filter(is_worse).collect();
        let flagged = failed.iter().filter(|entrant| is_flagged(entrant)).count();
        Claim {
            claim: format!(
                "every fine-tuning that ended more than {MARGIN} points below that by checkpoint was told \
                 of by its certificate"
            ),
            expected: format!("{} with a median estimate of at least {FLAG}", failed.len()),
            measured: flagged.to_string(),
            holds: flagged == failed.len() && !all.is_empty(),
        }
    }

    /// How what an image takes grows with the number of blocks.
    fn memory(&self) -> Vec<Claim> {
        let slope = |entrant: &Entrant| {
            Slope::fit(&self.over_depth(entrant, |row| Some(row.image_bytes? as f64))).value
        };
        let at_most = |slope| f64::NEG_INFINITY..=slope;
        let grows = [
            (
                Entrant::BACKPROP,
                "grows like the number of blocks (every linearised step is kept)",
                0.9..=1.05,
            ),
            (Entrant::CHECKPOINT, "grows at most like its root (Chen et al. 2016)", at_most(0.6)),
            (Entrant::PREDICTED, "does not grow (states are recovered)", at_most(0.1)),
            (Entrant::ADAPTIVE, "does not grow (states are recovered)", at_most(0.1)),
        ];
        let claim = |(entrant, how, range): (Entrant, &str, std::ops::RangeInclusive<f64>)| {
            let name = entrant.name();
            within(
                format!("{name}: the memory of an image more {how}; slope"),
                slope(&entrant),
                range,
            )
        };
        let mut claims: Vec<Claim> = grows.into_iter().map(claim).collect();
        claims.extend([Entrant::PREDICTED, Entrant::ADAPTIVE].map(|entrant| self.keeps(&entrant)));
        claims
    }

    /// That a gradient of the deepest flows takes the memory of one of their own depth.
    fn keeps(&self, entrant: &Entrant) -> Claim {
        let peaks = self.over_depth(entrant, |row| Some(row.peak_bytes? as f64));
        let ends = peaks.first().zip(peaks.last());
        let ratio = ends.map_or(f64::NAN, |((_, few), (_, many))| many / few);
        let blocks = peaks.last().map_or(f64::NAN, |(blocks, _)| *blocks);
        within(
            format!(
                "{}: a gradient with {blocks} blocks takes the memory of one with the network's own, beyond \
                 parameters and gradient; ratio",
                entrant.name()
            ),
            ratio,
            0.0..=KEPT,
        )
    }

    /// That the state error of an adjoint falls with depth.
    fn recovers(&self, entrant: &Entrant) -> Claim {
        let errors = self.over_depth(entrant, |row| row.state_error);
        let falls = errors.len() > 1 && errors.windows(2).all(|pair| pair[1].1 < pair[0].1);
        let listed: Vec<String> = errors.iter().map(|(_, error)| significant(*error)).collect();
        Claim {
            claim: format!(
                "{}: the deeper the flows, the nearer the recovered states (h L falls as 1/N)",
                entrant.name()
            ),
            expected: "a smaller state error at every depth".into(),
            measured: listed.join(", "),
            holds: falls,
        }
    }

    /// The deep flows before training.
    fn untrained(&self, trained: &Row) -> Option<&Row> {
        let mut carried = self.of_kind(Kind::Carried);
        carried.find(|row| row.depths == trained.depths && row.by == trained.by)
    }

    /// That deep flows learn.
    fn learns(&self, entrant: &Entrant) -> Claim {
        let row = self.of(Kind::Deep, entrant).next();
        let ratio = row.and_then(|row| Some(row.loss? / self.untrained(row)?.loss?));
        let depths = row.map_or("deep", |row| &row.depths);
        within(
            format!(
                "{depths} blocks, {}: a few steps of training lower the held-out loss; after by before",
                entrant.name()
            ),
            ratio.unwrap_or(f64::NAN),
            0.0..=LEARNT,
        )
    }

    /// That weights kept over each block's interval carry the network.
    fn carries(&self) -> Claim {
        let of = |by: &str| self.of_kind(Kind::Carried).find(|row| row.by == by);
        let accuracy = |by| of(by).and_then(|row| row.accuracy).unwrap_or(f64::NAN);
        let depths = of("constant").map_or("deep", |row| &row.depths);
        within(
            format!(
                "{depths} blocks, before training: weights that are constant over each block's interval \
                 keep the network, those that are linear between blocks do not; points of accuracy between \
                 them"
            ),
            accuracy("constant") - accuracy("linear"),
            CARRIED..=f64::INFINITY,
        )
    }
}
