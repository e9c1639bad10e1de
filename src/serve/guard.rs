//! Who may ask: keys, and the hosts and origins by which browsers would reach a server that only this machine should.

use std::net::{IpAddr, SocketAddr};

use axum::http::header::{AUTHORIZATION, HOST, ORIGIN};
use axum::http::{HeaderMap, Uri};
use sha2::{Digest, Sha256};
use subtle::{Choice, ConstantTimeEq};

use crate::serve::fault::{Fault, FaultKind};

/// Headers with a key, beside `Authorization: Bearer`.
const KEY_HEADERS: [&str; 2] = ["api-key", "x-api-key"];

/// What may be asked without a key: whether the server lives, for what watches it, and what its routes are.
const OPEN_PATHS: [&str; 9] =
    ["/", "/health", "/health/live", "/live", "/ready", "/ping", "/openapi.json", "/api-doc/openapi.json", "/docs"];

/// What a request must have.
#[derive(Debug, Default)]
pub(super) struct Guard {
    /// SHA-256 of each key; none for a server without keys.
    keys: Vec<[u8; 32]>,
    /// Hosts by which the server may be asked; None for any.
    hosts: Option<Vec<String>>,
    origins: Vec<String>,
    /// Whether numbers may be read without a key, too.
    pub(super) opens_metrics: bool,
}

impl Guard {
    /// `hosts`: names beside those of this machine. On an address that others reach, any name is taken.
    pub(super) fn new(keys: &[String], address: Option<SocketAddr>, hosts: &[String], origins: &[String]) -> Self {
        let is_local = address.is_none_or(|address| address.ip().is_loopback());
        let hosts = (is_local || !hosts.is_empty()).then(|| {
            let own = address.map(|address| address.ip().to_string());
            hosts.iter().cloned().chain(own).map(|host| host.to_ascii_lowercase()).collect()
        });
        let keys = keys.iter().map(|key| Sha256::digest(key.as_bytes()).into()).collect();
        Self { keys, hosts, origins: origins.to_vec(), opens_metrics: false }
    }

    /// Whether a path may be read without a key.
    pub(super) fn opens(&self, path: &str) -> bool {
        OPEN_PATHS.contains(&path) || self.opens_metrics && path == "/metrics"
    }

    /// Whether the request comes by a name of this server, and from no other web page.
    ///
    /// # Errors
    /// A fault that says what to allow.
    pub(super) fn check_place(&self, headers: &HeaderMap, uri: &Uri) -> Result<(), Fault> {
        if let Some(hosts) = &self.hosts {
            let host = headers.get(HOST).map_or(uri.host(), |host| host.to_str().ok()).unwrap_or_default();
            let name = without_port(host).to_ascii_lowercase();
            let is_own = name == "localhost"
                || name.ends_with(".localhost")
                || name.trim_matches(['[', ']']).parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
                || hosts.contains(&name);
            if !is_own {
                let message = format!("Host {name:?} is not this server's; allow it with --allowed-host");
                return Err(Fault::new(FaultKind::Forbidden, message));
            }
        }
        if let Some(origin) = headers.get(ORIGIN) {
            let origin = origin.to_str().unwrap_or_default();
            if !self.origins.iter().any(|allowed| allowed == origin) {
                let message =
                    format!("requests of web pages of {origin:?} are not taken; allow them with --cors-origin");
                return Err(Fault::new(FaultKind::Forbidden, message));
            }
        }
        Ok(())
    }

    /// The origin to name in an answer's `Access-Control-Allow-Origin`.
    pub(super) fn allowed_origin(&self, headers: &HeaderMap) -> Option<&str> {
        let origin = headers.get(ORIGIN)?.to_str().ok()?;
        self.origins.iter().map(String::as_str).find(|&allowed| allowed == origin)
    }

