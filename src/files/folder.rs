//! A model's folder, wherever it came from.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use crate::{Error, Result};

/// Where a model's files were found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// A folder that the caller named.
    Folder,
    /// The Hugging Face cache, at this commit.
    Cache { commit: String },
    /// Just downloaded from the hub, at this commit.
    Hub { commit: String },
    /// An installed Python package that carries the model.
    Package { name: String },
}

/// The files of one model. Every path is relative to the folder and cannot leave it.
#[derive(Debug, Clone)]
pub struct ModelFolder {
    root: PathBuf,
    origin: Origin,
    /// Files that the folder lacks and are read elsewhere, by where they would be: those of a model that an adapter changes.
    borrowed: BTreeMap<String, PathBuf>,
    /// The model whose files say how vectors are made, where the folder lacks those.
    described_by: Option<String>,
}

impl ModelFolder {
    pub fn new(root: PathBuf, origin: Origin) -> Self {
        Self { root, origin, borrowed: BTreeMap::new(), described_by: None }
    }

    /// The same folder with `borrowed` files, by where they would be, for those that it lacks.
    pub(crate) fn with_borrowed(mut self, borrowed: impl IntoIterator<Item = (String, PathBuf)>) -> Self {
        self.borrowed.extend(borrowed);
        self
    }

    /// The same folder, which says that its description is of the model of this name.
    pub(crate) fn described_by(self, name: String) -> Self {
        Self { described_by: Some(name), ..self }
    }

    /// The model whose files say how vectors are made, where the folder lacks those.
    pub fn description_of(&self) -> Option<&str> {
        self.described_by.as_deref()
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// The path of `relative` ("config.json", "1_Pooling/config.json") if there is such a file.
    pub fn file(&self, relative: &str) -> Result<Option<PathBuf>> {
        let inside =
            Path::new(relative).components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
        if !inside {
            return Err(Error::model(relative, "names a file outside the model's folder"));
        }
        let path = self.root.join(relative);
        Ok(if path.is_file() { Some(path) } else { self.borrowed.get(relative).cloned() })
    }
}

/// `name` in the subfolder `path` of a model, relative to the model's folder; "" is that folder itself.
pub(crate) fn inside(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{}/{name}", path.trim_end_matches('/')) }
}
