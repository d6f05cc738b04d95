"""OSDP readers that are not ours (PDs of libosdp) on one line, from a card at a reader to a coil on pymodbus.

The tests follow one another on one running site.
"""

import json
import queue
import secrets
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import cloud as clouds
import pytest
from conftest import HERE, Site, latchd_binary, terminate

CARD, PIN_CARD = (12, 345), (12, 346)
# TIG SCEPACS 2.2, figure 7.
FASC_N = "d0439458210c2c19a0846d83685a1082108ce73984108ca3fc"
LOCK = 0
READERS = 3
# With the default key of every reader, until it is installed.
NEW = 3
RED, GREEN = 1, 2


class OsdpLine:
    """osdp_line.py in its own process."""

    def __init__(self, path, readers, timeline):
        self.timeline = timeline
        arguments = [f"{address}:{key.hex() if key else '-'}" for address, key in readers.items()]
        self.process = subprocess.Popen(
            [sys.executable, str(HERE / "osdp_line.py"), str(path), *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.answers, self.said, self.changed = queue.Queue(), [], threading.Condition()
        assert json.loads(self.process.stdout.readline()) == {"ready": True}
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        for line in self.process.stdout:
            message = json.loads(line)
            if "ok" in message or "error" in message:
                self.answers.put(message)
            else:
                with self.changed:
                    self.said.append(message)
                    self.changed.notify_all()

    def tell(self, line):
        self.timeline.say("reader", line)
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        answer = self.answers.get(timeout=5)
        assert answer.get("ok") == line, answer
        return answer

    def card(self, address, facility, number):
        self.tell(f"card {address} 26 {clouds.h10301(facility, number):x}")

    def mark(self):
        with self.changed:
            return len(self.said)

    def wait_said(self, after, wanted, what, timeout=5):
        deadline = time.monotonic() + timeout
        with self.changed:
            while not (found := [message for message in self.said[after:] if wanted(message)]):
                left = deadline - time.monotonic()
                assert left > 0 and self.changed.wait(left), f"no {what}: {self.said[after:]}"
            return found[0]

    def stop(self):
        terminate(self.process)


def led(address, colour, temporary):
    """Whether the panel told this reader's LED to show this colour for a while, or until told otherwise."""

    def wanted(message):
        command = message.get("command", {})
        return (
            message.get("shows") == address
            and "led_number" in command
            and command["on_color"] == colour
            and ("timer_count" in command) == temporary
        )

    return wanted


@pytest.fixture(scope="module")
def site(request):
    directory = Path(tempfile.mkdtemp(prefix="latchd-osdp-"))
    site = Site(directory, "tcp")
    keys = {address: secrets.token_bytes(16) for address in range(READERS)}
    site.line = OsdpLine(directory / "osdp", {**keys, NEW: None}, site.timeline)
    config = site.config.read_text() + f"""
[[bus]]
id = "readers"
osdp = "{directory}/osdp"
baud = 115200
"""
    for address, key in keys.items():
        (directory / f"scbk-{address}").write_text(key.hex() + "\n")
        config += f"""
[[reader]]
id = "osdp-{address}"
door = "front"
keypad = "osdp"
osdp = {{ bus = "readers", address = {address}, key = "scbk-{address}", inputs = 2, outputs = 1 }}
"""
    config += f"""
[[reader]]
id = "osdp-{NEW}"
door = "front"
osdp = {{ bus = "readers", address = {NEW} }}
feedback = {{ armed = "blue", buzzer = false }}
"""
    config += """
[[door]]
id = "side"
lock = { output = "osdp-0/output-1", unlocked = "energised" }
contact = { input = "osdp-0/input-1", closed = true }
rex = { input = "osdp-0/input-2", active = true }
dwell_ms = 1500
relock = "after_dwell"
"""
    site.config.write_text(config)
    try:
        site.broker.start()
        site.cloud.connect()
        site.start_daemon()
        records = site.cloud.set
        records.put("operator", "op-17", status={"state": "active"}, role="integrator")
        records.put("group", "staff", name="Staff")
        records.put("person", "ada", name="Ada", groups=["staff"])
        for id, card in (("card-1", CARD), ("card-2", PIN_CARD)):
            token = clouds.token(site.credential_key, f"h10301:{card[0]}:{card[1]}")
            records.put("credential", id, person="ada", token=token)
        records.put("card_format", "fasc-n", **json.loads((HERE.parent.parent / "docs/fasc-n.json").read_text()))
        token = clouds.token(site.credential_key, f"fasc-n:{FASC_N}")
        records.put("credential", "card-piv", person="ada", token=token)
        pin = clouds.token(site.credential_key, "pin:4711")
        records.put("credential", "pin-1", person="ada", token=pin, medium="pin")
        records.put("access_rule", "staff-front", effect="allow", groups=["staff"], doors=["front"], authentication="card_or_pin")
        records.generation = 1
        site.cloud.send_keys()
        site.cloud.send_set(records.manifest())
        site.cloud.wait_status(generation=1, clock="trusted")
        yield site
    finally:
        site.stop()
        site.line.stop()
        if request.session.testsfailed:
            print((directory / "latchd.log").read_text(errors="replace")[-4000:])
        shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(autouse=True)
def nothing_wrong_with_what_the_node_says(site):
    yield
    assert site.cloud.problems == []


def events(site, type, **fields):
    found = (event for event in site.cloud.chain.events if event["type"] == type)
    return [event for event in found if all(event.get(key) == value for key, value in fields.items())]


def wait_event(site, after, type, timeout=10, **fields):
    deadline = time.monotonic() + timeout
    while len(found := events(site, type, **fields)) <= after:
        assert time.monotonic() < deadline, f"no {type} {fields}"
        time.sleep(0.01)
    return found[-1]


def granted(site, address, card=CARD, timeout=5):
    before = len(events(site, "access.granted", reader=f"osdp-{address}"))
    mark = site.board.mark()
    began = time.monotonic()
    site.line.card(address, *card)
    site.board.wait_coil(LOCK, True, mark, timeout)
    taken = time.monotonic() - began
    wait_event(site, before, "access.granted", reader=f"osdp-{address}")
    site.board.wait_coil(LOCK, False, mark)
    return taken


def test_every_reader_of_the_line_has_a_session_and_opens_the_door(site):
    time.sleep(1)
    for address in range(READERS):
        asked = site.line.tell(f"asked {address}")
        assert asked["online"], asked
        granted(site, address)
    assert events(site, "reader.lost", reader="osdp-0") == []


def test_led_and_buzzer_tell_a_grant_from_a_denial(site):
    mark = site.line.mark()
    granted(site, 0)
    site.line.wait_said(mark, led(0, GREEN, True), "green light")
    site.line.wait_said(mark, lambda said: said.get("command", {}).get("rep_count") == 1, "beep")
    # The door is locked again, and the reader says so.
    site.line.wait_said(mark, led(0, RED, False), "red light")
    mark, before = site.line.mark(), len(events(site, "access.denied", reader="osdp-0"))
    site.line.card(0, 99, 9999)
    wait_event(site, before, "access.denied", reader="osdp-0")
    site.line.wait_said(mark, led(0, RED, True), "red light")
    site.line.wait_said(mark, lambda said: said.get("command", {}).get("rep_count") == 3, "three beeps")


def test_a_card_of_200_bits_opens_the_door_and_a_misread_one_is_denied_with_all_of_its_bits(site):
    before, mark = len(events(site, "access.granted", reader="osdp-0")), site.board.mark()
    site.line.tell(f"card 0 200 {FASC_N}")
    site.board.wait_coil(LOCK, True, mark)
    granted = wait_event(site, before, "access.granted", reader="osdp-0")
    assert granted["card"] == {"bits": 200, "raw": FASC_N, "formats": ["fasc-n", "raw"], "parity_ok": True}, granted
    site.board.wait_coil(LOCK, False, mark)
    before = len(events(site, "access.denied", reader="osdp-0"))
    misread = f"{int(FASC_N, 16) ^ 1 << 100:050x}"
    site.line.tell(f"card 0 200 {misread}")
    denied = wait_event(site, before, "access.denied", reader="osdp-0")
    assert denied["reason"] == "bad_format", denied
    assert (denied["card"]["bits"], denied["card"]["raw"]) == (200, misread), denied


@pytest.mark.parametrize("bits", [131, 257, 511])
def test_the_bits_of_a_long_card_are_those_that_the_reader_has(site, bits):
    """Lengths that are no whole bytes, up to the longest that this PD can hold (64 bytes)."""
    before = len(events(site, "access.denied", reader="osdp-0"))
    sent = f"{secrets.randbits(bits) | 1 << bits - 1:0{(bits + 3) // 4}x}"
    site.line.tell(f"card 0 {bits} {sent}")
    denied = wait_event(site, before, "access.denied", reader="osdp-0")
    assert (denied["reason"], denied["card"]["bits"]) == ("unknown_credential", bits), denied
    assert denied["card"]["raw"] == sent, denied


def test_a_new_reader_is_given_a_key_of_its_own_and_is_let_in_only_then(site):
    lost = wait_event(site, 0, "reader.lost", reader=f"osdp-{NEW}")
    assert "no key" in lost["detail"], lost
    assert site.line.tell(f"asked {NEW}")["plain"] == 0
    latchd = [latchd_binary(), "osdp", "install", f"osdp-{NEW}", "--minutes", "1", "--config", str(site.config)]
    result = subprocess.run(latchd, capture_output=True, text=True, timeout=50)
    assert result.returncode == 0, result
    assert "has a key of its own" in result.stdout
    wait_event(site, 0, "reader.install_began", reader=f"osdp-{NEW}")
    wait_event(site, 0, "reader.key_set", reader=f"osdp-{NEW}")
    wait_event(site, 0, "reader.restored", reader=f"osdp-{NEW}")
    granted(site, NEW)
    key = site.directory / "state" / "osdp-keys" / f"osdp-{NEW}"
    assert key.stat().st_mode & 0o777 == 0o600
    given = bytes.fromhex(next(said["data"] for said in site.line.said if said.get("keyset") == NEW))
    assert given not in key.read_bytes()
    refused = subprocess.run([*latchd[:3], "front-in", *latchd[4:]], capture_output=True, text=True, timeout=20)
    assert refused.returncode != 0 and "no OSDP reader" in refused.stderr, refused


def test_after_the_handshake_nothing_is_said_in_the_clear(site):
    for address in range(READERS):
        site.line.tell(f"asked {address}")
    time.sleep(2)
    for address in range(READERS):
        asked = site.line.tell(f"asked {address}")
        assert asked["plain"] == 0 and asked["secure"] > 20, asked


def test_a_reader_that_loses_power_for_a_moment_is_not_missed(site):
    mark = site.line.mark()
    site.line.tell("restart 1")
    site.line.wait_said(mark, led(1, RED, False), "red light again")
    granted(site, 1)
    assert events(site, "reader.lost", reader="osdp-1") == []
    # The others' sessions are as they were.
    assert site.line.tell("asked 0")["plain"] == 0


def test_a_reader_that_stops_answering_is_told_lost_and_back_and_the_others_go_on(site):
    site.line.tell("dead 1 on")
    unplugged = time.monotonic()
    wait_event(site, 0, "reader.lost", reader="osdp-1")
    assert 0.8 < time.monotonic() - unplugged < 3
    for address in (0, 2):
        granted(site, address)
    site.line.tell("restart 1")
    site.line.tell("dead 1 off")
    plugged = time.monotonic()
    wait_event(site, 0, "reader.restored", reader="osdp-1")
    assert time.monotonic() - plugged < 2.5
    granted(site, 1)
    assert len(events(site, "reader.lost", reader="osdp-1")) == 1


def test_a_reader_that_answers_late_opens_no_door_for_another(site):
    before = len(events(site, "access.granted"))
    site.line.tell("late 2 240")
    time.sleep(3)
    assert {event["reader"] for event in events(site, "reader.lost")} <= {"osdp-1", "osdp-2", f"osdp-{NEW}"}
    granted(site, 0)
    granted(site, 1)
    site.line.tell("late 2 0")
    deadline = time.monotonic() + 5
    while not site.line.tell("asked 2")["online"]:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    granted(site, 2)
    assert len(events(site, "access.granted")) == before + 3
    assert events(site, "security.reader_distrusted") == []


def test_corrupt_bytes_make_no_card_and_the_reader_goes_on(site):
    """Whether the card itself survives is up to the reader: this libosdp forgets what it is asked for again, later
    ones repeat it (the scripted readers of the unit tests do)."""
    before = len(events(site, "access.granted")), len(events(site, "access.denied"))
    lost = len(events(site, "reader.lost"))
    for count in (1, 2, 3):
        site.line.tell(f"corrupt 0 {count}")
        time.sleep(1.5)
        granted(site, 0)
    assert (len(events(site, "access.granted")), len(events(site, "access.denied"))) == (before[0] + 3, before[1])
    assert len(events(site, "reader.lost")) == lost
    assert events(site, "security.reader_distrusted") == []


def test_a_pin_is_typed_on_the_keypad_and_star_begins_it_anew(site):
    before = len(events(site, "access.granted", reader="osdp-0"))
    mark = site.board.mark()
    site.line.tell("keys 0 99*4711#")
    site.board.wait_coil(LOCK, True, mark)
    wait_event(site, before, "access.granted", reader="osdp-0")
    site.board.wait_coil(LOCK, False, mark)


# ---- the door "side", whose every wire is at reader 0 ----

ON_TIMED = 5


def out(address, on, code=None):
    return lambda said: said.get("out") == address and said["on"] == on and code in (None, said["code"])


def test_a_button_at_a_reader_opens_the_door_of_that_readers_relay(site):
    site.line.tell("input 0 1 1")
    site.cloud.wait(lambda: site.cloud.doors["side"]["contact"] == "closed", what="the contact to be closed")
    mark, before = site.line.mark(), len(events(site, "rex.activated", door="side"))
    pressed = time.monotonic()
    site.line.tell("input 0 2 1")
    on = site.line.wait_said(mark, out(0, True), "opening")
    assert on["t"] - pressed < 0.5
    # While it is held nobody knows how long it lasts; from then on the reader does.
    site.line.tell("input 0 2 0")
    on = site.line.wait_said(mark, out(0, True, ON_TIMED), "timed opening")
    off = site.line.wait_said(mark, out(0, False), "locking", timeout=4)
    assert 1.3 < off["t"] - on["t"] < 2.5
    wait_event(site, before, "rex.activated", door="side")


def test_a_command_for_a_readers_relay_is_read_back_and_its_opening_observed(site):
    mark = site.line.mark()
    site.line.tell("asked 0")
    jti = site.cloud.send("door.open_and_close", {"door": "side", "dwell_ms": 1500})
    site.line.wait_said(mark, out(0, True, ON_TIMED), "timed opening")
    site.cloud.wait_stage(jti, "actuated")
    site.line.tell("input 0 1 0")
    site.cloud.wait_stage(jti, "observed")
    stages = [outcome["stage"] for outcome in site.cloud.outcomes[jti]]
    assert stages == ["received", "authorised", "actuated", "observed"]
    site.line.tell("input 0 1 1")
    site.line.wait_said(mark, out(0, False), "locking", timeout=4)
    # In the session, all of it.
    assert site.line.tell("asked 0")["plain"] == 0


def test_a_door_is_held_open_and_closed_again_at_a_readers_relay(site):
    opened = site.cloud.send("door.open", {"door": "side"})
    site.cloud.wait_stage(opened, "actuated")
    time.sleep(2.5)
    assert site.line.tell("points 0")["on"]
    closed = site.cloud.send("door.close", {"door": "side"})
    site.cloud.wait_stage(closed, "actuated")
    assert not site.line.tell("points 0")["on"]


def test_of_a_reader_that_is_gone_nothing_is_known_and_nothing_is_ordered(site):
    lost, back = (len(events(site, type, reader="osdp-0")) for type in ("reader.lost", "reader.restored"))
    site.line.tell("dead 0 on")
    wait_event(site, lost, "reader.lost", reader="osdp-0")
    site.cloud.wait(lambda: site.cloud.doors["side"]["contact"] == "unknown", what="the contact to be unknown")
    refused = site.cloud.send("door.open_and_close", {"door": "side", "dwell_ms": 500})
    site.cloud.wait_stage(refused, "refused")
    assert site.cloud.outcomes[refused][-1]["reason"] == "bus_down"
    site.line.tell("restart 0")
    site.line.tell("dead 0 off")
    wait_event(site, back, "reader.restored", reader="osdp-0")
    site.cloud.wait(lambda: site.cloud.doors["side"]["contact"] == "closed", what="the contact to be closed")
    assert not site.line.tell("points 0")["on"]
    assert events(site, "board.lost", board="osdp-0") == [], "a reader is no board"


def a_new_run(site):
    boot = site.cloud.status["boot"]
    site.start_daemon()
    site.cloud.wait(lambda: site.cloud.status["boot"] != boot and site.cloud.status["state"] == "online", 30, "a new run")
    site.cloud.wait_status(clock="trusted")


def test_a_readers_relay_locks_again_although_the_daemon_is_dead(site):
    mark = site.line.mark()
    jti = site.cloud.send("door.open_and_close", {"door": "side", "dwell_ms": 2000})
    site.cloud.wait_stage(jti, "actuated")
    site.kill_daemon()
    assert site.line.tell("points 0")["on"]
    time.sleep(2.6)
    assert not site.line.tell("points 0")["on"]
    assert not any(out(0, False)(said) and said["t"] > 0 for said in site.line.said[mark:]), "by itself"
    a_new_run(site)


def opens_again_until_closed(site):
    """In the next run: what was ordered for good holds again."""
    a_new_run(site)
    site.cloud.wait(lambda: site.line.tell("points 0")["on"], what="the door to be open again")
    closed = site.cloud.send("door.close", {"door": "side"})
    site.cloud.wait_stage(closed, "actuated")
    assert not site.line.tell("points 0")["on"]


def test_a_door_held_open_at_a_readers_relay_locks_by_itself_within_its_timer_when_the_daemon_is_dead(site):
    opened = site.cloud.send("door.open", {"door": "side"})
    site.cloud.wait_stage(opened, "actuated")
    # Longer than the timer: it is set again and again.
    time.sleep(12)
    assert site.line.tell("points 0")["on"]
    site.kill_daemon()
    assert site.line.tell("points 0")["on"]
    time.sleep(10.5)
    assert not site.line.tell("points 0")["on"]
    opens_again_until_closed(site)


def test_a_stop_locks_a_readers_relay_before_the_daemon_ends(site):
    opened = site.cloud.send("door.open", {"door": "side"})
    site.cloud.wait_stage(opened, "actuated")
    assert site.line.tell("points 0")["on"]
    site.daemon.terminate()
    assert site.daemon.wait(10) == 0
    assert not site.line.tell("points 0")["on"]
    opens_again_until_closed(site)


def test_installers_see_a_readers_points(site):
    result = subprocess.run(
        [latchd_binary(), "io", "--json", "--config", str(site.config)], capture_output=True, text=True, timeout=20
    )
    assert result.returncode == 0, result
    [points] = [board["points"] for board in json.loads(result.stdout)["boards"] if board["board"] == "osdp-0"]
    serves = {point["point"]: point.get("serves") for point in points}
    assert serves == {
        "output-1": "lock of side",
        "input-1": "contact of side",
        "input-2": "REX of side",
        "tamper": None,
        "power": None,
    }


def test_what_only_a_manufacturer_understands_stops_nothing(site):
    site.line.tell("asked 1")
    for _ in range(3):
        site.line.tell("maker 1")
    granted(site, 1)
    log = (site.directory / "latchd.log").read_text()
    assert "what only its maker understands" in log and "5c2623" in log
    assert site.line.tell("asked 1")["plain"] == 0


def test_a_reader_is_told_another_address_and_its_word_is_checked(site):
    lost = len(events(site, "reader.lost", reader="osdp-1"))
    set_line = [latchd_binary(), "osdp", "set-line", "osdp-1", "--config", str(site.config), "--address"]
    taken = subprocess.run([*set_line, "2"], capture_output=True, text=True, timeout=30)
    assert taken.returncode != 0 and "`osdp-2` on the same line" in taken.stderr, taken
    mark = site.line.mark()
    done = subprocess.run([*set_line, "9"], capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done
    assert "`address = 9`" in done.stdout, done
    assert site.line.wait_said(mark, lambda said: said.get("moved") == 1, "move")["address"] == 9
    event = wait_event(site, 0, "reader.line_set", reader="osdp-1")
    assert (event["address"], event["baud"]) == (9, 115200)
    granted(site, 1)
    assert subprocess.run([*set_line, "1"], capture_output=True, text=True, timeout=30).returncode == 0
    granted(site, 1)
    assert len(events(site, "reader.lost", reader="osdp-1")) == lost


def test_an_opened_cover_is_an_event_and_so_is_a_closed_one(site):
    site.line.tell("tamper 0 1")
    event = wait_event(site, 0, "tamper.activated", reader="osdp-0")
    assert event["input"] == "osdp-0.tamper"
    site.line.tell("tamper 0 0")
    wait_event(site, 0, "tamper.cleared", reader="osdp-0")


def test_a_reader_with_another_key_is_distrusted_and_opens_nothing(site):
    site.line.tell("dead 2 on")
    wait_event(site, len(events(site, "reader.lost", reader="osdp-2")), "reader.lost", reader="osdp-2")
    (site.directory / "scbk-2").write_text(secrets.token_bytes(16).hex())
    before = len(events(site, "access.granted"))
    site.cloud.disconnect()
    site.cloud.connect()
    site.daemon.terminate()
    site.daemon.wait()
    site.line.tell("restart 2")
    site.line.tell("dead 2 off")
    site.start_daemon()
    wait_event(site, 0, "security.reader_distrusted", reader="osdp-2", timeout=15)
    # The one that was installed has kept its key.
    granted(site, NEW)
    before = len(events(site, "access.granted"))
    site.line.card(2, *CARD)
    time.sleep(2)
    assert len(events(site, "access.granted")) == before


def test_a_card_is_an_event_within_milliseconds(site):
    """The budget: one reader's poll, not libosdp's 50 ms."""
    deadline = time.monotonic() + 10
    while not site.line.tell("asked 0")["online"]:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    taken = sorted(granted(site, 0) for _ in range(9))
    site.timeline.say("reader", f"card to coil, median of nine: {taken[4] * 1000:.1f} ms")
    assert taken[4] < 0.25, taken
