//! The certificate that a server shows.

use std::path::PathBuf;
use std::sync::Arc;

use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::{self, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::{Error, Result};

/// PEM files of a certificate, with those that it is signed by, and of its key.
#[derive(Debug, Clone)]
pub struct TlsFiles {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

impl TlsFiles {
    /// # Errors
    /// [`Error::Io`] where a file cannot be read, and [`Error::Argument`] where it holds something else.
    pub(super) fn acceptor(&self) -> Result<TlsAcceptor> {
        let wrong = |name: &'static str, path: &PathBuf, error: pem::Error| match error {
            pem::Error::Io(source) => Error::io(path, source),
            error => Error::argument(name, format!("{}: {error}", path.display())),
        };
        let of_certificate = |error| wrong("tls_cert", &self.certificate, error);
        let certificates: Vec<_> = CertificateDer::pem_file_iter(&self.certificate)
            .map_err(of_certificate)?
            .collect::<Result<_, _>>()
            .map_err(of_certificate)?;
        let key = PrivateKeyDer::from_pem_file(&self.key).map_err(|error| wrong("tls_key", &self.key, error))?;
        let refused = |error| Error::argument("tls_cert", format!("{}: {error}", self.certificate.display()));
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(refused)?
            .with_no_client_auth()
            .with_single_cert(certificates, key)
            .map_err(refused)?;
        Ok(TlsAcceptor::from(Arc::new(config)))
    }
}
