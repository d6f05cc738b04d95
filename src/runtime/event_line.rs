//! Events in the journal, with fields to search by: `journalctl -u latchd DOOR=front TYPE=access.denied`.
//! Owns the choice of fields; must never be the record (that is the ledger).

use serde_json::Value;

use crate::domain::event::Event;

pub fn log(event: &Event) {
    let Ok(Value::Object(body)) = serde_json::to_value(&event.body) else { return };
    let text = |name: &str| body.get(name).and_then(Value::as_str);
    let kind = text("type").unwrap_or("event");
    // Whatever has no field of its own is still readable.
    let rest: Vec<String> = body
        .iter()
        .filter(|(name, value)| !FIELDS.contains(&name.as_str()) && !value.is_null())
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    let details = (!rest.is_empty()).then(|| rest.join(" "));
    tracing::info!(
        r#type = kind,
        door = text("door"),
        reader = text("reader"),
        board = text("board"),
        person = text("person"),
        credential = text("credential"),
        rule = text("rule"),
        reason = text("reason"),
        operator = text("operator"),
        jti = text("jti"),
        generation = event.generation,
        details,
        "{kind}"
    );
}

const FIELDS: [&str; 10] =
    ["type", "door", "reader", "board", "person", "credential", "rule", "reason", "operator", "jti"];
