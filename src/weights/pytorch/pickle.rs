//! The pickle machine, as far as state dicts need it.
//!
//! Source: `Lib/pickletools.py` of CPython, which documents each instruction, and `torch/_weights_only_unpickler.py` of PyTorch, which
//! allows about the same ones.
//!
//! ```text
//! until the instruction STOP, at most MAX_INSTRUCTIONS times:
//!     read one byte, the instruction, and its argument
//!     a constant: push it               MARK: note the stack's height
//!     TUPLE, APPENDS, SETITEMS: pop what lies above the last mark into a container
//!     PUT, GET: copy the top to the memo, or a value of the memo to the top
//!     GLOBAL: push what a known name stands for; any other name is refused
//!     REDUCE: pop arguments and function, push what the call amounts to
//! the value is what lies on top at STOP
//! ```
//!
//! It runs nothing, because no name is looked up in a program: the calls of state dicts are known, and each only puts values
//! together. It ends, and takes memory in proportion to the file, because each instruction takes a byte and adds a bounded number of
//! values. Values are small and copied, and containers hold them in lists of their own, so that a pickle which refers to one value a
//! million times, or nests a million of them, takes no more memory, stack or time than its bytes do.

use std::collections::BTreeMap;

use safetensors::Dtype;

use super::value::{Global, PickleValue, PickledStorage, PickledTensor, ValueArena};

/// The most instructions that are followed: those of some 30,000 tensors.
const MAX_INSTRUCTIONS: usize = 2_000_000;
/// The most dimensions of a tensor.
const MAX_DIMENSIONS: usize = 16;

/// A pickle that was read.
pub(super) struct Pickle<'a> {
    pub(super) value: PickleValue<'a>,
    pub(super) values: ValueArena<'a>,
    /// Bytes that it took.
    pub(super) length: usize,
}

impl<'a> Pickle<'a> {
    /// Reads the pickle that `bytes` start with.
    pub(super) fn read(bytes: &'a [u8]) -> Result<Self, String> {
        let mut machine = PickleMachine { bytes, ..PickleMachine::default() };
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
    pub(super) fn dict(&self, value: PickleValue<'a>) -> Option<&[[PickleValue<'a>; 2]]> {
        if let PickleValue::Dict(dict) = value { Some(&self.values.dicts[dict]) } else { None }
    }
}

const SHORT: &str = "ends in the middle of a value";
const UNFIT: &str = "puts together what does not fit";

#[derive(Default)]
struct PickleMachine<'a> {
    bytes: &'a [u8],
    at: usize,
    stack: Vec<PickleValue<'a>>,
    /// Where on the stack marks are.
    marks: Vec<usize>,
    memo: BTreeMap<usize, PickleValue<'a>>,
    values: ValueArena<'a>,
}

