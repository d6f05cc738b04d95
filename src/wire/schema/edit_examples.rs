//! One edit of every kind of record. Owns the example bodies; must never show one that a node would refuse.
//! Invariant: every body parses as its kind.

use serde_json::{Value, json};

/// Name of the example, command, and its `args`.
pub fn edits() -> Vec<(&'static str, &'static str, Value)> {
    let put = |id: &str, body: Value| json!({ "id": id, "body": body });
    // Of `backup:box-7:482913` and the like; what it is made of is told where records are.
    let token = "mZ4k3nqX0lVYt3cUuV2b8J6Cqk0pY7d1o5s9wEhRfGA";
    vec![
        (
            "put_person",
            "person.put",
            put(
                "bob",
                json!({
                    "name": "Bob", "groups": ["staff"], "partitions": ["west"], "expires_at": "2027-01-01T00:00:00.000Z"
                }),
            ),
        ),
        ("put_credential", "credential.put", put("bob-card", json!({ "person": "bob", "token": token }))),
        ("put_group", "group.put", put("cleaners", json!({ "name": "Cleaners", "partitions": ["west"] }))),
        (
            "put_access_rule",
            "access_rule.put",
            put(
                "cleaners-front",
                json!({
                    "effect": "allow", "groups": ["cleaners"], "doors": ["front"], "schedule": "evenings",
                    "authentication": "card_and_pin"
                }),
            ),
        ),
        (
            "put_schedule",
            "schedule.put",
            put(
                "evenings",
                json!({
                    "weekly": [{ "days": ["monday", "thursday"], "from": "18:00", "to": "02:00" }]
                }),
            ),
        ),
        ("put_holiday", "holiday.put", put("works-outing", json!({ "dates": ["2026-07-03"] }))),
        (
            "put_auto_open",
            "auto_open.put",
            put(
                "shop-hours",
                json!({
                    "doors": ["front"], "schedule": "office", "first_person_in": true, "holidays": ["new-year"]
                }),
            ),
        ),
        (
            "put_system_event",
            "system_event.put",
            put(
                "forced-front",
                json!({
                    "when": { "trigger": "forced", "doors": ["front"] },
                    "do": [{ "action": "lockdown_set", "partition": "west" }, { "action": "alarm", "text": "Front forced" }]
                }),
            ),
        ),
        ("put_partition", "partition.put", put("west", json!({ "doors": ["front"], "organisation_unit": "shop" }))),
        ("put_organisation_unit", "organisation_unit.put", put("shop", json!({ "name": "Shop" }))),
        (
            "put_area",
            "area.put",
            put(
                "hall",
                json!({
                    "entry_readers": ["front-in"], "exit_readers": ["front-out"], "anti_passback": "hard",
                    "forgive_after_s": 28800, "occupancy_max": 40
                }),
            ),
        ),
        (
            "put_floor_group",
            "floor_group.put",
            put(
                "lift",
                json!({
                    "public": [{ "floors": ["ground"], "schedule": "office" }], "enable_s": 8
                }),
            ),
        ),
        ("put_interlock", "interlock.put", put("mantrap", json!({ "doors": ["outer", "inner"] }))),
        (
            "put_emergency_card",
            "emergency_card.put",
            put(
                "fire-brigade",
                json!({
                    "name": "Fire brigade", "token": token, "doors": ["front"], "uses_max": 3
                }),
            ),
        ),
        (
            "put_card_format",
            "card_format.put",
            put(
                "works-28",
                json!({
                    "name": "Works, 28 bit", "bits": 28,
                    "facility": { "first": 1, "bits": 8 }, "number": { "first": 9, "bits": 18 },
                    "parity": [
                        { "bit": 0, "parity": "even", "mask": "0111111111111100000000000000" },
                        { "bit": 27, "parity": "odd", "mask": "0000000000000011111111111110" }
                    ],
                    "facility_ranges": [{ "from": "17", "to": "17" }]
                }),
            ),
        ),
        (
            "put_operator",
            "operator.put",
            put(
                "op-18",
                json!({
                    "email": "mia@example.com", "first_name": "Mia", "last_name": "Gate", "language": "en", "notifications": true,
                    "status": { "state": "invited" }, "role": "manager", "partitions": ["west"]
                }),
            ),
        ),
        (
            "put_role",
            "role.put",
            put("night-desk", json!({ "capabilities": ["door_control", "door_states", "alarms"] })),
        ),
        (
            "put_door_policy",
            "door_policy.put",
            put(
                "careful",
                json!({
                    "doors": ["front"], "stale_after_s": 86400, "when_stale": "critical_groups", "emergency_after_s": 172_800
                }),
            ),
        ),
        (
            "put_locker_contract",
            "locker_contract.put",
            put(
                "van-3",
                json!({
                    "locker": "box-7", "person": "bob", "key": "van-3", "until": "2026-12-31T23:00:00.000Z"
                }),
            ),
        ),
        ("delete", "credential.delete", json!({ "id": "bob-card" })),
        ("list", "credential.list", json!({ "person": "bob", "limit": 50 })),
    ]
}
