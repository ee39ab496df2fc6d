//! Tables.

use super::*;

#[test]
fn a_table_has_its_classes_in_the_last_column_sorted() {
    let folder = table("5.1, 3.5,setosa\n4.9,-3e-1,virginica\n\n7,1,setosa");
    let splits = load_table(&folder, Task::Classification).unwrap();
    assert_eq!(splits.name, "table");
    assert_eq!(splits.train.shape(), Shape::table(2));
    assert_eq!(splits.train.inputs(), &Inputs::Floats(vec![5.1, 3.5, 4.9, -0.3, 7.0, 1.0]));
    assert_eq!(
        (labels(&splits.train), names(&splits.train)),
        (&[0, 1, 0][..], &["setosa".to_owned(), "virginica".to_owned()][..])
    );
}

#[test]
fn whole_number_classes_are_in_numerical_order_however_they_are_written() {
    let splits = load_table(&table("1,10\n2,9\n3,9.0\n4,-1\n"), Task::Classification).unwrap();
    assert_eq!(names(&splits.train), ["-1", "9", "10"]);
    assert_eq!(labels(&splits.train), [2, 1, 1, 0]);
    let mixed = load_table(&table("1,10\n2,9\n3,9.5\n4,b\n"), Task::Classification).unwrap();
    assert_eq!(names(&mixed.train), ["10", "9", "9.5", "b"]);
}

#[test]
fn a_regression_normalises_its_targets_and_restores_them() {
    let folder = table("a,b,target\n1,2,10\n2,2,30\n3,2,80\n");
    let splits = load_table(&folder, Task::Regression).unwrap();
    assert_eq!(splits.train.targets(), &Targets::Values(vec![10.0, 30.0, 80.0]));
    let scale = splits.normalisation.target.unwrap();
    assert_eq!(scale.mean, 40.0);
    let batch = batch(&splits.train, &[2, 0], &splits.normalisation, None).unwrap();
    let BatchTargets::Values(values) = &batch.targets else { panic!("labels") };
    assert!((scale.restore(values[0]) - 80.0).abs() < 1e-5);
    assert!((scale.restore(values[1]) - 10.0).abs() < 1e-5);
    // The second feature is constant: it becomes 0.
    assert_eq!((batch.inputs[1], batch.inputs[3]), (0.0, 0.0));
}

#[test]
fn a_bad_cell_names_file_line_column_and_value() {
    let missing = "a missing value; data.missing = \"median\" fills it in, data.missing = \"drop\" leaves out \
                   the line";
    let class = "expected a class (text or a whole number); \
                 for a real-valued target use task = \"regression\"";
    let cases = [
        ("1,2,a\n3,?,b\n", Task::Classification, format!("line 2, column 2: \"?\": {missing}")),
        ("1,2,a\n\n3,,b\n", Task::Classification, format!("line 3, column 2: \"\": {missing}")),
        (
            "1,2,a\n3,4,?\n5,6,b\n",
            Task::Classification,
            format!("line 2, column 3: \"?\": {missing}"),
        ),
        ("1,2,3\n3,4,x\n", Task::Regression, "line 2, column 3: \"x\": expected a number".into()),
        ("1,2,3\n3,4,0.5\n", Task::Classification, format!("line 2, column 3: \"0.5\": {class}")),
        ("1,2,3\n3,4,NaN\n", Task::Regression, format!("line 2, column 3: \"NaN\": {missing}")),
        (
            "1,2,3\n3,1e309,4\n",
            Task::Regression,
            "line 2, column 2: \"1e309\": expected a finite number".into(),
        ),
        ("a,b\n", Task::Regression, "holds no samples".into()),
        ("", Task::Regression, "holds no samples".into()),
    ];
    for (text, task, expected) in cases {
        let folder = table(text);
        let message = complaint(load_table(&folder, task), &folder);
        let message = message.strip_prefix("table.csv: ").unwrap();
        assert_eq!(message, expected, "{text:?}");
    }
}

