//! Where texts lie in a packed batch, with what is derived from it on a device, once for all layers of a pass.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use candle_core::{Result, Tensor};

use crate::gpu::{SentAngles, SentQueries, SharedPass};
use crate::kernels::Mask;
use crate::nn::attention_plan::{AttentionPlan, PlanRequest};
use crate::nn::rotary_table::{CosSinTable, RotaryTable};
#[cfg(feature = "flash-attn")]
use crate::nn::sequences::Sequences;

/// The texts of a batch. One is made for each pass, and its layers share what one of them has sent to the device.
pub struct Layout<'a> {
    offsets: &'a [u32],
    positions: &'a [u32],
    cache: RefCell<DeviceCache>,
}

#[derive(Default)]
struct DeviceCache {
    positions: Option<Tensor>,
    /// For each table, the cosines and sines of the positions, `[tokens, head_dim / 2]` each.
    cos_sin: Vec<(Arc<RotaryTable>, [Tensor; 2])>,
    /// For each table, the angles of the tokens, where a text has its own.
    own_angles: Vec<(Arc<RotaryTable>, Option<Rc<CosSinTable>>)>,
    plans: Vec<(Mask, Rc<AttentionPlan>)>,
    /// The queries of all tokens, and for each table the angles of the tokens, as a GPU's pass has them.
    queries: Option<Rc<SentQueries>>,
    angles: Vec<(Arc<RotaryTable>, SentAngles)>,
    #[cfg(feature = "flash-attn")]
    sequences: Option<Rc<Sequences>>,
}

impl<'a> Layout<'a> {
    /// `offsets [texts + 1]`: cumulative lengths. `positions [tokens]`: each token's position in its text, for rotary
    /// embeddings.
    pub fn new(offsets: &'a [u32], positions: &'a [u32]) -> Self {
        Self { offsets, positions, cache: RefCell::default() }
    }

    pub(super) fn offsets(&self) -> &'a [u32] {
        self.offsets
    }

    pub(super) fn positions(&self) -> &'a [u32] {
        self.positions
    }

    /// Cosines and sines of the tokens' positions, `[tokens, head_dim / 2]` each, from those of `table` on the device,
    /// `[positions, head_dim / 2]` each.
    pub(super) fn cos_sin(&self, table: &Arc<RotaryTable>, [cos, sin]: [&Tensor; 2]) -> Result<[Tensor; 2]> {
        let mut cache = self.cache.borrow_mut();
        if let Some((_, gathered)) = cache.cos_sin.iter().find(|(other, _)| Arc::ptr_eq(other, table)) {
            return Ok(gathered.clone());
        }
        let positions = match &cache.positions {
            Some(positions) => positions.clone(),
            None => Tensor::from_slice(self.positions, self.positions.len(), cos.device())?,
        };
        let gathered = [cos.index_select(&positions, 0)?, sin.index_select(&positions, 0)?];
        cache.positions = Some(positions);
        cache.cos_sin.push((table.clone(), gathered.clone()));
        Ok(gathered)
    }

    /// Cosines and sines of each token, where a text of the batch has angles of its own; None where none has.
    pub(super) fn own_angles(&self, table: &Arc<RotaryTable>) -> Result<Option<Rc<CosSinTable>>> {
        if !table.depends_on_length() {
            return Ok(None);
        }
        let known = &mut self.cache.borrow_mut().own_angles;
        if let Some((_, angles)) = known.iter().find(|(other, _)| Arc::ptr_eq(other, table)) {
            return Ok(angles.clone());
        }
        let angles = table.of_tokens(self.offsets, self.positions)?.map(Rc::new);
        known.push((table.clone(), angles.clone()));
        Ok(angles)
    }

    /// The batch as attention of this kind takes it. Layers of a network differ in their masks alone, and its last one
    /// in rows: its plan is not kept.
    pub(super) fn plan(&self, request: &PlanRequest) -> Result<Rc<AttentionPlan>> {
        let (mask, mut cache) = (request.shape.mask, self.cache.borrow_mut());
        let known = cache.plans.iter().find(|(other, _)| *other == mask && request.rows.is_none());
        if let Some((_, plan)) = known {
            return Ok(plan.clone());
        }
        let plan = Rc::new(AttentionPlan::new(self.offsets, request)?);
        if request.rows.is_none() {
            cache.plans.push((mask, plan.clone()));
        }
        Ok(plan)
    }

    /// The queries of `rows`, or of all tokens, in `pass`.
    pub(super) fn queries(&self, rows: Option<&[u32]>, pass: &SharedPass) -> Rc<SentQueries> {
        let send = || Rc::new(pass.record(|recording| SentQueries::send(recording, self.offsets, rows)));
        if rows.is_some() {
            return send();
        }
        self.cache.borrow_mut().queries.get_or_insert_with(send).clone()
    }

    /// The angles of the tokens in `pass`; `of_tokens` gives them, `[tokens, head_dim]`.
    pub(super) fn angles(
        &self,
        table: &Arc<RotaryTable>,
        pass: &SharedPass,
        of_tokens: impl FnOnce() -> Vec<f32>,
    ) -> SentAngles {
        let known = &mut self.cache.borrow_mut().angles;
        if let Some(&(_, angles)) = known.iter().find(|(other, _)| Arc::ptr_eq(other, table)) {
            return angles;
        }
        let angles = pass.record(|recording| SentAngles::send(recording, &of_tokens()));
        known.push((table.clone(), angles));
        angles
    }

    /// The batch as the flash-attention kernel takes it. Layers of a network do not differ in it.
    #[cfg(feature = "flash-attn")]
    pub(super) fn sequences(&self, past: usize, device: &candle_core::Device) -> Result<Rc<Sequences>> {
        let mut cache = self.cache.borrow_mut();
        if let Some(sequences) = &cache.sequences {
            return Ok(sequences.clone());
        }
        let sequences = Rc::new(Sequences::new(self.offsets, past, device)?);
        cache.sequences = Some(sequences.clone());
        Ok(sequences)
    }
}
