//! The values of a pickle: what a state dict consists of.

use safetensors::Dtype;

/// One value; numbers are places in [`ValueArena`].
#[derive(Debug, Clone, Copy)]
pub(super) enum PickleValue<'a> {
    None,
    /// A value that no tensor depends on.
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

/// A name of Python that state dicts may hold, by what it stands for.
#[derive(Debug, Clone, Copy)]
pub(super) enum Global {
    OrderedDict,
    Size,
    Parameter,
    Tensor,
    /// As [`Self::Tensor`], with the type of its numbers, since its storage has none.
    TypedTensor,
    /// A storage of numbers of a type, or of bytes.
    Storage(Option<Dtype>),
    Dtype(Dtype),
}

/// What holds the numbers of tensors.
#[derive(Debug)]
pub(super) struct PickledStorage<'a> {
    pub(super) key: &'a str,
    /// `None` for a storage of bytes.
    pub(super) dtype: Option<Dtype>,
    /// In numbers; in bytes without a dtype.
    pub(super) length: usize,
}

impl PickledStorage<'_> {
    /// Bytes of all of it.
    pub(super) fn bytes(&self) -> Option<usize> {
        self.length.checked_mul(self.dtype.map_or(1, bytes_of))
    }
}

/// Bytes of one number of this type.
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
pub(super) struct ValueArena<'a> {
    pub(super) items: Vec<PickleValue<'a>>,
    pub(super) lists: Vec<Vec<PickleValue<'a>>>,
    pub(super) dicts: Vec<Vec<[PickleValue<'a>; 2]>>,
    pub(super) storages: Vec<PickledStorage<'a>>,
    pub(super) tensors: Vec<PickledTensor>,
}

impl Global {
    /// What `module.name` stands for; `None` where it is nothing that a state dict needs.
    pub(super) fn named(module: &str, name: &str) -> Option<Self> {
        Some(match (module, name) {
            ("collections", "OrderedDict") => Self::OrderedDict,
            ("torch", "Size") => Self::Size,
            ("torch._utils", "_rebuild_parameter" | "_rebuild_parameter_with_state") => Self::Parameter,
            ("torch._utils", "_rebuild_tensor" | "_rebuild_tensor_v2") => Self::Tensor,
            ("torch._utils", "_rebuild_tensor_v3") => Self::TypedTensor,
            ("torch.storage", "UntypedStorage") => Self::Storage(None),
            ("torch", name) => {
                let find = |table: &[(&str, Dtype)]| table.iter().find(|known| known.0 == name).map(|known| known.1);
                match find(&STORAGES) {
                    Some(dtype) => Self::Storage(Some(dtype)),
                    None => Self::Dtype(find(&DTYPES)?),
                }
            }
            _ => return None,
        })
    }
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
