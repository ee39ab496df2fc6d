//! A trained network used on data without labels, and the table of what it makes of data with them.

use assert_cmd::Command;
use deeplimit_nn::network::WeightsFile;
use serde_json::Value;
use std::collections::HashMap;
use std::fs;
use std::io::BufWriter;
use std::path::Path;
use tempfile::TempDir;

fn deeplimit(folder: &Path, arguments: &str) -> Command {
    let mut command = super::deeplimit(folder);
    command.args(arguments.split_whitespace());
    command
}

/// Standard output of a command that ends well.
pub fn told(folder: &Path, arguments: &str) -> String {
    let output = deeplimit(folder, arguments).output().expect("run");
    assert!(output.status.success(), "{arguments}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

/// The one line on standard error of a command that ends with exit code 2; rows that were told before stay.
pub fn refused(folder: &Path, arguments: &str) -> String {
    let mut command = deeplimit(folder, arguments);
    let output = command.output().expect("run");
    super::line_of_refusal(&command, &output)
}

/// Rows of a table by the names of its columns.
pub fn rows(text: &str) -> Vec<HashMap<String, String>> {
    csv::Reader::from_reader(text.as_bytes()).deserialize().map(|row| row.expect("a row")).collect()
}

pub fn number(row: &HashMap<String, String>, column: &str) -> f64 {
    row[column].parse().unwrap_or_else(|_| panic!("{column} in {row:?}"))
}

/// A grey image of 6 × 6: a bright band that tells the class, in some noise.
pub fn image(index: usize, class: usize) -> Vec<u8> {
    let pixel = |place: usize| {
        let noise = (index * 37 + place * 101 + index * place * 7) % 60;
        let band = if class == 2 { place % 6 / 2 == 1 } else { place / 6 / 3 == class };
        (noise + if band { 180 } else { 0 }) as u8
    };
    (0..36).map(pixel).collect()
}

fn class_of(index: usize) -> usize {
    (index * 7 + index / 3) % 3
}

fn idx_images(range: std::ops::Range<usize>) -> Vec<u8> {
    let head = [0x0803, range.len() as u32, 6, 6].into_iter().flat_map(u32::to_be_bytes);
    head.chain(range.flat_map(|index| image(index, class_of(index)))).collect()
}

fn idx_labels(range: std::ops::Range<usize>) -> Vec<u8> {
    let head = [0x0801, range.len() as u32].into_iter().flat_map(u32::to_be_bytes);
    head.chain(range.map(|index| class_of(index) as u8)).collect()
}

const TEST: std::ops::Range<usize> = 200..230;

/// A folder with a set of three classes and a network trained on it, in `run`.
pub fn bands() -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let set = folder.path().join("set");
    fs::create_dir(&set).expect("made");
    for (name, bytes) in [
        ("train-images-idx3-ubyte", idx_images(0..200)),
        ("train-labels-idx1-ubyte", idx_labels(0..200)),
        ("t10k-images-idx3-ubyte", idx_images(TEST)),
        ("t10k-labels-idx1-ubyte", idx_labels(TEST)),
        ("classes.txt", b"above\nbelow\ncolumn, middle\n".to_vec()),
    ] {
        fs::write(set.join(name), bytes).expect("written");
    }
    told(
        folder.path(),
        "train --data set --out run --set train.epochs=4 --set train.batch=20 \
         --set network.stage.0.depth=4",
    );
    folder
}

pub fn png(path: &Path, colour: png::ColorType, width: u32, height: u32, pixels: &[u8]) {
    let file = BufWriter::new(fs::File::create(path).expect("created"));
    let mut encoder = png::Encoder::new(file, width, height);
    encoder.set_color(colour);
    encoder.set_depth(png::BitDepth::Eight);
    let mut writer = encoder.write_header().expect("a header");
    writer.write_image_data(pixels).expect("pixels");
}

fn jpeg(path: &Path, colour: jpeg_encoder::ColorType, side: [u16; 2], pixels: &[u8]) {
    let encoder = jpeg_encoder::Encoder::new_file(path, 100).expect("created");
    encoder.encode(pixels, side[0], side[1], colour).expect("encoded");
}

#[test]
fn evaluate_writes_what_the_network_makes_of_every_sample_by_name() {
    let folder = bands();
    let folder = folder.path();
    let evaluated: Value =
        serde_json::from_str(&told(folder, "evaluate run --outputs table.csv --json")).unwrap();
    let text = fs::read_to_string(folder.join("table.csv")).expect("the table");
    assert!(text.starts_with("index,label,prediction,output0,output1,output2\n"), "{text}");
    let table = rows(&text);
    assert_eq!(table.len(), TEST.len());
    let names = ["above", "below", "column, middle"];
    let mut hits = 0;
    for (place, row) in table.iter().enumerate() {
        assert_eq!(row["index"], place.to_string());
        assert_eq!(row["label"], names[class_of(TEST.start + place)]);
        let outputs: Vec<f64> = (0..3).map(|i| number(row, &format!("output{i}"))).collect();
        let best = (0..3).max_by(|a, b| outputs[*a].total_cmp(&outputs[*b])).unwrap();
        assert_eq!(row["prediction"], names[best]);
        hits += usize::from(row["prediction"] == row["label"]);
    }
    assert_eq!(evaluated["accuracy"], hits as f64 / TEST.len() as f64);
    // Numbers of samples are those before some were chosen.
    told(
        folder,
        "train --data set --out fewer --set train.epochs=1 --set train.batch=20 \
         --set network.stage.0.depth=2 --set data.limit_test=5",
    );
    told(folder, "evaluate fewer --outputs fewer.csv");
    let fewer = rows(&fs::read_to_string(folder.join("fewer.csv")).expect("the table"));
    assert_eq!(fewer.len(), 5);
    for row in fewer {
        assert_eq!(row["label"], table[row["index"].parse::<usize>().unwrap()]["label"]);
    }
}

#[test]
fn evaluate_writes_targets_and_values_in_the_targets_units() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    let line = |i: usize| {
        let (a, b) = ((i * 7 % 13) as f64, (i * 5 % 11) as f64);
        format!("{a},{b},{}\n", 1000.0 + 30.0 * a - 20.0 * b)
    };
    fs::write(folder.join("table.csv"), (0..120).map(line).collect::<String>()).expect("written");
    told(
        folder,
        "train --data table.csv --out run --set data.task=regression --set train.epochs=30 \
         --set train.batch=12 --set network.stage.0.depth=4",
    );
    let evaluated: Value =
        serde_json::from_str(&told(folder, "evaluate run --outputs out.csv --json")).unwrap();
    let text = fs::read_to_string(folder.join("out.csv")).expect("the table");
    assert!(text.starts_with("index,target,value,output0\n"), "{text}");
    let table = rows(&text);
    assert_eq!(table.len(), 24);
    let all: Vec<f64> = (0..120)
        .map(|i| line(i).trim().rsplit_once(',').expect("cells").1.parse().expect("a number"))
        .collect();
    let (mut errors, mut normalised) = (Vec::new(), Vec::new());
    for row in &table {
        let target = number(row, "target");
        assert_eq!(target, all[row["index"].parse::<usize>().unwrap()]);
        errors.push((number(row, "value") - target).powi(2));
        normalised.push((number(row, "value"), number(row, "output0")));
    }
    // One scale and one offset lead from outputs to values: those of the target, whose standard deviation
    // turns the mean squared error into the loss.
    let [(v0, y0), (v1, y1)] = [normalised[0], normalised[1]];
    let std = (v1 - v0) / (y1 - y0);
    let mean = v0 - std * y0;
    for (value, output) in normalised {
        assert!((value - (mean + std * output)).abs() < 1e-3 * std, "{value} {output}");
    }
    let loss = errors.iter().sum::<f64>() / errors.len() as f64 / (std * std);
    let told = evaluated["loss"].as_f64().expect("a loss");
    assert!((loss / told - 1.0).abs() < 1e-3, "{loss} {told}");
}

