"""An exchange: a gateway, the calls, and what the gateway may reply."""

from __future__ import annotations

import json

from airflow_provider_enos.errors import (
    EnosTransportError,
)
from airflow_provider_enos.protocol.wire import calls
from airflow_provider_enos.protocol.wire.exchange import Tenant
from airflow_provider_enos.protocol.wire.messages import Request, Response

BASE = "https://gw.example:9443/prefix"
ACCESS_KEY, SECRET_KEY, TOKEN = "access-key", "s3cr3t-key-of-ours", "t0ken-of-ours-1"
TENANT = Tenant("o1", "u1")
GET = calls.get_flow_instance("3377-20200706062600")
TRIGGER = calls.trigger_flow_from_task(3377, 108580, 1594016819108)
STARTED = "3377-20200706062600"


def reply(data: object = None, code: int = 0, status: int = 200, **headers: str) -> Response:
    body = {"code": code, "msg": "said so", "requestId": "r", "data": data}
    return Response(
        status, {name.replace("_", "-"): value for name, value in headers.items()}, json.dumps(body).encode()
    )


def token(value: str = TOKEN, expire: float = 7200) -> Response:
    body = {"status": 0, "msg": "SUCCESS", "data": {"accessToken": value, "expire": expire}}
    return Response(200, {}, json.dumps(body).encode())


def token_refused(code: int) -> Response:
    return Response(200, {}, json.dumps({"status": code, "msg": "said so"}).encode())


INSTANCE = reply({"instanceId": STARTED, "status": 1})
TRIGGERED = reply({"flowInstanceId": STARTED})
LOST = EnosTransportError("read timed out", sent=True)
UNSENT = EnosTransportError("connection refused", sent=False)
TLS = EnosTransportError("certificate verify failed", sent=False, tls=True)
BUSY = reply(code=0, status=503)
BAD_GATEWAY = Response(502, {}, b"<html>")
QUOTA = Response(429, {}, b'{"message":"API rate limit exceeded"}')
GARBAGE = Response(200, {}, b"<html>")
REPEATED = reply(code=1001)
UNAUTHORIZED = Response(401, {}, b'{"message":"Invalid authentication credentials"}')
SHORT_TOKEN = Response(200, {}, b'{"apim_status":4011,"apim_refreshtoken":"x"}')


def asks_for_token(request: Request) -> bool:
    return "/apim-token-service/" in request.url


def steps_of(requests: list[Request]) -> list[str]:
    """``get``, ``refresh``, or ``call`` with its token."""
    return [
        request.url.rpartition("/")[2] if asks_for_token(request) else f"call {request.headers['apim-accesstoken']}"
        for request in requests
    ]


def timestamp_of(request: Request) -> int:
    if asks_for_token(request):
        return int(json.loads(request.body or b"")["timestamp"])
    return int(request.headers["apim-timestamp"])
