//! What is said of a folder without weights that votive reads.

use std::fs;
use std::path::Path;

use super::index::{SINGLE, WEIGHT_FILES};
use super::pytorch;
use crate::Error;
use crate::files::{ModelFolder, inside};

/// Says what is there instead of weights, and what to do about it.
pub(super) fn no_weights(folder: &ModelFolder, subfolder: &str) -> Error {
    let path = folder.root().join(subfolder);
    let mut names: Vec<String> = fs::read_dir(&path)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect();
    names.sort_unstable();
    Error::model(inside(subfolder, SINGLE), unsupported(&names, &path))
}

/// What to say of a folder whose files, `names`, hold no weights that votive reads. `place` is where a user would convert them.
pub(crate) fn unsupported(names: &[String], place: &Path) -> String {
    const PICKLED: [&str; 4] = [".bin", ".pt", ".pth", ".ckpt"];
    const OTHERS: [&str; 6] = [".safetensors", ".h5", ".msgpack", ".onnx", ".ot", ".gguf"];
    let ends_with = |endings: &[&str], name: &str| endings.iter().any(|ending| name.ends_with(ending));
    let pickled: Vec<&str> = names.iter().map(String::as_str).filter(|name| ends_with(&PICKLED, name)).collect();
    let others: Vec<&str> = names.iter().map(String::as_str).filter(|name| ends_with(&OTHERS, name)).collect();
    let [.., bin, _] = WEIGHT_FILES;
    if let Some(first) = pickled.first() {
        format!("not there, nor {bin}, only {}. {}", pickled.join(", "), pytorch::conversion(&place.join(first)))
    } else if others.is_empty() {
        // The files' names last: of a path that is too long the middle is left out.
        format!("not there: {} holds no weights at all, neither {SINGLE} nor {bin}", place.display())
    } else {
        format!("not there, nor {bin}, only {}; votive reads safetensors and {bin}", others.join(", "))
    }
}
