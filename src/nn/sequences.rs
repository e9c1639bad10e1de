//! Packed texts as CUDA's flash-attention kernel is told of them: cumulative lengths of queries and of keys
//! (`cu_seqlens_q`, `cu_seqlens_k`, `max_seqlen_q` and `max_seqlen_k` there).

use candle_core::{Device, Result, Tensor};

use crate::nn::upload_buffer::UploadBuffer;

/// The sequences of a batch; texts without tokens are left out.
pub(super) struct Sequences {
    /// `[texts + 1]` each: cumulative lengths of queries and of keys.
    pub(super) cumulative: [Tensor; 2],
    /// Most queries and most keys of a text.
    pub(super) longest: [usize; 2],
    /// `[keys]`: rows of each text's keys, where a past comes before them: it lies behind the batch's own.
    pub(super) keys: Option<Tensor>,
}

impl Sequences {
    /// `offsets [texts + 1]`: cumulative lengths. `past`: tokens before those of every text.
    pub(super) fn new(offsets: &[u32], past: usize, device: &Device) -> Result<Self> {
        let texts = || offsets.windows(2).filter(|text| text[0] < text[1]);
        let tokens = offsets.last().copied().unwrap_or(0);
        let longest = texts().map(|text| (text[1] - text[0]) as usize).max().unwrap_or(0);
        let mut buffer = UploadBuffer::new();
        let ends = |past: usize| texts().enumerate().map(move |(i, text)| text[1] + ((i + 1) * past) as u32);
        let queries = buffer.push(std::iter::once(0).chain(ends(0)));
        let keys = buffer.push(std::iter::once(0).chain(ends(past)));
        let rows = (past > 0)
            .then(|| buffer.push(texts().flat_map(|text| (tokens..tokens + past as u32).chain(text[0]..text[1]))));
        let sent = buffer.upload(device)?;
        Ok(Self {
            cumulative: [sent(queries)?, sent(keys)?],
            longest: [longest, past + longest],
            keys: rows.map(sent).transpose()?,
        })
    }
}
