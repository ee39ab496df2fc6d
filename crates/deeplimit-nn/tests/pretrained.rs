//! Networks trained in PyTorch: read, recognised, evaluated as there, written back; and files that are
//! damaged or hostile.

#[path = "../../deeplimit/tests/common/counting.rs"]
mod counting;

use deeplimit_nn::data::{Batch, BatchTargets, Normalise, Options, Shape, Splits, batch, load};
use deeplimit_nn::deeplimit::Rows;
use deeplimit_nn::deeplimit::seed::uniform;
use deeplimit_nn::network::{Network, Outputs, WeightsFile};
use deeplimit_nn::pretrained::{
    Architecture, Family, Head, NamedTensor, Numbers, Pretrained, ReadError, Shortcuts, Stages,
    read,
};
use deeplimit_nn::train::Config;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

#[global_allocator]
static ALLOCATOR: counting::Counting = counting::Counting;

/// Tests of this file wait for one another: they share the allocator.
static ALONE: Mutex<()> = Mutex::new(());

fn shipped(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/pretrained").join(name)
}

/// A folder of the real data, or `None`, saying so.
fn real(set: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data").join(set);
    if !path.is_dir() {
        eprintln!("skipped: shared/data/{set} is not there");
        return None;
    }
    Some(path)
}

const REAL: [&str; 3] = ["resnet20-12fca82f.th", "resnet32-d509ac18.th", "resnet56-4bfd9763.th"];

fn names(tensors: &[NamedTensor]) -> Vec<&str> {
    tensors.iter().map(|tensor| &tensor.name[..]).collect()
}

#[test]
fn all_containers_hold_the_same_tensors_without_what_they_were_nested_in() {
    let _alone = ALONE.lock();
    let expected = read(&shipped("plain.safetensors"), None).expect("safetensors");
    assert_eq!(
        names(&expected),
        [
            "bn1.num_batches_tracked",
            "bn1.weight",
            "conv1.weight",
            "fc.bias",
            "fc.weight",
            "layer1.0.conv1.weight"
        ]
    );
    assert_eq!(expected[0].numbers, Numbers::Whole(vec![7]));
    assert_eq!(expected[2].shape, [4, 3, 3, 3]);
    for name in ["zip.pt", "legacy.pt"] {
        assert_eq!(read(&shipped(name), None).expect(name), expected, "{name}");
    }
}

#[test]
fn a_view_larger_than_its_file_and_compressed_members_are_refused_before_they_are_read() {
    let _alone = ALONE.lock();
    let (error, most) = peak(&shipped("expanded.pt"));
    assert!(matches!(error, Err(ReadError::TooLarge { bytes: 3_600_000_000, .. })), "{error:?}");
    assert!(most < 1 << 20, "{most}");
    let error = read(&shipped("deflated.pt"), None).expect_err("compressed");
    assert!(matches!(error, ReadError::Compressed { .. }), "{error}");
}

#[test]
fn a_module_that_was_saved_whole_has_the_tensors_of_its_state() {
    let _alone = ALONE.lock();
    let expected = read(&shipped("zip.pt"), None).expect("tensors");
    let found = read(&shipped("whole.pt"), None).expect("a module");
    // What was not loaded into it is as it was made.
    let own = |tensor: &&NamedTensor| !names(&expected).contains(&&tensor.name[..]);
    let more: Vec<&str> = found.iter().filter(own).map(|tensor| &tensor.name[..]).collect();
    assert_eq!(more, ["bn1.bias", "bn1.running_mean", "bn1.running_var"]);
    for tensor in &expected {
        assert!(found.contains(tensor), "{}", tensor.name);
    }
}

