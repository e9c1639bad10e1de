use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use votive::files::Origin;
use votive::hub::{Token, find};
use votive::weights::Weights;

use crate::server::{COMMIT, Hub, REPO, Reply, etag, ranged};
use crate::*;

const CUT: usize = 150_000;

fn commit() -> String {
    COMMIT.to_owned()
}

#[test]
fn fetches_what_is_read_and_nothing_else() {
    let model = tiny_model();
    let mut all = model.clone();
    all.extend(files(&[
        (".gitattributes", b"-"),
        ("README.md", b"-"),
        ("model_fp16.safetensors", b"-"),
        ("onnx/model.onnx", b"-"),
        ("openvino/openvino_model.bin", b"-"),
        ("other/config.json", b"-"),
        ("pytorch_model.bin", b"-"),
        ("tf_model.h5", b"-"),
        ("train_script.py", b"-"),
        ("vocab.txt", b"-"),
    ]));
    let hub = Hub::new(all);
    let place = Place::of(&hub);
    let watch = Watch::new();
    let folder = place.find_watched(&watch).unwrap();
    assert_eq!(*folder.origin(), Origin::Hub { commit: commit() });
    assert_holds(&folder, &model);

    let mut asked = hub.asked_files();
    assert_eq!(asked.last().unwrap(), "model.safetensors", "weights come last, when all else is known to be good");
    asked.sort();
    assert_eq!(asked, model.keys().cloned().collect::<Vec<_>>());
    for (name, content) in &model {
        let bytes = content.len() as u64;
        let expected = Progress { file: name.clone(), bytes, resumed_at: 0, advanced: bytes, finished: true };
        assert_eq!(watch.of(name), [expected]);
    }

    // The layout of huggingface_hub.
    assert_eq!(fs::read_to_string(place.repo().join("refs/main")).unwrap(), COMMIT);
    assert_eq!(folder.root(), place.repo().join("snapshots").join(COMMIT));
    let mut blobs: Vec<String> = model.values().map(|content| etag(content)).collect();
    blobs.sort();
    assert_eq!(place.names("blobs"), blobs);
    #[cfg(unix)]
    assert_eq!(
        fs::read_link(folder.root().join("1_Pooling/config.json")).unwrap(),
        Path::new("../../../blobs").join(etag(&model["1_Pooling/config.json"]))
    );
}

#[test]
fn the_second_time_the_network_is_not_touched() {
    let hub = Hub::new(tiny_model());
    let place = Place::of(&hub);
    place.find().unwrap();
    hub.api.forget_requests();
    let folder = place.find().unwrap();
    assert_eq!(*folder.origin(), Origin::Cache { commit: commit() });
    assert_holds(&folder, &tiny_model());
    assert!(hub.api.requests().is_empty());
}

#[test]
fn a_revision_is_a_branch_a_tag_or_a_commit() {
    let hub = Hub::new(tiny_model());
    let place = Place::of(&hub);
    for revision in ["v1", "refs/pr/1", "0123456", COMMIT] {
        assert_holds(&place.find_revision(revision).unwrap(), &tiny_model());
        hub.api.forget_requests();
        assert_eq!(*place.find_revision(revision).unwrap().origin(), Origin::Cache { commit: commit() });
        assert!(hub.api.requests().is_empty());
    }
    assert_eq!(place.names("refs"), ["0123456", "refs", "v1"]);
    assert!(place.find_offline().is_err(), "nobody asked for main");
}

#[test]
fn a_name_without_owner_is_looked_for_as_sentence_transformers_does() {
    let hub = Hub::deviating(tiny_model(), |request| {
        let is_bare = request.path.contains("/bare-tiny/") && !request.path.contains("sentence-transformers");
        is_bare.then(|| Reply::new(307, "").header("location", request.path.replace("bare-tiny", REPO)))
    });
    let place = Place::of(&hub);
    let folder = find("bare-tiny", &place.options(), &Watch::new()).unwrap();
    assert_holds(&folder, &tiny_model());
    let paths: Vec<String> = hub.api.requests().into_iter().map(|request| request.path).collect();
    assert_eq!(paths[0], "/api/models/sentence-transformers/bare-tiny/revision/main?blobs=true");
    assert_eq!(paths[1], "/api/models/bare-tiny/revision/main?blobs=true");
    hub.api.forget_requests();
    find("bare-tiny", &place.options(), &Watch::new()).unwrap();
    assert!(hub.api.requests().is_empty());
}

