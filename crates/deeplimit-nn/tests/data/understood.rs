//! What is understood of tables that say little of themselves, and what is asked.

use super::*;

/// Loads the table with settings as a configuration file has them, all rows to train on.
fn read(folder: &TempDir, settings: &str) -> Result<Splits, DataError> {
    let asked: Options = toml::from_str(settings).expect(settings);
    let none = HeldOut::Count(0);
    let path = Some(folder.path().join("table.csv"));
    load(&Options { source: Source::Csv, path, validation: none, test: Some(none), ..asked })
}

fn read_text(text: &str, settings: &str) -> Splits {
    read(&table(text), settings).unwrap_or_else(|error| panic!("{text:?}: {error}"))
}

/// The error without the file's name.
fn refused(text: &str, settings: &str) -> String {
    let folder = table(text);
    let message = complaint(read(&folder, settings), &folder);
    message.strip_prefix("table.csv: ").expect("the file's name").to_owned()
}

fn floats(samples: &Samples) -> &[f64] {
    let Inputs::Floats(values) = samples.inputs() else { panic!("no numbers") };
    values
}

fn format(splits: &Splits) -> &TableFormat {
    splits.table.as_ref().expect("a table")
}

/// Lines of a table of three classes in two numbers.
fn flowers(lines: usize) -> Vec<String> {
    let line = |index: usize| {
        let (a, b) = (index * 37 % 101, index * 61 % 89);
        format!("{}.{},{}.5,kind{}", a / 10, a % 10, b, index % 3)
    };
    (0..lines).map(line).collect()
}

#[test]
fn a_header_is_seen_where_there_is_no_doubt() {
    let rows = flowers(30).join("\n");
    let indexed: Vec<String> =
        flowers(30).iter().enumerate().map(|(index, line)| format!("{index},{line}")).collect();
    let indexed = indexed.join("\n");
    for (text, header, features) in [
        (format!("length,width,kind\n{rows}"), true, &["length", "width"][..]),
        (format!("\u{feff}length,width,kind\n{rows}"), true, &["length", "width"]),
        (rows.clone(), false, &["column 1", "column 2"]),
        // What pandas writes for columns without names: numbers.
        (format!("0,1,2\n{rows}"), true, &["0", "1"]),
        (format!(",0,1,2\n{indexed}"), true, &["0", "1"]),
        // An index without a name is left out.
        (format!(",length,width,kind\n{indexed}"), true, &["length", "width"]),
        (format!("Unnamed: 0,length,width,kind\n{indexed}"), true, &["length", "width"]),
        // Texts alone: what comes again below is no name.
        (
            "shape,colour,kind\nr,x,a\ns,y,b\nr,y,a\ns,x,b\nr,x,b\ns,x,a\n".into(),
            true,
            &["shape", "colour"],
        ),
        ("r,x,a\ns,y,b\nr,y,a\ns,x,b\nr,x,b\ns,x,a\n".into(), false, &["column 1", "column 2"]),
    ] {
        let splits = read_text(&text, "");
        assert_eq!(format(&splits).header, header, "{text:.60}");
        assert_eq!(format(&splits).feature_names(), features, "{text:.60}");
        assert_eq!(splits.train.len(), if text.contains("kind0") { 30 } else { 6 });
    }
    let index = &read_text(&format!(",length,width,kind\n{indexed}"), "").told;
    assert!(index.iter().any(|line| line == "left out: column 1 (counts the rows)"), "{index:?}");
}

