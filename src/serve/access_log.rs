//! A line of JSON for each request, written by a thread of its own: requests wait for no disk. Texts are never in it.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use axum::http::HeaderValue;
use serde_json::{Map, Value, json};

use crate::serve::outcome::Outcome;
use crate::serve::timestamp::rfc3339;
use crate::{Error, Result};

/// Lines that wait for the disk; more are dropped.
const MAX_WAITING: usize = 8192;

/// How often it is looked whether the file is still the one of its name.
const FILE_CHECK: Duration = Duration::from_secs(1);

/// How long the end of a server waits for the last lines.
const FLUSH_TIME: Duration = Duration::from_secs(2);

/// Where lines go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogTarget {
    StandardError,
    File(PathBuf),
}

/// The log of a server.
pub(super) struct AccessLog {
    messages: SyncSender<Message>,
    dropped: Arc<AtomicU64>,
}

/// What is told of a request.
#[derive(Debug, Clone)]
pub(super) struct RequestLine {
    pub(super) time: SystemTime,
    pub(super) id: HeaderValue,
    pub(super) route: &'static str,
    pub(super) status: u16,
    /// Of the answer's body.
    pub(super) bytes: Option<u64>,
    /// What went wrong.
    pub(super) reason: Option<&'static str>,
    pub(super) client: Option<IpAddr>,
    pub(super) traceparent: Option<String>,
    pub(super) outcome: Option<Outcome>,
    pub(super) total: Duration,
}

enum Message {
    Request(Box<RequestLine>),
    Other(String),
    /// Answered when all before it is written.
    Flush(SyncSender<()>),
}

/// What lines are written to.
struct Output {
    target: LogTarget,
    file: Option<File>,
    checked: Instant,
    /// Lines that are not written yet.
    bytes: Vec<u8>,
    /// Lines that could not be.
    lost: u64,
}

impl Default for RequestLine {
    fn default() -> Self {
        Self {
            time: UNIX_EPOCH,
            id: HeaderValue::from_static(""),
            route: "",
            status: 0,
            bytes: None,
            reason: None,
            client: None,
            traceparent: None,
            outcome: None,
            total: Duration::ZERO,
        }
    }
}

impl AccessLog {
    /// # Errors
    /// [`Error::Io`] where the file cannot be opened, and [`Error::Device`] where there is no thread.
    pub(super) fn open(target: &LogTarget) -> Result<Self> {
        let file = match target {
            LogTarget::StandardError => None,
            LogTarget::File(path) => Some(append_to(path).map_err(|error| Error::io(path, error))?),
        };
        let output = Output { target: target.clone(), file, checked: Instant::now(), bytes: Vec::new(), lost: 0 };
        let (messages, waiting) = sync_channel(MAX_WAITING);
        let dropped = Arc::new(AtomicU64::new(0));
        let counted = dropped.clone();
        std::thread::Builder::new()
            .name("votive-log".to_owned())
            .spawn(move || write_all(&waiting, output, &counted))
            .map_err(|error| Error::device(format!("cannot start the thread of the log: {error}")))?;
        Ok(Self { messages, dropped })
    }

    /// Has a line written, or drops it where too many wait.
    pub(super) fn write(&self, line: RequestLine) {
        self.send(Message::Request(Box::new(line)));
    }

    /// Has a line written that is about no request.
    pub(super) fn write_line(&self, line: &Value) {
        self.send(Message::Other(format!("{line}\n")));
    }

