use votive::files::Origin;

use crate::server::{COMMIT, Hub, Reply, list, ranged};
use crate::*;

/// The message of looking for `model` on a hub, after making sure that nothing was written beside the cache.
fn refused(hub: &Hub) -> String {
    let mut place = Place::of(hub);
    let inner = place.cache.path().join("a/b/c");
    place.environment.cache_folder = Some(inner.clone());
    let message = place.find().unwrap_err().to_string();
    let written = count_files(place.cache.path());
    let allowed = if inner.is_dir() { count_files(&inner) } else { 0 };
    assert_eq!(written, allowed, "something was written outside the cache");
    message
}

fn with_modules(modules: &str) -> Hub {
    let mut model = tiny_model();
    model.insert("modules.json".to_owned(), modules.as_bytes().to_vec());
    model.insert("../../../../evil/config.json".to_owned(), b"{}".to_vec());
    Hub::new(model)
}

#[test]
fn modules_outside_the_folder_are_refused() {
    for path in ["../../../../evil", "/etc", "1_Pooling/../../evil"] {
        let message = refused(&with_modules(&format!(r#"[{{"path":"{path}","type":"a.Pooling"}}]"#)));
        assert!(message.starts_with("modules.json: names \"") && message.contains("outside the model's folder"));
    }
}

#[test]
fn unreadable_modules_are_refused() {
    for modules in ["", "{}", "[1]", "[{\"path\":\"\"}]", &"[".repeat(1_000_000)] {
        let message = refused(&with_modules(modules));
        assert!(message.starts_with("modules.json: unreadable"), "{message}");
    }
}

#[test]
fn listed_files_outside_the_folder_are_not_fetched() {
    let mut model = tiny_model();
    for name in ["../config.json", "/config.json", "..\\config.json", "1_Pooling/../../config.json"] {
        model.insert(name.to_owned(), b"{}".to_vec());
    }
    let hub = Hub::new(model);
    let place = Place::of(&hub);
    assert_holds(&place.find().unwrap(), &tiny_model());
}

#[test]
fn an_index_that_names_other_files_is_refused() {
    for shard in ["../../../../evil.safetensors", "/etc/passwd", "missing.safetensors"] {
        let mut model = tiny_model();
        model.remove("model.safetensors");
        model.insert("../../../../evil.safetensors".to_owned(), safetensors("a", 1));
        let index = format!(r#"{{"weight_map":{{"a":"{shard}"}}}}"#);
        model.insert("model.safetensors.index.json".to_owned(), index.into_bytes());
        let message = refused(&Hub::new(model));
        assert!(message.starts_with("model.safetensors.index.json: names"), "{message}");
    }
}

#[test]
fn names_that_lead_elsewhere_are_refused() {
    for etag in ["\"../../../../evil\"", "\"..\"", "\"\"", "\"a/b\"", "\".hidden\""] {
        let hub = Hub::deviating(tiny_model(), move |request| {
            request.path.starts_with("/cdn/").then(|| ranged(request, b"evil").header("x-linked-etag", etag))
        });
        let message = refused(&hub);
        assert!(message.contains("model.safetensors has the unusable etag"), "{message}");
    }
    for commit in ["../../../evil", "", "a/b"] {
        let hub = Hub::deviating(tiny_model(), move |request| {
            let info = list(&tiny_model()).replace(COMMIT, commit);
            request.path.starts_with("/api/").then(|| Reply::new(200, info))
        });
        let message = refused(&hub);
        assert!(message.contains("names its commit"), "{message}");
    }
}

#[test]
fn unreadable_file_lists_are_refused() {
    for info in ["", "[]", "<html>", "{\"siblings\":[]}", &"[".repeat(1_000_000)] {
        let info = info.to_owned();
        let hub = Hub::deviating(tiny_model(), move |request| {
            request.path.starts_with("/api/").then(|| Reply::new(200, info.clone()))
        });
        let message = refused(&hub);
        assert!(message.contains("unreadable file list"), "{message}");
    }
}

#[test]
fn endless_redirects_and_redirects_to_nowhere_end() {
    let around = Hub::deviating(tiny_model(), |_| Some(Reply::new(302, "").header("location", "/api/again")));
    let message = refused(&around);
    assert!(message.contains("redirects more than 10 times"), "{message}");
    let nowhere = Hub::deviating(tiny_model(), |_| Some(Reply::new(302, "")));
    let message = refused(&nowhere);
    assert!(message.contains("redirects to nowhere"), "{message}");
    for location in ["http://", "not a url://x", "file:///etc/passwd"] {
        let odd = Hub::deviating(tiny_model(), move |_| Some(Reply::new(302, "").header("location", location)));
        let message = refused(&odd);
        assert!(message.contains("could not be reached"), "{message}");
    }
}

#[test]
fn a_part_that_is_too_long_is_started_anew() {
    let hub = Hub::new(tiny_model());
    let place = Place::of(&hub);
    let model = tiny_model();
    let partial = place.repo().join("blobs").join(format!("{}.incomplete", server::etag(&model["config.json"])));
    fs::create_dir_all(partial.parent().unwrap()).unwrap();
    fs::write(partial, [0; 10_000]).unwrap();
    let folder = place.find().unwrap();
    assert_holds(&folder, &model);
    assert_eq!(*folder.origin(), Origin::Hub { commit: COMMIT.to_owned() });
}
