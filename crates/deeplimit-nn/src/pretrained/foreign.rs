//! Files that are no weights, by their first bytes and by the members of an archive: each is called what it is.

use super::read::ReadError;

/// What a file is that is none of those that are read, and what helps.
fn foreign(what: &str, instead: &str) -> ReadError {
    ReadError::Foreign { what: what.to_owned(), instead: instead.to_owned() }
}

const DOWNLOAD: &str = "download the file itself";
const SAVE: &str = "save the network's state_dict with torch.save or as safetensors";

/// What begins with these bytes.
const BEGINNINGS: [(&[u8], &str, &str); 12] = [
    (
        b"version https://git-lfs",
        "a pointer of Git LFS, not the file itself",
        "fetch it with git lfs pull",
    ),
    (b"\x1f\x8b", "compressed with gzip", "unpack it with gunzip first"),
    (b"BZh", "compressed with bzip2", "unpack it with bunzip2 first"),
    (b"\xfd7zXZ", "compressed with xz", "unpack it with unxz first"),
    (b"\x28\xb5\x2f\xfd", "compressed with zstd", "unpack it with unzstd first"),
    (b"7z\xbc\xaf\x27\x1c", "an archive of 7-Zip", "unpack it first"),
    (b"Rar!", "an archive of RAR", "unpack it first"),
    (b"\x93NUMPY", "an array of NumPy (.npy)", SAVE),
    (b"\x89HDF", "an HDF5 file, as Keras writes", SAVE),
    (b"GGUF", "a GGUF file", SAVE),
    (b"TFL3", "a model of TensorFlow Lite", SAVE),
    (b"\x89PNG", "an image", DOWNLOAD),
];

/// A file by its first bytes, if it is none of those that are read.
pub(super) fn by_beginning(head: &[u8]) -> Option<ReadError> {
    if head.is_empty() {
        return Some(foreign("empty", DOWNLOAD));
    }
    if let Some((_, what, instead)) = BEGINNINGS.iter().find(|(begin, ..)| head.starts_with(begin))
    {
        return Some(foreign(what, instead));
    }
    // The version of the format, and who wrote it.
    if let [8, 1..20, 0x12, ..] = head {
        return Some(foreign("an ONNX model", SAVE));
    }
    if head.get(257..262) == Some(b"ustar") {
        // The first releases of PyTorch wrote archives of these members.
        let own = ["sys_info", "pickle", "storages", "tensors"];
        let name = head[..100].split(|byte| *byte == 0).next().unwrap_or_default();
        let name = String::from_utf8_lossy(name);
        return Some(match own.contains(&name.trim_start_matches("./")) {
            true => ReadError::Ancient,
            false => foreign("a tar archive", "unpack it first"),
        });
    }
    let text = std::str::from_utf8(&head[..head.len().min(64)]).ok()?;
    let text = text.trim_start_matches('\u{feff}').trim_start().to_ascii_lowercase();
    if text.starts_with("<!doctype html") || text.starts_with("<html") || text.starts_with("<head")
    {
        return Some(foreign("a web page (HTML)", DOWNLOAD));
    }
    if text.starts_with("<?xml") {
        return Some(foreign("an XML document, such as a server's error", DOWNLOAD));
    }
    if text.starts_with('{') {
        let instead = "of a checkpoint in parts name the part that holds the network";
        return Some(foreign("a JSON document", instead));
    }
    None
}

/// An archive by its members, if `torch.save` did not write it so.
pub(super) fn by_members(members: &[String]) -> Option<ReadError> {
    let within =
        |name: &str| name.split_once('/').map_or(name.to_owned(), |(_, rest)| rest.to_owned());
    let has = |wanted: &str| members.iter().any(|name| name == wanted || within(name) == wanted);
    let ends = |end: &str| members.iter().find(|name| name.ends_with(end));
    if has("constants.pkl") {
        return Some(foreign(
            "a TorchScript archive, whose code is not run",
            "torch.save(torch.jit.load(FILE).state_dict(), OUT) takes its weights out",
        ));
    }
    if has("archive_format") || has("serialized_exported_program.json") || has("models/model.json")
    {
        return Some(foreign(
            "a program of torch.export (.pt2), whose code is not run",
            "torch.save(dict(torch.export.load(FILE).state_dict), OUT) takes its weights out",
        ));
    }
    if has("data.pkl") {
        return None;
    }
    if ends(".npy").is_some() {
        return Some(foreign("an archive of NumPy's arrays (.npz)", SAVE));
    }
    let weights = [".pth", ".pt", ".th", ".ckpt", ".bin", ".safetensors", ".tar"];
    if let Some(name) = weights.iter().find_map(|end| ends(end)) {
        return Some(foreign(&format!("a zip archive with {name:?} in it"), "unpack it first"));
    }
    let some =
        members.iter().take(3).map(|name| format!("{name:?}")).collect::<Vec<_>>().join(", ");
    let what = format!("a zip archive without data.pkl, which torch.save writes; it has {some}");
    Some(foreign(if members.is_empty() { "an empty zip archive" } else { &what }, SAVE))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_that_are_no_weights_are_called_what_they_are() {
        let mut tar = vec![0; 512];
        tar[..8].copy_from_slice(b"net.pth\0");
        tar[257..262].copy_from_slice(b"ustar");
        let mut ancient = tar.clone();
        ancient[..9].copy_from_slice(b"sys_info\0");
        for (head, says) in [
            (&b""[..], "empty"),
            (b"version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 9\n", "Git LFS"),
            (b"\n<!DOCTYPE html><html>", "HTML"),
            (b"<?xml version=\"1.0\"?><Error>", "XML"),
            (b"\x1f\x8b\x08\0", "gzip"),
            (b"\x93NUMPY\x01\0", "NumPy"),
            (b"{\"metadata\": {}}", "JSON"),
            (b"\x08\x07\x12\x07pytorch", "ONNX"),
            (&tar, "tar archive"),
            (&ancient, "before 0.1.10"),
        ] {
            let error = by_beginning(head).expect(says).to_string();
            assert!(error.contains(says) && !error.contains('\n'), "{error}");
        }
        for head in
            [&b"PK\x03\x04"[..], b"\x80\x02\x8a\nl\xfc\x9c", b"\x10\0\0\0\0\0\0\0{\"a\"", &[7; 512]]
        {
            assert!(by_beginning(head).is_none(), "{head:?}");
        }
    }

    #[test]
    fn archives_that_are_no_checkpoints_are_called_what_they_are() {
        for (members, says) in [
            (&["net/data.pkl", "net/constants.pkl", "net/code/__torch__.py"][..], "TorchScript"),
            (&["net/archive_format", "net/models/model.json"], "torch.export"),
            (&["conv1.weight.npy", "fc.bias.npy"], "npz"),
            (&["readme.txt", "resnet20.pth"], "\"resnet20.pth\""),
            (&["word/document.xml"], "without data.pkl"),
            (&[], "empty zip"),
        ] {
            let members: Vec<String> = members.iter().map(|name| (*name).to_owned()).collect();
            let error = by_members(&members).expect(says).to_string();
            assert!(error.contains(says) && !error.contains('\n'), "{error}");
        }
        assert!(by_members(&["net/data.pkl".to_owned(), "net/data/0".to_owned()]).is_none());
    }
}
