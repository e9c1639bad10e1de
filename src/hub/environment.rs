//! What the environment says about the Hugging Face Hub, read in one place.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use percent_encoding::percent_decode_str;

use super::network::NetworkEnvironment;
use super::secret::Secret;
use crate::files::{MAX_LINE_BYTES, read_file};

const DEFAULT_ENDPOINT: &str = "https://huggingface.co";
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);

/// The variables that huggingface_hub and sentence-transformers read, with their meaning there.
#[derive(Debug, Clone)]
pub struct HubEnvironment {
    /// `HF_ENDPOINT`, without a slash at the end, and without the user and the password that it may name.
    pub endpoint: String,
    /// "user:password" of `HF_ENDPOINT`. The endpoint gets them in place of a token.
    pub credentials: Option<Secret>,
    /// Where snapshots lie: `SENTENCE_TRANSFORMERS_HOME`, `HF_HUB_CACHE`, `HUGGINGFACE_HUB_CACHE`, `HF_HOME` or
    /// `XDG_CACHE_HOME`, the first that is set; else below the home folder. `None` where there is no home folder.
    pub cache_folder: Option<PathBuf>,
    /// `HF_TOKEN`, or what `hf auth login` stored (`HF_TOKEN_PATH`), unless `HF_HUB_DISABLE_IMPLICIT_TOKEN`.
    pub token: Option<Secret>,
    /// `HF_HUB_OFFLINE` or `TRANSFORMERS_OFFLINE`: the network is not touched.
    pub offline: bool,
    /// How long the hub may be silent before it counts as unreachable: `HF_HUB_DOWNLOAD_TIMEOUT` in seconds, or 10 s.
    pub timeout: Duration,
    /// The way to the hub.
    pub network: NetworkEnvironment,
}

impl HubEnvironment {
    pub fn read() -> Self {
        Self::from_variables(|name| env::var_os(name), env::home_dir())
    }

