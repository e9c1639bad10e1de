//! What quantized checkpoints lack beside their weights: the files that say how the vectors of tokens become one. Converters of
//! MLX copy none of them, or modules.json without the files that it names.
//!
//! ```text
//! base = the argument, else `base_model` in the front matter of README.md, where modules.json or what it names is missing
//! what the folder lacks of these is read in the base model's: modules.json, config_sentence_transformers.json,
//! the Transformer's own file (sentence_bert_config.json), the folders of the other modules
//! ```

use std::io;
use std::path::PathBuf;

use super::contents::{self, CONFIG, MODULES, Wanted};
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
    let (name, base) = match given {
        Some(name) => find(name).map(|base| (name.to_owned(), base)).map_err(|error| match error {
            Error::NotFound { message } | Error::Argument { message, .. } => Error::argument("base", message),
            other => other,
        })?,
        None => {
            if !contents::is_quantized(&folder) {
                return Ok(folder);
            }
            let Some(missing) = missing(&folder)? else { return Ok(folder) };
            let named = named_in_readme(&folder)?;
            match named.and_then(|name| find(&name).ok().map(|base| (name, base))) {
                Some(found) => found,
                // Without it, config.json alone says what there is.
                None if missing == MODULES => return Ok(folder),
                None => {
                    let message = "is not there, though modules.json names it: base=\"owner/name\" names the model that this one was \
                                   quantized from, whose file is taken";
                    return Err(Error::model(missing, message));
                }
            }
        }
    };
    let borrowed = files_of(&base)?;
    Ok(folder.with_borrowed(borrowed).described_by(name))
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
        let folder = base.root().join(path);
        let entries = match folder.read_dir() {
            Ok(entries) => entries,
            // A module without files, of which none is kept by a hub.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(source) => return Err(Error::io(&folder, source)),
        };
        for name in entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()) {
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
}
