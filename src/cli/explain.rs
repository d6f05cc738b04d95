//! `latchd explain`: why somebody is, or is not, let in. Owns what is asked and the answer's form; must never
//! judge by itself (that is `domain::permission`, as at the doors, asked through `gateway::explain`), and never write to the node's state.
//! Invariant: the set is the signed second copy in the state directory, so it works offline and beside the
//! running daemon, which is only asked how often emergency cards were used.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    io::Write as _,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context as _;
use clap::{ArgGroup, Args};
use jiff::Timestamp;

use crate::{
    adapters::{control::Conversation, store::second_copy::SecondCopyFiles},
    config::{self, site::Site},
    domain::{
        card_bits::CardBits,
        card_format::Fit,
        fieldbus::RawCard,
        ids::Id,
        installer::{Answer, Ask},
        permission::{Explanation, Permissions, RuleExplained, RuleOutcome},
        record::Token,
        time::{ClockTrust, Mono, Now, Wall},
    },
    gateway::{
        explain::{self, Place, Question, Read, Who},
        mirror::{RootAttest, read_copy},
    },
    runtime::secrets::Secrets,
    wire::token::{CredentialKey, token},
};

#[derive(Args)]
#[command(group(ArgGroup::new("who").required(true)), group(ArgGroup::new("where").required(true)))]
pub struct Arguments {
    /// At this door
    #[arg(long, value_name = "ID", group = "where")]
    door: Option<Id>,
    /// In the cab of this elevator
    #[arg(long, value_name = "ID", group = "where")]
    floor_group: Option<Id>,
    /// As if this credential of the set were presented
    #[arg(long, value_name = "ID", group = "who")]
    credential: Option<Id>,
    /// As a virtual read of this person
    #[arg(long, value_name = "ID", group = "who")]
    person: Option<Id>,
    /// As if this emergency card of the set were presented
    #[arg(long, value_name = "ID", group = "who")]
    emergency_card: Option<Id>,
    /// As if a reader had delivered these bits, such as 26:2f623ae
    #[arg(long, value_name = "BITS:HEX", group = "who")]
    card: Option<String>,
    /// As if this text had been read, such as h10301:123:4567 or plate:KAB1234
    #[arg(long, value_name = "TEXT", group = "who")]
    card_text: Option<String>,
    /// The PIN that is typed after the card
    #[arg(long, value_name = "DIGITS")]
    pin: Option<String>,
    /// The credential of the person who came before, for a two-person rule
    #[arg(long, value_name = "ID")]
    companion: Option<Id>,
    /// RFC 3339, such as 2026-01-31T08:00:00Z; absent: now
    #[arg(long, value_name = "INSTANT")]
    at: Option<Timestamp>,
    /// As if the clock were not trusted
    #[arg(long)]
    clock_untrusted: bool,
    /// As if the cloud had been gone for longer than the door's policy allows
    #[arg(long)]
    stale: bool,
    /// The whole reasoning as JSON, with every rule of the set
    #[arg(long)]
    json: bool,
    #[arg(long, value_name = "FILE", default_value = super::DEFAULT_CONFIG)]
    config: PathBuf,
}

pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let site = load(&arguments.config)?;
    let secrets = Secrets::read(&site)?;
    let set = read_set(&site, &secrets)?;
    let wall = match arguments.at {
        Some(at) => Wall::from_millis(at.as_millisecond()),
        None => crate::adapters::clock::wall(),
    };
    let uses = emergency_uses(&site, &set);
    let explanation = explain(arguments, &set, &site, (&secrets.credential_key, uses.as_ref()), wall)?;
    let text = if arguments.json {
        format!("{}\n", serde_json::to_string_pretty(&explanation)?)
    } else {
        render(&explanation)
    };
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}

fn load(path: &Path) -> anyhow::Result<Site> {
    let environment = config::Environment::of_process();
    let loaded = config::load_from(&config::Disk, path, &environment, config::Purpose::Check);
    loaded.site.with_context(|| format!("{} has mistakes: see `latchd check`", path.display()))
}

fn read_set(site: &Site, secrets: &Secrets) -> anyhow::Result<Permissions> {
    let directory = site.node.state_dir.join("set-copy");
    anyhow::ensure!(directory.is_dir(), "{}: no permission set was ever received here", directory.display());
    let mut copy = SecondCopyFiles::open(&directory, &site.node.state_dir.join("emergency-cards"));
    let attest = RootAttest { root: secrets.root.clone(), audience: format!("{}/{}", site.node.org, site.node.id) };
    let read = read_copy(&mut copy, &attest, &site.topology(), &site.node.time_zone)
        .with_context(|| format!("{}: the copy of the permission set", directory.display()))?;
    let read = read.with_context(|| format!("{}: no permission set was ever received here", directory.display()))?;
    if let Some(why) = read.cut_short {
        eprintln!(
            "latchd: the copy of the set ends early ({why}); this is about generation {}",
            read.permissions.version().generation
        );
    }
    Ok((*read.permissions).clone())
}

