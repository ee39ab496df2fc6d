//! Rows of tables, predicted by the names of their columns.

use super::predict::{bands, image, number, png, refused, rows, told};
use serde_json::Value;
use std::fs;

/// A table with a header: a category and two numbers, of which the class and the price follow.
fn flowers(range: std::ops::Range<usize>) -> Vec<[String; 5]> {
    let row = |i: usize| {
        let (kind, a, b) = (["red", "blue"][i % 2], (i * 7 % 13) as f64, (i * 5 % 11) as f64);
        let class =
            if a + if kind == "red" { 4.0 } else { 0.0 } > b + 3.0 { "rose" } else { "iris" };
        let price = 1000.0 + 30.0 * a - 20.0 * b + if kind == "red" { 55.0 } else { 0.0 };
        [kind.to_owned(), a.to_string(), b.to_string(), class.to_owned(), price.to_string()]
    };
    range.map(row).collect()
}

/// Some of its columns, by their places.
fn table(rows: &[[String; 5]], columns: &[usize]) -> String {
    let names = ["colour", "width", "height", "class", "price"].map(str::to_owned);
    let line = |row: &[String; 5]| {
        columns.iter().map(|column| row[*column].clone()).collect::<Vec<_>>().join(",") + "\n"
    };
    std::iter::once(&names).chain(rows).map(line).collect()
}

#[test]
fn rows_of_a_table_are_predicted_by_the_names_of_their_columns_with_or_without_the_target() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    let (own, new) = (flowers(0..150), flowers(150..190));
    fs::write(folder.join("own.csv"), table(&own, &[0, 1, 2, 3])).expect("written");
    told(
        folder,
        "train --data own.csv --out run --set train.epochs=20 --set train.batch=10 \
         --set network.stage.0.depth=4",
    );
    fs::write(folder.join("labelled.csv"), table(&new, &[0, 1, 2, 3])).expect("written");
    told(folder, "evaluate run --data labelled.csv --outputs table.csv");
    let expected = rows(&fs::read_to_string(folder.join("table.csv")).expect("the table"));
    fs::remove_file(folder.join("own.csv")).expect("removed");
    fs::write(folder.join("bare.csv"), table(&new, &[0, 1, 2])).expect("written");
    fs::write(folder.join("mixed.csv"), table(&new, &[4, 2, 0, 1])).expect("written");
    for file in ["labelled.csv", "bare.csv", "mixed.csv"] {
        let text = told(folder, &format!("predict run --data {file} --all"));
        assert!(text.starts_with("index,class,probability,iris,rose\n"), "{text}");
        let found = rows(&text);
        assert_eq!(found.len(), 40);
        for (row, expected) in found.iter().zip(&expected) {
            assert_eq!(
                (&row["index"], &row["class"]),
                (&expected["index"], &expected["prediction"])
            );
            let [iris, rose] = ["output0", "output1"].map(|output| number(expected, output).exp());
            assert!((number(row, "rose") - rose / (iris + rose)).abs() < 1e-5, "{row:?}");
        }
    }
    let classes: std::collections::HashSet<&str> =
        expected.iter().map(|row| row["prediction"].as_str()).collect();
    assert_eq!(classes.len(), 2, "a network that has learnt something");

    png(&folder.join("a.png"), png::ColorType::Grayscale, 6, 6, &image(0, 0));
    fs::write(folder.join("fewer.csv"), table(&new, &[0, 1])).expect("written");
    for (arguments, part) in [
        ("predict run --data fewer.csv", "height"),
        ("predict run --data .", "takes the rows of a table; name its file"),
        ("predict run --data a.png", "a.png"),
        ("predict run --data bare.csv --fit", "--fit is about images"),
    ] {
        let text = refused(folder, arguments);
        assert!(text.contains(part), "{part:?} in {text}");
    }
}

#[test]
fn a_regression_predicts_values_in_the_targets_units_and_rows_left_out_keep_their_numbers() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    fs::write(folder.join("own.csv"), table(&flowers(0..150), &[0, 1, 2, 4])).expect("written");
    told(
        folder,
        "train --data own.csv --out run --set data.task=regression --set data.missing=drop \
         --set train.epochs=60 --set train.batch=10 --set network.stage.0.depth=4",
    );
    let mut new = flowers(150..190);
    new[1][1] = String::new();
    fs::write(folder.join("priced.csv"), table(&new, &[0, 1, 2, 4])).expect("written");
    fs::write(folder.join("bare.csv"), table(&new, &[0, 1, 2])).expect("written");
    told(folder, "evaluate run --data priced.csv --outputs table.csv");
    let expected = rows(&fs::read_to_string(folder.join("table.csv")).expect("the table"));
    let text = told(folder, "predict run --data bare.csv");
    assert!(text.starts_with("index,value\n"), "{text}");
    let found = rows(&text);
    assert_eq!((found.len(), expected.len()), (39, 39));
    let mut errors = 0.0;
    for (row, expected) in found.iter().zip(&expected) {
        assert_eq!((&row["index"], &row["value"]), (&expected["index"], &expected["value"]));
        let index: usize = row["index"].parse().expect("a number");
        assert_eq!(expected["target"], new[index][4]);
        errors += (number(row, "value") - number(expected, "target")).abs() / 39.0;
    }
    assert_eq!([&found[0]["index"], &found[1]["index"]], ["0", "2"]);
    // Prices lie some 110 from their mean; a network that has learnt them is nearer.
    assert!(errors < 60.0, "{errors}");
    let object: Value =
        serde_json::from_str(&told(folder, "predict run --data bare.csv --json")).expect("JSON");
    assert_eq!(
        (&object["predictions"][1]["index"], object["classes"].as_array().map(Vec::len)),
        (&2.into(), Some(0))
    );
    let value = object["predictions"][1]["value"].as_f64().expect("a value");
    assert!((value / number(&found[1], "value") - 1.0).abs() < 1e-12, "{value}");
    assert!(refused(folder, "predict run --data bare.csv --all").contains("there are no classes"));
}

#[test]
fn a_table_is_no_image_and_is_told_so() {
    let folder = bands();
    let folder = folder.path();
    fs::write(folder.join("table.csv"), table(&flowers(0..9), &[1, 2])).expect("written");
    let text = refused(folder, "predict run --data table.csv");
    assert!(text.contains("is a table, but the network takes images of 1×6×6"), "{text}");
}