    fn from_variables(variable: impl Fn(&str) -> Option<OsString>, home: Option<PathBuf>) -> Self {
        let path = |name: &str| {
            let value = PathBuf::from(variable(name).filter(|value| !value.is_empty())?);
            Some(match (value.strip_prefix("~"), &home) {
                (Ok(rest), Some(home)) => home.join(rest),
                _ => value,
            })
        };
        let text = |name: &str| {
            let value = variable(name)?.into_string().ok()?.trim().to_owned();
            (!value.is_empty()).then_some(value)
        };
        let is_true = |value: String| ["1", "on", "yes", "true"].contains(&value.to_lowercase().as_str());

        let hf_home = path("HF_HOME").or_else(|| {
            let caches = path("XDG_CACHE_HOME").or_else(|| Some(home.as_ref()?.join(".cache")))?;
            Some(caches.join("huggingface"))
        });
        let cache_folder = ["SENTENCE_TRANSFORMERS_HOME", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"]
            .into_iter()
            .find_map(path)
            .or_else(|| Some(hf_home.as_ref()?.join("hub")));
        let stored_token = || stored_token(&path("HF_TOKEN_PATH").or_else(|| Some(hf_home.as_ref()?.join("token")))?);
        let token = if text("HF_HUB_DISABLE_IMPLICIT_TOKEN").is_some_and(is_true) {
            None
        } else {
            text("HF_TOKEN").or_else(|| text("HUGGING_FACE_HUB_TOKEN")).or_else(stored_token)
        };
        let seconds = text("HF_HUB_DOWNLOAD_TIMEOUT").and_then(|value| value.parse().ok()).filter(|&value| value > 0);
        let (endpoint, credentials) = endpoint(&text("HF_ENDPOINT").unwrap_or_else(|| DEFAULT_ENDPOINT.to_owned()));
        let either = |name: &str| text(name).or_else(|| text(&name.to_uppercase()));
        let proxy = |name: &str| either(name).or_else(|| either("all_proxy")).map(Secret::from);
        let named = |name| Some((name, path(name)?));
        let bundle = named("REQUESTS_CA_BUNDLE").or_else(|| named("CURL_CA_BUNDLE"));
        let authorities = match bundle {
            Some(bundle) => vec![bundle],
            None => ["SSL_CERT_FILE", "SSL_CERT_DIR"].into_iter().filter_map(named).collect(),
        };
        let network = NetworkEnvironment {
            http_proxy: proxy("http_proxy"),
            https_proxy: proxy("https_proxy"),
            no_proxy: either("no_proxy").unwrap_or_default(),
            authorities,
        };
        Self {
            endpoint,
            credentials,
            cache_folder,
            token: token.map(Secret::from),
            offline: text("HF_HUB_OFFLINE").or_else(|| text("TRANSFORMERS_OFFLINE")).is_some_and(is_true),
            timeout: seconds.map_or(DEFAULT_TIMEOUT, Duration::from_secs),
            network,
        }
    }
}

/// The URL of a hub without a slash at its end, and the "user:password" that it names.
fn endpoint(url: &str) -> (String, Option<Secret>) {
    let url = url.trim_end_matches('/');
    let host = url.find("://").map_or(0, |colon| colon + 3);
    let end = url[host..].find('/').map_or(url.len(), |slash| host + slash);
    match url[host..end].rsplit_once('@') {
        None => (url.to_owned(), None),
        Some((credentials, authority)) => {
            let credentials = percent_decode_str(credentials).decode_utf8_lossy().into_owned();
            (format!("{}{authority}{}", &url[..host], &url[end..]), Some(credentials.into()))
        }
    }
}

fn stored_token(path: &Path) -> Option<String> {
    let token = String::from_utf8(read_file(path, "token", MAX_LINE_BYTES).ok()?).ok()?.trim().to_owned();
    (!token.is_empty()).then_some(token)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::fs;

    use super::*;

    fn environment(variables: &[(&str, &str)]) -> HubEnvironment {
        let variables: HashMap<&str, &str> = variables.iter().copied().collect();
        HubEnvironment::from_variables(|name| variables.get(name).map(OsString::from), Some("/home/ada".into()))
    }

    fn cache_folder(variables: &[(&str, &str)]) -> String {
        environment(variables).cache_folder.unwrap().to_string_lossy().replace('\\', "/")
    }

    #[test]
    fn the_cache_folder_is_the_one_that_huggingface_hub_takes() {
        let mut variables = vec![];
        assert_eq!(cache_folder(&variables), "/home/ada/.cache/huggingface/hub");
        for (name, value, expected) in [
            ("XDG_CACHE_HOME", "/xdg", "/xdg/huggingface/hub"),
            ("HF_HOME", "~/hf", "/home/ada/hf/hub"),
            ("HUGGINGFACE_HUB_CACHE", "/legacy", "/legacy"),
            ("HF_HUB_CACHE", "/hub", "/hub"),
            ("SENTENCE_TRANSFORMERS_HOME", "/st", "/st"),
        ] {
            variables.push((name, value));
            assert_eq!(cache_folder(&variables), expected);
        }
        assert_eq!(cache_folder(&[("HF_HOME", "")]), "/home/ada/.cache/huggingface/hub");
        assert!(HubEnvironment::from_variables(|_| None, None).cache_folder.is_none());
    }

    #[test]
    fn offline_is_what_python_takes_for_true() {
        assert!(!environment(&[]).offline);
        assert!(environment(&[("HF_HUB_OFFLINE", "1")]).offline);
        assert!(environment(&[("TRANSFORMERS_OFFLINE", "Yes")]).offline);
        assert!(!environment(&[("HF_HUB_OFFLINE", "0"), ("TRANSFORMERS_OFFLINE", "1")]).offline);
    }

    #[test]
    fn the_token_comes_from_the_variable_then_from_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("token");
        fs::write(&file, "hf_stored\n").unwrap();
        let (home, file) = (folder.path().to_str().unwrap(), file.to_str().unwrap());
        let token = |variables: &[(&str, &str)]| environment(variables).token.map(|token| token.reveal().to_owned());
        assert_eq!(token(&[("HF_HOME", home)]).as_deref(), Some("hf_stored"));
        assert_eq!(token(&[("HF_TOKEN_PATH", file)]).as_deref(), Some("hf_stored"));
        assert_eq!(token(&[("HF_TOKEN_PATH", file), ("HF_TOKEN", " hf_given ")]).as_deref(), Some("hf_given"));
        assert_eq!(token(&[("HF_TOKEN", "hf_given"), ("HF_HUB_DISABLE_IMPLICIT_TOKEN", "1")]), None);
        assert_eq!(token(&[("HF_HOME", "/nowhere")]), None);
    }

