//! A pretrained network through the commands, as a user brings it.

use assert_cmd::Command;
use deeplimit::seed::uniform;
use deeplimit_nn::pretrained::{Architecture, Family, NamedTensor, Numbers, Pretrained, Shortcuts};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

fn deeplimit(folder: &Path, arguments: &[&str]) -> std::process::Output {
    let mut command = Command::cargo_bin("deeplimit").expect("the binary of this package");
    command.current_dir(folder).args(arguments).output().expect("run")
}

fn succeeds(folder: &Path, arguments: &[&str]) -> (String, String) {
    let output = deeplimit(folder, arguments);
    let [out, err] =
        [output.stdout, output.stderr].map(|text| String::from_utf8(text).expect("text"));
    assert!(output.status.success(), "{arguments:?}: {err}");
    (out, err)
}

fn json(folder: &Path, arguments: &[&str]) -> Value {
    let (out, _) = succeeds(folder, &[arguments, &["--json"]].concat());
    serde_json::from_str(out.lines().last().expect("a line")).expect("an object")
}

/// The lines of standard error, without those that say how long something takes on a busy machine.
fn lines_told(text: &str) -> impl Iterator<Item = &str> {
    text.trim_end().lines().filter(|line| !line.ends_with(" so far"))
}

fn refused(folder: &Path, arguments: &[&str], parts: &[&str]) {
    let output = deeplimit(folder, arguments);
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{arguments:?}: {text}");
    assert_eq!(lines_told(&text).count(), 1, "one line: {text}");
    for part in parts {
        assert!(text.contains(part), "{part:?} in {text}");
    }
}

/// A network of random weights; normalisations are near those of a trained one.
fn network(classes: usize) -> Pretrained {
    of(Architecture::usual(Family::Cifar, false, vec![2; 3], classes))
}