#[test]
fn files_that_options_name_are_not_overwritten() {
    let folder = bands();
    let folder = folder.path();
    fs::write(folder.join("mine.csv"), "dear").expect("written");
    fs::create_dir(folder.join("kept")).expect("made");
    fs::write(folder.join("kept/diagnosis.json"), "dear").expect("written");
    for (arguments, option) in [
        ("evaluate run --outputs mine.csv", "--outputs mine.csv"),
        ("predict run --data set/t10k-images-idx3-ubyte --out mine.csv", "--out mine.csv"),
        ("export run --out mine.csv", "--out mine.csv"),
        ("import run/weights/last.safetensors --out mine.csv", "--out mine.csv"),
        ("convert run/weights/last.safetensors --out mine.csv", "--out mine.csv"),
        ("diagnose run --out kept", "--out kept/diagnosis.json"),
    ] {
        let text = refused(folder, arguments);
        assert!(text.contains(&format!("{option}: exists already")), "{text}");
        assert!(text.contains("name another file"), "{text}");
    }
    assert_eq!(fs::read_to_string(folder.join("mine.csv")).expect("read"), "dear");
    assert_eq!(fs::read_to_string(folder.join("kept/diagnosis.json")).expect("read"), "dear");
    assert!(refused(folder, "evaluate run --outputs kept").contains("is a folder"));
}

