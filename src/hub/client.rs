//! Requests to a hub: what they ask for, which servers get the token, and what the answers mean.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender};
use std::thread;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;

use super::environment::HubEnvironment;
use super::network::HttpAgents;
use super::secret::{Secret, Token};
use super::watch::{DownloadWatch, WATCH_INTERVAL};
use crate::{Error, Result};

/// What a part of a path is written without.
const SEGMENT: AsciiSet = NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');
const PATH: AsciiSet = SEGMENT.remove(b'/');
const MAX_REDIRECTS: usize = 10;
const CHUNK_BYTES: u64 = 1 << 16;
/// The longest answer that is held in memory: the file list of a repository, far above any real one.
const MAX_INFO_BYTES: usize = 64 << 20;

/// Why a download did not happen: whether the model may be looked for elsewhere.
pub(super) enum Failure {
    /// The hub answered that there is no such repository or revision.
    Absent(String),
    /// No hub answered, or one that could not do its work just now.
    Unreachable(String),
    Other(Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Other(error)
    }
}

/// A repository at a commit, as the hub lists it.
#[derive(Deserialize)]
pub(super) struct RepoInfo {
    pub(super) sha: String,
    #[serde(default)]
    pub(super) siblings: Vec<Sibling>,
}

#[derive(Deserialize)]
pub(super) struct Sibling {
    #[serde(rename = "rfilename")]
    pub(super) name: String,
    /// In bytes; hubs other than huggingface.co may leave it out.
    pub(super) size: Option<u64>,
}

/// An answer whose body is still coming.
pub(super) struct Response {
    pub(super) status: u16,
    /// The last answer's headers, and what earlier ones on the same way said of the file (`x-linked-*`).
    headers: BTreeMap<String, String>,
    body: Receiver<io::Result<Vec<u8>>>,
}

#[derive(Clone)]
pub(super) struct Client {
    network: Arc<HttpAgents>,
    /// "owner/name"
    name: String,
    endpoint: String,
    /// The `Authorization` header for the endpoint.
    authorization: Option<Secret>,
    /// Whether a token was given that is not known any more.
    lost_token: bool,
}

impl Client {
    pub(super) fn new(environment: &HubEnvironment, network: Arc<HttpAgents>, token: &Token, name: &str) -> Self {
        let found = match token {
            Token::Implicit | Token::Lost => environment.token.as_ref(),
            Token::Given(token) => Some(token),
            Token::Never => None,
        };
        // A request has room for one of them, and a hub behind a password is not asked without it.
        let authorization = match &environment.credentials {
            Some(credentials) => Some(format!("Basic {}", BASE64_STANDARD.encode(credentials.reveal()))),
            None => found.map(|token| format!("Bearer {}", token.reveal())),
        };
        Self {
            network,
            name: name.to_owned(),
            endpoint: environment.endpoint.clone(),
            authorization: authorization.map(Secret::from),
            lost_token: *token == Token::Lost,
        }
    }

    /// The files of `revision`.
    pub(super) fn info(&self, revision: &str, watch: &dyn DownloadWatch) -> Result<RepoInfo, Failure> {
        let (endpoint, name) = (&self.endpoint, &self.name);
        let revision = utf8_percent_encode(revision, &SEGMENT);
        let response = self.get(format!("{endpoint}/api/models/{name}/revision/{revision}?blobs=true"), 0, watch)?;
        if response.status != 200 {
            return Err(self.refusal(&response));
        }
        let mut json = Vec::new();
        while let Some(chunk) = response.next_chunk(watch)? {
            json.extend(chunk.map_err(|error| Failure::Unreachable(format!("broke off: {error}")))?);
            if json.len() > MAX_INFO_BYTES {
                return Err(self.error("lists more files than votive reads").into());
            }
        }
        serde_json::from_slice(&json).map_err(|error| self.error(format!("unreadable file list: {error}")).into())
    }

