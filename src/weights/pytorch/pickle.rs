//! The part of Python's pickle format that state dicts consist of. Values are put together, nothing is ever called.
//!
//! Values are small and copied: containers hold them in lists of their own, so that a pickle which refers to one value a
//! million times, or nests a million of them, takes no more memory, stack or time than its bytes do.

use std::collections::BTreeMap;

use safetensors::Dtype;

/// The most instructions that are followed: those of some 30,000 tensors.
const MAX_INSTRUCTIONS: usize = 2_000_000;
/// The most dimensions of a tensor.
const MAX_DIMENSIONS: usize = 16;

/// One value; numbers are places in [`Values`].
#[derive(Debug, Clone, Copy)]
pub(super) enum Value<'a> {
    None,
    /// What no tensor depends on.
    Other,
    Bool(bool),
    Integer(i64),
    Text(&'a str),
    Global(Global),
    Tuple {
        start: usize,
        length: u32,
    },
    List(usize),
    Dict(usize),
    Storage(usize),
    Tensor(usize),
}

/// What may be named.
#[derive(Debug, Clone, Copy)]
pub(super) enum Global {
    OrderedDict,
    Size,
    Parameter,
    Tensor,
    /// As [`Self::Tensor`], with the type of its numbers, since its storage has none.
    TypedTensor,
    /// Of numbers of a type, or of bytes.
    Storage(Option<Dtype>),
    Dtype(Dtype),
}

/// What holds the numbers of tensors.
#[derive(Debug)]
pub(super) struct Storage<'a> {
    pub(super) key: &'a str,
    /// None where it is of bytes.
    pub(super) dtype: Option<Dtype>,
    /// Numbers, or bytes where it is of those.
    pub(super) length: usize,
}

impl Storage<'_> {
    /// Bytes of all of it.
    pub(super) fn bytes(&self) -> Option<usize> {
        self.length.checked_mul(self.dtype.map_or(1, bytes_of))
    }
}

/// Bytes of a number, all of which are whole.
pub(super) fn bytes_of(dtype: Dtype) -> usize {
    dtype.bitsize() / 8
}

/// A view of a storage.
#[derive(Debug)]
pub(super) struct PickledTensor {
    pub(super) storage: usize,
    pub(super) dtype: Dtype,
    pub(super) offset: usize,
    pub(super) shape: Vec<usize>,
    pub(super) strides: Vec<usize>,
}

/// The values that others refer to.
#[derive(Debug, Default)]
pub(super) struct Values<'a> {
    items: Vec<Value<'a>>,
    pub(super) lists: Vec<Vec<Value<'a>>>,
    pub(super) dicts: Vec<Vec<[Value<'a>; 2]>>,
    pub(super) storages: Vec<Storage<'a>>,
    pub(super) tensors: Vec<PickledTensor>,
}

/// A pickle that was read.
pub(super) struct Pickle<'a> {
    pub(super) value: Value<'a>,
    pub(super) values: Values<'a>,
    /// Bytes that it took.
    pub(super) length: usize,
}

impl<'a> Pickle<'a> {
    /// Reads the pickle that `bytes` start with.
    pub(super) fn read(bytes: &'a [u8]) -> Result<Self, String> {
        let mut machine = Machine { bytes, ..Machine::default() };
        for _ in 0..MAX_INSTRUCTIONS {
            let at = machine.at;
            let instruction = machine.byte()?;
            if instruction == b'.' {
                let value = machine.pop()?;
                return Ok(Self { value, values: machine.values, length: machine.at });
            }
            machine.step(instruction).map_err(|message| format!("byte {at} of its pickle {message}"))?;
        }
        Err(format!("its pickle has more than {MAX_INSTRUCTIONS} instructions"))
    }

    /// The entries of `value` if it is a dict.
    pub(super) fn dict(&self, value: Value<'a>) -> Option<&[[Value<'a>; 2]]> {
        if let Value::Dict(dict) = value { Some(&self.values.dicts[dict]) } else { None }
    }
}

const SHORT: &str = "ends in the middle of a value";
const UNFIT: &str = "puts together what does not fit";