#[test]
fn predictions_are_those_of_evaluation_on_every_kind_of_images_without_the_data() {
    let folder = bands();
    let folder = folder.path();
    told(folder, "evaluate run --outputs table.csv");
    let expected = rows(&fs::read_to_string(folder.join("table.csv")).expect("the table"));
    let pictures = folder.join("pictures");
    fs::create_dir(&pictures).expect("made");
    for (place, index) in TEST.enumerate() {
        let pixels = image(index, class_of(index));
        let path = pictures.join(format!("image{place:02}"));
        match place % 3 {
            0 => png(&path.with_extension("png"), png::ColorType::Grayscale, 6, 6, &pixels),
            // Opaque pixels are as if there was no transparency.
            1 => {
                let both: Vec<u8> = pixels.iter().flat_map(|pixel| [*pixel, 255]).collect();
                png(&path.with_extension("PNG"), png::ColorType::GrayscaleAlpha, 6, 6, &both);
            }
            _ => jpeg(&path.with_extension("jpg"), jpeg_encoder::ColorType::Luma, [6, 6], &pixels),
        }
    }
    fs::write(pictures.join("notes.txt"), "").expect("written");
    fs::rename(folder.join("set/t10k-images-idx3-ubyte"), folder.join("images")).expect("moved");
    fs::remove_dir_all(folder.join("set")).expect("removed");

    let many = told(folder, "predict run --data images --all");
    assert!(many.starts_with("index,class,probability,above,below,\"column, middle\"\n"), "{many}");
    let weights = told(folder, "predict run/weights/best.safetensors --data images");
    let output = deeplimit(folder, "predict run --data pictures --all").output().expect("run");
    assert!(output.status.success());
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("left out") && said.contains("notes.txt"), "{said}");
    let files = String::from_utf8(output.stdout).expect("text");
    let (many, files, weights) = (rows(&many), rows(&files), rows(&weights));
    assert_eq!((many.len(), files.len(), weights.len()), (30, 30, 30));
    for (place, (row, file)) in many.iter().zip(&files).enumerate() {
        let expected = &expected[place];
        assert_eq!((&row["index"], &row["class"]), (&place.to_string(), &expected["prediction"]));
        assert_eq!(
            (&weights[place]["class"], &weights[place]["probability"]),
            (&row["class"], &row["probability"])
        );
        let names = ["above", "below", "column, middle"];
        let powers: Vec<f64> =
            (0..3).map(|i| number(expected, &format!("output{i}")).exp()).collect();
        let total: f64 = powers.iter().sum();
        for (name, power) in names.iter().zip(powers) {
            // Outputs and probabilities have seven digits.
            assert!((number(row, name) - power / total).abs() < 1e-5, "{row:?}");
        }
        assert_eq!(row["probability"], row[&row["class"]]);
        let end = ["png", "PNG", "jpg"][place % 3];
        assert_eq!(file["file"], format!("image{place:02}.{end}"));
        if end == "jpg" {
            // A JPEG file of the best quality is off by a few of 255.
            assert!(
                (number(file, "probability") - number(row, "probability")).abs() < 0.1,
                "{file:?}"
            );
        } else {
            assert_eq!(
                (&file["class"], &file["probability"]),
                (&row["class"], &row["probability"])
            );
        }
    }

    let object: Value =
        serde_json::from_str(&told(folder, "predict run --data images --json")).unwrap();
    assert_eq!(object["classes"][2], "column, middle");
    let first = &object["predictions"][0];
    assert_eq!(
        (&first["index"], first["class"].as_str()),
        (&0.into(), Some(&many[0]["class"][..]))
    );
    assert!(first.get("probabilities").is_none());
    let one = told(folder, "predict run --data pictures/image00.png");
    assert_eq!(rows(&one)[0]["class"], files[0]["class"]);
    assert!(told(folder, "predict run --data images --out kept.csv").is_empty());
    let kept = rows(&fs::read_to_string(folder.join("kept.csv")).expect("the table"));
    assert_eq!(kept[29]["class"], many[29]["class"]);
}

