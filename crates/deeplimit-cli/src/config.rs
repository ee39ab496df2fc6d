//! Configurations from TOML files and the command line.

use crate::words::{self, Meaning};
use anyhow::{Context, Result, bail};
use deeplimit_nn::data::{Options, detect};
use deeplimit_nn::train::Config;
use std::path::Path;
use toml::{Table, Value};

/// The built-in configuration.
const DIGITS: &str = include_str!("digits.toml");

/// Reads a configuration: the file where one is given, else the defaults for a data folder, else
/// that of the built-in digits; then the settings.
pub fn read(file: Option<&Path>, settings: &[String], data: Option<&Path>) -> Result<Config> {
    read_with(file, settings, data, None)
}

/// As [`read`], for a run that begins with trained weights: network and normalisation are theirs where
/// the file does not name others.
pub fn read_with(
    file: Option<&Path>,
    settings: &[String],
    data: Option<&Path>,
    trained: Option<&Config>,
) -> Result<Config> {
    let (text, origin) = match (file, data) {
        (Some(file), _) => {
            let origin = file.display().to_string();
            (std::fs::read_to_string(file).with_context(|| origin.clone())?, origin)
        }
        (None, Some(_)) => (String::new(), "the defaults".to_owned()),
        (None, None) => (DIGITS.to_owned(), "the built-in digits".to_owned()),
    };
    // Checked as it is written, so that an error can name its line.
    let explained = |error| explain(&error, Some(&text), &origin);
    let _: Config = toml::from_str(&text).map_err(explained)?;
    let mut table: Table = toml::from_str(&text).map_err(explained)?;
    if let Some(trained) = trained {
        if file.is_none() {
            table.remove("network");
        }
        let network = Value::try_from(&trained.network).context("a network is plain data")?;
        table.entry("network").or_insert(network);
        let normalise = Value::try_from(&trained.data.normalise).context("plain data")?;
        let data = table.entry("data").or_insert_with(|| Value::Table(Table::new()));
        if let Value::Table(data) = data {
            data.entry("normalise").or_insert(normalise);
        }
    }
    for setting in settings {
        apply(&mut table, setting)?;
    }
    let source_given = table.get("data").and_then(|data| data.get("source")).is_some();
    let config: Config = Value::Table(table).try_into().map_err(|error: toml::de::Error| {
        let origin = if settings.is_empty() { origin } else { "--set".to_owned() };
        explain(&error, None, &origin)
    })?;
    with_data(config, data, source_given)
}

/// Points a configuration at a data folder; its format is found out where none is named.
pub fn with_data(mut config: Config, data: Option<&Path>, source_given: bool) -> Result<Config> {
    if let Some(data) = data {
        if !source_given {
            config.data = Options { source: detect(data)?, ..config.data };
        }
        config.data.path = Some(data.to_owned());
        config.data.folder = None;
    }
    Ok(config)
}

/// Applies one `a.b=value`. A missing table on the way starts empty, since what it does not name
/// has defaults; a missing array, and what lies in it, starts with the default entries.
fn apply(table: &mut Table, setting: &str) -> Result<()> {
    let Some((path, text)) = setting.split_once('=') else {
        bail!("--set {setting}: expected KEY=VALUE, such as train.epochs=5");
    };
    let value = toml::from_str::<Table>(&format!("value = {text}"))
        .ok()
        .and_then(|mut table| table.remove("value"))
        .unwrap_or_else(|| Value::String(text.to_owned()));
    let defaults = Value::try_from(Config::default()).context("the defaults are plain data")?;
    let mut defaults = Some(&defaults);
    let mut keys = path.split('.').peekable();
    let mut changed = Value::Table(std::mem::take(table));
    let mut place = &mut changed;
    let mut inside_array = false;
    while let Some(key) = keys.next() {
        let last = keys.peek().is_none();
        let below = defaults.and_then(|value| child(value, key));
        place = match place {
            Value::Table(table) => {
                inside_array |= matches!(below, Some(Value::Array(_)));
                let fill = below.filter(|_| inside_array).cloned();
                table.entry(key).or_insert(fill.unwrap_or_else(|| Value::Table(Table::new())))
            }
            Value::Array(array) => {
                let count = array.len();
                match key.parse::<usize>().ok().and_then(|index| array.get_mut(index)) {
                    Some(entry) => entry,
                    None => bail!("--set {setting}: {key} is no index into {count} entries"),
                }
            }
            _ => bail!("--set {setting}: there is nothing below a value at {key:?}"),
        };
        defaults = below;
        if last {
            *place = value.clone();
        }
    }
    if let Value::Table(changed) = changed {
        *table = changed;
    }
    Ok(())
}

