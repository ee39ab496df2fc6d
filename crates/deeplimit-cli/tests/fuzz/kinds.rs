//! The kinds of file that the command reads: honest examples, where a change goes, and the commands that read them.

use crate::mutate::{self, Random};
use flate2::{Compression, write::GzEncoder};
use std::fs;
use std::io::{Cursor, Read, Write};
use std::path::{Path, PathBuf};

/// Settings of a run of a few steps.
pub const SMALL: &str = "--set train.epochs=1 --set train.batch=8 --set network.stage.0.depth=2 \
                         --set network.stage.0.hidden=4 --set data.limit_train=24 --set data.limit_test=8";

/// A change of a file's bytes.
type Change = fn(&[u8], &mut Random) -> Vec<u8>;

/// A file of some kind, and what reads it.
pub struct Kind {
    pub name: &'static str,
    /// The file or folder that commands are given.
    pub root: PathBuf,
    /// The files below `root` that are changed, one at a time; `root` itself where it is a file.
    pub files: Vec<PathBuf>,
    /// Commands: words between blanks; `@` stands for the root, `>` for a path that is free.
    pub commands: Vec<String>,
    pub change: Change,
}

/// Honest files in a folder; `train` runs the command there.
pub fn all(folder: &Path, train: impl Fn(&str)) -> Vec<Kind> {
    let mut kinds = vec![table(folder), compressed(folder), idx(folder), cifar(folder)];
    kinds.push(configuration(folder));
    train(&format!("train --data table.csv --out run {SMALL}"));
    train(&format!("train --data idx --out seen {SMALL}"));
    kinds.extend(run(folder));
    kinds.extend(images(folder));
    kinds.extend(checkpoints(folder));
    kinds
}

fn commands(list: &[&str]) -> Vec<String> {
    list.iter().map(|command| command.replace("SMALL", SMALL)).collect()
}

fn write(path: &Path, bytes: impl AsRef<[u8]>) -> PathBuf {
    fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
    fs::write(path, bytes).expect("written");
    path.to_owned()
}

fn table_text() -> String {
    let row = |i: u32| {
        let class = ["oak", "elm", "ash"][(i % 3) as usize];
        format!("{},{}.5,{},{class}\n", i * 7 % 11, i % 5, f64::from(i).sin())
    };
    "length,width,height,tree\n".to_owned() + &(0..40).map(row).collect::<String>()
}

fn table(folder: &Path) -> Kind {
    let root = write(&folder.join("table.csv"), table_text());
    let commands = commands(&["info @", "train --data @ --out > SMALL"]);
    Kind { name: "table", files: vec![root.clone()], root, commands, change: mutate::bytes }
}

fn compressed(folder: &Path) -> Kind {
    let mut writer = GzEncoder::new(Vec::new(), Compression::fast());
    writer.write_all(table_text().as_bytes()).expect("compressed");
    let root = write(&folder.join("packed.csv.gz"), writer.finish().expect("compressed"));
    let commands = commands(&["info @"]);
    Kind { name: "packed table", files: vec![root.clone()], root, commands, change: mutate::bytes }
}

fn idx(folder: &Path) -> Kind {
    let root = folder.join("idx");
    let mut files = Vec::new();
    for (part, count) in [("train", 30u32), ("t10k", 10)] {
        let sizes = [0x0803u32, count, 4, 4].map(u32::to_be_bytes).concat();
        let pixels = (0..count * 16).map(|i| (i * 37 % 251) as u8);
        let images: Vec<u8> = sizes.into_iter().chain(pixels).collect();
        let sizes = [0x0801u32, count].map(u32::to_be_bytes).concat();
        let labels: Vec<u8> = sizes.into_iter().chain((0..count).map(|i| (i % 10) as u8)).collect();
        files.push(write(&root.join(format!("{part}-images-idx3-ubyte")), images));
        files.push(write(&root.join(format!("{part}-labels-idx1-ubyte")), labels));
    }
    let commands = commands(&["info @", "train --data @ --out > SMALL"]);
    Kind { name: "idx", root, files, commands, change: mutate::bytes }
}