#[test]
fn a_doubtful_header_is_asked_for() {
    let rows = "0.5,1,2\n1.5,2,3\n".repeat(10);
    for (first, reason) in [
        ("0,1,2", "it counts the columns: 0, 1, 2, …"),
        (
            "x,2,3",
            "\"x\" in column 1 is a text over numbers, but \"2\" in column 2 is a number over numbers",
        ),
        (
            "x,NA,y",
            "\"x\" in column 1 is a text over numbers, but \"NA\" in column 2 is a missing value",
        ),
    ] {
        let text = format!("{first}\n{rows}");
        let asked = "data.header = true or false says which";
        let expected = format!("line 1 could name the columns or be a sample: {reason}; {asked}");
        assert_eq!(refused(&text, "task = 'regression'"), expected);
        let named = read_text(&text, "task = 'regression'\nheader = true");
        assert_eq!((named.train.len(), format(&named).header), (20, true));
    }
    let sample = read_text(&format!("0,1,2\n{rows}"), "task = 'regression'\nheader = false");
    assert_eq!((sample.train.len(), floats(&sample.train)[..2].to_vec()), (21, vec![0.0, 1.0]));
    // Years over numbers, beside a name that no row has.
    let years = "country,2019,2020\n".to_owned() + &"DE,1.5,2\nFR,1.25,3\n".repeat(5);
    assert!(refused(&years, "task = 'regression'").contains("\"country\" in column 1 does not"));
    // Naming a column says that there are names.
    let named = read_text(&years, "task = 'regression'\ntarget = '2019'");
    assert_eq!((named.train.len(), format(&named).target_name()), (10, "2019".to_owned()));
    let twice = "a,b,c\n1,2,x\n3,4,y\na,b,c\n5,6,x\n";
    assert_eq!(refused(twice, ""), "line 4 repeats the header; remove the line");
}

#[test]
fn target_and_columns_to_leave_out_go_by_name_or_number() {
    let text = "id,kind,length,width\n7,a,1,2\n9,b,3,5\n4,a,6,8\n";
    for settings in [
        "target = 'kind'\ndrop = ['id']",
        "target = 2\ndrop = 1",
        "target = -3\ndrop = [-4]",
        "target = 2\ndrop = 'id'",
    ] {
        let splits = read_text(text, settings);
        assert_eq!(floats(&splits.train), [1.0, 2.0, 3.0, 5.0, 6.0, 8.0], "{settings}");
        assert_eq!(labels(&splits.train), [0, 1, 0]);
        assert_eq!(format(&splits).feature_names(), ["length", "width"]);
        assert!(splits.told.contains(&"left out: \"id\"".to_owned()), "{:?}", splits.told);
    }
    // The target is the last of the columns that stay.
    let splits = read_text("1,a,9\n2,b,8\n", "drop = -1");
    assert_eq!((floats(&splits.train), names(&splits.train).len()), (&[1.0, 2.0][..], 2));
    for (settings, expected) in [
        ("target = 'sort'", "data.target: no column \"sort\"; there are \"id\", \"kind\""),
        ("target = 5", "data.target: no column 5; there are columns 1 to 4"),
        ("drop = [0]", "data.drop: no column 0; there are columns 1 to 4"),
        ("target = 2\ndrop = ['kind']", "data.drop names \"kind\", which data.target names, too"),
        ("drop = [1, 2, 3]", "1 column(s), expected features and a target"),
        (
            "header = false\ntarget = 'kind'",
            "data.target: no column \"kind\"; there are columns 1 to 4, which",
        ),
    ] {
        let message = refused(text, settings);
        assert!(message.starts_with(expected), "{message}");
    }
    let message = refused("a,a,b\n1,2,x\n2,3,y\n", "target = 'a'");
    assert!(message.contains("columns 1 and 2 are both called \"a\""), "{message}");
}

#[test]
fn columns_without_a_value_or_a_name_are_named() {
    let rows = flowers(12);
    let trailing = format!("length,width,kind,\n{},", rows.join(",\n"));
    assert_eq!(
        refused(&trailing, ""),
        "column 4 is empty throughout: every line ends in what separates columns; data.drop = [4] leaves it out"
    );
    let splits = read_text(&trailing, "drop = 4");
    assert_eq!((names(&splits.train).len(), splits.train.shape()), (3, Shape::table(2)));
    let message = refused("a,b,c\n1,NA,x\n2,,y\n", "");
    assert_eq!(message, "\"b\" is empty throughout; data.drop = [2] leaves it out");
    let cars = ",power,kind\nMazda,1,a\nDatsun,2,b\n";
    assert!(refused(cars, "").starts_with("column 1 has no name, as if it named the rows"));
    assert_eq!(read_text(cars, "drop = 1").train.len(), 2);
    // A column that counts the rows may be meant; it is told.
    let counted: String =
        (0..20).map(|index| format!("{index},{},k{}\n", index * 7 % 5, index % 2)).collect();
    let told = read_text(&counted, "").told;
    assert!(
        told.contains(&"column 1 only counts the rows: data.drop leaves it out".to_owned()),
        "{told:?}"
    );
}

