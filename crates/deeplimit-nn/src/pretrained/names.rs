//! Names of a network's tensors: what wraps them is cut off, and one network chosen where there are several.

use super::read::ReadError;

/// What PyTorch's wrappers put into names, wherever in the network they stand; and where a module that was
/// saved whole keeps its parts.
const WRAPPERS: [&str; 8] = [
    "module",
    "_orig_mod",
    "_checkpoint_wrapped_module",
    "_fsdp_wrapped_module",
    "_forward_module",
    "_modules",
    "_parameters",
    "_buffers",
];

/// Convolutions by which a residual network is found, the surer first.
const SIGNS: [&str; 2] = ["layer1.0.conv1.weight", "conv1.weight"];

fn is_wrapper(part: &str) -> bool {
    WRAPPERS.contains(&part)
}

/// A name without wrappers.
fn plain(name: &str) -> String {
    let parts: Vec<&str> = name.split('.').filter(|part| !is_wrapper(part)).collect();
    parts.join(".")
}

/// What stands before a sign in a name, with the point behind it: wrappers within the sign do not matter.
fn before<'n>(name: &'n str, sign: &str) -> Option<&'n str> {
    let mut wanted = sign.split('.').rev().peekable();
    let mut rest = name;
    while wanted.peek().is_some() {
        let part = rest.rsplit('.').next().unwrap_or(rest);
        if wanted.next_if_eq(&part).is_none() && !is_wrapper(part) {
            return None;
        }
        rest = rest[..rest.len() - part.len()].trim_end_matches('.');
    }
    Some(if rest.is_empty() { "" } else { &name[..=rest.len()] })
}

/// One network among the tensors of a file.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Chosen {
    /// What stands before its names.
    prefix: String,
    /// The same of other networks, that lie within it.
    others: Vec<String>,
}

impl Chosen {
    /// The network among tensors of these names, or the one of several that a key names: by what it lies in,
    /// such as `model_ema`, or a part of that.
    ///
    /// # Errors
    /// If there are several and no key, or the key names none of them or more than one.
    pub fn of<'n>(
        names: impl Iterator<Item = &'n str> + Clone,
        key: Option<&str>,
    ) -> Result<Self, ReadError> {
        let found = SIGNS.map(|sign| {
            let found = names.clone().filter_map(|name| before(name, sign));
            // The first convolution of a block is called as the stem is.
            let outer = found.filter(|before| {
                !before.split('.').any(|part| part.starts_with("layer") && part != "layers")
            });
            let mut found: Vec<&str> = outer.collect();
            found.sort_unstable();
            found.dedup();
            found
        });
        let found = found.into_iter().find(|found| !found.is_empty()).unwrap_or_default();
        let chosen = match (key, &found[..]) {
            (None, []) => "",
            (None, [only]) => only,
            (None, _) => return Err(ReadError::Several { networks: told(&found) }),
            (Some(key), []) => {
                let within = names.clone().find_map(|name| {
                    let before = name.strip_prefix(key)?.strip_prefix('.')?;
                    Some(&name[..name.len() - before.len()])
                });
                within.ok_or_else(|| no_key(key, &found))?
            }
            (Some(key), _) => named(key, &found)?,
        };
        let within = |other: &&&str| **other != chosen && other.starts_with(chosen);
        let others = found.iter().filter(within).map(|other| (*other).to_owned()).collect();
        Ok(Self { prefix: chosen.to_owned(), others })
    }

    /// The name within the network of a tensor of the file; `None` if it is not of this network.
    pub fn name(&self, whole: &str) -> Option<String> {
        let own = whole.strip_prefix(&self.prefix)?;
        let other = self.others.iter().any(|other| whole.starts_with(&other[..]));
        (!other).then(|| plain(own))
    }
}

/// The parts of what a network lies in, without wrappers.
fn parts(prefix: &str) -> Vec<&str> {
    prefix.split('.').filter(|part| !part.is_empty() && !is_wrapper(part)).collect()
}

/// The network that a key names.
fn named<'n>(key: &str, found: &[&'n str]) -> Result<&'n str, ReadError> {
    let key_parts: Vec<&str> = key.split('.').filter(|part| !part.is_empty()).collect();
    let whole: Vec<&'n str> =
        found.iter().copied().filter(|prefix| parts(prefix) == key_parts).collect();
    let within = |prefix: &&'n str| {
        let parts = parts(prefix);
        !key_parts.is_empty() && parts.windows(key_parts.len()).any(|part| part == key_parts)
    };
    let some: Vec<&'n str> = found.iter().copied().filter(within).collect();
    match (&whole[..], &some[..]) {
        ([only], _) | ([], [only]) => Ok(only),
        ([], []) => Err(no_key(key, found)),
        ([], several) | (several, _) => Err(ReadError::Several { networks: told(several) }),
    }
}

