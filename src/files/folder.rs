//! A model's folder, wherever it came from.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};

use super::read::read_file;
use super::split_name::{GGUF_ENDING, all_parts, first_part};
use crate::memory::owned;
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

impl Origin {
    /// Its kind, and the commit or the package.
    pub fn parts(&self) -> (&'static str, Option<&str>) {
        match self {
            Self::Folder => ("folder", None),
            Self::Cache { commit } => ("cache", Some(commit)),
            Self::Hub { commit } => ("hub", Some(commit)),
            Self::Package { name } => ("package", Some(name)),
        }
    }
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
    /// The GGUF file that the weights are in, where one was named.
    gguf: Option<String>,
    /// Contents of files that the folder lacks, made of what its GGUF file says.
    made: BTreeMap<String, Vec<u8>>,
    /// What was put in the place of something that its files say, for warnings.
    notes: Vec<String>,
}

impl ModelFolder {
    pub fn new(root: PathBuf, origin: Origin) -> Self {
        let (borrowed, made) = (BTreeMap::new(), BTreeMap::new());
        Self { root, origin, borrowed, described_by: None, gguf: None, made, notes: Vec::new() }
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

    /// The same folder with its weights in the GGUF file of this name.
    pub(crate) fn with_gguf(self, name: String) -> Self {
        Self { gguf: Some(name), ..self }
    }

    /// The same folder with contents for files that it lacks.
    pub(crate) fn with_made(mut self, made: impl IntoIterator<Item = (String, Vec<u8>)>) -> Self {
        self.made.extend(made);
        self
    }

    /// The same folder, which says what was put in the place of something that its files say.
    pub(crate) fn with_notes(mut self, notes: impl IntoIterator<Item = String>) -> Self {
        self.notes.extend(notes);
        self
    }

    /// What was put in the place of something that its files say, a sentence each that goes on from the model's name.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// The same folder without the contents that were made for a file: nobody needs them any more.
    pub(crate) fn forget(&mut self, relative: &str) {
        self.made.remove(relative);
    }

    /// What was made of a GGUF file's words for the file `relative`, which the folder lacks.
    pub fn made(&self, relative: &str) -> Option<&[u8]> {
        self.made.get(relative).map(Vec::as_slice)
    }

    /// Whether the weights in the subfolder `path` are in a GGUF file that was named, whatever others there are.
    pub(crate) fn names_gguf(&self, path: &str) -> bool {
        self.gguf.is_some() && path.is_empty()
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

    /// Whether there is such a file, or contents for it.
    pub fn has(&self, relative: &str) -> Result<bool> {
        Ok(self.file(relative)?.is_some() || self.made.contains_key(relative))
    }

    /// Names of the files in the subfolder `path`, and of those that it lacks and that are found elsewhere or made.
    pub(crate) fn names(&self, path: &str) -> BTreeSet<String> {
        let entries = self.root.join(path).read_dir().into_iter().flatten().flatten();
        let elsewhere = self.borrowed.keys().chain(self.made.keys()).filter_map(|file| {
            let (folder, name) = file.rsplit_once('/').unwrap_or(("", file));
            (folder == path).then(|| name.to_owned())
        });
        entries.filter_map(|entry| entry.file_name().into_string().ok()).chain(elsewhere).collect()
    }

    /// What is in the file `relative`, of at most so many bytes; None if there is no such file.
    pub(crate) fn read(&self, relative: &str, most: u64) -> Result<Option<Vec<u8>>> {
        match (self.file(relative)?, self.made.get(relative)) {
            (Some(path), _) => read_file(&path, relative, most).map(Some),
            (None, Some(made)) => owned(made.as_slice().into(), || relative.to_owned()).map(Some),
            (None, None) => Ok(None),
        }
    }

    /// The GGUF file in the subfolder `path`, by its name relative to the folder: the one that was named, or the only one. Of one that
    /// is split, all parts in their order; of none, none.
    ///
    /// # Errors
    /// [`Error::Model`] where there are several, or where a part is missing.
    pub(crate) fn gguf(&self, path: &str) -> Result<Vec<(String, PathBuf)>> {
        let names = match &self.gguf {
            Some(name) if path.is_empty() => vec![name.clone()],
            Some(_) => Vec::new(),
            None => self.gguf_files(path),
        };
        let name = match &names[..] {
            [] => return Ok(Vec::new()),
            [name] => name,
            several => {
                let message = format!(
                    "are several files of weights; gguf_file= names one of them, as does its path in the place of the model\'s \
                     name: {}",
                    several.join(", ")
                );
                return Err(Error::model(inside(path, "*.gguf"), message));
            }
        };
        let names = all_parts(name);
        let parts = names.len();
        let mut found = Vec::new();
        for name in names {
            let name = inside(path, &name);
            match self.file(&name)? {
                Some(file) => found.push((name, file)),
                None if parts == 1 => {}
                None => return Err(Error::model(name, format!("is not there: the model is split into {parts} files"))),
            }
        }
        Ok(found)
    }

    /// Names of the GGUF files in the subfolder `path`, of each that is split that of the first part.
    fn gguf_files(&self, path: &str) -> Vec<String> {
        let names = self.names(path).into_iter().filter(|name| name.ends_with(GGUF_ENDING));
        names.map(|name| first_part(&name)).collect::<BTreeSet<_>>().into_iter().collect()
    }
}

/// `name` in the subfolder `path` of a model, relative to the model's folder; "" is that folder itself.
pub(crate) fn inside(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{}/{name}", path.trim_end_matches('/')) }
}
