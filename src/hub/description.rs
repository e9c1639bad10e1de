//! What quantized checkpoints lack beside their weights: the files that say how the vectors of tokens become one. Converters of
//! MLX copy none of them, or modules.json without the files that it names.
//!
//! ```text
//! base = the argument, else `base_model` in the front matter of README.md, where modules.json or what it names is missing
//! what the folder lacks of these is read in the base model's: modules.json, config_sentence_transformers.json,
//! the Transformer's own file (sentence_bert_config.json), the folders of the other modules
//! a base model that cannot be had: its pooling and normalization, where `known_models` has them, and a warning
//! ```

use std::path::PathBuf;

use serde_json::{Map, Value, json};

use super::contents::{self, CONFIG, MODULES, Wanted};
use super::known_models::{KnownModel, known};
use crate::files::{MAX_JSON_BYTES, ModelFolder, inside, read_file};
use crate::{Error, Result};

/// Where a quantized model's card names what it was made from.
pub(super) const README: &str = "README.md";

/// `folder` with what it lacks of the files of `given`, or of the base model that its README names. `find` finds such a model.
pub(super) fn with_description(
    folder: ModelFolder,
    given: Option<&str>,
    find: impl Fn(&str) -> Result<ModelFolder>,
) -> Result<ModelFolder> {
    if given.is_none() && !contents::is_quantized(&folder) {
        return Ok(folder);
    }
    let missing = missing(&folder)?;
    let (name, found) = match (given, &missing) {
        (Some(name), _) => (name.to_owned(), find(name)),
        (None, Some(missing)) => match named_in_readme(&folder)? {
            Some(name) => {
                let found = find(&name);
                (name, found)
            }
            None => return undescribed(folder, missing),
        },
        (None, None) => return Ok(folder),
    };
    let error = match found {
        Ok(base) => return Ok(folder.with_borrowed(files_of(&base)?).described_by(name)),
        Err(error) => error,
    };
    let is_absent = given.is_none() || matches!(error, Error::NotFound { .. });
    if let Some(missing) = &missing
        && let Some(model) = known(&name).filter(|_| is_absent)
        && let Some(made) = described_as(&folder, missing, model)?
    {
        let source = if given.is_some() { "base=" } else { "its README.md" };
        let normalized = if model.is_normalized { " with" } else { ", without" };
        let note = format!(
            "does not say how vectors are made, and {name:?}, which {source} names, cannot be had: {} pooling is taken{normalized} \
             normalization, as is known of that model, and no prompts",
            model.pooling
        );
        return Ok(folder.with_made(made).with_notes([note]));
    }
    match (error, missing) {
        (_, Some(missing)) if given.is_none() => undescribed(folder, &missing),
        (Error::NotFound { message } | Error::Argument { message, .. }, _) => Err(Error::argument("base", message)),
        (other, _) => Err(other),
    }
}

/// What a quantized model is without the file that is `missing`, and without a base model that has it.
fn undescribed(folder: ModelFolder, missing: &str) -> Result<ModelFolder> {
    // Without it, config.json alone says what there is.
    if missing == MODULES {
        return Ok(folder);
    }
    let message = "is not there, though modules.json names it: base=\"owner/name\" names the model that this one was quantized from, \
                   whose file is taken";
    Err(Error::model(missing, message))
}

/// Contents of files by their names.
type MadeFiles = Vec<(String, Vec<u8>)>;

/// The files that the model lacks, as far as what is known of its base model makes them: modules.json and its Pooling, or this alone.
/// None where that is not enough.
fn described_as(folder: &ModelFolder, missing: &str, model: KnownModel) -> Result<Option<MadeFiles>> {
    let Some(config) = folder.read(CONFIG, MAX_JSON_BYTES)? else { return Ok(None) };
    let config: Map<String, Value> = serde_json::from_slice(&config).unwrap_or_default();
    let Some(width) = ["hidden_size", "n_embd"].iter().find_map(|key| config.get(*key)) else { return Ok(None) };
    let pooling = json!({"embedding_dimension": width, "pooling_mode": model.pooling}).to_string().into_bytes();
    if missing != MODULES {
        let modules = contents::modules(folder, Wanted::Description)?;
        let is_pooling = modules.iter().any(|module| module.is_pooling() && inside(&module.path, CONFIG) == missing);
        return Ok(is_pooling.then(|| vec![(missing.to_owned(), pooling)]));
    }
    let kinds = [("", "Transformer"), ("1_Pooling", "Pooling"), ("2_Normalize", "Normalize")];
    let modules: Vec<Value> = kinds[..if model.is_normalized { 3 } else { 2 }]
        .iter()
        .map(|(path, class)| json!({"path": path, "type": format!("sentence_transformers.models.{class}")}))
        .collect();
    let modules = Value::from(modules).to_string().into_bytes();
    Ok(Some(vec![(MODULES.to_owned(), modules), (inside("1_Pooling", CONFIG), pooling)]))
}

