//! A pass: kernels' calls that are recorded, computed in one submission, and read back once.
//!
//! ```text
//! pass:    the one that goes on, as long as anything that it made is held; else a new one
//! record:  upload(words) -> place in the pass's uploads        dispatch(kernel, arrays, constants, groups)
//! read:    send the uploads that are not there; encode the calls; each submission ends in the canary; copy output and canary; wait
//! ```
//!
//! A submission that keeps a GPU busy for seconds is killed by some systems, and freezes the screen of others. So a pass
//! of more than [`SUBMISSION_SECONDS`], at the pace that was measured, is cut into several. Nothing waits between them.
//!
//! The canary: wgpu on Metal counts command buffers that failed as done, and memory is zero then. Each submission ends in
//! a call that counts on only where the one before it was counted: without the last number a pass has failed. It counts
//! over all passes of an arena, also those that only make what others read later.
//!
//! One thread computes the passes of a model. So what is recorded, and what is computed, have one order.

use std::fmt::Debug;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use crate::gpu::arena::{Arena, ArenaState, SentUploads};
use crate::gpu::compiled_kernel::CompiledKernel;
use crate::gpu::context::{Context, IMMEDIATE_BYTES};
use crate::gpu::device_array::DeviceArray;
use crate::gpu::device_rows::{DeviceRows, Number};
use crate::gpu::kernel_text::KernelText;
use crate::gpu::unique_id::next_id;
use crate::{Error, Result};

/// How long a submission may take.
const SUBMISSION_SECONDS: f64 = 0.1;
/// How long is waited for a pass before the device counts as lost.
const PATIENCE: Duration = Duration::from_secs(300);

/// What a kernel gets as one of its arrays.
#[derive(Clone, Copy)]
pub(crate) enum Argument<'a> {
    Rows(&'a DeviceRows),
    Array(&'a DeviceArray),
    /// What the pass sends.
    Uploads,
    /// What is read back.
    Output,
}

enum BoundArray {
    Array(DeviceArray),
    Uploads,
    Output,
}

struct KernelCall {
    pipeline: Arc<CompiledKernel>,
    arrays: Vec<BoundArray>,
    constants: Vec<u32>,
    groups: [u32; 3],
    /// Multiplications and additions.
    work: u64,
}

/// A pass that is recorded. Rows that it made are read from it, once or several times; what was recorded since is
/// computed then.
pub struct PassRecording {
    id: u64,
    arena: Arena,
    /// Kept after they are sent: calls that are recorded later may want them, too.
    uploads: Vec<u32>,
    calls: Vec<KernelCall>,
    /// Makes the canary silent, for tests.
    #[cfg(test)]
    pub(crate) silent: bool,
}

impl Debug for PassRecording {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "PassRecording({})", self.context().info().id)
    }
}

impl PassRecording {
    /// A pass of `tokens` tokens. Errors: that the device is lost, was opened before `fork()`, or has no memory for them.
    pub fn new(arena: &Arena, tokens: usize) -> Result<Self> {
        let context = arena.context();
        context.check_process()?;
        context.check()?;
        arena.lock().begin(tokens)?;
        Ok(Self {
            id: next_id(),
            arena: arena.clone(),
            uploads: Vec::new(),
            calls: Vec::new(),
            #[cfg(test)]
            silent: false,
        })
    }

