//! The model that an adapter changes: where the adapter's folder does not hold it, its files are read where they are.

use std::path::{Path, PathBuf};

use super::contents::{self, CONFIG, Wanted};
use crate::files::{ModelFolder, inside};
use crate::weights::{ADAPTER_FILE, AdapterConfig, WEIGHT_FILES};
use crate::{Error, Result};

/// `folder` with what its adapters lack: configuration, weights and tokenizer of the models that they name. `find` finds the
/// network of a model by its name and revision.
pub(super) fn with_bases(
    folder: ModelFolder,
    find: impl Fn(&str, Option<&str>) -> Result<ModelFolder>,
) -> Result<ModelFolder> {
    // What is wrong with modules.json, loading says.
    let Ok(modules) = contents::modules(&folder, Wanted::Model) else { return Ok(folder) };
    let mut borrowed = Vec::new();
    for module in modules.iter().filter(|module| module.is_transformer()) {
        let path = module.path.trim_end_matches('/');
        let has = |name: &str| matches!(folder.file(&inside(path, name)), Ok(Some(_)));
        let is_whole = has(CONFIG) && WEIGHT_FILES.into_iter().any(has);
        if is_whole || !has(ADAPTER_FILE) {
            continue;
        }
        let Some(adapter) = AdapterConfig::read(&folder, path)? else { continue };
        let file = inside(path, ADAPTER_FILE);
        let Some(name) = adapter.base else {
            let message = "missing, and the base model's config.json and weights are not beside the adapter";
            return Err(Error::model_key(file, "base_model_name_or_path", message));
        };
        // As transformers does, and then as whoever moves both folders expects.
        let beside = folder.root().join(path).join(&name);
        let base = match !Path::new(&name).is_dir() && beside.is_dir() {
            true => find(&beside.display().to_string(), None),
            false => find(&name, adapter.base_revision.as_deref()),
        };
        let base = base.map_err(|error| missing(&file, &name, error))?;
        if base.file(ADAPTER_FILE)?.is_some() {
            let message =
                format!("{name:?} is an adapter itself, which is not supported: merge it into its base model first");
            return Err(Error::model_key(file, "base_model_name_or_path", message));
        }
        let of_base = files_of(&base, !contents::has_tokenizer(has))?;
        borrowed.extend(of_base.into_iter().map(|(name, found)| (inside(path, &name), found)));
    }
    Ok(folder.with_borrowed(borrowed))
}

/// The files of a base model that an adapter's folder lacks, and where they are.
fn files_of(base: &ModelFolder, with_tokenizer: bool) -> Result<Vec<(String, PathBuf)>> {
    let mut names = vec![CONFIG.to_owned()];
    names.extend(contents::weights_in(base, "")?);
    if with_tokenizer {
        let entries = base.root().read_dir().map_err(|source| Error::io(base.root(), source))?;
        let there = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
        let has = |name: &str| matches!(base.file(name), Ok(Some(_)));
        names.extend(there.filter(|name| contents::is_of_tokenizer(name, has)));
    }
    let found = names.into_iter().map(|name| Ok(base.file(&name)?.map(|path| (name, path))));
    found.filter_map(Result::transpose).collect()
}

/// That the base model was not found, and what to do.
fn missing(file: &str, name: &str, error: Error) -> Error {
    match error {
        Error::NotFound { message } | Error::Argument { message, .. } => Error::NotFound {
            message: format!(
                "{file}: base_model_name_or_path: {name:?}, the model that the adapter changes, is needed as well: {message}\n\
                 Write there where its folder is, or put its config.json and weights beside the adapter."
            ),
        },
        other => other,
    }
}
