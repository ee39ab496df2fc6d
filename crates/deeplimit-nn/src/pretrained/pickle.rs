//! What interpreting a pickle takes at most, found by walking over it: sizes go through the machine's stack and
//! memo instead of objects; nothing is made and nothing is called.
//!
//! A short pickle can make much: an operation of one byte makes an object, one of two bytes copies what was made,
//! and a tensor's name is the whole path to it. The constants are those of `pytorch-reader` on 64 bits, with tables
//! and vectors that have just grown: they are held against measured memory in `tests/hostile.rs`.

use std::collections::HashMap;
use std::io::{BufRead, Read, copy, sink};

/// Bytes of a place on the stack, in a vector that grows.
const PLACE: u64 = 288;
/// Bytes of a place in the memo.
const NOTE: u64 = 113;
/// Bytes of an object in a tuple, and in a list that grows.
const ITEM: u64 = 96;
const LIST_ITEM: u64 = 240;
/// Bytes of an entry of a dictionary that grows.
const ENTRY: u64 = 360;
/// Bytes of a tensor that is not read yet, which its copies share, and of its places in lists of all.
const TENSOR: u64 = 192;
const LISTED: u64 = 640;
/// Bytes of what is known of a storage.
const STORAGE: u64 = 400;
/// A text that grows has its old bytes beside the new ones: one that is longer than what is asked for at once.
const GROWN: u64 = 3;
const AT_ONCE: u64 = 1 << 16;
/// Digits of an index, which is a part of a name in a list, and the point after it.
const INDEX: u64 = 21;
/// How the functions that make tensors begin.
const REBUILD: &[u8] = b"_rebuild_tensor";

/// What a pickle takes.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Taken {
    /// Most bytes while it is interpreted.
    pub most: u64,
    /// Bytes of its tensors' names, shapes and places, which stay until the tensors are read.
    pub listed: u64,
    /// Bytes of the largest storage.
    pub storage: u64,
    /// Whether it makes a list.
    pub list: bool,
}

impl Taken {
    /// Of this and what follows it, which is what they make.
    pub fn and(self, next: Self) -> Self {
        Self {
            most: self.most.saturating_add(next.most),
            listed: self.listed.saturating_add(next.listed),
            storage: self.storage.max(next.storage),
            list: next.list,
        }
    }
}

/// Why a pickle is not interpreted.
#[derive(Debug, PartialEq)]
pub(super) enum Refused {
    /// It would take more than is allowed.
    TooMuch,
    /// It is none, or it needs what is never done.
    Damaged(String),
}

/// What is known of an object.
#[derive(Clone, Copy, Debug, Default)]
struct Size {
    /// Bytes beyond its own place.
    heap: u64,
    tensors: u64,
    /// Bytes of the names of the tensors in it, and of their shapes.
    names: u64,
    /// Longest text in it.
    text: u64,
    /// Largest number in it.
    number: u64,
    list: bool,
    /// Whether a function that makes tensors is in it.
    rebuild: bool,
}

impl Size {
    fn with(self, other: Self) -> Self {
        Self {
            heap: self.heap.saturating_add(other.heap),
            tensors: self.tensors.saturating_add(other.tensors),
            names: self.names.saturating_add(other.names),
            text: self.text.max(other.text),
            number: self.number.max(other.number),
            list: self.list,
            rebuild: self.rebuild | other.rebuild,
        }
    }

    /// In a container, where its tensors' names get longer by a part.
    fn within(self, place: u64, part: u64) -> Self {
        Self {
            heap: self.heap.saturating_add(place),
            names: self.names.saturating_add(self.tensors.saturating_mul(part)),
            ..self
        }
    }
}

/// The sum of objects in a container with places of so many bytes.
fn sum(items: &[Size], place: u64) -> Size {
    items.iter().fold(Size::default(), |all, item| all.with(item.within(place, INDEX)))
}

/// Keys and values in turns.
fn pairs(items: &[Size]) -> Result<Size, Refused> {
    let (pairs, rest) = items.as_chunks::<2>();
    if !rest.is_empty() {
        return Err(damaged("a dictionary has a key without a value"));
    }
    Ok(pairs.iter().fold(Size::default(), |all, [key, value]| {
        all.with(*key).with(value.within(ENTRY, key.text.max(INDEX) + 1))
    }))
}

