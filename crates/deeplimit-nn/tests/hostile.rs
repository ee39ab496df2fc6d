//! Checkpoints that ask for much: whatever is in a file, reading it takes at most twice its size and 64 MB.

#[path = "../../deeplimit/tests/common/counting.rs"]
mod counting;

use deeplimit_nn::pretrained::{NamedTensor, Numbers, ReadError, read};
use std::io::Write;
use std::path::Path;
use std::sync::Mutex;

#[global_allocator]
static ALLOCATOR: counting::Counting = counting::Counting;

/// Tests of this file wait for one another: they share the allocator.
static ALONE: Mutex<()> = Mutex::new(());

/// What reading may take, whatever the file, and what a reader keeps for itself.
const FLOOR: usize = (64 << 20) + (1 << 20);

/// What a stream of pickles begins with: the magic number, the version, the machine.
const STREAM: &[u8] =
    b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03.\x80\x02}U\rlittle_endian\x88s.";

fn text(text: &[u8]) -> Vec<u8> {
    [&b"X"[..], &(text.len() as u32).to_le_bytes(), text].concat()
}

fn number(value: usize) -> Vec<u8> {
    [&b"J"[..], &(value as u32).to_le_bytes()].concat()
}

fn numbers(values: &[usize]) -> Vec<u8> {
    let values: Vec<u8> = values.iter().flat_map(|value| number(*value)).collect();
    [&b"("[..], &values, b"t"].concat()
}

/// The single-precision storage "0" of so many numbers.
fn storage(count: usize) -> Vec<u8> {
    let key = [text(b"storage"), b"ctorch\nFloatStorage\n".to_vec(), text(b"0"), text(b"cpu")];
    [&b"("[..], &key.concat(), &number(count), b"tQ"].concat()
}

/// A tensor on it.
fn view(count: usize, from: usize, shape: &[usize], stride: &[usize]) -> Vec<u8> {
    [
        &b"ctorch._utils\n_rebuild_tensor_v2\n("[..],
        &storage(count),
        &number(from),
        &numbers(shape),
        &numbers(stride),
        b"\x89ccollections\nOrderedDict\n)RtR",
    ]
    .concat()
}

/// A whole pickle of a dictionary.
fn dictionary(entries: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let entries = entries.iter().flat_map(|(name, value)| [text(name.as_bytes()), value.clone()]);
    [&b"\x80\x02}("[..], &entries.collect::<Vec<_>>().concat(), b"u."].concat()
}

/// A checkpoint of PyTorch before 1.6.
fn stream(pickle: &[u8], storage: &[f32]) -> Vec<u8> {
    let bytes: Vec<u8> = storage.iter().flat_map(|value| value.to_le_bytes()).collect();
    let count = (storage.len() as u64).to_le_bytes();
    let keys: &[u8] = if storage.is_empty() { b"\x80\x02]." } else { b"\x80\x02]U\x010a." };
    [STREAM, pickle, keys, &count, &bytes].concat()
}

/// A checkpoint since PyTorch 1.6.
fn archive(pickle: &[u8], storage: &[f32]) -> Vec<u8> {
    let bytes: Vec<u8> = storage.iter().flat_map(|value| value.to_le_bytes()).collect();
    members([("a/data.pkl".to_owned(), pickle), ("a/data/0".to_owned(), &bytes)])
}

fn members<'b>(members: impl IntoIterator<Item = (String, &'b [u8])>) -> Vec<u8> {
    let mut bytes = std::io::Cursor::new(Vec::new());
    let mut writer = zip::ZipWriter::new(&mut bytes);
    let stored =
        zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    for (name, member) in members {
        writer.start_file(name, stored).expect("a member");
        writer.write_all(member).expect("its bytes");
    }
    writer.finish().expect("an archive");
    bytes.into_inner()
}

fn safetensors(header: &str, data: usize) -> Vec<u8> {
    [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &vec![0; data]].concat()
}

type Made = Result<Vec<NamedTensor>, ReadError>;

/// What reading these bytes gives, after checking what it took and how it is told.
fn taken(what: &str, bytes: &[u8], path: &Path) -> Made {
    std::fs::write(path, bytes).expect("written");
    let (found, most) = counting::peak_on(1, || read(path, None));
    assert!(most <= 2 * bytes.len() + FLOOR, "{what}: {most} bytes of {}", bytes.len());
    if let Err(error) = &found {
        let text = error.to_string();
        assert!(text.lines().count() == 1 && text.len() < 500, "{what}: {text:?}");
    }
    found
}

