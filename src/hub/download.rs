//! Downloading what votive reads of a model, into the Hugging Face cache.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::cache::{self, RepoCache};
use super::client::{Client, Failure};
use super::contents::{self, MODULES, ROUTER_FILES, Wanted};
use super::description::README;
use super::gguf_choice::{GgufName, choose};
use super::transfer::Transfer;
use super::watch::DownloadWatch;
use crate::files::{ModelFolder, Origin, all_parts, inside};
use crate::weights::{ADAPTER_FILE, ADAPTER_WEIGHTS, SINGLE, WEIGHT_FILES, is_index, read_index, unsupported};
use crate::{Error, Result};

pub(super) struct Download<'a> {
    client: &'a Client,
    cache: &'a RepoCache,
    wanted: Wanted,
    watch: &'a dyn DownloadWatch,
    commit: String,
    /// The repository's files and their sizes in bytes.
    files: BTreeMap<String, Option<u64>>,
}

impl<'a> Download<'a> {
    /// Asks the hub for the files of `revision`.
    pub(super) fn new(
        client: &'a Client,
        cache: &'a RepoCache,
        revision: &str,
        wanted: Wanted,
        watch: &'a dyn DownloadWatch,
    ) -> Result<Self, Failure> {
        let info = client.info(revision, watch)?;
        if !cache::is_file_name(&info.sha) {
            return Err(client.error(format!("names its commit {:?}", info.sha)).into());
        }
        let files = info.siblings.into_iter().map(|file| (file.name, file.size)).collect();
        Ok(Self { client, cache, wanted, watch, commit: info.sha, files })
    }

    /// Downloads what is missing. `revision` points at the new commit only when all of it is there.
    /// With `asked`, or where there are no weights of another kind, of a GGUF file.
    pub(super) fn run(&self, revision: &str, asked: Option<GgufName>) -> Result<ModelFolder, Failure> {
        let snapshot = self.cache.snapshot(&self.commit);
        let folder = ModelFolder::new(snapshot, Origin::Hub { commit: self.commit.clone() });
        if self.files.contains_key(MODULES) {
            self.fetch(MODULES)?;
            for module in contents::modules(&folder, self.wanted)?.iter().filter(|module| module.is_router()) {
                let names = ROUTER_FILES.map(|name| inside(module.path.trim_end_matches('/'), name));
                if let Some(name) = names.iter().find(|&name| self.files.contains_key(name)) {
                    self.fetch(name)?;
                }
            }
        }
        let modules = contents::modules(&folder, self.wanted)?;
        let folders = contents::folders(&modules);

        let needs_gguf = self.wanted != Wanted::Description && (asked.is_some() || self.weights_in("").is_none());
        let gguf = if needs_gguf { choose(self.names_in(""), asked)? } else { None };
        let parts = gguf.as_deref().map(all_parts).unwrap_or_default();
        if let Some(missing) = parts.iter().find(|&part| !self.files.contains_key(part)) {
            let message = format!("is not in the repository: the model is split into {} files", parts.len());
            return Err(Error::model(missing, message).into());
        }

        // What cannot be loaded in the end is refused before anything large is fetched.
        let mut weight_folders = BTreeSet::new();
        let mut adapters = Vec::new();
        for module in &modules {
            let path = module.path.trim_end_matches('/');
            let has = |name: &str| self.files.contains_key(&inside(path, name));
            if module.is_transformer() && has(ADAPTER_FILE) {
                let Some(weights) = ADAPTER_WEIGHTS.into_iter().find(|name| has(name)) else {
                    let message = format!("the repository has no {} beside it", ADAPTER_WEIGHTS.join(" and no "));
                    return Err(Error::model(inside(path, ADAPTER_FILE), message).into());
                };
                adapters.push(inside(path, weights));
                // What it lacks is the base model's.
                if self.weights_in(path).is_none() {
                    continue;
                }
            }
            // It may say all of it.
            if gguf.is_some() && path.is_empty() {
                continue;
            }
            if module.needs_tokenizer() && !contents::has_tokenizer(has) {
                let message = "the repository has none, and no vocabulary of another kind that votive reads";
                return Err(Error::model(inside(path, "tokenizer.json"), message).into());
            }
            if module.needs_weights() {
                if self.weights_in(path).is_none() {
                    let names: Vec<String> = self.names_in(path).map(str::to_owned).collect();
                    let folder = inside("FOLDER", path);
                    let message = format!(
                        "{}\n(FOLDER is where `hf download {} --local-dir FOLDER` puts the model)",
                        unsupported(&names, Path::new(folder.trim_end_matches('/'))),
                        self.client.repo()
                    );
                    return Err(Error::model(inside(path, SINGLE), message).into());
                }
                weight_folders.insert(path);
            }
        }

        for path in folders {
            let has = |name: &str| self.files.contains_key(&inside(path, name));
            for name in self.names_in(path).filter(|name| contents::is_read(name, has)) {
                self.fetch(&inside(path, name))?;
            }
        }
        if self.files.contains_key(README) && contents::is_quantized(&folder) {
            self.fetch(README)?;
        }
        for adapter in &adapters {
            self.fetch(adapter)?;
        }
        for path in weight_folders {
            self.fetch_weights(&folder, path)?;
        }
        for part in &parts {
            self.fetch(part)?;
        }
        if !self.files.contains_key(MODULES) {
            self.cache.set_known_absent(&self.commit, MODULES)?;
        }
        self.cache.set_commit(revision, &self.commit)?;
        Ok(match gguf {
            Some(gguf) => folder.with_gguf(gguf),
            None => folder,
        })
    }

    /// The names of the files directly in `path`.
    fn names_in(&self, path: &str) -> impl Iterator<Item = &str> {
        self.files.keys().filter_map(move |file| match file.rsplit_once('/') {
            Some((folder, name)) => (folder == path).then_some(name),
            None => path.is_empty().then_some(file.as_str()),
        })
    }

    /// The file by which weights are opened in `path`.
    fn weights_in(&self, path: &str) -> Option<&'static str> {
        WEIGHT_FILES.into_iter().find(|name| self.files.contains_key(&inside(path, name)))
    }

    fn fetch_weights(&self, folder: &ModelFolder, path: &str) -> Result<(), Failure> {
        let Some(name) = self.weights_in(path) else { return Ok(()) };
        let index = inside(path, name);
        self.fetch(&index)?;
        if !is_index(name) {
            return Ok(());
        }
        let Some(index_path) = folder.file(&index)? else {
            return Err(self.client.error(format!("{index} vanished from the cache")).into());
        };
        let weight_map = read_index(&index_path, &index)?;
        for shard in weight_map.values().collect::<BTreeSet<_>>() {
            let file = inside(path, shard);
            // A name that leaves the folder is not in the list either.
            if folder.file(&file).is_err() || !self.files.contains_key(&file) {
                return Err(Error::model(index, format!("names {shard:?}, which the repository does not have")).into());
            }
            self.fetch(&file)?;
        }
        Ok(())
    }

    /// Brings `file` of the list into the snapshot.
    fn fetch(&self, file: &str) -> Result<(), Failure> {
        let listed = self.files.get(file).copied().flatten();
        let name = file.rsplit('/').next().unwrap_or(file);
        if let (Some(bytes), Some(most)) = (listed, contents::most_bytes(name))
            && bytes > most
        {
            return Err(Error::model(file, format!("is {bytes} bytes long; at most {most} are read")).into());
        }
        Transfer { client: self.client, cache: self.cache, watch: self.watch, commit: &self.commit, file, listed }.run()
    }
}
