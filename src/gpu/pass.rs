//! The pass of a model that blocks record into.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use crate::Result;
use crate::gpu::arena::Arena;
use crate::gpu::context::Context;
use crate::gpu::recording::PassRecording;

/// The passes of a model, one at a time.
#[derive(Debug, Clone)]
pub struct Passes {
    arena: Arena,
    current: Arc<Mutex<Weak<Mutex<PassRecording>>>>,
}

impl Passes {
    pub fn new(context: &'static Context) -> Result<Self> {
        Ok(Self { arena: Arena::new(context)?, current: Arc::default() })
    }

    pub fn context(&self) -> &'static Context {
        self.arena.context()
    }

    /// Takes no more than so many bytes for passes from now on.
    #[cfg(test)]
    pub(crate) fn limit(&self, bytes: u64) {
        self.arena.limit(bytes);
    }

    /// Waits until the pass that goes on has computed what it was told.
    pub fn compute_now(&self) {
        let current = self.current.lock().unwrap_or_else(PoisonError::into_inner).upgrade();
        if let Some(recording) = current {
            recording.lock().unwrap_or_else(PoisonError::into_inner).compute_now();
        }
    }

    /// The pass that goes on, else a new one, of so many tokens.
    ///
    /// # Errors
    /// If the device is lost, was opened before `fork()`, or takes no pass of so many.
    pub fn pass(&self, tokens: usize) -> Result<SharedPass> {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(recording) = current.upgrade() {
            return Ok(SharedPass(recording));
        }
        let recording = Arc::new(Mutex::new(PassRecording::new(&self.arena, tokens)?));
        *current = Arc::downgrade(&recording);
        Ok(SharedPass(recording))
    }
}

/// A pass that blocks record into. It goes on as long as somebody holds it; clones are the same pass.
#[derive(Clone)]
pub struct SharedPass(Arc<Mutex<PassRecording>>);

impl SharedPass {
    /// A pass of its own, in the same memory, that no block goes on with: for what outlives this one.
    pub fn apart(&self) -> Result<Self> {
        let arena = self.record(|recording| recording.arena().clone());
        Ok(Self(Arc::new(Mutex::new(PassRecording::new(&arena, 0)?))))
    }

    /// Records into the pass, or reads what it made.
    pub fn record<R>(&self, work: impl FnOnce(&mut PassRecording) -> R) -> R {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gpu::testing::device;

    #[test]
    #[ignore = "needs a GPU"]
    fn blocks_share_a_pass_until_nobody_holds_it() {
        let passes = Passes::new(device()).unwrap();
        let pass = passes.pass(3).unwrap();
        let at = |pass: &SharedPass| pass.record(|recording| recording.upload(&[7, 7]));
        assert_eq!([at(&pass), at(&passes.pass(3).unwrap())], [0, 2]);
        drop(pass);
        assert_eq!(at(&passes.pass(3).unwrap()), 0);
    }
}
