//! PEFT adapters (<https://github.com/huggingface/peft>), which lie beside or instead of weights and change what a network
//! computes: LoRA, merged into the weights as they are read.
//!
//! ```text
//! base_model.model.PATH.lora_A.weight [r, k], PATH.lora_B.weight [n, r]        PATH.weight [n, k] += scale · B · A
//! PATH.lora_embedding_A [r, n], PATH.lora_embedding_B [k, r]                   PATH.weight [n, k] += scale · (B · A)ᵀ
//! PATH.NAME, PATH.base_layer.NAME, PATH.modules_to_save.NAME                   take the place of PATH.NAME
//! PATH.original_module.NAME                                                    what the latter took the place of: no use
//! ```
//!
//! PATH is the name in the class that was trained: files may have it below the name of a base model or a wrapper, or above.
//! Every tensor must find its weight: one that is passed over would leave the base model's vectors, and nobody would know.

use std::collections::BTreeMap;

use super::WRAPPERS;
use super::adapter_config::AdapterConfig;
use super::extent::Extent;
use super::low_rank::LowRank;
use super::tensor_file::TensorFile;
use super::weight::Weight;
use crate::files::{ModelFolder, inside};
use crate::memory::{owned, with_room};
use crate::{Error, Result};

/// The files that an adapter's weights may be in, the first that is there.
pub(crate) const ADAPTER_WEIGHTS: [&str; 2] = ["adapter_model.safetensors", "adapter_model.bin"];

/// An adapter's files.
pub(crate) struct Adapter {
    config: AdapterConfig,
    file: TensorFile,
}

/// An adapter's tensors, by the names of the base model's that they change.
pub(super) struct Changes {
    /// Tensors that take the place of the base model's, or that it lacks.
    pub(super) replaced: TensorFile,
    /// What is added to others.
    pub(super) sums: BTreeMap<String, LowRank>,
}

/// What a tensor of an adapter is to the module whose name it begins with.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    A,
    B,
    EmbeddingA,
    EmbeddingB,
}

const PARTS: [(&str, Part); 4] = [
    (".lora_A.weight", Part::A),
    (".lora_B.weight", Part::B),
    (".lora_embedding_A", Part::EmbeddingA),
    (".lora_embedding_B", Part::EmbeddingB),
];

impl Adapter {
    /// Opens the adapter in the subfolder `path`; None where there is none. An error where its weights are missing.
    pub(crate) fn open(folder: &ModelFolder, path: &str) -> Result<Option<Self>> {
        let Some(config) = AdapterConfig::read(folder, path)? else { return Ok(None) };
        for name in ADAPTER_WEIGHTS {
            let name = inside(path, name);
            if let Some(found) = folder.file(&name)? {
                return Ok(Some(Self { config, file: TensorFile::open(&found, name)? }));
            }
        }
        let [safetensors, pickled] = ADAPTER_WEIGHTS;
        Err(Error::model(
            config.file,
            format!("has no weights beside it: there is neither {safetensors} nor {pickled}"),
        ))
    }

    /// What the adapter changes in a base model with such tensors.
    pub(super) fn changes<'a>(self, base: impl Fn(&str) -> Option<&'a [usize]>, names: &[&str]) -> Result<Changes> {
        let Self { config, mut file } = self;
        let mut parts: BTreeMap<String, BTreeMap<Part, String>> = BTreeMap::new();
        let mut whole = Vec::new();
        for name in file.tensors.keys() {
            let path = name.strip_prefix("base_model.model.").unwrap_or(name);
            if let Some((module, part)) =
                PARTS.into_iter().find_map(|(end, part)| Some((path.strip_suffix(end)?, part)))
            {
                parts.entry(module.to_owned()).or_default().insert(part, name.clone());
            } else if path.split('.').any(|part| part.starts_with("lora_") || part == "token_adapter") {
                let message = "is of a kind of adapter that is not supported: LoRA's matrices are, and whole tensors";
                return Err(Error::model_tensor(&file.name, name, message));
            } else if !path.contains(".original_module.") {
                whole.push(name.clone());
            }
        }

        let mut sums = BTreeMap::new();
        for (module, parts) in parts {
            let (tensor, name) = (format!("{module}.weight"), parts.values().next().cloned().unwrap_or_default());
            let target = find(names, &tensor, &file.name, &name)?;
            let Some((target, shape)) = target.and_then(|target| Some((target, base(target)?))) else {
                return Err(fits_nothing(&file.name, &name, &tensor));
            };
            let low_rank = low_rank(&config, &file, &module, &parts, (target, shape))?;
            if sums.insert(target.to_owned(), low_rank).is_some() {
                return Err(Error::model_tensor(&file.name, &name, format_args!("changes {target:?} a second time")));
            }
        }

        let mut tensors: BTreeMap<String, Extent> = BTreeMap::new();
        for name in whole {
            let path = name.strip_prefix("base_model.model.").unwrap_or(&name);
            let is_own = path.split('.').any(|part| config.modules_to_save.iter().any(|module| part == module));
            let path = path.replace(".base_layer.", ".").replace(".modules_to_save.", ".");
            let target = match find(names, &path, &file.name, &name)? {
                Some(target) => target.to_owned(),
                // A head that the base model lacks.
                None if is_own => path,
                None => return Err(fits_nothing(&file.name, &name, &path)),
            };
            let Some(extent) = file.tensors.remove(&name) else { continue };
            if base(&target).is_some_and(|shape| shape.len() != extent.shape.len()) {
                let message =
                    format_args!("has shape {:?} and takes the place of {target:?}, which has others", extent.shape);
                return Err(Error::model_tensor(&file.name, &name, message));
            }
            // With modules_to_save, a bias may be there under two names: by the module that has it, and by itself.
            tensors.insert(target, extent);
        }
        file.tensors = tensors;
        Ok(Changes { replaced: file, sums })
    }
}

