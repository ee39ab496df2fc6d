//! A pretrained network through the commands, as a user brings it.

use deeplimit::seed::uniform;
use deeplimit_nn::pretrained::{Architecture, Family, NamedTensor, Numbers, Pretrained};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

pub fn deeplimit(folder: &Path, arguments: &[&str]) -> std::process::Output {
    super::deeplimit(folder).args(arguments).output().expect("run")
}

pub fn succeeds(folder: &Path, arguments: &[&str]) -> (String, String) {
    let output = deeplimit(folder, arguments);
    let [out, err] =
        [output.stdout, output.stderr].map(|text| String::from_utf8(text).expect("text"));
    assert!(output.status.success(), "{arguments:?}: {err}");
    (out, err)
}

pub fn json(folder: &Path, arguments: &[&str]) -> Value {
    let (out, _) = succeeds(folder, &[arguments, &["--json"]].concat());
    serde_json::from_str(out.lines().last().expect("a line")).expect("an object")
}

pub fn refused(folder: &Path, arguments: &[&str], parts: &[&str]) {
    let mut command = super::deeplimit(folder);
    command.args(arguments);
    super::refused(command, parts);
}

/// A network of random weights; normalisations are near those of a trained one.
pub fn network(classes: usize) -> Pretrained {
    of(Architecture::usual(Family::Cifar, false, vec![2; 3], classes))
}

/// The same of another architecture.
pub fn of(architecture: Architecture) -> Pretrained {
    let tensor = |(index, expected): (usize, deeplimit_nn::pretrained::Expected)| {
        let count = expected.shape.iter().product::<usize>();
        let fan_in = expected.shape.iter().skip(1).product::<usize>().max(1);
        let draw = |i: usize| uniform(index as u64, i as u64) as f32;
        let value = |i: usize| match expected.name.rsplit('.').next() {
            Some("running_var") => 1.0 + 0.5 * draw(i),
            Some("weight") if expected.shape.len() == 1 => 1.0 + 0.3 * draw(i),
            Some("weight") => 2.0 * draw(i) / (fan_in as f32).sqrt(),
            _ => 0.2 * draw(i),
        };
        let numbers = Numbers::Single((0..count).map(value).collect());
        NamedTensor { name: expected.name, shape: expected.shape, numbers }
    };
    Pretrained::of(architecture.tensors().into_iter().enumerate().map(tensor).collect())
        .expect("a network of these tensors")
}

