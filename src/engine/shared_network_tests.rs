//! Calls of tiny models from their fixtures, on the caller's thread and in the queue.

use std::path::Path;
use std::time::Instant;

use super::*;
use crate::engine::embedder::Embedder;
use crate::engine::options::LoadOptions;
use crate::engine::reranker::Reranker;
use crate::engine::routes::Routes;
use crate::engine::stats::Measure;
use crate::files::{ModelFolder, Origin};

/// Texts of several passes.
const TEXTS: usize = 300;

fn folder(name: &str) -> ModelFolder {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    ModelFolder::new(fixtures.join(name), Origin::Folder)
}

fn options(sharing: Sharing) -> LoadOptions {
    LoadOptions {
        device: "cpu".into(),
        dtype: "float32".into(),
        num_threads: Some(2),
        sharing,
        ..LoadOptions::default()
    }
}

fn embedder(name: &str, sharing: Sharing) -> Embedder {
    Embedder::load(folder(name), &options(sharing)).unwrap()
}

fn texts(count: usize) -> Vec<String> {
    (0..count).map(|i| format!("a quick brown fox, number {i}")).collect()
}

fn rows(count: usize, width: usize) -> OutputRows {
    OutputRows::Owned(vec![0.0; count * width])
}

/// What a call gives that another thread computes.
fn submitted(routes: &Routes, inputs: Box<dyn Inputs>, request: Request, width: usize) -> Result<CallResult> {
    let (sender, ended) = channel();
    let rows = rows(inputs.len(), width);
    let on_end = Box::new(move |result| drop(sender.send(result)));
    let _handle = routes.main().submit(inputs, request, rows, false, on_end)?;
    ended.recv().expect("a call ends")
}

#[test]
fn a_call_says_where_its_time_went() {
    let model = embedder("bert_40", Sharing::default());
    let mut sums = [Duration::ZERO; 3];
    for count in [1, TEXTS] {
        let inputs = texts(count);
        let start = Instant::now();
        let alone = model.routes().main().run(
            Box::new(inputs.clone()),
            Request::default(),
            rows(count, model.dimension()),
            false,
            &|_| Ok(()),
        );
        let wall = start.elapsed();
        let alone = alone.unwrap().report;
        assert!(!alone.tokenizing.is_zero() && !alone.computing.is_zero());
        assert!(count > 1 || (alone.waited.is_zero() && alone.tokenizing + alone.computing <= wall));
        let queued = submitted(model.routes(), Box::new(inputs), Request::default(), model.dimension());
        let queued = queued.unwrap().report;
        assert!(!queued.tokenizing.is_zero() && !queued.computing.is_zero() && !queued.waited.is_zero());
        assert_eq!(queued.tokens, alone.tokens);
        for report in [alone, queued] {
            let times = [report.waited, report.tokenizing, report.computing];
            sums.iter_mut().zip(times).for_each(|(sum, time)| *sum += time);
        }
    }
    for (measure, sum) in [Measure::Waits, Measure::Tokenizing, Measure::Computing].into_iter().zip(sums) {
        let counts = model.routes().main().network().stats.cumulative(measure, &[f64::INFINITY]);
        assert_eq!((counts.count, counts.sum), (4, sum.as_nanos() as f64 / 1e9));
    }
}

#[test]
fn the_depth_is_told_of_what_is_submitted() {
    // Calls wait for others as long as they can.
    let sharing = Sharing { max_wait: Duration::from_secs(3600), ..Sharing::default() };
    let model = embedder("bert_40", sharing);
    let routes = model.routes();
    assert_eq!(routes.depth(), QueueDepth::default());
    let submit = |count: usize| {
        let rows = rows(count, model.dimension());
        routes.main().submit(Box::new(texts(count)), Request::default(), rows, false, Box::new(drop)).unwrap()
    };
    let handles = [submit(2), submit(3)];
    let depth = routes.depth();
    assert_eq!((depth.calls, depth.inputs, depth.slots), (2, 5, 2));
    assert_eq!(routes.main().depth().inputs, 5);
    handles.iter().for_each(CallHandle::cancel);
    // What a thread tokenizes at this moment ends with that.
    while routes.depth().calls > 0 {
        std::thread::yield_now();
    }
    assert_eq!(routes.depth(), QueueDepth { slots: 2, ..QueueDepth::default() });
}

#[test]
fn a_static_embedding_computes_as_it_tokenizes() {
    let model = embedder("static_modules", Sharing::default());
    let report =
        submitted(model.routes(), Box::new(texts(TEXTS)), Request::default(), model.dimension()).unwrap().report;
    assert!(report.tokenizing.is_zero() && !report.computing.is_zero());
}

#[test]
fn a_prefix_counts_as_computed() {
    let model = Reranker::load(folder("qwen3_rerank"), &options(Sharing::default()), None).unwrap();
    let pairs: Vec<_> = texts(4).into_iter().map(|text| ("which fox is it?".to_owned(), text)).collect();
    let report = submitted(model.routes(), Box::new(pairs), Request::default(), 1).unwrap().report;
    assert!(!report.tokenizing.is_zero() && !report.computing.is_zero());
}
