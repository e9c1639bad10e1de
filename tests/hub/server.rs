//! A hub on 127.0.0.1: file list, redirects to a second server for large files, ranges; and whatever a test makes it do
//! wrong.

use std::collections::{BTreeMap, HashMap};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustls::{ServerConfig, ServerConnection, StreamOwned};
use sha1::Sha1;
use sha2::{Digest, Sha256};

pub(crate) const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";
pub(crate) const REPO: &str = "ada/tiny";

#[derive(Debug, Clone)]
pub(crate) struct Request {
    /// With its query.
    pub(crate) path: String,
    pub(crate) headers: HashMap<String, String>,
}

impl Request {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    /// N of "range: bytes=N-".
    pub(crate) fn start(&self) -> usize {
        self.header("range").map_or(0, |range| range["bytes=".len()..range.len() - 1].parse().unwrap())
    }
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    /// Close the connection after so many bytes of the body.
    pub(crate) cut: Option<usize>,
    /// Say nothing at all.
    pub(crate) silent: bool,
}

impl Reply {
    pub(crate) fn new(status: u16, body: impl Into<Vec<u8>>) -> Self {
        let body = body.into();
        let length = ("content-length".to_owned(), body.len().to_string());
        Self { status, headers: vec![length], body, ..Self::default() }
    }

    pub(crate) fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.retain(|(other, _)| other != name);
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    fn send(&self, stream: &mut dyn Stream) -> std::io::Result<()> {
        let mut head = format!("HTTP/1.1 {} -\r\nconnection: close\r\n", self.status);
        for (name, value) in &self.headers {
            head += &format!("{name}: {value}\r\n");
        }
        stream.write_all(format!("{head}\r\n").as_bytes())?;
        stream.write_all(&self.body[..self.cut.unwrap_or(self.body.len())])
    }
}

/// A connection, encrypted or not.
trait Stream: Read + Write + Send {}

impl<S: Read + Write + Send> Stream for S {}

/// Answers every request with what a function says, until it is dropped.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    scheme: &'static str,
    requests: Arc<Mutex<Vec<Request>>>,
    stopped: Arc<AtomicBool>,
    listener: Option<JoinHandle<()>>,
}

impl Server {
    pub(crate) fn start(answer: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Self {
        Self::start_with(None, answer)
    }

    /// With a certificate, for `https`.
    pub(crate) fn start_with(
        tls: Option<Arc<ServerConfig>>,
        answer: impl Fn(&Request) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let scheme = if tls.is_some() { "https" } else { "http" };
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let stopped = Arc::new(AtomicBool::new(false));
        let (answer, seen, stop) = (Arc::new(answer), requests.clone(), stopped.clone());
        let accept = move || {
            let mut silent = Vec::new();
            for stream in listener.incoming() {
                if stop.load(Ordering::Relaxed) {
                    return;
                }
                let stream = stream.unwrap();
                stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
                let mut stream: Box<dyn Stream> = match &tls {
                    None => Box::new(stream),
                    Some(tls) => Box::new(StreamOwned::new(ServerConnection::new(tls.clone()).unwrap(), stream)),
                };
                let Some(request) = read_request(&mut *stream) else { continue };
                seen.lock().unwrap().push(request.clone());
                let reply = answer(&request);
                if reply.silent {
                    silent.push(stream);
                } else {
                    // A client that hangs up early is what some tests are about.
                    thread::spawn(move || drop(reply.send(&mut *stream)));
                }
            }
        };
        Self { address, scheme, requests, stopped, listener: Some(thread::spawn(accept)) }
    }

    pub(crate) fn url(&self) -> String {
        format!("{}://{}", self.scheme, self.address)
    }

    pub(crate) fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }

    pub(crate) fn forget_requests(&self) {
        self.requests.lock().unwrap().clear();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::Relaxed);
        drop(TcpStream::connect(self.address));
        self.listener.take().unwrap().join().unwrap();
    }
}

fn read_request(stream: &mut dyn Stream) -> Option<Request> {
    let mut lines = BufReader::new(stream).lines().map_while(Result::ok);
    let path = lines.next()?.split(' ').nth(1)?.to_owned();
    let headers = lines
        .take_while(|line| !line.is_empty())
        .filter_map(|line| line.split_once(": ").map(|(name, value)| (name.to_lowercase(), value.to_owned())))
        .collect();
    Some(Request { path, headers })
}

/// The files of a repository, by name.
pub(crate) type Files = BTreeMap<String, Vec<u8>>;

