//! A model's files in another folder, but for the weights of its networks.

use std::fs;
use std::path::Path;

use super::contents::{self, Wanted, is_read};
use crate::files::{ModelFolder, inside};
use crate::weights::{ADAPTER_FILE, SINGLE, Weights};
use crate::{Error, Result};

/// What a model comes with and nobody needs to load it.
const PAPERS: [&str; 4] = ["README.md", "LICENSE", "LICENSE.md", "LICENSE.txt"];

/// Copies what votive reads of `folder` into `target`, which is there, and the model's card and licence: all but the weights of
/// networks, and adapters. Of files that are elsewhere, or that were made, there are copies, too.
pub fn copy_description(folder: &ModelFolder, target: &Path) -> Result<()> {
    let modules = contents::modules(folder, Wanted::Model)?;
    for path in contents::folders(&modules) {
        let names = folder.names(path);
        let has = |name: &str| names.contains(name);
        for name in names.iter().filter(|name| is_read(name, has) && *name != ADAPTER_FILE) {
            copy(folder, &inside(path, name), target)?;
        }
    }
    for name in PAPERS {
        copy(folder, name, target)?;
    }
    for module in modules.iter().filter(|module| module.needs_weights() && !module.is_transformer()) {
        let names = contents::weights_in(folder, &module.path)?;
        if names.is_empty() {
            // They are in the GGUF file of the network.
            Weights::open(folder, &module.path)?.write_safetensors(&target.join(inside(&module.path, SINGLE)))?;
        }
        for name in names {
            copy(folder, &inside(&module.path, &name), target)?;
        }
    }
    Ok(())
}

/// Copies the file, if there is one.
fn copy(folder: &ModelFolder, relative: &str, target: &Path) -> Result<()> {
    let to = target.join(relative);
    let io = |source| Error::io(&to, source);
    let Some(from) = folder.file(relative)?.map(Ok).or_else(|| folder.made(relative).map(Err)) else { return Ok(()) };
    fs::create_dir_all(to.parent().unwrap_or(target)).map_err(io)?;
    match from {
        Ok(path) => fs::copy(path, &to).map(drop).map_err(io),
        Err(made) => fs::write(&to, made).map_err(io),
    }
}
