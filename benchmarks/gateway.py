"""The other side of the benchmark: EnOS, dbt Cloud and Databricks, as far as waiting needs them, behind one TLS port.

It costs little, since it shares the machine with what is measured, and it is honest about filters, sorters and pages. A
switch makes it ignore one of them. Commands come on the standard input, one a line, and are answered with one of JSON.
"""

from __future__ import annotations

import asyncio
import json
import random
import ssl
import sys
import time
from collections import Counter
from itertools import islice
from pathlib import Path
from typing import Any

import trustme
from aiohttp import web
from tenant import OTHERS_RUNNING, Tenant, text

RUNNING, SUCCESS = 2, 1
SORTERS = {"end_time": "endTime", "endTime": "endTime", "create_time": "created", "createTime": "created"}
SWITCHES = ("ignore_sorters", "ignore_filters", "refuse_lists")
NODES = [
    {"taskId": 108_580 + n, "taskName": f"task {n}", "nodeId": f"t_{108_580 + n}", "x": 1.0, "y": 2.0, "taskInstId": ""}
    for n in range(4)
]


class Instance:
    """One flow instance; ``number`` for the other APIs."""

    def __init__(self, id: str, trigger_time: float, created: float, ended: float | None) -> None:
        self.id = id
        self.trigger_time = trigger_time
        self.created = created
        self.ended = ended

    @property
    def status(self) -> int:
        return RUNNING if self.ended is None else SUCCESS

    def sort_key(self, field: str) -> float:
        return (self.ended or 0.0) if field == "endTime" else self.created

    def shown(self) -> dict[str, Any]:
        graph = {"instId": self.id, "flows": [], "relations": [], "tasks": NODES}
        return {
            "instanceId": self.id,
            "flowId": int(self.id.partition("-")[0]),
            "flowName": "meter readings",
            "freq": "0 0 0 * * ? *",
            "cycle": "D",
            "parameters": "[]",
            "doAs": "data_account",
            "graph": json.dumps(graph),
            "status": self.status,
            "statusDesc": "RUNNING" if self.ended is None else "SUCCESS",
            "triggerTime": text(self.trigger_time),
            "startTime": text(self.created),
            "endTime": None if self.ended is None else text(self.ended),
            "timestamp": text(self.created) + ".0",
            "virtual": False,
            "owner": "owner",
            "isCancelled": False,
        }


class World:
    """All instances: those with a wait, by number, and the others."""

    def __init__(self, tenant: Tenant, switches: set[str], page_cap: int) -> None:
        self.tenant = tenant
        self.switches = switches
        self.page_cap = page_cap
        self.requests = Counter[str]()
        self.ended: dict[int, float] = {}
        """When each that was waited for ended, by its number."""
        self.numbers: dict[int, Instance] = {}
        self._all: dict[str, Instance] = {}
        self._running: list[int] = []
        for number in range(tenant.others):
            ago = random.uniform(60, 20 * 3600)
            created = tenant.now - ago - 600
            ended = None if random.random() < OTHERS_RUNNING else tenant.now - ago
            self._add(Instance(tenant.other_id(number), tenant.trigger_time(-1 - number), created, ended))
        for _ in range(tenant.waits):
            self.start()

    def _add(self, one: Instance) -> None:
        self._all[one.id] = one

    def start(self) -> int:
        """Start the next instance. Return its number."""
        number = len(self.numbers)
        one = Instance(self.tenant.instance_id(number), self.tenant.trigger_time(number), time.time(), None)
        self.numbers[number] = one
        self._running.append(number)
        self._add(one)
        return number

    def end(self, number: int) -> None:
        """End this instance."""
        self._running.remove(number)
        self.numbers[number].ended = self.ended[number] = time.time()

    async def live(self) -> None:
        """End one instance after the other, and replace each."""
        pause, next_at = self.tenant.seconds_between_ends, time.monotonic()
        while True:
            next_at += pause
            await asyncio.sleep(max(next_at - time.monotonic(), 0))
            self.start()
            self.end(random.choice(self._running[:-1]))

    def get(self, id: str) -> Instance | None:
        return self._all.get(id)

    def search(self, body: dict[str, Any]) -> dict[str, Any]:
        """List Flow Instances, for those of type 0."""
        if body["type"] != 0:
            return {"flowInsts": [], "count": 0}
        found = [
            one
            for one in self._all.values()
            if body["fromTriggerTime"] <= one.trigger_time * 1000 < body["toTriggerTime"]
        ]
        if body["status"] and "ignore_filters" not in self.switches:
            statuses = set(map(int, body["status"].split(",")))
            found = [one for one in found if one.status in statuses]
        if body["expression"]:
            found = [one for one in found if body["expression"] in one.id]
        asked = body["pagination"]
        if "ignore_sorters" not in self.switches:
            for sorter in asked.get("sorters", ())[:1]:
                field = SORTERS[sorter["field"]]
                found.sort(key=lambda one: one.sort_key(field), reverse=sorter["order"] == "DESC")
        size = min(asked["pageSize"], self.page_cap)
        start = (asked["pageNo"] - 1) * size
        return {"flowInsts": [one.shown() for one in islice(found, start, start + size)], "count": len(found)}


