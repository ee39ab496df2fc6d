//! The folder of an experiment: measured cases, so that a killed one goes on, and the page.

use super::{Experiment, Findings, Size, together};
use crate::page::{Claim, Page, Part, Section, Table, Text};
use crate::progress::Waiting;
use anyhow::{Context, Result, bail};
use deeplimit_nn::train::write_whole;
use serde::{Deserialize, Deserializer, Serialize, de::DeserializeOwned};
use serde_json::Value;
use std::collections::HashMap;
use std::fmt;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// What decides the numbers of an experiment.
#[derive(Serialize)]
struct Settings<S> {
    experiment: &'static str,
    size: Size,
    seed: u64,
    /// How many seeds, from `seed` on, where the experiment is done for several.
    #[serde(skip_serializing_if = "Option::is_none")]
    seeds: Option<usize>,
    #[serde(flatten)]
    own: S,
}

/// A measured case.
#[derive(Serialize, Deserialize)]
struct Measured<R> {
    case: String,
    seconds: f64,
    rows: Vec<R>,
}

/// What a finished experiment says in short.
#[derive(Serialize)]
pub struct Summary {
    experiment: &'static str,
    /// The folder with all it has written.
    pub folder: PathBuf,
    /// Seconds of measuring, those before a kill included.
    seconds: f64,
    /// Threads that measured.
    threads: usize,
    /// Whether every claim holds.
    pub holds: bool,
    /// The claims.
    pub claims: Vec<Claim>,
}

impl fmt::Display for Summary {
    /// A line a claim, and where the page lies.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for claim in &self.claims {
            let verdict = if claim.holds { "PASS" } else { "FAIL" };
            let Claim { claim, expected, measured, .. } = claim;
            writeln!(f, "{verdict}  {claim}: {measured} (expected {expected})")?;
        }
        write!(f, "{} s of measuring; {}/index.html", self.seconds.round(), self.folder.display())
    }
}

/// Measures the cases that are not there yet, judges all of them, and writes the page.
///
/// # Errors
/// If the folder holds another experiment, a file cannot be read or written, or a case cannot be
/// measured; those that were measured stay.
pub fn run<E: Experiment>(
    experiment: &E,
    size: Size,
    seed: u64,
    folder: Option<&Path>,
) -> Result<Summary> {
    run_all(&[(seed, experiment)], None, size, folder)
}

/// As [`run`], of an experiment for several seeds; a claim is judged by the share of them in which it holds.
///
/// # Errors
/// As [`run`].
pub fn run_over_seeds<E: Experiment>(
    all: &[(u64, E)],
    size: Size,
    folder: Option<&Path>,
) -> Result<Summary> {
    let each: Vec<(u64, &E)> = all.iter().map(|(seed, experiment)| (*seed, experiment)).collect();
    run_all(&each, Some(all.len()), size, folder)
}

fn run_all<E: Experiment>(
    all: &[(u64, &E)],
    seeds: Option<usize>,
    size: Size,
    folder: Option<&Path>,
) -> Result<Summary> {
    let &(seed, first) = all.first().context("an experiment is done for a seed at least")?;
    let suffix = size.pick("-quick", "");
    let default = || Path::new("experiments").join(format!("{}{suffix}", E::NAME));
    let folder = folder.map_or_else(default, Path::to_owned);
    let settings = Settings { experiment: E::NAME, size, seed, seeds, own: first.settings() };
    let settings = serde_json::to_value(&settings)?;
    open(&folder, &settings)?;
    let (mut known, mut own) = (measured::<E::Row>(&folder)?, Vec::new());
    for (seed, experiment) in all {
        for case in experiment.cases() {
            let key = experiment.key(&case);
            let key = if seeds.is_some() { format!("seed {seed}: {key}") } else { key };
            if experiment.wanted(&case) || known.contains_key(&key) {
                own.push((*seed, *experiment, case, key));
            }
        }
    }
    let there = own.iter().filter(|(.., key)| known.contains_key(key)).count();
    let place = folder.display();
    crate::say(&match there {
        0 => format!("{}: {} cases, into {place}", E::NAME, own.len()),
        _ => format!("{}: {there} of {} cases are in {place}", E::NAME, own.len()),
    });
    let (mut rows, mut seconds) = (Vec::<(u64, Vec<E::Row>)>::new(), 0.0);
    for (number, (seed, experiment, case, key)) in own.iter().enumerate() {
        let found = match known.remove(key) {
            Some(found) => found,
            None => {
                if E::AS_IT_GOES && number > 0 {
                    write_down(all, seeds.is_some(), &folder, &settings, &rows, seconds)?;
                }
                let began = Instant::now();
                let scratch = folder.join("unfinished");
                let waiting = Waiting::in_lines(E::NAME);
                let rows = experiment.measure(case, &scratch).with_context(|| key.clone())?;
                drop(waiting);
                let seconds = began.elapsed().as_secs_f64();
                let found = record(&folder, Measured { case: key.clone(), seconds, rows })?;
                if scratch.exists() {
                    fs::remove_dir_all(&scratch).with_context(|| scratch.display().to_string())?;
                }
                crate::say(&format!("{}/{} {key}: {seconds:.1} s", number + 1, own.len()));
                found
            }
        };
        seconds += found.seconds;
        match rows.last_mut() {
            Some((last, rows)) if last == seed => rows.extend(found.rows),
            _ => rows.push((*seed, found.rows)),
        }
    }
    write_down(all, seeds.is_some(), &folder, &settings, &rows, seconds)
}