    pub fn context(&self) -> &'static Context {
        self.arena.context()
    }

    pub(crate) fn arena(&self) -> &Arena {
        &self.arena
    }

    /// New rows, which are not set.
    pub(crate) fn rows(&mut self, rows: usize, width: usize, number: Number) -> Result<DeviceRows> {
        self.arena.lock().rows(rows, width, number)
    }

    /// Sends the words with the pass; their place in its uploads.
    pub(crate) fn upload(&mut self, words: &[u32]) -> u32 {
        let at = self.uploads.len() as u32;
        self.uploads.extend_from_slice(words);
        at
    }

    /// Records a call of a kernel: its arrays in the order of their bindings, and its constants.
    pub(crate) fn dispatch<'a>(
        &mut self,
        pipeline: &Arc<CompiledKernel>,
        arrays: impl IntoIterator<Item = Argument<'a>>,
        constants: &[u32],
        groups: [usize; 3],
        work: usize,
    ) -> Result<()> {
        debug_assert!(4 * constants.len() <= IMMEDIATE_BYTES as usize, "constants fit");
        if groups.contains(&0) {
            return Ok(());
        }
        if groups.iter().any(|&count| count > usize::from(u16::MAX)) {
            let (id, name) = (&self.context().info().id, pipeline.name);
            return Err(Error::device_memory(format!("{id}: {groups:?} groups of \"{name}\"")));
        }
        let array = |array| match array {
            Argument::Rows(rows) => BoundArray::Array(DeviceArray::clone(&rows.slot)),
            Argument::Array(array) => BoundArray::Array(array.clone()),
            Argument::Uploads => BoundArray::Uploads,
            Argument::Output => BoundArray::Output,
        };
        self.calls.push(KernelCall {
            pipeline: pipeline.clone(),
            arrays: arrays.into_iter().map(array).collect(),
            constants: constants.to_vec(),
            groups: groups.map(|count| count as u32),
            work: work as u64,
        });
        Ok(())
    }

    /// Computes what was recorded, and gives the first `count` numbers of the output, at least one, that the last call wrote.
    pub(crate) fn compute(&mut self, count: usize) -> Result<Vec<f32>> {
        let calls = std::mem::take(&mut self.calls);
        // Until the output is read: other passes of this arena write to the same arrays.
        let arena = self.arena.clone();
        let mut arena = arena.lock();
        let started = Instant::now();
        let submission = self.submit(&mut arena, &calls, 4 * count as u64)?;
        let read = self.wait(&arena, count, submission);
        if read.is_err() {
            // It may be mapped yet, or be asked for.
            arena.staging = None;
        }
        let (values, canary) = read?;
        self.context().check()?;
        let last = std::mem::replace(&mut arena.song, canary);
        if canary != last {
            let id = &self.context().info().id;
            return Err(Error::device(format!("{id}: gave up in the middle of a pass, and did not say why")));
        }
        let work: u64 = calls.iter().map(|call| call.work).sum();
        if work > 1 << 28 {
            arena.pace = work as f64 / started.elapsed().as_secs_f64();
        }
        Ok(values)
    }

    /// Computes what was recorded, of which nothing is read yet.
    pub(crate) fn compute_for_later(&mut self) -> Result<()> {
        let calls = std::mem::take(&mut self.calls);
        if calls.is_empty() {
            return Ok(());
        }
        let arena = self.arena.clone();
        self.submit(&mut arena.lock(), &calls, 0).map(drop)
    }

    /// Computes what was recorded, and waits for it. What fails is left to whoever reads, who then learns why.
    pub(crate) fn compute_now(&mut self) {
        let calls = std::mem::take(&mut self.calls);
        if calls.is_empty() {
            return;
        }
        let arena = self.arena.clone();
        match self.submit(&mut arena.lock(), &calls, 0) {
            Ok(submission) => {
                let wait = wgpu::PollType::Wait { submission_index: Some(submission), timeout: Some(PATIENCE) };
                // A device that does not answer does not answer the one who reads, either.
                let _ = self.context().device.poll(wait);
            }
            Err(_) => self.calls = calls,
        }
    }

    /// Submits the calls, of which there are some; `output_bytes` of the output are to be read.
    fn submit(&self, arena: &mut ArenaState, calls: &[KernelCall], output_bytes: u64) -> Result<wgpu::SubmissionIndex> {
        use wgpu::BufferUsages as Use;
        let upload_bytes = 4 * self.uploads.len() as u64;
        let uploads = arena.grow(|arena| &mut arena.uploads, upload_bytes, Use::STORAGE | Use::COPY_DST)?;
        let output = arena.grow(|arena| &mut arena.output, output_bytes, Use::STORAGE | Use::COPY_SRC)?;
        let canary_at = output_bytes.next_multiple_of(256);
        let staging_usage = Use::MAP_READ | Use::COPY_DST;
        let staging = arena.grow(|arena| &mut arena.staging, canary_at + 4, staging_usage)?;
        let sing = self.context().kernel("canary", &(), canary)?;
        let canary = arena.canary.clone();
        let song = arena.bind(&sing, std::slice::from_ref(&canary))?;

        let mut bound = Vec::with_capacity(calls.len());
        for call in calls {
            let array = |bound: &BoundArray| match bound {
                BoundArray::Array(array) => array.clone(),
                BoundArray::Uploads => DeviceArray::clone(&uploads),
                BoundArray::Output => DeviceArray::clone(&output),
            };
            let arrays: Vec<_> = call.arrays.iter().map(array).collect();
            bound.push(arena.bind(&call.pipeline, &arrays)?);
        }

        let context = self.context();
        let first = arena.song;
        let most = (arena.pace * SUBMISSION_SECONDS) as u64;
        // Another pass of this arena may have overwritten what this one sent; nothing else does.
        let sent = arena.sent.take().filter(|sent| sent.pass == self.id && sent.array == uploads.id);
        let begin = sent.map_or(0, |sent| sent.words);
        let (last, submission) = context.scoped(|| {
            let words = bytemuck::cast_slice(&self.uploads[begin..]);
            context.queue.write_buffer(&uploads.buffer, 4 * begin as u64, words);
            let (mut last, mut at, mut submission) = (first, 0, None);
            while at < calls.len() {
                let mut encoder = context.device.create_command_encoder(&Default::default());
                {
                    let mut pass = encoder.begin_compute_pass(&Default::default());
                    let mut work = 0;
                    while at < calls.len() && (work == 0 || work + calls[at].work <= most) {
                        let call = &calls[at];
                        pass.set_pipeline(&call.pipeline.compiled);
                        pass.set_bind_group(0, &bound[at], &[]);
                        pass.set_immediates(0, bytemuck::cast_slice(&call.constants));
                        let [x, y, z] = call.groups;
                        pass.dispatch_workgroups(x, y, z);
                        work += call.work.max(1);
                        at += 1;
                    }
                    let next = last.wrapping_add(1);
                    if self.sings() {
                        pass.set_pipeline(&sing.compiled);
                        pass.set_bind_group(0, &song, &[]);
                        pass.set_immediates(0, bytemuck::cast_slice(&[last, next]));
                        pass.dispatch_workgroups(1, 1, 1);
                    }
                    last = next;
                }
                if at == calls.len() && output_bytes > 0 {
                    encoder.copy_buffer_to_buffer(&output.buffer, 0, &staging.buffer, 0, output_bytes);
                    encoder.copy_buffer_to_buffer(&canary.buffer, 0, &staging.buffer, canary_at, 4);
                }
                submission = Some(context.queue.submit([encoder.finish()]));
            }
            (last, submission.expect("there are calls"))
        })?;
        arena.song = last;
        arena.sent = Some(SentUploads { pass: self.id, array: uploads.id, words: self.uploads.len() });
        Ok(submission)
    }

    /// Waits for the submission. The first `count` numbers of the output, and the canary's.
    fn wait(&self, arena: &ArenaState, count: usize, submission: wgpu::SubmissionIndex) -> Result<(Vec<f32>, u32)> {
        let context = self.context();
        let failed = |reason: &str| Error::device(format!("{}: {reason}", context.info().id));
        let staging = arena.staging.clone().expect("a submission has staging");
        let canary_at = (4 * count).next_multiple_of(256);
        let slice = staging.buffer.slice(..(canary_at + 4) as u64);
        let (sender, receiver) = mpsc::channel();
        slice.map_async(wgpu::MapMode::Read, move |mapped| drop(sender.send(mapped)));
        let began = Instant::now();
        let mapped = loop {
            let wait = wgpu::PollType::Wait {
                submission_index: Some(submission.clone()),
                timeout: Some(Duration::from_secs(1)),
            };
            let polled = context.device.poll(wait);
            // Another thread that polls the device may be the one that has the answer, and be about to send it.
            let patience = Duration::from_secs(if polled.is_ok() { 10 } else { 0 });
            if let Ok(mapped) = receiver.recv_timeout(patience) {
                break mapped;
            }
            context.check()?;
            match polled {
                Err(wgpu::PollError::Timeout) if began.elapsed() < PATIENCE => (),
                Err(error) => return Err(failed(&error.to_string())),
                Ok(_) => return Err(failed("does not answer")),
            }
        };
        if let Err(error) = mapped {
            context.check()?;
            return Err(failed(&error.to_string()));
        }
        let read = slice.get_mapped_range().map_err(|error| failed(&error.to_string()))?;
        let values = bytemuck::pod_collect_to_vec(&read[..4 * count]);
        let canary = bytemuck::pod_read_unaligned(&read[canary_at..canary_at + 4]);
        drop(read);
        staging.buffer.unmap();
        Ok((values, canary))
    }

    #[cfg(not(test))]
    fn sings(&self) -> bool {
        true
    }

    #[cfg(test)]
    fn sings(&self) -> bool {
        !self.silent
    }
}

pub(crate) fn canary() -> String {
    KernelText::new(include_str!("wgsl/canary.wgsl"), Number::F32).render()
}

#[cfg(test)]
#[path = "recording_tests.rs"]
mod tests;
