//! A restricted unpickler: it walks over the operations of a pickle and makes nothing but tensors that are not
//! read yet, and the containers that hold them.
//!
//! Nothing is called. Numbers, texts and objects that belong to no tensor are passed over: a place on the stack
//! is all they take. All that is made is counted before it is made, so that a short pickle that makes much (an
//! operation of one byte makes a list, one of two bytes recalls what was made) ends where the budget does.

mod input;
mod machine;
mod objects;
#[cfg(test)]
mod tests;

use super::element::Element;
use input::Input;
use std::io::BufRead;

/// Why a pickle is not interpreted.
#[derive(Debug, PartialEq)]
pub(super) enum Refused {
    /// It would take more than is allowed.
    TooMuch,
    /// The bytes end before it does.
    Cut,
    /// It is none, or it needs what is never done.
    Damaged(String),
}

fn damaged(what: impl Into<String>) -> Refused {
    Refused::Damaged(what.into())
}

/// Bytes that may still be taken.
#[derive(Clone, Copy, Debug)]
pub(super) struct Budget(pub u64);

impl Budget {
    /// Takes some, where there are so many.
    pub fn take(&mut self, bytes: usize) -> Result<(), Refused> {
        self.0 = self.0.checked_sub(bytes as u64).ok_or(Refused::TooMuch)?;
        Ok(())
    }

    fn give(&mut self, bytes: usize) {
        self.0 += bytes as u64;
    }

    /// Adds to a vector. While it grows its old items are beside the new ones.
    fn push<T>(&mut self, to: &mut Vec<T>, item: T) -> Result<(), Refused> {
        if to.len() == to.capacity() {
            let more = to.len().max(4);
            self.take((to.len() + more) * size_of::<T>())?;
            to.reserve_exact(more);
            self.give(to.len() * size_of::<T>());
        }
        to.push(item);
        Ok(())
    }
}

/// The longest text that is kept: a longer one is no part of a name.
const LONGEST: u64 = 1024;
/// Items of a tuple that are all kept, as arguments and shapes are.
const ARGUMENTS: usize = 64;
/// How deep containers may lie in one another.
const DEEPEST: usize = 200;
/// Bytes a visit to an item of a container stands for: a container that is recalled often is visited often.
const VISIT: usize = 16;

/// An object, as far as it matters.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Value {
    /// Part of no tensor.
    Nothing,
    /// Of the memo, where nothing was put.
    Absent,
    Number(i64),
    /// One of the texts.
    Text(u32),
    /// A function or a class.
    Name(Name),
    /// One of the containers, which does not change any more.
    Tuple(u32),
    /// One of the containers.
    Container(u32),
    Storage(u32),
    Tensor(u32),
}

/// What functions and classes are known for.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Name {
    /// Makes a tensor of (storage, offset, shape, strides, …).
    Tensor,
    /// Also of the kind of its numbers, which is its seventh argument.
    TypedTensor,
    /// Makes a tensor of quantised numbers.
    Quantised,
    /// Makes a tensor that is not read; the text is the function's name.
    Strange(u32),
    /// Gives its first argument.
    First,
    /// Calls its first argument with its third.
    FromType,
    /// Makes a dictionary, of pairs where there are some.
    Dictionary,
    /// Makes an object of (class, base, state).
    Reconstructor,
    /// The class of a storage.
    Storage(Element),
    /// Any other, by module and name.
    Other(u32),
}

/// A list, a dictionary, a tuple or an object with attributes.
#[derive(Default)]
struct Container {
    items: Vec<(Value, Value)>,
    /// Of a list or a tuple, its items, also those that are not kept.
    added: i64,
}

/// Bytes of a file that tensors are views of.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Storage {
    /// Its name.
    pub key: String,
    /// The kind of its numbers, where it is known.
    pub element: Option<Element>,
    /// The part of those bytes that is meant: first number and count, where it is not all.
    pub part: Option<[u64; 2]>,
}

/// A tensor that is not read yet.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Tensor {
    /// Extents, outermost first.
    pub shape: Vec<usize>,
    /// Where its numbers are, or what it is instead.
    pub numbers: Result<View, String>,
}

/// Numbers in a storage.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct View {
    /// Which one.
    pub storage: usize,
    /// First number.
    pub offset: u64,
    /// Distances of neighbours, outermost first.
    pub strides: Vec<usize>,
}