/// In another order in memory, of other kinds of numbers, and beside what is no tensor or none that is read.
#[test]
fn tensors_are_the_same_however_they_lie_in_the_file() {
    let _alone = ALONE.lock();
    let expected = read(&shipped("zip.pt"), None).expect("tensors");
    let mut found = read(&shipped("odd.pt"), None).expect("tensors");
    assert_eq!(names(&found), names(&expected));
    // Transposed, all four extents the other way round.
    let place = found.iter().position(|tensor| tensor.name == "layer1.0.conv1.weight").expect("it");
    let Numbers::Single(turned) = &found[place].numbers else { panic!("single precision") };
    assert_eq!(found[place].shape, [3, 3, 4, 4]);
    let mut back = vec![0.0; turned.len()];
    for (at, value) in turned.iter().enumerate() {
        let [a, b, c, d] = [at / 48, at / 16 % 3, at / 4 % 4, at % 4];
        back[((d * 4 + c) * 3 + b) * 3 + a] = *value;
    }
    found[place] = NamedTensor {
        shape: vec![4, 4, 3, 3],
        numbers: Numbers::Single(back),
        ..found[place].clone()
    };
    for (found, expected) in found.iter().zip(&expected) {
        match (&found.numbers, &expected.numbers) {
            // Half precision.
            (Numbers::Single(found), Numbers::Single(expected)) if expected.len() == 2 => {
                for (found, expected) in found.iter().zip(expected) {
                    assert!((found - expected).abs() < 1e-3 * expected.abs(), "{found} {expected}");
                }
            }
            _ => assert_eq!(found, expected),
        }
    }
}

#[test]
fn quantised_numbers_are_named() {
    let _alone = ALONE.lock();
    let error = read(&shipped("quantised.pt"), None).expect_err("quantised").to_string();
    assert!(error.contains("\"conv1.weight\"") && error.contains("qint8"), "{error}");
}

/// What a network's layout is, and its logits in PyTorch.
fn variants() -> Vec<(String, Architecture, Vec<Vec<f64>>)> {
    let all: serde_json::Value =
        serde_json::from_str(include_str!("pretrained/variants.json")).expect("the golden logits");
    let one = |variant: &serde_json::Value| {
        let number = |key: &str| variant[key].as_u64().expect(key) as usize;
        let flag = |key: &str| variant[key] == true;
        let list = |value: &serde_json::Value| value.as_array().expect("a list").clone();
        let blocks: Vec<usize> = list(&variant["blocks"])
            .iter()
            .map(|count| count.as_u64().expect("blocks") as usize)
            .collect();
        let family = if number("window") == 3 { Family::Cifar } else { Family::Imagenet };
        let architecture = Architecture {
            stem: number("stem"),
            hidden: number("hidden"),
            width: number("width"),
            shortcuts: match variant["shortcuts"].as_str() {
                Some("downsample") => Shortcuts::Downsample,
                Some("shortcut") => Shortcuts::Shortcut,
                _ => Shortcuts::Pad,
            },
            head: if variant["head"] == "fc" { Head::Fc } else { Head::Linear },
            pool: flag("pool"),
            stride_in_1x1: flag("stride_in_1x1"),
            preactivation: flag("preactivation"),
            final_norm: flag("final_norm"),
            raw_shortcuts: flag("raw_shortcuts"),
            ..Architecture::usual(family, flag("bottleneck"), blocks, 5)
        };
        let row = |row: &serde_json::Value| {
            list(row).iter().map(|value| value.as_f64().expect("a number")).collect()
        };
        let logits = list(&variant["logits"]).iter().map(row).collect();
        (variant["name"].as_str().expect("a name").to_owned(), architecture, logits)
    };
    all.as_array().expect("a list").iter().map(one).collect()
}

/// shift + scale sin(0.7 i² + key).
fn numbers(count: usize, key: usize, [scale, shift]: [f64; 2]) -> Vec<f32> {
    let number = |i: usize| (shift + scale * (0.7 * (i * i) as f64 + key as f64).sin()) as f32;
    (0..count).map(number).collect()
}

/// A network with the weights of `pretrained/variants.py`.
fn filled(architecture: &Architecture) -> Pretrained {
    let mut expected = architecture.tensors();
    expected.sort_by(|a, b| a.name.cmp(&b.name));
    let made = expected.into_iter().enumerate().map(|(key, tensor)| {
        let fan_in: usize = tensor.shape.iter().skip(1).product();
        let about = match tensor.name.rsplit('.').next().expect("a part") {
            "running_mean" => [0.1, 0.0],
            "running_var" => [0.3, 1.0],
            "bias" => [0.2, 0.0],
            _ if tensor.shape.len() == 1 => [0.3, 1.0],
            _ => [2.0 / (fan_in as f64).sqrt(), 0.0],
        };
        let numbers = numbers(tensor.shape.iter().product(), key, about);
        NamedTensor { name: tensor.name, shape: tensor.shape, numbers: Numbers::Single(numbers) }
    });
    let mut network = Pretrained::of(made.collect()).expect("a network of these tensors");
    if architecture.raw_shortcuts != network.architecture().raw_shortcuts {
        network = network.with_raw_shortcuts(architecture.raw_shortcuts).expect("shortcuts");
    }
    match architecture.stride_in_1x1 {
        true => network.with_stride_in_1x1().expect("bottleneck blocks"),
        false => network,
    }
}

