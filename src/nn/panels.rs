//! Matrices and tables of weights that were packed before (`weights/panel_index.rs`), and keeping those that are packed now.

use std::ops::Range;

use safetensors::Dtype as StoredDtype;

use crate::Result;
use crate::kernels::{Dtype, EmbeddingTable, FileBytes, HeldNumbers, Isa, Matrix};
use crate::weights::{PanelMatrix, Weights};

/// How a matrix is packed.
pub(super) struct MatrixPacking {
    pub(super) isa: Isa,
    pub(super) dtype: Dtype,
    /// Rows and columns.
    pub(super) shape: [usize; 2],
    /// The last rows, such whose errors weigh most.
    pub(super) sensitive: usize,
}

/// A tensor, or some rows of it, that is packed into a matrix.
pub(super) struct PanelPart {
    /// As the checkpoint has it.
    pub(super) name: String,
    pub(super) rows: Option<Range<usize>>,
    pub(super) numbers: usize,
}

impl MatrixPacking {
    fn described(&self) -> PanelMatrix {
        let Self { dtype, shape, sensitive, .. } = self;
        PanelMatrix { dtype: dtype.name().to_owned(), shape: *shape, sensitive: *sensitive }
    }
}

/// The matrix of these weights and biases: as `checkpoint` has it packed, else as `pack` makes it now.
pub(super) fn packed(
    checkpoint: &Weights,
    panels: &MatrixPacking,
    weights: Vec<PanelPart>,
    biases: Vec<PanelPart>,
    pack: impl FnOnce() -> Result<Matrix>,
) -> Result<Matrix> {
    if !panels.dtype.is_integer() {
        return pack();
    }
    let key = weights.iter().map(key).collect::<Vec<_>>().join("+");
    if let Some(matrix) = mapped_matrix(checkpoint, panels, &key)? {
        weights.iter().chain(&biases).for_each(|part| checkpoint.count_parameters(&part.name, part.numbers));
        return Ok(matrix);
    }
    let matrix = pack()?;
    if let Some(writer) = checkpoint.panel_writer() {
        let tensors: Vec<_> = weights.into_iter().chain(biases).map(|part| (part.name, part.numbers)).collect();
        writer.add(&key, panels.described(), &tensors, &matrix.buffers())?;
    }
    Ok(matrix)
}

fn mapped_matrix(checkpoint: &Weights, panels: &MatrixPacking, key: &str) -> Result<Option<Matrix>> {
    let Some((found, map, range)) = checkpoint.panel_matrix(key) else { return Ok(None) };
    let &MatrixPacking { isa, dtype, shape, sensitive } = panels;
    let needed = panels.described();
    if *found != needed {
        return Err(checkpoint.panel_error(key, format!("is {found:?}; the model's config needs {needed:?}")));
    }
    let matrix = Matrix::of_file(isa, dtype, shape, sensitive, FileBytes::new(map, range));
    let matrix = matrix.ok_or_else(|| checkpoint.panel_error(key, "has other bytes than its panels take"))?;
    checkpoint.count_packed(matrix.weight_bytes());
    Ok(Some(matrix))
}

/// The table `name` of `checkpoint` as it is mapped, where it is in a file that stays so.
pub(super) fn mapped_table(checkpoint: &Weights, name: &str) -> Option<EmbeddingTable> {
    let (dtype, map, range) = checkpoint.mapped(name)?;
    let bytes = FileBytes::new(map, range);
    match dtype {
        StoredDtype::F32 => HeldNumbers::of_file(bytes).map(EmbeddingTable::Float32),
        StoredDtype::BF16 => HeldNumbers::of_file(bytes).map(EmbeddingTable::Bfloat16),
        StoredDtype::F16 => HeldNumbers::of_file(bytes).map(EmbeddingTable::Float16),
        _ => None,
    }
}

/// By which name a matrix's part is kept.
fn key(part: &PanelPart) -> String {
    match &part.rows {
        None => part.name.clone(),
        Some(rows) => format!("{}[{}:{}]", part.name, rows.start, rows.end),
    }
}