#[derive(Default)]
struct Machine<'a> {
    bytes: &'a [u8],
    at: usize,
    stack: Vec<Value<'a>>,
    /// Where on the stack marks are.
    marks: Vec<usize>,
    memo: BTreeMap<usize, Value<'a>>,
    values: Values<'a>,
}

impl<'a> Machine<'a> {
    fn step(&mut self, instruction: u8) -> Result<(), String> {
        match instruction {
            0x80 => match self.byte()? {
                2 => {}
                other => return Err(format!("says protocol {other}; that of torch.save is 2")),
            },
            b'(' => self.marks.push(self.stack.len()),
            b'N' => self.stack.push(Value::None),
            0x88 => self.stack.push(Value::Bool(true)),
            0x89 => self.stack.push(Value::Bool(false)),
            b'J' => {
                let number = i32::from_le_bytes(self.array()?);
                self.stack.push(Value::Integer(number.into()));
            }
            b'K' | b'M' => {
                let number = self.number(if instruction == b'K' { 1 } else { 2 })?;
                self.stack.push(Value::Integer(number as i64));
            }
            0x8a => self.long()?,
            b'G' => {
                self.take(8)?;
                self.stack.push(Value::Other);
            }
            b'X' => self.text(4)?,
            b'U' => self.text(1)?,
            b'c' => self.global()?,
            b'q' | b'r' | b'h' | b'j' => {
                let place = self.number(if matches!(instruction, b'q' | b'h') { 1 } else { 4 })?;
                if matches!(instruction, b'q' | b'r') {
                    let value = *self.top()?;
                    self.memo.insert(place, value);
                } else {
                    let value = self.memo.get(&place).ok_or("refers to a value that is not there")?;
                    self.stack.push(*value);
                }
            }
            b')' => self.stack.push(Value::Tuple { start: 0, length: 0 }),
            b't' => {
                let start = self.marked()?;
                self.tuple(self.stack.len() - start)?;
            }
            0x85..=0x87 => self.tuple(usize::from(instruction - 0x84))?,
            b']' => {
                self.values.lists.push(Vec::new());
                self.stack.push(Value::List(self.values.lists.len() - 1));
            }
            b'}' => self.new_dict(),
            0x8f => self.stack.push(Value::Other),
            b'a' | b'e' => {
                let start = if instruction == b'e' { self.marked()? } else { self.above_mark(1)? };
                let &Value::List(list) = start.checked_sub(1).and_then(|at| self.stack.get(at)).ok_or(UNFIT)? else {
                    return Err(UNFIT.to_owned());
                };
                self.values.lists[list].extend(self.stack.drain(start..));
            }
            b's' | b'u' => {
                let start = if instruction == b'u' { self.marked()? } else { self.above_mark(2)? };
                let &Value::Dict(dict) = start.checked_sub(1).and_then(|at| self.stack.get(at)).ok_or(UNFIT)? else {
                    return Err(UNFIT.to_owned());
                };
                let (pairs, []) = self.stack[start..].as_chunks::<2>() else { return Err(UNFIT.to_owned()) };
                self.values.dicts[dict].extend(pairs);
                self.stack.truncate(start);
            }
            b'b' => {
                // Attributes of an OrderedDict: the versions of modules, which no tensor depends on.
                let (_, Value::Dict(_)) = (self.pop()?, *self.top()?) else { return Err(UNFIT.to_owned()) };
            }
            b'Q' => self.storage()?,
            b'R' => self.reduce()?,
            other => return Err(format!("is instruction {other:#04x}, which no state dict has")),
        }
        Ok(())
    }

    /// Calls that state dicts make, by what they amount to.
    fn reduce(&mut self) -> Result<(), String> {
        let (arguments, function) = (self.pop()?, self.pop()?);
        let Value::Global(function) = function else { return Err("calls what is no function".to_owned()) };
        let arguments = self.items(arguments)?;
        match (function, arguments) {
            (Global::OrderedDict, []) => self.new_dict(),
            (Global::Size, &[sizes @ Value::Tuple { .. }]) => self.stack.push(sizes),
            (Global::Parameter, &[tensor @ Value::Tensor(_), ..]) => self.stack.push(tensor),
            (Global::Tensor, &[Value::Storage(storage), offset, shape, strides, ..]) => {
                let dtype = self.values.storages[storage].dtype.ok_or(UNFIT)?;
                self.tensor(storage, dtype, [offset, shape, strides])?;
            }
            (Global::TypedTensor, &[Value::Storage(storage), offset, shape, strides, _, _, dtype, ..]) => {
                let Value::Global(Global::Dtype(dtype)) = dtype else { return Err(UNFIT.to_owned()) };
                self.tensor(storage, dtype, [offset, shape, strides])?;
            }
            (function, _) => return Err(format!("calls {function:?} with what it does not take")),
        }
        Ok(())
    }

