//! The certificate of the doors, and another one without a restart.

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use thiserror::Error;
use tokio_rustls::TlsAcceptor;

use crate::config::people::TlsFiles;

/// Why no TLS can be spoken with these files.
#[derive(Debug, Error)]
pub enum BadTls {
    /// The certificate cannot be read.
    #[error(
        "{path} holds no certificate that can be read ({why}); write the certificate and those that lead to its authority into it, as PEM"
    )]
    Certificate {
        /// the file
        path: PathBuf,
        /// what is wrong
        why: String,
    },
    /// The key cannot be read.
    #[error(
        "{path} holds no private key that can be read ({why}); write the certificate's key into it, as PEM and without a password"
    )]
    Key {
        /// the file
        path: PathBuf,
        /// what is wrong
        why: String,
    },
    /// The two do not belong together, or are of a kind that is not understood.
    #[error(
        "the certificate and its key cannot be used together ({0}); name the key that this certificate was made for"
    )]
    Pair(#[from] rustls::Error),
}

/// The certificate in force; clones share it.
#[derive(Debug, Clone)]
pub struct Tls(Arc<RwLock<Arc<ServerConfig>>>);

impl Tls {
    /// Reads the files.
    ///
    /// # Errors
    /// When TLS cannot be spoken with what is in them.
    pub fn load(files: &TlsFiles) -> Result<Self, BadTls> {
        Ok(Self(Arc::new(RwLock::new(read(files)?))))
    }

    /// Reads the files again; connections from now on get what is in them.
    ///
    /// # Errors
    /// When TLS cannot be spoken with what is in them; what was in force stays.
    pub fn renew(&self, files: &TlsFiles) -> Result<(), BadTls> {
        let new = read(files)?;
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = new;
        Ok(())
    }

    /// What greets a new connection.
    pub(super) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(Arc::clone(
            &self.0.read().unwrap_or_else(PoisonError::into_inner),
        ))
    }
}

fn read(files: &TlsFiles) -> Result<Arc<ServerConfig>, BadTls> {
    let unreadable = |path: &Path, why: &dyn ToString| BadTls::Certificate {
        path: path.to_owned(),
        why: why.to_string(),
    };
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(&files.cert)
        .and_then(Iterator::collect)
        .map_err(|why| unreadable(&files.cert, &why))?;
    if chain.is_empty() {
        return Err(unreadable(&files.cert, &"there is none"));
    }
    let key = PrivateKeyDer::from_pem_file(&files.key).map_err(|why| BadTls::Key {
        path: files.key.clone(),
        why: why.to_string(),
    })?;
    let ring = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(ring)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}