#[test]
fn lines_of_another_width_say_what_may_have_happened() {
    for (text, cause) in [
        (
            "a,b,k\n1,2,x\n3,4,y\n5,6,x\n# exported today\n",
            "line 5: 1 column(s), expected 3 as in the first line; \"# exported today\" looks like a comment",
        ),
        (
            "# by hand\na,b,k\n1,2,x\n3,4,y\n5,6,x\n",
            "line 2: 3 column(s), expected 1 as in the first line; that line looks like a comment",
        ),
        ("a,b,k\n1,2,x,\n3,4,y,\n5,6,x,\n", "this line ends in \",\""),
        ("a,b,k\n1,2,x\n3,4,y\n5,6,x\n\"7,8,y\n9,9,x\n", "is a quote not closed?"),
        ("a,b\n1,2,x\n3,4,y\n5,6,x\n", "does the header lack a name"),
        ("a,b,k\n1,2,x\n3,4,y\n5,6,x\n1,2,3,4,5\n", "part of a text without quotes?"),
    ] {
        let message = refused(text, "");
        assert!(message.contains(cause), "{message}");
    }
}

#[test]
fn separators_decimal_commas_encodings_and_line_ends_are_found_out() {
    let plain = read_text("length,width,kind\n5.1,-3.25,a\n4.9,0.5,b\n7,1.5,a\n", "");
    let same = |bytes: &[u8], settings: &str| {
        let folder = folder(&[("table.csv", bytes.to_vec())]);
        let splits = read(&folder, settings).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(splits.train, plain.train, "{}", String::from_utf8_lossy(bytes));
    };
    let german = "length;width;kind\n5,1;-3,25;a\n4,9;0,5;b\n7;1,5;a\n";
    same(german.as_bytes(), "");
    same(german.replace(';', "\t").as_bytes(), "");
    same(german.replace(',', ".").replace(';', "|").as_bytes(), "");
    same(german.replace(',', ".").replace(';', "  ").as_bytes(), "");
    same(german.replace('\n', "\r").as_bytes(), "");
    same(format!("sep=;\n{german}").as_bytes(), "");
    same(
        format!("length;width;kind\n{}", &german[18..]).as_bytes(),
        "separator = ';'\ndecimal = ','",
    );
    let wide: Vec<u8> =
        format!("\u{feff}{german}").encode_utf16().flat_map(u16::to_le_bytes).collect();
    same(&wide, "");
    // Quoted, between commas.
    same(b"length,width,kind\n\"5,1\",\"-3,25\",a\n\"4,9\",\"0,5\",b\n7,\"1,5\",a\n", "");

    let one = read_text("5,1;1\n4,9;0\n", "");
    assert_eq!((floats(&one.train), labels(&one.train)), (&[5.1, 4.9][..], &[1, 0][..]));
    let grouped = "sqm;price;kind\n1,200;5;a\n3,500;7;b\n";
    assert!(
        refused(grouped, "")
            .contains("\"1,200\" could have a decimal comma, or a comma between thousands")
    );
    assert_eq!(floats(&read_text(grouped, "decimal = ','").train)[0], 1.2);
    let both = "a;b;k\n1,5;2.5;x\n2,5;3.5;y\n";
    assert!(
        refused(both, "")
            .contains("line 2: \"1,5\" has a decimal comma, line 2: \"2.5\" a decimal point")
    );
    assert!(
        refused("a b,c;1\nd e,f;2\n", "")
            .contains("separated by \",\" or by \";\"; data.separator")
    );
    assert!(refused("one\ntwo\n", "").contains("data.separator"));
    let error = toml::from_str::<Options>("separator = 'semi'").unwrap_err().to_string();
    assert!(
        error.contains("no separator \"semi\"; expected \"auto\", \",\", \";\", \"tab\""),
        "{error}"
    );
}

