//! How the network is reached: proxies, and the authorities whose certificates are believed.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};
use ureq::{Agent, Proxy};

use super::secret::Secret;
use crate::files::read_file;
use crate::{Error, Result};

const MAX_CONNECT: Duration = Duration::from_secs(5);
/// Bundles of all the world's authorities have a quarter of a megabyte.
const MAX_BUNDLE_BYTES: u64 = 64 << 20;

/// What the environment says of the way to a hub.
#[derive(Debug, Clone, Default)]
pub struct NetworkEnvironment {
    /// `HTTP_PROXY`, or `ALL_PROXY`: the proxy for `http://`.
    pub http_proxy: Option<Secret>,
    /// `HTTPS_PROXY`, or `ALL_PROXY`: the proxy for `https://`.
    pub https_proxy: Option<Secret>,
    /// `NO_PROXY`: hosts, domains and addresses, between commas, that are reached directly.
    pub no_proxy: String,
    /// `REQUESTS_CA_BUNDLE`, else `CURL_CA_BUNDLE`, else `SSL_CERT_FILE` and `SSL_CERT_DIR`: the variable, and the file
    /// of certificates or the folder of such files that it names. They take the place of the system's.
    pub authorities: Vec<(&'static str, PathBuf)>,
}

/// Clients for `http://` and `https://`, through their proxies.
pub(super) struct HttpAgents {
    direct: Agent,
    http: Agent,
    https: Agent,
    no_proxy: String,
}

impl HttpAgents {
    /// `timeout` is how long a server may be silent.
    pub(super) fn new(environment: &NetworkEnvironment, timeout: Duration) -> Result<Self, String> {
        let authorities = authorities(environment)?;
        let agent = |proxy: Option<&Secret>| {
            let proxy = proxy.map(|url| Proxy::new(url.reveal()));
            let config = Agent::config_builder()
                .tls_config(TlsConfig::builder().root_certs(authorities.clone()).build())
                .proxy(proxy.transpose().map_err(|_| "the proxy that the environment names has no usable URL")?)
                .user_agent(concat!("votive/", env!("CARGO_PKG_VERSION")))
                .max_redirects(0)
                .http_status_as_error(false)
                .timeout_resolve(Some(MAX_CONNECT))
                .timeout_connect(Some(MAX_CONNECT))
                .timeout_recv_response(Some(timeout))
                .timeout_per_read(Some(timeout));
            Ok::<_, String>(Agent::new_with_config(config.build()))
        };
        Ok(Self {
            direct: agent(None)?,
            http: agent(environment.http_proxy.as_ref())?,
            https: agent(environment.https_proxy.as_ref())?,
            no_proxy: environment.no_proxy.clone(),
        })
    }

