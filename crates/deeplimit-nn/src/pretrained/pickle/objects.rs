//! What functions and classes make when a pickle calls them: tensors, storages and containers, nothing else.

use super::super::element::Element;
use super::{Container, Machine, Name, Refused, Storage, Tensor, Value, View, damaged, index};

impl Machine<'_> {
    pub(super) fn name(&mut self, module: &str, name: &str) -> Result<(), Refused> {
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
    pub(super) fn argument(&self, arguments: u32, index: usize) -> Value {
        let items = &self.made.containers[arguments as usize].items;
        items.get(index).map_or(Value::Nothing, |(_, item)| *item)
    }

    pub(super) fn call(&mut self, call: Value, arguments: Value) -> Result<(), Refused> {
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
    pub(super) fn fill(&mut self, of: Value) -> Result<(), Refused> {
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

    pub(super) fn build(&mut self, object: Value, state: Value) -> Result<(), Refused> {
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
    pub(super) fn persistent(&mut self, of: Value) -> Result<(), Refused> {
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
    pub(super) fn extents(&self, of: Value) -> Option<Vec<usize>> {
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

    pub(super) fn tensor(&mut self, arguments: u32, typed: bool) -> Result<(), Refused> {
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

    pub(super) fn add_tensor(&mut self, tensor: Tensor) -> Result<(), Refused> {
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
