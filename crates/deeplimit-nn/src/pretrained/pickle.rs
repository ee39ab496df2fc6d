//! A restricted unpickler: it walks over the operations of a pickle and makes nothing but tensors that are not
//! read yet, and the containers that hold them.
//!
//! Nothing is called. Numbers, texts and objects that belong to no tensor are passed over: a place on the stack
//! is all they take. All that is made is counted before it is made, so that a short pickle that makes much (an
//! operation of one byte makes a list, one of two bytes recalls what was made) ends where the budget does.

use super::element::Element;
use std::io::{BufRead, Read, copy, sink};

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

impl Machine<'_> {
    fn step(&mut self, operation: u8, from: &mut Input<'_, impl BufRead>) -> Result<(), Refused> {
        match operation {
            // The protocol and a frame's length tell nothing about objects.
            0x80 => from.skip(1),
            0x95 => from.skip(8),
            b'N' | 0x88 | 0x89 => self.push(Value::Nothing),
            b')' => self.push(Value::Tuple(0)),
            b'}' | b']' | 0x8f => self.container(Container::default()),
            b'K' => from.unsigned(1).and_then(|number| self.push(Value::Number(number as i64))),
            b'M' => from.unsigned(2).and_then(|number| self.push(Value::Number(number as i64))),
            b'J' => {
                let number = from.unsigned(4)? as u32;
                self.push(Value::Number(i64::from(number as i32)))
            }
            0x8a => self.long(1, from),
            0x8b => self.long(4, from),
            b'I' | b'L' => {
                let line = from.line()?;
                let number = line.and_then(|line| line.trim_end_matches('L').parse().ok());
                self.push(number.map_or(Value::Nothing, Value::Number))
            }
            b'F' => from.line().and_then(|_| self.push(Value::Nothing)),
            b'G' => from.skip(8).and_then(|()| self.push(Value::Nothing)),
            b'V' => {
                let line = from.line()?;
                self.text(line)
            }
            b'S' => {
                let line = from.line()?;
                self.text(line.map(|line| line.trim_matches(['\'', '"']).to_owned()))
            }
            b'U' | 0x8c => self.counted_text(1, from),
            b'T' | b'X' => self.counted_text(4, from),
            0x8d => self.counted_text(8, from),
            b'C' => self.bytes(1, from),
            b'B' => self.bytes(4, from),
            0x8e | 0x96 => self.bytes(8, from),
            b'(' => self.budget.push(&mut self.marks, self.stack.len()),
            b't' => self.down_to_mark(Self::tuple),
            0x85 => self.last(1, Self::tuple),
            0x86 => self.last(2, Self::tuple),
            0x87 => self.last(3, Self::tuple),
            b'l' | 0x91 => self.down_to_mark(|machine, items| {
                machine.container(Container::default())?;
                machine.append(items)
            }),
            b'd' => self.down_to_mark(|machine, items| {
                machine.container(Container::default())?;
                machine.set(items)
            }),
            b'a' => self.last(1, Self::append),
            b'e' | 0x90 => self.down_to_mark(Self::append),
            b's' => self.last(2, Self::set),
            b'u' => self.down_to_mark(Self::set),
            b'0' if self.marks.last() == Some(&self.stack.len()) => {
                self.marks.pop();
                Ok(())
            }
            b'0' => self.pop().map(drop),
            b'1' => self.down_to_mark(|_, _| Ok(())),
            b'2' => self.top().and_then(|top| self.push(top)),
            b'g' | b'p' => {
                let line = from.line()?;
                let index = line.and_then(|line| line.parse().ok());
                let index = index.ok_or_else(|| damaged("a place in its memo is no number"))?;
                if operation == b'g' { self.recall(index) } else { self.remember(index, from) }
            }
            b'h' => from.unsigned(1).and_then(|index| self.recall(index)),
            b'j' => from.unsigned(4).and_then(|index| self.recall(index)),
            b'q' => from.unsigned(1).and_then(|index| self.remember(index, from)),
            b'r' => from.unsigned(4).and_then(|index| self.remember(index, from)),
            0x94 => self.remember(self.memo.len() as u64, from),
            b'c' => {
                let (module, name) = (from.line()?, from.line()?);
                self.name(&module.unwrap_or_default(), &name.unwrap_or_default())
            }
            0x93 => {
                let (name, module) = (self.pop()?, self.pop()?);
                let [module, name] = [module, name].map(|text| self.told(text).to_owned());
                self.name(&module, &name)
            }
            b'R' | 0x81 => {
                let (arguments, call) = (self.pop()?, self.pop()?);
                self.call(call, arguments)
            }
            0x92 => {
                let (_, arguments, call) = (self.pop()?, self.pop()?, self.pop()?);
                self.call(call, arguments)
            }
            b'Q' => {
                let of = self.pop()?;
                self.persistent(of)
            }
            b'b' => {
                let (state, object) = (self.pop()?, self.top()?);
                self.build(object, state)
            }
            other => Err(damaged(format!(
                "operation 0x{other:02x} is none that a checkpoint of weights needs"
            ))),
        }
    }

    fn push(&mut self, value: Value) -> Result<(), Refused> {
        self.budget.push(&mut self.stack, value)
    }

    fn pop(&mut self) -> Result<Value, Refused> {
        if self.marks.last().is_some_and(|mark| *mark >= self.stack.len()) {
            return Err(damaged("it takes a mark for an object"));
        }
        self.stack.pop().ok_or_else(|| damaged("it takes what is not there"))
    }

    fn top(&mut self) -> Result<Value, Refused> {
        let top = self.pop()?;
        self.stack.push(top);
        Ok(top)
    }

    /// Does something with the last objects.
    fn last(
        &mut self,
        count: usize,
        work: impl FnOnce(&mut Self, &[Value]) -> Result<(), Refused>,
    ) -> Result<(), Refused> {
        let mut items = [Value::Nothing; 3];
        for item in items[..count].iter_mut().rev() {
            *item = self.pop()?;
        }
        work(self, &items[..count])
    }

    /// Does something with the objects since the last mark.
    fn down_to_mark(
        &mut self,
        work: impl FnOnce(&mut Self, &[Value]) -> Result<(), Refused>,
    ) -> Result<(), Refused> {
        let mark = self.marks.pop().ok_or_else(|| damaged("a mark is missing"))?;
        let bytes = (self.stack.len() - mark) * size_of::<Value>();
        self.budget.take(bytes)?;
        let items = self.stack.split_off(mark);
        work(self, &items)?;
        self.budget.give(bytes);
        Ok(())
    }

    fn long(&mut self, digits: usize, from: &mut Input<'_, impl BufRead>) -> Result<(), Refused> {
        let length = from.unsigned(digits)?;
        if length > 8 {
            from.skip(length)?;
            return self.push(Value::Nothing);
        }
        let number = from.unsigned(length as usize)?;
        // The last bit is the sign.
        let unused = 64 - 8 * length as u32;
        let number = if length == 0 { 0 } else { (number << unused) as i64 >> unused };
        self.push(Value::Number(number))
    }

    fn bytes(&mut self, digits: usize, from: &mut Input<'_, impl BufRead>) -> Result<(), Refused> {
        let length = from.unsigned(digits)?;
        from.skip(length)?;
        self.push(Value::Nothing)
    }

    fn counted_text(
        &mut self,
        digits: usize,
        from: &mut Input<'_, impl BufRead>,
    ) -> Result<(), Refused> {
        let length = from.unsigned(digits)?;
        let text = from.text(length)?;
        self.text(text)
    }

    fn text(&mut self, text: Option<String>) -> Result<(), Refused> {
        match text {
            None => self.push(Value::Nothing),
            Some(text) => {
                let index = self.keep_text(text)?;
                self.push(Value::Text(index))
            }
        }
    }

    fn keep_text(&mut self, text: String) -> Result<u32, Refused> {
        self.budget.take(text.len())?;
        self.budget.push(&mut self.made.texts, text.into_boxed_str())?;
        index(self.made.texts.len())
    }

    /// A text, or none.
    fn told(&self, value: Value) -> &str {
        match value {
            Value::Text(index) => &self.made.texts[index as usize],
            _ => "",
        }
    }

    fn container(&mut self, container: Container) -> Result<(), Refused> {
        self.budget.push(&mut self.made.containers, container)?;
        let index = index(self.made.containers.len())?;
        self.push(Value::Container(index))
    }

    fn tuple(&mut self, items: &[Value]) -> Result<(), Refused> {
        let mut tuple = Container { added: items.len() as i64, ..Container::default() };
        for (index, item) in items.iter().enumerate() {
            if items.len() <= ARGUMENTS || self.is_kept(*item) {
                self.budget.push(&mut tuple.items, (Value::Number(index as i64), *item))?;
            }
        }
        self.budget.push(&mut self.made.containers, tuple)?;
        let index = index(self.made.containers.len())?;
        self.push(Value::Tuple(index))
    }

    /// Whether an item of a container may belong to a tensor.
    fn is_kept(&self, item: Value) -> bool {
        match item {
            Value::Tensor(_) | Value::Container(_) => true,
            Value::Tuple(index) => {
                let items = &self.made.containers[index as usize].items;
                items.iter().any(|(_, item)| {
                    matches!(item, Value::Tensor(_) | Value::Container(_) | Value::Tuple(_))
                })
            }
            Value::Text(_) => self.keep == Keep::Texts,
            _ => false,
        }
    }

    fn add(&mut self, to: u32, key: Value, item: Value) -> Result<(), Refused> {
        match self.is_kept(item) {
            true => self.budget.push(&mut self.made.containers[to as usize].items, (key, item)),
            false => Ok(()),
        }
    }

    /// Adds to the list on top; what is no container stays as it is.
    fn append(&mut self, items: &[Value]) -> Result<(), Refused> {
        let Value::Container(to) = self.top()? else { return Ok(()) };
        for item in items {
            let list = &mut self.made.containers[to as usize];
            let key = Value::Number(list.added);
            list.added += 1;
            self.add(to, key, *item)?;
        }
        Ok(())
    }

    /// Adds keys and values in turns to the dictionary on top.
    fn set(&mut self, items: &[Value]) -> Result<(), Refused> {
        let top = self.top()?;
        let (pairs, rest) = items.as_chunks::<2>();
        if !rest.is_empty() {
            return Err(damaged("a dictionary has a key without a value"));
        }
        let Value::Container(to) = top else { return Ok(()) };
        pairs.iter().try_for_each(|[key, value]| self.add(to, *key, *value))
    }

    /// Adds all that is in one container to another.
    fn merge(&mut self, to: u32, from: u32) -> Result<(), Refused> {
        let count = if to == from { 0 } else { self.made.containers[from as usize].items.len() };
        (0..count).try_for_each(|index| {
            let (key, item) = self.made.containers[from as usize].items[index];
            self.add(to, key, item)
        })
    }

    fn recall(&mut self, index: u64) -> Result<(), Refused> {
        match usize::try_from(index).ok().and_then(|index| self.memo.get(index)) {
            None | Some(Value::Absent) => Err(damaged("it recalls what is not in its memo")),
            Some(value) => self.push(*value),
        }
    }

    fn remember(&mut self, index: u64, from: &Input<'_, impl BufRead>) -> Result<(), Refused> {
        let value = self.top()?;
        // Each place takes an operation.
        if index > from.passed {
            return Err(damaged(format!("place {index} in its memo is more than it can need")));
        }
        let index = index as usize;
        while self.memo.len() <= index {
            self.budget.push(&mut self.memo, Value::Absent)?;
        }
        self.memo[index] = value;
        Ok(())
    }

    fn name(&mut self, module: &str, name: &str) -> Result<(), Refused> {
        let whole = || format!("{module}.{name}");
        let known = match (module, name) {
            ("torch._utils", "_rebuild_tensor" | "_rebuild_tensor_v2") => Name::Tensor,
            ("torch._utils", "_rebuild_tensor_v3") => Name::TypedTensor,
            ("torch._utils", "_rebuild_qtensor") => Name::Quantised,
            ("torch._utils", "_rebuild_parameter" | "_rebuild_parameter_with_state")
            | ("torch", "Size") => Name::First,
            ("torch._tensor", "_rebuild_from_type" | "_rebuild_from_type_v2") => Name::FromType,
            ("collections", "OrderedDict" | "defaultdict" | "Counter")
            | ("builtins" | "__builtin__", "dict") => Name::Dictionary,
            ("builtins" | "__builtin__", "list" | "set" | "frozenset" | "tuple") => Name::First,
            ("copy_reg" | "copyreg", "_reconstructor") => Name::Reconstructor,
            _ if module.starts_with("torch") && name.starts_with("_rebuild") => {
                Name::Strange(self.keep_text(whole())?)
            }
            _ => match Element::of_storage(name).filter(|_| module.starts_with("torch")) {
                Some(element) => Name::Storage(element),
                None => Name::Other(self.keep_text(whole())?),
            },
        };
        self.push(Value::Name(known))
    }

    /// An argument; none where there are fewer.
    fn argument(&self, arguments: u32, index: usize) -> Value {
        let items = &self.made.containers[arguments as usize].items;
        items.get(index).map_or(Value::Nothing, |(_, item)| *item)
    }

    fn call(&mut self, call: Value, arguments: Value) -> Result<(), Refused> {
        let Value::Tuple(mut arguments) = arguments else {
            return Err(damaged("it calls something without a tuple of arguments"));
        };
        let mut call = call;
        if call == Value::Name(Name::FromType) {
            call = self.argument(arguments, 0);
            if let Value::Tuple(inner) = self.argument(arguments, 2) {
                arguments = inner;
            }
        }
        let argument = |index| self.argument(arguments, index);
        match call {
            Value::Name(Name::Tensor) => self.tensor(arguments, false),
            Value::Name(Name::TypedTensor) => self.tensor(arguments, true),
            Value::Name(Name::Quantised) => {
                let kind = match argument(0) {
                    Value::Storage(index) => self.made.storages[index as usize].element,
                    _ => None,
                };
                let kind = kind.map_or("quantised numbers", Element::name).to_owned();
                let shape = self.extents(argument(2)).unwrap_or_default();
                self.add_tensor(Tensor { shape, numbers: Err(kind) })
            }
            Value::Name(Name::Strange(name)) => {
                let told = format!("what {} makes", self.made.texts[name as usize]);
                self.add_tensor(Tensor { shape: Vec::new(), numbers: Err(told) })
            }
            Value::Name(Name::First) => self.push(argument(0)),
            Value::Name(Name::Dictionary) => {
                let of = argument(0);
                self.container(Container::default())?;
                self.fill(of)
            }
            Value::Name(Name::Reconstructor) => {
                let state = argument(2);
                self.container(Container::default())?;
                let Value::Container(state) = state else { return Ok(()) };
                let Value::Container(to) = self.top()? else { return Ok(()) };
                self.merge(to, state)
            }
            // Anything else is an object with its arguments for attributes.
            _ => {
                self.container(Container::default())?;
                let Value::Container(to) = self.top()? else { return Ok(()) };
                self.merge(to, arguments)
            }
        }
    }

    /// Fills the dictionary on top from a dictionary, or from a list of pairs.
    fn fill(&mut self, of: Value) -> Result<(), Refused> {
        let (Value::Container(to), Value::Container(of)) = (self.top()?, of) else {
            return Ok(());
        };
        let count = self.made.containers[of as usize].items.len();
        (0..count).try_for_each(|index| {
            let (key, item) = self.made.containers[of as usize].items[index];
            let pair = match item {
                Value::Tuple(pair) | Value::Container(pair) => Some(pair),
                _ => None,
            };
            let pair = pair.map(|pair| [self.argument(pair, 0), self.argument(pair, 1)]);
            match (key, pair) {
                (Value::Number(_), Some([key, item])) => self.add(to, key, item),
                _ => self.add(to, key, item),
            }
        })
    }

    fn build(&mut self, object: Value, state: Value) -> Result<(), Refused> {
        match (object, state) {
            (Value::Container(to), Value::Container(from)) => self.merge(to, from),
            // Attributes, and those in slots.
            (Value::Container(to), Value::Tuple(both)) => {
                (0..2).try_for_each(|index| match self.argument(both, index) {
                    Value::Container(from) => self.merge(to, from),
                    _ => Ok(()),
                })
            }
            _ => Ok(()),
        }
    }

    /// What an object is that lies outside the pickle: a storage, or the class of a module.
    fn persistent(&mut self, of: Value) -> Result<(), Refused> {
        let Value::Tuple(of) = of else {
            return Err(damaged("it refers to something outside that is no storage"));
        };
        let item = |index| self.argument(of, index);
        let (kind, class, key, part) = (self.told(item(0)), item(1), item(2), item(5));
        match kind {
            "module" => self.push(class),
            "storage" => {
                let element = match class {
                    Value::Name(Name::Storage(element)) => Some(element),
                    _ => None,
                };
                let key = match key {
                    Value::Number(number) => number.to_string(),
                    text => self.told(text).to_owned(),
                };
                let part = match part {
                    Value::Tuple(part) => {
                        let [offset, count] = [1, 2].map(|index| self.argument(part, index));
                        let numbers = [offset, count].map(|number| match number {
                            Value::Number(number) => u64::try_from(number).ok(),
                            _ => None,
                        });
                        let [Some(offset), Some(count)] = numbers else {
                            return Err(damaged("a part of a storage has no place in it"));
                        };
                        Some([offset, count])
                    }
                    _ => None,
                };
                self.budget.take(key.len())?;
                let storage = Storage { key, element, part };
                self.budget.push(&mut self.made.storages, storage)?;
                let index = index(self.made.storages.len())?;
                self.push(Value::Storage(index))
            }
            _ => Err(damaged("it refers to something outside that is no storage")),
        }
    }

    /// Numbers that are not negative, of a tuple.
    fn extents(&self, of: Value) -> Option<Vec<usize>> {
        let Value::Tuple(of) = of else { return None };
        let Container { items, added } = &self.made.containers[of as usize];
        // Of more than tensors have extents nothing is known.
        if *added != items.len() as i64 {
            return None;
        }
        let numbers = items.iter().map(|(_, item)| match item {
            Value::Number(number) => usize::try_from(*number).ok(),
            _ => None,
        });
        numbers.collect()
    }

    fn tensor(&mut self, arguments: u32, typed: bool) -> Result<(), Refused> {
        let argument = |index| self.argument(arguments, index);
        let extents = [2, 3].map(|index| self.extents(argument(index)));
        let (Value::Storage(storage), Value::Number(offset), [Some(shape), Some(strides)]) =
            (argument(0), argument(1), extents)
        else {
            let what = "a tensor is not made of a storage, an offset, a shape and strides";
            return Err(damaged(what));
        };
        if shape.len() != strides.len() || offset < 0 {
            return Err(damaged("a tensor's strides or offset are not those of its shape"));
        }
        let of = &self.made.storages[storage as usize];
        let numbers = match (typed, argument(6), of.element) {
            (true, Value::Name(Name::Other(kind)), _) => {
                Err(self.made.texts[kind as usize].trim_start_matches("torch.").to_owned())
            }
            (true, ..) | (.., None) => Err("numbers of an unknown kind".to_owned()),
            _ => Ok(View { storage: storage as usize, offset: offset as u64, strides }),
        };
        self.add_tensor(Tensor { shape, numbers })
    }

    fn add_tensor(&mut self, tensor: Tensor) -> Result<(), Refused> {
        let more = match &tensor.numbers {
            Ok(view) => size_of_val(&view.strides[..]),
            Err(kind) => kind.len(),
        };
        self.budget.take(size_of_val(&tensor.shape[..]) + more)?;
        self.budget.push(&mut self.made.tensors, tensor)?;
        let index = index(self.made.tensors.len())?;
        self.push(Value::Tensor(index))
    }
}

