//! Another table, read by the format of a run: columns are found by name where both have a header, by their
//! place otherwise.

use csv::StringRecord;

use super::fault::{TableFault, listed};
use super::format::TableFormat;
use super::rows::Layout;

/// Whether a first record names the columns that a format takes: then it is a header, whatever lies below.
pub(super) fn names_columns(format: &TableFormat, first: &StringRecord) -> bool {
    let mut names = format.features.iter().filter_map(|feature| feature.name.as_ref()).peekable();
    names.peek().is_some() && names.all(|name| first.iter().any(|cell| cell == name))
}

/// Finds a format's columns in a table that begins so, with what is worth saying about it. `labelled` says
/// whether the target is to be read.
pub(super) fn layout(
    format: &TableFormat,
    first: &StringRecord,
    header: bool,
    labelled: bool,
) -> Result<(Layout, Vec<String>), TableFault> {
    let named = format.features.iter().all(|feature| feature.name.is_some());
    let target_named = !labelled || format.target.name.is_some();
    match header && format.header && named && target_named && !is_alike(format, first) {
        true => by_name(format, first, labelled),
        false => by_place(format, first, header, labelled),
    }
}

/// Whether all columns lie where they lay in the run's table.
fn is_alike(format: &TableFormat, first: &StringRecord) -> bool {
    let target = (format.target.place, &format.target.name);
    let mut columns =
        format.features.iter().map(|feature| (feature.place, &feature.name)).chain([target]);
    first.len() == format.columns
        && columns.all(|(place, name)| name.as_ref().is_none_or(|name| first[place - 1] == **name))
}

fn by_name(
    format: &TableFormat,
    first: &StringRecord,
    labelled: bool,
) -> Result<(Layout, Vec<String>), TableFault> {
    let mut missing = Vec::new();
    let mut find = |name: &Option<String>| {
        let name = name.as_deref().unwrap_or_default();
        let mut places = (0..first.len()).filter(|&place| first[place] == *name);
        let found = [places.next(), places.next()];
        if let [Some(one), Some(two)] = found {
            let (name, places) = (name.to_owned(), [one + 1, two + 1]);
            return Err(TableFault::TwoColumns { option: "columns by name", name, places });
        }
        if found[0].is_none() {
            missing.push(format!("{name:?}"));
        }
        Ok(found[0].unwrap_or(0))
    };
    let features = format.features.iter().map(|feature| find(&feature.name));
    let features = features.collect::<Result<Vec<_>, _>>()?;
    let target = match labelled {
        true => Some(find(&format.target.name)?),
        false => None,
    };
    if !missing.is_empty() {
        let found = first.iter().map(|name| format!("{name:?}")).collect();
        return Err(TableFault::MissingColumns { missing, found });
    }
    let mut notes = Vec::new();
    if !features.is_sorted() {
        notes.push("columns are in another order than the run's, and are put in order".to_owned());
    }
    let extra = (0..first.len()).filter(|place| {
        let is_target = format.target.name.as_deref() == Some(&first[*place]);
        !features.contains(place) && !is_target
    });
    let extra: Vec<String> = extra
        .map(|place| match &first[place] {
            "" => format!("column {}", place + 1),
            name => format!("{name:?}"),
        })
        .collect();
    if !extra.is_empty() {
        notes.push(format!("left out, since the run does not take them: {}", listed(&extra)));
    }
    Ok((Layout { features, target }, notes))
}

