//! Verifying a file by its name on the hub, which is a hash of its content.
//!
//! Sources: git's object format (gitformat-objects) and git-lfs's specification of pointers. A file that git keeps has the SHA-1 of
//! `"blob {bytes}\0"` and its content for a name, as `git hash-object` prints it; a large file has the SHA-256 of its content, as
//! `sha256sum` does. Which of them a name is follows from its length: 40 or 64 hexadecimal digits. Names of other shapes are not
//! verified. The hash is fed as bytes arrive, so that a file is never read a second time.

use sha1::Sha1;
use sha2::{Digest, Sha256};

/// The hash by which the hub names a file, of what has come of it so far.
pub(super) enum Checksum {
    /// SHA-256 of the content: a large file.
    Content(Sha256),
    /// SHA-1 of "blob", the size and the content: a file that git keeps itself.
    Blob(Sha1),
    /// A name of another shape, as hubs other than huggingface.co may give.
    Unknown,
}

impl Checksum {
    /// The hash that `etag`, the name of a file of `bytes` bytes, is by its length.
    pub(super) fn of(etag: &str, bytes: u64) -> Self {
        let is_hash = etag.bytes().all(|byte| byte.is_ascii_hexdigit());
        match etag.len() {
            64 if is_hash => Self::Content(Sha256::new()),
            40 if is_hash => Self::Blob(Sha1::new_with_prefix(format!("blob {bytes}\0"))),
            _ => Self::Unknown,
        }
    }

    pub(super) fn update(&mut self, content: &[u8]) {
        match self {
            Self::Content(hash) => hash.update(content),
            Self::Blob(hash) => hash.update(content),
            Self::Unknown => {}
        }
    }

    /// What is wrong with the content, given the etag; `None` if nothing is.
    pub(super) fn contradiction(self, etag: &str) -> Option<String> {
        let (kind, found) = match self {
            Self::Content(hash) => ("SHA-256", format!("{:x}", hash.finalize())),
            Self::Blob(hash) => ("git hash", format!("{:x}", hash.finalize())),
            Self::Unknown => return None,
        };
        (!found.eq_ignore_ascii_case(etag)).then(|| format!("has the {kind} {found}; the hub names it {etag}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The contradiction that `content` and `etag` are in.
    fn contradiction(content: &[u8], etag: &str) -> Option<String> {
        let mut checksum = Checksum::of(etag, content.len() as u64);
        content.chunks(3).for_each(|chunk| checksum.update(chunk));
        checksum.contradiction(etag)
    }

    #[test]
    fn names_are_the_hashes_that_git_and_sha256sum_give() {
        let content = b"hello world\n";
        // `git hash-object` and `sha256sum`.
        let names = [
            "3b18e512dba79e4c8300dd08aeb37f8e728b8dad",
            "a948904f2f0f479b8f8197694b30184b0d2ed1c1cd2a1ec0fb85d299a192a447",
        ];
        for name in names {
            assert_eq!(contradiction(content, name), None);
            assert_eq!(contradiction(content, &name.to_uppercase()), None);
            let message = contradiction(b"hello World\n", name).unwrap();
            assert!(message.ends_with(&format!("the hub names it {name}")), "{message}");
        }
        for other in ["", "cdn-5", &"z".repeat(64)] {
            assert_eq!(contradiction(content, other), None);
        }
    }
}
