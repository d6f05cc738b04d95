//! What a command cannot change: who the node is, whom it believes, where it keeps its state and its
//! secrets. Owns that list; must never let a new key of the configuration go by unjudged, so the types are
//! taken apart whole. Invariant: a site that touches nothing of it has the same trust anchors.

use super::site::{Cloud, Node, Site};

/// The keys in which `new` differs from `own` and must not.
pub fn touched(own: &Site, new: &Site) -> Vec<&'static str> {
    // A site's time zone may be corrected from afar, and whoever configures may let operators reboot.
    let Node { org, id, time_zone: _, state_dir, credential_key, signing_key, reboot: _ } = &own.node;
    // How often to try and to ask is part of the link: a trial that cannot be confirmed in time tells nobody why.
    let Cloud {
        host,
        port,
        tls,
        username,
        password,
        root_key,
        issuer,
        keep_alive,
        reconnect_min,
        reconnect_max,
        beat_every,
        telemetry_every: _,
    } = &own.cloud;
    let (node, cloud) = (&new.node, &new.cloud);
    let changes = [
        ("node.org", *org != node.org),
        ("node.id", *id != node.id),
        ("node.state_dir", *state_dir != node.state_dir),
        ("node.credential_key", *credential_key != node.credential_key),
        ("node.signing_key", *signing_key != node.signing_key),
        ("cloud.host", *host != cloud.host),
        ("cloud.port", *port != cloud.port),
        ("cloud.tls", *tls != cloud.tls),
        ("cloud.username", *username != cloud.username),
        ("cloud.password", *password != cloud.password),
        ("cloud.root_key", *root_key != cloud.root_key),
        ("cloud.issuer", *issuer != cloud.issuer),
        ("cloud.keep_alive_s", *keep_alive != cloud.keep_alive),
        ("cloud.reconnect_min_ms", *reconnect_min != cloud.reconnect_min),
        ("cloud.reconnect_max_ms", *reconnect_max != cloud.reconnect_max),
        ("cloud.beat_every_s", *beat_every != cloud.beat_every),
    ];
    changes.iter().filter(|(_, changed)| *changed).map(|(key, _)| *key).collect()
}
