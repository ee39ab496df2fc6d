//! What users write for a setting, and what it is called here.
//!
//! Keys are taken from the configuration itself; the words are those of PyTorch, Keras and
//! scikit-learn, and of scripts built on them.

use deeplimit_nn::train::Config;

/// Settings, and other words for them, without case and separators. A word may stand for several: then that
/// of the section where it was written counts, or the first.
const WORDS: [(&str, &str); 30] = [
    ("train.rate", "lr learningrate initlr initiallr baselr maxlr eta alpha"),
    ("train.batch", "batchsize trainbatchsize bs minibatch minibatchsize batches"),
    ("train.epochs", "epoch numepochs nepochs nepoch maxepochs totalepochs iterations maxiter"),
    ("train.weight_decay", "wd decay l2 l2reg l2penalty regularization regularisation"),
    ("train.clip", "clipgrad clipnorm gradclip gradientclip gradientclipval clipgradnorm maxnorm"),
    ("train.clip", "maxgradnorm clipvalue gradclipnorm clipping gradientclipping"),
    ("train.optimiser", "optimizer optim opt solver algorithm"),
    ("train.schedule", "scheduler lrscheduler lrschedule lrpolicy annealing"),
    ("train.momentum", "sgdmomentum mom"),
    ("train.checkpoint_every", "saveevery saveinterval savesteps savefreq checkpointinterval"),
    ("train.statistics", "freezebn frozenbn bnmomentum"),
    ("seed", "randomseed manualseed randomstate rngseed"),
    ("data.path", "dataset datadir dataroot datapath datafolder root traindata trainpath"),
    (
        "data.validation",
        "val valid valsplit validsplit validationsplit valfraction valsize valratio",
    ),
    ("data.validation", "devsplit validationfraction validationsize"),
    ("data.test", "testsplit testsize testfraction holdout"),
    ("data.normalise", "normalize normalization normalisation standardise standardize scaler"),
    ("data.resize", "imgsize imagesize inputsize resolution cropsize"),
    ("data.limit_train", "maxsamples numsamples trainsize subset maxtrainsamples ntrain"),
    ("data.limit_test", "maxtestsamples maxevalsamples ntest"),
    ("augment.flip", "hflip horizontalflip randomflip randomhorizontalflip fliplr mirror"),
    ("augment.crop", "padding pad randomcrop croppadding"),
    ("gradient.memory_budget", "memory memorylimit maxmemory budget"),
    ("gradient.tolerance", "tol atol rtol"),
    ("network.stage.0.depth", "layers numlayers nlayers numblocks nblocks blocks numsteps nsteps"),
    (
        "network.stage.0.hidden",
        "hiddensize hiddendim hiddenunits hiddenchannels nhidden hiddenwidth",
    ),
    ("network.stage.0.activation", "act actfn actlayer activationfunction nonlinearity"),
    ("network.stage.0.dropout", "dropoutrate droprate dropoutp dropoutprob dropprob pdrop"),
    ("network.stage.0.scheme", "solver integrator odesolver stepper odemethod"),
    ("network.stage.0.init", "initializer initialiser initialization initialisation weightinit"),
];

/// What is not a setting, and why.
const ANSWERS: [(&str, &str); 5] = [
    ("training is on the CPU", "device devices cuda gpu gpus accelerator usecuda mps"),
    (
        "threads are given as --threads COUNT",
        "workers numworkers nworkers nthreads numthreads njobs threads",
    ),
    ("training is in single precision", "precision dtype amp fp16 bf16 half mixedprecision"),
    (
        "the optimisers' other numbers are fixed",
        "beta beta1 beta2 betas eps epsilon nesterov amsgrad",
    ),
    ("the schedules have no warm-up", "warmup warmupsteps warmupepochs warmupratio"),
];

/// How like a key a misspelt one must be.
const ALIKE: f64 = 0.8;

/// The same where the key is one of another section.
const ALIKE_ELSEWHERE: f64 = 0.93;

/// How like a value one must be that is misspelt rather than another library's.
const MISSPELT: f64 = 0.95;

/// What a word that is no key stands for.
#[derive(Debug, PartialEq, Eq)]
pub enum Meaning {
    /// A key: by its name among those that are known in its section, else by its whole path.
    Key(String),
    /// Nothing that can be set, which is explained.
    Answer(&'static str),
}

/// What is meant by a word that is none of the keys known in its section.
pub fn meaning(word: &str, known: &[&str]) -> Option<Meaning> {
    let plain = plain(word);
    let key = |key: &str| Some(Meaning::Key(key.to_owned()));
    if let Some(same) = known.iter().find(|known| self::plain(known) == plain) {
        return key(same);
    }
    let everywhere = keys();
    // The shortest path is the most general setting of that name.
    let same = everywhere.iter().filter(|path| self::plain(last(path)) == plain);
    if let Some(same) = same.min_by_key(|path| path.matches('.').count()) {
        return key(same);
    }
    let says = |words: &str| words.split(' ').any(|known| known == plain);
    let mut meant = WORDS.iter().filter(|(_, words)| says(words)).map(|(path, _)| *path);
    if let Some(first) = meant.next() {
        let here = |path: &&str| known.contains(&last(path));
        return key(std::iter::once(first).chain(meant).find(here).unwrap_or(first));
    }
    if let Some((answer, _)) = ANSWERS.iter().find(|(_, words)| says(words)) {
        return Some(Meaning::Answer(answer));
    }
    if let Some(near) = nearest(&plain, known.iter().copied(), ALIKE) {
        return key(near);
    }
    let names = everywhere.iter().map(|path| last(path));
    let near = nearest(&plain, names, ALIKE_ELSEWHERE)?;
    everywhere.iter().find(|path| last(path) == near).and_then(|path| key(path))
}

/// The value that is meant by one that is none of those known: `SGD`, `CosineAnnealingLR`.
pub fn value<'k>(found: &str, known: &[&'k str]) -> Option<&'k str> {
    let plain = plain(found);
    let within = known.iter().filter(|known| plain.contains(&self::plain(known)));
    let within = within.max_by_key(|known| known.len()).copied();
    let near = |alike| nearest(&plain, known.iter().copied(), alike);
    near(MISSPELT).or(within).or_else(|| near(ALIKE))
}

