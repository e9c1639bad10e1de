//! Where texts lie in a packed batch, and what devices need to know of it.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use candle_core::{Result, Tensor};

use crate::kernels::Mask;
#[cfg(feature = "flash-attn")]
use crate::nn::flash::Sequences;
use crate::nn::plan::{Plan, Request};
use crate::nn::rope::Rotations;

/// The texts of a batch. One is made for each pass: what is sent to a device because of it, all layers share.
pub struct Layout<'a> {
    offsets: &'a [u32],
    positions: &'a [u32],
    sent: RefCell<Sent>,
}

#[derive(Default)]
struct Sent {
    positions: Option<Tensor>,
    /// Cosines and sines of the positions, `[tokens, head_dim / 2]` each.
    angles: Vec<(Arc<Rotations>, [Tensor; 2])>,
    plans: Vec<(Mask, Rc<Plan>)>,
    #[cfg(feature = "flash-attn")]
    sequences: Option<Rc<Sequences>>,
}

impl<'a> Layout<'a> {
    /// `offsets [texts + 1]`: cumulative lengths. `positions [tokens]`: each token's place in its text, where rotations turn by it.
    pub fn new(offsets: &'a [u32], positions: &'a [u32]) -> Self {
        Self { offsets, positions, sent: RefCell::default() }
    }

    pub(super) fn offsets(&self) -> &'a [u32] {
        self.offsets
    }

    pub(super) fn positions(&self) -> &'a [u32] {
        self.positions
    }

    /// `[tokens, head_dim / 2]` each of the tables `cos` and `sin [positions, head_dim / 2]` of these rotations.
    pub(super) fn angles(&self, rotations: &Arc<Rotations>, tables: [&Tensor; 2]) -> Result<[Tensor; 2]> {
        let mut sent = self.sent.borrow_mut();
        if let Some((_, angles)) = sent.angles.iter().find(|(other, _)| Arc::ptr_eq(other, rotations)) {
            return Ok(angles.clone());
        }
        let positions = match &sent.positions {
            Some(positions) => positions.clone(),
            None => Tensor::from_slice(self.positions, self.positions.len(), tables[0].device())?,
        };
        let angles = [tables[0].index_select(&positions, 0)?, tables[1].index_select(&positions, 0)?];
        sent.positions = Some(positions);
        sent.angles.push((rotations.clone(), angles.clone()));
        Ok(angles)
    }

    /// The batch as attention of this kind takes it. Layers of a network differ in their masks alone, and its last one in rows.
    pub(super) fn plan(&self, request: &Request) -> Result<Rc<Plan>> {
        let (mask, mut sent) = (request.shape.mask, self.sent.borrow_mut());
        let known = sent.plans.iter().find(|(other, _)| *other == mask && request.rows.is_none());
        if let Some((_, plan)) = known {
            return Ok(plan.clone());
        }
        let plan = Rc::new(Plan::new(self.offsets, request)?);
        if request.rows.is_none() {
            sent.plans.push((mask, plan.clone()));
        }
        Ok(plan)
    }

    /// The batch as the flash-attention kernel takes it. Layers of a network do not differ in it.
    #[cfg(feature = "flash-attn")]
    pub(super) fn sequences(&self, past: usize, device: &candle_core::Device) -> Result<Rc<Sequences>> {
        let mut sent = self.sent.borrow_mut();
        if let Some(sequences) = &sent.sequences {
            return Ok(sequences.clone());
        }
        let sequences = Rc::new(Sequences::new(self.offsets, past, device)?);
        sent.sequences = Some(sequences.clone());
        Ok(sequences)
    }
}