/// A pickle that makes `count` of something from few bytes.
type Bomb = fn(usize) -> Vec<u8>;

/// A value, recalled so often into one list.
fn recalled(value: &[u8], count: usize) -> Vec<u8> {
    [&b"\x80\x02"[..], value, b"q\x000}U\x01k](", &b"h\x00".repeat(count), b"es."].concat()
}

/// Dictionaries in one another, with keys of so many bytes.
fn nested(depth: usize, key: usize, inner: &[u8]) -> Vec<u8> {
    let open = [&b"}"[..], &text(&vec![b'k'; key])].concat();
    [&b"\x80\x02"[..], &open.repeat(depth), inner, &b"s".repeat(depth), b"."].concat()
}

const BOMBS: [(&str, Bomb); 25] = [
    ("objects", |n| [&b"\x80\x02}U\x01k]("[..], &b"N".repeat(n), b"es."].concat()),
    ("dictionaries", |n| [&b"\x80\x02}U\x01k]("[..], &b"}".repeat(n), b"es."].concat()),
    ("marks", |n| [&b"\x80\x02}"[..], &b"(".repeat(n), &b"0".repeat(n), b"."].concat()),
    ("texts", |n| [&b"\x80\x02}U\x01k]("[..], &b"U\x01a".repeat(n), b"es."].concat()),
    ("entries", |n| {
        let entries = (0..n).flat_map(|i| [number(i), b"N".to_vec()]);
        [&b"\x80\x02}("[..], &entries.collect::<Vec<_>>().concat(), b"u."].concat()
    }),
    ("a long class name, recalled", |n| {
        let name = [&b"c"[..], &vec![b'm'; 20_000], b"\nname\n"].concat();
        recalled(&name, n)
    }),
    ("a long key, recalled", |n| {
        recalled(&[&b"}"[..], &text(&vec![b'k'; 20_000]), b"Ns"].concat(), n)
    }),
    ("a long text, recalled", |n| recalled(&text(&vec![b't'; 20_000]), n)),
    ("a wide tuple, recalled", |n| recalled(&[&b"("[..], &b"N".repeat(500), b"t"].concat(), n)),
    ("a tensor, recalled", |n| recalled(&view(1, 0, &[0], &[1]), n)),
    ("a tensor of many dimensions, recalled", |n| recalled(&view(1, 0, &[1; 2000], &[1; 2000]), n)),
    ("a tensor of many dimensions", |n| dictionary(&[("w", view(1, 0, &vec![1; n], &vec![1; n]))])),
    ("tensors", |n| {
        let all = view(1, 0, &[0], &[1]).repeat(n);
        [&b"\x80\x02}U\x01k]("[..], &all, b"es."].concat()
    }),
    ("storages", |n| [&b"\x80\x02}U\x01k]("[..], &storage(1).repeat(n), b"es."].concat()),
    ("tensors below long keys", |n| {
        let leaf = [&b"]"[..], &view(1, 0, &[0], &[1]), b"q\x00a(", &b"h\x00".repeat(n), b"e"];
        nested(400, 100, &leaf.concat())
    }),
    ("pairs with long keys", |n| {
        let pair = [&text(&vec![b'k'; 2000])[..], b"]", &view(1, 0, &[0], &[1]), b"a\x86q\x000"];
        let list = [&pair.concat()[..], b"](", &b"h\x00".repeat(n), b"e"].concat();
        let all = [&b"ccollections\nOrderedDict\n"[..], &list, b"\x85R"].concat();
        [&b"\x80\x02}U\x01k"[..], &all, b"s."].concat()
    }),
    ("places in the memo", |n| {
        let put = (0..n).flat_map(|i| [&b"r"[..], &(i as u32).to_le_bytes()].concat());
        [&b"\x80\x02}("[..], &text(b"key"), &put.collect::<Vec<_>>(), b"Nu."].concat()
    }),
    ("doubled", |n| {
        let times = n.ilog2() as usize + 1;
        [&b"\x80\x02}U\x01kN"[..], &b"2\x86".repeat(2 * times), b"s."].concat()
    }),
    ("built again and again", |n| {
        let state = [&b"}"[..], &text(&vec![b'k'; 2000]), b"Ns"].concat();
        let build = [&state[..], b"b"].concat();
        [&b"\x80\x02}q\x00"[..], &build.repeat(n), b"."].concat()
    }),
    ("a line", |n| [&b"V"[..], &vec![0xe9; 20 * n], b"\nN}."].concat()),
    ("a text that is longer when it is printed", |n| [&text(&vec![1; 20 * n])[..], b"."].concat()),
    ("nested lists", |n| [&b"]".repeat(n)[..], &b"a".repeat(n - 1), b"."].concat()),
    ("nested tuples", |n| [&b"(".repeat(n)[..], &b"t".repeat(n), b"."].concat()),
    ("nested dictionaries", |n| nested(n, 1, b"N")),
    ("calls of calls", |n| {
        [&b"\x80\x02}U\x01k"[..], b"cos\nsystem\n", &b")R".repeat(n), b"s."].concat()
    }),
];

