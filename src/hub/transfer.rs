//! The transfer of one file from the hub into the cache: resumable, and whole or not at all.
//!
//! ```text
//! ask for the file; take its etag and its size, which must be the same in every answer
//! lock the etag in the cache; done if another process has brought the file meanwhile
//! open `{etag}.incomplete`, and hash what an earlier run left in it
//! until it has all bytes: ask from the first byte that is missing, append, hash
//!     (after MAX_RETRIES answers in a row without a byte: an error, and what is there stays)
//! the hash must be the one that the etag is; sync, rename to `{etag}`, link the snapshot's file to it
//! ```
//!
//! Names lead to whole files alone, since both the rename and the link take effect at once: a process that is killed leaves a file
//! under its `.incomplete` name, which the next run goes on with. The reference is huggingface_hub's `file_download.py`, which keeps
//! the same names but checks the size alone.

use std::fmt::Display;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::cache::{self, RepoCache};
use super::checksum::Checksum;
use super::client::{Client, Failure, Response};
use super::own_file::open_own;
use super::watch::{DownloadWatch, pause};
use crate::{Error, Result};

/// How often a file is asked for again while not a byte of it comes; with the pauses, about three seconds in all.
const MAX_RETRIES: u32 = 4;
const FIRST_RETRY_PAUSE: Duration = Duration::from_millis(100);

pub(super) struct Transfer<'a> {
    pub(super) client: &'a Client,
    pub(super) cache: &'a RepoCache,
    pub(super) watch: &'a dyn DownloadWatch,
    pub(super) commit: &'a str,
    pub(super) file: &'a str,
    /// Its size as the repository lists it, in bytes.
    pub(super) listed: Option<u64>,
}

/// A file that is not whole yet. What it holds stays for a later run, unless it turns out to be wrong.
struct PartialDownload {
    path: PathBuf,
    output: File,
    received: u64,
    checksum: Checksum,
}