#[test]
fn published_variants_are_recognised_and_have_pytorchs_logits() {
    let _alone = ALONE.lock();
    let shape = Shape::image(3, 16, 16);
    let inputs = numbers(3 * shape.elements(), 0, [0.5, 0.5]);
    let batch = Batch { inputs, shape, targets: BatchTargets::Labels(vec![0; 3]) };
    let folder = tempfile::tempdir().expect("a folder");
    for (name, architecture, logits) in variants() {
        let network = filled(&architecture);
        assert_eq!(network.architecture(), &architecture, "{name}");
        let path = folder.path().join(&name);
        network.write_to(&path).expect("written");
        assert_eq!(Pretrained::read(&path).expect("a network"), network, "{name}");
        let found = network.converted(shape, &Stages::none()).expect(&name).evaluator();
        assert!(is_near(&found.reach(&batch).outputs, &logits), "{name}");
    }
}

/// Whether outputs are these but for rounding in single precision through twenty layers.
fn is_near(found: &Rows<f32>, expected: &[Vec<f64>]) -> bool {
    let largest = expected.iter().flatten().fold(0f64, |most, logit| most.max(logit.abs()));
    let near = |(row, expected): (usize, &Vec<f64>)| {
        let pairs = found.row(row).into_iter().zip(expected);
        pairs
            .into_iter()
            .all(|(found, expected)| (f64::from(found) - expected).abs() < 1e-4 * largest)
    };
    found.rows() == expected.len() && expected.iter().enumerate().all(near)
}

/// Pre-activation blocks have no relu behind them: as flows they are the network itself.
#[test]
fn flows_of_preactivation_networks_are_the_network_itself() {
    let _alone = ALONE.lock();
    let (shape, samples) = (Shape::image(3, 16, 16), 3);
    let inputs = numbers(samples * shape.elements(), 0, [0.5, 0.5]);
    let batch = Batch { inputs, shape, targets: BatchTargets::Labels(vec![0; samples]) };
    let (preactivation, others): (Vec<_>, Vec<_>) =
        variants().into_iter().partition(|(_, architecture, _)| architecture.preactivation);
    assert!(preactivation.len() > 5 && others.len() > 5);
    for (name, architecture, logits) in preactivation.iter().chain(&others) {
        let network = filled(architecture);
        let outputs = |flows: &Stages| {
            let converted = network.converted(shape, flows).expect(name);
            converted.evaluator().reach(&batch).outputs
        };
        let flows = outputs(&Stages::All);
        assert_eq!(is_near(&flows, logits), architecture.preactivation, "{name}");
        // What is written of the flows is read again as a run's weights are.
        let file = network.converted_file(&Stages::All).expect(name);
        let bytes = file.to_bytes().expect("a file");
        let file = WeightsFile::from_bytes(&bytes).expect("a file");
        let config: Config = toml::from_str(&file.metadata["config"]).expect("a configuration");
        assert_eq!(config.network, architecture.flows(&Stages::All).expect(name), "{name}");
        let plan = config.network.check(shape, Outputs::Classes(5)).expect(name);
        let read = file.load_into(Network::new(&plan, 9)).expect(name);
        assert_eq!(read.evaluator().reach(&batch).outputs, flows, "{name}");
    }
}

#[test]
fn shortcuts_are_told_of_where_tensors_do_not_tell_and_other_networks_have_none() {
    let _alone = ALONE.lock();
    for (name, architecture, _) in variants() {
        let network = filled(&architecture);
        let assumed = network.assumed().join("; ");
        for (raw, told) in
            [(true, "shortcuts take x itself"), (false, "shortcuts take relu(norm(x))")]
        {
            let expected = architecture.preactivation && architecture.raw_shortcuts == raw;
            assert_eq!(assumed.contains(told), expected, "{name}: {assumed}");
        }
        assert_eq!(assumed.contains("--raw-shortcuts"), architecture.preactivation, "{name}");
        let other = network.with_raw_shortcuts(!architecture.raw_shortcuts);
        assert_eq!(other.is_ok(), architecture.preactivation, "{name}");
    }
}

/// What reading a file gives, and the most bytes it took.
fn peak(path: &Path) -> (Result<Vec<NamedTensor>, ReadError>, usize) {
    counting::peak_on(1, || read(path, None))
}