    /// The client for `url`.
    pub(super) fn agent(&self, url: &str) -> &Agent {
        let uri = url.parse::<ureq::http::Uri>().unwrap_or_default();
        match uri.host() {
            Some(host) if is_direct(&self.no_proxy, host, uri.port_u16()) => &self.direct,
            _ if url.to_ascii_lowercase().starts_with("https:") => &self.https,
            _ => &self.http,
        }
    }
}

/// Whether `no_proxy` names the host, or a domain above it, as in curl and in Python's requests.
fn is_direct(no_proxy: &str, host: &str, port: Option<u16>) -> bool {
    let host = host.trim_matches(['[', ']']).trim_end_matches('.').to_ascii_lowercase();
    no_proxy.split([',', ' ']).filter(|entry| !entry.is_empty()).any(|entry| {
        let entry = entry.to_ascii_lowercase();
        if entry == "*" {
            return true;
        }
        if let (Some((network, bits)), Ok(address)) = (entry.split_once('/'), host.parse()) {
            return is_in_network(address, network, bits);
        }
        let (name, wanted) = match entry.rsplit_once(':') {
            Some((name, digits)) if !name.contains(':') || name.ends_with(']') => (name, digits.parse().ok()),
            _ => (entry.as_str(), None),
        };
        let name = name.trim_matches(['[', ']']).trim_start_matches('*').trim_start_matches('.');
        let is_below = || host.strip_suffix(name).is_some_and(|below| below.ends_with('.'));
        (wanted.is_none() || wanted == port) && !name.is_empty() && (host == name || is_below())
    })
}

/// Whether `address` shares its first `bits` bits with `network`.
fn is_in_network(address: IpAddr, network: &str, bits: &str) -> bool {
    let number = |address: IpAddr| match address {
        IpAddr::V4(address) => (32, u128::from(address.to_bits())),
        IpAddr::V6(address) => (128, address.to_bits()),
    };
    let (Ok(network), Ok(bits)) = (network.parse(), bits.parse::<u32>()) else { return false };
    let ((width, address), (other, network)) = (number(address), number(network));
    width == other && bits <= width && (address ^ network).checked_shr(width - bits).unwrap_or(0) == 0
}

/// The authorities that the environment names, or those of the system and Mozilla's.
fn authorities(environment: &NetworkEnvironment) -> Result<RootCerts, String> {
    if environment.authorities.is_empty() {
        // What the system has and cannot be read is as if it were not there: Mozilla's are enough for the public hub.
        let system = rustls_native_certs::load_native_certs().certs;
        let system = system.iter().map(|certificate| Certificate::from_der(certificate).to_owned());
        let mozilla = webpki_root_certs::TLS_SERVER_ROOT_CERTS.iter();
        return Ok(mozilla
            .map(|certificate| Certificate::from_der(certificate))
            .chain(system)
            .collect::<Vec<_>>()
            .into());
    }
    let (mut found, mut problems) = (Vec::new(), Vec::new());
    for (variable, path) in &environment.authorities {
        match certificates(path) {
            Ok(certificates) => found.extend(certificates),
            Err(error) => problems.push(format!("{variable}: {error}")),
        }
        if found.is_empty() && problems.is_empty() {
            problems.push(format!("{variable}: {} holds no certificate", path.display()));
        }
    }
    // One of them may name nothing, as for OpenSSL, but not all.
    if found.is_empty() { Err(problems.join("; ")) } else { Ok(found.into()) }
}

/// The certificates in a file, or in the files of a folder.
fn certificates(path: &Path) -> Result<Vec<Certificate<'static>>> {
    let mut files = vec![path.to_owned()];
    if path.is_dir() {
        let entries = std::fs::read_dir(path).and_then(|entries| entries.collect::<Result<Vec<_>, _>>());
        let entries = entries.map_err(|source| Error::io(path, source))?;
        files = entries.into_iter().map(|entry| entry.path()).filter(|file| file.is_file()).collect();
    }
    let mut certificates = Vec::new();
    for file in files {
        let content = read_file(&file, &file.display().to_string(), MAX_BUNDLE_BYTES)?;
        certificates.extend(parse_pem(&content).filter_map(|item| match item {
            Ok(PemItem::Certificate(certificate)) => Some(certificate),
            _ => None,
        }));
    }
    Ok(certificates)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_proxy_names_hosts_domains_and_networks() {
        for (no_proxy, host, expected) in [
            ("", "hub.test", false),
            ("*", "hub.test", true),
            ("other.test, hub.test", "hub.test", true),
            ("hub.test", "a.hub.test", true),
            (".hub.test", "a.hub.test", true),
            ("*.hub.test", "a.hub.test", true),
            ("hub.test", "ahub.test", false),
            ("HUB.test", "Hub.Test", true),
            ("hub.test:443", "hub.test", true),
            ("hub.test:80", "hub.test", false),
            ("127.0.0.1", "127.0.0.1", true),
            ("10.0.0.0/8", "10.1.2.3", true),
            ("10.0.0.0/8", "11.1.2.3", false),
            ("0.0.0.0/0", "11.1.2.3", true),
            ("10.0.0.0/33", "10.0.0.0", false),
            ("::1", "[::1]", true),
            ("fe80::/10", "[fe80::1]", true),
        ] {
            assert_eq!(is_direct(no_proxy, host, Some(443)), expected, "{no_proxy:?} {host:?}");
        }
    }
}