impl Transfer<'_> {
    pub(super) fn run(&self) -> Result<(), Failure> {
        let pointer = self.cache.snapshot(self.commit).join(self.file);
        let is_there = || self.listed.is_some() && size_of(&pointer) == self.listed;
        if is_there() {
            return Ok(());
        }
        let response = self.request(0)?;
        let etag = self.etag(&response)?;
        let bytes = self.size(&response)?;
        let _lock = self.cache.lock(&etag, self.watch)?;
        if is_there() {
            // Another process brought it while this one waited.
            return Ok(());
        }
        let blob = self.cache.blob(&etag);
        // A blob of another size was left by a program that does not check.
        if size_of(&blob) != Some(bytes) {
            let path = self.cache.partial(&etag);
            self.cache.create_parent(&path)?;
            let part = PartialDownload::open(path, &etag, bytes, self.watch)?;
            self.watch.start(self.file, bytes, part.received);
            let received = self.receive(part, bytes, &etag, response);
            self.watch.finish();
            let path = received?;
            fs::rename(path, &blob).map_err(|source| Error::io(blob, source))?;
        }
        Ok(self.cache.link(&etag, self.commit, self.file)?)
    }

    /// Fills `part` up to `bytes` and gives its path. `first` answers a request for the whole file.
    fn receive(&self, mut part: PartialDownload, bytes: u64, etag: &str, first: Response) -> Result<PathBuf, Failure> {
        let mut first = (part.received == 0).then_some(first);
        let mut retries = 0;
        while part.received < bytes {
            let before = part.received;
            let response = match first.take() {
                Some(response) => response,
                None => self.request(part.received)?,
            };
            if self.etag(&response)? != etag || self.size(&response)? != bytes {
                return Err(self.discard(&part.path, "changed while it was downloaded"));
            }
            let broken = self.append(&mut part, bytes, etag, &response)?;
            retries = if part.received > before { 0 } else { retries + 1 };
            if retries > MAX_RETRIES {
                let (file, received) = (self.file, part.received);
                let message =
                    format!("{file} broke off after {received} of {bytes} bytes ({broken}); the next call resumes");
                return Err(self.client.error(message).into());
            }
            if part.received < bytes {
                pause(FIRST_RETRY_PAUSE * 2u32.pow(retries), self.watch)?;
            }
        }
        if part.received > bytes {
            return Err(self.discard(&part.path, format!("is longer than the {bytes} bytes it should have")));
        }
        if let Some(contradiction) = part.checksum.contradiction(etag) {
            let message = format!("{contradiction}. Nothing of it was kept; the next call downloads it anew");
            return Err(self.discard(&part.path, message));
        }
        part.output.sync_all().map_err(|source| Error::io(&part.path, source))?;
        Ok(part.path)
    }

    /// Appends what `response` brings, at most a little more than `bytes`, and says how it ended.
    fn append(
        &self,
        part: &mut PartialDownload,
        bytes: u64,
        etag: &str,
        response: &Response,
    ) -> Result<String, Failure> {
        match response.first_byte() {
            Some(first) if first == part.received => {}
            // The server knows no ranges and sends the whole file.
            Some(0) => {
                part.clear(Checksum::of(etag, bytes))?;
                self.watch.finish();
                self.watch.start(self.file, bytes, 0);
            }
            _ => return Err(self.client.error(format!("{}: the answer is another part of it", self.file)).into()),
        }
        while part.received <= bytes {
            match response.next_chunk(self.watch)? {
                Some(Ok(chunk)) => {
                    part.output.write_all(&chunk).map_err(|source| Error::io(&part.path, source))?;
                    part.checksum.update(&chunk);
                    part.received += chunk.len() as u64;
                    self.watch.advance(chunk.len() as u64);
                }
                Some(Err(error)) => return Ok(error.to_string()),
                None => break,
            }
        }
        Ok("the connection was closed".to_owned())
    }

    /// Asks for the file from byte `start` on. A hub that listed it and cannot be reached now, or does not have it after
    /// all, is an error: there is a model, and another place that has less of it must not stand in.
    fn request(&self, start: u64) -> Result<Response, Failure> {
        let mut retries = 0;
        loop {
            let failure = match self.client.file(self.commit, self.file, start, self.watch) {
                Ok(response) if matches!(response.status, 200 | 206) => return Ok(response),
                Ok(response) => self.client.refusal(&response),
                Err(failure) => failure,
            };
            match failure {
                Failure::Unreachable(_) if retries < MAX_RETRIES => retries += 1,
                Failure::Unreachable(message) | Failure::Absent(message) => {
                    return Err(self.client.error(format!("{}, which it lists: {message}", self.file)).into());
                }
                Failure::Other(error) => return Err(error.into()),
            }
            pause(FIRST_RETRY_PAUSE * 2u32.pow(retries), self.watch)?;
        }
    }

    /// What names the file's content, as the hub says.
    fn etag(&self, response: &Response) -> Result<String> {
        let header = response.header("x-linked-etag").or_else(|| response.header("etag")).unwrap_or_default();
        let etag = header.trim_start_matches("W/").trim_matches('"');
        if !cache::is_file_name(etag) {
            return Err(self.client.error(format!("{} has the unusable etag {header:?}", self.file)));
        }
        Ok(etag.to_owned())
    }

    /// The whole file's size in bytes, on which everything that the hub says of it must agree.
    fn size(&self, response: &Response) -> Result<u64> {
        let linked = response.header("x-linked-size").and_then(|size| size.parse().ok());
        let mut sizes = [self.listed, linked, response.total_bytes()].into_iter().flatten();
        let Some(size) = sizes.next() else {
            return Err(self.client.error(format!("does not tell the size of {}", self.file)));
        };
        if let Some(other) = sizes.find(|&other| other != size) {
            let message = format!("{} has the wrong size: {size} bytes are announced, {other} offered", self.file);
            return Err(self.client.error(message));
        }
        Ok(size)
    }

    fn discard(&self, part: &Path, message: impl Display) -> Failure {
        // Should it stay, it is still no file that is taken for whole.
        drop(fs::remove_file(part));
        self.client.error(format!("{} {message}", self.file)).into()
    }
}

impl PartialDownload {
    /// Opens what an earlier run left at `path` if it can be the beginning of `bytes` bytes, else an empty file.
    fn open(path: PathBuf, etag: &str, bytes: u64, watch: &dyn DownloadWatch) -> Result<Self> {
        let failed = |source| Error::io(&path, source);
        let open = || open_own(&path, OpenOptions::new().read(true).append(true));
        let mut output = match open() {
            // Another program put it there, and nothing is lost with it.
            Err(Error::Io { source, .. }) if source.kind() == io::ErrorKind::InvalidInput => {
                fs::remove_file(&path).map_err(failed)?;
                open()
            }
            output => output,
        }?;
        let received = output.metadata().map_err(failed)?.len();
        let mut checksum = Checksum::of(etag, bytes);
        if received <= bytes {
            let mut chunk = vec![0; 1 << 20];
            while let length @ 1.. = output.read(&mut chunk).map_err(failed)? {
                watch.check()?;
                checksum.update(&chunk[..length]);
            }
        }
        let mut part = Self { path, output, received, checksum };
        if received > bytes {
            part.clear(Checksum::of(etag, bytes))?;
        }
        Ok(part)
    }

    /// Begins anew, with a `checksum` of nothing.
    fn clear(&mut self, checksum: Checksum) -> Result<()> {
        self.output.set_len(0).map_err(|source| Error::io(&self.path, source))?;
        self.received = 0;
        self.checksum = checksum;
        Ok(())
    }
}

fn size_of(path: &Path) -> Option<u64> {
    fs::metadata(path).ok().filter(|metadata| metadata.is_file()).map(|metadata| metadata.len())
}
