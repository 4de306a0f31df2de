//! A certificate authority made for one test run, and a server certificate for the loopback address.

use crate::process::{Workdir, run};
use anyhow::Result;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use tokio_rustls::TlsAcceptor;

/// PEM files. Clients trust `authority`, servers present `certificate` with `key`.
#[derive(Debug, Clone)]
pub struct Certificates {
    pub authority: PathBuf,
    pub certificate: PathBuf,
    pub key: PathBuf,
}

impl Certificates {
    /// Serves with the certificate.
    pub fn acceptor(&self) -> Result<TlsAcceptor> {
        let chain = CertificateDer::pem_file_iter(&self.certificate)?.collect::<Result<Vec<_>, _>>()?;
        let key = PrivateKeyDer::from_pem_file(&self.key)?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(chain, key)?;
        Ok(TlsAcceptor::from(Arc::new(config)))
    }
}

/// Valid for `localhost` and 127.0.0.1, two days.
pub fn make(dir: &Workdir) -> Result<Certificates> {
    let path = |name: &str| dir.path().join(name);
    let (ca_key, ca) = (path("ca.key"), path("ca.pem"));
    let (key, request, certificate) = (path("server.key"), path("server.csr"), path("server.pem"));
    let extensions = dir.write(
        "server.ext",
        "basicConstraints=critical,CA:FALSE\nsubjectAltName=DNS:localhost,IP:127.0.0.1\nextendedKeyUsage=serverAuth\n",
    )?;
    let new_key = ["req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
    run(Command::new("openssl")
        .args(new_key)
        .args(["-x509", "-days", "2", "-subj", "/CN=Inlet test authority", "-keyout"])
        .arg(&ca_key)
        .arg("-out")
        .arg(&ca))?;
    run(Command::new("openssl")
        .args(new_key)
        .args(["-subj", "/CN=localhost", "-keyout"])
        .arg(&key)
        .arg("-out")
        .arg(&request))?;
    run(Command::new("openssl")
        .args(["x509", "-req", "-days", "2", "-CAcreateserial", "-in"])
        .arg(&request)
        .arg("-CA")
        .arg(&ca)
        .arg("-CAkey")
        .arg(&ca_key)
        .arg("-extfile")
        .arg(&extensions)
        .arg("-out")
        .arg(&certificate))?;
    Ok(Certificates { authority: ca, certificate, key })
}