/// As the running daemon counts them; `None`: no daemon answers, or no card of the set has a limit.
fn emergency_uses(site: &Site, set: &Permissions) -> Option<BTreeMap<Id, u32>> {
    if set.site().emergency_cards.values().all(|card| card.uses_max.is_none()) {
        return None;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().ok()?;
    let answer = runtime.block_on(async {
        let mut daemon = Conversation::begin(&site.node.state_dir).await?;
        daemon.ask(&Ask::EmergencyUses {}).await
    });
    match answer {
        Ok(Answer::EmergencyUses { uses }) => Some(uses),
        _ => None,
    }
}

fn explain(
    arguments: &Arguments,
    set: &Permissions,
    site: &Site,
    (key, emergency_uses): (&CredentialKey, Option<&BTreeMap<Id, u32>>),
    wall: Wall,
) -> anyhow::Result<Explanation> {
    let place = match (&arguments.door, &arguments.floor_group) {
        (Some(door), _) => Place::Door(door),
        (_, Some(group)) => Place::FloorGroup(group),
        _ => anyhow::bail!("expected --door or --floor-group"),
    };
    let who = match (&arguments.credential, &arguments.person, &arguments.card, &arguments.card_text) {
        _ if let Some(card) = &arguments.emergency_card => Who::EmergencyCard(card),
        (Some(credential), ..) => Who::Credential(credential),
        (_, Some(person), ..) => Who::Person(person),
        (_, _, Some(bits), _) => Who::Read(Read::bits(raw_card(bits)?, key)),
        (.., Some(text)) => Who::Read(Read::text(text, key)),
        _ => match &arguments.emergency_card {
            Some(card) => Who::EmergencyCard(card),
            None => {
                anyhow::bail!("expected one of --credential, --person, --emergency-card, --card and --card-text")
            }
        },
    };
    let trust = if arguments.clock_untrusted { ClockTrust::Untrusted } else { ClockTrust::Trusted };
    let pin = arguments.pin.as_ref().map(|digits| move |person: &Id| token(key, &format!("pin:{person}:{digits}")));
    let question = Question {
        place,
        who,
        pin: pin.as_ref().map(|pin| pin as &dyn Fn(&Id) -> Token),
        companion: arguments.companion.as_ref(),
        now: Now { mono: Mono::ZERO, wall, trust },
        staleness: Some(if arguments.stale { Duration::MAX } else { Duration::ZERO }),
        emergency_uses,
    };
    Ok(explain::explain(&question, set, &site.topology())?)
}

fn raw_card(text: &str) -> anyhow::Result<RawCard> {
    let parsed = text
        .split_once(':')
        .and_then(|(bits, hex)| Some(RawCard::of(bits.parse().ok()?, CardBits::from_digits(hex, 16)?)));
    parsed.with_context(|| format!("{text:?}: expected BITS:HEX, such as 26:2f623ae"))
}

/// For people: the answer, what led to it, and what would change it.
fn render(explanation: &Explanation) -> String {
    let mut text = String::new();
    // Writing into a String does not fail.
    let _ = render_into(explanation, &mut text);
    text
}

fn word(value: &impl serde::Serialize) -> String {
    serde_json::to_value(value).ok().and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
}

fn render_into(explanation: &Explanation, out: &mut String) -> std::fmt::Result {
    let answer = &explanation.answer;
    let place = explanation.place.as_ref().map(Id::to_string).unwrap_or_default();
    match &answer.reason {
        None => write!(out, "granted at {place}")?,
        Some(reason) => write!(out, "denied at {place}: {}", word(reason))?,
    }
    if let Some(rule) = &answer.rule {
        write!(out, ", by rule {rule}")?;
    }
    if let Some(contract) = &answer.contract {
        write!(out, ", by contract {contract}")?;
    }
    if answer.duress {
        write!(out, ", under duress")?;
    }
    writeln!(out)?;
    if !answer.floors.is_empty() {
        writeln!(out, "floors: {}", joined(&answer.floors))?;
    }
    let (epoch, generation) = (explanation.epoch, explanation.generation);
    writeln!(
        out,
        "at {} (clock {}), generation {generation} of epoch {epoch}",
        explanation.at,
        word(&explanation.clock)
    )?;
    for format in &explanation.formats {
        if format.fit != Fit::Fits {
            writeln!(out, "not {}: {}", format.format, word(&format.fit))?;
            continue;
        }
        let credential = format.credential.as_ref().map_or("no credential".to_owned(), |id| format!("credential {id}"));
        let passed_over = if format.passed_over { ", passed over for an earlier format" } else { "" };
        writeln!(out, "read as {}: {credential}{passed_over}", format.format)?;
    }
    for candidate in &explanation.candidates {
        writeln!(out)?;
        write!(out, "person {}", candidate.person)?;
        if let (Some(credential), Some(medium)) = (&candidate.credential, &candidate.medium) {
            write!(out, ", credential {credential} ({})", word(medium))?;
        }
        writeln!(
            out,
            ", groups: {}",
            if candidate.groups.is_empty() { "none".to_owned() } else { joined(&candidate.groups) }
        )?;
        for check in &candidate.checks {
            let result = check.reason.as_ref().map_or("passed".to_owned(), word);
            writeln!(out, "  {:<18} {result}", check.check)?;
        }
        let mut elsewhere = 0;
        for rule in &candidate.rules {
            match rule.outcome {
                RuleOutcome::OtherPlaceAndPeople => elsewhere += 1,
                _ => render_rule(rule, out)?,
            }
        }
        if elsewhere > 0 {
            writeln!(out, "  {elsewhere} rules are about other people and other places")?;
        }
    }
    if let Some(reason) = &explanation.refuses_all {
        writeln!(out, "every credential is refused there at present: {}", word(reason))?;
    }
    if !explanation.contracts.is_empty() {
        writeln!(out)?;
    }
    for contract in &explanation.contracts {
        let whose = contract.person.as_ref().map_or("of whoever knows its PIN".to_owned(), |id| format!("of {id}"));
        let standing =
            contract.excluded_by.as_ref().map_or_else(|| word(&contract.standing), |id| format!("excluded by {id}"));
        writeln!(out, "contract {} {whose}: {standing}", contract.contract)?;
    }
    if let Some(card) = &explanation.emergency_card {
        let result = match &card.reason {
            None => "opens".to_owned(),
            Some(reason) => format!("does not open: {}", word(reason)),
        };
        let uses = match (card.uses_max, card.uses) {
            (Some(max), Some(uses)) => format!(", used {uses} of {max} times on this node"),
            (Some(max), None) => format!(", at most {max} times: how often it was used only the running daemon knows"),
            (None, _) => String::new(),
        };
        writeln!(out, "\nemergency card {} {result}{uses}", card.emergency_card)?;
    }
    if !explanation.would_grant.is_empty() {
        writeln!(out, "\nfor a grant:")?;
        for hint in &explanation.would_grant {
            writeln!(out, "  {hint}")?;
        }
    }
    Ok(())
}

fn render_rule(rule: &RuleExplained, out: &mut String) -> std::fmt::Result {
    write!(out, "  rule {:<13} {:<5} {}", rule.rule, word(&rule.effect), word(&rule.outcome))?;
    if let Some(authentication) = &rule.authentication {
        write!(out, ", asks for {}", word(authentication))?;
    }
    if !rule.through.is_empty() {
        write!(out, ", through {}", joined(&rule.through))?;
    }
    if let Some(schedule) = &rule.schedule {
        write!(out, ", schedule {schedule}")?;
    }
    if let Some(at) = rule.changes_at {
        write!(out, " (changes at {at})")?;
    }
    writeln!(out)
}

fn joined(ids: &[Id]) -> String {
    ids.iter().map(Id::as_str).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_card_of_any_length_is_asked_about_by_its_bits_in_hex_digits_alone() {
        let longest = format!("1024:{}", "f".repeat(256));
        for (text, bits, hex) in
            [("26:2f623ae", 26, "2f623ae"), ("200:0D043", 200, "d043"), (&longest, 1024, &longest[5..])]
        {
            let card = raw_card(text).unwrap();
            assert_eq!((card.bits, format!("{:x}", card.value)), (bits, hex.to_owned()));
        }
        for text in ["26", "26:", "26:+f", "26:f_f", "26:0xf", "x:f", &format!("1024:1{}", "0".repeat(256))] {
            assert!(raw_card(text).unwrap_err().to_string().contains("expected BITS:HEX"), "{text}");
        }
    }
}