/// A safetensors file of single-precision tensors, whatever their numbers are.
pub fn safetensors(tensors: &[NamedTensor]) -> Vec<u8> {
    let (mut entries, mut data) = (Vec::new(), Vec::new());
    for NamedTensor { name, shape, numbers } in tensors {
        let Numbers::Single(values) = numbers else { panic!("{name} is of single precision") };
        let begin = data.len();
        data.extend(values.iter().flat_map(|value| value.to_le_bytes()));
        let end = data.len();
        let about =
            format!(r#"{{"dtype":"F32","shape":{shape:?},"data_offsets":[{begin},{end}]}}"#);
        entries.push(format!("{name:?}:{about}"));
    }
    let header = format!("{{{}}}", entries.join(","));
    [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &data].concat()
}

/// The tensors of a network, of which one has another number at a place.
pub fn with_number(of: &Pretrained, name: &str, place: usize, number: f32) -> Vec<NamedTensor> {
    let mut tensors = of.tensors().to_vec();
    let tensor = tensors.iter_mut().find(|tensor| tensor.name == name).expect(name);
    let Numbers::Single(values) = &mut tensor.numbers else { panic!("single precision") };
    values[place] = number;
    tensors
}

/// So many images in CIFAR-10's layout.
pub fn images(folder: &Path, name: &str, count: usize, seed: u64) {
    let mut bytes = Vec::new();
    for image in 0..count {
        bytes.push((image % 10) as u8);
        let pixel = |i: u64| {
            let noise = 40.0 * uniform(seed, image as u64 * 3072 + i);
            (127.0 + noise + 8.0 * (image % 10) as f64) as u8
        };
        bytes.extend((0..3072).map(pixel));
    }
    fs::create_dir_all(folder.join("data")).expect("a folder");
    fs::write(folder.join("data").join(name), bytes).expect("written");
}

#[test]
fn a_network_goes_from_its_file_through_flows_to_a_run_and_back() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = folder.path();
    let original = network(10);
    original.write_to(&at.join("net.pt")).expect("written");
    images(at, "data_batch_1.bin", 160, 1);
    images(at, "test_batch.bin", 40, 2);

    let imported = json(at, &["import", "net.pt", "--out", "net.safetensors"]);
    assert_eq!(imported["architecture"], "resnet14 (CIFAR)");
    assert_eq!(imported["parameters"], 172_506);
    assert_eq!(Pretrained::read(&at.join("net.safetensors")).expect("a network"), original);
    refused(at, &["import", "net.pt", "--out", "net.safetensors"], &["exists already"]);
    succeeds(at, &["export", "net.safetensors", "--out", "back.safetensors"]);
    assert_eq!(Pretrained::read(&at.join("back.safetensors")).expect("a network"), original);
    let (told, _) = succeeds(at, &["info", "net.safetensors"]);
    assert!(told.contains("resnet14 (CIFAR)") && told.contains("layer3: 2 blocks of 64"), "{told}");

    refused(at, &["evaluate", "net.safetensors"], &["--data"]);
    let as_it_was =
        json(at, &["evaluate", "net.safetensors", "--data", "data", "--outputs", "outputs.csv"]);
    assert_eq!(as_it_was["samples"], 40);
    let table = fs::read_to_string(at.join("outputs.csv")).expect("the outputs");
    assert_eq!(table.lines().count(), 41);

    let flows = ["convert", "net.safetensors", "--out", "flows.safetensors", "--data", "data"];
    let converted = json(at, &flows);
    assert_eq!(converted["depths"], serde_json::json!([2, 1, 1]));
    assert_eq!(converted["accuracy"][0], as_it_was["accuracy"]);
    let flows = json(at, &["evaluate", "flows.safetensors", "--data", "data"]);
    assert_eq!(converted["accuracy"][1], flows["accuracy"]);
    succeeds(at, &["diagnose", "flows.safetensors", "--data", "data", "--samples", "8"]);
    for stage in converted["stages"].as_array().expect("stages") {
        assert_eq!(stage["flow"], true);
        assert!(stage["near"]["step_lipschitz"].as_f64().expect("h L") > 0.0);
    }

    let start = ["train", "--init", "flows.safetensors", "--data", "data"];
    let quick =
        ["--set", "train.epochs=1", "--set", "train.batch=40", "--set", "data.validation=0"];
    let exact = ["--set", "gradient.method=checkpoint"];
    let frozen = ["--set", "train.statistics=frozen", "--out", "frozen"];
    let run = json(at, &[&start[..], &quick, &exact, &frozen].concat());
    assert!(run["test_loss"].as_f64().expect("a loss").is_finite());
    let statistics = |file: &Path| {
        let bytes = fs::read(file).expect("weights");
        let file = deeplimit_nn::network::WeightsFile::from_bytes(&bytes).expect("weights");
        let all = file.tensors().filter(|(name, ..)| name.contains("running"));
        all.map(|(name, _, values)| (name.to_owned(), values.to_vec())).collect::<BTreeMap<_, _>>()
    };
    let before = statistics(&at.join("flows.safetensors"));
    assert_eq!(before.len(), 12, "mean and variance of three flows and three transitions");
    assert!(before == statistics(&at.join("frozen/weights/last.safetensors")), "they are frozen");
    let deeper = [
        "--set",
        "network.stage.0.depth=6",
        "--set",
        "train.rates=[{weights='head',factor=2.0}]",
        "--out",
        "deeper",
    ];
    let (_, said) = succeeds(at, &[&start[..], &quick, &exact, &deeper].concat());
    assert!(said.contains("carried from depth 2 + 1 + 1 to 6 + 1 + 1"), "{said}");
    assert!(before != statistics(&at.join("deeper/weights/last.safetensors")), "they moved");
    succeeds(at, &["export", "deeper", "--out", "deeper.safetensors"]);
    assert!(at.join("deeper.safetensors").is_file());

    // Without a method the run finds out what these flows allow; with one it says once what it does not.
    let (_, said) = succeeds(at, &[&start[..], &quick, &["--out", "auto"]].concat());
    assert!(said.contains("gradients by auto: memory-free within 0.01"), "{said}");
    assert!(said.contains("from now on its gradients are by checkpoint"), "{said}");
    assert!(!said.contains("warning"), "{said}");
    let named = ["--set", "gradient.method=adjoint-adaptive", "--out", "named"];
    let (_, said) = succeeds(at, &[&start[..], &quick, &named].concat());
    let warnings: Vec<&str> = said.lines().filter(|line| line.contains("warning")).collect();
    let [warning] = warnings[..] else { panic!("one warning: {said}") };
    for part in
        ["step 1:", "gradient.method = \"adjoint-adaptive\"", "take gradient.method = \"auto\""]
    {
        assert!(warning.contains(part), "{part:?} in {warning}");
    }

    let wrong = ["--set", "train.rates=[{weights='haed',factor=2.0}]"];
    refused(at, &[&start[..], &quick, &wrong].concat(), &["\"haed\"", "head.linear.weight"]);
    let other = ["--set", "network.stage.0.scheme=heun"];
    refused(at, &[&start[..], &quick, &other].concat(), &["network.stage.0", "another transition"]);
}

