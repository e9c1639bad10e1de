//! Folders for tests.

use tempfile::TempDir;

use crate::files::{ModelFolder, Origin};

/// A folder with these files. The files are gone when the `TempDir` is dropped.
pub(crate) fn folder(files: &[(&str, &str)]) -> (TempDir, ModelFolder) {
    let root = TempDir::new().unwrap();
    for (name, text) in files {
        let path = root.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    let folder = ModelFolder::new(root.path().to_owned(), Origin::Folder);
    (root, folder)
}