fn cifar(folder: &Path) -> Kind {
    let root = folder.join("cifar");
    let record = |i: u32| {
        let pixels = (0..3072).map(move |p| ((i * 31 + p * 7) % 256) as u8);
        std::iter::once((i % 10) as u8).chain(pixels)
    };
    let records = |count: u32| (0..count).flat_map(record).collect::<Vec<u8>>();
    let files = vec![
        write(&root.join("data_batch_1.bin"), records(24)),
        write(&root.join("test_batch.bin"), records(8)),
    ];
    let commands = commands(&["info @", "train --data @ --out > SMALL"]);
    Kind { name: "cifar", root, files, commands, change: mutate::bytes }
}

fn configuration(folder: &Path) -> Kind {
    let text = "seed = 3\n[data]\nlimit_train = 24\nlimit_test = 8\nvalidation = 0.1\n\
                [[network.stage]]\ntransition = { kind = \"linear\", width = 5 }\nfield = \"mlp\"\nhidden = 4\n\
                depth = 3\nscheme = \"heun\"\n[train]\nepochs = 1\nbatch = 8\nrate = 0.01\n\
                optimiser = \"sgd\"\nmomentum = 0.9\nclip = 1.0\nschedule = \"cosine\"\n\
                [gradient]\nmethod = \"adjoint-adaptive\"\ntolerance = 1e-3\n[objective.depth]\nh1 = 1e-3\n";
    let root = write(&folder.join("run.toml"), text);
    let commands = commands(&["train @ --out >"]);
    Kind { name: "configuration", files: vec![root.clone()], root, commands, change: mutate::bytes }
}

/// A run folder, each of its files changed; and its weights file alone.
fn run(folder: &Path) -> Vec<Kind> {
    let root = folder.join("run");
    let weights = root.join("weights");
    let beside = |name: &str| {
        write(&folder.join(name), fs::read(weights.join("last.safetensors")).expect("weights"))
    };
    let (lone, header) = (beside("lone.safetensors"), beside("header.safetensors"));
    let optimiser =
        fs::read_dir(&weights).expect("a folder").map(|entry| entry.expect("an entry").path());
    let optimiser = optimiser.filter(|path| path.extension().is_some_and(|end| end == "bpk"));
    let mut files = vec![
        root.join("config.toml"),
        root.join("metrics.jsonl"),
        weights.join("last.safetensors"),
    ];
    files.extend(optimiser);
    let on_run = &[
        "info @",
        "evaluate @ --weights last",
        "train --resume @ --epochs 2",
        "refine @ --depth 3 --out >",
        "diagnose @ --json",
    ];
    let on_weights = &[
        "info @",
        "evaluate @",
        "export @ --out >",
        "train --init @ --data table.csv --out > SMALL",
    ];
    let kind = |name, root: &PathBuf, files, list, change| Kind {
        name,
        root: root.clone(),
        files,
        commands: commands(list),
        change,
    };
    vec![
        kind("run", &root, files, on_run, mutate::bytes),
        kind("weights", &lone, vec![lone.clone()], on_weights, mutate::bytes),
        kind("weights' header", &header, vec![header.clone()], on_weights, header_of_safetensors),
    ]
}