#[test]
fn stages_that_become_no_flows_stay_as_they_were_and_train_by_exact_methods() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = folder.path();
    network(10).write_to(&at.join("net.pt")).expect("written");
    images(at, "data_batch_1.bin", 160, 1);
    images(at, "test_batch.bin", 40, 2);
    let convert = |stages: &str, out: &str| {
        json(at, &["convert", "net.pt", "--stages", stages, "--out", out])
    };
    convert("none", "none.safetensors");
    succeeds(at, &["import", "net.pt", "--out", "net.safetensors"]);
    let [original, none] = ["net.safetensors", "none.safetensors"]
        .map(|file| json(at, &["evaluate", file, "--data", "data"]));
    assert_eq!(none["accuracy"], original["accuracy"]);
    assert_eq!(none["loss"], original["loss"]);
    let mixed = convert("1,3", "mixed.safetensors");
    let flows: Vec<&Value> =
        mixed["stages"].as_array().expect("stages").iter().map(|stage| &stage["flow"]).collect();
    assert_eq!(flows, [true, false, true]);
    for file in ["none.safetensors", "mixed.safetensors"] {
        let bytes = fs::read(at.join(file)).expect(file);
        let file = deeplimit_nn::network::WeightsFile::from_bytes(&bytes).expect(file);
        assert!(file.metadata["config"].contains("method = \"auto\""), "whichever its flows are");
    }
    let (told, _) =
        succeeds(at, &["diagnose", "mixed.safetensors", "--data", "data", "--samples", "8"]);
    assert_eq!(told.matches("Relu follows every step").count(), 1, "{told}");

    let train = |method: &str| -> Vec<String> {
        let line = format!(
            "train --init mixed.safetensors --data data --set gradient.method={method} --set \
             train.epochs=1 --set train.batch=20 --set data.validation=0 --out {method}"
        );
        line.split(' ').map(str::to_owned).collect()
    };
    let arguments = train("checkpoint");
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let run = json(at, &arguments);
    let again = json(at, &["evaluate", "checkpoint", "--data", "data"]);
    assert_eq!(again["loss"], run["test_loss"]);
    let config = fs::read_to_string(at.join("checkpoint/config.toml")).expect("a configuration");
    assert_eq!(config.matches("rectified = true").count(), 1, "{config}");

    let arguments = train("adjoint-adaptive");
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    refused(at, &arguments, &["network.stage.1.rectified = true", "checkpoint"]);
    let arguments = train("auto");
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let (_, said) = succeeds(at, &arguments);
    let told = "gradients by auto: stage 0, 2 memory-free within 0.01, recomputed where the estimate is \
                above; stage 1 by checkpoint";
    assert!(said.contains(told), "{said}");
    refused(at, &["evaluate", "checkpoint", "--depth", "4"], &["network.stage.1.rectified"]);
    for stages in ["4", "0"] {
        let arguments = ["convert", "net.pt", "--out", "x.safetensors", "--stages", stages];
        refused(at, &arguments, &["stages 1 to 3", &format!("no stage {stages}")]);
    }
}

