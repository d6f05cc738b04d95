//! Both catalogues in words, for what the world's operators ask for. Owns who may at all; must never look where.
//! Invariant: a word that stands nowhere in here is nobody's.

/// What each role lacks of catalogue A, or has of catalogue B.
fn words(role: &str) -> &'static [&'static str] {
    match role {
        "integrator" | "automat.admin" => &[
            "people",
            "groups",
            "system_events",
            "auto_open",
            "elevators",
            "reports",
            "partitions",
            "door_states",
            "live_events",
            "configuration",
            "emergency_cards",
            "door_control",
            "operators",
            "lockdown",
            "floor_control",
            "outputs",
            "lockers",
            "locker_open",
            "anti_passback",
            "alarms",
        ],
        "admin" => &[
            "people",
            "groups",
            "system_events",
            "auto_open",
            "elevators",
            "reports",
            "partitions",
            "door_states",
            "live_events",
            "door_control",
            "operators",
            "lockdown",
            "floor_control",
            "outputs",
            "lockers",
            "locker_open",
            "anti_passback",
            "alarms",
        ],
        "manager" => &[
            "people",
            "groups",
            "auto_open",
            "reports",
            "door_states",
            "live_events",
            "door_control",
            "operators",
            "lockdown",
            "floor_control",
            "outputs",
            "lockers",
            "locker_open",
            "anti_passback",
            "alarms",
        ],
        "reporter" => &["reports", "live_events"],
        "automat.user_edit" => &["people", "reports", "door_states", "live_events", "lockers", "locker_open", "alarms"],
        "automat.customer_service_view" => &["reports", "door_states", "live_events", "lockers"],
        _ => &[],
    }
}

/// Managers and the key automat's users reach only what is assigned to them.
pub fn has_only_assigned(role: &str) -> bool {
    role == "manager" || (role.starts_with("automat.") && role != "automat.admin")
}

/// What a command takes.
fn word(cmd: &str) -> &str {
    match cmd {
        "door.state.get" => "door_states",
        "alarm.acknowledge" => "alarms",
        "apb.clear" => "anti_passback",
        "locker.open" => "locker_open",
        "reports.query" => "reports",
        "configuration.put" | "configuration.confirm" => "configuration",
        _ => match cmd.split_once('.') {
            Some(("door", _)) => "door_control",
            Some(("lockdown", _)) => "lockdown",
            Some(("floor", _)) => "floor_control",
            Some(("output", _)) => "outputs",
            Some(("live_events", _)) => "live_events",
            Some((kind, _)) => of_kind(kind),
            None => "",
        },
    }
}

/// Of whom records of a kind are the affair.
pub fn of_kind(kind: &str) -> &'static str {
    match kind {
        "person" | "credential" => "people",
        "group" | "access_rule" | "schedule" | "holiday" => "groups",
        "partition" | "organisation_unit" => "partitions",
        "operator" => "operators",
        "auto_open" => "auto_open",
        "system_event" => "system_events",
        "area" => "anti_passback",
        "floor_group" => "elevators",
        "interlock" | "door_policy" => "configuration",
        "emergency_card" => "emergency_cards",
        "locker_contract" => "lockers",
        _ => "",
    }
}

/// Whether a role lets somebody ask for this at all.
pub fn may(role: &str, cmd: &str) -> bool {
    words(role).contains(&word(cmd))
}

/// Whether somebody of this role may make another one: nobody gives what they do not have.
pub fn may_give(role: &str, other: &str) -> bool {
    match role {
        "automat.admin" => true,
        "integrator" => ["integrator", "admin", "manager", "reporter"].contains(&other),
        "admin" => ["admin", "manager", "reporter"].contains(&other),
        "manager" => ["manager", "reporter"].contains(&other),
        _ => false,
    }
}
