//! Where a model comes from: a folder, the Hugging Face cache, a download, an installed package.

use std::ffi::OsStr;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use super::base::with_bases;
use super::cache::RepoCache;
use super::client::{Client, Failure};
use super::contents::{self, MODULES, Wanted};
use super::description::with_description;
use super::download::Download;
use super::environment::HubEnvironment;
use super::gguf_choice::{GgufName, choose};
use super::network::HttpAgents;
use super::secret::Token;
use super::watch::DownloadWatch;
use crate::files::{GGUF_ENDING, ModelFolder, Origin, first_part};
use crate::gguf::complete;
use crate::weights::has_weights;
use crate::{Error, Result};

/// The owner under which a name without one is looked for first, as sentence-transformers does.
const DEFAULT_OWNER: &str = "sentence-transformers";
const DEFAULT_REVISION: &str = "main";

/// Options of [`find`].
pub struct FindOptions<'a> {
    /// A branch, tag or commit; `None` is "main".
    pub revision: Option<&'a str>,
    /// The model that a quantized one was made from, whose files say how vectors are made.
    pub base: Option<&'a str>,
    /// The name of the GGUF file with the weights, where a model has several, or weights of another kind as well.
    pub gguf_file: Option<&'a str>,
    /// Takes the place of the environment's cache folder.
    pub cache_folder: Option<&'a Path>,
    /// Stay off the network.
    pub local_files_only: bool,
    pub token: Token,
    /// The installed package that carries the model of a hub name ("owner/name"), and the model's folder in it.
    pub packaged: &'a dyn Fn(&str) -> Option<(String, PathBuf)>,
    pub environment: HubEnvironment,
}

/// Finds the files of `name`, a folder or a model of the hub ("owner/name"): the folder, else the Hugging Face cache if
/// it has the whole model, else a download into it, else an installed package. Of an adapter, the model that it changes is
/// found in the same way.
///
/// # Errors
/// [`Error::NotFound`] lists every place that was looked in, and why it was of no use. [`Error::Hub`] is the hub's
/// refusal (a token or a licence is missing) or a download that broke off, [`Error::Io`] a cache that cannot be written,
/// [`Error::Model`] a model that votive cannot read.
pub fn find(name: &str, options: &FindOptions, watch: &dyn DownloadWatch) -> Result<ModelFolder> {
    let folder = find_files(name, options, Wanted::Model, watch)?;
    let folder = with_bases(folder, |base, revision| find_other(base, revision, options, Wanted::Network, watch))?;
    let folder =
        with_description(folder, options.base, |base| find_other(base, None, options, Wanted::Description, watch))?;
    // What a GGUF file says counts for the least.
    let has_tokenizer = contents::has_tokenizer(|name| matches!(folder.file(name), Ok(Some(_))));
    complete(folder, has_tokenizer)
}

/// A model that another one needs.
fn find_other(
    name: &str,
    revision: Option<&str>,
    options: &FindOptions,
    wanted: Wanted,
    watch: &dyn DownloadWatch,
) -> Result<ModelFolder> {
    let (environment, token) = (options.environment.clone(), options.token.clone());
    find_files(name, &FindOptions { revision, gguf_file: None, environment, token, ..*options }, wanted, watch)
}

fn find_files(name: &str, options: &FindOptions, wanted: Wanted, watch: &dyn DownloadWatch) -> Result<ModelFolder> {
    let path = Path::new(name);
    let gguf = options.gguf_file.map(GgufName::File);
    let mut search = ModelSearch { wanted, gguf, places: Vec::new(), refusal: None };
    if path.is_dir() {
        let folder = ModelFolder::new(path.to_owned(), Origin::Folder);
        return if gguf.is_some() { search.with_gguf(folder) } else { Ok(folder) };
    }
    if let Some(file) = path.file_name().and_then(OsStr::to_str).filter(|file| file.ends_with(GGUF_ENDING))
        && path.is_file()
    {
        if gguf.is_some() {
            return Err(Error::argument("gguf_file", format!("{name:?} is such a file already")));
        }
        let folder = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        return Ok(ModelFolder::new(folder.to_owned(), Origin::Folder).with_gguf(first_part(file)));
    }
    if path.is_file() {
        return Err(Error::argument(
            "model_name_or_path",
            format!("{name:?} is a file; accepted are a folder, a .gguf file and a hub name"),
        ));
    }
    search.places.push(format!("folder {name:?}: does not exist"));
    if is_path(name) {
        return Err(search.into_error(name));
    }
    let name = match name.rsplit_once(':') {
        Some((_, tag)) if gguf.is_some() => {
            return Err(Error::argument("gguf_file", format!("the model's name asks for a file already, by {tag:?}")));
        }
        Some((repo, tag)) => {
            search.gguf = Some(GgufName::Tag(tag));
            repo
        }
        None => name,
    };
    check_repo_name(name)?;
    let revision = options.revision.unwrap_or(DEFAULT_REVISION);
    check_revision(revision)?;
    check_token(options)?;

    let repos: Vec<String> = if name.contains('/') {
        vec![name.to_owned()]
    } else {
        vec![format!("{DEFAULT_OWNER}/{name}"), name.to_owned()]
    };
    match search.in_hub(&repos, revision, options, watch)? {
        Some(folder) => Ok(folder),
        None => match search.in_packages(&repos, options) {
            Some(folder) => Ok(folder),
            None => Err(search.into_error(name)),
        },
    }
}