/// Without case and separators.
fn plain(word: &str) -> String {
    let letters = word.chars().filter(|letter| letter.is_alphanumeric());
    letters.flat_map(char::to_lowercase).collect()
}

/// The last part of a path.
fn last(path: &str) -> &str {
    path.rsplit('.').next().unwrap_or(path)
}

fn nearest<'k>(plain: &str, known: impl Iterator<Item = &'k str>, alike: f64) -> Option<&'k str> {
    let likeness = known.map(|known| (strsim::jaro_winkler(plain, &self::plain(known)), known));
    let near = likeness.filter(|(likeness, _)| *likeness >= alike);
    near.max_by(|(a, _), (b, _)| a.total_cmp(b)).map(|(_, known)| known)
}

/// The tables of a configuration, and how a file opens them.
const TABLES: [(&str, &str); 8] = [
    ("", ""),
    ("data.", "[data]"),
    ("augment.", "[augment]"),
    ("gradient.", "[gradient]"),
    ("objective.depth.", "[objective.depth]"),
    ("train.", "[train]"),
    ("network.", "[network]"),
    ("network.stage.0.", "[[network.stage]]"),
];

/// The paths of all keys, as the configuration itself names them where it meets one that is none.
fn keys() -> Vec<String> {
    let mut keys = Vec::new();
    for (path, table) in TABLES {
        let error =
            toml::from_str::<Config>(&format!("{table}\n'?' = 0")).expect_err("no such key");
        keys.extend(quoted(error.message()).skip(1).map(|key| format!("{path}{key}")));
    }
    let table = |key: &String| {
        let path = format!("{key}.");
        TABLES.iter().any(|(table, _)| table.starts_with(&path))
    };
    keys.retain(|key| !table(key));
    keys
}

/// What stands between backticks in a message.
pub fn quoted(message: &str) -> impl Iterator<Item = &str> {
    message.split('`').skip(1).step_by(2)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn every_word_stands_for_a_setting_that_there_is_and_is_none_itself() {
        let keys = keys();
        for key in ["seed", "data.path", "train.rate", "network.stage.0.depth", "augment.noise"] {
            assert!(keys.contains(&key.to_owned()), "{key} in {keys:?}");
        }
        assert!(!keys.contains(&"train".to_owned()) && !keys.contains(&"network.stage".to_owned()));
        let names: HashSet<String> = keys.iter().map(|path| plain(last(path))).collect();
        let mut pairs = HashSet::new();
        for (key, words) in WORDS {
            assert!(keys.contains(&key.to_owned()), "{key} is no key");
            for word in words.split(' ') {
                assert!(pairs.insert((key, word)), "{word} stands twice for {key}");
                assert!(!names.contains(word) && plain(word) == word, "{word} is never looked up");
            }
        }
        let words = WORDS.iter().flat_map(|(_, words)| words.split(' '));
        let words: HashSet<&str> = words.collect();
        for word in ANSWERS.iter().flat_map(|(_, words)| words.split(' ')) {
            assert!(!names.contains(word) && !words.contains(word), "{word} is never looked up");
        }
    }

    #[test]
    fn words_of_other_libraries_are_answered_with_the_right_key() {
        let train = ["epochs", "batch", "optimiser", "rate", "schedule", "clip", "weight_decay"];
        let stage = ["transition", "field", "depth", "scheme", "init"];
        for (word, known, expected) in [
            ("lr", &train[..], "train.rate"),
            ("learning_rate", &train, "train.rate"),
            ("batch_size", &train, "train.batch"),
            ("wd", &train, "train.weight_decay"),
            ("weightDecay", &train, "weight_decay"),
            ("optimizer", &train, "train.optimiser"),
            ("num-epochs", &train, "train.epochs"),
            ("dropout", &train, "network.stage.0.dropout"),
            ("depth", &train, "network.stage.0.depth"),
            ("seed", &train, "seed"),
            ("solver", &train, "train.optimiser"),
            ("solver", &stage, "network.stage.0.scheme"),
            ("epocsh", &train, "epochs"),
            ("detph", &stage, "depth"),
            ("weight_decy", &stage, "train.weight_decay"),
            ("rate", &[], "train.rate"),
        ] {
            assert_eq!(meaning(word, known), Some(Meaning::Key(expected.to_owned())), "{word}");
        }
        assert_eq!(meaning("num_workers", &train), Some(Meaning::Answer(ANSWERS[1].0)));
        assert_eq!(meaning("xyzzy", &train), None);
    }

    #[test]
    fn values_are_found_behind_longer_names() {
        let schedules = ["constant", "cosine", "step"];
        let optimisers = ["adamw", "adam", "sgd"];
        for (found, known, expected) in [
            ("CosineAnnealingLR", &schedules, Some("cosine")),
            ("MultiStepLR", &schedules, Some("step")),
            ("cosin", &schedules, Some("cosine")),
            ("AdamW", &optimisers, Some("adamw")),
            ("Adam", &optimisers, Some("adam")),
            ("torch.optim.SGD", &optimisers, Some("sgd")),
            ("lbfgs", &optimisers, None),
        ] {
            assert_eq!(value(found, known), expected, "{found}");
        }
    }
}
