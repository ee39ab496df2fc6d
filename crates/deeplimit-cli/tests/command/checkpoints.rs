//! Checkpoints as they come: what is read, what is assumed and told, and what is refused with its reason.

use super::pretrained::{
    deeplimit, images, json, network, of, refused, safetensors, succeeds, with_number,
};
use deeplimit_nn::pretrained::{Architecture, Family, NamedTensor, Numbers, Pretrained, Shortcuts};
use serde_json::Value;
use std::fs;

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