fn by_place(
    format: &TableFormat,
    first: &StringRecord,
    header: bool,
    labelled: bool,
) -> Result<(Layout, Vec<String>), TableFault> {
    let (found, expected) = (first.len(), format.columns);
    // Without labels, the column of the target may be missing.
    let shifted = !labelled && found + 1 == expected;
    if found != expected && !shifted {
        let note = match (header, format.header) {
            (true, true) => "",
            (false, false) => ", neither of which has a header",
            (false, true) => "; there is no header to find them by",
            (true, false) => ", which had no header",
        };
        return Err(TableFault::OtherColumns { found, expected, note });
    }
    let place = |place: usize| place - 1 - usize::from(shifted && place > format.target.place);
    let features: Vec<usize> = format.features.iter().map(|feature| place(feature.place)).collect();
    let target = labelled.then(|| place(format.target.place));
    let mut notes = Vec::new();
    if header != format.header {
        let which = if header { "the run's table" } else { "the file" };
        notes.push(format!("{which} has no header: columns are taken by their places"));
    }
    // Where some columns have no names, those that have keep their places.
    let names = format.features.iter().zip(&features).filter(|_| header && format.header);
    let moved = names
        .filter(|(feature, at)| feature.name.as_ref().is_some_and(|name| first[**at] != **name));
    let missing: Vec<String> = moved.map(|(feature, _)| format!("{:?}", feature.told())).collect();
    if !missing.is_empty() {
        let found = first.iter().map(|name| format!("{name:?}")).collect();
        return Err(TableFault::MissingColumns { missing, found });
    }
    Ok((Layout { features, target }, notes))
}

#[cfg(test)]
mod tests {
    use super::super::format::{Feature, FeatureKind, TargetColumn};
    use super::super::separator::{Decimal, Separator};
    use super::*;

    /// Columns a, t, b (where they have names), of which t is the target.
    fn format(header: bool) -> TableFormat {
        let name = |name: &str| header.then(|| name.to_owned());
        let feature =
            |place, name| Feature { place, name, kind: FeatureKind::Numbers { fill: None } };
        TableFormat {
            separator: Separator::Comma,
            decimal: Decimal::Point,
            header,
            columns: 3,
            features: vec![feature(1, name("a")), feature(3, name("b"))],
            target: TargetColumn { place: 2, name: name("t") },
        }
    }

    fn found(
        format: &TableFormat,
        first: &[&str],
        header: bool,
        labelled: bool,
    ) -> Result<(Vec<usize>, Option<usize>, usize), String> {
        let first = StringRecord::from(first.to_vec());
        let (layout, notes) =
            layout(format, &first, header, labelled).map_err(|fault| fault.to_string())?;
        Ok((layout.features, layout.target, notes.len()))
    }

    #[test]
    fn columns_are_found_by_name_where_both_have_a_header() {
        let run = format(true);
        assert_eq!(found(&run, &["a", "t", "b"], true, true), Ok((vec![0, 2], Some(1), 0)));
        assert_eq!(found(&run, &["t", "b", "a"], true, true), Ok((vec![2, 1], Some(0), 1)));
        assert_eq!(found(&run, &["t", "x", "a", "b"], true, true), Ok((vec![2, 3], Some(0), 1)));
        assert_eq!(found(&run, &["b", "a"], true, false), Ok((vec![1, 0], None, 1)));
        assert_eq!(found(&run, &["t", "a", "b"], true, false), Ok((vec![1, 2], None, 0)));
        let message = found(&run, &["a", "u", "b"], true, true).unwrap_err();
        assert_eq!(
            message,
            "no \"t\", which the run was trained with; the file has \"a\", \"u\", \"b\""
        );
        let message = found(&run, &["a", "a", "b", "t"], true, true).unwrap_err();
        assert!(message.contains("columns 1 and 2 are both called \"a\""), "{message}");
        // Names that come twice do no harm where nothing has moved.
        let mut twice = format(true);
        twice.features[1].name = Some("a".to_owned());
        assert_eq!(found(&twice, &["a", "t", "a"], true, true), Ok((vec![0, 2], Some(1), 0)));
    }

    #[test]
    fn columns_without_names_are_found_by_place() {
        for (run, header, notes) in [(format(false), false, 0), (format(true), false, 1)] {
            assert_eq!(
                found(&run, &["1", "x", "2"], header, true),
                Ok((vec![0, 2], Some(1), notes))
            );
            assert_eq!(found(&run, &["1", "2"], header, false), Ok((vec![0, 1], None, notes)));
            let message = found(&run, &["1", "2"], header, true).unwrap_err();
            assert!(message.starts_with("2 columns, expected 3"), "{message}");
        }
        assert_eq!(
            found(&format(false), &["p", "q", "r"], true, true),
            Ok((vec![0, 2], Some(1), 1))
        );
    }
}
