//! The memory of a model's passes, which each of them uses again.
//!
//! ```text
//! tokens: a power of two, at least those of the largest pass so far
//! slots: [array, array, ...]              each for `tokens` rows of some width; free while no `DeviceRows` has it
//! rows(width): the smallest free slot that suffices, else a new one
//! ```
//!
//! A slot is as large as `tokens` rows want it, whatever this pass has: so the passes of a network take the same slots in
//! the same order, the first pass makes all of them, and none after it takes memory. The sets of bound arrays repeat in
//! the same way, and are kept. A pass of more tokens begins anew with twice as many; so does one after a pass that there
//! was no memory for, with as few as it needs.
//!
//! What a pass sends (`Uploads`) and reads back grows to powers of two, and does not shrink.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::gpu::compiled_kernel::CompiledKernel;
use crate::gpu::context::Context;
use crate::gpu::device_array::{DeviceArray, whole_bytes};
use crate::gpu::device_rows::{DeviceRows, Number, padded};
use crate::{Error, Result};

/// Rows that a pass can have: workgroups are counted in 16 bits by each dimension.
pub const MAX_ROWS: usize = 65_535;

/// A model's memory on a device. Clones share it.
#[derive(Clone)]
pub struct Arena(Arc<Mutex<ArenaState>>, &'static Context);

impl Arena {
    pub fn new(context: &'static Context) -> Result<Self> {
        use wgpu::BufferUsages as Use;
        let canary = DeviceArray::new(context, 4, Use::STORAGE | Use::COPY_SRC | Use::COPY_DST)?;
        let state = ArenaState {
            context,
            tokens: 0,
            limit: u64::MAX,
            slots: Vec::new(),
            bound: HashMap::new(),
            uploads: None,
            sent: None,
            output: None,
            staging: None,
            canary,
            song: 0,
            pace: SLOWEST_PACE,
        };
        Ok(Self(Arc::new(Mutex::new(state)), context))
    }

    pub fn context(&self) -> &'static Context {
        self.1
    }

    /// Takes no more than so many bytes from now on.
    #[cfg(test)]
    pub(crate) fn limit(&self, bytes: u64) {
        self.lock().limit = bytes;
    }

    /// Bytes that are taken, without those of weights.
    #[cfg(test)]
    pub(crate) fn bytes(&self) -> u64 {
        self.lock().bytes()
    }

    /// Sets of arrays that are remembered.
    #[cfg(test)]
    pub(crate) fn bound(&self) -> usize {
        self.lock().bound.len()
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, ArenaState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Arena {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Arena({})", self.1.info().id)
    }
}

/// What is behind an [`Arena`].
pub(crate) struct ArenaState {
    context: &'static Context,
    tokens: usize,
    /// The most bytes that it may take.
    limit: u64,
    slots: Vec<Arc<DeviceArray>>,
    bound: HashMap<Vec<u64>, wgpu::BindGroup>,
    pub(crate) uploads: Option<Arc<DeviceArray>>,
    pub(crate) sent: Option<SentUploads>,
    pub(crate) output: Option<Arc<DeviceArray>>,
    /// What the processor can read: the output, and the canary behind it.
    pub(crate) staging: Option<Arc<DeviceArray>>,
    pub(crate) canary: DeviceArray,
    /// The number that the canary has after all that was submitted.
    pub(crate) song: u32,
    /// Multiplications and additions of a second, as far as they were measured.
    pub(crate) pace: f64,
}

/// What the array of uploads has.
pub(crate) struct SentUploads {
    /// Id of the pass that sent it.
    pub(crate) pass: u64,
    /// Id of the array that it is in.
    pub(crate) array: Option<u64>,
    /// How many of the pass's words there are.
    pub(crate) words: usize,
}

impl ArenaState {
    fn bytes(&self) -> u64 {
        let grown = [&self.uploads, &self.output, &self.staging].into_iter().flatten();
        self.slots.iter().chain(grown).map(|array| array.bytes()).sum()
    }

    /// `rows` rows of `width` numbers, which are not set.
    pub(crate) fn rows(&mut self, rows: usize, width: usize, number: Number) -> Result<DeviceRows> {
        self.check_rows(rows)?;
        let rows_of_slot = if rows > self.tokens { rows.next_power_of_two() } else { self.tokens };
        let bytes = whole_bytes((rows_of_slot * padded(width) * number.bytes()) as u64);
        let free = self.slots.iter().filter(|slot| slot.bytes() >= bytes && Arc::strong_count(slot) == 1);
        let slot = match free.min_by_key(|slot| slot.bytes()) {
            Some(slot) => slot.clone(),
            None => {
                let slot = self.take(bytes, wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC)?;
                self.slots.push(slot.clone());
                slot
            }
        };
        Ok(DeviceRows { slot, rows, width, number })
    }

    /// Begins a pass of so many tokens.
    pub(crate) fn begin(&mut self, tokens: usize) -> Result<()> {
        self.check_rows(tokens)?;
        if tokens > self.tokens {
            self.give_back();
            self.tokens = tokens.next_power_of_two().min(MAX_ROWS);
        }
        Ok(())
    }

    /// Gives back the slots that are free.
    fn give_back(&mut self) {
        self.tokens = 0;
        self.slots.retain(|slot| Arc::strong_count(slot) > 1);
        self.bound.clear();
    }

    fn check_rows(&self, rows: usize) -> Result<()> {
        match rows <= MAX_ROWS {
            true => Ok(()),
            false => {
                let id = &self.context.info().id;
                Err(Error::device_memory(format!("{id}: {rows} rows, and kernels take {MAX_ROWS}")))
            }
        }
    }

    /// Makes `array` one of at least so many bytes.
    pub(crate) fn grow(
        &mut self,
        array: fn(&mut Self) -> &mut Option<Arc<DeviceArray>>,
        bytes: u64,
        usage: wgpu::BufferUsages,
    ) -> Result<Arc<DeviceArray>> {
        if let Some(known) = array(self).as_ref().filter(|known| known.bytes() >= bytes) {
            return Ok(known.clone());
        }
        // Given back first: both together may be more than there is.
        if let Some(old) = array(self).take() {
            self.bound.retain(|ids, _| old.id.is_none_or(|id| !ids.contains(&id)));
        }
        let made = self.take(bytes.next_power_of_two().max(1 << 16), usage)?;
        *array(self) = Some(made.clone());
        Ok(made)
    }

    fn take(&mut self, bytes: u64, usage: wgpu::BufferUsages) -> Result<Arc<DeviceArray>> {
        let (taken, tokens) = (self.bytes(), self.tokens);
        let made = match taken + bytes > self.limit {
            true => Err(Error::device_memory(format!("{}: {} bytes are allowed", self.context.info().id, self.limit))),
            false => DeviceArray::new(self.context, bytes, usage),
        };
        made.map(Arc::new).map_err(|error| {
            // The next pass takes what it needs.
            self.give_back();
            match error {
                Error::DeviceMemory { message } => Error::device_memory(format!(
                    "{message}; a pass of up to {tokens} tokens has {taken} bytes, and wants {bytes} more"
                )),
                other => other,
            }
        })
    }

    /// The arrays as `pipeline` takes them.
    pub(crate) fn bind(&mut self, pipeline: &CompiledKernel, arrays: &[DeviceArray]) -> Result<wgpu::BindGroup> {
        let ids: Option<Vec<u64>> =
            std::iter::once(Some(pipeline.id)).chain(arrays.iter().map(|array| array.id)).collect();
        if let Some(known) = ids.as_ref().and_then(|ids| self.bound.get(ids)) {
            return Ok(known.clone());
        }
        let resources = arrays.iter().map(|array| array.buffer.as_entire_binding());
        let entry = |(i, resource)| wgpu::BindGroupEntry { binding: i as u32, resource };
        let entries: Vec<_> = resources.enumerate().map(entry).collect();
        let descriptor =
            wgpu::BindGroupDescriptor { label: Some(pipeline.name), layout: &pipeline.arguments, entries: &entries };
        let made = self.context.scoped(|| self.context.device.create_bind_group(&descriptor))?;
        if let Some(ids) = ids {
            self.bound.insert(ids, made.clone());
        }
        Ok(made)
    }
}

/// The pace that a device is taken to have before its first pass: a small integrated one's.
const SLOWEST_PACE: f64 = 5e10;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gpu::testing::device;

    #[test]
    #[ignore = "needs a GPU"]
    fn slots_are_used_again_and_memory_stays() {
        let arena = Arena::new(device()).unwrap();
        arena.lock().begin(100).unwrap();
        let first = arena.lock().rows(7, 40, Number::F32).unwrap();
        let second = arena.lock().rows(7, 40, Number::F32).unwrap();
        assert_ne!(first.slot.id, second.slot.id);
        let (id, bytes) = (first.slot.id, arena.bytes());
        drop(first);
        assert_eq!(arena.lock().rows(100, 33, Number::F32).unwrap().slot.id, id);
        assert_eq!(arena.bytes(), bytes);
        drop(second);
        arena.lock().begin(128).unwrap();
        assert_eq!(arena.bytes(), bytes);
        arena.lock().begin(129).unwrap();
        assert_eq!(arena.bytes(), 0);
    }

    #[test]
    #[ignore = "needs a GPU"]
    fn no_memory_is_an_error_and_less_may_do() {
        let arena = Arena::new(device()).unwrap();
        arena.limit(100_000);
        arena.lock().begin(128).unwrap();
        let kept = arena.lock().rows(100, 128, Number::F32).unwrap();
        let refused = arena.lock().rows(1, 128, Number::F32);
        assert!(
            matches!(&refused, Err(Error::DeviceMemory { message }) if message.contains("100000 bytes are allowed"))
        );
        drop(kept);
        arena.lock().begin(64).unwrap();
        assert_eq!(arena.bytes(), 0);
        let both = [0; 2].map(|_| arena.lock().rows(64, 128, Number::F32).unwrap().slot.bytes());
        assert_eq!(both, [32_768; 2]);
        assert!(matches!(arena.lock().rows(MAX_ROWS + 1, 16, Number::F32), Err(Error::DeviceMemory { .. })));
    }
}
