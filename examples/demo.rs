//! A short day at a simulated site, with the real daemon in a process of its own.
//!
//! `cargo run --release --example demo` plays it and exits non-zero if anything is not as it should be;
//! with `-- --stay` the site stays up afterwards and takes commands.

use std::{
    io::{BufRead as _, Write as _},
    path::Path,
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail, ensure};
use latchd::{domain::ids::Id, wire::outcome::Stage};
use latchd_sim::{
    board::{SimBoard, Write},
    cloud::{Cloud, StoredEvent, Wish, client::wall_now},
    site::{BrokerChoice, Daemon, LOCK_COIL, NODE, ORG, Program, REX_INPUT, Site, card},
};
use serde_json::json;
use tokio::runtime::Handle;

/// The first argument that turns this program into the daemon.
const DAEMON: &str = "__daemon";
const PATIENCE: Duration = Duration::from_secs(10);

/// What every event has; not shown to people who play.
const CHAIN_FIELDS: [&str; 8] = ["seq", "prev", "type", "occurred_at", "clock", "epoch", "generation", "replayed"];

const ADA: u16 = 1001;
const BEN: u16 = 1002;
const STRANGER: u16 = 4711;

fn main() -> ExitCode {
    let mut arguments: Vec<_> = std::env::args_os().collect();
    if arguments.get(1).is_some_and(|argument| argument == DAEMON) {
        arguments.remove(1);
        return latchd::cli::main(arguments);
    }
    let stay = arguments.iter().any(|argument| argument == "--stay");
    match demo(stay) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("\nFAILED: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn demo(stay: bool) -> anyhow::Result<()> {
    let directory = tempfile::Builder::new().prefix("latchd-demo-").tempdir()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let world = runtime.handle().clone();
    // The simulated site lives on a thread of its own; the script below just waits and looks.
    std::thread::Builder::new()
        .name("site".to_owned())
        .spawn(move || runtime.block_on(std::future::pending::<()>()))?;
    let mut day = Day::begin(world, directory.path())?;
    let played = day.play();
    if played.is_err() {
        println!("\n--- the daemon's log\n{}", day.daemon.log_text());
    }
    played?;
    if stay {
        day.stay()?;
    }
    day.end()
}

struct Day {
    began: Instant,
    world: Handle,
    site: Site,
    daemon: Daemon,
}

impl Day {
    fn begin(world: Handle, directory: &Path) -> anyhow::Result<Day> {
        let began = Instant::now();
        let site = world.block_on(Site::start(directory, BrokerChoice::Embedded))?;
        let daemon = Daemon::start(&Program::myself(DAEMON)?, &site.config())?;
        let day = Day { began, world, site, daemon };
        day.title("The site");
        day.say(format!("broker      localhost:{}, TLS 1.3, client certificates", day.site.broker.address().port()));
        day.say("door front  a strike on a Modbus TCP board, cards come through its registers");
        day.say("door glass  a magnet on a Modbus RTU board over a pseudo-terminal, cards on a serial line");
        day.say(format!("daemon      process {}, configured by {}", day.daemon.pid(), day.site.config().display()));
        Ok(day)
    }

    fn play(&mut self) -> anyhow::Result<()> {
        self.start_up()?;
        self.card_granted()?;
        self.card_denied()?;
        self.leaving()?;
        self.remote_open()?;
        self.refusals()?;
        let while_down = self.broker_down()?;
        self.broker_back(while_down)?;
        self.killed()
    }

    fn start_up(&self) -> anyhow::Result<()> {
        self.title("Start");
        self.cloud("the node is online", |cloud| cloud.online().map(drop))?;
        self.say("the node connected and said `online`, signed with its own key");
        self.site.publish_set()?;
        self.cloud("the permission set is applied", |cloud| {
            cloud.online().filter(|online| online.generation == 1).map(drop)
        })?;
        self.say("the cloud published a signed permission set; the node applied it, durably, as generation 1");
        ensure!(self.site.field.glass.coil(LOCK_COIL), "the magnet lost its power at the start");
        self.say("no relay moved: the strike has no current, the magnet has");
        self.cloud("the doors' states", |cloud| (cloud.doors.len() == 3).then_some(()))
    }

    fn card_granted(&self) -> anyhow::Result<()> {
        self.title("Ada's card at the front door");
        let presented = Instant::now();
        self.site.field.front.present_card(26, card(ADA));
        self.coil(&self.site.field.front, true)?;
        self.say(format!(
            "the strike released after {} ms, most of it the board's polling",
            presented.elapsed().as_millis()
        ));
        let granted = self.event("access.granted", |event| event.json["door"] == "front")?;
        self.say(format!("granted by rule {}: one event, number {}", granted.json["rule"], granted.seq));
        self.event("door.opened", |event| event.json["door"] == "front")?;
        self.coil(&self.site.field.front, false)?;
        self.event("door.closed", |event| event.json["door"] == "front")?;
        self.say("she went through, the door fell shut, the strike locked again");
        Ok(())
    }

    fn card_denied(&self) -> anyhow::Result<()> {
        self.title("Cards that do not open");
        let front = &self.site.field.front;
        front.take_writes();
        front.present_card(26, card(STRANGER));
        self.denied("unknown_credential")?;
        self.say("a stranger's card: denied, unknown_credential, with the raw bits kept");
        front.present_card(26, card(BEN));
        // The one minute of the day in which he may come is a minute to wait out.
        match self.denied("outside_schedule") {
            Ok(()) => self.say("Ben's card: denied, outside_schedule (he may come in the first minute of the night)"),
            Err(_) if self.count("access.granted", |event| event.json["person"] == "ben") > 0 => {
                self.say("Ben's card: granted, for it is the first minute of the night");
                return Ok(());
            }
            Err(error) => return Err(error),
        }
        ensure!(!front.take_writes().contains_unlock(), "a denied card moved the relay");
        self.say("the relay did not move");
        Ok(())
    }

    fn leaving(&self) -> anyhow::Result<()> {
        self.title("Somebody leaves by the exit button");
        let glass = &self.site.field.glass;
        glass.set_input(REX_INPUT, true);
        self.coil(glass, false)?;
        glass.set_input(REX_INPUT, false);
        self.event("rex.activated", |event| event.json["door"] == "glass")?;
        self.coil(glass, true)?;
        self.say("the magnet let go (released is its unlocked level) and holds again");
        Ok(())
    }

    fn remote_open(&self) -> anyhow::Result<()> {
        self.title("An operator opens the glass door from afar");
        let wish = Wish::new("op-ada", "door.open_and_close", json!({ "door": "glass", "dwell_ms": 1000 }));
        let sent = Instant::now();
        let jti = self.site.cloud.command(&wish)?;
        self.stage(&jti, Stage::Actuated)?;
        self.say(format!(
            "signed, published, checked, written, read back: `actuated` after {} ms",
            sent.elapsed().as_millis()
        ));
        self.stage(&jti, Stage::Observed)?;
        self.say("and `observed`: the contact saw the door open");
        self.coil(&self.site.field.glass, true)
    }

    fn refusals(&self) -> anyhow::Result<()> {
        self.title("Commands that are refused");
        let jti = self.site.cloud.command(&Wish::door("op-rita", "door.open", "front"))?;
        let outcome = self.stage(&jti, Stage::Refused)?;
        self.say(format!("op-rita is a reporter: refused, {}", outcome["reason"]));
        let other_run = Wish { boot: Id::new("an-earlier-run").ok(), ..Wish::door("op-ada", "door.open", "front") };
        let jti = self.site.cloud.command(&other_run)?;
        self.stage(&jti, Stage::Unknown)?;
        self.say("a command for an earlier run of the daemon: `unknown`, and nothing moves");
        ensure!(!self.site.field.front.coil(LOCK_COIL), "a refused command moved the relay");
        Ok(())
    }

    /// Returns the command that was signed while nobody could hear it.
    fn broker_down(&mut self) -> anyhow::Result<latchd_sim::cloud::Outgoing> {
        self.title("The broker goes down");
        self.site.broker.stop();
        self.say("no cloud, no broker; the doors go on");
        let glass = &self.site.field.glass;
        self.world.block_on(self.site.field.glass_reader.present(26, u128::from(card(ADA))))?;
        self.coil(glass, false)?;
        self.say("Ada's card at the glass door: granted offline, the magnet let go");
        self.coil(glass, true)?;
        self.site.field.front.present_card(26, card(STRANGER));
        let wish = Wish { lifetime: Duration::from_secs(2), ..Wish::door("op-ada", "door.open", "front") };
        let (_, message) = self.site.cloud.cloud().command(wall_now(), &wish);
        self.say("an operator asks for the front door, within two seconds; nobody hears it");
        std::thread::sleep(Duration::from_millis(2500));
        Ok(message)
    }

    fn broker_back(&mut self, late: latchd_sim::cloud::Outgoing) -> anyhow::Result<()> {
        self.title("The broker is back");
        let front = self.site.field.front.clone();
        front.take_writes();
        self.site.broker.start_again()?;
        let replayed = self.event("access.granted", |event| event.json["door"] == "glass")?;
        ensure!(replayed.replayed, "an event from the outage is not marked as replayed");
        self.say(format!("event {} from the outage arrived, marked `replayed`", replayed.seq));
        self.cloud("the backlog drains", |cloud| cloud.online().filter(|online| online.backlog == 0).map(drop))?;
        let (count, problems) = {
            let cloud = self.site.cloud.cloud();
            (cloud.events.len(), cloud.problems.clone())
        };
        ensure!(problems.is_empty(), "the cloud found fault: {problems:?}");
        self.say(format!("{count} events: numbers without gaps, each naming the hash of the one before"));
        self.site.cloud.publish(late)?;
        let expired = self.cloud("the late command ends", |cloud| {
            cloud.outcomes.iter().find(|outcome| outcome.stage == Stage::Expired).cloned()
        })?;
        self.say(format!("the command from the outage, {}: expired", expired.jti));
        ensure!(!front.take_writes().contains_unlock(), "an expired command moved the relay");
        self.say("the front door did not move");
        Ok(())
    }

    fn killed(&mut self) -> anyhow::Result<()> {
        self.title("The daemon is killed");
        let boot = self.cloud("a status", |cloud| cloud.status.as_ref().map(|status| status.boot.clone()))?;
        let restarted = Instant::now();
        let pid = self.daemon.pid();
        self.daemon.restart(&Program::myself(DAEMON)?, &self.site.config())?;
        self.cloud("a new run", |cloud| {
            cloud.status.as_ref().filter(|status| status.boot != boot).and(cloud.online()).map(drop)
        })?;
        self.say(format!(
            "process {pid} got SIGKILL; the next run was online after {} ms",
            restarted.elapsed().as_millis()
        ));
        // What a reader shows before the doors are enforced is from before the start.
        let enforced = || self.daemon.log_text().matches(" ready: the doors are enforced").count() == 2;
        while !enforced() {
            ensure!(restarted.elapsed() < PATIENCE, "the doors were not enforced after the kill");
            std::thread::sleep(Duration::from_millis(5));
        }
        self.site.field.front.present_card(26, card(ADA));
        self.coil(&self.site.field.front, true)?;
        self.say("it decides from its own mirror: Ada's card opens the front door");
        self.coil(&self.site.field.front, false)?;
        self.event("node.started", |event| event.json["clean"] == false)?;
        self.say("and it said that it was not stopped in order");
        Ok(())
    }

    fn end(self) -> anyhow::Result<()> {
        self.title("The end of the day");
        if let Some(kib) = self.daemon.resident_kib() {
            self.say(format!("the daemon's resident memory: {:.1} MiB", kib as f64 / 1024.0));
        }
        let began = self.began;
        let status = self.daemon.stop(PATIENCE)?;
        ensure!(status.success(), "the daemon ended with {status}");
        ensure!(!self.site.field.front.coil(LOCK_COIL), "the strike was left open");
        println!("  SIGTERM: every door in its safe state, the log closed, exit 0");
        println!("\nEverything went as it should, in {:.1} s.", began.elapsed().as_secs_f64());
        Ok(())
    }

    // ---- play ----

    fn stay(&mut self) -> anyhow::Result<()> {
        self.title("The site stays up");
        let names = "card front|glass NUMBER · open|close DOOR · exit DOOR · broker down|up · events · quit";
        println!("  people: Ada {ADA}, Ben {BEN}; topics under latchd/v1/{ORG}/{NODE}\n  {names}");
        let mut shown = self.site.cloud.cloud().events.len();
        for line in std::io::stdin().lock().lines() {
            let line = line?;
            let words: Vec<&str> = line.split_whitespace().collect();
            match words.as_slice() {
                ["quit"] => break,
                ["events"] => {}
                ["broker", "down"] => self.site.broker.stop(),
                ["broker", "up"] => self.site.broker.start_again()?,
                ["card", "front", number] => match number.parse() {
                    Ok(number) => self.site.field.front.present_card(26, card(number)),
                    Err(_) => println!("  a card number is 0 to 65535"),
                },
                ["card", "glass", number] => match number.parse() {
                    Ok(number) => {
                        let value = u128::from(card(number));
                        self.world.block_on(self.site.field.glass_reader.present(26, value))?;
                    }
                    Err(_) => println!("  a card number is 0 to 65535"),
                },
                ["exit", door @ ("front" | "glass")] => {
                    let board = if *door == "front" { &self.site.field.front } else { &self.site.field.glass };
                    board.set_input(REX_INPUT, true);
                    std::thread::sleep(Duration::from_millis(300));
                    board.set_input(REX_INPUT, false);
                }
                [verb @ ("open" | "close"), door] => {
                    let jti = self.site.cloud.command(&Wish::door("op-ada", &format!("door.{verb}"), door))?;
                    std::thread::sleep(Duration::from_millis(500));
                    for outcome in self.site.cloud.cloud().outcomes_of(&jti) {
                        let detail = outcome.detail.as_ref().map_or(String::new(), |detail| format!(" {detail}"));
                        println!("  {jti}: {:?}{detail}", outcome.stage);
                    }
                }
                _ => println!("  {names}"),
            }
            std::thread::sleep(Duration::from_millis(400));
            let cloud = self.site.cloud.cloud();
            for event in cloud.events.iter().skip(shown) {
                let mut body = event.json.clone();
                body.retain(|name, _| !CHAIN_FIELDS.contains(&name.as_str()));
                println!("  event {} {} {}", event.seq, event.kind, serde_json::Value::Object(body));
            }
            shown = cloud.events.len();
        }
        Ok(())
    }

    // ---- saying and waiting ----

    fn title(&self, text: &str) {
        println!("\n{text}  [{:.1} s]", self.began.elapsed().as_secs_f64());
    }

    fn say(&self, text: impl AsRef<str>) {
        println!("  {}", text.as_ref());
        let _ = std::io::stdout().flush();
    }

    fn cloud<T>(&self, what: &str, test: impl FnMut(&mut Cloud) -> Option<T>) -> anyhow::Result<T> {
        self.site.cloud.wait_for(what, PATIENCE, test)
    }

    fn coil(&self, board: &SimBoard, on: bool) -> anyhow::Result<()> {
        let reached = board.until(|registers| registers.coil(LOCK_COIL) == on);
        let waited = self.world.block_on(async { tokio::time::timeout(PATIENCE, reached).await });
        waited.with_context(|| format!("the relay was not {}", if on { "energised" } else { "released" }))
    }

    fn event(&self, kind: &str, test: impl Fn(&StoredEvent) -> bool) -> anyhow::Result<StoredEvent> {
        self.cloud(&format!("event {kind}"), |cloud| {
            cloud.events.iter().rev().find(|event| event.kind == kind && test(event)).cloned()
        })
    }

    fn count(&self, kind: &str, test: impl Fn(&StoredEvent) -> bool) -> usize {
        self.site.cloud.cloud().events.iter().filter(|event| event.kind == kind && test(event)).count()
    }

    fn denied(&self, reason: &str) -> anyhow::Result<()> {
        self.event("access.denied", |event| event.json["reason"] == reason).map(drop)
    }

    fn stage(&self, jti: &Id, stage: Stage) -> anyhow::Result<serde_json::Value> {
        let outcome = self.cloud(&format!("{stage:?} of {jti}"), |cloud| {
            let outcome = cloud.outcomes_of(jti).find(|outcome| outcome.stage == stage || outcome.stage.always_ends());
            outcome.cloned()
        })?;
        if outcome.stage != stage {
            bail!("{jti} ended as {:?} instead of {stage:?}: {:?}", outcome.stage, outcome.detail);
        }
        Ok(serde_json::to_value(outcome)?)
    }
}

trait Unlocks {
    fn contains_unlock(&self) -> bool;
}

impl Unlocks for Vec<(Instant, Write)> {
    fn contains_unlock(&self) -> bool {
        self.iter().any(|(_, write)| *write == Write::Coil { address: LOCK_COIL, on: true })
    }
}
