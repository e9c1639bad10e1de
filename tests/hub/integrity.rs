//! That the cache holds what the hub names, and that nothing is read or written that somebody else put there.

use std::fs::File;
use std::process::Command;
use std::sync::mpsc;
use std::thread;

use crate::server::{COMMIT, Files, Hub, Reply, etag, list, ranged};
use crate::*;

/// A hub that serves `file` with one bit turned.
fn damaging(file: &'static str) -> Hub {
    let mut content = tiny_model()[file].clone();
    *content.last_mut().unwrap() ^= 1;
    let ends = move |request: &server::Request| request.path.ends_with(file) && !request.path.contains("resolve");
    Hub::deviating(tiny_model(), move |request| ends(request).then(|| ranged(request, &content)))
}

#[test]
fn bytes_that_the_hub_does_not_name_are_never_used() {
    for (file, kind) in [("model.safetensors", "SHA-256"), ("tokenizer.json", "git hash")] {
        let (hub, honest) = (damaging(file), Hub::new(tiny_model()));
        let mut place = Place::of(&hub);
        for _ in 0..2 {
            let error = place.find().unwrap_err();
            assert!(matches!(error, Error::Hub { .. }), "{error:?}");
            let (message, name) = (error.to_string(), etag(&tiny_model()[file]));
            assert!(message.contains(&format!("{file} has the {kind} ")), "{message}");
            assert!(message.contains(&format!("the hub names it {name}")), "{message}");
            assert!(place.names("blobs").iter().all(|blob| !blob.starts_with(&name)), "{:?}", place.names("blobs"));
            assert!(place.find_offline().is_err());
        }
        place.environment.endpoint = honest.api.url();
        assert_holds(&place.find().unwrap(), &tiny_model());
    }
}

#[test]
fn a_part_that_is_no_beginning_of_the_file_is_discarded() {
    let hub = Hub::new(tiny_model());
    let model = tiny_model();
    for (file, bytes) in [("model.safetensors", 1000), ("model.safetensors", 400_000), ("config.json", 5)] {
        let place = Place::of(&hub);
        let partial = place.repo().join("blobs").join(format!("{}.incomplete", etag(&model[file])));
        fs::create_dir_all(partial.parent().unwrap()).unwrap();
        fs::write(&partial, vec![b'x'; bytes]).unwrap();
        let message = place.find().unwrap_err().to_string();
        assert!(message.contains("the next call downloads it anew") && !partial.exists(), "{message}");
        assert_holds(&place.find().unwrap(), &model);
    }
}

#[test]
fn hubs_that_name_files_otherwise_are_believed() {
    let hub = Hub::deviating(tiny_model(), |request| {
        let name = request.path.strip_prefix("/small/")?;
        Some(ranged(request, &tiny_model()[name]))
    });
    let model = tiny_model();
    let named = Hub::deviating(model.clone(), move |request| {
        let name = request.path.strip_prefix(&format!("/{}/resolve/{COMMIT}/", server::REPO))?.to_owned();
        Some(ranged(request, &model[&name]).header("etag", format!("W/\"mirror-{}\"", name.replace('/', "-"))))
    });
    for hub in [hub, named] {
        assert_holds(&Place::of(&hub).find().unwrap(), &tiny_model());
    }
}

#[cfg(unix)]
#[test]
fn what_is_planted_in_the_cache_is_not_written_through() {
    use std::os::unix::fs::symlink;

    let model = tiny_model();
    let name = etag(&model["model.safetensors"]);
    let victims = tempfile::tempdir().unwrap();
    let victim = victims.path().join("victim");
    let plant = |place: &Place, path: &str, hard: bool| {
        fs::write(&victim, "mine").unwrap();
        let path = place.repo().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        if hard { fs::hard_link(&victim, &path) } else { symlink(&victim, &path) }.unwrap();
    };
    let hub = Hub::new(model.clone());
    for path in [
        format!("blobs/{name}.incomplete"),
        format!("blobs/{name}.link"),
        "refs/main".to_owned(),
        format!("refs/main.{}.tmp", std::process::id()),
        format!("snapshots/{COMMIT}/model.safetensors"),
        format!("blobs/{name}"),
    ] {
        for hard in [false, true] {
            let place = Place::of(&hub);
            plant(&place, &path, hard);
            assert_holds(&place.find().unwrap(), &model);
            assert_eq!(fs::read_to_string(&victim).unwrap(), "mine", "{path}");
        }
    }

    // What has to have a name that everybody knows is refused.
    for path in [format!("../.locks/models--ada--tiny/{name}.lock"), format!("snapshots/{COMMIT}/1_Pooling")] {
        let place = Place::of(&hub);
        plant(&place, &path, false);
        fs::remove_file(&victim).unwrap();
        let error = place.find().unwrap_err();
        assert!(matches!(error, Error::Io { .. }), "{path}: {error:?}");
        assert!(!victim.exists(), "{path}");
    }
    let place = Place::of(&hub);
    plant(&place, &format!("snapshots/{COMMIT}/1_Pooling"), false);
    fs::remove_file(&victim).unwrap();
    fs::create_dir(&victim).unwrap();
    let message = place.find().unwrap_err().to_string();
    assert!(message.contains("is a link, not a folder"), "{message}");
    assert_eq!(count_files(&victim), 0);
}

