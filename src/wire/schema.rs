//! The published contract: one AsyncAPI 3.0 document from the types that read and write the wire. Owns the
//! document's frame; must never state a shape that a Rust type states. Invariant: every message that the
//! daemon sends or accepts validates against it, and every example in it does.
//!
//! `messages` says what travels where, `payloads` brings the types' schemas into one vocabulary, `examples`
//! holds one or more of each message, signed with keys that are printed beside them.

mod edit_examples;
mod examples;
pub use examples::args_of;
mod messages;
mod payloads;

use serde_json::{Map, Value, json};

use self::messages::{Channel, Message, Way};
use super::{command, jws::Typ};
use crate::domain::operator;

/// What `latchd schema` prints.
pub fn asyncapi() -> Value {
    let (schemas, messages) = payloads::schemas();
    let channels = messages::channels();
    json!({
        "asyncapi": "3.0.0",
        "id": "urn:latchd:v1",
        "info": {
            "title": "latchd: the contract between a node and its cloud",
            "version": env!("CARGO_PKG_VERSION"),
            "description": DESCRIPTION,
            "license": { "name": "Apache-2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0" },
        },
        "defaultContentType": "application/jose",
        "servers": { "broker": server() },
        "channels": channels.iter().map(|c| (c.name.to_owned(), channel(c))).collect::<Map<_, _>>(),
        "operations": channels.iter().map(|c| (c.operation.to_owned(), operation(c))).collect::<Map<_, _>>(),
        "components": {
            "messages": messages.iter().map(|m| (m.name.to_owned(), message(m))).collect::<Map<_, _>>(),
            "schemas": schemas,
            "parameters": parameters(),
            "securitySchemes": {
                "clientCertificate": { "type": "X509", "description": "TLS 1.3 with a client certificate" },
            },
        },
        "x-latchd-commands": commands(),
        "x-latchd-test-keys": examples::test_keys(),
    })
}

const DESCRIPTION: &str = include_str!("schema/description.md");

fn server() -> Value {
    json!({
        "host": "mqtt.example.com:8883",
        "protocol": "secure-mqtt",
        "protocolVersion": "5.0",
        "description": "Any MQTT broker. It is not trusted: all that matters is signed end to end.",
        "security": [{ "$ref": "#/components/securitySchemes/clientCertificate" }],
    })
}

fn parameters() -> Value {
    json!({
        "org": { "description": "The organisation that owns the node", "examples": ["acme"] },
        "node": { "description": "The node", "examples": ["hq-1"] },
        "door": { "description": "Id of the door, as the node's configuration names it", "examples": ["front"] },
        "reader": { "description": "Id of the reader, as the node's configuration names it", "examples": ["front-in"] },
        "board": { "description": "Id of the board, as the node's configuration names it", "examples": ["relays"] },
        "jti": { "description": "The command that subscribed", "examples": ["01JD3Y5T7V9ZQ8"] },
        "area": { "description": "Id of the area, as the permission set names it", "examples": ["lab"] },
        "floor_group": { "description": "Id of the floor group, as the node's configuration names it", "examples": ["lift"] },
        "locker": { "description": "Id of the compartment, as the node's configuration names it", "examples": ["key-07"] },
        "sha256": { "description": "Lower-case hex SHA-256 of the message's bytes" },
    })
}

fn channel(channel: &Channel) -> Value {
    let parameters: Map<String, Value> = channel
        .address
        .split('/')
        .filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
        .map(|name| (name.to_owned(), json!({ "$ref": format!("#/components/parameters/{name}") })))
        .collect();
    let messages: Map<String, Value> = channel
        .messages
        .iter()
        .map(|name| ((*name).to_owned(), json!({ "$ref": format!("#/components/messages/{name}") })))
        .collect();
    json!({
        "address": channel.address,
        "description": channel.description,
        "parameters": parameters,
        "messages": messages,
    })
}

fn operation(channel: &Channel) -> Value {
    let action = match channel.way {
        Way::Down => "receive",
        Way::Up => "send",
    };
    json!({
        "action": action,
        "channel": { "$ref": format!("#/channels/{}", channel.name) },
        "summary": channel.summary,
        "messages": channel.messages.iter()
            .map(|name| json!({ "$ref": format!("#/channels/{}/messages/{name}", channel.name) }))
            .collect::<Vec<_>>(),
        "bindings": { "mqtt": { "qos": channel.qos(), "retain": channel.retain, "bindingVersion": "0.2.0" } },
    })
}

fn message(message: &Message) -> Value {
    let examples: Vec<Value> =
        message.examples.iter().map(|(name, payload)| json!({ "name": name, "payload": payload })).collect();
    let mut value = json!({
        "name": message.name,
        "title": message.title,
        "summary": message.summary,
        "contentType": if message.typ.is_some() { "application/jose" } else { "application/json" },
        "payload": message.payload,
        "examples": examples,
    });
    if let Some(typ) = message.typ {
        value["x-latchd-jws-header"] = json!({ "alg": "EdDSA", "typ": typ.as_str(), "kid": signed_by(typ) });
        let jws =
            message.examples.iter().map(|(name, payload)| ((*name).to_owned(), json!(examples::signed(typ, payload))));
        value["x-latchd-example-jws"] = Value::Object(jws.collect());
    }
    value
}

fn signed_by(typ: Typ) -> String {
    match (typ, typ.key_use()) {
        (_, Some(purpose)) => format!("a key of the key set with latchd_use {purpose}"),
        (Typ::Up, _) => "the node's key, by its RFC 7638 thumbprint".to_owned(),
        _ => "the root key".to_owned(),
    }
}

/// Every command, what it needs and what may be expected of it.
fn commands() -> Value {
    let row = |name: String| {
        let capability = operator::requirement(&name).map(|(capability, _)| operator::capability_name(capability));
        let moves_hardware = command::moves_hardware(&name);
        let row = json!({
            "supported": payloads::is_supported(&name),
            "capability": capability,
            "moves_hardware": moves_hardware,
            "securing": command::is_securing(&name),
            "lifetime_max_s": if moves_hardware { 60 } else { 86_400 },
        });
        (name, row)
    };
    Value::Object(command::known_commands().map(row).collect())
}

#[cfg(test)]
mod fixed_names;
#[cfg(test)]
mod tests;