    fn send(&self, message: Message) {
        if let Err(TrySendError::Full(_)) = self.messages.try_send(message) {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Lines that were dropped, or could not be written.
    pub(super) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Waits until what came is written, or for a while.
    pub(super) fn flush(&self) {
        let (sender, done) = sync_channel(1);
        if self.messages.try_send(Message::Flush(sender)).is_ok() {
            // An error says that the disk takes too long.
            let _ = done.recv_timeout(FLUSH_TIME);
        }
    }
}

/// The thread of the log, until its server is gone.
fn write_all(messages: &Receiver<Message>, mut output: Output, dropped: &AtomicU64) {
    let mut told = 0;
    while let Ok(message) = messages.recv() {
        let mut next = Some(message);
        while let Some(message) = next {
            match message {
                Message::Request(line) => line.write(&mut output.bytes),
                Message::Other(line) => output.bytes.extend_from_slice(line.as_bytes()),
                Message::Flush(done) => {
                    output.flush();
                    // Who waited may have given up.
                    let _ = done.send(());
                }
            }
            let is_full = output.bytes.len() > 1 << 16;
            if is_full {
                output.flush();
            }
            next = messages.try_recv().ok();
        }
        dropped.fetch_add(std::mem::take(&mut output.lost), Ordering::Relaxed);
        let lost = dropped.load(Ordering::Relaxed);
        if lost > told {
            let line = json!({"time": rfc3339(SystemTime::now()), "dropped_lines": lost - told});
            output.bytes.extend_from_slice(format!("{line}\n").as_bytes());
            told = lost;
        }
        output.flush();
    }
}

impl Output {
    /// Writes what there is. What cannot be written is lost: a full disk stops no server.
    fn flush(&mut self) {
        if self.bytes.is_empty() {
            return;
        }
        self.reopen_moved();
        let written = match &mut self.file {
            Some(file) => file.write_all(&self.bytes),
            None => match self.target {
                LogTarget::StandardError => io::stderr().write_all(&self.bytes),
                LogTarget::File(_) => Err(io::Error::from(io::ErrorKind::NotFound)),
            },
        };
        if written.is_err() {
            self.lost += self.bytes.iter().filter(|byte| **byte == b'\n').count() as u64;
        }
        self.bytes.clear();
    }

    /// Opens the file of the name anew, where another one or none has it now: it was rotated.
    fn reopen_moved(&mut self) {
        let LogTarget::File(path) = &self.target else { return };
        if self.file.is_some() && self.checked.elapsed() < FILE_CHECK {
            return;
        }
        self.checked = Instant::now();
        if !self.file.as_ref().is_some_and(|file| is_named(file, path)) {
            // Until it can be opened the old one is written to, which may be there still under another name.
            if let Ok(file) = append_to(path) {
                self.file = Some(file);
            }
        }
    }
}

fn append_to(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path)
}

/// Whether a path leads to a file that is open.
#[cfg(unix)]
fn is_named(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let place = |metadata: io::Result<std::fs::Metadata>| metadata.ok().map(|file| (file.dev(), file.ino()));
    let own = place(file.metadata());
    own.is_some() && place(std::fs::metadata(path)) == own
}

/// An open file cannot be moved here.
#[cfg(not(unix))]
fn is_named(_file: &File, _path: &Path) -> bool {
    true
}

impl RequestLine {
    fn write(&self, into: &mut Vec<u8>) {
        let milliseconds = |time: Duration| json!((time.as_secs_f64() * 1e6).round() / 1e3);
        let mut line = Map::new();
        let mut put = |name: &str, value: Value| {
            if !value.is_null() {
                line.insert(name.to_owned(), value);
            }
        };
        put("time", rfc3339(self.time).into());
        put("id", self.id.to_str().unwrap_or_default().into());
        put("route", self.route.into());
        put("status", self.status.into());
        put("reason", self.reason.into());
        if let Some(outcome) = &self.outcome {
            put("model", outcome.model.clone().into());
            put("inputs", outcome.inputs.into());
            put("tokens", outcome.tokens.into());
            put("truncated", outcome.truncated.into());
            put("queue_ms", milliseconds(outcome.waited));
            put("tokenize_ms", milliseconds(outcome.tokenizing));
            put("compute_ms", milliseconds(outcome.computing));
        }
        put("total_ms", milliseconds(self.total));
        put("bytes", self.bytes.into());
        put("client", self.client.map(|client| client.to_string()).into());
        put("traceparent", self.traceparent.clone().into());
        serde_json::to_writer(&mut *into, &line).expect("a vector takes all bytes");
        into.push(b'\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_what_is_known() {
        let mut bytes = Vec::new();
        RequestLine { id: HeaderValue::from_static("a"), status: 499, ..RequestLine::default() }.write(&mut bytes);
        let text = String::from_utf8(bytes).expect("UTF-8");
        assert_eq!(
            text,
            "{\"time\":\"1970-01-01T00:00:00.000Z\",\"id\":\"a\",\"route\":\"\",\"status\":499,\"total_ms\":0.0}\n"
        );
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn what_a_full_disk_does_not_take_is_counted() {
        let log = AccessLog::open(&LogTarget::File("/dev/full".into())).expect("a log");
        (0..3).for_each(|_| log.write(RequestLine::default()));
        log.flush();
        // The flush may have come in the same batch, of which the count is told when it is over.
        log.flush();
        while log.dropped() < 3 {
            std::thread::yield_now();
        }
    }
}