/// Judges what was measured, and writes rows, claims and the page.
fn write_down<E: Experiment>(
    all: &[(u64, &E)],
    with_seeds: bool,
    folder: &Path,
    settings: &Value,
    rows: &[(u64, Vec<E::Row>)],
    seconds: f64,
) -> Result<Summary> {
    let findings = all.iter().map(|(seed, experiment)| {
        let own = rows.iter().find(|(other, _)| other == seed);
        experiment.findings(own.map_or(&[][..], |(_, rows)| rows))
    });
    let findings = together::judged(findings.collect::<Result<Vec<_>>>()?);
    let Findings { claims, sections } = findings;
    let holds = claims.iter().all(|claim| claim.holds);
    let (folder, threads) = (folder.to_owned(), rayon::current_num_threads());
    let summary = Summary { experiment: E::NAME, folder, seconds, threads, holds, claims };
    let folder = &summary.folder;
    write_whole(&folder.join("rows.csv"), &table(rows, with_seeds)?)?;
    write_whole(&folder.join("findings.json"), &serde_json::to_vec_pretty(&summary)?)?;
    draw(&folder.join("figures"), &sections)?;
    let page = page(all[0].1, &summary, settings, sections);
    write_whole(&folder.join("index.html"), page.render()?.as_bytes())?;
    Ok(summary)
}

/// Makes the folder, or sees that the one that is there has the same settings.
fn open(folder: &Path, settings: &Value) -> Result<()> {
    let file = folder.join("settings.json");
    if file.is_file() {
        let text = fs::read_to_string(&file).with_context(|| file.display().to_string())?;
        let found: Value =
            serde_json::from_str(&text).with_context(|| file.display().to_string())?;
        let empty = serde_json::Map::new();
        let asked = settings.as_object().unwrap_or(&empty);
        let other = asked.iter().find(|(key, value)| found.get(key.as_str()) != Some(value));
        if let Some((key, value)) = other {
            let found = found.get(key.as_str()).unwrap_or(&Value::Null);
            bail!(
                "{} has {key} = {found}, asked for is {value}; choose another folder with --out, or \
                 remove this one",
                folder.display()
            );
        }
        return Ok(());
    }
    if folder.exists() && fs::read_dir(folder)?.next().is_some() {
        bail!(
            "{} is no folder of an experiment and not empty; choose another with --out",
            folder.display()
        );
    }
    fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    Ok(write_whole(&file, &serde_json::to_vec_pretty(settings)?)?)
}

/// The cases that a folder holds; a half-written last line is dropped, from the file too.
fn measured<R: DeserializeOwned>(folder: &Path) -> Result<HashMap<String, Measured<R>>> {
    let file = folder.join("cases.jsonl");
    if !file.exists() {
        return Ok(HashMap::new());
    }
    let text = fs::read_to_string(&file).with_context(|| file.display().to_string())?;
    let whole = text.rfind('\n').map_or(0, |end| end + 1);
    if whole < text.len() {
        write_whole(&file, &text.as_bytes()[..whole])?;
    }
    let mut known = HashMap::new();
    for (index, line) in text[..whole].lines().enumerate() {
        let found: Measured<R> = serde_json::from_str(line)
            .with_context(|| format!("{}: line {}", file.display(), index + 1))?;
        known.insert(found.case.clone(), found);
    }
    Ok(known)
}