#[test]
fn a_target_that_is_hardly_a_class_is_asked_for() {
    let prices: String =
        (0..40).map(|row| format!("{row}.5,{}\n", 100_000 + row * 7919 % 40)).collect();
    assert_eq!(
        refused(&prices, ""),
        "target column 2: 40 different whole numbers in 40 lines are hardly classes; for real values set \
         data.task = \"regression\"; data.task = \"classification\" insists"
    );
    assert_eq!(read_text(&prices, "task = 'classification'").train.classes(), Some(40));
    assert_eq!(read_text(&prices, "task = 'regression'").train.classes(), None);
    // Ages come often and are no classes; labels from 0 on without gaps are.
    let ages: String = (0..2000).map(|row| format!("{row}.5,{}\n", 18 + row % 40)).collect();
    assert!(refused(&ages, "").contains("40 different whole numbers in 2000 lines"));
    let digits: String = (0..2000).map(|row| format!("{row}.5,{}\n", row % 40)).collect();
    assert_eq!(read_text(&digits, "").train.classes(), Some(40));
    let people: String = (0..40).map(|row| format!("{row}.5,person{row}\n")).collect();
    assert!(
        refused(&people, "")
            .contains("40 different texts in 40 lines are hardly classes; data.target")
    );
    let one = refused("a,b\n1,x\n2,x\n", "");
    assert!(one.starts_with("target \"b\": one class only, \"x\""), "{one}");
    let fraction = refused("a,b\n1,2\n2,2.5\n", "");
    assert!(
        fraction.contains("line 3, column 2: \"2.5\"")
            && fraction.contains("task = \"regression\"")
    );
}

#[test]
fn a_missing_target_is_no_class_whatever_it_is_called() {
    for missing in ["", "?", "NA", "N/A", "NaN", "null", "NULL", "None"] {
        let text = format!("a,b,kind\n1,2,x\n3,4,{missing}\n5,6,y\n");
        let message = refused(&text, "");
        assert!(
            message.starts_with(&format!("line 3, column 3: {missing:?}: a missing")),
            "{message}"
        );
        let message = refused(&text, "missing = 'median'");
        assert!(message.contains("a missing target cannot be filled in"), "{message}");
        let dropped = read_text(&text, "missing = 'drop'");
        assert_eq!((dropped.train.len(), names(&dropped.train).len()), (2, 2));
        assert!(dropped.told.contains(&"1 of 3 rows are left out: a value is missing".to_owned()));
    }
    assert!(
        refused("a,b,k\n,1,x\n2,,y\n", "missing = 'drop'").starts_with("all 2 lines have missing")
    );
}

#[test]
fn medians_are_of_the_training_part_and_kept() {
    // Rows 0 … 59 of which every fifth misses a value or a category.
    let line = |row: usize| match row % 5 {
        0 => format!("?,NA,{row}\n"),
        _ => format!("{row},{},{row}\n", if row.is_multiple_of(3) { "rare" } else { "usual" }),
    };
    let text: String = (0..60).map(line).collect();
    let folder = table(&text);
    let path = Some(folder.path().join("table.csv"));
    let options = Options {
        source: Source::Csv,
        path,
        task: Some(Task::Regression),
        missing: Missing::Median,
        normalise: Normalise::Off,
        ..Options::default()
    };
    let splits = load(&options).unwrap();
    let known = |samples: &Samples| -> Vec<f64> {
        let Targets::Values(rows) = samples.targets() else { panic!("classes") };
        rows.iter().copied().filter(|row| row % 5.0 != 0.0).collect()
    };
    let mut train = known(&splits.train);
    train.sort_by(f64::total_cmp);
    let middle = (train[(train.len() - 1) / 2] + train[train.len() / 2]) / 2.0;
    assert_eq!(format(&splits).features[0].kind, FeatureKind::Numbers { fill: Some(middle) });
    let names = vec!["rare".to_owned(), "usual".to_owned()];
    assert_eq!(format(&splits).features[1].kind, FeatureKind::Categories { names, fill: Some(1) });
    for samples in [&splits.train, &splits.validation, splits.test.as_ref().unwrap()] {
        let Targets::Values(rows) = samples.targets() else { panic!("classes") };
        let missing = floats(samples).chunks(3).zip(rows).filter(|(_, row)| **row % 5.0 == 0.0);
        missing.for_each(|(values, _)| assert_eq!(values, [middle, 0.0, 1.0]));
    }
    assert!(splits.told.iter().any(|line| line.starts_with("24 missing values are filled in")));
    // Another table is filled in with the same.
    let other = table("?,NA,1\n100,rare,2\n");
    let options = Options { path: Some(other.path().join("table.csv")), ..options };
    let whole = load_scored_by(&options, &splits.schema()).unwrap();
    assert_eq!(floats(&whole.samples), [middle, 0.0, 1.0, 100.0, 1.0, 0.0]);
}