/// The same of another architecture.
fn of(architecture: Architecture) -> Pretrained {
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
fn safetensors(tensors: &[NamedTensor]) -> Vec<u8> {
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
fn with_number(of: &Pretrained, name: &str, place: usize, number: f32) -> Vec<NamedTensor> {
    let mut tensors = of.tensors().to_vec();
    let tensor = tensors.iter_mut().find(|tensor| tensor.name == name).expect(name);
    let Numbers::Single(values) = &mut tensor.numbers else { panic!("single precision") };
    values[place] = number;
    tensors
}

/// So many images in CIFAR-10's layout.
fn images(folder: &Path, name: &str, count: usize, seed: u64) {
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

#[test]
fn numbers_that_are_no_weights_are_refused_wherever_weights_are_read() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = folder.path();
    images(at, "data_batch_1.bin", 160, 1);
    images(at, "test_batch.bin", 20, 2);
    let original = network(10);
    for (name, place, number, says) in [
        ("layer2.1.conv1.weight", 300, f32::NAN, "NaN at [1, 1, 1, 0]"),
        ("layer3.0.bn2.running_var", 7, f32::INFINITY, "inf at [7]"),
        ("bn1.running_var", 3, -0.5, "-0.5 at [3]"),
    ] {
        fs::write(at.join("bad.pt"), safetensors(&with_number(&original, name, place, number)))
            .expect("written");
        for command in ["import", "export", "convert"] {
            let arguments = [command, "bad.pt", "--out", "out.safetensors"];
            refused(at, &arguments, &["bad.pt", name, says]);
            assert!(!at.join("out.safetensors").exists(), "nothing is written");
        }
    }

    original.write_to(&at.join("net.pt")).expect("written");
    succeeds(at, &["convert", "net.pt", "--out", "flows.safetensors"]);
    let run = ["train", "--init", "flows.safetensors", "--data", "data", "--out", "run"];
    let quick = ["--set", "train.epochs=1", "--set", "train.batch=40"];
    let exact = ["--set", "gradient.method=checkpoint"];
    succeeds(at, &[&run[..], &quick, &exact].concat());
    for file in ["flows.safetensors", "run/weights/last.safetensors"] {
        let path = at.join(file);
        let bytes = fs::read(&path).expect("weights");
        let whole = deeplimit_nn::network::WeightsFile::from_bytes(&bytes).expect("weights");
        let name = "stages.1.running_variance";
        let (.., values) = whole.tensors().find(|(found, ..)| *found == name).expect(name);
        let mut values = values.to_vec();
        values[5] = f32::NAN;
        fs::write(&path, whole.replaced(name, values).to_bytes().expect("bytes")).expect("written");
        // What it holds is shown as it is.
        succeeds(at, &["info", file]);
    }
    let says = ["stages.1.running_variance", "NaN at [0, 5]"];
    let again = ["train", "--init", "flows.safetensors", "--data", "data", "--out", "run2"];
    for arguments in [
        &again[..],
        &["evaluate", "flows.safetensors", "--data", "data"],
        &["diagnose", "flows.safetensors", "--data", "data"],
        &["diagnose", "flows.safetensors"],
        &["export", "flows.safetensors", "--out", "out.safetensors"],
        &["export", "run/weights/last.safetensors", "--out", "out.safetensors"],
        &["evaluate", "run", "--weights", "last"],
        &["diagnose", "run", "--weights", "last"],
        &["refine", "run", "--depth", "4", "--out", "deep"],
        &["train", "--resume", "run"],
    ] {
        refused(at, arguments, &says);
    }
    for made in ["out.safetensors", "deep", "run2"] {
        assert!(!at.join(made).exists(), "{made}: nothing is written");
    }
}

#[test]
fn outputs_that_are_not_finite_have_no_accuracy() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = folder.path();
    images(at, "data_batch_1.bin", 160, 1);
    images(at, "test_batch.bin", 20, 2);
    // Each of these weights is a number, and their product with the states is none.
    let mut tensors = network(10).tensors().to_vec();
    for tensor in tensors.iter_mut().filter(|tensor| tensor.name == "linear.weight") {
        let Numbers::Single(values) = &mut tensor.numbers else { panic!("single precision") };
        values.iter_mut().for_each(|value| *value *= 1e38);
    }
    let large = Pretrained::of(tensors).expect("numbers");
    large.write_to(&at.join("large.pt")).expect("written");
    succeeds(at, &["convert", "large.pt", "--out", "flows.safetensors"]);
    let says = ["an output is", "no accuracy"];
    let outputs = ["evaluate", "large.pt", "--data", "data", "--outputs", "outputs.csv"];
    refused(at, &outputs, &says);
    assert!(!at.join("outputs.csv").exists(), "nothing is written");
    refused(at, &["evaluate", "flows.safetensors", "--data", "data"], &says);
    let depths = ["evaluate", "flows.safetensors", "--data", "data", "--depth", "2,limit"];
    let output = deeplimit(at, &depths);
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{text}");
    assert!(text.contains(says[0]) && text.contains(says[1]), "{text}");
    assert!(output.stdout.is_empty(), "no table");
    let convert = ["convert", "large.pt", "--data", "data", "--out", "out.safetensors"];
    refused(at, &convert, &[]);
    assert!(!at.join("out.safetensors").exists(), "nothing is written");

    // In regression, where the loss alone would tell.
    let table: String =
        (0..60).map(|i| format!("{},{}\n", i as f32 / 60.0, (i * 7 % 60) as f32)).collect();
    fs::write(at.join("table.csv"), format!("x,y\n{table}")).expect("written");
    succeeds(
        at,
        &[
            "train",
            "--data",
            "table.csv",
            "--out",
            "run",
            "--set",
            "data.task=regression",
            "--set",
            "train.epochs=1",
            "--set",
            "train.batch=16",
            "--set",
            "network.stage.0.transition={kind=\"linear\",width=4}",
        ],
    );
    let path = at.join("run/weights/last.safetensors");
    let whole = deeplimit_nn::network::WeightsFile::from_bytes(&fs::read(&path).expect("weights"))
        .expect("weights");
    let large = whole.replaced("head.linear.weight", vec![3e38; 4]);
    fs::write(&path, large.to_bytes().expect("bytes")).expect("written");
    refused(at, &["evaluate", "run", "--weights", "last"], &says);
}

#[test]
fn a_checkpoint_is_taken_as_it_is_by_every_command() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = folder.path();
    images(at, "data_batch_1.bin", 160, 1);
    images(at, "test_batch.bin", 20, 2);
    network(10).write_to(&at.join("net.pt")).expect("written");
    succeeds(at, &["import", "net.pt", "--out", "net.safetensors"]);
    let [checkpoint, imported] =
        ["net.pt", "net.safetensors"].map(|file| json(at, &["evaluate", file, "--data", "data"]));
    assert_eq!(checkpoint["loss"], imported["loss"]);
    assert_eq!(checkpoint["part"], "test");
    assert_eq!(checkpoint["normalisation"]["name"], "imagenet");
    assert_eq!(checkpoint["normalisation"]["assumed"], true);
    let (told, _) = succeeds(at, &["evaluate", "net.pt", "--data", "data"]);
    assert!(told.contains("assumed: inputs are normalised by imagenet"), "{told}");
    assert_eq!(json(at, &["info", "net.pt"])["name"], "resnet14 (CIFAR)");
    let diagnose = ["diagnose", "net.pt", "--data", "data", "--samples", "8", "--out", "page"];
    let (_, said) = succeeds(at, &diagnose);
    assert!(said.contains("taken as flows"), "{said}");
    let run = ["train", "--init", "net.pt", "--data", "data", "--out", "run"];
    let quick = ["--set", "train.epochs=1", "--set", "train.batch=40"];
    let exact = ["--set", "gradient.method=checkpoint"];
    let (_, said) = succeeds(at, &[&run[..], &quick, &exact].concat());
    assert!(said.contains("begins with net.pt"), "{said}");
    // What export makes of a run has no configuration, and is shown as what it is.
    succeeds(at, &["export", "run", "--out", "tensors.safetensors"]);
    let info = json(at, &["info", "tensors.safetensors"]);
    assert_eq!(info["kind"], "tensors");
    let names: Vec<&Value> =
        info["tensors"].as_array().expect("tensors").iter().map(|tensor| &tensor["name"]).collect();
    assert!(names.iter().any(|name| **name == "stages.0.w1"), "{names:?}");
    let says = ["of a run of deeplimit without its configuration"];
    refused(at, &["import", "tensors.safetensors", "--out", "x.safetensors"], &says);
}