/// The index of the last of so many.
fn index(count: usize) -> Result<u32, Refused> {
    u32::try_from(count - 1).map_err(|_| Refused::TooMuch)
}

/// The bytes of a pickle.
struct Input<'f, F> {
    from: &'f mut F,
    /// Operations so far.
    passed: u64,
}

impl<F: BufRead> Input<'_, F> {
    fn byte(&mut self) -> Result<u8, Refused> {
        self.passed += 1;
        Ok(self.unsigned(1)? as u8)
    }

    /// A number of so many bytes, eight at most, least first.
    fn unsigned(&mut self, length: usize) -> Result<u64, Refused> {
        let mut bytes = [0; 8];
        self.from.read_exact(&mut bytes[..length]).map_err(|_| Refused::Cut)?;
        Ok(u64::from_le_bytes(bytes))
    }

    fn skip(&mut self, length: u64) -> Result<(), Refused> {
        match copy(&mut self.from.by_ref().take(length), &mut sink()) {
            Ok(passed) if passed == length => Ok(()),
            _ => Err(Refused::Cut),
        }
    }

    /// A text of so many bytes; `None` if it is too long to be kept.
    fn text(&mut self, length: u64) -> Result<Option<String>, Refused> {
        if length > LONGEST {
            return self.skip(length).map(|()| None);
        }
        let mut bytes = vec![0; length as usize];
        self.from.read_exact(&mut bytes).map_err(|_| Refused::Cut)?;
        Ok(Some(readable(bytes)))
    }

    /// A line, without its end; `None` if it is too long to be kept.
    fn line(&mut self) -> Result<Option<String>, Refused> {
        let mut line = Vec::new();
        let found = self.from.by_ref().take(LONGEST).read_until(b'\n', &mut line);
        found.map_err(|_| Refused::Cut)?;
        if line.pop_if(|last| *last == b'\n').is_some() {
            return Ok(Some(readable(line)));
        }
        loop {
            if self.unsigned(1)? as u8 == b'\n' {
                return Ok(None);
            }
        }
    }
}

