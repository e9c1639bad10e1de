//! Numbers on their way to a device, gathered on the host and sent in one transfer: each costs as much as a small
//! operation.

use candle_core::{Device, Result, Tensor, WithDType};

pub(super) struct UploadBuffer<T> {
    values: Vec<T>,
}

/// Where the numbers of one [`UploadBuffer::push`] lie.
#[derive(Clone, Copy)]
pub(super) struct UploadRange {
    start: usize,
    len: usize,
}

impl<T: WithDType> UploadBuffer<T> {
    pub(super) fn new() -> Self {
        Self { values: Vec::new() }
    }

    pub(super) fn push(&mut self, values: impl Iterator<Item = T>) -> UploadRange {
        let start = self.values.len();
        self.values.extend(values);
        UploadRange { start, len: self.values.len() - start }
    }

    /// Sends everything, and gives a function that returns the part of it in a range, on the device, `[len]`.
    pub(super) fn upload(self, device: &Device) -> Result<impl Fn(UploadRange) -> Result<Tensor>> {
        let len = self.values.len();
        let all = if len == 0 { None } else { Some(Tensor::from_vec(self.values, len, device)?) };
        Ok(move |range: UploadRange| {
            all.as_ref().expect("a range is of what was sent").narrow(0, range.start, range.len)
        })
    }
}