fn damaged(what: impl Into<String>) -> Refused {
    Refused::Damaged(what.into())
}

#[derive(Default)]
struct Machine {
    stack: Vec<(Size, Option<u32>)>,
    marks: Vec<usize>,
    memo: HashMap<u32, Size>,
    /// Bytes beyond their places of all that is on the stack and in the memo.
    heap: u64,
    /// Most places there were on the stack, and most marks.
    highest: [usize; 2],
    /// Bytes of what is known of storages, and of what tensors share.
    shared: u64,
    storage: u64,
}

impl Machine {
    fn live(&self) -> u64 {
        let places = PLACE * self.highest[0] as u64 + 24 * self.highest[1] as u64;
        // A table is at most seven eighths full, and when it doubles the old one is still there.
        let notes = (self.memo.len() as u64 * 8 / 7 + 1).next_power_of_two() * NOTE * 3 / 2;
        (places + notes).saturating_add(self.heap).saturating_add(self.shared)
    }

    fn push(&mut self, size: Size) {
        self.put(size, None);
    }

    fn put(&mut self, size: Size, memo: Option<u32>) {
        self.heap = self.heap.saturating_add(size.heap);
        self.stack.push((size, memo));
        self.highest[0] = self.highest[0].max(self.stack.len());
    }

    fn pop(&mut self) -> Result<(Size, Option<u32>), Refused> {
        if self.marks.last().is_some_and(|mark| *mark == self.stack.len()) {
            return Err(damaged("it takes a mark for an object"));
        }
        let (size, memo) = self.stack.pop().ok_or_else(|| damaged("it takes what is not there"))?;
        self.heap -= size.heap.min(self.heap);
        Ok((size, memo))
    }

    fn pop_many<const COUNT: usize>(&mut self) -> Result<[Size; COUNT], Refused> {
        let mut items = [Size::default(); COUNT];
        for item in items.iter_mut().rev() {
            *item = self.pop()?.0;
        }
        Ok(items)
    }

    fn pop_to_mark(&mut self) -> Result<Vec<Size>, Refused> {
        let mark = self.marks.pop().ok_or_else(|| damaged("a mark is missing"))?;
        let items: Vec<Size> =
            self.stack.split_off(mark).into_iter().map(|(size, _)| size).collect();
        let heap: u64 = items.iter().map(|size| size.heap).sum();
        self.heap -= heap.min(self.heap);
        Ok(items)
    }

    /// Adds to the container on top.
    fn add(&mut self, size: Size) -> Result<(), Refused> {
        let (top, memo) = self.pop()?;
        self.put(top.with(size), memo);
        Ok(())
    }

    fn remember(&mut self, index: u32) -> Result<(), Refused> {
        let (size, _) = self.pop()?;
        self.put(size, Some(index));
        self.heap = self.heap.saturating_add(size.heap);
        let before = self.memo.insert(index, size);
        self.heap -= before.map_or(0, |size| size.heap).min(self.heap);
        Ok(())
    }

    fn recall(&mut self, index: u64) -> Result<(), Refused> {
        let known =
            u32::try_from(index).ok().and_then(|index| Some((index, *self.memo.get(&index)?)));
        let (index, size) = known.ok_or_else(|| damaged("it recalls what is not in its memo"))?;
        self.put(size, Some(index));
        Ok(())
    }
}

/// Walks over the pickle that begins here, to its end.
///
/// # Errors
/// If it would take more than `allowed` bytes, has no end, or needs what no checkpoint does.
pub(super) fn weigh(from: &mut impl BufRead, allowed: u64) -> Result<Taken, Refused> {
    let mut from = Input { from, allowed };
    let mut machine = Machine::default();
    let mut most = 0;
    loop {
        let operation = from.byte()?;
        if operation == b'.' {
            break;
        }
        step(&mut machine, operation, &mut from)?;
        most = most.max(machine.live());
        if most > allowed {
            return Err(Refused::TooMuch);
        }
    }
    let (root, _) = machine.pop()?;
    let listed =
        LISTED.saturating_mul(root.tensors).saturating_add(GROWN.saturating_mul(root.names));
    let listed = listed.saturating_add(machine.shared);
    // Tensors are listed while what holds them is still there.
    let most = most.saturating_add(listed);
    match most > allowed {
        true => Err(Refused::TooMuch),
        false => Ok(Taken { most, listed, storage: machine.storage, list: root.list }),
    }
}