#[test]
fn texts_are_categories_of_which_each_is_an_input() {
    let text = "sex,length,kind\nM,1,a\nF,2,b\nI,3,a\nM,4,b\n";
    let splits = read_text(text, "");
    let table = format(&splits);
    assert_eq!(table.input_names(), ["sex=F", "sex=I", "sex=M", "length"]);
    let rows =
        [[0.0, 0.0, 1.0, 1.0], [1.0, 0.0, 0.0, 2.0], [0.0, 1.0, 0.0, 3.0], [0.0, 0.0, 1.0, 4.0]];
    assert_eq!(floats(&splits.train), rows.concat());
    assert!(
        splits.told.contains(&"categories, one input each: sex (F, I, M)".to_owned()),
        "{:?}",
        splits.told
    );
    // Numbers are categories where that is asked for, in their order, however they are written.
    let numbers = read_text("code,a,kind\n10,1,x\n9,2,y\n9.0,3,x\n", "categorical = 'code'");
    assert_eq!(format(&numbers).input_names(), ["code=9", "code=10", "a"]);
    let none = refused(text, "categorical = []");
    assert!(
        none.starts_with("line 2: \"M\" in \"sex\": expected a number; data.categorical = [1]"),
        "{none}"
    );
    let mixed = refused("a,b,kind\n1,2,x\n3,4,y\n5x,6,x\n", "");
    assert!(
        mixed.starts_with("line 4: \"5x\" in \"a\": expected a number as in other lines"),
        "{mixed}"
    );
    assert_eq!(
        format(&read_text("a,b,kind\n1,2,x\n3,4,y\n5x,6,x\n", "categorical = [1]")).inputs(),
        4
    );
    let many: String = (0..90).map(|row| format!("name{row},{row},k{}\n", row % 2)).collect();
    let message = refused(&many, "");
    assert!(
        message.starts_with("column 1: 90 different texts in 90 lines, expected at most 45"),
        "{message}"
    );
    assert_eq!(format(&read_text(&many, "categorical = [1]")).inputs(), 91);
    let message = refused(text, "target = 'sex'\ncategorical = ['sex']");
    assert_eq!(message, "data.categorical names \"sex\", which data.target names, too");
}

/// A table of one more file, by the format of a first.
fn by(splits: &Splits, text: &str, settings: &str) -> Result<Scored, String> {
    let asked: Options = toml::from_str(settings).expect(settings);
    let folder = table(text);
    let path = Some(folder.path().join("table.csv"));
    let read = load_scored_by(&Options { source: Source::Csv, path, ..asked }, &splits.schema());
    read.map_err(|error| {
        let text = error.to_string();
        assert!(!text.contains('\n'), "{text:?}");
        text.split_once("table.csv: ").expect("the file's name").1.to_owned()
    })
}