#[test]
fn images_of_another_shape_are_refused_or_brought_to_that_of_the_network() {
    let folder = bands();
    let folder = folder.path();
    // Twice as large, and in colours that are all grey: lines between pixels lead back to the image.
    let small = image(200, class_of(200));
    let large = |channels: usize| -> Vec<u8> {
        let pixel = |place: usize| small[place / 12 / 2 * 6 + place % 12 / 2];
        (0..144).flat_map(|place| vec![pixel(place); channels]).collect()
    };
    png(&folder.join("large.png"), png::ColorType::Rgb, 12, 12, &large(3));
    png(&folder.join("small.png"), png::ColorType::Grayscale, 6, 6, &small);
    let text = refused(folder, "predict run --data large.png");
    for part in ["3×12×12", "1×6×6", "data.resize", "data.channels", "--fit"] {
        assert!(text.contains(part), "{part:?} in {text}");
    }
    let fit = rows(&told(folder, "predict run --data large.png --fit"));
    let own = rows(&told(folder, "predict run --data small.png"));
    assert_eq!(fit[0]["class"], own[0]["class"]);
    let apart = number(&fit[0], "probability") - number(&own[0], "probability");
    assert!(apart.abs() < 1e-3, "{apart}");
    // What the run's own options bring there needs no other.
    told(
        folder,
        "train --data set --out resized --set data.resize=12 --set data.channels=3 --set train.epochs=1 \
         --set train.batch=20 --set network.stage.0.depth=2",
    );
    for name in ["small.png", "large.png"] {
        let table = rows(&told(folder, &format!("predict resized --data {name}")));
        assert_eq!((table.len(), &table[0]["file"][..]), (1, name));
    }
}

#[test]
fn what_cannot_be_predicted_is_one_line_and_exit_code_2() {
    let folder = bands();
    let folder = folder.path();
    let pixels = image(0, 0);
    png(&folder.join("seen through.png"), png::ColorType::GrayscaleAlpha, 6, 6, &[7; 72]);
    png(&folder.join("whole.png"), png::ColorType::Grayscale, 6, 6, &pixels);
    let whole = fs::read(folder.join("whole.png")).expect("read");
    fs::write(folder.join("cut.png"), &whole[..whole.len() - 10]).expect("written");
    jpeg(&folder.join("whole.jpg"), jpeg_encoder::ColorType::Luma, [6, 6], &pixels);
    let whole = fs::read(folder.join("whole.jpg")).expect("read");
    fs::write(folder.join("cut.jpg"), &whole[..whole.len() - 10]).expect("written");
    fs::write(folder.join("words.png"), "no image").expect("written");
    fs::create_dir_all(folder.join("deep/cats")).expect("made");
    fs::copy(folder.join("whole.png"), folder.join("deep/cats/a.png")).expect("copied");
    for (data, parts) in [
        ("nowhere", &["nowhere: no such file"][..]),
        ("cut.png", &["cut.png", "broken PNG"]),
        ("cut.jpg", &["cut.jpg", "broken JPEG"]),
        ("words.png", &["words.png", "PNG"]),
        ("deep", &["its folder deep/cats does"]),
        ("set", &["several", "set/t10k-images-idx3-ubyte"]),
        ("set/t10k-labels-idx1-ubyte", &["holds no images"]),
        ("run", &["holds no images"]),
    ] {
        let text = refused(folder, &format!("predict run --data {data}"));
        for part in parts {
            assert!(text.contains(part), "{data}: {part:?} in {text}");
        }
    }
    let mut command = deeplimit(folder, "predict run --data");
    let output = command.arg("seen through.png").output().expect("run");
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(2) && text.contains("transparent pixels"), "{text}");
}