fn step(
    machine: &mut Machine,
    operation: u8,
    from: &mut Input<'_, impl BufRead>,
) -> Result<(), Refused> {
    let nothing = Size::default();
    match operation {
        // The protocol and a frame's length tell nothing about objects.
        0x80 => drop(from.number(1)?),
        0x95 => drop(from.number(8)?),
        b'N' | 0x88 | 0x89 | b')' | b'}' => machine.push(nothing),
        b']' | 0x8f => machine.push(Size { list: true, ..nothing }),
        b'K' => machine.push(Size { number: from.number(1)?, ..nothing }),
        b'M' => machine.push(Size { number: from.number(2)?, ..nothing }),
        // The negative ones are too large here, which storages cannot be either.
        b'J' => machine.push(Size { number: from.number(4)?, ..nothing }),
        b'G' => {
            from.number(8)?;
            machine.push(nothing);
        }
        b'I' | b'L' | b'F' | b'V' => {
            let size = from.line()?;
            machine.push(size);
        }
        0x8a => machine.push(from.long(1)?),
        0x8b => machine.push(from.long(4)?),
        b'U' | b'C' | 0x8c => machine.push(from.text(1)?),
        b'T' | b'B' | b'X' => machine.push(from.text(4)?),
        0x8d | 0x8e | 0x96 => machine.push(from.text(8)?),
        b'(' => {
            machine.marks.push(machine.stack.len());
            machine.highest[1] = machine.highest[1].max(machine.marks.len());
        }
        b't' => {
            let items = machine.pop_to_mark()?;
            machine.push(sum(&items, ITEM));
        }
        0x85 => machine.pop_many::<1>().map(|items| machine.push(sum(&items, ITEM)))?,
        0x86 => machine.pop_many::<2>().map(|items| machine.push(sum(&items, ITEM)))?,
        0x87 => machine.pop_many::<3>().map(|items| machine.push(sum(&items, ITEM)))?,
        b'l' | 0x91 => {
            let items = machine.pop_to_mark()?;
            machine.push(Size { list: true, ..sum(&items, LIST_ITEM) });
        }
        b'a' => machine.pop_many::<1>().and_then(|items| machine.add(sum(&items, LIST_ITEM)))?,
        b'e' | 0x90 => {
            machine.pop_to_mark().and_then(|items| machine.add(sum(&items, LIST_ITEM)))?
        }
        b'd' => {
            machine.pop_to_mark().and_then(|items| pairs(&items)).map(|size| machine.push(size))?
        }
        b's' => machine.pop_many::<2>().and_then(|items| machine.add(pairs(&items)?))?,
        b'u' => machine.pop_to_mark().and_then(|items| machine.add(pairs(&items)?))?,
        b'0' if machine.marks.last() == Some(&machine.stack.len()) => drop(machine.marks.pop()),
        b'0' => drop(machine.pop()?),
        b'1' => drop(machine.pop_to_mark()?),
        b'2' => {
            let (size, memo) = machine.pop()?;
            machine.put(size, memo);
            machine.put(size, memo);
        }
        b'g' => from.line().and_then(|index| machine.recall(index.number))?,
        b'h' => from.number(1).and_then(|index| machine.recall(index))?,
        b'j' => from.number(4).and_then(|index| machine.recall(index))?,
        b'p' => from.line().and_then(|index| machine.remember(index.number as u32))?,
        b'q' => from.number(1).and_then(|index| machine.remember(index as u32))?,
        b'r' => from.number(4).and_then(|index| machine.remember(index as u32))?,
        0x94 => machine.remember(machine.memo.len() as u32)?,
        b'c' => {
            let (module, name) = (from.line()?, from.line()?);
            machine.push(module.with(name));
        }
        0x93 | 0x81 => machine.pop_many().map(|[a, b]| machine.push(a.with(b)))?,
        0x92 => machine.pop_many().map(|[a, b, c]| machine.push(a.with(b).with(c)))?,
        b'Q' => {
            let [of] = machine.pop_many()?;
            machine.shared = machine.shared.saturating_add(STORAGE + GROWN * of.text);
            // The kind of its numbers is not known here: at most eight bytes each.
            machine.storage = machine.storage.max(of.number.saturating_mul(8));
            machine.push(of);
        }
        b'R' => {
            let [call, with] = machine.pop_many()?;
            // Of the arguments' bytes an eighth are numbers of its shape, which each of its copies has.
            let shape = if call.rebuild || with.rebuild { with.heap / 8 } else { 0 };
            let tensors = u64::from(call.rebuild || with.rebuild);
            machine.shared = machine.shared.saturating_add(tensors * (TENSOR + 2 * shape));
            machine.shared = machine.shared.saturating_add(tensors * GROWN * with.text);
            // What is made of a tensor is a tensor, what is made of pairs a dictionary, whose keys become parts
            // of names; of anything else its name is kept.
            let kept = if call.rebuild { Size::default() } else { Size { rebuild: false, ..with } };
            let names = kept.tensors.saturating_mul(kept.text).saturating_add(shape);
            let made = Size { heap: call.heap + shape, tensors, names, ..nothing };
            machine.push(kept.with(made));
        }
        b'b' => {
            let (state, _) = machine.pop()?;
            let (object, memo) = machine.pop()?;
            machine.push(Size { list: false, ..object.with(state) });
            if let Some(index) = memo {
                machine.remember(index)?;
            }
        }
        other => {
            return Err(damaged(format!(
                "operation 0x{other:02x} is none that a checkpoint of weights needs"
            )));
        }
    }
    Ok(())
}

