use std::sync::atomic::AtomicUsize;
use std::time::Instant;

use votive::files::Origin;

use crate::server::{Hub, REPO, Reply, Server, ranged};
use crate::*;

fn message_of(hub: &Hub) -> String {
    Place::of(hub).find().unwrap_err().to_string()
}

/// A hub that answers `status` and `code` instead of its file list.
fn refusing(status: u16, code: &'static str) -> Hub {
    Hub::deviating(tiny_model(), move |request| {
        request.path.starts_with("/api/").then(|| Reply::new(status, "{}").header("x-error-code", code))
    })
}

#[test]
fn says_how_to_give_a_token_or_accept_a_licence() {
    for (status, code, expected) in [
        (401, "", "ada/tiny: a valid token is needed, given with token=, HF_TOKEN"),
        (401, "GatedRepo", "its licence must be accepted at http"),
        (403, "GatedRepo", "and the token of that account given with token=, HF_TOKEN"),
        (403, "", "this token may not read it: accept the licence at http"),
    ] {
        let hub = refusing(status, code);
        let error = Place::of(&hub).find().unwrap_err();
        assert!(matches!(error, Error::Hub { .. }), "{error:?}");
        let message = error.to_string();
        assert!(message.contains(expected) && message.contains(&status.to_string()), "{message}");
    }
}

#[test]
fn a_refused_file_is_an_error_too() {
    let hub = Hub::deviating(tiny_model(), |request| {
        request.path.ends_with("/model.safetensors").then(|| Reply::new(403, "{}").header("x-error-code", "GatedRepo"))
    });
    let place = Place::of(&hub);
    let message = place.find().unwrap_err().to_string();
    assert!(message.contains("licence must be accepted"), "{message}");
    assert!(place.find_offline().is_err());
}

#[test]
fn not_found_lists_every_place_and_its_reason() {
    let hub = refusing(401, "RepoNotFound");
    let error = Place::of(&hub).find().unwrap_err();
    assert!(matches!(error, Error::NotFound { .. }), "{error:?}");
    let message = error.to_string();
    let lines: Vec<&str> = message.lines().collect();
    assert_eq!(lines[0], "model \"ada/tiny\" was not found:");
    assert_eq!(lines[1], "- folder \"ada/tiny\": does not exist");
    assert!(lines[2].starts_with("- cache ") && lines[2].ends_with("models--ada--tiny: has no revision \"main\""));
    assert!(lines[3].contains("/ada/tiny: no such repository, or a private one that needs a token"), "{message}");
    assert_eq!(lines[4], "- installed packages: none carries ada/tiny");
    assert_eq!(lines.len(), 5);
}

#[test]
fn a_repository_a_revision_and_a_file_are_told_apart() {
    let hub = Hub::new(tiny_model());
    let message = Place::of(&hub).find_revision("v9").unwrap_err().to_string();
    assert!(message.contains("the repository has no such revision"), "{message}");
    assert!(message.contains("installed packages: have no revisions, \"v9\" was asked for"), "{message}");

    let message = message_of(&refusing(404, "RepoNotFound"));
    assert!(message.contains("no such repository (status 404)"), "{message}");

    let hub = Hub::deviating(tiny_model(), |request| {
        request.path.ends_with("/tokenizer.json").then(|| Reply::new(404, "").header("x-error-code", "EntryNotFound"))
    });
    let message = message_of(&hub);
    assert!(message.contains("tokenizer.json, which it lists: no such file (status 404)"), "{message}");
}

#[test]
fn without_a_network_an_installed_package_is_used() {
    let package = tempfile::tempdir().unwrap();
    let packaged = |repo: &str| (repo == REPO).then(|| ("tiny_package".to_owned(), package.path().to_owned()));
    // A port that was free a moment ago: nobody listens there.
    let nobody = Server::start(|_| Reply::default()).url();
    let unavailable = Server::start(|_| Reply::new(503, "busy"));
    let silent = Server::start(|_| Reply { silent: true, ..Reply::default() });
    for endpoint in [nobody, unavailable.url(), silent.url()] {
        let mut place = Place::new(&endpoint);
        place.environment.timeout = Duration::from_millis(200);
        let begin = Instant::now();
        let options = FindOptions { packaged: &packaged, ..place.options() };
        let folder = find(REPO, &options, &Watch::new()).unwrap();
        assert!(begin.elapsed() < Duration::from_secs(20), "{endpoint} took {:?}", begin.elapsed());
        assert_eq!(*folder.origin(), Origin::Package { name: "tiny_package".to_owned() });
        assert_eq!(folder.root(), package.path());
        let message = place.find().unwrap_err().to_string();
        assert!(message.contains("could not be reached") || message.contains("status 503"), "{message}");
    }
}

#[test]
fn a_connection_that_breaks_for_good_is_an_error_and_its_part_waits() {
    let content = tiny_model()["model.safetensors"].clone();
    let hub = Hub::deviating(tiny_model(), move |request| {
        request.path.starts_with("/cdn/").then(|| {
            let cut = 1000usize.saturating_sub(request.start());
            Reply { cut: Some(cut), ..ranged(request, &content) }
        })
    });
    let place = Place::of(&hub);
    let error = place.find().unwrap_err();
    assert!(matches!(error, Error::Hub { .. }), "{error:?}");
    let message = error.to_string();
    assert!(message.contains("model.safetensors broke off after 1000 of"), "{message}");
    assert_eq!(place.names("blobs").iter().filter(|name| name.ends_with(".incomplete")).count(), 1);
    assert!(place.find_offline().is_err());
}