#[test]
fn what_the_tensors_do_not_tell_is_given_kept_and_said() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = folder.path();
    images(at, "data_batch_1.bin", 80, 1);
    images(at, "test_batch.bin", 20, 2);
    network(10).write_to(&at.join("net.pt")).expect("written");
    let import = |out: &str, options: &[&str]| {
        json(at, &[&["import", "net.pt", "--out", out][..], options].concat())
    };
    let evaluated = |file: &str| json(at, &["evaluate", file, "--data", "data"]);
    let usual = import("usual.safetensors", &[]);
    assert_eq!(usual["assumed"].as_array().expect("a list").len(), 1);
    let none = import("none.safetensors", &["--mean", "none"]);
    assert_eq!(none["assumed"], serde_json::json!([]));
    import("numbers.safetensors", &["--mean", "0,0,0", "--std", "1,1,1"]);
    let (told, _) = succeeds(at, &["info", "none.safetensors"]);
    assert!(told.contains("inputs normalised by none: values in 0 … 1"), "{told}");
    let [usual, none, numbers] =
        ["usual.safetensors", "none.safetensors", "numbers.safetensors"].map(evaluated);
    assert_ne!(usual["loss"], none["loss"]);
    assert_eq!(none["loss"], numbers["loss"]);
    assert_eq!(none["normalisation"]["name"], "none");
    assert_eq!(none["normalisation"]["assumed"], false);
    // Flows go by it, too.
    let convert = ["convert", "net.pt", "--stages", "none", "--mean", "none"];
    let converted = json(at, &[&convert[..], &["--out", "flows.safetensors"]].concat());
    assert_eq!(converted["normalisation"]["name"], "none");
    assert_eq!(evaluated("flows.safetensors")["loss"], none["loss"]);

    let tried = import("tried.safetensors", &["--data", "data"]);
    let ways = tried["tried"].as_array().expect("ways");
    assert_eq!(ways.len(), 5);
    let accuracy = |way: &Value| way["accuracy"].as_f64().expect("an accuracy");
    assert!(ways.windows(2).all(|pair| accuracy(&pair[0]) >= accuracy(&pair[1])), "{ways:?}");
    assert_eq!(tried["normalisation"]["name"], ways[0]["name"]);
    assert_eq!(evaluated("tried.safetensors")["accuracy"], ways[0]["accuracy"]);
    let given = import("given.safetensors", &["--data", "data", "--mean", "half"]);
    assert_eq!(given["normalisation"]["name"], "half");

    let refuses = |options: &[&str], says: &[&str]| {
        let start = ["import", "net.pt", "--out", "x.safetensors"];
        refused(at, &[&start[..], options].concat(), says);
    };
    refuses(&["--mean", "0.5,0.5,0.5"], &["--mean needs --std"]);
    refuses(&["--std", "1,0,1", "--mean", "none"], &["--std 0", "above 0"]);
    refuses(&["--stride-in-1x1"], &["--stride-in-1x1", "no bottleneck blocks"]);
}

