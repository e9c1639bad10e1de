//! Buffers whose first number starts a cache line, so that no vector load crosses two.

#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C, align(64))]
struct Line([f32; 16]);

/// A zeroed buffer of float32, aligned to 64 bytes.
#[derive(Default)]
pub(super) struct Aligned {
    lines: Vec<Line>,
    len: usize,
}

impl Aligned {
    pub(super) fn zeroed(len: usize) -> Self {
        Self { lines: vec![Line([0.0; 16]); len.div_ceil(16)], len }
    }

    /// Makes room for `len` numbers; what is there stays, what is new is zero.
    pub(super) fn grow(&mut self, len: usize) {
        if self.lines.len() * 16 < len {
            self.lines.resize(len.div_ceil(16), Line([0.0; 16]));
        }
        self.len = self.len.max(len);
    }

    pub(super) fn as_slice(&self) -> &[f32] {
        &bytemuck::cast_slice(&self.lines)[..self.len]
    }

    pub(super) fn as_mut_slice(&mut self) -> &mut [f32] {
        &mut bytemuck::cast_slice_mut(&mut self.lines)[..self.len]
    }
}

thread_local! {
    static SCRATCH: std::cell::Cell<Aligned> = std::cell::Cell::default();
}

/// Lends `work` this thread's scratch memory, `len` numbers of whatever was there. It is kept for the next call, so
/// that its pages are faulted in once.
pub(super) fn scratch<R>(len: usize, work: impl FnOnce(&mut [f32]) -> R) -> R {
    // Taken, not borrowed: a nested call finds an empty buffer and makes its own.
    let mut buffer = SCRATCH.take();
    buffer.grow(len);
    let result = work(&mut buffer.as_mut_slice()[..len]);
    SCRATCH.set(buffer);
    result
}
