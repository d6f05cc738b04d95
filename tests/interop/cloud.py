"""A cloud in Python, written from the published contract alone: PyJWT signs, mosquitto's clients carry.

It owns the keys and the permission set of one node, answers the node's requests, checks everything that the
node says (signature, numbering, hash chain) and acknowledges events.
"""

import base64
import hashlib
import hmac
import itertools
import json
import secrets
import subprocess
import threading
import time
from datetime import datetime

import jwt
import rfc8785
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from timeline import brief, brief_event

ISSUER = "https://cloud.example"


def base64url(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def tagged_hash(tag, *parts):
    """SHA-256 over the tag and each part, every one preceded by its length in eight bytes."""
    digest = hashlib.sha256()
    for part in (tag.encode(), *parts):
        digest.update(len(part).to_bytes(8, "big") + part)
    return digest.digest()


# ---- keys ----


class Key:
    def __init__(self, kid=None):
        self.private = Ed25519PrivateKey.generate()
        self.x = base64url(self.private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw))
        self.kid = kid or thumbprint(self.x)

    def jwk(self):
        return {"kty": "OKP", "crv": "Ed25519", "x": self.x, "kid": self.kid}

    def sign(self, typ, payload, **headers):
        return jwt.encode(payload, self.private, algorithm="EdDSA", headers={"typ": typ, "kid": self.kid, **headers})


def thumbprint(x):
    """RFC 7638."""
    return base64url(hashlib.sha256(f'{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}'.encode()).digest())


# ---- the permission set ----


class PermissionSet:
    def __init__(self):
        self.epoch, self.generation = 1, 0
        self.records = {}

    def put(self, kind, id, **body):
        self.records[kind, id] = body
        return {"put": {"kind": kind, "id": id, "body": body}}

    def delete(self, kind, id):
        del self.records[kind, id]
        return {"delete": {"kind": kind, "id": id}}

    def chunks(self):
        """Bucket number to the bytes of its chunk."""
        buckets = {}
        for (kind, id), body in sorted(self.records.items()):
            number = int.from_bytes(tagged_hash("latchd-set-bucket-v1", kind.encode(), id.encode())[:2], "big") >> 6
            buckets.setdefault(number, []).append({"kind": kind, "id": id, "body": body})
        return {number: rfc8785.dumps(records) for number, records in sorted(buckets.items())}

    def digest(self):
        chunks = self.chunks().items()
        summary = b"".join(number.to_bytes(2, "big") + hashlib.sha256(chunk).digest() for number, chunk in chunks)
        return tagged_hash("latchd-set-v1", summary).hex()

    def manifest(self):
        chunks = {str(number): hashlib.sha256(chunk).hexdigest() for number, chunk in self.chunks().items()}
        return {
            "type": "manifest",
            "epoch": self.epoch,
            "generation": self.generation,
            "digest": self.digest(),
            "chunks": chunks,
        }


def token(credential_key, text):
    return base64url(hmac.new(credential_key, text.encode(), "sha256").digest())


def h10301(facility, number):
    """The 26 bits of a card as a number: even parity, facility, number, odd parity."""
    body = facility << 16 | number
    even = (body >> 12).bit_count() & 1
    odd = ~(body & 0xFFF).bit_count() & 1
    return even << 25 | body << 1 | odd


# ---- the event log ----


class EventChain:
    def __init__(self):
        self.log_id, self.seq, self.head = None, 0, b""
        self.events = []
        self.gaps = 0

    def take(self, log_id, event):
        """Checks the event against the one before; what was seen already, or comes too soon, is left out."""
        if log_id != self.log_id:
            self.log_id, self.seq = log_id, 0
            self.head = tagged_hash("latchd-event-log-v1", log_id.encode())
        if event["seq"] <= self.seq:
            return False
        if event["seq"] > self.seq + 1:
            # Lost on the way: the acknowledgement, said again, makes the node begin anew after it.
            self.gaps += 1
            return False
        assert event["prev"] == self.head.hex(), f"event {event['seq']} does not follow from the one before"
        stored = {name: value for name, value in event.items() if name != "replayed"}
        self.seq, self.head = event["seq"], hashlib.sha256(rfc8785.dumps(stored)).digest()
        self.events.append(event)
        return True


# ---- the cloud ----