/// Files made of a whole one: cut at many places, and with bytes that are others.
fn damaged(whole: &[u8], seed: u64) -> Vec<(String, Vec<u8>)> {
    let cut = |part: usize| {
        let length = whole.len() * part / 25;
        (format!("cut at {length}"), whole[..length].to_vec())
    };
    let flipped = |index: u64| {
        let at = ((uniform(seed, 2 * index) + 1.0) / 2.0 * whole.len() as f64) as usize;
        let by = 1 + ((uniform(seed, 2 * index + 1) + 1.0) / 2.0 * 254.0) as u8;
        let mut bytes = whole.to_vec();
        let at = at.min(bytes.len() - 1);
        bytes[at] ^= by;
        (format!("byte {at} changed by {by}"), bytes)
    };
    (0..25).map(cut).chain((0..45).map(flipped)).collect()
}

/// Pickles that ask for what is never done, or for more than there is.
fn hostile(mark: &Path) -> Vec<(String, Vec<u8>)> {
    let call = format!("touch {}", mark.display());
    let repeat = |part: &[u8], count: usize, end: &[u8]| [&part.repeat(count)[..], end].concat();
    let text = |text: String| text.into_bytes();
    let all: [(&str, Vec<u8>); 16] = [
        ("system", text(format!("\u{80}\u{2}cposix\nsystem\n(S'{call}'\ntR.")).split_off(1)),
        ("system, protocol 0", text(format!("cposix\nsystem\n(S'{call}'\ntR."))),
        ("eval", text("c__builtin__\neval\n(S'1'\ntR.".to_owned())),
        ("inst", text(format!("(S'{call}'\niposix\nsystem\n."))),
        ("obj", text(format!("(cposix\nsystem\nS'{call}'\no."))),
        ("newobj", [&b"\x80\x02cposix\nsystem\nU\x02ls\x85\x81."[..]].concat()),
        ("stack_global", b"\x80\x04\x8c\x05posix\x8c\x06system\x93\x8c\x02ls\x85R.".to_vec()),
        ("extension", b"\x80\x02\x82\x01.".to_vec()),
        ("persistent id", b"\x80\x02U\x07storageQ.".to_vec()),
        ("nested lists", repeat(b"]", 100_000, &repeat(b"a", 99_999, b"."))),
        ("nested tuples", repeat(b"(", 100_000, &repeat(b"t", 100_000, b"."))),
        ("a long of 2 GiB", b"\x80\x02\x8b\xff\xff\xff\x7f.".to_vec()),
        ("a text of 8 EiB", b"\x80\x04\x8d\xff\xff\xff\xff\xff\xff\xff\x7f.".to_vec()),
        ("memo 4 billion", b"\x80\x02}r\xff\xff\xff\xff.".to_vec()),
        ("memo missing", b"\x80\x02}j\xff\xff\xff\xff.".to_vec()),
        ("empty", Vec::new()),
    ];
    all.map(|(name, bytes)| (name.to_owned(), bytes)).into()
}

/// What reading may take, whatever the file, and what a reader keeps for itself.
const FLOOR: usize = (64 << 20) + (1 << 20);

#[test]
fn damaged_and_hostile_files_end_in_one_line_within_twice_their_size_and_64_mb() {
    let _alone = ALONE.lock();
    let folder = tempfile::tempdir().expect("a folder");
    let mark = folder.path().join("was-run");
    let mut files: Vec<(String, Vec<u8>)> = Vec::new();
    let mut add = |path: &Path, seed: u64| {
        let whole = std::fs::read(path).expect("a file");
        let name = path.display();
        files.extend(
            damaged(&whole, seed).into_iter().map(|(what, b)| (format!("{name}: {what}"), b)),
        );
    };
    for (seed, name) in ["zip.pt", "legacy.pt", "plain.safetensors"].iter().enumerate() {
        add(&shipped(name), seed as u64);
    }
    if let Some(folder) = real("pretrained_cifar10") {
        add(&folder.join(REAL[0]), 9);
    }
    files.extend(hostile(&mark));
    assert!(files.len() > 200, "{}", files.len());
    let path = folder.path().join("file");
    let mut ends = BTreeMap::new();
    for (what, bytes) in &files {
        std::fs::write(&path, bytes).expect("written");
        let (found, most) = peak(&path);
        assert!(most <= 2 * bytes.len() + FLOOR, "{what}: {most} bytes of {}", bytes.len());
        let end = match found {
            Ok(_) => "read",
            Err(error) => {
                let text = error.to_string();
                assert!(!text.contains('\n') && !text.is_empty(), "{what}: {text:?}");
                "refused"
            }
        };
        *ends.entry(end).or_insert(0) += 1;
    }
    assert!(!mark.exists(), "nothing in a pickle is run");
    // A byte of a weight, of padding or of a date may be another without anything being amiss.
    println!("{ends:?}");
    assert!(ends["refused"] > 120, "{ends:?}");
}

