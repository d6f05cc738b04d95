//! The TLS side of the link: TLS 1.3 only, ring, our own CA, our client certificate. Every error names
//! the file, what is wrong with it and what to do.

use std::{path::Path, sync::Arc};

use rustls::{
    ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::ring,
    pki_types::{
        CertificateDer, PrivateKeyDer, ServerName, UnixTime,
        pem::{self, PemObject},
    },
};

use crate::config::site::Tls;

pub fn client_config(tls: &Tls, host: &str) -> Result<Arc<ClientConfig>, String> {
    let provider = Arc::new(ring::default_provider());
    let mut roots = RootCertStore::empty();
    for certificate in certificates(&tls.ca, "the CA that signed the broker's certificate")? {
        roots.add(certificate).map_err(|e| format!("{}: not usable as a CA certificate: {e}", tls.ca.display()))?;
    }
    let chain = certificates(&tls.certificate, "this node's certificate")?;
    let key = private_key(&tls.key.path)?;
    let expected = ServerName::try_from(tls.server_name.clone())
        .map_err(|_| format!("server_name {:?} is neither a DNS name nor an IP address", tls.server_name))?;
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
        .build()
        .map_err(|e| format!("{}: {e}", tls.ca.display()))?;
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|e| format!("TLS 1.3: {e}"))?;
    let builder = if tls.server_name == host {
        builder.with_webpki_verifier(verifier)
    } else {
        // rumqttc dials and verifies by the same name; a broker reached by address has another one.
        builder.dangerous().with_custom_certificate_verifier(Arc::new(NamedVerifier { expected, verifier }))
    };
    let config = builder.with_client_auth_cert(chain, key).map_err(|e| match e {
        rustls::Error::InconsistentKeys(_) => format!(
            "the key {} does not belong to the certificate {}: put the key there that the certificate was made for",
            tls.key.path.display(),
            tls.certificate.display()
        ),
        e => format!("{} with {}: {e}", tls.certificate.display(), tls.key.path.display()),
    })?;
    Ok(Arc::new(config))
}

fn read(path: &Path, what: &str) -> Result<Vec<u8>, String> {
    std::fs::read(path).map_err(|e| format!("cannot read {what} from {}: {e}", path.display()))
}

fn certificates(path: &Path, what: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    let pem = read(path, what)?;
    let parsed: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    match parsed {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        Ok(_) => Err(format!(
            "{} holds no certificate; expected {what} in PEM (-----BEGIN CERTIFICATE-----)",
            path.display()
        )),
        Err(e) => Err(format!("{} is damaged: {}; expected {what} in PEM", path.display(), explained(&e))),
    }
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, String> {
    let pem = zeroize::Zeroizing::new(read(path, "the key of this node's certificate")?);
    PrivateKeyDer::from_pem_slice(&pem).map_err(|e| {
        format!(
            "{} holds no usable private key ({}); expected PKCS#8, SEC1 or PKCS#1 in PEM, not encrypted",
            path.display(),
            explained(&e)
        )
    })
}

/// The library shows lines of the file as lists of numbers.
fn explained(error: &pem::Error) -> String {
    match error {
        pem::Error::MissingSectionEnd { end_marker } => {
            format!("the line -----END {}----- is missing", String::from_utf8_lossy(end_marker))
        }
        pem::Error::IllegalSectionStart { .. } => "a -----BEGIN line is damaged".to_owned(),
        other => other.to_string(),
    }
}

/// The usual verification, against the configured name instead of the dialled one.
#[derive(Debug)]
struct NamedVerifier {
    expected: ServerName<'static>,
    verifier: Arc<WebPkiServerVerifier>,
}

impl ServerCertVerifier for NamedVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _dialled: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        self.verifier.verify_server_cert(end_entity, intermediates, &self.expected, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verifier.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verifier.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.verifier.supported_verify_schemes()
    }
}