#[cfg(unix)]
#[test]
fn files_in_the_cache_are_as_readable_as_others() {
    use std::os::unix::fs::PermissionsExt;

    let hub = Hub::new(tiny_model());
    let place = Place::of(&hub);
    place.find().unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode();
    let usual = place.cache.path().join("usual");
    File::create(&usual).unwrap();
    assert_eq!(mode(&place.repo().join("refs/main")), mode(&usual));
    let blob = place.repo().join("blobs").join(etag(&tiny_model()["config.json"]));
    assert_eq!(mode(&blob), mode(&usual));
}

#[cfg(unix)]
#[test]
fn pipes_are_not_waited_for() {
    let name = etag(&tiny_model()["model.safetensors"]);
    for path in [
        "refs/main".to_owned(),
        format!("blobs/{name}.incomplete"),
        format!("blobs/{name}"),
        format!("../.locks/models--ada--tiny/{name}.lock"),
        format!("snapshots/{COMMIT}/modules.json"),
        format!("snapshots/{COMMIT}/model.safetensors"),
        format!(".no_exist/{COMMIT}/modules.json"),
    ] {
        let (send, receive) = mpsc::channel();
        let looked = path.clone();
        // On a thread of its own: should it wait, the test is not to.
        thread::spawn(move || {
            let hub = Hub::new(tiny_model());
            let place = Place::of(&hub);
            let pipe = place.repo().join(&looked);
            fs::create_dir_all(pipe.parent().unwrap()).unwrap();
            assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
            fs::create_dir_all(place.repo().join("snapshots").join(COMMIT)).unwrap();
            let found = [place.find_offline(), place.find(), place.find_revision(COMMIT)];
            send.send(found.map(|found| found.map(|_| ()).map_err(|error| error.to_string()))).unwrap();
        });
        let found = receive.recv_timeout(Duration::from_secs(60)).unwrap_or_else(|_| panic!("{path} is waited for"));
        let refused = path.ends_with(".lock");
        assert_eq!(found[1].is_err(), refused, "{path}: {found:?}");
    }
}

#[test]
fn files_beyond_all_size_are_refused_before_they_are_fetched() {
    for (file, most) in
        [("tokenizer.json", "268435456"), ("config.json", "16777216"), ("1_Pooling/config.json", "16777216")]
    {
        let hub = Hub::deviating(tiny_model(), move |request| {
            let listed = |content: &[u8]| format!(r#"{{"rfilename":{file:?},"blobId":"-","size":{}"#, content.len());
            let huge = format!(r#"{{"rfilename":{file:?},"size":999999999"#);
            let info = list(&tiny_model()).replace(&listed(&tiny_model()[file]), &huge);
            request.path.starts_with("/api/").then(|| Reply::new(200, info))
        });
        let message = Place::of(&hub).find().unwrap_err().to_string();
        assert_eq!(message, format!("{file}: is 999999999 bytes long; at most {most} are read"));
        assert!(!hub.asked_files().contains(&file.to_owned()));
    }
}

#[cfg(unix)]
#[test]
fn files_beyond_all_size_in_the_cache_are_refused_before_they_are_read() {
    let hub = Hub::new(Files::new());
    let place = Place::of(&hub);
    let snapshot = place.repo().join("snapshots").join(COMMIT);
    fs::create_dir_all(&snapshot).unwrap();
    // A file of holes: read, it would need all of the memory.
    File::create(snapshot.join("modules.json")).unwrap().set_len(1 << 40).unwrap();
    let message = place.find_revision(COMMIT).unwrap_err().to_string();
    assert!(message.contains("modules.json: is 1099511627776 bytes long; at most 16777216 are read"), "{message}");
}