/// The text that bytes are, each by itself where they are not Unicode.
fn readable(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes)
        .unwrap_or_else(|error| error.into_bytes().into_iter().map(char::from).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Vec<u8> {
        [&b"X"[..], &(text.len() as u32).to_le_bytes(), text.as_bytes()].concat()
    }

    /// A tensor of so many single-precision numbers, in a storage of that name.
    fn tensor(key: &str, count: u8) -> Vec<u8> {
        let class = b"ctorch\nFloatStorage\n".to_vec();
        let storage = [b"(".to_vec(), text("storage"), class, text(key), text("cpu")].concat();
        let call = b"ctorch._utils\n_rebuild_tensor_v2\n(";
        let shape = [b'K', count, 0x85, b'K', 1, 0x85];
        [&call[..], &storage, &[b'K', count], b"tQK\x02", &shape, b"\x89NtR"].concat()
    }

    fn names(pickle: &[u8]) -> Result<Vec<String>, Refused> {
        let mut budget = Budget(1 << 20);
        let pickled = interpret(&mut &pickle[..], &mut budget, Keep::Tensors)?;
        let tensors = pickled.tensors(&mut budget)?;
        Ok(tensors.into_iter().map(|(name, _)| name).collect())
    }

    fn dictionary(items: &[Vec<u8>]) -> Vec<u8> {
        [&b"\x80\x02}("[..], &items.concat(), b"u."].concat()
    }

    #[test]
    fn tensors_are_named_by_keys_places_and_attributes() {
        let tuple = [&tensor("1", 2)[..], b"K\x07\x86"].concat();
        let list = [&b"](K\x01"[..], &tensor("2", 3), b"e"].concat();
        let pairs = [
            &b"ccollections\nOrderedDict\n](("[..],
            &text("k"),
            &tensor("3", 1),
            b"te\x85R}",
            &text("_metadata"),
            b"}sb",
        ]
        .concat();
        let object = [
            &b"cmy.net\nNet\n)\x81}("[..],
            &text("training"),
            b"\x88",
            &text("_parameters"),
            b"}",
            &text("w"),
            b"ctorch._utils\n_rebuild_parameter\n",
            &tensor("4", 1),
            b"\x88N\x87Rsub",
        ]
        .concat();
        let all = [
            [text("a"), tensor("0", 5)].concat(),
            [text("t"), tuple].concat(),
            [text("l"), list].concat(),
            [text("o"), pairs].concat(),
            [text("m"), object].concat(),
            [b"K\x03".to_vec(), tensor("5", 1)].concat(),
            [text("loss"), [&b"](G"[..], &[0; 8], b"Ne"].concat()].concat(),
        ];
        let found = names(&dictionary(&all)).expect("a pickle");
        assert_eq!(found, ["a", "t.0", "l.1", "o.k", "m._parameters.w", "3"]);
    }

    /// As PyTorch kept modules that were saved whole, before 1.6: with the source of their classes.
    #[test]
    fn a_class_that_lies_outside_is_a_class() {
        let class =
            [&b"("[..], &text("module"), b"cmy.net\nNet\n", &text("net.py"), &text("source")];
        let module =
            [&class.concat()[..], b"tQ)\x81}", &text("w"), &tensor("0", 1), b"sb"].concat();
        let found = names(&dictionary(&[[text("net"), module].concat()]));
        assert_eq!(found, Ok(vec!["net.w".to_owned()]));
        let other = [&b"\x80\x02("[..], &text("weights"), b"tQ."].concat();
        assert!(matches!(names(&other), Err(Refused::Damaged(_))));
    }

    #[test]
    fn what_a_tensor_is_stays_known() {
        let mut budget = Budget(1 << 20);
        let pickle = dictionary(&[[text("a"), tensor("7", 5)].concat()]);
        let pickled = interpret(&mut &pickle[..], &mut budget, Keep::Tensors).expect("a pickle");
        let tensors = pickled.tensors(&mut budget).expect("tensors");
        assert_eq!(tensors[0].1.shape, [5]);
        let view = tensors[0].1.numbers.as_ref().expect("numbers");
        assert_eq!((view.offset, &view.strides[..]), (2, &[1][..]));
        let Storage { key, element, part } = &pickled.storages[view.storage];
        assert_eq!((&key[..], element.map(Element::name), part), ("7", Some("float32"), &None));
    }

    /// However many numbers, texts and lists there are beside the tensors.
    #[test]
    fn what_belongs_to_no_tensor_takes_next_to_nothing() {
        let losses = [&b"]("[..], &[b'G', 0, 0, 0, 0, 0, 0, 0, 0].repeat(1000), b"e"].concat();
        let indices = [&b"]("[..], &b"M\x10\x27".repeat(1000), b"e"].concat();
        let long = [&b"X"[..], &100_000u32.to_le_bytes(), &[b'a'; 100_000]].concat();
        let beside = |key: &str, value: &[u8]| [&text(key)[..], value].concat();
        let items = |times: usize| {
            let all = [
                beside("losses", &losses),
                beside("indices", &indices),
                beside("log", &long),
                [&text("a")[..], &tensor("0", 1)].concat(),
            ];
            dictionary(&vec![all.concat(); times])
        };
        let left = |pickle: &[u8]| {
            let mut budget = Budget(1 << 20);
            interpret(&mut &pickle[..], &mut budget, Keep::Tensors).expect("a pickle");
            (1 << 20) - budget.0
        };
        let (one, ten) = (left(&items(1)), left(&items(10)));
        assert!(one < 2_000 && ten < 20_000, "{one}, {ten}");
    }

    /// A tuple of more items than are kept is no shape, rather than an empty one.
    #[test]
    fn a_shape_of_more_extents_than_tensors_have_is_refused() {
        let extents = [&b"("[..], &b"K\x01".repeat(ARGUMENTS + 1), b"t"].concat();
        let whole = tensor("0", 1);
        let shape = [b'K', 1, 0x85, b'K', 1, 0x85];
        let place = whole.windows(shape.len()).position(|part| part == shape).expect("its shape");
        let many = [&whole[..place], &extents, &extents, &whole[place + shape.len()..]].concat();
        let found = names(&dictionary(&[[text("w"), many].concat()]));
        assert!(matches!(found, Err(Refused::Damaged(_))), "{found:?}");
    }

    #[test]
    fn a_budget_is_kept_to_whatever_is_made() {
        let repeat = |part: &[u8], end: &[u8]| {
            [&b"\x80\x02}"[..], &text("k"), &part.repeat(100_000), end].concat()
        };
        for (what, pickle) in [
            ("lists", repeat(b"]", b".")),
            ("marks", repeat(b"(", b".")),
            ("a value, again and again", repeat(b"2", b".")),
            ("texts", repeat(b"U\x01a", b".")),
            ("names", repeat(b"ca\nb\n", b".")),
            ("tuples", repeat(b"N\x85", b".")),
            ("tensors", repeat(&tensor("0", 1), b".")),
            ("doubled", [&b"\x80\x02]"[..], &b"2\x86".repeat(40), b"."].concat()),
        ] {
            let found = names(&pickle);
            let found = found.map(|names| names.len());
            let allowed = [Err(Refused::TooMuch), Ok(0)];
            assert!(allowed.contains(&found), "{what}: {found:?}");
            assert!(found == Err(Refused::TooMuch) || what == "doubled", "{what}: {found:?}");
        }
        // Lists of the same list twice, thirty deep: a billion ways to one tensor.
        let leaf = [&b"\x80\x02]"[..], &tensor("0", 1), b"a"].concat();
        let mut pickle = leaf;
        for level in 0..30u8 {
            pickle.extend([b'q', level, b'0', b']', b'h', level, b'a', b'h', level, b'a']);
        }
        pickle.push(b'.');
        assert_eq!(names(&pickle), Err(Refused::TooMuch));
        // And one that holds itself.
        let itself = [&b"\x80\x02]q\x00h\x00a"[..], &tensor("0", 1), b"a."].concat();
        let error = names(&itself).expect_err("no end");
        assert!(matches!(&error, Refused::Damaged(what) if what.contains("deep")), "{error:?}");
    }
}
