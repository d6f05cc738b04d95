"""A wall clock that steps under the running daemon: libfaketime moves it, monotonic time goes on."""

import shutil
import tempfile
from pathlib import Path

import pytest
from conftest import Site

LIBRARY = next(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"), None)


@pytest.mark.skipif(LIBRARY is None, reason="libfaketime is not installed")
def test_a_stepped_clock_stops_openings_until_a_beat_agrees_with_it():
    directory = Path(tempfile.mkdtemp(prefix="latchd-clock-"))
    site = Site(directory, "tcp")
    offset = directory / "offset"
    offset.write_text("+0")
    cloud = site.cloud
    try:
        site.broker.start()
        cloud.connect()
        site.start_daemon(
            LD_PRELOAD=str(LIBRARY), FAKETIME_TIMESTAMP_FILE=str(offset), FAKETIME_NO_CACHE="1", DONT_FAKE_MONOTONIC="1"
        )
        cloud.set.put("operator", "op-17", status={"state": "active"}, role="integrator")
        cloud.set.generation = 1
        cloud.send_keys()
        cloud.send_set(cloud.set.manifest())
        cloud.wait_status(generation=1, clock="trusted")

        offset.write_text("+3600")
        cloud.wait_event("clock.stepped")
        cloud.wait_status(clock="untrusted")
        refused = cloud.wait_stage(cloud.send("door.open", {"door": "front"}), "refused")
        assert refused["reason"] == "clock_untrusted"
        secured = cloud.send("door.close", {"door": "front"})
        cloud.wait_stage(secured, "actuated")

        offset.write_text("+0")
        cloud.wait_status(clock="trusted")
        opened = cloud.send("door.open_and_close", {"door": "front", "dwell_ms": 500})
        cloud.wait_stage(opened, "actuated")
        assert cloud.problems == []
    finally:
        site.stop()
        shutil.rmtree(directory, ignore_errors=True)