#[test]
fn the_token_stays_with_the_hub() {
    let hub = Hub::new(tiny_model());
    let place = Place::of(&hub);
    let token = Token::Given("hf_secret".into());
    find(REPO, &FindOptions { token, ..place.options() }, &Watch::new()).unwrap();
    let authorization = |request: &server::Request| request.header("authorization").map(str::to_owned);
    assert!(hub.api.requests().iter().all(|request| authorization(request).as_deref() == Some("Bearer hf_secret")));
    assert_eq!(hub.cdn.requests().len(), 1);
    assert_eq!(authorization(&hub.cdn.requests()[0]), None);
}

#[test]
fn the_token_comes_from_the_environment_unless_it_is_never_to_be_sent() {
    for (token, expected) in [(Token::Implicit, Some("Bearer hf_stored")), (Token::Never, None)] {
        let hub = Hub::new(tiny_model());
        let mut place = Place::of(&hub);
        place.environment.token = Some("hf_stored".into());
        find(REPO, &FindOptions { token, ..place.options() }, &Watch::new()).unwrap();
        assert!(hub.api.requests().iter().all(|request| request.header("authorization") == expected));
    }
}

#[test]
fn a_broken_connection_is_taken_up_again() {
    let content = tiny_model()["model.safetensors"].clone();
    let hub = Hub::deviating(tiny_model(), move |request| {
        let cut = request.path.starts_with("/cdn/") && request.start() < 2 * CUT;
        cut.then(|| Reply { cut: Some(CUT), ..ranged(request, &content).header("etag", "\"cdn\"") })
    });
    let watch = Watch::new();
    let place = Place::of(&hub);
    assert_holds(&place.find_watched(&watch).unwrap(), &tiny_model());
    let starts: Vec<usize> = hub.cdn.requests().iter().map(|request| request.start()).collect();
    assert_eq!(starts, [0, CUT, 2 * CUT]);
    let told = watch.of("model.safetensors");
    assert_eq!((told.len(), told[0].advanced), (1, told[0].bytes));
}

#[test]
fn an_interrupted_download_is_resumed_by_the_next_call() {
    let hub = Hub::new(tiny_model());
    let place = Place::of(&hub);
    let small: usize = tiny_model().iter().filter(|(name, _)| !name.ends_with("tensors")).map(|(_, c)| c.len()).sum();
    let watch = Watch::stopping_after_bytes((small + CUT) as u64);
    assert!(matches!(place.find_watched(&watch), Err(Error::Interrupted)));
    let received = watch.of("model.safetensors")[0].advanced;
    assert!(received >= CUT as u64 && received < tiny_model()["model.safetensors"].len() as u64);
    assert!(place.find_offline().is_err(), "what is half there must not be used");
    assert!(!place.repo().join("refs/main").exists());

    hub.api.forget_requests();
    let watch = Watch::new();
    assert_holds(&place.find_watched(&watch).unwrap(), &tiny_model());
    assert_eq!(watch.of("model.safetensors")[0].resumed_at, received);
    assert_eq!(hub.cdn.requests().last().unwrap().start() as u64, received);
    assert_eq!(hub.asked_files(), ["model.safetensors"; 2], "once for its name and size, once for its rest");
}