#[test]
fn blocks_that_stride_in_their_first_convolution_are_another_network() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = folder.path();
    images(at, "data_batch_1.bin", 80, 1);
    images(at, "test_batch.bin", 10, 2);
    let architecture = Architecture {
        hidden: 4,
        width: 16,
        shortcuts: Shortcuts::Downsample,
        ..Architecture::usual(Family::Cifar, true, vec![2; 3], 10)
    };
    of(architecture).write_to(&at.join("net.pt")).expect("written");
    let late = json(at, &["import", "net.pt", "--out", "late.safetensors"]);
    assert_eq!(late["assumed"].as_array().expect("a list").len(), 2);
    succeeds(at, &["import", "net.pt", "--stride-in-1x1", "--out", "early.safetensors"]);
    let [early, late] = ["early.safetensors", "late.safetensors"]
        .map(|file| json(at, &["evaluate", file, "--data", "data"]));
    assert_ne!(early["loss"], late["loss"]);
    let (told, _) = succeeds(at, &["info", "early.safetensors"]);
    assert!(told.contains("(v1)"), "{told}");
    let tried = json(at, &["import", "net.pt", "--data", "data", "--out", "tried.safetensors"]);
    assert_eq!(tried["tried"].as_array().expect("ways").len(), 10);
}

