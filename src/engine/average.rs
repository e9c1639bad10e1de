//! Rows of a static embedding: made right behind the tokens of a text, on the same thread.

use std::ops::Range;
use std::time::Instant;

use crate::engine::call::{Call, Request};
use crate::engine::network::Network;
use crate::engine::output_head::OutputHead;
use crate::memory::zeroed;
use crate::pipeline::TokenEmbeddings;
use crate::profile::{Stage, Work, record, stage};
use crate::text::{Input, Truncation, WordCache};
use crate::{CancelCheck, Error, Result};

/// Texts whose rows are made together: few enough that their means stay in the nearest caches.
const TEXTS: usize = 32;

impl Network {
    /// Makes the rows of some unique inputs of a direct call.
    pub(super) fn average(&self, call: &Call, uniques: Range<usize>, check_cancel: CancelCheck<'_>) -> Result<()> {
        let start = Instant::now();
        let result = record(call.request.profile.as_ref(), || {
            let mut cache = self.tokenizer.take_cache();
            uniques.clone().step_by(TEXTS).try_for_each(|first| {
                let some = first..uniques.end.min(first + TEXTS);
                self.average_some(call, some, &mut cache, check_cancel)
            })?;
            self.tokenizer.give_back(cache);
            Ok(())
        });
        call.add_computing(start);
        result
    }

    fn average_some(
        &self,
        call: &Call,
        uniques: Range<usize>,
        cache: &mut WordCache,
        check_cancel: CancelCheck<'_>,
    ) -> Result<()> {
        let (Some(bag), OutputHead::Pipeline(pipeline)) = (self.encoder.bag(), &self.head) else {
            unreachable!("a direct call is of a model with a bag, which gives embeddings")
        };
        let Request { prompt, normalize, .. } = &call.request;
        let limit = self.limit(&call.request);
        let bytes = uniques.clone().map(|unique| call.input(unique).bytes()).sum();
        let (mut ids, mut ends, mut truncated) = (Vec::new(), Vec::with_capacity(uniques.len()), Vec::new());
        stage(
            Stage::Tokenize,
            || Work::bytes(bytes),
            || {
                uniques.clone().try_for_each(|unique| {
                    check_cancel()?;
                    let is_cut = match call.input(unique) {
                        Input::Text(text) => {
                            let with_prompt = (!prompt.is_empty()).then(|| [prompt.as_str(), text].concat());
                            let text = with_prompt.as_deref().unwrap_or(text);
                            self.tokenizer.append_ids(
                                text,
                                limit.behind(prompt.len()),
                                cache,
                                &mut ids,
                                check_cancel,
                            )?
                        }
                        pair @ Input::Pair(..) => {
                            let tokens = self.tokens_of(pair, prompt, limit, check_cancel)?;
                            ids.extend(tokens.ids);
                            tokens.truncated
                        }
                    };
                    if is_cut && limit.truncation == Truncation::Refuse {
                        return Err(self.too_long(call, unique, check_cancel));
                    }
                    ends.push(ids.len());
                    truncated.extend(is_cut.then_some(unique));
                    Ok::<_, Error>(())
                })
            },
        )?;
        let mut means = zeroed(uniques.len() * bag.width(), "means of rows")?;
        stage(
            Stage::Embed,
            || Work::bytes(4 * bag.width() * (ids.len() + uniques.len())),
            || {
                let mut start = 0;
                for (&end, mean) in ends.iter().zip(means.chunks_exact_mut(bag.width())) {
                    bag.mean(&ids[start..end], mean);
                    start = end;
                }
            },
        );
        let mut rows = zeroed(uniques.len() * call.width(), "rows of texts")?;
        let numbers = means.len() + rows.len();
        stage(
            Stage::Pool,
            || Work::bytes(4 * numbers),
            || {
                let offsets: Vec<u32> = (0..=uniques.len() as u32).collect();
                let means = TokenEmbeddings { hidden: &means, offsets: &offsets, ids: &[], prompt_tokens: 0 };
                let mut rows: Vec<_> = rows.chunks_exact_mut(call.width()).collect();
                pipeline.apply(&means, *normalize, &mut rows);
            },
        );
        call.write_rows(uniques.clone(), &rows);
        call.count_direct(ids.len(), truncated);
        self.stats.add_pass([uniques.len(), ids.len()], [uniques.len(), ids.len()]);
        Ok(())
    }
}
