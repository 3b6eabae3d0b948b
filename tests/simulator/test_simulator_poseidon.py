"""Calls of the vendor's SDK, which sends one encrypted header instead of token, signature and timestamp."""

from __future__ import annotations

import base64
import json
import logging
import os
import secrets
import subprocess
import uuid
from typing import Any

import pytest

from airflow_provider_enos.simulator import EnosSimulator

TRIGGER = {"flowId": 3377, "taskId": 108580, "triggerTime": 1594016819108}
WELL_FORMED = base64.b64encode(secrets.token_bytes(256)).decode()


def trigger(client: Any, header: str | None, **headers: str) -> Any:
    tenant = f"userId={client.sim.user_id}&orgId={client.sim.org_id}"
    target = f"/batch-processing-service/v2.1/flows?action=triggerFromTask&{tenant}"
    sent = {} if header is None else {"apim_accesstoken": header}
    content_type = "application/json;charset=utf-8"
    return client.send("POST", target, json.dumps(TRIGGER).encode(), Content_Type=content_type, **sent, **headers)


def test_it_is_refused_and_the_log_says_how_to_accept_it(
    sim: EnosSimulator, client: Any, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        assert trigger(client, WELL_FORMED).status == 401
    assert sim.instances == []
    (line,) = (record.getMessage() for record in caplog.records)
    assert line.startswith("Refused POST flows/triggerFromTask: it comes from the vendor's SDK (Poseidon)")
    assert "--poseidon accept" in line
    assert WELL_FORMED not in line


def test_it_passes_as_the_application(sim: EnosSimulator, client: Any) -> None:
    sim.poseidon = "accept"
    assert trigger(client, WELL_FORMED).json["data"] == {"flowInstanceId": "3377-20200706062600"}
    assert client.get()["instanceId"] == "3377-20200706062600", "signed calls pass as well"
    assert trigger(client, WELL_FORMED).json["code"] == 62102, "what EnOS refuses is refused all the same"


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "APP_PORTAL_S_abcdef",
        WELL_FORMED[:-4],
        WELL_FORMED + "AAAA",
        "*" + WELL_FORMED[1:],
        base64.b64encode(b"short").decode(),
    ],
)
def test_what_is_not_well_formed_is_refused(
    sim: EnosSimulator, client: Any, caplog: pytest.LogCaptureFixture, header: str | None
) -> None:
    sim.poseidon = "accept"
    assert trigger(client, header).status == 401
    assert (sim.instances, caplog.records) == ([], [])


@pytest.mark.parametrize("name", ["apim_signature", "apim_timestamp"])
def test_a_signed_call_is_verified(sim: EnosSimulator, client: Any, name: str) -> None:
    sim.poseidon = "accept"
    assert trigger(client, WELL_FORMED, **{name: "1"}).status == 401


def test_values() -> None:
    assert EnosSimulator(poseidon="accept").poseidon == "accept"
    with pytest.raises(ValueError, match="'refuse' or 'accept', not 'yes'"):
        EnosSimulator(poseidon="yes")


CALL_BY_SDK = """
import json, sys
from poseidon import poseidon
key, secret, address, tenant, body = sys.argv[1:]
print(json.dumps([
    poseidon.urlopen(key, secret, f"{address}/flows?action=triggerFromTask&{tenant}", json.loads(body)),
    poseidon.urlopen(key, secret, f"{address}/flows?action=get&flowId=3377&{tenant}"),
]))
"""


@pytest.mark.skipif("ENOS_POSEIDON_PYTHON" not in os.environ, reason="names no Python that has enos-poseidon")
@pytest.mark.parametrize("poseidon", ["accept", "refuse"])
def test_the_sdk_itself(poseidon: str) -> None:
    """In an environment of its own, since it turns TLS verification off for its whole process.

    python -m venv sdk && sdk/bin/pip install enos-poseidon && ENOS_POSEIDON_PYTHON=sdk/bin/python pytest ...
    """
    # The SDK wants keys of this shape.
    key, secret = str(uuid.uuid4()), str(uuid.uuid4())
    with EnosSimulator(poseidon=poseidon, access_key=key, secret_key=secret) as sim:
        address, tenant = f"{sim.url}/batch-processing-service/v2.1", f"userId={sim.user_id}&orgId={sim.org_id}"
        command = [os.environ["ENOS_POSEIDON_PYTHON"], "-c", CALL_BY_SDK, key, secret, address, tenant]
        done = subprocess.run([*command, json.dumps(TRIGGER)], capture_output=True, text=True, check=True)
    started, flow = json.loads(done.stdout.splitlines()[-1])
    if poseidon == "accept":
        assert started["data"] == {"flowInstanceId": "3377-20200706062600"}
        assert flow["data"]["flowName"] == "meter_readings_daily"
        assert sim.count("token/get") == 0
    else:
        assert (started, flow, sim.instances) == (None, None, [])
