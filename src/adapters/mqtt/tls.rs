//! The TLS side of the link: TLS 1.3 only, ring, our own CA, our client certificate. Every error names
//! the file, what is wrong with it and what to do.

use std::{path::Path, sync::Arc, time::Duration};

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

use crate::{config::site::Tls, domain::time::Wall};

/// `no_earlier`: a time that has certainly passed, for a clock that has lost it.
pub fn client_config(tls: &Tls, no_earlier: Wall) -> Result<Arc<ClientConfig>, String> {
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
    let verifier = Arc::new(BrokerVerifier { expected, no_earlier, verifier });
    let builder = builder.dangerous().with_custom_certificate_verifier(verifier);
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

/// The usual verification, against the configured name (rumqttc dials and verifies by the same one, and a
/// broker reached by address has another), and at a time no earlier than what is known to have passed.
#[derive(Debug)]
struct BrokerVerifier {
    expected: ServerName<'static>,
    no_earlier: Wall,
    verifier: Arc<WebPkiServerVerifier>,
}

impl ServerCertVerifier for BrokerVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _dialled: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let no_earlier = u64::try_from(self.no_earlier.as_millis()).unwrap_or(0) / 1000;
        let now = UnixTime::since_unix_epoch(Duration::from_secs(now.as_secs().max(no_earlier)));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_has_lost_the_time_does_not_keep_the_broker_out_for_ever() {
        let authority = latchd_sim::pki::Authority::new("test CA").unwrap();
        let broker = authority.issue(&["broker.example"]).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(authority.pem().as_bytes()).unwrap()).unwrap();
        let provider = Arc::new(ring::default_provider());
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build().unwrap();
        let expected = ServerName::try_from("broker.example").unwrap();
        let certificate = CertificateDer::from_pem_slice(broker.certificate.as_bytes()).unwrap();
        let verify = |no_earlier| {
            let (expected, verifier) = (expected.clone(), Arc::clone(&verifier));
            let dialled = ServerName::try_from("192.0.2.1").unwrap();
            let at_boot = UnixTime::since_unix_epoch(Duration::from_secs(60));
            BrokerVerifier { expected, no_earlier, verifier }.verify_server_cert(
                &certificate,
                &[],
                &dialled,
                &[],
                at_boot,
            )
        };
        assert!(verify(Wall::EPOCH).is_err(), "not valid yet");
        assert!(verify(Wall::from_millis(1_790_000_000_000)).is_ok());
        assert!(verify(Wall::MAX).is_err(), "expired");
    }
}