    fn tensor(&mut self, storage: usize, dtype: Dtype, view: [Value<'a>; 3]) -> Result<(), String> {
        let sizes = |value| {
            let items = self.items(value)?;
            if items.len() > MAX_DIMENSIONS {
                return Err(format!("makes a tensor of {} dimensions", items.len()));
            }
            items.iter().map(|&item| size(item)).collect::<Result<Vec<_>, _>>()
        };
        let (offset, shape, strides) = (size(view[0])?, sizes(view[1])?, sizes(view[2])?);
        if shape.len() != strides.len() {
            return Err(UNFIT.to_owned());
        }
        self.values.tensors.push(PickledTensor { storage, dtype, offset, shape, strides });
        self.stack.push(Value::Tensor(self.values.tensors.len() - 1));
        Ok(())
    }

    /// A storage, by ("storage", type, key, device, length); older files say of which other one it is a view, or None.
    fn storage(&mut self) -> Result<(), String> {
        let tuple = self.pop()?;
        let (
            Value::Text("storage"),
            &[_, Value::Global(Global::Storage(dtype)), Value::Text(key), _, length, ref view @ ..],
        ) = (self.items(tuple)?.first().copied().unwrap_or(Value::None), self.items(tuple)?)
        else {
            return Err("refers to something outside that is no storage".to_owned());
        };
        if !matches!(view, [] | [Value::None]) {
            return Err("has a storage that is a view of another one".to_owned());
        }
        let length = size(length)?;
        self.values.storages.push(Storage { key, dtype, length });
        self.stack.push(Value::Storage(self.values.storages.len() - 1));
        Ok(())
    }

    fn global(&mut self) -> Result<(), String> {
        let (module, name) = (self.line()?, self.line()?);
        let global = match (module, name) {
            ("collections", "OrderedDict") => Global::OrderedDict,
            ("torch", "Size") => Global::Size,
            ("torch._utils", "_rebuild_parameter" | "_rebuild_parameter_with_state") => Global::Parameter,
            ("torch._utils", "_rebuild_tensor" | "_rebuild_tensor_v2") => Global::Tensor,
            ("torch._utils", "_rebuild_tensor_v3") => Global::TypedTensor,
            ("torch.storage", "UntypedStorage") => Global::Storage(None),
            ("torch", name) => {
                let of_storage = STORAGES.iter().find(|(storage, _)| *storage == name);
                let of_dtype = DTYPES.iter().find(|(dtype, _)| *dtype == name);
                match (of_storage, of_dtype) {
                    (Some(&(_, dtype)), _) => Global::Storage(Some(dtype)),
                    (_, Some(&(_, dtype))) => Global::Dtype(dtype),
                    _ => return Err(foreign(module, name)),
                }
            }
            _ => return Err(foreign(module, name)),
        };
        self.stack.push(Value::Global(global));
        Ok(())
    }

    fn long(&mut self) -> Result<(), String> {
        let length = self.number(1)?;
        let digits = self.take(length)?;
        // The magic number of older files is the only one that is longer.
        let value = match digits {
            [] => Value::Integer(0),
            [.., last] if length <= 8 => {
                let mut bytes = [if *last >= 0x80 { 0xff } else { 0 }; 8];
                bytes[..length].copy_from_slice(digits);
                Value::Integer(i64::from_le_bytes(bytes))
            }
            _ => Value::Other,
        };
        self.stack.push(value);
        Ok(())
    }

    fn text(&mut self, width: usize) -> Result<(), String> {
        let length = self.number(width)?;
        let text = str::from_utf8(self.take(length)?).map_err(|_| "holds a text that is no UTF-8")?;
        self.stack.push(Value::Text(text));
        Ok(())
    }

    /// Makes a tuple of the last values.
    fn tuple(&mut self, values: usize) -> Result<(), String> {
        let from = self.above_mark(values)?;
        let (start, length) = (self.values.items.len(), u32::try_from(values).map_err(|_| UNFIT)?);
        self.values.items.extend(self.stack.drain(from..));
        self.stack.push(Value::Tuple { start, length });
        Ok(())
    }

    fn new_dict(&mut self) {
        self.values.dicts.push(Vec::new());
        self.stack.push(Value::Dict(self.values.dicts.len() - 1));
    }

    fn items(&self, tuple: Value<'a>) -> Result<&[Value<'a>], String> {
        let Value::Tuple { start, length } = tuple else { return Err(UNFIT.to_owned()) };
        Ok(&self.values.items[start..start + length as usize])
    }

    /// Where the values since the last mark start.
    fn marked(&mut self) -> Result<usize, String> {
        self.marks.pop().ok_or_else(|| UNFIT.to_owned())
    }

    /// Where the last values start, none of which may be below a mark.
    fn above_mark(&self, values: usize) -> Result<usize, String> {
        let mark = self.marks.last().copied().unwrap_or(0);
        self.stack.len().checked_sub(values).filter(|&start| start >= mark).ok_or_else(|| UNFIT.to_owned())
    }

    fn pop(&mut self) -> Result<Value<'a>, String> {
        self.above_mark(1)?;
        self.stack.pop().ok_or_else(|| UNFIT.to_owned())
    }

