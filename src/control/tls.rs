//! TLS towards the server, as `[upstream] tls` says: for pgward's own log-in and for the clients' relayed sessions alike.
//!
//! `disable`, `prefer`, `require` and `verify-full` mean what libpq's `sslmode` means (PostgreSQL documentation, 34.19.1):
//! only `verify-full` knows whom it talks to. `prefer` and `require` accept any certificate, so they stop an eavesdropper and not
//! an impostor. The signature of the handshake is checked in every mode.

use crate::policy::file::{Upstream, UpstreamTls};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Why no TLS configuration can be made of `[upstream]`.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// `upstream.ca` can't be read.
    #[error("upstream.ca: {path} can't be read as PEM certificates: {detail}")]
    CaFile {
        /// The file.
        path: PathBuf,
        /// What the reader said.
        detail: String,
    },
    /// No authority to check the server's certificate against.
    #[error(
        "upstream.tls = \"verify-full\" needs an authority: {origin} holds no usable certificate; set upstream.ca to a PEM file"
    )]
    NoAuthority {
        /// Where they were looked for.
        origin: String,
    },
    /// rustls refuses the combination.
    #[error("TLS towards the server can't be set up")]
    Rustls(#[from] rustls::Error),
}

/// The TLS configuration for connections to the server; `None` for `disable`. Whether a server without TLS may be talked to is the
/// caller's to decide from [`Upstream::tls`]: only under `prefer`. A Unix socket carries no TLS in any mode.
pub fn client_config(upstream: &Upstream) -> Result<Option<Arc<ClientConfig>>, TlsError> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions()?;
    let mut config = match upstream.tls {
        UpstreamTls::Disable => return Ok(None),
        UpstreamTls::Prefer | UpstreamTls::Require => builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AnyCertificate { provider }))
            .with_no_client_auth(),
        UpstreamTls::VerifyFull => builder
            .with_root_certificates(authorities(upstream.ca.as_deref())?)
            .with_no_client_auth(),
    };
    // As libpq from 17 on; servers before that ignore it.
    config.alpn_protocols = vec![b"postgresql".to_vec()];
    Ok(Some(Arc::new(config)))
}

/// The authorities of a PEM file, or the system's.
fn authorities(ca: Option<&Path>) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    let origin = match ca {
        Some(path) => {
            let fault = |error: &dyn std::fmt::Display| TlsError::CaFile {
                path: path.into(),
                detail: error.to_string(),
            };
            for certificate in CertificateDer::pem_file_iter(path).map_err(|error| fault(&error))? {
                roots
                    .add(certificate.map_err(|error| fault(&error))?)
                    .map_err(|error| fault(&error))?;
            }
            path.display().to_string()
        }
        None => {
            // Systems carry the odd certificate that rustls does not read; the rest must do.
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            "the system's certificate store".into()
        }
    };
    if roots.is_empty() {
        return Err(TlsError::NoAuthority { origin });
    }
    Ok(roots)
}

/// Accepts every certificate, but not a peer that lacks its private key.
#[derive(Debug)]
struct AnyCertificate {
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
