//! Arrays in a device's memory.

use crate::gpu::context::Context;
use crate::gpu::unique_id::next_id;
use crate::{Error, Result};

/// An array on the device. Its bytes are a multiple of 256.
#[derive(Clone)]
pub(crate) struct DeviceArray {
    /// What a set of bound arrays is found by, and no other array ever has; None for one whose sets are not remembered.
    pub(crate) id: Option<u64>,
    pub(crate) buffer: wgpu::Buffer,
}

/// Bytes that an array of so many is made with.
pub(crate) fn whole_bytes(bytes: u64) -> u64 {
    bytes.max(1).next_multiple_of(256)
}

impl DeviceArray {
    /// An array of at least so many bytes, which are not set. Errors: that there is no memory, or that kernels take no
    /// array of that size.
    pub(crate) fn new(context: &Context, bytes: u64, usage: wgpu::BufferUsages) -> Result<Self> {
        context.check_process()?;
        context.check()?;
        let size = whole_bytes(bytes);
        let largest = context.info().max_array;
        if size > largest {
            let id = &context.info().id;
            return Err(Error::device_memory(format!("{id}: an array of {size} bytes, and kernels take {largest}")));
        }
        let descriptor = wgpu::BufferDescriptor { label: None, size, usage, mapped_at_creation: false };
        let buffer = context.scoped(|| context.device.create_buffer(&descriptor))?;
        Ok(Self { id: Some(next_id()), buffer })
    }

    /// The same array, which goes before the arena does: what remembered it would keep its memory.
    pub(crate) fn for_a_while(self) -> Self {
        Self { id: None, ..self }
    }

    /// An array of constants.
    pub(crate) fn of_words(context: &Context, words: &[u32]) -> Result<Self> {
        use wgpu::BufferUsages as Use;
        let array = Self::new(context, 4 * words.len() as u64, Use::STORAGE | Use::COPY_DST)?;
        // In parts, of which each is waited for: what is written is held twice until the device has it.
        for (part, words) in words.chunks(UPLOAD_WORDS).enumerate() {
            let at = 4 * (part * UPLOAD_WORDS) as u64;
            context.scoped(|| context.queue.write_buffer(&array.buffer, at, bytemuck::cast_slice(words)))?;
            if words.len() > SMALL_WORDS {
                context.queue.submit([]);
                let polled = context.device.poll(wgpu::PollType::wait_indefinitely());
                polled.map_err(|error| Error::device(format!("{}: {error}", context.info().id)))?;
            }
        }
        context.check()?;
        Ok(array)
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.buffer.size()
    }
}

/// Words of weights that are on their way at a time: 32 MB.
const UPLOAD_WORDS: usize = 8 << 20;
/// Words that nothing is waited for: 256 KB.
const SMALL_WORDS: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gpu::testing::device;

    #[test]
    #[ignore = "needs a GPU"]
    fn what_is_too_large_is_an_error_of_memory() {
        let bytes = device().info().max_array + 1;
        let made = DeviceArray::new(device(), bytes, wgpu::BufferUsages::STORAGE);
        assert!(matches!(made, Err(Error::DeviceMemory { message }) if message.starts_with(&device().info().id)));
        device().check().unwrap();
    }
}