#[test]
fn a_busy_server_is_asked_again() {
    let busy = AtomicUsize::new(2);
    let hub = Hub::deviating(tiny_model(), move |request| {
        let is_busy = || busy.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok();
        (request.path.ends_with("/tokenizer.json") && is_busy()).then(|| Reply::new(503, "busy"))
    });
    let place = Place::of(&hub);
    assert_holds(&place.find().unwrap(), &tiny_model());
}

#[test]
fn a_wrong_size_leaves_nothing_behind() {
    let small = safetensors("weight", 10);
    let hub =
        Hub::deviating(tiny_model(), move |request| request.path.starts_with("/cdn/").then(|| ranged(request, &small)));
    let place = Place::of(&hub);
    let message = place.find().unwrap_err().to_string();
    assert!(message.contains("model.safetensors has the wrong size"), "{message}");
    assert!(place.names("blobs").iter().all(|name| !name.ends_with(".incomplete")), "{:?}", place.names("blobs"));
    assert_eq!(place.names("blobs").len(), tiny_model().len() - 1);
    assert!(place.find_offline().is_err());
}

#[test]
fn a_body_longer_than_announced_leaves_nothing_behind() {
    let mut long = tiny_model()["model.safetensors"].clone();
    long.extend([0; 1000]);
    let hub = Hub::deviating(tiny_model(), move |request| {
        let chunks = [format!("{:x}\r\n", long.len()).as_bytes(), &long, b"\r\n0\r\n\r\n"].concat();
        let chunked = || Reply { status: 200, body: chunks, ..Reply::default() }.header("transfer-encoding", "chunked");
        request.path.starts_with("/cdn/").then(chunked)
    });
    let place = Place::of(&hub);
    let message = place.find().unwrap_err().to_string();
    assert!(message.contains("model.safetensors is longer than the"), "{message}");
    assert_eq!(place.names("blobs").len(), tiny_model().len() - 1);
    assert!(place.find_offline().is_err());
}

#[test]
fn weights_that_are_not_read_are_refused_before_anything_is_fetched() {
    let mut model = tiny_model();
    model.remove("model.safetensors");
    model.insert("model.pt".to_owned(), b"pickle".to_vec());
    let hub = Hub::new(model);
    let error = Place::of(&hub).find().unwrap_err();
    assert!(matches!(error, Error::Model { .. }), "{error:?}");
    let message = error.to_string();
    assert!(message.contains("nor pytorch_model.bin, only model.pt. To convert it"), "{message}");
    assert!(message.contains("torch.load(\"FOLDER/model.pt\""), "{message}");
    assert!(message.contains("`hf download ada/tiny --local-dir FOLDER`"), "{message}");
    assert_eq!(hub.asked_files(), ["modules.json"]);
}

#[test]
fn a_model_without_a_tokenizer_is_refused_before_anything_is_fetched() {
    let mut model = tiny_model();
    model.remove("tokenizer.json");
    model.insert("tokenizer.model".to_owned(), b"[PAD]".to_vec());
    let hub = Hub::new(model);
    let message = message_of(&hub);
    assert!(message.starts_with("tokenizer.json: the repository has none"), "{message}");
    assert_eq!(hub.asked_files(), ["modules.json"]);
}

#[test]
fn an_adapter_without_weights_is_refused_before_anything_is_fetched() {
    let mut model = tiny_model();
    model.insert("adapter_config.json".to_owned(), b"{}".to_vec());
    let hub = Hub::new(model);
    let message = message_of(&hub);
    assert!(message.starts_with("adapter_config.json: the repository has no adapter_model.safetensors"), "{message}");
    assert_eq!(hub.asked_files(), ["modules.json"]);
}

#[test]
fn names_that_are_no_hub_names_are_refused() {
    let place = Place::new("http://127.0.0.1:9");
    for name in ["a--b", "ada/../tiny", "-ada/tiny", "ada/tiny.git", "ada/tiny?x", "ada/", "ünï/code", "a b"] {
        let error = find(name, &place.options(), &Watch::new()).unwrap_err();
        let is_refused = matches!(error, Error::Argument { .. }) || (name.matches('/').count() > 1);
        assert!(is_refused && error.to_string().contains(name), "{error}");
    }
    for name in ["", "/no/such/folder", "./tiny", "../tiny", "~/tiny", "a/b/c", "a\\b"] {
        let error = find(name, &place.options(), &Watch::new()).unwrap_err();
        assert!(matches!(error, Error::NotFound { .. }), "{error:?}");
    }
    for revision in ["", "..", "../../main", "/main", "a b", "a:b", "main\\x", "refs/../../x"] {
        let error = place.find_revision(revision).unwrap_err();
        assert!(matches!(error, Error::Argument { name: "revision", .. }), "{error:?}");
    }
    let file = tempfile::NamedTempFile::new().unwrap();
    let error = find(file.path().to_str().unwrap(), &place.options(), &Watch::new()).unwrap_err();
    assert!(error.to_string().contains("is a file; accepted are a folder, a .gguf file and a hub name"), "{error}");
}
