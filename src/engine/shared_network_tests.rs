//! Calls of tiny models from their fixtures, on the caller's thread and in the queue.

use std::fs;
use std::path::Path;
use std::time::Instant;

use super::*;
use crate::engine::embedder::Embedder;
use crate::engine::options::LoadOptions;
use crate::engine::reranker::Reranker;
use crate::engine::routes::Routes;
use crate::engine::stats::Measure;
use crate::files::{ModelFolder, Origin};
use crate::nn::Body;
use crate::text::{Input, LengthLimit, Truncation};

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

/// The row of a text, and whether it was cut.
fn row(model: &Embedder, text: &str, request: Request) -> (Vec<f32>, bool) {
    let result = submitted(model.routes(), Box::new(vec![text.to_owned()]), request, model.dimension()).unwrap();
    let OutputRows::Owned(values) = result.output.rows else { unreachable!("rows were owned") };
    (values, !result.report.truncated.is_empty())
}

/// Tokens of a text with special ones, those included that are not computed.
fn length(model: &Embedder, text: &str) -> usize {
    let network = model.routes().main().network();
    let special = network.tokens(&vec![String::new()], "", None, &|| Ok(())).unwrap()[0].len();
    network.tokenizer().count(text, &|| Ok(())).unwrap() + special
}

#[test]
fn a_text_that_loses_its_first_tokens_has_the_row_of_the_others() {
    const LAST: &str = "a quick brown fox";
    let long = ["naïve café, ".repeat(40).as_str(), LAST].concat();
    for name in ["bert_40", "static_modules", "static_model2vec"] {
        let model = embedder(name, Sharing::default());
        for prompt in ["", "the same: "] {
            let prompt = prompt.to_owned();
            let max_length = Some(length(&model, &[&prompt, LAST].concat()));
            let whole = Request { prompt, max_length, ..Request::default() };
            let (expected, is_cut) = row(&model, LAST, whole.clone());
            assert!(!is_cut);
            let left = Request { truncation: Truncation::Left, ..whole.clone() };
            assert_eq!(row(&model, &long, left), (expected.clone(), true), "{name}");
            assert_ne!(row(&model, &long, whole).0, expected, "{name}");
        }
    }
}

#[test]
fn what_is_too_long_is_refused_before_it_is_computed() {
    const LIMIT: usize = 16;
    for name in ["bert_40", "static_modules", "static_model2vec"] {
        let model = embedder(name, Sharing::default());
        let network = model.routes().main().network();
        let long = "the same word, ".repeat(20);
        let inputs = ["a", "a", "a quick brown fox", &long, &long].map(str::to_owned).to_vec();
        let whole = network.tokens(&vec![long.clone()], "", Some(1000), &|| Ok(())).unwrap()[0].len();
        let request = Request { max_length: Some(LIMIT), truncation: Truncation::Refuse, ..Request::default() };
        let (routes, width) = (model.routes(), model.dimension());
        let alone = routes.main().run(Box::new(inputs.clone()), request.clone(), rows(5, width), false, &|_| Ok(()));
        for refused in [alone, submitted(routes, Box::new(inputs.clone()), request, width)] {
            let error = refused.err().expect("an error");
            assert_eq!(error.to_string(), format!("texts[3]: has {whole} tokens, the model takes {LIMIT}"));
            assert!(matches!(error, Error::TooLong { position: 3, limit: LIMIT, tokens } if tokens == whole));
        }
        assert_eq!(network.stats.snapshot().pass_texts.count, 0);
        let request = Request { max_length: Some(300), truncation: Truncation::Refuse, ..Request::default() };
        assert!(submitted(routes, Box::new(inputs), request, width).unwrap().report.truncated.is_empty());
    }
}

/// A folder whose template is no built-in one.
fn chat_folder() -> (tempfile::TempDir, ModelFolder) {
    let root = tempfile::TempDir::new().unwrap();
    let copy = |from: &Path, to: &Path| {
        fs::create_dir_all(to).unwrap();
        for entry in fs::read_dir(from).unwrap().map(Result::unwrap).filter(|entry| entry.path().is_file()) {
            fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    };
    let from = folder("qwen3_saved");
    copy(from.root(), root.path());
    copy(&from.root().join("1_LogitScore"), &root.path().join("1_LogitScore"));
    let path = root.path().join("tokenizer_config.json");
    let config = fs::read_to_string(&path).unwrap();
    assert!(config.contains("Judge whether"));
    fs::write(&path, config.replace("Judge whether", "Say whether")).unwrap();
    let folder = ModelFolder::new(root.path().to_owned(), Origin::Folder);
    (root, folder)
}

#[test]
fn a_template_stays_where_a_document_loses_its_first_tokens() {
    let (_root, chat) = chat_folder();
    for (name, folder) in [
        ("joined", folder("qwen3_rerank")),
        ("apart", folder("qwen2_rerank")),
        ("asking", folder("gemma_rerank")),
        ("chat", chat),
    ] {
        let model = Reranker::load(folder, &options(Sharing::default()), None).unwrap();
        let network = model.routes().main().network();
        let tokens = |document: &str, limit: usize| {
            let limit = LengthLimit::of(limit, Truncation::Left);
            network.tokens_of(Input::Pair("which fox?", document), "find it", limit, &|| Ok(())).unwrap()
        };
        let document = texts(20).join(" ");
        let whole = tokens(&document, usize::MAX);
        assert!(!whole.truncated);
        let most = (1..=whole.len()).rev().find(|&limit| tokens(&document, limit).truncated).unwrap();
        let cut = tokens(&document, most - 10);
        assert_eq!(cut.len(), whole.len() - 11, "{name}");
        let other = tokens("7", usize::MAX);
        let before = whole.ids.iter().zip(&other.ids).take_while(|(a, b)| a == b).count();
        assert!(before > 10, "{name}");
        assert_eq!(cut.ids[..before], whole.ids[..before], "{name}");
        assert_eq!(cut.ids[before..], whole.ids[before + 11..], "{name}");
    }
}

/// Needs `VOTIVE_SOFTWARE_GPU=1` where the GPU is one that a driver computes.
#[test]
#[ignore = "needs a GPU"]
fn passes_are_halved_where_a_gpu_has_no_memory() {
    let on = |device: &str| {
        let options = LoadOptions { device: device.to_owned(), ..options(Sharing::default()) };
        Embedder::load(folder("bert_312"), &options).unwrap()
    };
    let encode = |model: &Embedder| {
        let (inputs, rows) = (Box::new(texts(TEXTS)), rows(TEXTS, model.dimension()));
        let found = model.routes().main().run(inputs, Request::default(), rows, false, &|_| Ok(()))?;
        let OutputRows::Owned(values) = found.output.rows else { unreachable!("rows were owned") };
        Ok::<_, Error>((values, found.report.halved))
    };
    let (expected, _) = encode(&on("cpu")).unwrap();
    let limited = |bytes: u64| {
        let model = on(if cfg!(target_os = "macos") { "wgpu" } else { "vulkan" });
        let Body::Gpu { passes, .. } = model.routes().main().network().body() else { panic!("a GPU computes") };
        passes.limit(bytes);
        model
    };
    let model = limited(4_000_000);
    let (found, halved) = encode(&model).unwrap();
    assert!(halved > 0);
    assert!(found.iter().zip(&expected).all(|(a, b)| (a - b).abs() <= 1e-5));
    // From then on passes are as small as they have to be.
    assert_eq!(encode(&model).unwrap(), (found, 0));
    let message = encode(&limited(1)).unwrap_err().to_string();
    assert!(message.contains("is too much for it"), "{message}");
}
