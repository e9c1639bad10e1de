//! Whether a device gives the vectors that the CPU gives in float32: some texts, computed by both.
//!
//! The CPU's are computed once for each model that is loaded, by the same files loaded a second time, which are then dropped. The
//! device's go through the queue behind everything else.

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use crate::engine::{OutputRows, Request};
use crate::memory::zeroed;
use crate::panic::guarded;
use crate::serve::agreement::Agreement;
use crate::serve::aside::aside;
use crate::serve::call::compute;
use crate::serve::call_options::{CallOptions, Precedence};
use crate::serve::fault::Fault;
use crate::serve::registry::{LoadModel, Slot};
use crate::serve::served_model::ServedModel;
use crate::serve::state::App;

/// Texts that are compared, of 4 tokens and more, and so many of the longest.
const TEXTS: usize = 32;
const LONGEST_WORDS: usize = 300;
const SENTENCE: &str = "A wire carries what the lamp at the end of the street gives back as light, \
    while 12 people read about rivers, taxes, bread and the moons of Jupiter";

/// The CPU's vectors of a model `[texts, width]`, which do not keep it loaded.
struct Reference {
    model: Weak<ServedModel>,
    rows: Vec<f32>,
}

/// The references, by the models' names.
type References = HashMap<String, Reference>;

/// Compares all models that give vectors, again and again.
pub(super) async fn watch_consistency(app: App, every: Duration) {
    let mut references = References::new();
    loop {
        for slot in app.registry.slots() {
            let (Some(model), Some(load)) = (slot.loaded(), slot.load_reference()) else { continue };
            if let Ok(width) = model.dimension() {
                let found = compare(slot, &model, load, width, &mut references).await;
                app.watch.note_agreement(&slot.name, found.map_err(|fault| fault.message));
            }
        }
        tokio::time::sleep(every).await;
    }
}

async fn compare(
    slot: &Slot,
    model: &Arc<ServedModel>,
    load: LoadModel,
    width: usize,
    references: &mut References,
) -> Result<Agreement, Fault> {
    // That of a model that was there before is of other files, perhaps.
    if references.get(&slot.name).is_none_or(|reference| reference.model.as_ptr() != Arc::as_ptr(model)) {
        let rows = aside("computing on the CPU", move || Ok(guarded(|| on_cpu(&load, width))?)).await?;
        references.insert(slot.name.clone(), Reference { model: Arc::downgrade(model), rows });
    }
    let options = CallOptions { precedence: Precedence(i32::MAX), ..CallOptions::default() };
    let request = options.request(model, model.prompt("model", None)?, model.normalize)?;
    let computed = compute(slot, model, Box::new(texts()), request, None, width).await?;
    Ok(Agreement::of(&references[&slot.name].rows, &computed.values, width))
}

fn on_cpu(load: &LoadModel, width: usize) -> crate::Result<Vec<f32>> {
    let model = load()?;
    let prompt = model.prompt("model", None).unwrap_or_default();
    let request = Request { prompt, max_length: model.max_length, normalize: model.normalize, ..Request::default() };
    let rows = OutputRows::Owned(zeroed(TEXTS * width, "the rows of the CPU")?);
    let result = model.routes.main().run(Box::new(texts()), request, rows, false, &|_| Ok(()))?;
    let OutputRows::Owned(rows) = result.output.rows else { unreachable!("the rows were the call's own") };
    Ok(rows)
}

/// Texts of which each is longer than the one before.
fn texts() -> Vec<String> {
    let words: Vec<&str> = SENTENCE.split(' ').collect();
    let text = |i: usize| {
        let count = 4 + i * i * (LONGEST_WORDS - 4) / (TEXTS - 1).pow(2);
        words.iter().copied().cycle().skip(i).take(count).collect::<Vec<_>>().join(" ")
    };
    (0..TEXTS).map(text).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_grow() {
        let lengths: Vec<usize> = texts().iter().map(|text| text.split(' ').count()).collect();
        assert_eq!((lengths[0], lengths[TEXTS - 1]), (4, LONGEST_WORDS));
        assert!(lengths.is_sorted());
    }
}