    #[test]
    fn the_password_of_an_endpoint_is_taken_out_of_it_and_not_shown() {
        let environment = environment(&[
            ("HF_ENDPOINT", "https://ada:s%40cret@hub.test:8080/hf/"),
            ("HF_TOKEN", "hf_hidden"),
            ("https_proxy", "http://ada:hidden@proxy.test"),
        ]);
        assert_eq!(environment.endpoint, "https://hub.test:8080/hf");
        assert_eq!(environment.credentials.as_ref().unwrap().reveal(), "ada:s@cret");
        let shown = format!("{environment:?}");
        assert!(!shown.contains("cret") && !shown.contains("hidden") && !shown.contains("ada:"), "{shown}");
    }

    #[test]
    fn proxies_and_authorities_are_those_of_curl_and_requests() {
        let network = |variables: &[(&str, &str)]| environment(variables).network;
        let proxies = |variables: &[(&str, &str)]| {
            let network = network(variables);
            [network.http_proxy, network.https_proxy].map(|proxy| proxy.map(|url| url.reveal().to_owned()))
        };
        let urls = |http: &str, https: &str| [Some(http.to_owned()), Some(https.to_owned())];
        assert_eq!(proxies(&[]), [None, None]);
        assert_eq!(proxies(&[("HTTPS_PROXY", "s")]), [None, Some("s".to_owned())]);
        assert_eq!(proxies(&[("ALL_PROXY", "a"), ("http_proxy", "h"), ("HTTP_PROXY", "H")]), urls("h", "a"));
        assert_eq!(network(&[("NO_PROXY", "hub.test")]).no_proxy, "hub.test");

        let authorities = |variables: &[(&str, &str)]| -> Vec<&str> {
            network(variables).authorities.into_iter().map(|(name, _)| name).collect()
        };
        let mut variables = vec![("SSL_CERT_DIR", "/a"), ("SSL_CERT_FILE", "/b")];
        assert_eq!(authorities(&variables), ["SSL_CERT_FILE", "SSL_CERT_DIR"]);
        for name in ["CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE"] {
            variables.push((name, "/c"));
            assert_eq!(authorities(&variables), [name]);
        }
        assert_eq!(authorities(&[("SSL_CERT_FILE", "")]), [""; 0]);
    }

    #[cfg(unix)]
    #[test]
    fn a_token_file_that_is_a_pipe_is_no_token() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("token");
        assert!(std::process::Command::new("mkfifo").arg(&file).status().unwrap().success());
        assert!(environment(&[("HF_TOKEN_PATH", file.to_str().unwrap())]).token.is_none());
    }

    #[test]
    fn endpoint_and_timeout_have_defaults() {
        assert_eq!(environment(&[]).endpoint, "https://huggingface.co");
        assert_eq!(environment(&[("HF_ENDPOINT", "http://mirror:8080/hf/")]).endpoint, "http://mirror:8080/hf");
        assert_eq!(environment(&[("HF_HUB_DOWNLOAD_TIMEOUT", "3")]).timeout, Duration::from_secs(3));
        assert_eq!(environment(&[("HF_HUB_DOWNLOAD_TIMEOUT", "soon")]).timeout, DEFAULT_TIMEOUT);
    }
}