/// Importing is reading and writing; the tensors are in memory once.
#[test]
fn an_honest_file_takes_little_more_than_its_tensors() {
    let _alone = ALONE.lock();
    let folder = tempfile::tempdir().expect("a folder");
    let [from, to] = ["from", "to"].map(|name| folder.path().join(name));
    let architecture = Architecture::usual(Family::Cifar, false, vec![9; 3], 10);
    filled(&architecture).write_to(&from).expect("written");
    let size = std::fs::metadata(&from).expect("a file").len() as usize;
    let (network, most) = counting::peak_on(1, || {
        let network = Pretrained::read(&from).expect("a network");
        network.write_to(&to).expect("written");
        network
    });
    assert_eq!(network.architecture(), &architecture);
    assert!(size > 3_000_000 && most < size + size / 4 + (1 << 20), "{most} of {size}");
}

#[test]
fn the_real_checkpoints_are_recognised_and_survive_their_file_to_the_bit() {
    let _alone = ALONE.lock();
    let Some(folder) = real("pretrained_cifar10") else { return };
    let out = tempfile::tempdir().expect("a folder");
    for (file, name) in REAL.into_iter().zip(["resnet20", "resnet32", "resnet56"]) {
        let network = Pretrained::read(&folder.join(file)).expect(file);
        assert_eq!(network.architecture().to_string(), format!("{name} (CIFAR)"));
        let written = out.path().join(name);
        network.write_to(&written).expect("written");
        assert_eq!(Pretrained::read(&written).expect("a whole file"), network);
    }
}

/// The real images, normalised for these networks.
fn images() -> Option<Splits> {
    let folder = real("cifar10")?;
    let network = Pretrained::read(&real("pretrained_cifar10")?.join(REAL[0])).expect("a network");
    let normalise = Normalise::Given(network.inputs().normalisation());
    let options = Options { normalise, ..Options::at(folder).expect("CIFAR-10") };
    Some(load(&Options { test: None, ..options }).expect("CIFAR-10"))
}

#[test]
fn logits_are_pytorchs() {
    let _alone = ALONE.lock();
    let Some(splits) = images() else { return };
    let golden: serde_json::Value =
        serde_json::from_str(include_str!("pretrained/logits.json")).expect("the golden logits");
    // The first of the images of data_batch_5, of which the last half are the test part.
    let folder = real("cifar10").expect("it was there");
    let one = tempfile::tempdir().expect("a folder");
    let last = folder.join("data_batch_5.bin.gz");
    std::fs::copy(&last, one.path().join("test_batch.bin.gz")).expect("copied");
    std::fs::copy(&last, one.path().join("data_batch_1.bin.gz")).expect("copied");
    let normalise = Normalise::Given(splits.normalisation.clone());
    let options = Options { normalise, ..Options::at(one.path()).expect("CIFAR-10") };
    let splits = load(&options).expect("one batch");
    let test = splits.test.as_ref().expect("test images");
    let order: Vec<u32> = (0..16).collect();
    let batch = batch(test, &order, &splits.normalisation, None).expect("a batch");
    for file in REAL {
        let path = real("pretrained_cifar10").expect("it was there").join(file);
        let network = Pretrained::read(&path).expect(file);
        let converted = |flows: &Stages| {
            let network = network.converted(splits.train.shape(), flows).expect("a network");
            network.evaluator().reach(&batch).outputs
        };
        let found = converted(&Stages::none());
        for row in 0..16 {
            for (column, value) in found.row(row).iter().enumerate() {
                let expected = golden[file][row][column].as_f64().expect("a number");
                assert!((f64::from(*value) - expected).abs() < 1e-4, "{file}: {value} {expected}");
            }
        }
        // Without relu after the sums of any stage it is another network.
        for flows in ["all", "1", "2", "3"] {
            let other = converted(&flows.parse().expect("stages"));
            assert_ne!(other.row(0), found.row(0), "{flows}");
        }
    }
}
