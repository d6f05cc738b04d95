"""What needs no daemon: the shipped configuration against its schemas, the contract's examples against its
keys, and the kit against the published test vectors.
"""

import base64
import json
import subprocess
import tomllib
from pathlib import Path

import cloud as clouds
import jsonschema
import jwt
import pytest
from conftest import latchd_binary
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

CONFIG = Path(__file__).parent.parent.parent / "config"


@pytest.mark.parametrize("name", ["site.toml", *(f"profiles/{p.name}" for p in (CONFIG / "profiles").glob("*.toml"))])
def test_shipped_configuration_fits_its_schema(name):
    kind = "profile" if name.startswith("profiles/") else "site"
    schema = json.loads((CONFIG / f"{kind}.schema.json").read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(tomllib.loads((CONFIG / name).read_text()), schema, jsonschema.Draft202012Validator)


def test_the_kit_computes_what_the_contract_publishes():
    records = clouds.PermissionSet()
    assert records.digest() == "49502f7f7672801f1ea970c43eef3185eb7584a384e84fdf71409b22ee2502b6"
    records.put("group", "staff", name="Staff")
    assert list(records.chunks()) == [537]
    assert records.digest() == "c53769315d95875e4c18d5f84df1c9c316235e5aee3f293a3f4ef8ccbd5c3d0a"
    assert clouds.token(bytes(range(32)), "h10301:12:345") == "73QYrPAgyxtep52S6CypDIRiXDz8HXN8NHawdaksmeo"
    # HID's published example: facility 1, card number 1, with both parity bits.
    assert clouds.h10301(1, 1) == 0b1_00000001_0000000000000001_0


def test_every_example_of_the_contract_verifies_in_another_language(contract):
    keys = {}

    def collect(value):
        if isinstance(value, dict):
            if "x" in value and value.get("kty") == "OKP":
                x = value["x"]
                keys[value.get("kid") or clouds.thumbprint(x)] = x
                keys[clouds.thumbprint(x)] = x
            for inner in value.values():
                collect(inner)
        elif isinstance(value, list):
            for inner in value:
                collect(inner)

    collect(contract["x-latchd-test-keys"])
    verified = 0
    for message in contract["components"]["messages"].values():
        for example in message["examples"]:
            compact = example.get("x-latchd-jws")
            if compact is None:
                continue
            header = jwt.get_unverified_header(compact)
            assert set(header) == {"alg", "typ", "kid"}
            public = Ed25519PublicKey.from_public_bytes(base64.urlsafe_b64decode(keys[header["kid"]] + "="))
            payload = jwt.api_jws.PyJWS().decode(compact, public, algorithms=["EdDSA"])
            assert json.loads(payload) == example["payload"]
            verified += 1
    assert verified >= 9


def test_a_bad_site_file_is_answered_with_78(tmp_path):
    text = (CONFIG / "site.toml").read_text().replace("dwell_ms", "dwel_ms").replace("riser", "raiser", 1)
    (tmp_path / "site.toml").write_text(text)
    (tmp_path / "profiles").symlink_to(CONFIG / "profiles")
    for command in (["check", "--no-files"], ["run"]):
        result = subprocess.run(
            [latchd_binary(), *command, "--config", str(tmp_path / "site.toml")], capture_output=True, text=True, timeout=20
        )
        assert result.returncode == 78, result
        assert "did you mean `dwell_ms`?" in result.stderr
        assert "did you mean `raiser`?" in result.stderr
