"""`latchd scan` against boards that pymodbus plays, and against readers that libosdp plays: what it finds, and that it
moves nothing."""

import fcntl
import json
import os
import pty
import re
import struct
import subprocess
import sys
import termios
import time
from types import SimpleNamespace

import pytest
from conftest import HERE, Board, Timeline, free_port, latchd_binary, terminate


def line(tmp_path):
    near, far = tmp_path / "near", tmp_path / "far"
    link = subprocess.Popen(["socat", *(f"pty,raw,echo=0,link={end}" for end in (near, far))])
    deadline = time.monotonic() + 5
    while not (near.exists() and far.exists()):
        assert time.monotonic() < deadline, "socat made no ports"
        time.sleep(0.02)
    return link, near, far


@pytest.fixture(params=["tcp", "rtu"])
def board(request, tmp_path):
    if request.param == "tcp":
        where = f"127.0.0.1:{free_port()}"
        board = Board(Timeline(), "--tcp", where.rsplit(":", 1)[1])
        yield SimpleNamespace(board=board, arguments=[where, "--units", "1-3"])
        board.stop()
        return
    link, near, far = line(tmp_path)
    board = Board(Timeline(), "--rtu", str(far), "--baud", "19200")
    # Pseudo-terminals know neither speed nor parity.
    arguments = [str(near), "--units", "1-3", "--baud", "19200", "--parity", "none"]
    yield SimpleNamespace(board=board, arguments=arguments)
    board.stop()
    terminate(link)


def scan(*arguments):
    return subprocess.run([latchd_binary(), "scan", *arguments], capture_output=True, text=True, timeout=60)


def test_a_board_is_found_with_what_it_has_and_no_coil_is_touched(board):
    found = scan(*board.arguments)
    assert found.returncode == 0, found.stderr
    head, *lines = found.stdout.splitlines()
    assert board.arguments[0] in head
    [line] = [line for line in lines if line.strip().startswith("unit 1 ")]
    assert "coils 0-" in line and "discrete inputs 0-" in line
    assert board.board.changes == []


def test_where_nobody_answers_it_says_what_to_look_at(tmp_path):
    link, near, _ = line(tmp_path)
    nothing = scan(str(near), "--units", "1-2", "--timeout-ms", "5")
    terminate(link)
    assert nothing.returncode == 1
    assert "nothing answered; look at power" in nothing.stdout


def test_whoever_watches_sees_how_far_it_is(tmp_path):
    link, near, _ = line(tmp_path)
    master, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))
    arguments = ["--units", "1-30", "--timeout-ms", "20", "--baud", "9600", "--parity", "none"]
    found = subprocess.run(
        [latchd_binary(), "scan", str(near), *arguments], stdout=subprocess.PIPE, stderr=terminal, timeout=60
    )
    os.close(terminal)
    seen = b""
    try:
        while piece := os.read(master, 65536):
            seen += piece
    except OSError:
        pass  # Nobody holds the other end any more.
    terminate(link)
    done = [int(position) for position in re.findall(rb"(\d+)/30", seen)]
    assert found.returncode == 1 and len(set(done)) > 3 and done == sorted(done), seen
    assert b"9600 8N1" in seen


def test_a_port_that_is_not_there_is_named():
    missing = scan("/dev/no-such-port", "--units", "1")
    assert missing.returncode == 1
    assert "/dev/no-such-port" in missing.stderr and "plugged in" in missing.stderr


@pytest.fixture
def readers(tmp_path):
    """One that answers in a session only, one with its default key, and one at an unusual address."""
    arguments = [f"{address}:{key}" for address, key in ((0, "11" * 16), (3, "-"), (100, "22" * 16))]
    path = tmp_path / "osdp"
    process = subprocess.Popen(
        [sys.executable, str(HERE / "osdp_line.py"), str(path), *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert json.loads(process.stdout.readline()) == {"ready": True}
    yield SimpleNamespace(path=path, process=process)
    terminate(process)


def test_readers_are_found_with_who_they_are_and_what_they_have_and_are_told_nothing(readers):
    # Pseudo-terminals know no speed: it is one at which they would be found at each.
    found = scan(str(readers.path), "--osdp", "--baud", "9600", "--timeout-ms", "25")
    assert found.returncode == 0, found
    head, *lines = found.stdout.splitlines()
    assert head.endswith("9600 8N1")
    addresses = {line.split()[1]: line for line in lines if line.strip().startswith("address")}
    assert set(addresses) == {"0", "3", "100"}, found.stdout
    assert all("serial" in line and "inputs = 2" in line and "outputs = 1" in line for line in addresses.values())
    assert "in a secure channel only" in addresses["0"] and "in a secure channel only" in addresses["100"]
    assert "answers in the clear as well" in addresses["3"]
    # Nobody was told to show, to drive or to change anything.
    readers.process.stdin.write("points 0\n")
    readers.process.stdin.flush()
    assert json.loads(readers.process.stdout.readline()) == {"ok": "points 0", "on": False}


def test_some_addresses_of_a_line_of_readers_are_asked_alone(readers):
    found = scan(str(readers.path), "--osdp", "--baud", "9600", "--units", "1-3", "--timeout-ms", "25")
    assert [line.split()[:2] for line in found.stdout.splitlines()[1:]] == [["address", "3"]], found
    nobody = scan(str(readers.path), "--osdp", "--baud", "9600", "--units", "50", "--timeout-ms", "5")
    assert nobody.returncode == 1 and "no reader answered" in nobody.stdout
