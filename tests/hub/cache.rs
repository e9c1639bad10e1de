use votive::files::Origin;
use votive::hub::find;

use crate::server::{COMMIT, Files, Hub, Reply, etag};
use crate::*;

/// Puts `files` into the cache as huggingface_hub does.
#[cfg(unix)]
fn fill(place: &Place, commit: &str, files: &Files) {
    let repo = place.repo();
    fs::create_dir_all(repo.join("blobs")).unwrap();
    fs::create_dir_all(repo.join("refs")).unwrap();
    fs::write(repo.join("refs/main"), commit).unwrap();
    for (name, content) in files {
        fs::write(repo.join("blobs").join(etag(content)), content).unwrap();
        let pointer = repo.join("snapshots").join(commit).join(name);
        fs::create_dir_all(pointer.parent().unwrap()).unwrap();
        let up = "../".repeat(2 + name.matches('/').count());
        std::os::unix::fs::symlink(Path::new(&up).join("blobs").join(etag(content)), pointer).unwrap();
    }
}

#[test]
fn a_folder_comes_first() {
    let folder = tempfile::tempdir().unwrap();
    let place = Place::new("http://127.0.0.1:9");
    let found = find(folder.path().to_str().unwrap(), &place.options(), &Watch::new()).unwrap();
    assert_eq!((found.root(), found.origin()), (folder.path(), &Origin::Folder));
}

#[cfg(unix)]
#[test]
fn reads_what_huggingface_hub_wrote() {
    let place = Place::new("http://127.0.0.1:9");
    fill(&place, COMMIT, &tiny_model());
    for folder in [place.find().unwrap(), place.find_offline().unwrap(), place.find_revision(COMMIT).unwrap()] {
        assert_eq!(*folder.origin(), Origin::Cache { commit: COMMIT.to_owned() });
        assert_holds(&folder, &tiny_model());
    }
}

#[cfg(unix)]
#[test]
fn an_incomplete_snapshot_is_completed_and_never_used_as_it_is() {
    for missing in ["config.json", "tokenizer.json", "1_Pooling/config.json", "model.safetensors"] {
        let hub = Hub::new(tiny_model());
        let place = Place::of(&hub);
        let mut part = tiny_model();
        part.remove(missing);
        fill(&place, COMMIT, &part);
        let message = place.find_offline().unwrap_err().to_string();
        assert!(message.contains("is incomplete at commit") && message.contains(missing), "{message}");
        assert!(message.contains("not asked, for local_files_only is true"), "{message}");
        assert!(hub.api.requests().is_empty());

        assert_holds(&place.find().unwrap(), &tiny_model());
        assert_eq!(hub.asked_files(), [missing]);
    }
}

#[cfg(unix)]
#[test]
fn a_truncated_file_in_the_cache_is_replaced() {
    let model = tiny_model();
    let hub = Hub::new(model.clone());
    let place = Place::of(&hub);
    fill(&place, COMMIT, &model);
    let weights = &model["model.safetensors"];
    fs::write(place.repo().join("blobs").join(etag(weights)), &weights[..1000]).unwrap();
    let message = place.find_offline().unwrap_err().to_string();
    assert!(message.contains("truncated?"), "{message}");
    assert_holds(&place.find().unwrap(), &model);
}

#[cfg(unix)]
#[test]
fn blobs_of_an_older_commit_are_not_fetched_again() {
    let mut old = tiny_model();
    old.insert("config.json".to_owned(), b"{\"old\":1}".to_vec());
    let hub = Hub::new(tiny_model());
    let place = Place::of(&hub);
    fill(&place, "fedcba9876543210fedcba9876543210fedcba98", &old);
    assert_holds(&place.find_revision("v1").unwrap(), &tiny_model());
    assert!(hub.cdn.requests().iter().all(|request| request.start() == 0));
    assert_eq!(place.names("blobs").len(), tiny_model().len() + 1);
    assert_holds(&place.find_offline().unwrap(), &old);
}

