//! What each column of a table is: a feature of numbers or categories, the target, or nothing. Where a survey
//! leaves doubt, the user is asked.

use super::asked::Asked;
use super::fault::TableFault;
use super::format::{Feature, FeatureKind, TableFormat, TargetColumn};
use super::names;
use super::separator::Decimal;
use super::survey::{Index, MOST_CATEGORIES, Seen, Survey, may_be_index};
use crate::data::{CellFault, DataError, Options, Task};

/// Most categories of a column that nobody named.
const MOST_UNNAMED: usize = 64;
/// From so many different values on, most of them come twice at least, or they are no classes.
const FEW: usize = 10;
/// Most classes that are whole numbers, unless they are numbered without gaps.
const MOST_NUMBERED: usize = 30;

/// What was understood of a table.
pub(super) struct Understood {
    pub(super) format: TableFormat,
    /// The classes; none in regression.
    pub(super) classes: Option<Vec<String>>,
    /// Columns that are left out, with the reason.
    pub(super) left_out: Vec<String>,
    /// Columns that may be meant to be left out.
    pub(super) doubtful: Vec<String>,
}

/// Decides what each column is.
pub(super) fn understand(
    survey: &Survey,
    header: bool,
    decimal: Decimal,
    asked: &Asked,
    options: &Options,
) -> Result<Understood, DataError> {
    let reader = Reader { survey, header, decimal, asked, options };
    let mut left_out: Vec<String> = asked.dropped.iter().map(|&index| reader.told(index)).collect();
    let index = reader.index()?;
    left_out.extend(index.map(|index| format!("{} (counts the rows)", reader.told(index))));
    let kept = |place: &usize| !asked.dropped.contains(place) && Some(*place) != index;
    let kept: Vec<usize> = (0..survey.columns.len()).filter(kept).collect();
    if kept.len() < 2 {
        return survey.fault(TableFault::TooFewColumns { found: kept.len() });
    }
    for &index in &kept {
        reader.check_empty(index)?;
    }
    let mut features = Vec::new();
    for &index in kept.iter().filter(|index| **index != asked.target) {
        let kind = reader.kind(index)?;
        features.push(Feature { place: index + 1, name: reader.name(index), kind });
    }
    let counts = |feature: &&Feature| survey.columns[feature.place - 1].counts_rows(survey.rows);
    let doubtful = features.iter().filter(counts).map(|feature| reader.told(feature.place - 1));
    let doubtful = doubtful.collect();
    let classes = match options.task {
        Some(Task::Regression) => None,
        task => Some(reader.classes(asked.target, task.is_none())?),
    };
    let format = TableFormat {
        separator: survey.separator,
        decimal,
        header,
        columns: survey.columns.len(),
        features,
        target: TargetColumn { place: asked.target + 1, name: reader.name(asked.target) },
    };
    Ok(Understood { format, classes, left_out, doubtful })
}

struct Reader<'a> {
    survey: &'a Survey,
    header: bool,
    decimal: Decimal,
    asked: &'a Asked,
    options: &'a Options,
}

