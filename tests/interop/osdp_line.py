"""An RS-485 line with OSDP readers on it, each a PD of libosdp, which is not ours.

    osdp_line.py PATH ADDRESS:SCBK [ADDRESS:SCBK ...]      SCBK: 32 hex digits, or - for a reader with the default key

The line is a pseudo-terminal, linked at PATH: every frame of the panel reaches every reader, and every reply reaches
the panel and the other readers. Takes one command per line on standard input, answers each with a line of JSON:

    card ADDRESS BITS HEX    a card is held to the reader
    keys ADDRESS DIGITS      keys are typed (* and # as on the keypad)
    tamper ADDRESS 0|1       the reader's cover
    input ADDRESS N 0|1      one of its inputs, N from 1; it tells so
    points ADDRESS           how its outputs are
    maker ADDRESS            it says what only its manufacturer understands
    dead ADDRESS on|off      unplugged, or plugged in again
    late ADDRESS MS          every answer comes so late from now on
    corrupt ADDRESS COUNT    one bit of so many answers is wrong
    restart ADDRESS          loses power for a moment: no session, no sequence
    asked ADDRESS            how many frames it was sent in the clear, and how many in a session

and says by itself what the panel tells a reader to show, and each OUT that it gets, with a monotonic time. A reader
that is told to take another address goes on under the one that it was started with here.
"""

import heapq
import json
import os
import select
import sys
import time
import tty

from osdp import Capability, CardFormat, Command, Event, LibFlag, LogLevel, PDCapabilities, PDInfo, PeripheralDevice
from osdp import StatusReportType
from osdp.channel import Channel

SOM, MARK = 0x53, 0xFF
TURNAROUND = 0.001


def say(**message):
    print(json.dumps(message), flush=True)


class Wire(Channel):
    """libosdp is handed whole frames, for it loses halves, unless one is longer than it has room for."""

    def __init__(self, reader):
        super().__init__()
        self.reader, self.waiting = reader, []

    def read(self, max_bytes):
        frame = self.waiting.pop(0) if self.waiting else b""
        if frame[max_bytes:]:
            self.waiting.insert(0, frame[max_bytes:])
        return frame[:max_bytes]

    def write(self, buf):
        self.reader.answered(bytes(buf))
        return len(buf)

    def flush(self):
        pass


class Relay:
    """One output: what lasts and what passes (SIA OSDP 2.2, 6.10)."""

    def __init__(self):
        self.lasting, self.passing, self.until = False, False, 0.0

    def is_on(self):
        return self.passing if time.monotonic() < self.until else self.lasting

    def obey(self, code, tenths):
        if code in (1, 2):
            self.lasting, self.until = code == 2, 0.0
        elif code in (3, 4):
            self.lasting = code == 4
        elif code in (5, 6):
            self.passing, self.until = code == 5, time.monotonic() + tenths / 10


def status(report):
    """The Python binding of libosdp cannot answer a status query. Its C part takes the bytes of whatever command is
    handed back for the report: of a KEYSET, two bytes of padding, the number of entries and the entries."""
    report = bytes(report)
    return 0, {"command": Command.Keyset, "type": 0, "data": bytes(2) + len(report).to_bytes(4, "little") + report}


class Reader:
    def __init__(self, line, address, scbk):
        self.line, self.name, self.address, self.scbk = line, address, address, scbk
        self.inputs, self.cover = [0, 0], 0
        self.dead, self.late, self.corrupt = False, 0.0, 0
        self.plain = self.secure = 0
        self.restart()

    def restart(self):
        self.relay = Relay()
        self.wire = Wire(self)
        capabilities = PDCapabilities(
            [
                (Capability.OutputControl, 1, 1),
                (Capability.ContactStatusMonitoring, 1, 2),
                (Capability.LEDControl, 1, 1),
                (Capability.AudibleControl, 1, 1),
                (Capability.TextOutput, 1, 1),
                (Capability.CommunicationSecurity, 1, 1),
            ]
        )
        flags = [LibFlag.EnforceSecure] if self.scbk else [LibFlag.InstallMode]
        info = PDInfo(self.address, self.wire, scbk=self.scbk, flags=flags)
        self.pd = PeripheralDevice(info, capabilities, log_level=LogLevel.Critical, command_handler=self.commanded)
        self.shown = []

    def commanded(self, command):
        match command["command"]:
            case Command.Status:
                reports = {
                    StatusReportType.Input: self.inputs,
                    StatusReportType.Output: [self.relay.is_on()],
                    StatusReportType.Local: [self.cover, 0],
                    StatusReportType.Remote: [0],
                }
                return status(reports[command["type"]])
            case Command.Output:
                self.relay.obey(command["control_code"], command["timer_count"])
                say(out=self.name, code=command["control_code"], on=self.relay.is_on(), t=time.monotonic())
                return 0, None
            case Command.ComsetDone:
                self.address = command["address"]
                say(moved=self.name, address=self.address, baud=command["baud_rate"])
                return 0, None
        command = {key: value.hex() if isinstance(value, bytes) else value for key, value in command.items()}
        if "type" in command and "data" in command and len(command["data"]) == 32:
            self.scbk = bytes.fromhex(command["data"])
            say(keyset=self.name, data=command["data"], t=time.monotonic())
        else:
            say(shows=self.name, command=command, t=time.monotonic())
        return 0, None

    def hear(self, frame):
        if self.dead:
            return
        if frame[1] == self.address:
            # A security block of a session: SCS_15 to SCS_18.
            if frame[4] & 0x08 and frame[6] >= 0x15:
                self.secure += 1
            else:
                self.plain += 1
        self.wire.waiting.append(frame)
        for _ in range(3):
            self.pd.ctx.refresh()

    def answered(self, frame):
        if self.corrupt:
            self.corrupt -= 1
            frame = frame[:6] + bytes([frame[6] ^ 0x10]) + frame[7:]
        self.line.later(TURNAROUND + self.late, self, frame)

    def submit(self, event):
        self.pd.ctx.submit_event(event)