/// The product of the two matrices of `module`, which is added to `target`, the base model's tensor and its shape.
fn low_rank(
    config: &AdapterConfig,
    file: &TensorFile,
    module: &str,
    parts: &BTreeMap<Part, String>,
    (target, shape): (&str, &[usize]),
) -> Result<LowRank> {
    let tensor = |part: Part| parts.get(&part).map(|name| Weight::new(file, name)).transpose();
    let linear = (tensor(Part::A)?, tensor(Part::B)?);
    let embedding = (tensor(Part::EmbeddingA)?, tensor(Part::EmbeddingB)?);
    let (a, b, is_embedding) = match (linear, embedding) {
        ((Some(a), Some(b)), (None, None)) => (a, b, false),
        ((None, None), (Some(a), Some(b))) => (a, b, true),
        _ => {
            let message = format!("has not both matrices of {module:?}, or has those of two kinds");
            return Err(Error::model(&file.name, message).about_tensor(module));
        }
    };
    let rank = a.shape().first().copied().unwrap_or(0);
    let fits = match (a.shape(), b.shape(), shape) {
        (_, _, [n, k]) if rank == 0 || *n == 0 || *k == 0 => false,
        (&[_, inputs], &[outputs, r], &[n, k]) => {
            r == rank && [inputs, outputs] == if is_embedding { [n, k] } else { [k, n] }
        }
        _ => false,
    };
    if !fits {
        let message =
            format!("has shape {:?}, and its other half {:?}; {target:?} has {shape:?}", a.shape(), b.shape());
        return Err(a.error(message));
    }
    let scale = config.scale(module, rank);
    let (a_values, b_values) = (owned(a.to_f32()?, || a.what())?, owned(b.to_f32()?, || b.what())?);
    Ok(match is_embedding {
        false => LowRank::new(b_values, a_values, rank, scale),
        true => LowRank::new(transposed(&a_values, rank, &a)?, transposed(&b_values, shape[1], &b)?, rank, scale),
    })
}

/// The columns of a matrix of so many rows, one after the other.
fn transposed(values: &[f32], rows: usize, weight: &Weight) -> Result<Vec<f32>> {
    let columns = values.len() / rows.max(1);
    let mut out = with_room(values.len(), &weight.what())?;
    out.extend((0..columns).flat_map(|j| (0..rows).map(move |i| values[i * columns + j])));
    Ok(out)
}

/// The one of `names` that `path` means, which `tensor` of `file` has by the names of the class that was trained.
fn find<'a>(names: &[&'a str], path: &str, file: &str, tensor: &str) -> Result<Option<&'a str>> {
    let unwrapped = |path: &str| {
        let mut rest = path;
        while let Some(inner) = WRAPPERS.iter().find_map(|name| rest.strip_prefix(name)?.strip_prefix('.')) {
            rest = inner;
        }
        rest.to_owned()
    };
    let path = unwrapped(path);
    // The name of the base model in a class with a head, which a file without one lacks. A tensor's name alone says nothing.
    let inner = path.split_once('.').map(|(_, inner)| inner.to_owned()).filter(|inner| inner.contains('.'));
    for path in std::iter::once(path.clone()).chain(inner) {
        // As TensorFlow called the numbers of a LayerNorm, and old files still do.
        let older = path.strip_suffix("LayerNorm.weight").map(|at| format!("{at}LayerNorm.gamma"));
        let oldest = path.strip_suffix("LayerNorm.bias").map(|at| format!("{at}LayerNorm.beta"));
        for path in std::iter::once(path.clone()).chain(older).chain(oldest) {
            if let Some(exact) = names.iter().find(|&&name| name == path) {
                return Ok(Some(exact));
            }
            let end = format!(".{path}");
            let mut below = names.iter().filter(|name| name.ends_with(&end));
            match (below.next(), below.next()) {
                (None, _) => {}
                (Some(one), None) => return Ok(Some(one)),
                (Some(one), Some(other)) => {
                    let message = format_args!("may be meant for {one:?} and for {other:?}");
                    return Err(Error::model_tensor(file, tensor, message));
                }
            }
        }
    }
    Ok(None)
}

fn fits_nothing(file: &str, tensor: &str, wanted: &str) -> Error {
    let message =
        format_args!("fits no weight of the base model, which has no {wanted:?}: is it the model that was trained?");
    Error::model_tensor(file, tensor, message)
}