/// Reads a loss or an error that may be no number, which JSON writes as `null`: it is infinitely large.
pub fn or_infinite<'de, D: Deserializer<'de>>(from: D) -> Result<f64, D::Error> {
    Ok(Option::<f64>::deserialize(from)?.unwrap_or(f64::INFINITY))
}

/// Writes a case down. Gives it back as it will be read, so that a page does not depend on whether
/// the experiment was killed in between.
fn record<R: Serialize + DeserializeOwned>(
    folder: &Path,
    found: Measured<R>,
) -> Result<Measured<R>> {
    let file = folder.join("cases.jsonl");
    let mut line = serde_json::to_string(&found)?;
    let found = serde_json::from_str(&line).context("a row reads what it has written")?;
    line.push('\n');
    let place = || file.display().to_string();
    let mut open = OpenOptions::new().create(true).append(true).open(&file).with_context(place)?;
    open.write_all(line.as_bytes()).with_context(place)?;
    Ok(found)
}

/// All rows; where there are several seeds, the first column tells them.
fn table<R: Serialize>(all: &[(u64, Vec<R>)], with_seeds: bool) -> Result<Vec<u8>> {
    let mut whole = csv::Writer::from_writer(Vec::new());
    for (seed, rows) in all {
        let mut own = csv::Writer::from_writer(Vec::new());
        for row in rows {
            own.serialize(row).context("rows are flat")?;
        }
        let own = own.into_inner()?;
        let lines =
            csv::ReaderBuilder::new().has_headers(false).from_reader(&own[..]).into_records();
        // Only the first seed's head is needed.
        let skipped = usize::from(*seed != all[0].0);
        for (number, line) in lines.enumerate().skip(skipped) {
            let first =
                with_seeds.then(|| if number == 0 { "seed".into() } else { seed.to_string() });
            let line = line?;
            whole.write_record(first.as_deref().into_iter().chain(line.iter()))?;
        }
    }
    Ok(whole.into_inner()?)
}

/// Every chart as an image of its own, named by its place on the page and its title.
fn draw(folder: &Path, sections: &[Section]) -> Result<()> {
    fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    let parts = sections.iter().flat_map(|section| &section.parts);
    let figures = parts.filter_map(|part| match part {
        Part::Figures(figures) | Part::Small(figures) => Some(figures),
        _ => None,
    });
    for (number, figure) in figures.flatten().enumerate() {
        let Some(svg) = figure.standalone() else { continue };
        let name: String = (figure.title.chars())
            .map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' })
            .collect();
        let words: Vec<&str> = name.split('-').filter(|word| !word.is_empty()).collect();
        let file = format!("{:02}-{}.svg", number + 1, words.join("-"));
        write_whole(&folder.join(file), svg.as_bytes())?;
    }
    Ok(())
}