#[cfg(unix)]
#[test]
fn without_modules_json_the_hub_is_asked_whether_there_is_one() {
    let mut part = tiny_model();
    part.remove("modules.json");
    let hub = Hub::new(tiny_model());
    let mut place = Place::of(&hub);
    fill(&place, COMMIT, &part);
    assert_holds(&place.find_offline().unwrap(), &part);
    let unreachable = std::mem::replace(&mut place.environment.endpoint, "http://127.0.0.1:9".to_owned());
    assert_holds(&place.find().unwrap(), &part);
    place.environment.endpoint = unreachable;
    assert_holds(&place.find().unwrap(), &tiny_model());
}

#[cfg(unix)]
#[test]
fn a_model_of_which_more_is_known_to_exist_is_not_used_as_it_is() {
    let mut part = tiny_model();
    part.remove("modules.json");
    let hub = Hub::deviating(tiny_model(), |request| {
        request.path.ends_with("/modules.json").then(|| Reply::new(403, "").header("x-error-code", "GatedRepo"))
    });
    let place = Place::of(&hub);
    fill(&place, COMMIT, &part);
    assert!(matches!(place.find(), Err(Error::Hub { .. })));
}

#[cfg(unix)]
#[test]
fn pickled_weights_in_the_cache_are_refused_with_their_conversion() {
    let mut model = tiny_model();
    model.remove("model.safetensors");
    model.insert("pytorch_model.bin".to_owned(), b"pickle".to_vec());
    let place = Place::new("http://127.0.0.1:9");
    fill(&place, COMMIT, &model);
    let error = place.find_offline().unwrap_err();
    assert!(matches!(error, Error::Model { .. }), "{error:?}");
    assert!(error.to_string().contains("safetensors.torch.save_file("), "{error}");
}

#[test]
fn a_plain_model_is_known_to_have_no_modules() {
    let model =
        files(&[("config.json", b"{}"), ("model.safetensors", &safetensors("weight", 3)), ("tokenizer.json", b"{}")]);
    let hub = Hub::new(model.clone());
    let place = Place::of(&hub);
    assert_holds(&place.find().unwrap(), &model);
    assert!(place.repo().join(".no_exist").join(COMMIT).join("modules.json").is_file());
    hub.api.forget_requests();
    assert_holds(&place.find().unwrap(), &model);
    assert!(hub.api.requests().is_empty());
}

#[test]
fn offline_and_an_own_cache_folder_are_honoured() {
    let hub = Hub::new(tiny_model());
    let mut place = Place::of(&hub);
    let other = tempfile::tempdir().unwrap();
    let options = FindOptions { cache_folder: Some(other.path()), ..place.options() };
    let folder = find(server::REPO, &options, &Watch::new()).unwrap();
    assert!(folder.root().starts_with(other.path()));
    assert_eq!(fs::read_dir(place.cache.path()).unwrap().count(), 0);

    hub.api.forget_requests();
    place.environment.offline = true;
    let message = place.find().unwrap_err().to_string();
    assert!(message.contains("not asked, for HF_HUB_OFFLINE is set"), "{message}");
    place.environment.cache_folder = None;
    let message = place.find().unwrap_err().to_string();
    assert!(message.contains("Hugging Face cache: there is no home folder"), "{message}");
    assert!(hub.api.requests().is_empty());
}

#[test]
fn a_cache_that_cannot_be_written_is_named() {
    let hub = Hub::new(tiny_model());
    let mut place = Place::of(&hub);
    let file = place.cache.path().join("file");
    fs::write(&file, "in the way").unwrap();
    place.environment.cache_folder = Some(file.clone());
    let error = place.find().unwrap_err();
    assert!(matches!(error, Error::Io { .. }) && error.to_string().contains(file.to_str().unwrap()), "{error}");

    let package = tempfile::tempdir().unwrap();
    let packaged = |_: &str| Some(("tiny_package".to_owned(), package.path().to_owned()));
    let options = FindOptions { packaged: &packaged, ..place.options() };
    assert_eq!(find(server::REPO, &options, &Watch::new()).unwrap().root(), package.path());
}