    /// Asks for `file` at `commit`, from byte `start` on.
    pub(super) fn file(
        &self,
        commit: &str,
        file: &str,
        start: u64,
        watch: &dyn DownloadWatch,
    ) -> Result<Response, Failure> {
        let (endpoint, name) = (&self.endpoint, &self.name);
        self.get(format!("{endpoint}/{name}/resolve/{commit}/{}", utf8_percent_encode(file, &PATH)), start, watch)
    }

    /// Requests `url` on a thread of its own, so that the caller can be stopped while a server is silent.
    fn get(&self, url: String, start: u64, watch: &dyn DownloadWatch) -> Result<Response, Failure> {
        let (send_head, head) = mpsc::sync_channel(1);
        let (send_body, body) = mpsc::sync_channel(4);
        let client = self.clone();
        let request = move || match client.follow(url, start) {
            Ok((status, headers, reader)) => {
                if send_head.send(Ok((status, headers))).is_ok() {
                    send_chunks(reader, &send_body);
                }
            }
            // A caller that was stopped has dropped the receiver.
            Err(message) => drop(send_head.send(Err(message))),
        };
        thread::Builder::new()
            .name("votive-download".to_owned())
            .spawn(request)
            .map_err(|error| self.error(format!("no thread to download with: {error}")))?;
        match receive(&head, watch)? {
            Some(Ok((status, headers))) => Ok(Response { status, headers, body }),
            Some(Err(message)) => Err(Failure::Unreachable(message)),
            None => Err(Failure::Unreachable("the client failed".to_owned())),
        }
    }

    /// Follows redirects by hand: the size and name of a file are told before the last one, and the token goes to the
    /// hub alone. Once another server had a say in where to go, it is not sent any more.
    fn follow(
        &self,
        mut url: String,
        start: u64,
    ) -> Result<(u16, BTreeMap<String, String>, impl Read + 'static), String> {
        let mut linked = BTreeMap::new();
        let mut is_own = true;
        for _ in 0..=MAX_REDIRECTS {
            let mut request = self.network.agent(&url).get(&url).header("accept-encoding", "identity");
            if start > 0 {
                request = request.header("range", format!("bytes={start}-"));
            }
            is_own = is_own && is_below(&url, &self.endpoint);
            if let (true, Some(authorization)) = (is_own, &self.authorization) {
                request = request.header("authorization", authorization.reveal());
            }
            let response = request.call().map_err(unreachable)?;

            let status = response.status().as_u16();
            let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
            let mut headers: BTreeMap<String, String> = response
                .headers()
                .iter()
                .map(|(name, value)| (name.as_str().to_ascii_lowercase(), text(value.as_bytes())))
                .collect();
            if !matches!(status, 301 | 302 | 303 | 307 | 308) {
                linked.append(&mut headers);
                return Ok((status, linked, response.into_body().into_reader()));
            }
            let location = headers.get("location").ok_or("redirects to nowhere")?;
            let next = resolve(&url, location);
            if url.starts_with("https:") && !next.starts_with("https:") {
                return Err(format!("redirects from https to {}", split(&next).0));
            }
            url = next;
            headers.retain(|name, _| name.starts_with("x-linked-"));
            linked.append(&mut headers);
        }
        Err(format!("redirects more than {MAX_REDIRECTS} times"))
    }