def app_of(world: World) -> web.Application:
    """The three APIs."""

    def enos(data: object, code: int = 0, msg: str = "OK") -> web.Response:
        return web.json_response({"code": code, "msg": msg, "data": data})

    async def token(request: web.Request) -> web.Response:
        world.requests["token"] += 1
        return web.json_response({"status": 0, "msg": "SUCCESS", "data": {"accessToken": "t" * 40, "expire": 7200}})

    async def get(request: web.Request) -> web.Response:
        world.requests["get"] += 1
        one = world.get(request.query["flowInstId"])
        return enos(one.shown()) if one else enos("", 62102, "Instance not found")

    async def search(request: web.Request) -> web.Response:
        world.requests["search"] += 1
        body = await request.json()
        if "refuse_lists" in world.switches:
            return enos("", 62103, "User has no privilege.")
        if body["pagination"]["pageNo"] < 1:
            return enos("", 62102, "Incorrect parameter")
        return enos(world.search(body))

    async def dbt(request: web.Request) -> web.Response:
        world.requests["get"] += 1
        one = world.numbers[int(request.match_info["run"])]
        status = 3 if one.ended is None else 10
        return web.json_response({"status": {"code": 200}, "data": {"id": 1, "status": status, "job_id": 1}})

    async def databricks(request: web.Request) -> web.Response:
        world.requests["get"] += 1
        one = world.numbers[(await request.json())["run_id"]]
        state = {"life_cycle_state": "RUNNING", "result_state": "", "state_message": ""}
        if one.ended is not None:
            state = {"life_cycle_state": "TERMINATED", "result_state": "SUCCESS", "state_message": ""}
        return web.json_response({"state": state, "run_page_url": "https://127.0.0.1/", "tasks": []})

    app = web.Application()
    service = "/batch-processing-service/v2.1/flowInstances"
    app.add_routes(
        [
            web.post("/apim-token-service/v2.0/token/get", token),
            web.get(service, get),
            web.post(service, search),
            web.get("/api/v2/accounts/1/runs/{run}/", dbt),
            web.get("/api/2.1/jobs/runs/get", databricks),
            web.get("/api/2.2/jobs/runs/get", databricks),
        ]
    )
    return app


async def main(waits: int, others: int, now: float, switches: set[str], page_cap: int, folder: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority = trustme.CA()
    authority.issue_cert("127.0.0.1").configure_cert(context)
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    world = World(Tenant(waits, others, now), switches, page_cap)
    runner = web.AppRunner(app_of(world), access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context, backlog=1024)
    await site.start()
    print(json.dumps(runner.addresses[0][1]), flush=True)
    living = None
    while line := await asyncio.to_thread(sys.stdin.readline):
        answer: Any = None
        match line.split():
            case ["live"]:
                living = asyncio.create_task(world.live())
            case ["count"]:
                answer = {"requests": world.requests, "ended": world.ended}
            case ["start"]:
                answer = world.start()
            case ["end", number]:
                world.end(int(number))
        print(json.dumps(answer), flush=True)
    if living is not None:
        living.cancel()


if __name__ == "__main__":
    waits, others, now, switches, page_cap, folder = sys.argv[1:]
    named = {switch for switch in switches.split(",") if switch}
    asyncio.run(main(int(waits), int(others), float(now), named, int(page_cap), Path(folder)))