/// A search, with the places that it has been in.
struct ModelSearch<'a> {
    wanted: Wanted,
    /// The GGUF file that is wanted.
    gguf: Option<GgufName<'a>>,
    /// One line per place, with what was wrong there.
    places: Vec<String>,
    /// What keeps a model that is there from being used.
    refusal: Option<Error>,
}

impl ModelSearch<'_> {
    /// Looks for `repos` in the cache, then asks the hub for them.
    fn in_hub(
        &mut self,
        repos: &[String],
        revision: &str,
        options: &FindOptions,
        watch: &dyn DownloadWatch,
    ) -> Result<Option<ModelFolder>> {
        let environment = &options.environment;
        let Some(cache_folder) = options.cache_folder.or(environment.cache_folder.as_deref()) else {
            self.places.push("Hugging Face cache: there is no home folder and no HF_HOME to have it in".to_owned());
            return Ok(None);
        };
        let caches: Vec<RepoCache> = repos.iter().map(|repo| RepoCache::new(cache_folder, repo)).collect();
        let mut unconfirmed = None;
        for cache in &caches {
            match self.in_cache(cache, revision) {
                Some((folder, true)) => return Ok(Some(folder)),
                Some((folder, false)) => unconfirmed = unconfirmed.or(Some(folder)),
                None => {}
            }
        }
        if options.local_files_only || environment.offline {
            let reason = if environment.offline { "HF_HUB_OFFLINE is set" } else { "local_files_only is true" };
            self.places.push(format!("{}: not asked, for {reason}", environment.endpoint));
            return Ok(unconfirmed);
        }

        let network = HttpAgents::new(&environment.network, environment.timeout)
            .map_err(|message| Error::Hub { repo: environment.endpoint.clone(), message })?;
        let network = Arc::new(network);
        for (repo, cache) in repos.iter().zip(&caches) {
            let client = Client::new(environment, network.clone(), &options.token, repo);
            let place = |message: &str| format!("{}/{repo}: {message}", environment.endpoint);
            match Download::new(&client, cache, revision, self.wanted, watch)
                .and_then(|download| download.run(revision, self.gguf))
            {
                Ok(folder) => return Ok(Some(folder)),
                Err(Failure::Absent(message)) => self.places.push(place(&message)),
                Err(Failure::Unreachable(message)) => {
                    self.places.push(place(&message));
                    break;
                }
                Err(Failure::Other(refusal @ (Error::Hub { .. } | Error::Io { .. }))) => {
                    self.refusal = Some(refusal);
                    return Ok(None);
                }
                Err(Failure::Other(error)) => return Err(error),
            }
        }
        Ok(unconfirmed)
    }

    /// The snapshot of `revision` if it is whole, and whether it is known to be so: without modules.json, a model of
    /// sentence-transformers that another program fetched in part looks like a plain transformer, and would silently
    /// be pooled in the wrong way. Such a snapshot is only for when the hub cannot be asked.
    fn in_cache(&mut self, cache: &RepoCache, revision: &str) -> Option<(ModelFolder, bool)> {
        let place = |message: String| format!("cache {}: {message}", cache.root().display());
        let Some(commit) = cache.commit(revision) else {
            self.places.push(place(format!("has no revision {revision:?}")));
            return None;
        };
        let folder = ModelFolder::new(cache.snapshot(&commit), Origin::Cache { commit: commit.clone() });
        let checked = self.with_gguf(folder).and_then(|folder| contents::check(&folder, self.wanted).map(|()| folder));
        let folder = match checked {
            Ok(folder) => folder,
            Err(error) => {
                self.places.push(place(format!("is incomplete at commit {commit}: {error}")));
                let root = cache.snapshot(&commit);
                if matches!(error, Error::Memory { .. }) || root.join("pytorch_model.bin").is_file() {
                    // Nothing is missing, it is what cannot be read.
                    self.refusal = Some(error);
                }
                return None;
            }
        };
        let is_confirmed = self.wanted == Wanted::Network
            || folder.root().join(MODULES).is_file()
            || cache.is_known_absent(&commit, MODULES);
        Some((folder, is_confirmed))
    }

    /// `folder` with the GGUF file that is wanted, where one is.
    fn with_gguf(&self, folder: ModelFolder) -> Result<ModelFolder> {
        if self.wanted == Wanted::Description || self.gguf.is_none() && has_weights(&folder, "")? {
            return Ok(folder);
        }
        Ok(match choose(folder.names("").iter().map(String::as_str), self.gguf)? {
            Some(name) => folder.with_gguf(name),
            None => folder,
        })
    }

    fn in_packages(&mut self, repos: &[String], options: &FindOptions) -> Option<ModelFolder> {
        if let Some(revision) = options.revision {
            self.places.push(format!("installed packages: have no revisions, {revision:?} was asked for"));
            return None;
        }
        for repo in repos {
            match (options.packaged)(repo) {
                Some((name, root)) if root.is_dir() => {
                    let folder = ModelFolder::new(root, Origin::Package { name: name.clone() });
                    match self.with_gguf(folder) {
                        Ok(folder) => return Some(folder),
                        Err(error) => self.places.push(format!("package {name}: {error}")),
                    }
                }
                Some((name, root)) => self.places.push(format!("package {name}: {} is no folder", root.display())),
                None => self.places.push(format!("installed packages: none carries {repo}")),
            }
        }
        None
    }

    fn into_error(self, name: &str) -> Error {
        let listed = || format!("model {name:?} was not found:\n- {}", self.places.join("\n- "));
        self.refusal.unwrap_or_else(|| Error::NotFound { message: listed() })
    }
}