#[test]
fn another_table_is_read_whole_by_the_names_of_a_run() {
    let run = read_text("sex,length,kind\nM,1,real\nF,2.5,unreal\nI,3,real\nM,4,unreal\n", "");
    let expected = [[0.0, 1.0, 0.0, 7.5], [0.0, 0.0, 1.0, 8.0]].concat();
    for text in [
        "sex,length,kind\nI,7.5,unreal\nM,8,real\n",
        "kind,length,sex\nunreal,7.5,I\nreal,8,M\n",
        "id,kind,length,note,sex\n1,unreal,7.5,?,I\n2,real,8,x,M\n",
        "sex;length;kind\nI;7,5;unreal\nM;8;real\n",
        "I,7.5,unreal\nM,8,real\n",
    ] {
        let other = by(&run, text, "").unwrap();
        let samples = &other.samples;
        assert_eq!(floats(samples), expected, "{text}");
        assert_eq!((labels(samples), names(samples)), (&[1, 0][..], names(&run.train)));
        assert_eq!((other.part, other.schema()), (Part::Whole, run.schema()));
    }
    // A part of the classes is fine, and one alone.
    let part = by(&run, "sex,length,kind\nM,8,unreal\n", "").unwrap();
    assert_eq!(labels(&part.samples), [1]);
    let notes = by(&run, "id,kind,length,sex\n1,unreal,7.5,I\n", "").unwrap().told;
    assert!(
        notes[0].contains("another order") && notes[1].ends_with("does not take them: \"id\""),
        "{notes:?}"
    );
    for (text, expected) in [
        ("sex,length,kind\nM,1,1\nF,2,0\n", "classes 0, 1; the run has real, unreal"),
        (
            "sex,size,kind\nM,1,real\n",
            "no \"length\", which the run was trained with; the file has \"sex\", \"size\", \"kind\"",
        ),
        ("sex,length\nM,1\n", "no \"kind\", which"),
        ("M,real\nF,real\n", "2 columns, expected 3"),
        (
            "sex,length,kind\nX,1,real\n",
            "line 2: \"X\" in sex: not one of the run's categories F, I, M",
        ),
        ("sex,length,kind\nM,NA,real\n", "line 2, column 2: \"NA\": a missing value"),
    ] {
        let message = by(&run, text, "").unwrap_err();
        assert!(message.starts_with(expected), "{message}");
    }
}

#[test]
fn classes_that_sort_otherwise_are_matched_or_refused_in_images_too() {
    let files = |names: &str, labels: &[u8]| {
        let images = idx_images(labels.len() as u32, 3, 2);
        folder(&[
            ("train-images-idx3-ubyte", images),
            ("train-labels-idx1-ubyte", idx_labels(labels)),
            ("classes.txt", names.as_bytes().to_vec()),
        ])
    };
    let run = files("cat\ndog\nowl\n", &[0, 1, 2, 1]);
    let run = load(&all(run.path())).unwrap();
    let turned = files("owl\ndog\ncat\nyak\n", &[0, 1, 2]);
    let other = load_by(&all(turned.path()), &run.schema()).unwrap();
    assert_eq!((labels(&other.train), names(&other.train)), (&[2, 1, 0][..], names(&run.train)));
    let unknown = files("owl\ndog\ncat\nyak\n", &[0, 3, 2]);
    let message = load_by(&all(unknown.path()), &run.schema()).unwrap_err().to_string();
    assert!(
        message.ends_with(
            "classes owl, cat, yak; the run has cat, dog, owl, by whose names they are matched"
        ),
        "{message}"
    );
}

#[test]
fn rows_to_be_predicted_need_no_target() {
    let run = read_text("sex,length,kind\nM,1,a\nF,2.5,b\nI,3,a\nM,4,b\n", "missing = 'median'");
    let read = |text: &str| {
        let folder = table(text);
        let options = Options { missing: Missing::Median, ..Options::default() };
        table_rows(&folder.path().join("table.csv"), &options, format(&run)).unwrap()
    };
    let expected = [[0.0, 1.0, 0.0, 7.0], [0.0, 0.0, 1.0, 2.75]].concat();
    for text in [
        "length,sex\n7,I\n?,M\n",
        "I,7\nM,NA\n",
        "sex,length,kind\nI,7,\nM,,unknown\n",
        "I,7,a\nM,,a\n",
    ] {
        assert_eq!(read(text).values, expected, "{text}");
    }
    let rows = read("length,sex\n\n7,I\n?,M\n");
    assert_eq!(rows.lines, [3, 4]);
    assert_eq!(read("I,7\n").values, expected[..4]);
}