    fn top(&self) -> Result<&Value<'a>, String> {
        self.above_mark(1)?;
        self.stack.last().ok_or_else(|| UNFIT.to_owned())
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], String> {
        let end = self.at.checked_add(length).ok_or(SHORT)?;
        let taken = self.bytes.get(self.at..end).ok_or(SHORT)?;
        self.at = end;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], String> {
        self.take(N)?.try_into().map_err(|_| SHORT.to_owned())
    }

    fn byte(&mut self) -> Result<u8, String> {
        Ok(self.take(1)?[0])
    }

    /// A little-endian number without a sign.
    fn number(&mut self, width: usize) -> Result<usize, String> {
        Ok(self.take(width)?.iter().rev().fold(0, |number, &byte| number << 8 | usize::from(byte)))
    }

    /// What stands before the next line feed.
    fn line(&mut self) -> Result<&'a str, String> {
        /// No name that is allowed is longer.
        const LONGEST: usize = 100;
        let rest = &self.bytes[self.at..];
        let length = rest.iter().take(LONGEST).position(|&byte| byte == b'\n').ok_or("names something overlong")?;
        let line = str::from_utf8(self.take(length)?).map_err(|_| "names something that is no UTF-8")?;
        self.at += 1;
        Ok(line)
    }
}

fn size(value: Value) -> Result<usize, String> {
    match value {
        Value::Integer(number) => usize::try_from(number).map_err(|_| format!("has a size of {number}")),
        _ => Err(UNFIT.to_owned()),
    }
}

fn foreign(module: &str, name: &str) -> String {
    let full = format!("{module}.{name}");
    format!("names {full:?}, which no state dict needs; nothing of it was run")
}

/// The types of storages.
const STORAGES: [(&str, Dtype); 10] = [
    ("DoubleStorage", Dtype::F64),
    ("FloatStorage", Dtype::F32),
    ("HalfStorage", Dtype::F16),
    ("BFloat16Storage", Dtype::BF16),
    ("LongStorage", Dtype::I64),
    ("IntStorage", Dtype::I32),
    ("ShortStorage", Dtype::I16),
    ("CharStorage", Dtype::I8),
    ("ByteStorage", Dtype::U8),
    ("BoolStorage", Dtype::BOOL),
];

/// The types that have no storages of their own.
const DTYPES: [(&str, Dtype); 8] = [
    ("float8_e4m3fn", Dtype::F8_E4M3),
    ("float8_e5m2", Dtype::F8_E5M2),
    ("float8_e4m3fnuz", Dtype::F8_E4M3FNUZ),
    ("float8_e5m2fnuz", Dtype::F8_E5M2FNUZ),
    ("float8_e8m0fnu", Dtype::F8_E8M0),
    ("uint16", Dtype::U16),
    ("uint32", Dtype::U32),
    ("uint64", Dtype::U64),
];