/// Whether `name` can only be meant as a path.
fn is_path(name: &str) -> bool {
    name.is_empty()
        || Path::new(name).is_absolute()
        || name.starts_with(['.', '~', '/'])
        || name.contains('\\')
        || name.matches('/').count() > 1
}

/// The hub's own rules for "name" and "owner/name".
fn check_repo_name(repo: &str) -> Result<()> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let is_part = |part: &str| {
        (1..=96).contains(&part.len())
            && part.bytes().all(plain)
            && !part.starts_with(['-', '.'])
            && !part.ends_with(['-', '.'])
    };
    if repo.split('/').all(is_part) && !repo.contains("--") && !repo.contains("..") && !repo.ends_with(".git") {
        return Ok(());
    }
    let message = format!(
        "{repo:?} is no folder and no hub name; accepted are \"name\" and \"owner/name\" of letters, digits, '-', '_' \
         and '.', without \"--\" and \"..\", not beginning or ending with '-' or '.'"
    );
    Err(Error::argument("model_name_or_path", message))
}

/// A token becomes part of a header.
fn check_token(options: &FindOptions) -> Result<()> {
    let Token::Given(token) = &options.token else { return Ok(()) };
    if options.environment.credentials.is_some() {
        let message = "HF_ENDPOINT names a user and a password, and a hub can be sent only one: give it no token";
        return Err(Error::argument("token", message));
    }
    match token.reveal().bytes().all(|byte| byte.is_ascii_graphic()) && !token.reveal().is_empty() {
        true => Ok(()),
        false => Err(Error::argument("token", "holds characters that no token has, or none at all")),
    }
}

/// A revision becomes part of a path in the cache.
fn check_revision(revision: &str) -> Result<()> {
    let inside = Path::new(revision).components().all(|part| matches!(part, Component::Normal(_)));
    let plain = |letter: char| !letter.is_control() && !letter.is_whitespace() && !"~^:?*[\\".contains(letter);
    if !revision.is_empty() && inside && revision.chars().all(plain) {
        return Ok(());
    }
    let message = format!("{revision:?} is no git revision; accepted are a branch, a tag and a commit");
    Err(Error::argument("revision", message))
}