    /// Whether the request has a key, where the server has some.
    ///
    /// # Errors
    /// A fault that says where keys go.
    pub(super) fn check_key(&self, headers: &HeaderMap) -> Result<(), Fault> {
        if self.keys.is_empty() {
            return Ok(());
        }
        let bearer = headers.get(AUTHORIZATION).and_then(|value| bearer(value.as_bytes()));
        let others = KEY_HEADERS.iter().filter_map(|name| headers.get(*name)).map(|value| value.as_bytes());
        let given: Vec<&[u8]> = bearer.into_iter().chain(others).collect();
        if given.is_empty() {
            let message = "this server needs a key: send Authorization: Bearer KEY";
            return Err(Fault::new(FaultKind::NoKey, message));
        }
        let is_known = given.iter().fold(Choice::from(0), |known, key| {
            let digest: [u8; 32] = Sha256::digest(key).into();
            self.keys.iter().fold(known, |known, own| known | own.ct_eq(&digest))
        });
        match bool::from(is_known) {
            true => Ok(()),
            false => Err(Fault::new(FaultKind::NoKey, "this server does not know the key that was sent")),
        }
    }
}

/// The key behind `Bearer`, in any case.
fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, key) = value.split_at_checked(7)?;
    scheme.eq_ignore_ascii_case(b"bearer ").then(|| key.trim_ascii())
}

fn without_port(host: &str) -> &str {
    match (host.starts_with('['), host.rfind(':')) {
        (true, _) => host.split_inclusive(']').next().unwrap_or(host),
        (false, Some(colon)) => &host[..colon],
        (false, None) => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().expect("a name"), value.parse().expect("a value"))).collect()
    }

    fn place(guard: &Guard, pairs: &[(&'static str, &str)]) -> bool {
        guard.check_place(&headers(pairs), &Uri::from_static("/")).is_ok()
    }

    #[test]
    fn a_local_server_is_asked_by_local_names() {
        let address = "127.0.0.1:8000".parse().expect("an address");
        let guard = Guard::new(&[], Some(address), &["box.lan".to_owned()], &["http://localhost:3000".to_owned()]);
        for host in [
            "localhost",
            "localhost:8000",
            "LOCALHOST:1",
            "a.localhost",
            "127.0.0.1:8000",
            "127.9.9.9",
            "[::1]:8000",
            "box.lan:8",
        ] {
            assert!(place(&guard, &[("host", host)]), "{host}");
        }
        for host in ["evil.example", "evil.example:8000", "localhost.evil.example", "10.0.0.1", "", "[::2]"] {
            assert!(!place(&guard, &[("host", host)]), "{host}");
        }
        assert!(!place(&guard, &[]));
        assert!(place(&guard, &[("host", "localhost"), ("origin", "http://localhost:3000")]));
        assert!(!place(&guard, &[("host", "localhost"), ("origin", "http://evil.example")]));
        assert!(!place(&guard, &[("host", "localhost"), ("origin", "null")]));
    }

    #[test]
    fn a_public_server_is_asked_by_any_name() {
        let address = Some("0.0.0.0:8000".parse().expect("an address"));
        assert!(place(&Guard::new(&[], address, &[], &[]), &[("host", "any.example")]));
        let named = Guard::new(&[], address, &["one.example".to_owned()], &[]);
        assert!(place(&named, &[("host", "one.example")]) && !place(&named, &[("host", "any.example")]));
    }

    #[test]
    fn keys_come_in_three_headers() {
        let guard = Guard::new(&["first".to_owned(), "second".to_owned()], None, &[], &[]);
        let has_key = |pairs: &[(&'static str, &str)]| guard.check_key(&headers(pairs)).is_ok();
        assert!(has_key(&[("authorization", "Bearer first")]) && has_key(&[("authorization", "bearer  second ")]));
        assert!(has_key(&[("api-key", "first")]) && has_key(&[("x-api-key", "second")]));
        assert!(has_key(&[("authorization", "Bearer wrong"), ("x-api-key", "second")]));
        assert!(!has_key(&[]) && !has_key(&[("authorization", "Bearer ")]) && !has_key(&[("authorization", "first")]));
        assert!(!has_key(&[("x-api-key", "firs")]) && !has_key(&[("x-api-key", "first1")]));
        assert!(Guard::new(&[], None, &[], &[]).check_key(&HeaderMap::new()).is_ok());
    }
}