#[test]
fn outputs_that_are_no_numbers_are_no_prediction() {
    let folder = bands();
    let folder = folder.path();
    let changed = |name: &str, change: &dyn Fn(&mut HashMap<String, String>)| {
        let bytes = fs::read(folder.join("run/weights/best.safetensors")).expect("read");
        let mut file = WeightsFile::from_bytes(&bytes).expect("weights");
        let mut metadata = file.metadata.into_iter().collect();
        change(&mut metadata);
        file.metadata = metadata.into_iter().collect();
        fs::write(folder.join(name), file.to_bytes().expect("bytes")).expect("written");
    };
    // Inputs so large that they leave single precision.
    changed("tiny.safetensors", &|metadata| {
        let tiny = r#"{"mean":[0.0],"std":[1e-42]}"#;
        metadata.insert("normalisation".to_owned(), tiny.to_owned());
    });
    let text = refused(folder, "predict tiny.safetensors --data set/t10k-images-idx3-ubyte");
    assert!(text.contains("input 1 is beyond single precision"), "{text}");
    // Weights that are numbers, but so large that the outputs are none.
    let bytes = fs::read(folder.join("run/weights/best.safetensors")).expect("read");
    let file = WeightsFile::from_bytes(&bytes).expect("weights");
    let head = "head.linear.weight";
    let count = file.tensors().find(|(name, ..)| *name == head).expect("a head").2.len();
    let large = file.replaced(head, vec![3e38; count]).to_bytes().expect("bytes");
    fs::write(folder.join("large.safetensors"), large).expect("written");
    let text = refused(folder, "predict large.safetensors --data set/t10k-images-idx3-ubyte");
    assert!(text.contains("input 0: an output of the network is not a finite number"), "{text}");

    // Files of earlier versions do not say what their data were: those are read, or it is told.
    changed("old.safetensors", &|metadata| drop(metadata.remove("schema")));
    let images = "set/t10k-images-idx3-ubyte";
    let own = told(folder, &format!("predict run --data {images}"));
    assert_eq!(told(folder, &format!("predict old.safetensors --data {images}")), own);
    fs::rename(folder.join(images), folder.join("images")).expect("moved");
    fs::remove_dir_all(folder.join("set")).expect("removed");
    assert_eq!(told(folder, "predict run --data images"), own);
    let text = refused(folder, "predict old.safetensors --data images");
    assert!(text.contains("written by an earlier version") && text.contains("data set"), "{text}");
}

#[test]
fn records_of_cifar_are_predicted_whatever_their_labels() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    let records = |count: usize, label: fn(usize) -> u8| -> Vec<u8> {
        let pixels = |i: usize| (0..3072).map(move |p| ((p * 31 + i * 57 + p * i) % 251) as u8);
        (0..count).flat_map(|i| std::iter::once(label(i)).chain(pixels(i))).collect()
    };
    fs::create_dir(folder.join("set")).expect("made");
    let train = records(40, |i| (i % 10) as u8);
    fs::write(folder.join("set/data_batch_1.bin"), train).expect("written");
    fs::write(folder.join("set/test_batch.bin"), records(6, |i| i as u8)).expect("written");
    fs::write(folder.join("mine.bin"), records(6, |_| 77)).expect("written");
    told(
        folder,
        "train --data set --out run --set train.epochs=1 --set train.batch=9 \
         --set network.stage.0.depth=2",
    );
    told(folder, "evaluate run --outputs table.csv");
    let expected = rows(&fs::read_to_string(folder.join("table.csv")).expect("the table"));
    for file in ["set/test_batch.bin", "mine.bin"] {
        let found = rows(&told(folder, &format!("predict run --data {file}")));
        let classes = |rows: &[HashMap<String, String>], column: &str| {
            rows.iter().map(|row| row[column].clone()).collect::<Vec<_>>()
        };
        assert_eq!(classes(&found, "class"), classes(&expected, "prediction"), "{file}");
    }
}