/// The first file that is needed to know how vectors are made, and is not there.
fn missing(folder: &ModelFolder) -> Result<Option<String>> {
    if folder.file(MODULES)?.is_none() {
        return Ok(Some(MODULES.to_owned()));
    }
    for module in contents::modules(folder, Wanted::Description)? {
        let name = inside(&module.path, CONFIG);
        if module.needs_config() && folder.file(&name)?.is_none() {
            return Ok(Some(name));
        }
    }
    Ok(None)
}

/// The `base_model` of the front matter: YAML between two lines of three dashes.
fn named_in_readme(folder: &ModelFolder) -> Result<Option<String>> {
    let Some(path) = folder.file(README)? else { return Ok(None) };
    let text = read_file(&path, README, MAX_JSON_BYTES)?;
    let text = String::from_utf8_lossy(&text);
    let mut lines = text.lines().map(str::trim_end);
    if lines.next() != Some("---") {
        return Ok(None);
    }
    let mut lines = lines.take_while(|line| *line != "---").skip_while(|line| !line.starts_with("base_model:"));
    let value = lines.next().and_then(|line| line.strip_prefix("base_model:")).map(str::trim);
    // A list has its items on the lines behind.
    let value = match value {
        Some("") => lines.next().and_then(|line| line.trim_start().strip_prefix('-')).map(str::trim),
        value => value.map(|value| value.trim_start_matches('[').trim_end_matches(']')),
    };
    let name = value.map(|value| value.trim_matches(['"', '\'']).to_owned());
    Ok(name.filter(|name| !name.is_empty() && !name.contains(',')))
}

/// The files of a base model that say how vectors are made, and where they are.
fn files_of(base: &ModelFolder) -> Result<Vec<(String, PathBuf)>> {
    let modules = contents::modules(base, Wanted::Description)?;
    let mut found = Vec::new();
    for path in contents::folders(&modules) {
        // A module may have none.
        for name in base.names(path) {
            // In the root, config.json, tokenizer and weights are those of the network, which is here.
            if !path.is_empty() || contents::is_description(&name) {
                let name = inside(path, &name);
                found.extend(base.file(&name)?.map(|path| (name, path)));
            }
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use tempfile::TempDir;

    use super::*;
    use crate::files::Origin;

    fn folder(files: &[(&str, &str)]) -> (TempDir, ModelFolder) {
        let root = TempDir::new().unwrap();
        for (name, text) in files {
            let path = root.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let folder = ModelFolder::new(root.path().to_owned(), Origin::Folder);
        (root, folder)
    }

    #[test]
    fn a_readme_names_its_base() {
        for (text, expected) in [
            ("---\nlicense: mit\nbase_model: owner/name\ntags:\n- mlx\n---\n# x", Some("owner/name")),
            ("---\nbase_model: \"owner/name\"\n---\n", Some("owner/name")),
            ("---\nbase_model:\n- owner/name\n- other/name\n---\n", Some("owner/name")),
            ("---\nbase_model:\n  - 'owner/name'\n---\n", Some("owner/name")),
            ("---\nbase_model: [owner/name]\n---\n", Some("owner/name")),
            ("---\ntags:\n- mlx\n---\nbase_model: owner/name\n", None),
            ("base_model: owner/name\n", None),
            ("---\nbase_model:\n---\n", None),
            ("---\nbase_model_relation: quantized\n---\n", None),
            ("", None),
        ] {
            let (_root, folder) = folder(&[(README, text)]);
            assert_eq!(named_in_readme(&folder).unwrap().as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn a_folder_that_cannot_be_is_one_without_files() {
        let name = "a".repeat(300);
        let modules = format!(r#"[{{"path": "{name}", "type": "sentence_transformers.models.Pooling"}}]"#);
        let (_root, base) = folder(&[(MODULES, &modules)]);
        let found = files_of(&base).unwrap();
        assert_eq!(found.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), [MODULES]);
    }
}