#[test]
fn a_server_without_ranges_sends_the_whole_file_again() {
    let content = tiny_model()["model.safetensors"].clone();
    let attempts = AtomicUsize::new(0);
    let hub = Hub::deviating(tiny_model(), move |request| {
        if !request.path.starts_with("/cdn/") {
            return None;
        }
        let cut = (attempts.fetch_add(1, Ordering::Relaxed) == 0).then_some(CUT);
        Some(Reply { cut, ..Reply::new(200, content.clone()) })
    });
    let watch = Watch::new();
    let place = Place::of(&hub);
    assert_holds(&place.find_watched(&watch).unwrap(), &tiny_model());
    let told = watch.of("model.safetensors");
    assert_eq!(told.iter().map(|progress| progress.resumed_at).collect::<Vec<_>>(), [0, 0]);
    assert_eq!((told[0].advanced, told[1].advanced), (CUT as u64, told[1].bytes));
}

#[test]
fn an_interrupt_is_served_while_the_server_is_silent() {
    for silent in ["/api/", "/cdn/"] {
        let hub = Hub::deviating(tiny_model(), move |request| {
            request.path.starts_with(silent).then(|| Reply { silent: true, ..Reply::default() })
        });
        let mut place = Place::of(&hub);
        // A wait that nobody would sit through: only the interrupt ends it.
        place.environment.timeout = Duration::from_secs(3600);
        let watch = Watch::stopping_after_looks(60);
        assert!(matches!(place.find_watched(&watch), Err(Error::Interrupted)));
    }
}

#[test]
fn two_callers_download_a_file_once() {
    let hub = Hub::new(tiny_model());
    let place = Place::of(&hub);
    thread::scope(|scope| {
        let calls = [scope.spawn(|| place.find()), scope.spawn(|| place.find())];
        for call in calls {
            assert_holds(&call.join().unwrap().unwrap(), &tiny_model());
        }
    });
    assert!(place.names("blobs").iter().all(|name| !name.ends_with(".incomplete")));
}

