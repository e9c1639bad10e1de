//! Who is told what on the way to a hub: tokens, passwords, proxies, certificates.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::PrivatePkcs8KeyDer;

use crate::server::{COMMIT, Hub, REPO, Reply, Request, Server};
use crate::*;

fn authorization(request: &Request) -> Option<&str> {
    request.header("authorization")
}

#[test]
fn a_token_is_not_sent_to_where_another_host_leads() {
    let elsewhere = Server::start(|request| {
        let (path, home) = request.path.split_once("?home=").unwrap();
        Reply::new(302, "").header("location", format!("{home}/small{path}?back"))
    });
    let away = elsewhere.url();
    let hub = Hub::deviating(tiny_model(), move |request| {
        if let Some(name) = request.path.strip_suffix("?back") {
            let content = &tiny_model()[name.strip_prefix("/small/").unwrap()];
            return Some(Reply::new(200, content.clone()));
        }
        let name = request.path.strip_prefix(&format!("/{REPO}/resolve/{COMMIT}/"))?;
        let location = format!("{away}/{name}?home=http://{}", request.header("host").unwrap());
        let content = &tiny_model()[name];
        let reply = Reply::new(302, "").header("location", location);
        let size = content.len().to_string();
        Some(reply.header("x-linked-etag", server::etag(content)).header("x-linked-size", size))
    });
    let place = Place::of(&hub);
    let token = Token::Given("hf_secret".into());
    assert_holds(&find(REPO, &FindOptions { token, ..place.options() }, &Watch::new()).unwrap(), &tiny_model());
    assert!(elsewhere.requests().iter().all(|request| authorization(request).is_none()));
    let (back, first): (Vec<_>, Vec<_>) =
        hub.api.requests().into_iter().partition(|request| request.path.ends_with("?back"));
    assert_eq!(back.len(), tiny_model().len());
    assert!(back.iter().all(|request| authorization(request).is_none()));
    assert!(first.iter().all(|request| authorization(request) == Some("Bearer hf_secret")));
}

#[test]
fn a_token_goes_no_further_than_the_endpoint_reaches() {
    let hub = Hub::deviating(tiny_model(), |request| {
        let path = request.path.strip_prefix("/hub")?.to_owned();
        Some(Reply::new(307, "").header("location", path))
    });
    let mut place = Place::of(&hub);
    place.environment.endpoint += "/hub";
    place.environment.token = Some("hf_secret".into());
    assert_holds(&place.find().unwrap(), &tiny_model());
    for request in hub.api.requests() {
        assert_eq!(authorization(&request).is_some(), request.path.starts_with("/hub/"), "{}", request.path);
    }
}

#[test]
fn a_user_and_a_password_go_to_the_endpoint_alone_and_show_nowhere() {
    let hub = Hub::new(tiny_model());
    let mut place = Place::of(&hub);
    place.environment.credentials = Some("ada:s@cret".into());
    place.environment.token = Some("hf_hidden".into());
    place.find().unwrap();
    assert!(hub.api.requests().iter().all(|request| authorization(request) == Some("Basic YWRhOnNAY3JldA==")));
    assert!(hub.cdn.requests().iter().all(|request| authorization(request).is_none()));

    let token = Token::Given("hf_secret".into());
    let options = FindOptions { token, ..place.options() };
    let shown = format!("{:?} {:?}", options.token, options.environment);
    let message = find("ada/other", &options, &Watch::new()).unwrap_err().to_string();
    assert!(message.starts_with("token: HF_ENDPOINT names a user and a password"), "{message}");
    let unknown = find("ada/other", &place.options(), &Watch::new()).unwrap_err().to_string();
    for text in [shown, message, unknown] {
        assert!(["s@cret", "hf_hidden", "hf_secret", "YWRh"].iter().all(|secret| !text.contains(secret)), "{text}");
    }
}

#[test]
fn a_token_that_is_none_is_refused_without_being_shown() {
    let place = Place::new("http://127.0.0.1:9");
    for token in ["", "hf_secret\r\nx: y", "hf_sécret"] {
        let options = FindOptions { token: Token::Given(token.into()), ..place.options() };
        let error = find(REPO, &options, &Watch::new()).unwrap_err();
        assert!(matches!(error, Error::Argument { name: "token", .. }), "{error:?}");
        assert!(!error.to_string().contains("hf_"), "{error}");
    }
}

#[test]
fn a_redirect_that_is_refused_does_not_show_its_signature() {
    let (pem, tls) = authority();
    let hub = Hub::start(tiny_model(), Some(tls), |_| {
        Some(Reply::new(302, "").header("location", "http://ada:s3cret@cdn.test/x?signature=s3cret"))
    });
    let bundle = tempfile::NamedTempFile::new().unwrap();
    fs::write(bundle.path(), pem).unwrap();
    let mut place = Place::of(&hub);
    place.environment.network.authorities = vec![("SSL_CERT_FILE", bundle.path().to_owned())];
    let message = place.find().unwrap_err().to_string();
    assert!(message.contains("redirects from https to http://cdn.test") && !message.contains("s3cret"), "{message}");
}

/// An authority of nobody's but ours, as a file, and a server with a certificate of its.
fn authority() -> (String, Arc<ServerConfig>) {
    let (key, mut params) = (KeyPair::generate().unwrap(), CertificateParams::default());
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let pem = params.self_signed(&key).unwrap().pem();
    let issuer = Issuer::new(params, key);
    let key = KeyPair::generate().unwrap();
    let names = vec!["127.0.0.1".to_owned(), "hub.test".to_owned()];
    let certificate = CertificateParams::new(names).unwrap().signed_by(&key, &issuer).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], PrivatePkcs8KeyDer::from(key.serialize_der()).into())
        .unwrap();
    (pem, Arc::new(config))
}

