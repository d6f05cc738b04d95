"""The parts that the tests are played on: mosquitto with TLS 1.3, client certificates and an ACL, a pymodbus
board on TCP or on a pair of pseudo-terminals, and the daemon from $LATCHD_BIN.
"""

import base64
import datetime
import ipaddress
import json
import os
import queue
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

sys.path.insert(0, str(Path(__file__).parent))
import cloud as clouds  # noqa: E402
from timeline import Timeline  # noqa: E402

HERE = Path(__file__).parent
REPOSITORY = HERE.parent.parent
ORG, NODE = "acme", "hq-1"


def latchd_binary():
    path = os.environ.get("LATCHD_BIN") or REPOSITORY / "target" / "debug" / "latchd"
    assert Path(path).exists(), f"no daemon at {path}: cargo build, or set LATCHD_BIN"
    return str(path)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def terminate(process, timeout=10):
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


# ---- certificates ----


class Authority:
    def __init__(self, directory):
        self.directory = directory
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "latchd interop CA")])
        builder = self._builder(self.name, self.key.public_key())
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        self.ca = self._write("ca", builder.sign(self.key, hashes.SHA256()), None)[0]

    def _builder(self, subject, public_key):
        now = datetime.datetime.now(datetime.timezone.utc)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self.name)
            .public_key(public_key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=2))
        )

    def issue(self, common_name, usage):
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
        names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
        builder = self._builder(subject, key.public_key())
        builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        return self._write(common_name, builder.sign(self.key, hashes.SHA256()), key)

    def _write(self, name, certificate, key):
        path = self.directory / f"{name}.pem"
        path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        if key is None:
            return path, None
        key_path = self.directory / f"{name}.key"
        pkcs8 = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        key_path.write_bytes(key.private_bytes(*pkcs8))
        return path, key_path


# ---- programs ----


class Broker:
    """mosquitto; may be stopped and started again on the same port with the same persistence."""

    def __init__(self, directory, authority, timeline):
        self.directory, self.port, self.timeline = directory, free_port(), timeline
        server, server_key = authority.issue("broker", ExtendedKeyUsageOID.SERVER_AUTH)
        root = f"latchd/v1/{ORG}/{NODE}"
        # What CONTRACT says that the node's ACL needs, and nothing else.
        up = ["rsp", "evt", "set/req", "live/+", "state/#", "status", "telemetry"]
        down = ["cmd", "evt/ack", "set", "set/chunk/+"]
        acl = [f"user {NODE}", *(f"topic write {root}/{t}" for t in up), *(f"topic read {root}/{t}" for t in down)]
        acl += ["", "user cloud", "topic readwrite latchd/v1/#", ""]
        (directory / "acl").write_text("\n".join(acl))
        (directory / "store").mkdir()
        settings = [
            f"listener {self.port} 127.0.0.1",
            f"cafile {authority.ca}",
            f"certfile {server}",
            f"keyfile {server_key}",
            "tls_version tlsv1.3",
            "require_certificate true",
            "use_identity_as_username true",
            f"acl_file {directory}/acl",
            "persistence true",
            f"persistence_location {directory}/store/",
            "autosave_interval 1",
            "max_packet_size 400000",
            "user root",
            "log_type all",
        ]
        (directory / "mosquitto.conf").write_text("\n".join(settings) + "\n")
        self.process = None

    def start(self):
        binary = shutil.which("mosquitto") or "/usr/sbin/mosquitto"
        log = (self.directory / "mosquitto.log").open("a")
        command = [binary, "-c", str(self.directory / "mosquitto.conf")]
        self.process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            assert self.process.poll() is None, (self.directory / "mosquitto.log").read_text()
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    self.timeline.say("broker", "mosquitto is up")
                    return
            time.sleep(0.05)
        raise AssertionError("mosquitto does not listen")

    def stop(self):
        terminate(self.process)
        self.timeline.say("broker", "mosquitto is stopped")