#[test]
fn preactivation_networks_lose_nothing_by_conversion_and_say_what_shortcuts_take() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = folder.path();
    images(at, "data_batch_1.bin", 80, 1);
    images(at, "test_batch.bin", 10, 2);
    let architecture = Architecture {
        shortcuts: Shortcuts::Downsample,
        preactivation: true,
        final_norm: true,
        raw_shortcuts: true,
        ..Architecture::usual(Family::Cifar, false, vec![3; 3], 10)
    };
    of(architecture).write_to(&at.join("net.pt")).expect("written");
    let own = json(at, &["import", "net.pt", "--out", "own.safetensors"]);
    assert_eq!(own["architecture"], "preact resnet20 (CIFAR, normalised before the head)");
    assert!(own["assumed"][1].as_str().expect("two").contains("take x itself"), "{own}");
    let other = ["import", "net.pt", "--raw-shortcuts", "false", "--out", "other.safetensors"];
    let other = json(at, &other);
    assert!(other["assumed"][1].as_str().expect("two").contains("take relu(norm(x))"), "{other}");
    let convert = ["convert", "own.safetensors", "--out", "flows.safetensors", "--data", "data"];
    let converted = json(at, &convert);
    assert_eq!(converted["accuracy"][0], converted["accuracy"][1]);
    let loss = |file: &str| json(at, &["evaluate", file, "--data", "data"])["loss"].clone();
    assert_eq!(loss("own.safetensors"), loss("net.pt"));
    assert_eq!(loss("own.safetensors"), loss("flows.safetensors"));
    assert_ne!(loss("own.safetensors"), loss("other.safetensors"));
    let stages = ["convert", "own.safetensors", "--stages", "1", "--out", "x.safetensors"];
    refused(at, &stages, &["--stages", "no relu after its sums"]);
    network(10).write_to(&at.join("post.pt")).expect("written");
    let post = ["import", "post.pt", "--raw-shortcuts", "true", "--out", "x.safetensors"];
    refused(at, &post, &["--raw-shortcuts", "no pre-activation blocks"]);
    let steps =
        ["--set", "train.epochs=1", "--set", "train.batch=20", "--set", "data.validation=0"];
    let train = ["train", "--init", "flows.safetensors", "--data", "data", "--out", "run"];
    succeeds(at, &[&train[..], &steps].concat());
    let trained = json(at, &["evaluate", "run"]);
    assert_ne!(trained["loss"], loss("own.safetensors"));
}

#[test]
fn one_of_several_networks_is_chosen_by_its_key() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = folder.path();
    let (first, second) = (network(10), network(7));
    let within = |network: &Pretrained, prefix: &str| -> Vec<NamedTensor> {
        let renamed = |tensor: &NamedTensor| NamedTensor {
            name: format!("{prefix}{}", tensor.name),
            ..tensor.clone()
        };
        network.tensors().iter().map(renamed).collect()
    };
    let both = [within(&first, "model."), within(&second, "model_ema.module.")].concat();
    fs::write(at.join("both.pt"), safetensors(&both)).expect("written");
    for command in ["import", "export", "convert"] {
        let arguments = [command, "both.pt", "--out", "x.safetensors"];
        refused(at, &arguments, &["\"model\" and \"model_ema\"", "--key"]);
    }
    refused(at, &["info", "both.pt"], &["--key"]);
    let key = ["import", "both.pt", "--out", "x.safetensors", "--key", "ema"];
    refused(at, &key, &["--key \"ema\"", "\"model_ema\""]);
    for (key, network) in [("model", &first), ("model_ema", &second)] {
        let out = format!("{key}.safetensors");
        succeeds(at, &["import", "both.pt", "--key", key, "--out", &out]);
        assert_eq!(&Pretrained::read(&at.join(out)).expect("a network"), network);
    }
}

#[test]
fn files_that_are_no_weights_are_called_what_they_are() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = folder.path();
    for (bytes, says) in [
        (&b"<!DOCTYPE html>\n<html></html>"[..], "web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", "git lfs pull"),
        (b"\x1f\x8b\x08\0\0\0\0\0", "gzip"),
        (b"", "empty"),
        (b"PK\x03\x04 and no end", "incomplete"),
        (b"\x80\x04\x95\0\0\0\0\0\0\0\0.", "torch.save did not write"),
        (b"no weights at all", "neither a checkpoint"),
    ] {
        fs::write(at.join("file.pth"), bytes).expect("written");
        for arguments in [
            &["import", "file.pth", "--out", "x.safetensors"][..],
            &["info", "file.pth"],
            &["evaluate", "file.pth", "--data", "data"],
            &["diagnose", "file.pth"],
            &["train", "--init", "file.pth"],
        ] {
            refused(at, arguments, &["file.pth", says]);
        }
    }
}