    /// What an answer other than the wanted one means.
    pub(super) fn refusal(&self, response: &Response) -> Failure {
        let how = match self.lost_token {
            false => "with token=, HF_TOKEN or `hf auth login`",
            true => "with HF_TOKEN or `hf auth login` in this process: pickles do not hold what token= was",
        };
        let (endpoint, name, status) = (&self.endpoint, &self.name, response.status);
        match (status, response.header("x-error-code").unwrap_or_default()) {
            (401 | 403, "GatedRepo") => self
                .error(format!(
                    "its licence must be accepted at {endpoint}/{name}, and the token of that account given {how} \
                     (status {status})"
                ))
                .into(),
            // What a hub says to a stranger of both a repository that is not there and one that is private.
            (401, "RepoNotFound") => {
                Failure::Absent(format!("no such repository, or a private one that needs a token, given {how}"))
            }
            (401, _) => self.error(format!("a valid token is needed, given {how} (status 401)")).into(),
            (403, _) => self
                .error(format!(
                    "this token may not read it: accept the licence at {endpoint}/{name} if it has one, or give \
                     another token {how} (status 403)"
                ))
                .into(),
            (404, "RevisionNotFound") => Failure::Absent("the repository has no such revision".to_owned()),
            (404, "EntryNotFound") => Failure::Absent("no such file (status 404)".to_owned()),
            (404, _) => Failure::Absent("no such repository (status 404)".to_owned()),
            (408 | 429 | 500.., _) => Failure::Unreachable(format!("answered with status {status}")),
            _ => self.error(format!("unexpected answer of the hub (status {status})")).into(),
        }
    }

    pub(super) fn repo(&self) -> &str {
        &self.name
    }

    pub(super) fn error(&self, message: impl Into<String>) -> Error {
        Error::Hub { repo: self.name.clone(), message: message.into() }
    }
}

impl Response {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    /// Where in the file the body begins.
    pub(super) fn first_byte(&self) -> Option<u64> {
        if self.status == 206 { self.content_range()?.0.parse().ok() } else { Some(0) }
    }

    /// The size of the whole file, whatever part of it the body is.
    pub(super) fn total_bytes(&self) -> Option<u64> {
        if self.status == 206 { self.content_range()?.1 } else { self.header("content-length")? }.parse().ok()
    }

    /// First byte and total of "bytes first-last/total".
    fn content_range(&self) -> Option<(&str, &str)> {
        let (range, total) = self.header("content-range")?.strip_prefix("bytes ")?.split_once('/')?;
        Some((range.split_once('-')?.0, total))
    }

    /// The next piece of the body; `None` at its end, an error where the connection broke.
    pub(super) fn next_chunk(&self, watch: &dyn DownloadWatch) -> Result<Option<io::Result<Vec<u8>>>> {
        receive(&self.body, watch)
    }
}

/// Waits for the other thread's next message and asks `watch` meanwhile; `None` when there will be no more.
fn receive<T>(receiver: &Receiver<T>, watch: &dyn DownloadWatch) -> Result<Option<T>> {
    loop {
        watch.check()?;
        match receiver.recv_timeout(WATCH_INTERVAL) {
            Ok(message) => return Ok(Some(message)),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return Ok(None),
        }
    }
}

/// Sends the body in chunks until its end, an error, or until the receiver is gone.
fn send_chunks(mut reader: impl Read, chunks: &SyncSender<io::Result<Vec<u8>>>) {
    loop {
        let mut chunk = Vec::with_capacity(CHUNK_BYTES as usize);
        let end = reader.by_ref().take(CHUNK_BYTES).read_to_end(&mut chunk);
        let is_last = chunk.is_empty();
        // What came before the connection broke is worth keeping.
        if !is_last && chunks.send(Ok(chunk)).is_err() {
            return;
        }
        match end {
            Ok(_) if is_last => return,
            Ok(_) => {}
            Err(error) => return drop(chunks.send(Err(error))),
        }
    }
}

/// What kept a request from being answered, with what to do about it. A URL, which may hold a secret, is not shown.
fn unreachable(error: ureq::Error) -> String {
    let mut message = match error {
        ureq::Error::BadUri(_) => "could not be reached: bad uri".to_owned(),
        error => format!("could not be reached: {error}"),
    };
    if message.contains("certificate") {
        message += "; SSL_CERT_FILE or REQUESTS_CA_BUNDLE can name a file with the authority to believe";
    }
    message
}

