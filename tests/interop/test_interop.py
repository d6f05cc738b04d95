"""From a signature in Python to a coil on pymodbus and back, over mosquitto, with the cloud and without it.

The tests follow one another on one running site (see conftest), once over Modbus TCP and once over RTU.
"""

import re
import signal
import time

import cloud as clouds
import jsonschema
import pytest

CARD, OTHER_CARD, LOST_CARD = (12, 345), (99, 9999), (12, 346)
LOCK = 0  # coil of relay-1


@pytest.fixture
def cloud(site):
    return site.cloud


@pytest.fixture
def board(site):
    return site.board


@pytest.fixture(autouse=True)
def nothing_wrong_with_what_the_node_says(site):
    yield
    assert site.cloud.problems == []


def staged(cloud, jti):
    return [outcome["stage"] for outcome in cloud.outcomes.get(jti, ())]


def coils_since(board, mark):
    return [(change["coil"], change["value"]) for change in board.changes[mark:]]


def settle(seconds=1.0):
    """Long enough for a command that is carried out by mistake to reach the coil."""
    time.sleep(seconds)


def test_a_set_from_nothing_is_fetched_and_in_force(site, cloud):
    records = cloud.set
    records.put("operator", "op-17", status={"state": "active"}, role="integrator")
    records.put("operator", "op-18", status={"state": "active"}, role="reporter")
    records.put("group", "staff", name="Staff")
    records.put("person", "ada", name="Ada", groups=["staff"])
    for id, card in (("card-1", CARD), ("card-2", LOST_CARD)):
        text = f"h10301:{card[0]}:{card[1]}"
        records.put("credential", id, person="ada", token=clouds.token(site.credential_key, text))
    records.put("access_rule", "staff-front", effect="allow", groups=["staff"], doors=["front"])
    records.generation = 1
    cloud.send_keys()
    cloud.send_set(records.manifest())
    status = cloud.wait_status(generation=1, clock="trusted")
    assert (status["digest"], status["keys_version"]) == (records.digest(), 1)
    cloud.wait_event("set.applied", digest=records.digest())
    cloud.wait(lambda: "front" in cloud.doors, what="the door's state")
    assert cloud.doors["front"]["mode"] == "Locked"


def test_systemd_hears_that_doors_are_enforced_and_that_the_daemon_lives(site):
    site.notifications.wait("READY=1")
    site.notifications.wait("WATCHDOG=1")


def test_check_accepts_what_the_daemon_runs_on(site):
    result = site.latchd("check")
    assert (result.returncode, result.stderr) == (0, ""), result
    assert "1 bus, 1 board, 1 door, 2 readers" in result.stdout


def test_a_second_daemon_leaves_the_first_alone(site, cloud):
    result = site.latchd("run")
    assert result.returncode == 75, result
    assert "state" in result.stderr
    state = cloud.send("door.state.get", {"door": "front"})
    cloud.wait_stage(state, "done")


def test_a_command_signed_in_python_moves_a_coil_and_is_seen_to_open(site, cloud, board):
    mark = board.mark()
    compact, jti = cloud.command("door.open_and_close", {"door": "front", "dwell_ms": 1200})
    cloud.send_signed(compact)
    on = board.wait_coil(LOCK, True, mark)
    board.contact(is_open=True)
    cloud.wait_stage(jti, "observed")
    off = board.wait_coil(LOCK, False, mark)
    assert 1.0 < off["t"] - on["t"] < 2.5
    assert staged(cloud, jti) == ["received", "authorised", "actuated", "observed"]
    assert [outcome["seq"] for outcome in cloud.outcomes[jti]] == [0, 1, 2, 3]
    board.contact(is_open=False)
    event = cloud.wait_event("door.mode_changed", door="front", to="Accessed")
    assert event["actor"] == {"by": "operator", "operator": "op-17", "jti": jti}
    assert event["replayed"] is False

    # The same bytes again: answered, and nothing moves.
    mark, answered = board.mark(), len(cloud.captured)
    cloud.send_signed(compact)
    again = lambda: [m for p, m in cloud.captured[answered:] if p == "rsp" and m["outcome"]["jti"] == jti]
    cloud.wait(again, what="the stored outcome")
    settle()
    assert coils_since(board, mark) == []

    # Other bytes under the same jti.
    cloud.send("door.open", {"door": "front"}, jti=jti)
    cloud.wait(lambda: any(o.get("reason") == "conflict" for o in cloud.outcomes[jti]), what="a conflict")
    settle()
    assert coils_since(board, mark) == []