#[test]
fn a_head_of_other_classes_is_drawn_anew_and_other_data_are_refused_by_name() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = folder.path();
    network(7).write_to(&at.join("seven.pt")).expect("written");
    images(at, "data_batch_1.bin", 80, 1);
    images(at, "test_batch.bin", 20, 2);
    refused(at, &["evaluate", "seven.pt", "--data", "data"], &["10 classes", "7 outputs"]);
    succeeds(at, &["convert", "seven.pt", "--out", "flows.safetensors"]);
    let (_, said) = succeeds(
        at,
        &[
            "train",
            "--init",
            "flows.safetensors",
            "--data",
            "data",
            "--out",
            "run",
            "--set",
            "train.epochs=1",
            "--set",
            "train.batch=20",
            "--set",
            "gradient.method=backprop",
        ],
    );
    assert!(said.contains("its head has 7 outputs and is drawn anew"), "{said}");
    fs::write(at.join("cut.pt"), &fs::read(at.join("seven.pt")).expect("a file")[..5000])
        .expect("written");
    refused(at, &["import", "cut.pt", "--out", "out.safetensors"], &["cut.pt", "incomplete"]);
    assert!(!at.join("out.safetensors").exists());
}

#[test]
fn the_experiment_on_fine_tuning_names_what_it_cannot_use() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = folder.path();
    images(at, "data_batch_1.bin", 80, 1);
    images(at, "test_batch.bin", 20, 2);
    network(10).write_to(&at.join("net.pt")).expect("written");
    network(7).write_to(&at.join("seven.pt")).expect("written");
    fs::write(at.join("text.pt"), "no weights").expect("written");
    fs::create_dir(at.join("empty")).expect("a folder");
    fs::write(at.join("table.csv"), "a,b\n1,0\n2,1\n3,0\n4,1\n5,0\n6,1\n").expect("written");
    let run = |weights: &'static str, data: &'static str, more: &[&'static str]| {
        let start = ["experiment", "finetune", "--quick", "--weights", weights, "--data", data];
        [&start[..], more].concat()
    };
    refused(at, &run("none.pt", "data", &[]), &["none.pt"]);
    refused(at, &run("text.pt", "data", &[]), &["text.pt"]);
    refused(at, &run("seven.pt", "data", &[]), &["seven.pt", "7 outputs", "CIFAR-10"]);
    refused(at, &run("net.pt", "nowhere", &[]), &["nowhere"]);
    refused(at, &run("net.pt", "empty", &[]), &["empty"]);
    refused(at, &run("net.pt", "data", &["--transfer", "empty"]), &["empty"]);
    refused(at, &run("net.pt", "data", &["--transfer", "table.csv"]), &["resize", "table"]);
    assert!(!at.join("experiments").exists(), "nothing was begun");
}
