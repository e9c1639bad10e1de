//! The tokens of a text, part by part, from the end that is kept on.

use std::ops::Range;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use tokenizers::{Encoding, TruncationDirection};

use crate::text::library::call_library;
use crate::text::tokenizer::Tokenizer;
use crate::text::truncation::{LengthLimit, Truncation};
use crate::{CancelCheck, Result};

/// Whether the bytes that tokens stand for are found, too, which takes longer.
#[derive(Debug, Clone, Copy)]
enum Spans {
    Kept,
    Left,
}

/// Bytes of a long text that are tokenized at a time: more than most models take, in a few milliseconds.
pub(super) const PART_BYTES: usize = 16 << 10;

/// The most bytes that are tokenized without asking the caller whether to go on.
pub(super) const MAX_INLINE_BYTES: usize = 128 << 10;

/// Time that a caller waits for another thread before it asks whether to go on.
const CHECK_INTERVAL: Duration = Duration::from_millis(20);

impl Tokenizer {
    /// The ids of a text without special ones, within `limit`, and whether some were cut off.
    pub(super) fn pieces_within(
        &self,
        text: &str,
        limit: LengthLimit,
        check_cancel: CancelCheck<'_>,
    ) -> Result<(Vec<u32>, bool)> {
        let (direction, room) = (self.direction(limit.truncation), limit.tokens);
        let (encoding, _) = self.pieces(text, room, direction, check_cancel)?;
        let ids = encoding.get_ids();
        let is_cut = ids.len() > room;
        let kept = match direction {
            _ if !is_cut => ids.to_vec(),
            TruncationDirection::Right => ids[..room].to_vec(),
            TruncationDirection::Left if limit.kept() == 0 => ids[ids.len() - room..].to_vec(),
            TruncationDirection::Left => {
                let head = self.beginning(text, limit.kept(), room, check_cancel)?;
                [head.get_ids(), &ids[ids.len() - (room - head.len())..]].concat()
            }
        };
        self.require_within(&kept)?;
        Ok((kept, is_cut))
    }

    /// The tokens of a text without special ones, or more than `room` of them from the end that is kept; and whether these are all.
    pub(super) fn pieces(
        &self,
        text: &str,
        room: usize,
        direction: TruncationDirection,
        check_cancel: CancelCheck<'_>,
    ) -> Result<(Encoding, bool)> {
        let mut parts = Vec::new();
        let mut tokens = 0;
        let mut rest = text;
        while parts.is_empty() || (!rest.is_empty() && tokens <= room) {
            check_cancel()?;
            let part;
            (part, rest) = self.split_part(rest, direction);
            let encoding = self.part(part, Spans::Left, check_cancel)?;
            tokens += encoding.len();
            parts.push(encoding);
        }
        if direction == TruncationDirection::Left {
            parts.reverse();
        }
        let encoding = match parts.len() {
            1 => parts.remove(0),
            _ => Encoding::merge(parts, false),
        };
        Ok((encoding, rest.is_empty()))
    }

    /// Splits a part off a text, at the end that is kept; gives the part and the rest.
    fn split_part<'a>(&self, text: &'a str, direction: TruncationDirection) -> (&'a str, &'a str) {
        if text.len() <= PART_BYTES {
            return (text, "");
        }
        match direction {
            TruncationDirection::Right => {
                let end = self.boundaries.after(&self.inner, text, PART_BYTES).unwrap_or(text.len());
                text.split_at(end)
            }
            TruncationDirection::Left => {
                let start = self.boundaries.before(&self.inner, text, text.len() - PART_BYTES).unwrap_or(0);
                let (rest, part) = text.split_at(start);
                (part, rest)
            }
        }
    }

    /// The tokens of the first `bytes` bytes of a text, at most `most` of them, without special ones. One that goes on behind them is
    /// not among them.
    pub(super) fn beginning(
        &self,
        text: &str,
        bytes: usize,
        most: usize,
        check_cancel: CancelCheck<'_>,
    ) -> Result<Encoding> {
        let end = self.boundaries.after(&self.inner, text, bytes).unwrap_or(text.len());
        let mut encoding = self.part(&text[..end], Spans::Kept, check_cancel)?;
        let count = encoding.get_offsets().iter().take_while(|(_, to)| *to <= bytes).count();
        encoding.truncate(count.min(most), 0, TruncationDirection::Right);
        drop(encoding.take_overflowing());
        Ok(encoding)
    }

    /// The bytes of `text` that each of its tokens stands for, all of them, without special ones.
    pub fn token_spans(&self, text: &str, check_cancel: CancelCheck<'_>) -> Result<Vec<Range<usize>>> {
        let mut spans = Vec::new();
        let mut start = 0;
        while start < text.len() {
            check_cancel()?;
            let rest = &text[start..];
            let end = match rest.len() <= PART_BYTES {
                true => rest.len(),
                false => self.boundaries.after(&self.inner, rest, PART_BYTES).unwrap_or(rest.len()),
            };
            let encoding = self.part(&rest[..end], Spans::Kept, check_cancel)?;
            spans.extend(encoding.get_offsets().iter().map(|&(from, to)| start + from..start + to));
            start += end;
        }
        Ok(spans)
    }

    /// Number of tokens of all of a text, without special ones.
    pub fn count(&self, text: &str, check_cancel: CancelCheck<'_>) -> Result<usize> {
        Ok(self.pieces(text, usize::MAX, self.direction, check_cancel)?.0.len())
    }

    /// The tokens of a part. A long one, which cannot be cut, is left to a thread of its own: the library does not stop.
    fn part(&self, part: &str, spans: Spans, check_cancel: CancelCheck<'_>) -> Result<Encoding> {
        let encode = move |inner: &tokenizers::Tokenizer, text: &str| match spans {
            Spans::Kept => inner.encode(text, false),
            Spans::Left => inner.encode_fast(text, false),
        };
        if part.len() > MAX_INLINE_BYTES {
            let (sender, receiver) = channel();
            let (inner, file, text) = (self.inner.clone(), self.file.clone(), part.to_owned());
            let work = move || drop(sender.send(call_library(&file, || encode(&inner, &text))));
            // Where no thread can be started, this one does it.
            if thread::Builder::new().name("votive-text".to_owned()).spawn(work).is_ok() {
                loop {
                    match receiver.recv_timeout(CHECK_INTERVAL) {
                        Ok(encoding) => return encoding,
                        Err(RecvTimeoutError::Timeout) => check_cancel()?,
                        Err(RecvTimeoutError::Disconnected) => break,
                    }
                }
            }
        }
        call_library(&self.file, || encode(&self.inner, part))
    }

    /// Whether texts lose their first tokens where they are too long.
    pub(super) fn truncates_left(&self, truncation: Truncation) -> bool {
        matches!(self.direction(truncation), TruncationDirection::Left)
    }

    /// The end at which a text loses tokens.
    pub(super) fn direction(&self, truncation: Truncation) -> TruncationDirection {
        match truncation {
            Truncation::OfModel | Truncation::Refuse => self.direction,
            Truncation::Right => TruncationDirection::Right,
            Truncation::Left => TruncationDirection::Left,
        }
    }
}
