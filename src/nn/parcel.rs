//! Numbers on their way to a device.

use candle_core::{Device, Result, Tensor, WithDType};

/// Numbers that go to a device together: each transfer costs as much as a small operation.
pub(super) struct Parcel<T> {
    values: Vec<T>,
}

/// Where some of them lie.
#[derive(Clone, Copy)]
pub(super) struct Part {
    start: usize,
    len: usize,
}

impl<T: WithDType> Parcel<T> {
    pub(super) fn new() -> Self {
        Self { values: Vec::new() }
    }

    pub(super) fn add(&mut self, values: impl Iterator<Item = T>) -> Part {
        let start = self.values.len();
        self.values.extend(values);
        Part { start, len: self.values.len() - start }
    }

    /// What [`Self::add`] was given, on the device.
    pub(super) fn send(self, device: &Device) -> Result<impl Fn(Part) -> Result<Tensor>> {
        let len = self.values.len();
        let all = if len == 0 { None } else { Some(Tensor::from_vec(self.values, len, device)?) };
        Ok(move |part: Part| all.as_ref().expect("parts are of what was sent").narrow(0, part.start, part.len))
    }
}
