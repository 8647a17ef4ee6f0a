//! TLS: the certificate that the server shows, read from files and exchanged while it serves.

use std::path::Path;
use std::sync::Arc;

use thiserror::Error;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::{self, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{self, ServerConfig};

/// What connections are encrypted with.
#[derive(Clone, Debug)]
pub struct Tls(pub(super) Arc<ServerConfig>);

/// Why the files cannot be used. No text repeats what is in them.
#[derive(Debug, Error)]
pub enum TlsError {
    /// The file of the certificate.
    #[error("the certificate cannot be read ({0}): it is a PEM file, the server's own first")]
    Certificate(#[source] pem::Error),
    /// It holds none.
    #[error("there is no certificate in the file")]
    NoCertificate,
    /// The file of the key.
    #[error("the private key cannot be read ({0}): it is a PEM file without a password")]
    Key(#[source] pem::Error),
    /// They are not of each other, or of no use.
    #[error("the certificate and the key cannot be used ({0})")]
    Unusable(#[source] rustls::Error),
}

impl Tls {
    /// The certificate, with those that lead from it to its root, and its private key.
    ///
    /// # Errors
    /// [`TlsError`].
    pub fn read(certificate: &Path, key: &Path) -> Result<Self, TlsError> {
        let certificates = CertificateDer::pem_file_iter(certificate).and_then(Iterator::collect);
        let certificates: Vec<CertificateDer<'static>> = certificates.map_err(TlsError::Certificate)?;
        if certificates.is_empty() {
            return Err(TlsError::NoCertificate);
        }
        let key = PrivateKeyDer::from_pem_file(key).map_err(TlsError::Key)?;
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
        let config = config.with_safe_default_protocol_versions().map_err(TlsError::Unusable)?;
        let config = config.with_no_client_auth().with_single_cert(certificates, key);
        let mut config = config.map_err(TlsError::Unusable)?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self(Arc::new(config)))
    }
}