#[test]
fn a_table_may_be_gzipped_and_a_cut_one_names_the_line() {
    // Numbers that do not compress well, so that many lines stand before the cut.
    let text: String = (0..2000u64)
        .map(|line| format!("{},{},k{}\n", line * line % 9973, line * 7919 % 10_007, line % 3))
        .collect();
    let whole = gzip(text.as_bytes());
    let good = folder(&[("t.csv.gz", whole.clone())]);
    let splits = load(&all(&good.path().join("t.csv.gz"))).unwrap();
    assert_eq!((splits.name.as_str(), splits.train.len()), ("t", 2000));

    let cut = folder(&[("t.csv.gz", whole[..whole.len() / 2].to_vec())]);
    let error = load(&all(&cut.path().join("t.csv.gz"))).unwrap_err();
    let DataError::Gzip { truncated: true, place: Place::Line(line), .. } = error else {
        panic!("{error}")
    };
    // The line is that of the last complete record, about the middle of the file.
    assert!((500..1500).contains(&line), "{line}");
}

#[test]
fn a_table_that_is_not_text_names_the_line() {
    let folder = folder(&[("table.csv", b"1,2,a\n3,4,\xff\n".to_vec())]);
    let message = complaint(load_table(&folder, Task::Classification), &folder);
    assert_eq!(
        message,
        "table.csv: line 2: is not UTF-8 text (nor whole UTF-16 with its mark); save the file as UTF-8"
    );
}

#[test]
fn an_offset_of_a_column_or_of_the_target_costs_no_digits() {
    // Coordinates in metres within 2 m of each other, and a target in seconds since 1970.
    let rows = |north: f64, begin: f64| {
        let mut text = "north,target\n".to_owned();
        for index in 0..500u32 {
            let (a, b) = (
                f64::from(index * 7919 % 2003) / 1000.0,
                f64::from(index * 104_729 % 40_009) / 1000.0,
            );
            text += &format!("{:.3},{:.3}\n", north + a, begin + b);
        }
        let splits = load_table(&table(&text), Task::Regression).unwrap();
        let all: Vec<u32> = (0..500).collect();
        let batch = batch(&splits.train, &all, &splits.normalisation, None).unwrap();
        let BatchTargets::Values(values) = batch.targets else { panic!("labels") };
        (batch.inputs, values, splits.normalisation.target.unwrap())
    };
    let (near, far) = (rows(0.0, 0.0), rows(5_400_000.0, 1.7e9));
    // A millionth of a spread is what the digits of the file tell; in single precision it was a quarter
    // of one, and 128 seconds of 40.
    for (near, far) in near.0.iter().zip(&far.0).chain(near.1.iter().zip(&far.1)) {
        assert!((near - far).abs() < 2e-6, "{near} {far}");
    }
    // Outputs go back into the file's units with all digits: a second is not lost.
    let restored = far.2.restore(far.1[3]);
    assert!((restored - (1.7e9 + 3.0 * 104_729.0 % 40_009.0 / 1000.0)).abs() < 1e-4, "{restored}");
}

#[test]
fn a_number_too_large_for_a_network_is_named_with_its_sample() {
    let splits = load_table(&table("1,2,5\n2,3,6\n"), Task::Regression).unwrap();
    let mut normalisation = splits.normalisation.clone();
    normalisation.std[1] = 1e-300;
    let message = batch(&splits.train, &[1], &normalisation, None).unwrap_err().to_string();
    assert!(message.starts_with("sample 1: input 2 is beyond single precision"), "{message}");
    normalisation.std[1] = 1.0;
    normalisation.target = Some(TargetScale { mean: 0.0, std: 1e-200 });
    let message = batch(&splits.train, &[0], &normalisation, None).unwrap_err().to_string();
    assert!(message.starts_with("sample 0: the target is beyond"), "{message}");
}
