"""The log in systemd's journal: real fields, and a journal that stops reading stops nobody.

Stands in for journald at its well-known socket, which needs root and a machine without journald.
"""

import os
import socket
import struct
import tempfile
import threading
import time
from pathlib import Path

import pytest
from conftest import Site

SOCKET = Path("/run/systemd/journal/socket")

pytestmark = pytest.mark.skipif(
    SOCKET.exists() or os.geteuid() != 0, reason="journald runs here, or this is not root: its socket cannot be stood in for"
)


def fields(datagram):
    """systemd's native journal protocol: NAME=value lines, or NAME, a length and the bytes."""
    found, at = {}, 0
    while at < len(datagram):
        end = datagram.index(b"\n", at)
        name, equals, value = datagram[at:end].partition(b"=")
        at = end + 1
        if not equals:
            (length,) = struct.unpack_from("<Q", datagram, at)
            value = datagram[at + 8 : at + 8 + length]
            at += 8 + length + 1
        found[name.decode()] = value.decode()
    return found


class Journald:
    def __init__(self):
        SOCKET.parent.mkdir(parents=True, exist_ok=True)
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(SOCKET))
        self.entries, self.changed, self.reading = [], threading.Condition(), threading.Event()
        self.reading.set()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        while True:
            self.reading.wait()
            datagram = self.socket.recv(1 << 20)
            with self.changed:
                self.entries.append(fields(datagram))
                self.changed.notify_all()

    def wait(self, timeout=10.0, **wanted):
        deadline = time.monotonic() + timeout
        with self.changed:
            while True:
                for entry in self.entries:
                    if wanted.items() <= entry.items():
                        return entry
                assert time.monotonic() < deadline, f"no entry with {wanted}: {self.entries[-20:]}"
                self.changed.wait(0.2)


@pytest.fixture
def journald():
    journald = Journald()
    yield journald
    SOCKET.unlink()


def test_events_are_journal_entries_with_fields_and_a_stuck_journal_stops_no_door(journald):
    directory = Path(tempfile.mkdtemp(prefix="latchd-journal-"))
    site = Site(directory, "tcp")
    try:
        site.broker.start()
        site.start_daemon(journal=True)
        started = journald.wait(MESSAGE="node.started", TYPE="node.started", SYSLOG_IDENTIFIER="latchd", PRIORITY="5")
        assert started["GENERATION"] == "0"
        site.board.card(12, 345)
        denied = journald.wait(TYPE="access.denied", DOOR="front", REASON="stale_permissions")
        assert denied["READER"] == "front-in" and "raw" in denied["DETAILS"]

        # Nobody reads any more: the socket holds some ten entries, and the daemon must not care for the rest.
        journald.reading.clear()
        for number in range(40):
            site.board.card(12, number + 1)
            time.sleep(0.03)
        mark = len(site.notifications.seen)
        site.notifications.wait("WATCHDOG=1", mark, process=site.daemon)
        journald.reading.set()
        journald.wait(TYPE="access.denied", DOOR="front")
    finally:
        site.stop()