impl<'a> PickleMachine<'a> {
    fn step(&mut self, instruction: u8) -> Result<(), String> {
        match instruction {
            0x80 => match self.byte()? {
                2 => {}
                other => return Err(format!("says protocol {other}; that of torch.save is 2")),
            },
            b'(' => self.marks.push(self.stack.len()),
            b'N' => self.stack.push(PickleValue::None),
            0x88 => self.stack.push(PickleValue::Bool(true)),
            0x89 => self.stack.push(PickleValue::Bool(false)),
            b'J' => {
                let number = i32::from_le_bytes(self.array()?);
                self.stack.push(PickleValue::Integer(number.into()));
            }
            b'K' | b'M' => {
                let number = self.number(if instruction == b'K' { 1 } else { 2 })?;
                self.stack.push(PickleValue::Integer(number as i64));
            }
            0x8a => self.long()?,
            b'G' => {
                self.take(8)?;
                self.stack.push(PickleValue::Other);
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
            b')' => self.stack.push(PickleValue::Tuple { start: 0, length: 0 }),
            b't' => {
                let start = self.marked()?;
                self.tuple(self.stack.len() - start)?;
            }
            0x85..=0x87 => self.tuple(usize::from(instruction - 0x84))?,
            b']' => {
                self.values.lists.push(Vec::new());
                self.stack.push(PickleValue::List(self.values.lists.len() - 1));
            }
            b'}' => self.new_dict(),
            0x8f => self.stack.push(PickleValue::Other),
            b'a' | b'e' => {
                let start = if instruction == b'e' { self.marked()? } else { self.above_mark(1)? };
                let &PickleValue::List(list) = start.checked_sub(1).and_then(|at| self.stack.get(at)).ok_or(UNFIT)?
                else {
                    return Err(UNFIT.to_owned());
                };
                self.values.lists[list].extend(self.stack.drain(start..));
            }
            b's' | b'u' => {
                let start = if instruction == b'u' { self.marked()? } else { self.above_mark(2)? };
                let &PickleValue::Dict(dict) = start.checked_sub(1).and_then(|at| self.stack.get(at)).ok_or(UNFIT)?
                else {
                    return Err(UNFIT.to_owned());
                };
                let (pairs, []) = self.stack[start..].as_chunks::<2>() else { return Err(UNFIT.to_owned()) };
                self.values.dicts[dict].extend(pairs);
                self.stack.truncate(start);
            }
            b'b' => {
                // Attributes of an OrderedDict: the versions of modules, which no tensor depends on.
                let (_, PickleValue::Dict(_)) = (self.pop()?, *self.top()?) else { return Err(UNFIT.to_owned()) };
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
        let PickleValue::Global(function) = function else { return Err("calls what is no function".to_owned()) };
        let arguments = self.items(arguments)?;
        match (function, arguments) {
            (Global::OrderedDict, []) => self.new_dict(),
            (Global::Size, &[sizes @ PickleValue::Tuple { .. }]) => self.stack.push(sizes),
            (Global::Parameter, &[tensor @ PickleValue::Tensor(_), ..]) => self.stack.push(tensor),
            (Global::Tensor, &[PickleValue::Storage(storage), offset, shape, strides, ..]) => {
                let dtype = self.values.storages[storage].dtype.ok_or(UNFIT)?;
                self.tensor(storage, dtype, [offset, shape, strides])?;
            }
            (Global::TypedTensor, &[PickleValue::Storage(storage), offset, shape, strides, _, _, dtype, ..]) => {
                let PickleValue::Global(Global::Dtype(dtype)) = dtype else { return Err(UNFIT.to_owned()) };
                self.tensor(storage, dtype, [offset, shape, strides])?;
            }
            (function, _) => return Err(format!("calls {function:?} with what it does not take")),
        }
        Ok(())
    }

    fn tensor(&mut self, storage: usize, dtype: Dtype, view: [PickleValue<'a>; 3]) -> Result<(), String> {
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
        self.stack.push(PickleValue::Tensor(self.values.tensors.len() - 1));
        Ok(())
    }

    /// A storage, by ("storage", type, key, device, length); older files say of which other one it is a view, or None.
    fn storage(&mut self) -> Result<(), String> {
        let tuple = self.pop()?;
        let (
            PickleValue::Text("storage"),
            &[_, PickleValue::Global(Global::Storage(dtype)), PickleValue::Text(key), _, length, ref view @ ..],
        ) = (self.items(tuple)?.first().copied().unwrap_or(PickleValue::None), self.items(tuple)?)
        else {
            return Err("refers to something outside that is no storage".to_owned());
        };
        if !matches!(view, [] | [PickleValue::None]) {
            return Err("has a storage that is a view of another one".to_owned());
        }
        let length = size(length)?;
        self.values.storages.push(PickledStorage { key, dtype, length });
        self.stack.push(PickleValue::Storage(self.values.storages.len() - 1));
        Ok(())
    }

    fn global(&mut self) -> Result<(), String> {
        let (module, name) = (self.line()?, self.line()?);
        let global = Global::named(module, name).ok_or_else(|| {
            let full = format!("{module}.{name}");
            format!("names {full:?}, which no state dict needs; nothing of it was run")
        })?;
        self.stack.push(PickleValue::Global(global));
        Ok(())
    }

    fn long(&mut self) -> Result<(), String> {
        let length = self.number(1)?;
        let digits = self.take(length)?;
        // The magic number of older files is the only one that is longer.
        let value = match digits {
            [] => PickleValue::Integer(0),
            [.., last] if length <= 8 => {
                let mut bytes = [if *last >= 0x80 { 0xff } else { 0 }; 8];
                bytes[..length].copy_from_slice(digits);
                PickleValue::Integer(i64::from_le_bytes(bytes))
            }
            _ => PickleValue::Other,
        };
        self.stack.push(value);
        Ok(())
    }

    fn text(&mut self, width: usize) -> Result<(), String> {
        let length = self.number(width)?;
        let text = str::from_utf8(self.take(length)?).map_err(|_| "holds a text that is no UTF-8")?;
        self.stack.push(PickleValue::Text(text));
        Ok(())
    }

    /// Makes a tuple of the last values.
    fn tuple(&mut self, values: usize) -> Result<(), String> {
        let from = self.above_mark(values)?;
        let (start, length) = (self.values.items.len(), u32::try_from(values).map_err(|_| UNFIT)?);
        self.values.items.extend(self.stack.drain(from..));
        self.stack.push(PickleValue::Tuple { start, length });
        Ok(())
    }

    fn new_dict(&mut self) {
        self.values.dicts.push(Vec::new());
        self.stack.push(PickleValue::Dict(self.values.dicts.len() - 1));
    }

    fn items(&self, tuple: PickleValue<'a>) -> Result<&[PickleValue<'a>], String> {
        let PickleValue::Tuple { start, length } = tuple else { return Err(UNFIT.to_owned()) };
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

    fn pop(&mut self) -> Result<PickleValue<'a>, String> {
        self.above_mark(1)?;
        self.stack.pop().ok_or_else(|| UNFIT.to_owned())
    }

    fn top(&self) -> Result<&PickleValue<'a>, String> {
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
        const MAX_NAME_BYTES: usize = 100;
        let rest = &self.bytes[self.at..];
        let length =
            rest.iter().take(MAX_NAME_BYTES).position(|&byte| byte == b'\n').ok_or("names something overlong")?;
        let line = str::from_utf8(self.take(length)?).map_err(|_| "names something that is no UTF-8")?;
        self.at += 1;
        Ok(line)
    }
}

fn size(value: PickleValue) -> Result<usize, String> {
    match value {
        PickleValue::Integer(number) => usize::try_from(number).map_err(|_| format!("has a size of {number}")),
        _ => Err(UNFIT.to_owned()),
    }
}
