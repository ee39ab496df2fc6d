//! The operations of a pickle: its stack, its memory, and the containers it makes.

use super::input::Input;
use super::{ARGUMENTS, Container, Keep, Machine, Refused, Value, damaged, index};
use std::io::BufRead;

impl Machine<'_> {
    pub(super) fn step(
        &mut self,
        operation: u8,
        from: &mut Input<'_, impl BufRead>,
    ) -> Result<(), Refused> {
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

    pub(super) fn push(&mut self, value: Value) -> Result<(), Refused> {
        self.budget.push(&mut self.stack, value)
    }

    pub(super) fn pop(&mut self) -> Result<Value, Refused> {
        if self.marks.last().is_some_and(|mark| *mark >= self.stack.len()) {
            return Err(damaged("it takes a mark for an object"));
        }
        self.stack.pop().ok_or_else(|| damaged("it takes what is not there"))
    }

    pub(super) fn top(&mut self) -> Result<Value, Refused> {
        let top = self.pop()?;
        self.stack.push(top);
        Ok(top)
    }

    /// Does something with the last objects.
    pub(super) fn last(
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
    pub(super) fn down_to_mark(
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

    pub(super) fn long(
        &mut self,
        digits: usize,
        from: &mut Input<'_, impl BufRead>,
    ) -> Result<(), Refused> {
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

    pub(super) fn bytes(
        &mut self,
        digits: usize,
        from: &mut Input<'_, impl BufRead>,
    ) -> Result<(), Refused> {
        let length = from.unsigned(digits)?;
        from.skip(length)?;
        self.push(Value::Nothing)
    }

    pub(super) fn counted_text(
        &mut self,
        digits: usize,
        from: &mut Input<'_, impl BufRead>,
    ) -> Result<(), Refused> {
        let length = from.unsigned(digits)?;
        let text = from.text(length)?;
        self.text(text)
    }

    pub(super) fn text(&mut self, text: Option<String>) -> Result<(), Refused> {
        match text {
            None => self.push(Value::Nothing),
            Some(text) => {
                let index = self.keep_text(text)?;
                self.push(Value::Text(index))
            }
        }
    }

    pub(super) fn keep_text(&mut self, text: String) -> Result<u32, Refused> {
        self.budget.take(text.len())?;
        self.budget.push(&mut self.made.texts, text.into_boxed_str())?;
        index(self.made.texts.len())
    }

    /// A text, or none.
    pub(super) fn told(&self, value: Value) -> &str {
        match value {
            Value::Text(index) => &self.made.texts[index as usize],
            _ => "",
        }
    }

    pub(super) fn container(&mut self, container: Container) -> Result<(), Refused> {
        self.budget.push(&mut self.made.containers, container)?;
        let index = index(self.made.containers.len())?;
        self.push(Value::Container(index))
    }

    pub(super) fn tuple(&mut self, items: &[Value]) -> Result<(), Refused> {
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
    pub(super) fn is_kept(&self, item: Value) -> bool {
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

    pub(super) fn add(&mut self, to: u32, key: Value, item: Value) -> Result<(), Refused> {
        match self.is_kept(item) {
            true => self.budget.push(&mut self.made.containers[to as usize].items, (key, item)),
            false => Ok(()),
        }
    }

    /// Adds to the list on top; what is no container stays as it is.
    pub(super) fn append(&mut self, items: &[Value]) -> Result<(), Refused> {
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
    pub(super) fn set(&mut self, items: &[Value]) -> Result<(), Refused> {
        let top = self.top()?;
        let (pairs, rest) = items.as_chunks::<2>();
        if !rest.is_empty() {
            return Err(damaged("a dictionary has a key without a value"));
        }
        let Value::Container(to) = top else { return Ok(()) };
        pairs.iter().try_for_each(|[key, value]| self.add(to, *key, *value))
    }

    /// Adds all that is in one container to another.
    pub(super) fn merge(&mut self, to: u32, from: u32) -> Result<(), Refused> {
        let count = if to == from { 0 } else { self.made.containers[from as usize].items.len() };
        (0..count).try_for_each(|index| {
            let (key, item) = self.made.containers[from as usize].items[index];
            self.add(to, key, item)
        })
    }

    pub(super) fn recall(&mut self, index: u64) -> Result<(), Refused> {
        match usize::try_from(index).ok().and_then(|index| self.memo.get(index)) {
            None | Some(Value::Absent) => Err(damaged("it recalls what is not in its memo")),
            Some(value) => self.push(*value),
        }
    }

    pub(super) fn remember(
        &mut self,
        index: u64,
        from: &Input<'_, impl BufRead>,
    ) -> Result<(), Refused> {
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
}
