"""What happened, in order, in plain lines: the capture of a run that a person can read."""

import threading
import time


class Timeline:
    def __init__(self):
        self.start, self.lines, self.lock = time.monotonic(), [], threading.Lock()

    def say(self, who, what, at=None):
        with self.lock:
            self.lines.append(((at or time.monotonic()) - self.start, who, what))

    def text(self):
        with self.lock:
            return "".join(f"{at:9.3f}  {who:<8} {what}\n" for at, who, what in sorted(self.lines))


def brief(path, message):
    """One line of what the node said; None for what is only repetition."""
    match path.split("/")[0]:
        case "rsp":
            outcome = message["outcome"]
            reason = f" ({outcome['reason']})" if "reason" in outcome else ""
            return f"outcome of {outcome['jti']}: {outcome['stage']}{reason}"
        case "state" if "door" in message:
            door = message["door"]
            return f"door {door['door']}: {door['mode']}, contact {door['contact']}, lock {door['lock']}"
        case "status":
            status = message["status"]
            detail = [f"{name} {status[name]}" for name in ("generation", "clock", "backlog") if name in status]
            return ", ".join([f"node {status['state']}", *detail])
    return None


def brief_event(event):
    shown = {k: v for k, v in event.items() if k in ("door", "person", "rule", "reason", "to", "board", "clean", "cause", "detail")}
    detail = ", ".join(f"{name} {value}" for name, value in shown.items())
    replayed = " [replayed]" if event["replayed"] else ""
    return f"event {event['seq']} {event['type']}{replayed} {detail}".rstrip()