fn page<E: Experiment>(
    experiment: &E,
    summary: &Summary,
    settings: &Value,
    sections: Vec<Section>,
) -> Page {
    let (title, about) = experiment.title();
    let mut all =
        vec![Section { title: "Claims".into(), parts: vec![Part::Claims(summary.claims.clone())] }];
    all.extend(sections);
    let mut rows: Vec<Vec<Text>> = Vec::new();
    for (key, value) in settings.as_object().into_iter().flatten() {
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        rows.push(vec![key.clone().into(), value.into()]);
    }
    rows.push(vec!["seconds of measuring".into(), format!("{:.0}", summary.seconds).into()]);
    rows.push(vec!["threads".into(), summary.threads.to_string().into()]);
    let files = "rows.csv holds every number of this page, findings.json the claims.";
    let table = Table { head: vec!["setting".into(), "value".into()], rows, ..Table::default() };
    let parts = vec![Part::Table(table), Part::Text(files.into())];
    all.push(Section { title: "Settings".into(), parts });
    Page { title, about, sections: all }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;

    /// A gradient that is lost may have no error that is a number.
    #[test]
    fn what_is_no_number_is_infinitely_large_once_it_is_written_down() {
        #[derive(Serialize, Deserialize)]
        struct Lost {
            #[serde(deserialize_with = "or_infinite")]
            error: f64,
        }
        for error in [f64::NAN, f64::INFINITY] {
            let folder = tempfile::tempdir().expect("a folder");
            let case = "lost".to_owned();
            let found = Measured { case, seconds: 1.0, rows: vec![Lost { error }] };
            let read = record(folder.path(), found).expect("written down");
            assert_eq!(read.rows[0].error, f64::INFINITY);
        }
    }

    /// Squares of numbers; remembers what it measured.
    #[derive(Default)]
    struct Squares {
        measured: RefCell<Vec<u32>>,
        fails_at: Option<u32>,
    }

    #[derive(Serialize, Deserialize)]
    struct Row {
        number: u32,
        square: u32,
    }

    impl Experiment for Squares {
        type Case = u32;
        type Row = Row;
        type Settings = ();

        const NAME: &'static str = "squares";

        fn title(&self) -> (Text, Text) {
            ("Squares".into(), "Are they?".into())
        }

        fn settings(&self) {}

        fn cases(&self) -> Vec<u32> {
            vec![1, 2, 3]
        }

        fn key(&self, case: &u32) -> String {
            format!("number {case}")
        }

        fn measure(&self, case: &u32, _scratch: &Path) -> Result<Vec<Row>> {
            if self.fails_at == Some(*case) {
                bail!("broken");
            }
            self.measured.borrow_mut().push(*case);
            Ok(vec![Row { number: *case, square: case * case }])
        }

        fn findings(&self, rows: &[Row]) -> Result<Findings> {
            let sum: u32 = rows.iter().map(|row| row.square).sum();
            let claim = crate::experiment::within("their sum", f64::from(sum), 14.0..=14.0);
            Ok(Findings { claims: vec![claim], sections: Vec::new() })
        }
    }

    #[test]
    fn a_killed_experiment_measures_only_what_is_missing() {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path().join("squares");
        let broken = Squares { fails_at: Some(3), ..Squares::default() };
        let error = run(&broken, Size::Quick, 1, Some(&at)).err().expect("case 3 fails");
        assert_eq!(format!("{error:#}"), "number 3: broken");
        // A kill leaves half a line.
        let file = at.join("cases.jsonl");
        let text = fs::read_to_string(&file).unwrap();
        fs::write(&file, format!("{text}{{\"case\":\"numb")).unwrap();
        let again = Squares::default();
        let summary = run(&again, Size::Quick, 1, Some(&at)).unwrap();
        assert_eq!(*again.measured.borrow(), [3]);
        assert!(summary.holds, "{summary}");
        let rows = fs::read_to_string(at.join("rows.csv")).unwrap();
        assert_eq!(rows, "number,square\n1,1\n2,4\n3,9\n");
        for file in ["settings.json", "findings.json", "index.html"] {
            assert!(at.join(file).is_file(), "{file}");
        }
    }

    #[test]
    fn a_folder_of_other_settings_or_of_something_else_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path().join("squares");
        run(&Squares::default(), Size::Quick, 1, Some(&at)).unwrap();
        let error = run(&Squares::default(), Size::Quick, 2, Some(&at)).err().expect("a mismatch");
        assert!(error.to_string().contains("has seed = 1, asked for is 2"), "{error}");
        let error = run(&Squares::default(), Size::Full, 1, Some(&at)).err().expect("a mismatch");
        assert!(error.to_string().contains("size"), "{error}");
        fs::write(folder.path().join("letter.txt"), "dear").unwrap();
        let error = run(&Squares::default(), Size::Quick, 1, Some(folder.path())).err();
        assert!(error.expect("a foreign folder").to_string().contains("not empty"));
    }

    #[test]
    fn a_claim_that_does_not_hold_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path().join("squares");
        run(&Squares::default(), Size::Quick, 1, Some(&at)).unwrap();
        let file = at.join("cases.jsonl");
        let text = fs::read_to_string(&file).unwrap().replace("\"square\":9", "\"square\":8");
        fs::write(&file, text).unwrap();
        let summary = run(&Squares::default(), Size::Quick, 1, Some(&at)).unwrap();
        assert!(!summary.holds);
        assert!(summary.to_string().starts_with("FAIL  their sum: 13.0"), "{summary}");
        assert!(fs::read_to_string(at.join("index.html")).unwrap().contains(">FAIL<"));
    }
}
