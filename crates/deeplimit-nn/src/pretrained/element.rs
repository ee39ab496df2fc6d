//! The kinds of numbers that tensors have in PyTorch's files.

use super::read::Kind;

/// A kind of numbers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Element(usize);

/// What is known of one.
struct Known {
    /// The class of its storages.
    storage: &'static str,
    /// PyTorch's name.
    name: &'static str,
    /// Bytes of a number.
    size: usize,
    /// How it is read; `None` if it is not.
    kind: Option<Kind>,
}

const fn known(
    storage: &'static str,
    name: &'static str,
    size: usize,
    kind: Option<Kind>,
) -> Known {
    Known { storage, name, size, kind }
}

const KNOWN: [Known; 19] = [
    known("DoubleStorage", "float64", 8, Some(Kind::F64)),
    known("FloatStorage", "float32", 4, Some(Kind::F32)),
    known("HalfStorage", "float16", 2, Some(Kind::F16)),
    known("BFloat16Storage", "bfloat16", 2, Some(Kind::BF16)),
    known("LongStorage", "int64", 8, Some(Kind::I64)),
    known("IntStorage", "int32", 4, Some(Kind::I32)),
    known("ShortStorage", "int16", 2, Some(Kind::I16)),
    known("CharStorage", "int8", 1, Some(Kind::I8)),
    known("ByteStorage", "uint8", 1, Some(Kind::U8)),
    known("BoolStorage", "bool", 1, None),
    known("ComplexDoubleStorage", "complex128", 16, None),
    known("ComplexFloatStorage", "complex64", 8, None),
    known("ComplexHalfStorage", "complex32", 4, None),
    known("QInt8Storage", "qint8", 1, None),
    known("QUInt8Storage", "quint8", 1, None),
    known("QInt32Storage", "qint32", 4, None),
    known("QUInt4x2Storage", "quint4x2", 1, None),
    known("QUInt2x4Storage", "quint2x4", 1, None),
    known("UntypedStorage", "bytes without a kind", 1, None),
];

impl Element {
    /// The kind of a storage's numbers, by its class.
    pub fn of_storage(class: &str) -> Option<Self> {
        KNOWN.iter().position(|known| known.storage == class).map(Self)
    }

    /// PyTorch's name for it.
    pub fn name(self) -> &'static str {
        KNOWN[self.0].name
    }

    /// Bytes of a number.
    pub fn size(self) -> usize {
        KNOWN[self.0].size
    }

    /// How it is read; `None` if it is not.
    pub fn kind(self) -> Option<Kind> {
        KNOWN[self.0].kind
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_that_are_read_have_the_size_of_their_storage() {
        for known in KNOWN.iter().filter(|known| known.kind.is_some()) {
            assert_eq!(known.kind.map(Kind::size), Some(known.size), "{}", known.name);
        }
    }
}