/// A hub with one repository, `REPO`, at one commit, `COMMIT`. Safetensors are on another server, as on the real hub.
pub(crate) struct Hub {
    pub(crate) api: Server,
    pub(crate) cdn: Server,
}

impl Hub {
    pub(crate) fn new(files: Files) -> Self {
        Self::deviating(files, |_| None)
    }

    /// A hub that answers what `deviation` says where it says something.
    pub(crate) fn deviating(
        files: Files,
        deviation: impl Fn(&Request) -> Option<Reply> + Send + Sync + 'static,
    ) -> Self {
        Self::start(files, None, deviation)
    }

    pub(crate) fn start(
        files: Files,
        tls: Option<Arc<ServerConfig>>,
        deviation: impl Fn(&Request) -> Option<Reply> + Send + Sync + 'static,
    ) -> Self {
        let files = Arc::new(files);
        let deviation = Arc::new(deviation);
        let (large, deviate) = (files.clone(), deviation.clone());
        let cdn = Server::start_with(tls.clone(), move |request| {
            deviate(request).unwrap_or_else(|| {
                let name = request.path.strip_prefix("/cdn/").unwrap();
                // A store of its own names content in its own way.
                ranged(request, &large[name]).header("etag", "\"cdn-5\"")
            })
        });
        let cdn_url = cdn.url();
        let answer = move |request: &Request| deviation(request).unwrap_or_else(|| answer(request, &files, &cdn_url));
        let api = Server::start_with(tls, answer);
        Self { api, cdn }
    }

    /// The files that were asked for, in order.
    pub(crate) fn asked_files(&self) -> Vec<String> {
        let prefix = format!("/{REPO}/resolve/{COMMIT}/");
        let path = |request: Request| request.path.strip_prefix(&prefix).map(str::to_owned);
        self.api.requests().into_iter().filter_map(path).collect()
    }
}

/// The name that the real hub gives to a file: git's of a small one, SHA-256 of a large one.
pub(crate) fn etag(content: &[u8]) -> String {
    match content.len() {
        ..10_000 => {
            format!("{:x}", Sha1::new_with_prefix(format!("blob {}\0", content.len())).chain_update(content).finalize())
        }
        _ => format!("{:x}", Sha256::digest(content)),
    }
}

fn answer(request: &Request, files: &Files, cdn: &str) -> Reply {
    let known = ["main", "v1", "refs%2Fpr%2F1", "0123456", COMMIT];
    let revision = request.path.strip_prefix(&format!("/api/models/{REPO}/revision/"));
    if let Some(revision) = revision.and_then(|rest| rest.strip_suffix("?blobs=true")) {
        return match known.contains(&revision) {
            true => Reply::new(200, list(files)),
            false => Reply::new(404, "{}").header("x-error-code", "RevisionNotFound"),
        };
    }
    if let Some(name) = request.path.strip_prefix("/small/") {
        return ranged(request, &files[name]).header("etag", format!("\"{}\"", etag(&files[name])));
    }
    let file = request.path.strip_prefix(&format!("/{REPO}/resolve/{COMMIT}/"));
    let Some((name, content)) = file.and_then(|name| files.get_key_value(name)) else {
        return Reply::new(401, "{}").header("x-error-code", "RepoNotFound");
    };
    let linked = |reply: Reply, location: String| {
        reply
            .header("location", location)
            .header("x-repo-commit", COMMIT)
            .header("x-linked-size", content.len().to_string())
            .header("x-linked-etag", format!("\"{}\"", etag(content)))
            .header("etag", "\"pointer\"")
    };
    match name.ends_with(".safetensors") {
        true => linked(Reply::new(302, "Found"), format!("{cdn}/cdn/{name}")),
        false => linked(Reply::new(307, "Temporary Redirect"), format!("/small/{name}")),
    }
}

/// The answer to `api/models/{repo}/revision/{revision}`.
pub(crate) fn list(files: &Files) -> String {
    let siblings: Vec<String> = files
        .iter()
        .map(|(name, content)| format!(r#"{{"rfilename":{name:?},"blobId":"-","size":{}}}"#, content.len()))
        .collect();
    format!(r#"{{"id":"{REPO}","sha":"{COMMIT}","siblings":[{}],"tags":[]}}"#, siblings.join(","))
}

/// `content`, or the part of it that was asked for.
pub(crate) fn ranged(request: &Request, content: &[u8]) -> Reply {
    if request.header("range").is_none() {
        return Reply::new(200, content);
    }
    let start = request.start();
    Reply::new(206, &content[start..])
        .header("content-range", format!("bytes {start}-{}/{}", content.len() - 1, content.len()))
}