/// Images for a network that was trained on the IDX files; commands find it as `seen.safetensors`.
fn images(folder: &Path) -> Vec<Kind> {
    let weights = fs::read(folder.join("seen/weights/last.safetensors")).expect("weights");
    write(&folder.join("seen.safetensors"), weights);
    let pixels: Vec<u8> = (0..16u8).map(|i| i * 13).collect();
    let mut png = Vec::new();
    let mut encoder = png::Encoder::new(&mut png, 4, 4);
    encoder.set_color(png::ColorType::Grayscale);
    let mut writer = encoder.write_header().expect("a header");
    writer.write_image_data(&pixels).expect("pixels");
    writer.finish().expect("an image");
    let mut jpeg = Vec::new();
    let encoder = jpeg_encoder::Encoder::new(&mut jpeg, 90);
    encoder.encode(&pixels, 4, 4, jpeg_encoder::ColorType::Luma).expect("an image");
    let commands =
        commands(&["predict seen.safetensors --data @", "predict seen.safetensors --data @ --fit"]);
    let kind = |name, file: &str, bytes: &[u8]| {
        let root = write(&folder.join(file), bytes);
        let (files, commands) = (vec![root.clone()], commands.clone());
        Kind { name, root, files, commands, change: mutate::bytes }
    };
    let idx = fs::read(folder.join("idx/t10k-images-idx3-ubyte")).expect("images");
    vec![
        kind("png", "a.png", &png),
        kind("jpeg", "a.jpg", &jpeg),
        kind("unlabelled idx", "a-images-idx3-ubyte", &idx),
    ]
}

/// The small checkpoints that the tests of the readers use.
fn checkpoints(folder: &Path) -> Vec<Kind> {
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deeplimit-nn/tests/pretrained");
    let mut names: Vec<PathBuf> = fs::read_dir(from)
        .expect("small checkpoints")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    names.sort();
    let mut kinds = Vec::new();
    for path in names {
        let end = path.extension().unwrap_or_default().to_string_lossy().into_owned();
        if !["pt", "pth", "th", "safetensors"].contains(&&*end) {
            continue;
        }
        let bytes = fs::read(&path).expect("a checkpoint");
        let zip = bytes.starts_with(b"PK");
        let root =
            write(&folder.join("checkpoints").join(path.file_name().expect("a name")), bytes);
        let list = commands(&["import @ --out >", "info @", "convert @ --out >"]);
        let changes: &[(&'static str, Change)] = match (zip, &*end) {
            (true, _) => &[("checkpoint", mutate::bytes), ("pickle", member_of_zip)],
            (_, "safetensors") => {
                &[("checkpoint", mutate::bytes), ("header", header_of_safetensors)]
            }
            _ => &[("checkpoint", mutate::bytes)],
        };
        for &(name, change) in changes {
            let (root, files) = (root.clone(), vec![root.clone()]);
            kinds.push(Kind { name, root, files, commands: list.clone(), change });
        }
    }
    kinds
}

/// The text in front of the tensors changed, with its length put right.
fn header_of_safetensors(bytes: &[u8], random: &mut Random) -> Vec<u8> {
    let length = u64::from_le_bytes(bytes[..8].try_into().expect("eight bytes")) as usize;
    let header = mutate::bytes(&bytes[8..8 + length], random);
    [&(header.len() as u64).to_le_bytes()[..], &header, &bytes[8 + length..]].concat()
}

/// One member of an archive changed, with its checksum put right.
fn member_of_zip(bytes: &[u8], random: &mut Random) -> Vec<u8> {
    let mut archive = zip::ZipArchive::new(Cursor::new(bytes)).expect("an honest archive");
    let mut members = Vec::new();
    for index in 0..archive.len() {
        let mut member = archive.by_index(index).expect("a member");
        let name = member.name().expect("a name").into_owned();
        let mut inside = Vec::new();
        if member.read_to_end(&mut inside).is_err() {
            // An example of what is refused: its members are compressed.
            return mutate::bytes(bytes, random);
        }
        members.push((name, inside));
    }
    // The pickle is what a reader interprets; the others are numbers.
    let pickle = members.iter().position(|(name, _)| name.ends_with("data.pkl"));
    let place =
        pickle.filter(|_| random.below(8) > 0).unwrap_or_else(|| random.below(members.len()));
    members[place].1 = mutate::bytes(&members[place].1, random);
    let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
    let stored =
        zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    for (name, inside) in members {
        writer.start_file(name, stored).expect("a member");
        writer.write_all(&inside).expect("its bytes");
    }
    writer.finish().expect("an archive").into_inner()
}