fn no_key(key: &str, found: &[&str]) -> ReadError {
    ReadError::NoKey { key: key.to_owned(), networks: told(found) }
}

/// Networks by what they lie in, each in quotes.
fn told(found: &[&str]) -> Vec<String> {
    let told = |prefix: &&str| {
        let parts = parts(prefix);
        match parts.is_empty() {
            // Where only wrappers tell them apart.
            true => prefix.trim_end_matches('.').to_owned(),
            false => parts.join("."),
        }
    };
    found.iter().map(told).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(names: &[&str], key: Option<&str>) -> Result<Vec<Option<String>>, String> {
        let chosen = Chosen::of(names.iter().copied(), key).map_err(|error| error.to_string())?;
        Ok(names.iter().map(|name| chosen.name(name)).collect())
    }

    #[test]
    fn wrappers_are_cut_wherever_they_stand() {
        for (name, expected) in [
            ("module.conv1.weight", "conv1.weight"),
            ("_orig_mod.module.layer1.0.conv1.weight", "layer1.0.conv1.weight"),
            ("layer1.0._checkpoint_wrapped_module.conv1.weight", "layer1.0.conv1.weight"),
            ("_fsdp_wrapped_module.layer1._fsdp_wrapped_module.0.bn1.bias", "layer1.0.bn1.bias"),
            ("_modules.fc._parameters.weight", "fc.weight"),
            ("layer1._orig_mod.0.conv1.weight", "layer1.0.conv1.weight"),
        ] {
            let found = chosen(&[name], None).expect("a network");
            assert_eq!(found, [Some(expected.to_owned())], "{name}");
        }
    }

    #[test]
    fn what_a_network_lies_in_is_cut_off_and_what_is_beside_it_left_out() {
        let found = chosen(
            &[
                "state_dict.module.conv1.weight",
                "state_dict.module.layer1.0._orig_mod.conv1.weight",
                "optimizer.state.0.exp_avg",
            ],
            None,
        );
        let expected = [Some("conv1.weight"), Some("layer1.0.conv1.weight"), None];
        assert_eq!(found, Ok(expected.map(|name| name.map(str::to_owned)).to_vec()));
    }

    #[test]
    fn a_key_chooses_between_networks() {
        let network = |prefix: &str| {
            ["conv1.weight", "layer1.0.conv1.weight"].map(|name| format!("{prefix}{name}"))
        };
        let all = ["model.", "model_ema.module.", "state_dict_ema.", "teacher.model."];
        let names: Vec<String> = all.into_iter().flat_map(network).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let error = chosen(&names, None).expect_err("several");
        assert!(error.contains("\"model_ema\"") && error.contains("--key"), "{error}");
        for (key, first) in [
            ("model", 0),
            ("model_ema", 2),
            ("state_dict_ema", 4),
            ("teacher", 6),
            ("teacher.model", 6),
        ] {
            let found = chosen(&names, Some(key)).expect(key);
            let own: Vec<usize> = (0..names.len()).filter(|i| found[*i].is_some()).collect();
            assert_eq!(own, [first, first + 1], "{key}");
            assert_eq!(found[first].as_deref(), Some("conv1.weight"));
        }
        let error = chosen(&names, Some("ema")).expect_err("no such");
        assert!(error.contains("\"ema\"") && error.contains("\"state_dict_ema\""), "{error}");
        // One within another: the outer one has no name.
        let names = ["conv1.weight", "layer1.0.conv1.weight", "ema.layer1.0.conv1.weight"];
        let found = chosen(&names, Some("")).expect("the outer");
        assert_eq!(found[2], None);
        assert_eq!(found[1].as_deref(), Some("layer1.0.conv1.weight"));
        assert_eq!(chosen(&names, Some("ema")).expect("the inner")[1], None);
    }

    #[test]
    fn the_only_network_needs_no_key_and_another_key_is_none_of_it() {
        let names = ["net.conv1.weight", "net.layer1.0.conv1.weight", "net.layer1.0.bn1.weight"];
        assert!(chosen(&names, None).expect("one").iter().all(Option::is_some));
        assert!(chosen(&names, Some("net")).is_ok());
        assert!(chosen(&names, Some("other")).expect_err("no such").contains("\"net\""));
        // Tensors of no residual network are all of them, or those that the key names.
        let names = ["encoder.w", "decoder.w"];
        assert!(chosen(&names, None).expect("all").iter().all(Option::is_some));
        assert_eq!(chosen(&names, Some("encoder")), Ok(vec![Some("w".to_owned()), None]));
    }
}