class Line:
    def __init__(self, path, readers):
        self.master, self.slave = os.openpty()
        tty.setraw(self.slave)
        os.symlink(os.ttyname(self.slave), path)
        self.readers = {address: Reader(self, address, scbk) for address, scbk in readers}
        self.heard, self.queue, self.count = b"", [], 0

    def later(self, seconds, reader, frame):
        self.count += 1
        heapq.heappush(self.queue, (time.monotonic() + seconds, self.count, reader, frame))

    def due(self):
        while self.queue and self.queue[0][0] <= time.monotonic():
            _, _, reader, frame = heapq.heappop(self.queue)
            if reader.dead:
                continue
            os.write(self.master, frame)
            for other in self.readers.values():
                if other is not reader:
                    other.hear(frame.lstrip(bytes([MARK])))

    def frames(self):
        self.heard += os.read(self.master, 4096)
        while SOM in self.heard:
            self.heard = self.heard[self.heard.index(SOM) :]
            if len(self.heard) < 4:
                return
            length = self.heard[2] | self.heard[3] << 8
            if len(self.heard) < length:
                return
            frame, self.heard = self.heard[:length], self.heard[length:]
            for reader in self.readers.values():
                reader.hear(frame)

    def obey(self, line):
        verb, address, *rest = line.split()
        reader = self.readers[int(address)]
        match [verb, *rest]:
            case ["card", bits, text]:
                bits = int(bits)
                data = (int(text, 16) << -bits % 8).to_bytes((bits + 7) // 8, "big")
                reader.submit(
                    dict(event=Event.CardRead, reader_no=0, format=CardFormat.Wiegand, direction=0, length=bits, data=data)
                )
            case ["keys", digits]:
                data = bytes({"*": 0x7F, "#": 0x0D}.get(key, ord(key)) for key in digits)
                reader.submit(dict(event=Event.KeyPress, reader_no=0, data=data))
            case ["tamper", value]:
                reader.cover = int(value)
                reader.submit(dict(event=Event.Status, type=StatusReportType.Local, report=bytes([int(value), 0])))
            case ["input", number, value]:
                reader.inputs[int(number) - 1] = int(value)
                reader.submit(dict(event=Event.Status, type=StatusReportType.Input, report=bytes(reader.inputs)))
            case ["maker"]:
                reader.submit(dict(event=Event.ManufacturerReply, vendor_code=0x23265C, mfg_command=1, data=b"\1\2\3"))
            case ["points"]:
                say(ok=line, on=reader.relay.is_on())
                return
            case ["dead", value]:
                reader.dead = value == "on"
            case ["late", millis]:
                reader.late = int(millis) / 1000
            case ["corrupt", count]:
                reader.corrupt = int(count)
            case ["restart"]:
                reader.restart()
            case ["asked"]:
                say(ok=line, plain=reader.plain, secure=reader.secure, online=reader.pd.is_sc_active())
                reader.plain = reader.secure = 0
                return
            case _:
                say(error=f"not understood: {line!r}")
                return
        say(ok=line)

    def run(self):
        say(ready=True)
        while True:
            wait = min(0.05, max(0.0, self.queue[0][0] - time.monotonic())) if self.queue else 0.05
            ready, _, _ = select.select([self.master, sys.stdin], [], [], wait)
            if self.master in ready:
                self.frames()
            if sys.stdin in ready:
                line = sys.stdin.readline()
                if not line:
                    return
                self.obey(line.strip())
            self.due()
            for reader in self.readers.values():
                if not reader.dead:
                    reader.pd.ctx.refresh()


def main():
    path, *readers = sys.argv[1:]
    split = (reader.split(":") for reader in readers)
    Line(path, [(int(address), None if scbk == "-" else bytes.fromhex(scbk)) for address, scbk in split]).run()


main()