class Board:
    """A pymodbus board in its own process."""

    def __init__(self, timeline, *arguments):
        self.timeline = timeline
        self.process = subprocess.Popen(
            [sys.executable, str(HERE / "board.py"), *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.answers = queue.Queue()
        self.changes, self.changed = [], threading.Condition()
        assert json.loads(self.process.stdout.readline()) == {"ready": True}
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        for line in self.process.stdout:
            message = json.loads(line)
            if "coil" in message:
                # Both processes count from the same instant.
                self.timeline.say("board", f"coil {message['coil']} {'on' if message['value'] else 'off'}", message["t"])
                with self.changed:
                    self.changes.append(message)
                    self.changed.notify_all()
            else:
                self.answers.put(message)

    def tell(self, line):
        self.timeline.say("board", line)
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        assert self.answers.get(timeout=5) == {"ok": line}

    def contact(self, is_open):
        """The example site's contact is on while the door is closed."""
        self.tell(f"input 0 {0 if is_open else 1}")

    def card(self, facility, number):
        self.tell(f"card 26 {clouds.h10301(facility, number):x}")

    def mark(self):
        with self.changed:
            return len(self.changes)

    def wait_coil(self, coil, value, after, timeout=10.0):
        deadline = time.monotonic() + timeout
        with self.changed:
            while True:
                for change in self.changes[after:]:
                    if (change["coil"], change["value"]) == (coil, value):
                        return change
                left = deadline - time.monotonic()
                assert left > 0 and self.changed.wait(left), f"coil {coil} did not become {value}: {self.changes}"

    def stop(self):
        terminate(self.process)


class Notifications:
    """The socket that systemd would listen on."""

    def __init__(self, directory):
        self.path = str(directory / "notify")
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(self.path)
        self.seen, self.changed = [], threading.Condition()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        while True:
            message = self.socket.recv(4096).decode()
            with self.changed:
                self.seen += [(time.monotonic(), line) for line in message.splitlines()]
                self.changed.notify_all()

    def wait(self, line, after=0, timeout=15.0, process=None):
        deadline = time.monotonic() + timeout
        with self.changed:
            while not any(seen == line for _, seen in self.seen[after:]):
                ended = process and process.poll()
                assert ended is None, f"the daemon ended with {ended} before {line}"
                assert time.monotonic() < deadline, f"no {line} within {timeout} s: {self.seen}"
                self.changed.wait(0.2)


class Site:
    """One node with its board, its broker and its cloud."""

    def __init__(self, directory, transport):
        self.directory, self.transport = directory, transport
        self.timeline = Timeline()
        self.authority = Authority(directory)
        self.broker = Broker(directory, self.authority, self.timeline)
        self.credential_key = secrets.token_bytes(32)
        (directory / "credential-key").write_text(base64.urlsafe_b64encode(self.credential_key).decode().rstrip("="))
        keygen = [latchd_binary(), "keygen", "signing", "--out", str(directory / "signing-key")]
        node_jwk = json.loads(subprocess.run(keygen, check=True, capture_output=True, text=True).stdout)
        certificate, key = self.authority.issue("cloud", ExtendedKeyUsageOID.CLIENT_AUTH)
        mqtt = ["-h", "localhost", "-p", str(self.broker.port), "--tls-version", "tlsv1.3"]
        mqtt += ["--cafile", str(self.authority.ca), "--cert", str(certificate), "--key", str(key)]
        self.cloud = clouds.Cloud(mqtt, ORG, NODE, node_jwk, self.credential_key, self.timeline)
        self.link = None
        line = self._board(directory)
        # A serial reader: we write its lines into one end of a pseudo-terminal.
        self.reader, self.reader_port = os.openpty()
        self._configure(directory, line)
        self.notifications = Notifications(directory)
        self.daemon = None

    def _board(self, directory):
        if self.transport == "tcp":
            port = free_port()
            self.board = Board(self.timeline, "--tcp", str(port))
            return f'tcp = "127.0.0.1:{port}"'
        near, far = directory / "rtu-near", directory / "rtu-far"
        ends = [f"pty,raw,echo=0,link={end}" for end in (near, far)]
        self.link = subprocess.Popen(["socat", *ends])
        deadline = time.monotonic() + 5
        while not (near.exists() and far.exists()):
            assert time.monotonic() < deadline, "socat made no ports"
            time.sleep(0.02)
        self.board = Board(self.timeline, "--rtu", str(far), "--baud", "115200")
        # Pseudo-terminals know no parity.
        return f'rtu = "{near}"\nbaud = 115200\nparity = "none"\nturnaround_ms = 2'

    def _configure(self, directory, line):
        certificate, key = self.authority.issue(NODE, ExtendedKeyUsageOID.CLIENT_AUTH)
        (directory / "root.jwk.json").write_text(json.dumps(self.cloud.root_key.jwk()))
        (directory / "profiles").mkdir()
        shutil.copy(REPOSITORY / "config" / "profiles" / "generic-8ch.toml", directory / "profiles")
        self.config = directory / "site.toml"
        self.config.write_text(f"""
[node]
org = "{ORG}"
id = "{NODE}"
time_zone = "Europe/Berlin"
state_dir = "state"
credential_key = "credential-key"
signing_key = "signing-key"

[cloud]
host = "localhost"
port = {self.broker.port}
issuer = "{clouds.ISSUER}"
root_key = "root.jwk.json"
keep_alive_s = 5
reconnect_min_ms = 100
reconnect_max_ms = 1000
beat_every_s = 5

[cloud.tls]
ca = "{self.authority.ca}"
certificate = "{certificate}"
key = "{key}"

[[bus]]
id = "bus"
{line}
timeout_ms = 300

[[board]]
id = "board"
bus = "bus"
unit = 1
profile = "generic-8ch"
poll_ms = 25

[[door]]
id = "front"
lock = {{ output = "board/relay-1", unlocked = "energised" }}
contact = {{ input = "board/in-1", closed = true }}
rex = {{ input = "board/in-2", active = true }}
dwell_ms = 1500
relock = "after_dwell"

[[reader]]
id = "front-in"
door = "front"
card_block = "board/wiegand-1"

[[reader]]
id = "front-serial"
door = "front"
serial = "{os.ttyname(self.reader_port)}"
format = "bits_hex"
""")
        (directory / "state").mkdir(mode=0o700)

    def start_daemon(self, journal=False, **variables):
        """Starts the daemon and waits until doors are enforced. With `journal`, its stderr looks connected to
        systemd's journal. `variables` are added to its environment."""
        mark = len(self.notifications.seen)
        log = (self.directory / "latchd.log").open("a")
        environment = os.environ | {"NOTIFY_SOCKET": self.notifications.path, "WATCHDOG_USEC": "10000000", "RUST_LOG": "debug"}
        environment |= variables
        if journal:
            stat = os.fstat(log.fileno())
            environment["JOURNAL_STREAM"] = f"{stat.st_dev}:{stat.st_ino}"
        command = [latchd_binary(), "run", "--config", str(self.config)]
        self.daemon = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, env=environment)
        self.notifications.wait("READY=1", mark, process=self.daemon)
        self.timeline.say("daemon", "doors are enforced (READY=1)")

    def latchd(self, command, *arguments):
        """Runs the program beside the daemon, on the same configuration."""
        arguments = [latchd_binary(), command, *arguments, "--config", str(self.config)]
        return subprocess.run(arguments, capture_output=True, text=True, timeout=20)

    def serial_card(self, facility, number):
        line = f"26:{clouds.h10301(facility, number):X}"
        self.timeline.say("reader", f"writes {line}")
        os.write(self.reader, line.encode() + b"\r\n")

    def restart_broker(self):
        self.cloud.disconnect()
        self.broker.stop()
        self.broker.start()
        self.cloud.connect()

    def signal_daemon(self, number):
        self.timeline.say("daemon", f"gets {signal.Signals(number).name}")
        self.daemon.send_signal(number)

    def kill_daemon(self):
        self.timeline.say("daemon", "gets SIGKILL")
        self.daemon.kill()
        self.daemon.wait()

    def stop(self):
        for process in (self.daemon, self.link):
            if process:
                process.send_signal(signal.SIGCONT)
                terminate(process)
        self.cloud.disconnect()
        self.board.stop()
        self.broker.stop()


@pytest.fixture(scope="module", params=["tcp", "rtu"])
def site(request):
    """A running site; the tests of a module follow one another on it, once for each transport."""
    directory = Path(tempfile.mkdtemp(prefix=f"latchd-{request.param}-"))
    site = Site(directory, request.param)
    try:
        site.broker.start()
        site.cloud.connect()
        site.start_daemon()
        yield site
    finally:
        site.stop()
        Path(latchd_binary()).parent.joinpath(f"interop-{request.param}.txt").write_text(site.timeline.text())
        failed = request.session.testsfailed > 0
        for name in ("latchd.log", "mosquitto.log"):
            path = directory / name
            if failed and path.exists():
                print(f"---- {name} ({request.param}), its end\n" + path.read_text(errors="replace")[-6000:])
        if not failed:
            shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="session")
def contract():
    """What `latchd schema` prints."""
    printed = subprocess.run([latchd_binary(), "schema"], check=True, capture_output=True, text=True).stdout
    return json.loads(printed)