/// The bytes of a pickle, of which only the first of a text are kept.
struct Input<'f, F> {
    from: &'f mut F,
    allowed: u64,
}

impl<F: BufRead> Input<'_, F> {
    fn byte(&mut self) -> Result<u8, Refused> {
        Ok(self.number(1)? as u8)
    }

    /// A number of so many bytes, least first.
    fn number(&mut self, length: usize) -> Result<u64, Refused> {
        let mut bytes = [0; 8];
        self.from.read_exact(&mut bytes[..length]).map_err(|_| damaged("it has no end"))?;
        Ok(u64::from_le_bytes(bytes))
    }

    /// What follows with a length of so many bytes before it: the length, and its first bytes.
    fn counted(&mut self, digits: usize) -> Result<(u64, [u8; REBUILD.len()]), Refused> {
        let length = self.number(digits)?;
        let mut first = [0; REBUILD.len()];
        if taken(length) > self.allowed {
            return Err(Refused::TooMuch);
        }
        let head = length.min(first.len() as u64);
        self.from.read_exact(&mut first[..head as usize]).map_err(|_| damaged("it has no end"))?;
        match copy(&mut self.from.by_ref().take(length - head), &mut sink()) {
            Ok(passed) if passed == length - head => Ok((length, first)),
            _ => Err(damaged("it has no end")),
        }
    }

    fn text(&mut self, digits: usize) -> Result<Size, Refused> {
        let (text, first) = self.counted(digits)?;
        Ok(Size { heap: taken(text), text, rebuild: first == REBUILD, ..Size::default() })
    }

    fn long(&mut self, digits: usize) -> Result<Size, Refused> {
        let (length, first) = self.counted(digits)?;
        let first = std::array::from_fn(|index| first[index]);
        let number = if length > 8 { u64::MAX } else { u64::from_le_bytes(first) };
        Ok(Size { heap: taken(length), number, ..Size::default() })
    }

    /// A line, and the number that its digits are.
    fn line(&mut self) -> Result<Size, Refused> {
        let mut line = Size::default();
        let mut first = [0; REBUILD.len()];
        loop {
            let byte = self.byte()?;
            if byte == b'\n' {
                return Ok(Size { rebuild: first == REBUILD, ..line });
            }
            if let Some(first) = first.get_mut(line.text as usize / 2) {
                *first = byte;
            }
            if byte.is_ascii_digit() {
                let digit = u64::from(byte - b'0');
                line.number = line.number.saturating_mul(10).saturating_add(digit);
            }
            // Bytes beyond ASCII become two each, in a text that grows beside the line.
            line.text += 2;
            line.heap = 64 + taken(line.text);
            if line.heap + line.text > self.allowed {
                return Err(Refused::TooMuch);
            }
        }
    }
}

/// What bytes take while they are read.
fn taken(length: u64) -> u64 {
    if length > AT_ONCE { length.saturating_mul(GROWN) } else { length }
}
