"""A hand-made client, whose signer is written from the documentation and imports nothing of the package."""

from __future__ import annotations

import hashlib
import http.client
import itertools
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from email.message import Message
from typing import Any
from urllib.parse import urlencode

import pytest

from airflow_provider_enos.simulator import EnosSimulator

TRIGGER = {"flowId": 3377, "taskId": 108580, "triggerTime": 1594016819108}
INSTANCE = "3377-20200706062600"


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Message
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Client:
    """Calls a simulator over one kept-alive connection."""

    def __init__(self, sim: EnosSimulator) -> None:
        self.sim = sim
        self.connection = http.client.HTTPConnection("127.0.0.1", sim.port, timeout=10)
        self._token = ""
        # No two calls of a client carry the same timestamp, so no two carry the same signature.
        self._offsets = itertools.count()

    def now(self) -> int:
        return time.time_ns() // 1_000_000 + next(self._offsets)

    def send(self, method: str, target: str, body: bytes | None = None, **headers: str) -> Answer:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self.connection.request(method, target, body, named)
        response = self.connection.getresponse()
        return Answer(response.status, response.headers, response.read())

    def token_call(self, action: str = "get", **changes: Any) -> Answer:
        """A token call; ``changes`` replace fields after signing, None leaves one out."""
        stamp = changes.pop("signed_at", None) or self.now()
        text = f"{self.sim.access_key}{stamp}{self.sim.secret_key}"
        body: dict[str, Any] = {
            "appKey": self.sim.access_key,
            "encryption": hashlib.sha256(text.encode()).hexdigest(),
            "timestamp": stamp,
            **changes,
        }
        body = {name: value for name, value in body.items() if value is not None}
        target = f"/apim-token-service/v2.0/token/{action}"
        return self.send("POST", target, json.dumps(body).encode(), Content_Type="application/json")

    @property
    def token(self) -> str:
        if not self._token:
            self._token = self.token_call().json["data"]["accessToken"]
        return self._token

    @token.setter
    def token(self, value: str) -> None:
        self._token = value

    def signed(self, query: dict[str, str], body: bytes, stamp: int) -> dict[str, str]:
        params = "".join(name + query[name] for name in sorted(query))
        text = f"{self.token}{params}".encode() + body + f"{stamp}{self.sim.secret_key}".encode()
        return {
            "apim_accesstoken": self.token,
            "apim_signature": hashlib.sha256(text).hexdigest(),
            "apim_timestamp": str(stamp),
        }

    def call(self, operation: str, body: Any = None, **query: str) -> Answer:
        """A signed call: a POST where there is a body."""
        resource, action = operation.split("/")
        query = {"action": action, "userId": self.sim.user_id, "orgId": self.sim.org_id, **query}
        content = b"" if body is None else json.dumps(body).encode()
        headers = self.signed(query, content, self.now())
        target = f"/batch-processing-service/v2.1/{resource}?{urlencode(query)}"
        if body is None:
            return self.send("GET", target, None, **headers)
        return self.send("POST", target, content, Content_Type="application/json;charset=UTF-8", **headers)

    def trigger(self, **changes: Any) -> Answer:
        return self.call("flows/triggerFromTask", {**TRIGGER, **changes})

    def get(self, instance_id: str = INSTANCE) -> Any:
        return self.call("flowInstances/get", flowInstId=instance_id).json["data"]

    def search(self, **changes: Any) -> Answer:
        body = {
            "type": 0,
            "owner": "",
            "expression": "",
            "fromTriggerTime": 0,
            "toTriggerTime": 4_000_000_000_000,
            "status": "",
            "pagination": {"pageNo": 1, "pageSize": 10},
        }
        return self.call("flowInstances/search", body | changes)


@pytest.fixture
def sim() -> Iterator[EnosSimulator]:
    with EnosSimulator() as running:
        yield running


@pytest.fixture
def client(sim: EnosSimulator) -> Iterator[Client]:
    made = Client(sim)
    yield made
    made.connection.close()
