//! The cloud's side of a run, as the site file has it: link, session, what a trial that ended says. Owns how the
//! configuration is put to each; must never connect. Invariant: one node has one audience and one MQTT client id.

use crate::{
    adapters::mqtt::LinkConfig,
    config::site::{Cloud, Site},
    domain::{event::RollbackCause, ids::Id},
    gateway::{desk::Answered, session::SessionConfig},
};

pub(super) fn audience(site: &Site) -> String {
    format!("{}/{}", site.node.org, site.node.id)
}

pub(super) fn link_config(site: &Site) -> LinkConfig {
    let Cloud { host, port, tls, username, password, keep_alive, .. } = &site.cloud;
    LinkConfig {
        host: host.clone(),
        port: *port,
        tls: tls.clone(),
        username: username.clone(),
        password_file: password.as_ref().map(|secret| secret.path.clone()),
        client_id: format!("latchd-{}-{}", site.node.org, site.node.id),
        keep_alive: *keep_alive,
    }
}

pub(super) fn session_config(site: &Site, boot: &Id) -> SessionConfig {
    SessionConfig {
        org: site.node.org.clone(),
        node: site.node.id.clone(),
        boot: boot.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        issuer: site.cloud.issuer.clone(),
        beat_every: site.cloud.beat_every,
        reconnect_min: site.cloud.reconnect_min,
        reconnect_max: site.cloud.reconnect_max,
    }
}

pub(super) fn rolled_back(cause: RollbackCause) -> Answered {
    Answered::Cancelled(serde_json::json!({ "message": format!("rolled back: {}", cause.as_str()) }))
}