def test_open_and_close_hold(cloud, board):
    mark = board.mark()
    opened = cloud.send("door.open", {"door": "front"})
    board.wait_coil(LOCK, True, mark)
    cloud.wait_stage(opened, "actuated")
    state = cloud.send("door.state.get", {"door": "front"})
    assert cloud.wait_stage(state, "done")["detail"]["state"]["mode"] == "Unlocked"
    settle(2.0)
    assert coils_since(board, mark) == [(LOCK, True)]
    closed = cloud.send("door.close", {"door": "front"})
    board.wait_coil(LOCK, False, mark)
    cloud.wait_stage(closed, "actuated")
    cloud.wait(lambda: cloud.doors["front"]["mode"] == "Locked", what="the door to be locked")


REFUSED = [
    ("malformed", {"args": {"door": "front", "colour": "red"}}),
    ("malformed", {"extra": 1}),
    ("wrong_audience", {"aud": "acme/hq-2"}),
    ("wrong_issuer", {"iss": "https://elsewhere.example"}),
    ("lifetime_too_long", {"lifetime": 61.0}),
    ("unknown_operator", {"operator": "op-99"}),
    ("forbidden", {"operator": "op-18"}),
    ("unknown_target", {"args": {"door": "back"}}),
]


@pytest.mark.parametrize("reason, changes", REFUSED)
def test_what_must_not_be_done_is_refused_with_its_reason(cloud, board, reason, changes):
    mark = board.mark()
    changes = dict(changes)
    jti = cloud.send("door.open", changes.pop("args", {"door": "front"}), **changes)
    assert cloud.wait_stage(jti, "refused")["reason"] == reason
    assert coils_since(board, mark) == []


@pytest.mark.parametrize(("command", "reason"), [("door.demolish", "malformed"), ("camera.front_photo", "forbidden")])
def test_a_command_that_no_door_carries_out_is_answered_with_its_reason(cloud, command, reason):
    jti = cloud.send(command, {"door": "front"})
    assert cloud.wait_stage(jti, "refused")["reason"] == reason


def test_an_expired_command_moves_nothing(cloud, board):
    mark, now = board.mark(), time.time()
    jti = cloud.send("door.open", {"door": "front"}, iat=now - 10, exp=now - 5)
    cloud.wait_stage(jti, "expired")
    assert coils_since(board, mark) == []


def test_a_command_for_another_run_is_unknown_and_moves_nothing(cloud, board):
    mark = board.mark()
    jti = cloud.send("door.open", {"door": "front"}, boot="another-run")
    cloud.wait_stage(jti, "unknown")
    assert coils_since(board, mark) == []


def test_a_command_that_the_broker_retained_moves_nothing_when_it_comes_again(site, cloud, board):
    # To a subscriber it comes without the flag, as any other; the broker keeps it and sends it again, with
    # the flag, when the node subscribes anew.
    mark = board.mark()
    jti = cloud.send("door.open_and_close", {"door": "front", "dwell_ms": 300}, lifetime=50.0, retain=True)
    cloud.wait_stage(jti, "not_observed", "refused")
    settle()
    assert coils_since(board, mark) in ([], [(LOCK, True), (LOCK, False)])
    mark = board.mark()
    site.restart_broker()
    cloud.wait_status(state="online")
    settle(2.0)
    assert coils_since(board, mark) == []
    cloud.publish("cmd", b"", retain=True)


def test_what_cannot_be_attributed_is_not_answered(cloud, board):
    mark, before = board.mark(), cloud.chain.seq
    stranger = clouds.Key(cloud.keys["cmd"].kid)
    strange, strange_jti = cloud.command("door.open", {"door": "front"}, key=stranger)
    compact, jti = cloud.command("door.open", {"door": "front"})
    tampered = compact[:-6] + ("AAAAAA" if not compact.endswith("AAAAAA") else "BBBBBB")
    other_use, other_jti = cloud.command("door.open", {"door": "front"}, key=cloud.keys["set"])
    other_typ, typ_jti = cloud.command("door.open", {"door": "front"}, typ="latchd-set+jwt")
    garbage = [b"", b"\0\xff\xfe", b"..", b"{}", b"a" * 300_000, b"eyJhbGciOiJub25lIn0.e30."]
    for payload in (strange, tampered, other_use, other_typ, *garbage):
        cloud.publish("cmd", payload)
    cloud.wait_event("security.rejected", after=before, timeout=90)
    assert coils_since(board, mark) == []
    for unattributed in (strange_jti, jti, other_jti, typ_jti):
        assert unattributed not in cloud.outcomes
    # And a good command still comes through.
    state = cloud.send("door.state.get", {"door": "front"})
    cloud.wait_stage(state, "done")