/// What a pickle holds.
pub(super) struct Pickled {
    root: Value,
    texts: Vec<Box<str>>,
    containers: Vec<Container>,
    tensors: Vec<Tensor>,
    pub storages: Vec<Storage>,
}

/// What is kept of a list.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Keep {
    /// Tensors, and what holds them.
    Tensors,
    /// Texts as well.
    Texts,
}

/// Interprets the pickle that begins here, to its end.
///
/// # Errors
/// If it would take more than the budget, has no end, or needs what no checkpoint does.
pub(super) fn interpret(
    from: &mut impl BufRead,
    budget: &mut Budget,
    keep: Keep,
) -> Result<Pickled, Refused> {
    let before = budget.0;
    let mut machine = Machine {
        budget,
        keep,
        stack: Vec::new(),
        marks: Vec::new(),
        memo: Vec::new(),
        // The empty tuple is always the first.
        made: Pickled {
            root: Value::Nothing,
            texts: Vec::new(),
            containers: vec![Container::default()],
            tensors: Vec::new(),
            storages: Vec::new(),
        },
    };
    let mut from = Input { from, passed: 0 };
    loop {
        let operation = from.byte()?;
        if operation == b'.' {
            break;
        }
        machine.step(operation, &mut from)?;
    }
    machine.made.root = machine.pop()?;
    let stacks = machine.stack.capacity() + machine.memo.capacity();
    let marks = machine.marks.capacity() * size_of::<usize>();
    let back = stacks * size_of::<Value>() + marks;
    let made = machine.made;
    budget.give(back);
    debug_assert!(budget.0 <= before, "no more is given back than was taken");
    Ok(made)
}

impl Pickled {
    /// The tensors by their names: keys and attributes from the root on, with points between them.
    ///
    /// # Errors
    /// If names or visits are too many for the budget, or containers lie in one another too deep.
    pub fn tensors(&self, budget: &mut Budget) -> Result<Vec<(String, Tensor)>, Refused> {
        let mut found = Vec::new();
        if let Value::Tensor(_) | Value::Container(_) | Value::Tuple(_) = self.root {
            self.visit(self.root, &mut String::new(), 0, budget, &mut found)?;
        }
        Ok(found)
    }

    fn visit(
        &self,
        value: Value,
        name: &mut String,
        depth: usize,
        budget: &mut Budget,
        found: &mut Vec<(String, Tensor)>,
    ) -> Result<(), Refused> {
        let items = match value {
            Value::Tensor(index) => {
                let tensor = &self.tensors[index as usize];
                let view = tensor.numbers.as_ref();
                let told = view.map_or_else(String::len, |view| size_of_val(&view.strides[..]));
                budget.take(name.len() + size_of_val(&tensor.shape[..]) + told)?;
                return budget.push(found, (name.clone(), tensor.clone()));
            }
            Value::Container(index) | Value::Tuple(index) => &self.containers[index as usize].items,
            _ => return Ok(()),
        };
        if depth > DEEPEST {
            return Err(damaged(format!(
                "lists and dictionaries lie in one another more than {DEEPEST} deep"
            )));
        }
        budget.take(VISIT * items.len())?;
        for (key, value) in items {
            let before = name.len();
            if before > 0 {
                name.push('.');
            }
            match key {
                Value::Text(index) => name.push_str(&self.texts[*index as usize]),
                Value::Number(number) => name.push_str(&number.to_string()),
                _ => name.push('?'),
            }
            self.visit(*value, name, depth + 1, budget, found)?;
            name.truncate(before);
        }
        Ok(())
    }

    /// The texts of the list that it is, or `None` if it is none.
    pub fn list(&self) -> Option<Vec<&str>> {
        let Value::Container(index) = self.root else { return None };
        let items = self.containers[index as usize].items.iter();
        let texts = items.map(|(_, value)| match value {
            Value::Text(index) => Some(&*self.texts[*index as usize]),
            _ => None,
        });
        texts.collect()
    }
}

struct Machine<'b> {
    budget: &'b mut Budget,
    keep: Keep,
    stack: Vec<Value>,
    marks: Vec<usize>,
    memo: Vec<Value>,
    made: Pickled,
}

/// The index of the last of so many.
fn index(count: usize) -> Result<u32, Refused> {
    u32::try_from(count - 1).map_err(|_| Refused::TooMuch)
}