#[test]
fn certificates_of_an_authority_of_ones_own_are_believed_where_it_is_named() {
    let (pem, tls) = authority();
    let hub = Hub::start(tiny_model(), Some(tls), |_| None);
    let folder = tempfile::tempdir().unwrap();
    let bundle = folder.path().join("authority.pem");
    fs::write(&bundle, format!("a comment\n{pem}{}", authority().0)).unwrap();

    let mut place = Place::of(&hub);
    let message = place.find().unwrap_err().to_string();
    assert!(message.contains("certificate") && message.contains("SSL_CERT_FILE or REQUESTS_CA_BUNDLE"), "{message}");
    for authorities in [
        vec![("SSL_CERT_FILE", bundle.clone())],
        vec![("SSL_CERT_DIR", folder.path().to_owned())],
        vec![("SSL_CERT_FILE", bundle), ("SSL_CERT_DIR", "/no/such/folder".into())],
    ] {
        let mut place = Place::of(&hub);
        place.environment.network.authorities = authorities;
        assert_holds(&place.find().unwrap(), &tiny_model());
    }

    let other = folder.path().join("other.pem");
    fs::write(&other, authority().0).unwrap();
    place.environment.network.authorities = vec![("CURL_CA_BUNDLE", other)];
    assert!(place.find().unwrap_err().to_string().contains("certificate"));
    let empty = folder.path().join("empty.pem");
    fs::write(&empty, "").unwrap();
    for (path, problem) in [(empty, "holds no certificate"), ("/no/such/file".into(), "No such file")] {
        place.environment.network.authorities = vec![("REQUESTS_CA_BUNDLE", path.clone())];
        let message = place.find().unwrap_err().to_string();
        assert!(message.contains("REQUESTS_CA_BUNDLE: ") && message.contains(problem), "{message}");
        assert!(message.contains(path.to_str().unwrap()), "{message}");
    }
}

/// A proxy that knows where `hub.test` is; gives its URL and what it was asked, line by line.
fn proxy(hub: SocketAddr) -> (SocketAddr, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let heard = asked.clone();
    let serve = move |mut client: TcpStream| -> io::Result<()> {
        client.set_read_timeout(Some(Duration::from_secs(10)))?;
        let mut lines = BufReader::new(client.try_clone()?).lines();
        let first = lines.next().unwrap_or_else(|| Ok(String::new()))?;
        heard.lock().unwrap().push(first.clone());
        for line in lines {
            match line? {
                line if line.is_empty() => break,
                line => heard.lock().unwrap().push(line.to_lowercase()),
            }
        }
        let target = first.split(' ').nth(1).unwrap_or_default();
        let server = TcpStream::connect(target.parse().unwrap_or(hub))?;
        client.write_all(b"HTTP/1.1 200 OK\r\n\r\n")?;
        let (mut from, mut to) = (client.try_clone()?, server.try_clone()?);
        thread::spawn(move || io::copy(&mut from, &mut to));
        io::copy(&mut &server, &mut client).map(drop)
    };
    let serve = Arc::new(serve);
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let serve = serve.clone();
            thread::spawn(move || serve(client));
        }
    });
    (address, asked)
}

#[test]
fn a_proxy_is_asked_for_what_it_is_named_for() {
    let (pem, tls) = authority();
    let bundle = tempfile::NamedTempFile::new().unwrap();
    fs::write(bundle.path(), pem).unwrap();
    for (scheme, tls) in [("http", None), ("https", Some(tls))] {
        let hub = Hub::start(tiny_model(), tls, |_| None);
        let (address, asked) = proxy(hub.api.address);
        let mut place = Place::new(format!("{scheme}://hub.test"));
        let url = Some(format!("http://ada:s3cret@{address}").into());
        let network = &mut place.environment.network;
        network.authorities = vec![("SSL_CERT_FILE", bundle.path().to_owned())];
        if scheme == "http" {
            network.http_proxy = url
        } else {
            network.https_proxy = url
        }
        assert_holds(&place.find().unwrap(), &tiny_model());
        let heard = asked.lock().unwrap().clone();
        assert!(heard.iter().any(|line| line.starts_with("CONNECT hub.test:")), "{heard:?}");
        assert!(heard.iter().any(|line| line == "proxy-authorization: basic ywrhonmzy3jlda=="), "{heard:?}");

        // Named for the other scheme, or not for this host.
        asked.lock().unwrap().clear();
        let mut other = Place::new(format!("{scheme}://hub.test"));
        other.environment.network = place.environment.network.clone();
        let network = &mut other.environment.network;
        std::mem::swap(&mut network.http_proxy, &mut network.https_proxy);
        assert!(other.find().unwrap_err().to_string().contains("could not be reached"));
        std::mem::swap(&mut other.environment.network.http_proxy, &mut other.environment.network.https_proxy);
        other.environment.network.no_proxy = "example.com,.test".to_owned();
        assert!(other.find().unwrap_err().to_string().contains("could not be reached"));
        assert!(asked.lock().unwrap().is_empty());
    }
}

#[test]
fn the_password_of_a_proxy_shows_nowhere() {
    for url in
        ["http://ada:s3cret@127.0.0.1:9", "gopher://ada:s3cret@127.0.0.1:9", "http://ada:s3cret@", "s3cret s3cret"]
    {
        let mut place = Place::new("https://hub.test");
        place.environment.network.https_proxy = Some(url.into());
        let error = place.find().unwrap_err();
        let text = format!("{error} {error:?} {:?}", place.environment);
        assert!(!text.contains("s3cret"), "{text}");
    }
}