fn child<'v>(value: &'v Value, key: &str) -> Option<&'v Value> {
    match value {
        Value::Table(table) => table.get(key),
        Value::Array(array) => key.parse::<usize>().ok().and_then(|index| array.get(index)),
        _ => None,
    }
}

/// One line: where, what, and the nearest valid key.
fn explain(error: &toml::de::Error, text: Option<&str>, origin: &str) -> anyhow::Error {
    let line = text.zip(error.span()).map(|(text, span)| {
        1 + text.as_bytes()[..span.start.min(text.len())].iter().filter(|b| **b == b'\n').count()
    });
    let place = line.map_or_else(|| origin.to_owned(), |line| format!("{origin}: line {line}"));
    let message = error.message().replace('\n', " ");
    let quoted: Vec<&str> = words::quoted(&message).collect();
    let Some((found, known)) = quoted.split_first().filter(|_| message.starts_with("unknown "))
    else {
        return anyhow::anyhow!("{place}: {message}");
    };
    let (what, meant) = match message.starts_with("unknown field") {
        true => ("key", words::meaning(found, known)),
        false => ("value", words::value(found, known).map(|value| Meaning::Key(value.to_owned()))),
    };
    let hint = match meant {
        Some(Meaning::Key(key)) => format!(", did you mean `{key}`?"),
        Some(Meaning::Answer(answer)) => format!(": {answer}."),
        None => ".".to_owned(),
    };
    anyhow::anyhow!("{place}: unknown {what} `{found}`{hint} Known here are: {}", known.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_reach_into_stages_that_the_file_does_not_name() {
        let settings = ["network.stage.0.depth=128", "gradient.method=backprop", "train.rate=0.5"];
        let config = read(None, &settings.map(str::to_owned), None).expect("valid settings");
        assert_eq!(config.network.stage[0].depth, 128);
        assert_eq!(config.gradient.method, "backprop");
        assert_eq!(config.train.rate, 0.5);
    }

    #[test]
    fn a_setting_of_the_data_does_not_stop_a_folder_from_telling_its_format() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("table.csv");
        std::fs::write(&file, "1,2,0.5\n2,3,0.7\n").expect("written");
        let config = read(None, &["data.task=regression".to_owned()], Some(&file));
        assert_eq!(config.expect("valid").data.source.name(), "csv");
    }

    #[test]
    fn an_unknown_key_is_answered_with_the_nearest() {
        let error = read(None, &["network.stage.0.detph=3".to_owned()], None);
        let text = error.expect_err("an unknown key").to_string();
        assert!(text.contains("`detph`, did you mean `depth`?"), "{text}");
        assert!(!text.contains('\n'));
    }

    #[test]
    fn words_of_other_libraries_are_answered_with_the_right_key() {
        for (setting, parts) in [
            ("train.lr=0.1", ["unknown key `lr`", "did you mean `train.rate`?"]),
            ("lr=0.1", ["unknown key `lr`", "did you mean `train.rate`?"]),
            ("train.device=cuda", ["unknown key `device`", "on the CPU"]),
            ("train.optimiser=SGD", ["unknown value `SGD`", "did you mean `sgd`?"]),
            ("train.optimiser=lbfgs", ["unknown value `lbfgs`.", "Known here are: adamw"]),
        ] {
            let error = read(None, &[setting.to_owned()], None).expect_err("no such setting");
            let text = error.to_string();
            assert!(parts.iter().all(|part| text.contains(part)), "{text}");
        }
    }

    #[test]
    fn an_index_beyond_the_stages_is_refused() {
        let error = read(None, &["network.stage.3.depth=3".to_owned()], None);
        assert!(error.expect_err("no such stage").to_string().contains("1 entries"));
    }
}