class Cloud:
    """`mqtt` is the list of options by which mosquitto's clients reach the broker as the cloud."""

    def __init__(self, mqtt, org, node, node_jwk, credential_key, timeline):
        self.mqtt, self.audience, self.root = mqtt, f"{org}/{node}", f"latchd/v1/{org}/{node}"
        self.node_x, self.credential_key = node_jwk["x"], credential_key
        self.timeline = timeline
        self.root_key = Key("root-1")
        self.keys = {use: Key(f"{use}-1") for use in ("cmd", "set", "beat", "ack")}
        self.keys_version, self.key_set = 1, (0, None)
        self.set = PermissionSet()
        self.chain = EventChain()
        self.acknowledges = True
        self.outcomes, self.doors, self.captured, self.problems = {}, {}, [], []
        self.status = None
        self.seen = set()
        self.changed = threading.Condition(threading.RLock())
        self.publishing = threading.Lock()
        self.subscriber = None
        self.counter = itertools.count(1)

    # -- the link --

    def connect(self):
        """Subscribes; again after the broker was away."""
        ready = threading.Event()
        options = ["-t", f"{self.root}/#", "-q", "1", "-V", "5", "-F", "%t %r %p", "-d"]
        self.subscriber = subprocess.Popen(
            ["stdbuf", "-oL", "mosquitto_sub", *self.mqtt, *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
        threading.Thread(target=self._read, args=(self.subscriber, ready), daemon=True).start()
        assert ready.wait(10), "mosquitto_sub did not subscribe"

    def disconnect(self):
        if self.subscriber:
            self.subscriber.kill()
            self.subscriber.wait()
            self.subscriber = None

    def publish(self, path, payload, retain=False):
        data = payload if isinstance(payload, bytes) else payload.encode()
        content = "-s" if data else "-n"
        command = ["mosquitto_pub", *self.mqtt, "-t", f"{self.root}/{path}", "-q", "1", "-V", "5", content]
        # mosquitto_pub hangs for long when its broker is killed under it; what is sent twice does nothing twice.
        for attempt in range(6):
            try:
                with self.publishing:
                    subprocess.run(command + ["-r"] * retain, input=data, check=True, timeout=3 + attempt)
                return
            except subprocess.TimeoutExpired:
                continue
        raise TimeoutError(f"mosquitto_pub could not publish on {path}")

    def _read(self, process, ready):
        for line in process.stdout:
            line = line.rstrip("\n")
            if line.startswith("Subscribed "):
                ready.set()
            topic, _, rest = line.partition(" ")
            retained, _, payload = rest.partition(" ")
            if not topic.startswith(self.root + "/") or retained not in ("0", "1"):
                continue
            path = topic[len(self.root) + 1 :]
            if path.split("/")[0] in ("rsp", "evt", "state", "status") and path != "evt/ack" or path == "set/req":
                try:
                    self._take(path, payload)
                except Exception as problem:  # every problem fails the test that looks at them
                    with self.changed:
                        self.problems.append(f"{path}: {problem!r}")

    def _take(self, path, compact):
        header = jwt.get_unverified_header(compact)
        assert header == {"alg": "EdDSA", "typ": "latchd-up+jwt", "kid": thumbprint(self.node_x)}, header
        public = Ed25519PublicKey.from_public_bytes(base64.urlsafe_b64decode(self.node_x + "="))
        message = jwt.decode(compact, public, algorithms=["EdDSA"], options={"verify_iat": False})
        with self.changed:
            self.captured.append((path, message))
            if line := brief(path, message):
                self.timeline.say("node", line)
            again = (message["boot"], message["n"]) in self.seen
            self.seen.add((message["boot"], message["n"]))
            if path == "status":
                if message["status"]["state"] == "offline" or not again:
                    self.status = message["status"] | {"boot": message["boot"]}
            elif path == "rsp" and not again:
                outcome = message["outcome"]
                self.outcomes.setdefault(outcome["jti"], []).append(outcome)
            elif path == "evt":
                for event in message["events"]:
                    if self.chain.take(message["log_id"], event):
                        self.timeline.say("node", brief_event(event))
            elif path.startswith("state/door/"):
                self.doors[message["door"]["door"]] = message["door"]
            self.changed.notify_all()
        try:
            if path == "evt" and self.acknowledges:
                self.acknowledge()
            elif path == "set/req":
                self._answer(message)
        except subprocess.SubprocessError:
            # The broker went away under the answer: the node asks again.
            pass

    def _answer(self, message):
        request = message["request"]
        if message["keys_version"] < self.keys_version:
            self.send_keys()
        self.send_beat(request["nonce"])
        if request["want"] == "chunks":
            chunks = {hashlib.sha256(chunk).hexdigest(): chunk for chunk in self.set.chunks().values()}
            for name in request["chunks"]:
                if name in chunks:
                    self.publish(f"set/chunk/{name}", chunks[name])
        elif request["want"] == "manifest" or (request["epoch"], request["generation"]) < (
            self.set.epoch,
            self.set.generation,
        ):
            self.send_set(self.set.manifest())

    # -- what goes down --

    def addressed(self, **payload):
        return {"aud": self.audience, "iat": round(time.time(), 3), **payload}

    def send_keys(self):
        # Signed once: other bytes under the same version would be a conflict.
        if self.key_set[0] != self.keys_version:
            end = time.time() + 86400
            keys = [
                {"kty": "OKP", "crv": "Ed25519", "kid": key.kid, "x": key.x, "latchd_use": use, "exp": end}
                for use, key in self.keys.items()
            ]
            payload = self.addressed(version=self.keys_version, epoch=self.set.epoch, keys=keys)
            self.key_set = self.keys_version, self.root_key.sign("latchd-keys+jwt", payload)
        self.publish("set", self.key_set[1])

    def send_beat(self, nonce):
        held = {"epoch": self.set.epoch, "generation": self.set.generation, "digest": self.set.digest()}
        payload = self.addressed(nonce=nonce, keys_version=self.keys_version, **held)
        self.publish("set", self.keys["beat"].sign("latchd-beat+jwt", payload))

    def send_set(self, document):
        self.publish("set", self.keys["set"].sign("latchd-set+jwt", self.addressed(**document)))

    def send_delta(self, *ops):
        """`ops` have been made on the set already."""
        self.set.generation += 1
        delta = {"type": "delta", "epoch": self.set.epoch, "from": self.set.generation - 1, "to": self.set.generation}
        self.send_set({**delta, "digest": self.set.digest(), "ops": list(ops)})

    def acknowledge(self):
        with self.changed:
            if self.chain.seq == 0:
                return
            head = {"log_id": self.chain.log_id, "through": self.chain.seq, "head_hash": self.chain.head.hex()}
        self.publish("evt/ack", self.keys["ack"].sign("latchd-ack+jwt", {"aud": self.audience, **head}))

    def command(self, cmd, args, operator="op-17", lifetime=5.0, key=None, typ="latchd-cmd+jwt", **changes):
        """A signed command and its jti; `changes` replace claims, or remove those that are None."""
        now = round(time.time(), 3)
        claims = {
            "iss": ISSUER,
            "aud": self.audience,
            "sub": operator,
            "jti": f"cmd-{next(self.counter)}-{secrets.token_hex(4)}",
            "iat": now,
            "exp": round(now + lifetime, 3),
            "boot": (self.status or {}).get("boot"),
            "cmd": cmd,
            "args": args,
            **changes,
        }
        claims = {name: value for name, value in claims.items() if value is not None}
        return (key or self.keys["cmd"]).sign(typ, claims), claims.get("jti")

    def send(self, cmd, args, retain=False, **options):
        compact, jti = self.command(cmd, args, **options)
        self.send_signed(compact, retain)
        return jti

    def send_signed(self, compact, retain=False):
        claims = jwt.decode(compact, options={"verify_signature": False})
        where = claims["args"].get("door", "") if isinstance(claims.get("args"), dict) else ""
        self.timeline.say("cloud", f"{claims['cmd']} {where} as {claims['jti']} by {claims['sub']}")
        self.publish("cmd", compact, retain=retain)

    # -- what comes up --

    def wait(self, condition, timeout=15.0, what="it"):
        deadline = time.monotonic() + timeout
        with self.changed:
            while not (found := condition()):
                left = deadline - time.monotonic()
                assert left > 0 and self.changed.wait(left), f"waited {timeout} s in vain for {what}\n{self.report()}"
            return found

    def wait_status(self, **expected):
        matches = lambda: self.status and all(self.status.get(name) == value for name, value in expected.items())
        return self.wait(matches and (lambda: matches() and self.status), what=f"status {expected}")

    def wait_stage(self, jti, *stages, timeout=15.0):
        def find():
            found = (outcome for outcome in self.outcomes.get(jti, ()) if outcome["stage"] in stages)
            return next(found, None)

        return self.wait(find, timeout, what=f"{' or '.join(stages)} of {jti}")

    def wait_event(self, type, after=0, timeout=15.0, **members):
        def find():
            for event in self.chain.events:
                fits = all(event.get(name) == value for name, value in members.items())
                if event["seq"] > after and event["type"] == type and fits:
                    return event
            return None

        return self.wait(find, timeout, what=f"{type} {members} after event {after}")

    def report(self):
        outcomes = [outcome for stages in self.outcomes.values() for outcome in stages]
        latest = "\n".join(map(str, self.chain.events[-12:]))
        return f"status: {self.status}\noutcomes: {outcomes[-12:]}\nevents: {latest}\nproblems: {self.problems}"


def instant(text):
    """RFC 3339 to seconds."""
    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()