#[test]
fn shards_are_fetched_by_their_index() {
    let mut model = tiny_model();
    model.remove("model.safetensors");
    model.extend(files(&[
        ("model-1.safetensors", &safetensors("a", 10)),
        ("model-2.safetensors", &safetensors("b", 20)),
        ("model.safetensors.index.json", br#"{"weight_map":{"a":"model-1.safetensors","b":"model-2.safetensors"}}"#),
    ]));
    let mut all = model.clone();
    all.insert("model-3.safetensors".to_owned(), safetensors("c", 30));
    let hub = Hub::new(all);
    let place = Place::of(&hub);
    let folder = place.find().unwrap();
    assert_holds(&folder, &model);
    assert_eq!(Weights::open(&folder, "").unwrap().names().collect::<Vec<_>>(), ["a", "b"]);
}

#[test]
fn weights_of_modules_are_fetched() {
    let mut model = tiny_model();
    model.remove("sentence_bert_config.json");
    model.extend(files(&[
        ("2_Dense/config.json", br#"{"in_features":4}"#),
        ("2_Dense/model.safetensors", &safetensors("linear.weight", 16)),
        (
            "modules.json",
            br#"[{"idx":0,"path":"","type":"a.Transformer"},{"idx":1,"path":"1_Pooling","type":"a.Pooling"},
                 {"idx":2,"path":"2_Dense","type":"a.Dense"}]"#,
        ),
    ]));
    let hub = Hub::new(model.clone());
    let place = Place::of(&hub);
    assert_holds(&place.find().unwrap(), &model);

    fs::remove_file(place.repo().join("snapshots").join(COMMIT).join("2_Dense/model.safetensors")).unwrap();
    let message = place.find_offline().unwrap_err().to_string();
    assert!(message.contains("2_Dense/model.safetensors: not there"), "{message}");
}

#[test]
fn vocabularies_are_downloaded_where_there_is_no_tokenizer_json() {
    let mut model = tiny_model();
    model.insert("added_tokens.json".to_owned(), b"{}".to_vec());
    let without = model.clone();
    let vocabularies = ["merges.txt", "sentencepiece.bpe.model", "spm.model", "vocab.json", "vocab.txt"];
    model.extend(vocabularies.map(|name| (name.to_owned(), b"[PAD]".to_vec())));
    let hub = Hub::new(model.clone());
    let place = Place::of(&hub);
    assert_holds(&place.find().unwrap(), &without);
    model.remove("tokenizer.json");
    let hub = Hub::new(model.clone());
    let place = Place::of(&hub);
    assert_holds(&place.find().unwrap(), &model);
    assert_holds(&place.find_offline().unwrap(), &model);
}

#[test]
fn fetches_pickled_weights_where_there_are_no_safetensors() {
    let fixture =
        |name: &str| fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/pickled").join(name)).unwrap();
    let shards =
        ["pytorch_model-00001-of-00002.bin", "pytorch_model-00002-of-00002.bin", "pytorch_model.bin.index.json"];
    let one = vec![("pytorch_model.bin".to_owned(), fixture("archive.bin"))];
    for weights in [one, shards.map(|name| (name.to_owned(), fixture(name))).into()] {
        let mut model = tiny_model();
        model.remove("model.safetensors");
        model.extend(weights);
        let mut all = model.clone();
        all.insert("training_args.bin".to_owned(), b"-".to_vec());
        let hub = Hub::new(all);
        let place = Place::of(&hub);
        assert_holds(&place.find().unwrap(), &model);
        assert_holds(&place.find_offline().unwrap(), &model);
    }
}

/// adapter_config.json of a LoRA of `base`.
fn adapter_config(base: &str) -> Vec<u8> {
    format!(r#"{{"peft_type":"LORA","base_model_name_or_path":{base:?}}}"#).into_bytes()
}

#[test]
fn the_network_that_an_adapter_changes_comes_from_the_hub() {
    let hub = Hub::new(tiny_model());
    let place = Place::of(&hub);
    let adapter = tempfile::tempdir().unwrap();
    fs::write(adapter.path().join("adapter_config.json"), adapter_config(REPO)).unwrap();
    fs::write(adapter.path().join("adapter_model.safetensors"), safetensors("lora", 3)).unwrap();
    fs::write(adapter.path().join("vocab.txt"), "[UNK]").unwrap();
    let name = adapter.path().to_str().unwrap();
    let offline = FindOptions { local_files_only: true, ..place.options() };
    let message = find(name, &offline, &Watch::new()).unwrap_err().to_string();
    assert!(
        message.starts_with("adapter_config.json: base_model_name_or_path: \"ada/tiny\", the model that"),
        "{message}"
    );
    assert!(message.contains("local_files_only") && message.contains("Write there where its folder is"), "{message}");

    for _ in 0..2 {
        let folder = find(name, &place.options(), &Watch::new()).unwrap();
        assert_eq!((folder.root(), folder.origin()), (adapter.path(), &Origin::Folder));
        for name in ["config.json", "model.safetensors"] {
            let found = folder.file(name).unwrap().unwrap();
            assert!(found.starts_with(place.repo()) && fs::read(found).unwrap() == tiny_model()[name]);
        }
        // The adapter's own tokenizer is whole, and the base model's modules are not the adapter's.
        for name in ["tokenizer.json", "tokenizer_config.json", "modules.json", "sentence_bert_config.json"] {
            assert_eq!(folder.file(name).unwrap(), None);
        }
    }
    assert!(hub.asked_files().iter().all(|file| file != "1_Pooling/config.json"));

    // Without one, the base model's counts; and the network alone is not taken for the whole model.
    fs::remove_file(adapter.path().join("vocab.txt")).unwrap();
    assert!(find(name, &offline, &Watch::new()).unwrap().file("tokenizer.json").unwrap().is_some());
    assert!(place.find_offline().unwrap_err().to_string().contains("is incomplete"));
    assert_holds(&place.find().unwrap(), &tiny_model());
}

#[test]
fn an_adapter_is_fetched_without_what_its_base_model_has() {
    let base = tempfile::tempdir().unwrap();
    fs::write(base.path().join("config.json"), "{}").unwrap();
    fs::write(base.path().join("model.safetensors"), safetensors("weight", 3)).unwrap();
    let mut model = tiny_model();
    model.remove("config.json");
    model.remove("model.safetensors");
    model.insert("adapter_config.json".to_owned(), adapter_config(base.path().to_str().unwrap()));
    model.insert("adapter_model.safetensors".to_owned(), safetensors("lora", 3));
    let hub = Hub::new(model.clone());
    let place = Place::of(&hub);
    for folder in [place.find().unwrap(), place.find_offline().unwrap()] {
        assert_holds(&folder, &model);
        assert_eq!(folder.file("config.json").unwrap(), Some(base.path().join("config.json")));
    }
    fs::remove_file(place.repo().join("snapshots").join(COMMIT).join("adapter_model.safetensors")).unwrap();
    assert!(place.find_offline().is_err());
    assert_holds(&place.find().unwrap(), &model);

    fs::write(base.path().join("adapter_config.json"), "{}").unwrap();
    let message = place.find().unwrap_err().to_string();
    assert!(message.contains("is an adapter itself"), "{message}");
}

const QUANTIZED: &[u8] = br#"{"model_type":"bert","quantization":{"group_size":64,"bits":4}}"#;

fn readme(base: &str) -> Vec<u8> {
    format!("---\ntags:\n- mlx\nbase_model: {base}\n---\n# A model\n").into_bytes()
}

#[test]
fn what_a_quantized_model_lacks_comes_from_its_base_model_on_the_hub() {
    let hub = Hub::new(tiny_model());
    let place = Place::of(&hub);
    let quantized = tempfile::tempdir().unwrap();
    fs::write(quantized.path().join("config.json"), QUANTIZED).unwrap();
    fs::write(quantized.path().join("README.md"), readme(REPO)).unwrap();
    let name = quantized.path().to_str().unwrap();
    let offline = || FindOptions { local_files_only: true, ..place.options() };
    // Where the base model cannot be had, loading says what it assumes.
    let folder = find(name, &offline(), &Watch::new()).unwrap();
    assert_eq!((folder.file("modules.json").unwrap(), folder.description_of()), (None, None));
    let message = find(name, &FindOptions { base: Some(REPO), ..offline() }, &Watch::new()).unwrap_err().to_string();
    assert!(message.starts_with("base: model \"ada/tiny\" was not found"), "{message}");

    for options in [place.options(), FindOptions { base: Some(REPO), ..offline() }] {
        let folder = find(name, &options, &Watch::new()).unwrap();
        assert_eq!(folder.description_of(), Some(REPO));
        for file in
            ["modules.json", "1_Pooling/config.json", "config_sentence_transformers.json", "sentence_bert_config.json"]
        {
            let found = folder.file(file).unwrap().unwrap();
            assert!(found.starts_with(place.repo()) && fs::read(found).unwrap() == tiny_model()[file], "{file}");
        }
        assert_eq!(fs::read(folder.file("config.json").unwrap().unwrap()).unwrap(), QUANTIZED);
        for file in ["model.safetensors", "tokenizer.json"] {
            assert_eq!(folder.file(file).unwrap(), None);
        }
    }
    assert!(hub.asked_files().iter().all(|file| file != "model.safetensors"));
    // What was fetched of it is not taken for the whole model.
    assert!(place.find_offline().unwrap_err().to_string().contains("is incomplete"));
}

#[test]
fn a_quantized_model_is_fetched_with_its_readme() {
    let base = tempfile::tempdir().unwrap();
    for (name, content) in tiny_model() {
        let path = base.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    let mut model = tiny_model();
    model.insert("config.json".to_owned(), QUANTIZED.to_vec());
    model.insert("README.md".to_owned(), readme(base.path().to_str().unwrap()));
    model.remove("1_Pooling/config.json");
    let hub = Hub::new(model.clone());
    let place = Place::of(&hub);
    for folder in [place.find().unwrap(), place.find_offline().unwrap()] {
        assert_holds(&folder, &model);
        let pooling = folder.file("1_Pooling/config.json").unwrap();
        assert_eq!(pooling, Some(base.path().join("1_Pooling/config.json")));
    }
    fs::remove_dir_all(base.path()).unwrap();
    let message = place.find_offline().unwrap_err().to_string();
    assert!(
        message.starts_with("1_Pooling/config.json: is not there, though modules.json names it: base="),
        "{message}"
    );
}

#[test]
fn the_modules_of_a_router_are_fetched() {
    let modules =
        br#"[{"idx":0,"name":"0","path":"0_Router","type":"sentence_transformers.base.modules.router.Router"}]"#;
    let router = br#"{"types":{"query":"x.Transformer","dense":"x.Dense"},"structure":{"query":["query","dense"]}}"#;
    let weights = safetensors("weight", 3);
    let model = files(&[
        ("0_Router/dense/config.json", b"{}"),
        ("0_Router/dense/model.safetensors", &weights),
        ("0_Router/query/config.json", b"{}"),
        ("0_Router/query/model.safetensors", &weights),
        ("0_Router/query/tokenizer.json", b"{}"),
        ("0_Router/router_config.json", router),
        ("modules.json", modules),
    ]);
    let hub = Hub::new(model.clone());
    let place = Place::of(&hub);
    assert_holds(&place.find().unwrap(), &model);
    let snapshot = place.repo().join("snapshots").join(COMMIT);
    for name in ["0_Router/dense/model.safetensors", "0_Router/router_config.json"] {
        fs::remove_file(snapshot.join(name)).unwrap();
        let message = place.find_offline().unwrap_err().to_string();
        assert!(message.contains("is incomplete"), "{message}");
        assert_holds(&place.find().unwrap(), &model);
    }
}

/// A part of a GGUF file of a Qwen3, without tensors.
fn gguf_part(part: u16, parts: u16) -> Vec<u8> {
    let text = |text: &str| [&(text.len() as u64).to_le_bytes()[..], text.as_bytes()].concat();
    let number =
        |key: &str, number: u16| [text(key), 2_u32.to_le_bytes().to_vec(), number.to_le_bytes().to_vec()].concat();
    let architecture = [text("general.architecture"), 8_u32.to_le_bytes().to_vec(), text("qwen3")].concat();
    let keys = [architecture, number("split.no", part), number("split.count", parts)].concat();
    [b"GGUF", &3_u32.to_le_bytes()[..], &0_u64.to_le_bytes(), &3_u64.to_le_bytes(), &keys, &[0; 64]].concat()
}

#[test]
fn a_gguf_file_is_fetched_with_all_its_parts() {
    let mut files = tiny_model();
    files.retain(|name, _| ["config.json", "tokenizer.json"].contains(&name.as_str()));
    let names = ["x-Q8_0-00001-of-00002.gguf", "x-Q8_0-00002-of-00002.gguf", "x-F16.gguf"];
    files.insert(names[0].to_owned(), gguf_part(0, 2));
    files.insert(names[1].to_owned(), gguf_part(1, 2));
    files.insert(names[2].to_owned(), gguf_part(0, 1));
    let hub = Hub::new(files.clone());
    let place = Place::of(&hub);
    let message = place.find_offline().unwrap_err().to_string();
    assert!(message.contains("local_files_only is true"), "{message}");
    let named = |file| FindOptions { gguf_file: Some(file), ..place.options() };
    let folder = find(REPO, &named(names[1]), &Watch::new()).unwrap();
    assert_eq!(names.map(|name| folder.file(name).unwrap().is_some()), [true, true, false]);
    // In the cache, by its tag.
    let offline = FindOptions { local_files_only: true, ..place.options() };
    assert!(find(&format!("{REPO}:q8_0"), &offline, &Watch::new()).is_ok());
    let message = find(REPO, &named("y.gguf"), &Watch::new()).unwrap_err().to_string();
    assert_eq!(
        message,
        format!("gguf_file: there is no \"y.gguf\" among the model's files: {}, {}", names[2], names[0])
    );

    files.remove(names[1]);
    let hub = Hub::new(files);
    let message = find(&format!("{REPO}:Q8_0"), &Place::of(&hub).options(), &Watch::new()).unwrap_err().to_string();
    assert_eq!(message, format!("{}: is not in the repository: the model is split into 2 files", names[1]));
}