def test_an_installer_sees_points_live_and_tries_a_spare_output_at_any_time(site, board):
    points = site.latchd("io", "--once")
    assert points.returncode == 0, points.stderr
    [contact] = [line for line in points.stdout.splitlines() if line.endswith("contact of front")]
    assert re.search(r"in-1 +ON", contact), points.stdout
    mark = board.mark()
    tried = site.latchd("io", "pulse", "board/relay-5", "--ms", "300")
    assert (tried.returncode, tried.stdout) == (0, "the board confirms it\n"), tried.stderr
    board.wait_coil(4, True, mark)
    board.wait_coil(4, False, mark)


def test_a_lock_is_tried_only_in_installer_mode_which_the_cloud_hears_of(site, cloud, board):
    mark = board.mark()
    refused = site.latchd("io", "pulse", "board/relay-1")
    assert refused.returncode == 1 and "installer mode" in refused.stderr
    assert site.latchd("io", "install", "--minutes", "1").returncode == 0
    cloud.wait_event("installer.mode_began", minutes=1)
    assert site.latchd("io", "pulse", "board/relay-1", "--ms", "300").returncode == 0
    board.wait_coil(LOCK, True, mark)
    board.wait_coil(LOCK, False, mark)
    assert "INSTALLER MODE" in site.latchd("io", "--once").stdout
    assert site.latchd("io", "install", "--end").returncode == 0
    cloud.wait_event("installer.mode_ended", reason="ended")


def test_a_card_in_a_register_opens_the_door(cloud, board):
    mark, before = board.mark(), cloud.chain.seq
    board.card(*CARD)
    board.wait_coil(LOCK, True, mark)
    event = cloud.wait_event("access.granted", after=before)
    assert (event["person"], event["credential"], event["rule"]) == ("ada", "card-1", "staff-front")
    assert (event["card"]["bits"], event["card"]["raw"]) == (26, f"{clouds.h10301(*CARD):07x}")
    board.wait_coil(LOCK, False, mark)


def test_a_card_at_the_serial_reader_opens_the_door(site, cloud, board):
    mark, before = board.mark(), cloud.chain.seq
    site.serial_card(*CARD)
    board.wait_coil(LOCK, True, mark)
    event = cloud.wait_event("access.granted", after=before)
    assert (event["reader"], event["person"]) == ("front-serial", "ada")
    board.wait_coil(LOCK, False, mark)


def test_an_unknown_card_is_denied_with_its_bits(cloud, board):
    mark, before = board.mark(), cloud.chain.seq
    board.card(*OTHER_CARD)
    event = cloud.wait_event("access.denied", after=before)
    assert (event["reason"], event["card"]["raw"]) == ("unknown_credential", f"{clouds.h10301(*OTHER_CARD):07x}")
    assert coils_since(board, mark) == []


def test_a_lost_card_is_revoked_by_one_delta(cloud, board):
    before = cloud.chain.seq
    body = cloud.set.records["credential", "card-2"] | {"state": "lost"}
    cloud.send_delta(cloud.set.put("credential", "card-2", **body))
    cloud.wait_event("set.applied", after=before, digest=cloud.set.digest())
    mark = board.mark()
    board.card(*LOST_CARD)
    assert cloud.wait_event("access.denied", after=before)["reason"] == "lost"
    assert coils_since(board, mark) == []


def test_a_set_that_does_not_validate_is_refused_and_the_old_one_stays(cloud, board):
    before, generation = cloud.chain.seq, cloud.set.generation
    operation = cloud.set.put("access_rule", "broken", effect="allow", groups=["nobody"], doors=["front"])
    cloud.send_delta(operation)
    event = cloud.wait_event("set.refused", after=before)
    assert any("nobody" in reason for reason in event["reasons"]), event
    mark = board.mark()
    board.card(*CARD)
    board.wait_coil(LOCK, True, mark)
    board.wait_coil(LOCK, False, mark)
    # The cloud mends it; the node catches up.
    cloud.set.delete("access_rule", "broken")
    cloud.set.generation = generation + 2
    cloud.send_set(cloud.set.manifest())
    cloud.wait_status(generation=generation + 2)


