//! What the link's errors mean to an installer: what happened, where, and what to do.

use std::{error::Error, io};

use rumqttc::{
    TlsError,
    v5::{
        ConnectionError, StateError,
        mqttbytes::{
            self,
            v5::{ConnectReturnCode, DisconnectReasonCode, PubAckReason},
        },
    },
};
use rustls::{AlertDescription, CertificateError};

use super::LinkConfig;

pub fn connection_error(error: &ConnectionError, config: &LinkConfig) -> String {
    let broker = format!("{}:{}", config.host, config.port);
    match error {
        ConnectionError::Timeout(_) => {
            format!("{broker} did not answer in time: is it an MQTT broker, and does the port match TLS or no TLS?")
        }
        ConnectionError::ConnectionRefused(code) => refused(*code, &broker, config),
        ConnectionError::NotConnAck(_) => format!("{broker} did not answer with CONNACK: it speaks no MQTT 5"),
        ConnectionError::Io(error) => io_error(error, &broker, config),
        ConnectionError::Tls(TlsError::Io(error)) => io_error(error, &broker, config),
        ConnectionError::Tls(TlsError::TLS(error)) => tls_error(error, &broker, config),
        ConnectionError::MqttState(state) => state_error(state, &broker, config),
        other => format!("{broker}: {other}"),
    }
}

/// Too large, or no MQTT at all.
pub fn is_unreadable(error: &ConnectionError) -> bool {
    let ConnectionError::MqttState(StateError::Deserialization(error)) = error else { return false };
    !matches!(error, mqttbytes::Error::Io(_))
}

pub fn publish_refused(reason: PubAckReason) -> String {
    match reason {
        PubAckReason::NotAuthorized => {
            "Not authorized: the broker's ACL must let this node write its topics".to_owned()
        }
        other => format!("{other:?}"),
    }
}

fn refused(code: ConnectReturnCode, broker: &str, config: &LinkConfig) -> String {
    match code {
        ConnectReturnCode::NotAuthorized => format!(
            "{broker} refused the connection: Not authorized. Check that the broker knows this node (user, client \
             certificate, ACL) and lets client id {:?} in",
            config.client_id
        ),
        ConnectReturnCode::BadUserNamePassword => {
            format!("{broker} refused the connection: wrong user name or password (cloud.username, cloud.password)")
        }
        ConnectReturnCode::UnsupportedProtocolVersion | ConnectReturnCode::RefusedProtocolVersion => {
            format!("{broker} refused the connection: it does not speak MQTT 5")
        }
        other => format!("{broker} refused the connection: {other:?}"),
    }
}

fn state_error(error: &StateError, broker: &str, config: &LinkConfig) -> String {
    match error {
        StateError::Io(error) | StateError::Deserialization(mqttbytes::Error::Io(error)) => {
            io_error(error, broker, config)
        }
        StateError::Deserialization(error) => format!(
            "{broker} sent what this node cannot take ({error}): a message above 256 KiB, or no MQTT 5; the session \
             is begun anew"
        ),
        StateError::ConnectionAborted => format!("{broker} closed the connection"),
        StateError::AwaitPingResp => format!("{broker} did not answer the ping"),
        StateError::ServerDisconnect { reason_code: DisconnectReasonCode::SessionTakenOver, .. } => format!(
            "{broker} gave the session to another client with the id {:?}: is a second latchd running with this \
             node's id?",
            config.client_id
        ),
        StateError::ServerDisconnect { reason_code, reason_string } => match reason_string {
            Some(text) => format!("{broker} ended the connection: {reason_code:?} ({text})"),
            None => format!("{broker} ended the connection: {reason_code:?}"),
        },
        other => format!("{broker}: {other}"),
    }
}

fn io_error(error: &io::Error, broker: &str, config: &LinkConfig) -> String {
    if let Some(tls) = rustls_error(error) {
        return tls_error(tls, broker, config);
    }
    match error.kind() {
        io::ErrorKind::ConnectionRefused => format!("{broker}: connection refused: nothing listens there"),
        io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => {
            // rustls adds an explanation with a link, for programmers.
            let error = error.to_string();
            format!("{broker} closed the connection ({})", error.split(": http").next().unwrap_or(&error))
        }
        _ => format!("{broker}: {error}"),
    }
}

fn rustls_error(error: &io::Error) -> Option<&rustls::Error> {
    let mut source: Option<&(dyn Error + 'static)> = error.get_ref().map(|e| e as &(dyn Error + 'static));
    while let Some(error) = source {
        if let Some(tls) = error.downcast_ref::<rustls::Error>() {
            return Some(tls);
        }
        source = match error.downcast_ref::<io::Error>() {
            Some(io) => io.get_ref().map(|e| e as &(dyn Error + 'static)),
            None => error.source(),
        };
    }
    None
}

fn tls_error(error: &rustls::Error, broker: &str, config: &LinkConfig) -> String {
    let (ca, certificate, name) = match &config.tls {
        Some(tls) => (tls.ca.display().to_string(), tls.certificate.display().to_string(), tls.server_name.clone()),
        None => Default::default(),
    };
    match error {
        rustls::Error::InvalidCertificate(invalid) => match invalid {
            CertificateError::UnknownIssuer | CertificateError::BadSignature => format!(
                "the certificate of {broker} is not signed by the CA in {ca}: put the CA there that signed it, or \
                 find out who answers at that address"
            ),
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => format!(
                "the certificate of {broker} is not for {name:?}: set cloud.tls.server_name to a name that it holds"
            ),
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                format!("the certificate of {broker} has expired, or this node's clock is wrong")
            }
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                format!("the certificate of {broker} is not valid yet, or this node's clock is wrong")
            }
            other => format!("the certificate of {broker} is refused: {other:?}"),
        },
        rustls::Error::AlertReceived(alert) => match alert {
            AlertDescription::UnknownCA | AlertDescription::BadCertificate | AlertDescription::DecryptError => format!(
                "{broker} does not accept the certificate in {certificate} ({alert:?}): it must be signed by a CA \
                 that the broker trusts"
            ),
            AlertDescription::CertificateExpired => format!("{broker}: the certificate in {certificate} has expired"),
            AlertDescription::CertificateRevoked => {
                format!("{broker}: the certificate in {certificate} has been revoked")
            }
            AlertDescription::CertificateRequired => format!("{broker} asks for a client certificate"),
            AlertDescription::ProtocolVersion => format!("{broker} does not offer TLS 1.3"),
            other => format!("{broker} ended the TLS handshake: {other:?}"),
        },
        rustls::Error::PeerIncompatible(_) => format!("{broker} does not offer TLS 1.3 ({error})"),
        rustls::Error::InvalidMessage(_) => format!("{broker} does not speak TLS on this port"),
        other => format!("{broker}: TLS: {other}"),
    }
}