impl Reader<'_> {
    fn seen(&self, index: usize) -> &Seen {
        &self.survey.columns[index]
    }

    fn name(&self, index: usize) -> Option<String> {
        let name = &self.survey.first.1[index];
        (self.header && !name.is_empty()).then(|| name.to_owned())
    }

    fn told(&self, index: usize) -> String {
        match self.name(index) {
            Some(name) => format!("{:?}", name.chars().take(60).collect::<String>()),
            None => format!("column {}", index + 1),
        }
    }

    /// The first column, where it is an index that somebody's program wrote.
    fn index(&self) -> Result<Option<usize>, DataError> {
        let named = self.asked.categories.iter().flatten().any(|&index| index == 0);
        if !self.header || named || self.asked.target == 0 || self.asked.dropped.contains(&0) {
            return Ok(None);
        }
        let first = &self.survey.first.1[0];
        match &self.seen(0).index {
            Index::Distinct(_) if may_be_index(Some(first)) => Ok(Some(0)),
            _ if first.is_empty() && self.seen(0).missing < self.survey.rows => {
                self.survey.fault(TableFault::Unnamed)
            }
            _ => Ok(None),
        }
    }

    fn check_empty(&self, index: usize) -> Result<(), DataError> {
        let (seen, rows) = (self.seen(index), self.survey.rows);
        if seen.missing < rows {
            return Ok(());
        }
        let last = index + 1 == self.survey.columns.len();
        let ends = last && seen.empty == rows && self.name(index).is_none();
        let cause = if ends { ": every line ends in what separates columns" } else { "" };
        self.survey.fault(TableFault::Empty { column: self.told(index), place: index + 1, cause })
    }

    /// How a feature's cells become numbers.
    fn kind(&self, index: usize) -> Result<FeatureKind, DataError> {
        let seen = self.seen(index);
        let (numbers, texts) = (seen.numbers(self.decimal), seen.texts(self.decimal));
        let insisted = self.asked.categories.iter().flatten().any(|&asked| asked == index);
        let (column, place) = (self.told(index), index + 1);
        if insisted {
            return self.categories(index, MOST_CATEGORIES, "");
        }
        let Some((line, value)) = seen.first_text(self.decimal).filter(|_| texts > 0).cloned()
        else {
            return Ok(FeatureKind::Numbers { fill: None });
        };
        if numbers > 0 {
            return self.survey.fault(TableFault::Mixed { line, value, column, place });
        }
        if self.options.categorical.is_some() {
            return self.survey.fault(TableFault::Text { line, value, column, place });
        }
        let most = match (texts / 2) as usize {
            half if half < FEW => FEW,
            half => half.min(MOST_UNNAMED),
        };
        self.categories(index, most, ", data.categorical names columns that have more")
    }

    fn categories(
        &self,
        index: usize,
        most: usize,
        insist: &'static str,
    ) -> Result<FeatureKind, DataError> {
        let words = &self.seen(index).words;
        let names = names::sorted(&words.seen, self.decimal);
        if words.many || names.len() > most {
            let (column, place) = (self.told(index), index + 1);
            let (found, rows) = (words.told(), self.survey.rows);
            let fault = TableFault::Categories { column, place, found, rows, most, insist };
            return self.survey.fault(fault);
        }
        Ok(FeatureKind::Categories { names, fill: None })
    }

    /// The classes of the target. `doubt` says whether it may have been meant as a number.
    fn classes(&self, index: usize, doubt: bool) -> Result<Vec<String>, DataError> {
        let (seen, rows) = (self.seen(index), self.survey.rows);
        let texts = seen.texts(self.decimal) > 0;
        if let Some((line, value)) = seen.first_fraction().filter(|_| !texts) {
            let (file, fault) = (self.survey.file.clone(), CellFault::NotAClass);
            let (line, value) = (*line, value.clone());
            return Err(DataError::BadCell { file, line, column: index + 1, value, fault });
        }
        let names = names::sorted(&seen.words.seen, self.decimal);
        let column = self.told(index);
        let many = |what, instead| {
            let found = seen.words.told();
            let column = column.clone();
            self.survey.fault(TableFault::ManyClasses { column, found, what, rows, instead })
        };
        let mostly_once = names.len() > FEW && 2 * names.len() as u64 > rows;
        let numbered = |from: i64| names.iter().zip(from..).all(|(name, n)| *name == n.to_string());
        let gapless = numbered(0) || numbered(1);
        let numbers = !texts
            && (mostly_once
                || names.len() > MOST_NUMBERED && !(gapless && 10 * names.len() as u64 <= rows));
        match &names[..] {
            _ if seen.words.many => many("values", "data.target names another column"),
            _ if numbers && doubt => many(
                "whole numbers",
                "for real values set data.task = \"regression\"; data.task = \"classification\" insists",
            ),
            _ if mostly_once && doubt => many(
                "texts",
                "data.target names another column; data.task = \"classification\" insists",
            ),
            [class] => {
                let class = class.clone();
                self.survey.fault(TableFault::OneClass { column, class })
            }
            _ => Ok(names),
        }
    }
}