/// Scheme, host and port of a URL, and the rest of it. A user's name and password are left out.
fn split(url: &str) -> (String, &str) {
    let host = url.find("://").map_or(0, |colon| colon + 3);
    let end = url[host..].find(['/', '?', '#']).map_or(url.len(), |slash| host + slash);
    let authority = url[host..end].rsplit('@').next().unwrap_or_default();
    (format!("{}{authority}", &url[..host]).to_ascii_lowercase(), &url[end..])
}

/// Whether `url` is one of the hub's own, at `endpoint`.
fn is_below(url: &str, endpoint: &str) -> bool {
    let ((origin, rest), (own, folder)) = (split(url), split(endpoint));
    let path = rest.split(['?', '#']).next().unwrap_or_default();
    let climbs = path.to_ascii_lowercase().replace("%2e", ".").replace('\\', "/").split('/').any(|part| part == "..");
    origin == own && !climbs && path.strip_prefix(folder).is_some_and(|path| path.starts_with('/'))
}

/// Where `location`, given in an answer to `url`, leads.
fn resolve(url: &str, location: &str) -> String {
    if location.contains("://") {
        location.to_owned()
    } else if let Some(host) = location.strip_prefix("//") {
        format!("{}//{host}", url.split_inclusive(':').next().unwrap_or_default())
    } else if location.starts_with('/') {
        format!("{}{location}", split(url).0)
    } else {
        let path = url.split(['?', '#']).next().unwrap_or_default();
        format!("{}/{location}", path.rsplit_once('/').map_or(path, |(folder, _)| folder))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirects_resolve_as_in_a_browser() {
        let url = "https://hub.test:8080/a/b?c=/d/e";
        for (location, expected) in [
            ("https://cdn.test/x", "https://cdn.test/x"),
            ("//cdn.test/x", "https://cdn.test/x"),
            ("/x?y", "https://hub.test:8080/x?y"),
            ("x", "https://hub.test:8080/a/x"),
        ] {
            assert_eq!(resolve(url, location), expected);
        }
    }

    #[test]
    fn an_origin_is_scheme_host_and_port() {
        let origin = |url| split(url).0;
        assert_eq!(origin("HTTPS://Hub.test/a/b"), "https://hub.test");
        assert_eq!(origin("https://hub.test?q"), "https://hub.test");
        assert_eq!(origin("https://ada:secret@hub.test/a"), "https://hub.test");
        assert_ne!(origin("https://hub.test"), origin("http://hub.test"));
        assert_ne!(origin("https://hub.test"), origin("https://hub.test:444"));
        assert_ne!(origin("https://hub.test"), origin("https://hub.test@evil.test"));
    }

    #[test]
    fn the_hub_is_what_lies_below_its_endpoint() {
        for (url, expected) in [
            ("https://hub.test/hf/ada/tiny", true),
            ("https://HUB.test/hf/x?y=/../z", true),
            ("https://hub.test/hf", false),
            ("https://hub.test/hf-evil/x", false),
            ("https://hub.test/evil/x", false),
            ("https://hub.test/hf/../evil/x", false),
            ("https://hub.test/hf/%2E%2e/evil/x", false),
            ("https://hub.test@evil.test/hf/x", false),
            ("https://hub.test:444/hf/x", false),
            ("http://hub.test/hf/x", false),
        ] {
            assert_eq!(is_below(url, "https://hub.test/hf"), expected, "{url}");
        }
        assert!(is_below("https://hub.test/x", "https://hub.test"));
    }

    #[test]
    fn names_are_encoded_for_urls() {
        assert_eq!(utf8_percent_encode("refs/pr/1", &SEGMENT).to_string(), "refs%2Fpr%2F1");
        assert_eq!(utf8_percent_encode("a b/ü#?.json", &PATH).to_string(), "a%20b/%C3%BC%23%3F.json");
    }
}