def test_with_the_broker_stopped_cards_open_doors_and_events_arrive_afterwards(site, cloud, board):
    before = cloud.chain.seq
    cloud.disconnect()
    site.broker.stop()
    try:
        mark = board.mark()
        board.card(*CARD)
        board.wait_coil(LOCK, True, mark)
        board.contact(is_open=True)
        settle(0.3)
        board.contact(is_open=False)
        board.wait_coil(LOCK, False, mark)
        board.card(*OTHER_CARD)
        settle(0.5)
        brought_back = time.time()
    finally:
        site.broker.start()
        cloud.connect()
    granted = cloud.wait_event("access.granted", after=before, timeout=30)
    denied = cloud.wait_event("access.denied", after=granted["seq"], timeout=30)
    assert granted["replayed"] and denied["replayed"]
    assert clouds.instant(granted["occurred_at"]) < brought_back
    cloud.wait_status(state="online")
    # Checked on the way in: no gap, no change, no reordering (see EventChain).
    assert granted["person"] == "ada"


def test_a_command_that_expires_while_the_daemon_is_away_is_expired_and_moves_nothing(site, cloud, board):
    mark = board.mark()
    site.signal_daemon(signal.SIGSTOP)
    try:
        jti = cloud.send("door.open", {"door": "front"}, lifetime=1.0)
        time.sleep(2.0)
    finally:
        site.signal_daemon(signal.SIGCONT)
    cloud.wait_stage(jti, "expired", timeout=40)
    settle()
    assert coils_since(board, mark) == []


def test_after_a_kill_the_old_command_is_answered_and_never_repeated(site, cloud, board):
    mark = board.mark()
    compact, jti = cloud.command("door.open_and_close", {"door": "front", "dwell_ms": 500}, lifetime=50.0)
    cloud.send_signed(compact)
    cloud.wait_stage(jti, "not_observed", "observed", "failed")
    board.wait_coil(LOCK, False, mark)
    before, boot = cloud.chain.seq, cloud.status["boot"]
    site.kill_daemon()
    site.start_daemon()
    cloud.wait(lambda: cloud.status["boot"] != boot and cloud.status["state"] == "online", 30, "a new run")
    cloud.wait_status(clock="trusted")
    mark, answered = board.mark(), len(cloud.captured)
    cloud.send_signed(compact)
    again = lambda: [m for p, m in cloud.captured[answered:] if p == "rsp" and m["outcome"]["jti"] == jti]
    cloud.wait(again, what="an answer to the old command")
    unheard = cloud.send("door.open", {"door": "front"}, boot=boot)
    cloud.wait_stage(unheard, "unknown")
    settle()
    assert coils_since(board, mark) == []
    started = cloud.wait_event("node.started", after=before)
    assert started["clean"] is False
    # The mirror is in force without asking anyone.
    board.card(*CARD)
    board.wait_coil(LOCK, True, mark)
    board.wait_coil(LOCK, False, mark)


def test_sigterm_ends_the_run_in_order(site, cloud, board):
    mark = board.mark()
    opened = cloud.send("door.open", {"door": "front"})
    cloud.wait_stage(opened, "actuated")
    site.signal_daemon(signal.SIGTERM)
    assert site.daemon.wait(20) == 0
    # at_stop = "lock" is the default.
    board.wait_coil(LOCK, False, mark)
    cloud.wait_status(state="offline")
    site.notifications.wait("STOPPING=1")
    site.start_daemon()
    before = cloud.chain.seq
    cloud.wait_status(state="online")
    board.wait_coil(LOCK, True, mark)
    started = cloud.wait_event("node.started", after=0, clean=True)
    assert started["seq"] <= max(before, cloud.chain.seq)
    closed = cloud.send("door.close", {"door": "front"})
    cloud.wait_stage(closed, "actuated")


def test_everything_that_the_node_said_fits_the_published_contract(cloud, contract):
    channels = []
    for channel in contract["channels"].values():
        pattern = re.sub(r"\\\{\w+\\\}", "[^/]+", re.escape(channel["address"]))
        names = [reference["$ref"].rsplit("/", 1)[-1] for reference in channel["messages"].values()]
        channels.append((re.compile(pattern), names))
    validators = {
        name: jsonschema.Draft202012Validator({**contract, "$ref": f"#/components/messages/{name}/payload"})
        for _, names in channels
        for name in names
    }
    kinds = set()
    assert not [event for event in cloud.chain.events if event["type"] in ("security.rollback_refused", "log.gap")]
    assert len(cloud.captured) > 50
    for path, message in cloud.captured:
        names = [name for pattern, names in channels for name in names if pattern.fullmatch(f"{cloud.root}/{path}")]
        assert names, path
        errors = [error for name in names for error in validators[name].iter_errors(message)]
        assert len(names) > 1 or errors == [], (path, message, errors)
        assert any(validators[name].is_valid(message) for name in names), (path, message)
        kinds.add(path.split("/")[0])
    assert kinds == {"rsp", "evt", "state", "status", "set"}