/// A bomb of about so many bytes.
fn large(bomb: Bomb, bytes: usize) -> Vec<u8> {
    let unit = bomb(2000).len() - bomb(1000).len();
    bomb(bytes / (unit / 1000).max(1))
}

#[test]
fn pickles_that_make_much_of_little_keep_to_their_bound() {
    let _alone = ALONE.lock();
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("file");
    let mut refused = Vec::new();
    for (name, bomb) in BOMBS {
        let pickles = [bomb(1), bomb(50), bomb(2000), large(bomb, 1 << 18), large(bomb, 6 << 20)];
        for (index, pickle) in pickles.iter().enumerate() {
            // Beside much that is no pickle, more is allowed.
            for beside in if index < 4 { &[0, 1 << 16][..] } else { &[0][..] } {
                let weights = vec![1.0; *beside];
                for (container, bytes) in [
                    ("stream", stream(pickle, &weights)),
                    ("archive", archive(pickle, &weights)),
                    // Headers of other protocols.
                    (
                        "protocol 4",
                        [&b"\x80\x04\x95\x0c\0\0\0\0\0\0\0"[..], &stream(pickle, &weights)[2..]]
                            .concat(),
                    ),
                    // The storages' order is a pickle, too.
                    ("order", [STREAM, b"\x80\x02}.", pickle, &vec![0; 4 * beside]].concat()),
                ] {
                    let what = format!("{name}, {index}, {container} beside {beside}");
                    let found = taken(&what, &bytes, &path);
                    if matches!(found, Err(ReadError::Crowded { .. } | ReadError::TooLarge { .. }))
                    {
                        refused.push(name);
                    }
                }
            }
        }
    }
    refused.dedup();
    // The others are passed over without anything being made of them.
    assert!(refused.len() >= 10, "{refused:?}");
}

/// Each with what its error says.
#[test]
fn what_no_checkpoint_needs_is_refused_in_every_container() {
    let _alone = ALONE.lock();
    let folder = tempfile::tempdir().expect("a folder");
    let (path, mark) = (folder.path().join("file"), folder.path().join("was-run"));
    let command = format!("touch {}", mark.display());
    let call = [&b"cposix\nsystem\n("[..], &text(command.as_bytes()), b"t"].concat();
    let with = |end: &[u8]| [&b"\x80\x02"[..], &call, end].concat();
    let cases: [(&str, Vec<u8>); 14] = [
        ("no tensors", with(b"R.")),
        ("no tensors", with(b"\x81.")),
        ("no tensors", with(b"R}b.")),
        ("0x69", format!("(V{command}\niposix\nsystem\n.").into_bytes()),
        ("0x6f", format!("(cposix\nsystem\nV{command}\no.").into_bytes()),
        ("0x82", b"\x80\x02\x82\x01.".to_vec()),
        ("0x84", b"\x80\x02\x84\x01\0\0\0.".to_vec()),
        ("0x97", b"\x80\x05\x97.".to_vec()),
        ("end", b"\x80\x02\x8b\xff\xff\xff\x7f.".to_vec()),
        ("end", b"\x80\x04\x8d\xff\xff\xff\xff\xff\xff\xff\x7f.".to_vec()),
        ("end", b"\x80\x04\x8d\xff\xff\0\0\0\0\0\0.".to_vec()),
        ("memo", b"\x80\x02}j\xff\xff\xff\xff.".to_vec()),
        ("not there", b"\x80\x02}000.".to_vec()),
        ("mark", b"\x80\x02}u.".to_vec()),
    ];
    for (says, pickle) in &cases {
        for bytes in [stream(pickle, &[]), archive(pickle, &[])] {
            let error = taken(says, &bytes, &path).expect_err(says).to_string();
            assert!(error.contains(says), "{error}: {says}");
        }
    }
    assert!(!mark.exists(), "nothing in a pickle is run");
}

#[test]
fn views_are_read_where_they_fit_into_the_file_and_refused_where_not() {
    let _alone = ALONE.lock();
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("file");
    let values: Vec<f32> = (0..1 << 20).map(|i| i as f32).collect();
    let count = values.len();
    for container in [stream, archive] {
        // A transposed matrix that is all there is: read, though it is gathered from its storage.
        let whole = view(count, 0, &[1024, 1024], &[1, 1024]);
        let found = taken("transposed", &container(&dictionary(&[("w", whole)]), &values), &path);
        let found = found.expect("a matrix");
        assert_eq!(found[0].shape, [1024, 1024]);
        let expected = (0..count).map(|i| ((i % 1024) * 1024 + i / 1024) as f32).collect();
        assert!(found[0].numbers == Numbers::Single(expected));

        let views = |each: Vec<u8>| {
            let names: Vec<String> = (0..1000).map(|i| format!("w{i}")).collect();
            let all: Vec<_> = names.iter().map(|name| (&name[..], each.clone())).collect();
            container(&dictionary(&all), &values)
        };
        let error = taken("overlapping", &views(view(count, 0, &[count], &[1])), &path);
        assert!(matches!(error, Err(ReadError::TooLarge { .. })), "{error:?}");
        let apart = taken("far apart", &views(view(count, 0, &[2], &[count - 1])), &path);
        assert!(apart.is_ok_and(|found| found.len() == 1000));
        for (shape, stride, from) in [
            (vec![1 << 31, 1 << 31], vec![0, 0], 0),
            (vec![u32::MAX as usize; 8], vec![1; 8], 0),
            (vec![2], vec![count], 0),
            (vec![2], vec![1], count - 1),
            (vec![1], vec![1], u32::MAX as usize),
        ] {
            let pickle = dictionary(&[("w", view(count, from, &shape, &stride))]);
            taken("absurd", &container(&pickle, &values), &path).expect_err("absurd");
        }
        // A storage that is told to be larger than it is.
        let longer = dictionary(&[("w", view(2 * count, count, &[count], &[1]))]);
        taken("too short", &container(&longer, &values), &path).expect_err("too short");
    }
}

#[test]
fn directories_and_headers_that_outweigh_the_tensors_are_refused() {
    let _alone = ALONE.lock();
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("file");
    let pickle = dictionary(&[("w", view(1, 0, &[1], &[1]))]);
    for (count, length) in [(1, 1), (50, 500), (10_000, 500), (70_000, 1)] {
        let name = |i: usize| format!("a/{i:0length$}");
        let all = (0..count).map(|i| (name(i), &[][..]));
        let first = [("a/data.pkl".to_owned(), &pickle[..]), ("a/data/0".to_owned(), &[0; 4])];
        let found = taken("many members", &members(first.into_iter().chain(all)), &path);
        assert!(found.is_ok() == (count < 60_000), "{count} of {length}: {found:?}");
    }
    const LONGEST: usize = 1 << 20;
    for count in (0..11).map(|power| 4usize.pow(power)) {
        let ones = vec!["1"; count].join(",");
        let shape = format!(r#"{{"a":{{"dtype":"F32","shape":[{ones}],"data_offsets":[0,4]}}}}"#);
        for beside in [4usize, 1 << 20] {
            let found = taken("many ones", &safetensors(&shape, beside), &path);
            assert!(found.is_ok() == (beside == 4 && shape.len() <= LONGEST), "{count}: {found:?}");
        }
    }
    for count in (0..9).map(|power| 4usize.pow(power)) {
        let empty = |i| format!(r#""{i}":{{"dtype":"F32","shape":[0],"data_offsets":[0,0]}}"#);
        let tensors: Vec<String> = (0..count).map(empty).collect();
        let tensors = format!("{{{}}}", tensors.join(","));
        // Bytes that belong to no tensor are an error.
        taken("many tensors", &safetensors(&tensors, 1 << 20), &path).expect_err("none's");
        let found = taken("many tensors", &safetensors(&tensors, 0), &path);
        assert!(found.is_ok() == (tensors.len() <= LONGEST), "{count}: {found:?}");
    }
    let deep = format!("{{\"a\":{}{}}}", "[".repeat(4000), "]".repeat(4000));
    taken("deep", &safetensors(&deep, 0), &path).expect_err("deep");
}
