"""Whatever interrupts a driver, at any place: the exception that leaves it leads to no secret."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import re
import signal
import socket
import ssl
import threading
import time
import types
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import aiohttp  # noqa: F401
import pytest
import requests  # noqa: F401
import trustme
from rogue import RogueGateway, rogue_gateway, rogue_proxy, settings_of

from airflow_provider_enos.client import sync
from airflow_provider_enos.client.aio import AsyncClient
from airflow_provider_enos.client.settings import Settings
from airflow_provider_enos.client.sync import SyncClient
from airflow_provider_enos.client.tracebacks import without_frames
from airflow_provider_enos.errors import EnosError
from airflow_provider_enos.protocol.models import AccessToken
from airflow_provider_enos.protocol.wire import calls
from airflow_provider_enos.protocol.wire.exchange import Retry
from airflow_provider_enos.protocol.wire.messages import Call, Procedure

TESTS = Path(__file__).resolve().parent.parent
TOKEN = "APP_PORTAL_S_the-token-that-is-held"
GET = calls.get_flow_instance("3377-20200706062600")
SECRETS = re.compile(rf"a-secret-key|{TOKEN}|a-token-of-the-rogue|apim-signature|Basic |[0-9a-fA-F]{{64}}")
PATIENT = Retry(attempts=2, first_pause=60)
STUCK = 0.12
"""Seconds until a driver is where it is to be interrupted. Its libraries are imported above."""


@dataclass(frozen=True)
class Place:
    """Where a driver is stuck when it is interrupted."""

    settings: Settings
    call: Call[Any] = GET
    token: str = TOKEN
    busy: bool = False
    """Whether somebody else is getting the token."""


def silent(line: socket.socket) -> None:
    line.recv(1)


@contextlib.contextmanager
def connecting(_: Path) -> Iterator[Place]:
    """A port whose queue is full answers nobody."""
    with socket.socket() as listener, contextlib.ExitStack() as callers:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _attempt in range(4):
            caller = callers.enter_context(socket.socket())
            caller.setblocking(False)
            caller.connect_ex(listener.getsockname())
        time.sleep(0.05)
        with rogue_gateway(silent) as gateway:
            yield Place(replace(settings_of(gateway), base_url=f"http://127.0.0.1:{listener.getsockname()[1]}"))


@contextlib.contextmanager
def shaking_hands(_: Path) -> Iterator[Place]:
    with socket.create_server(("127.0.0.1", 0)) as listener, rogue_gateway(silent) as gateway:
        yield Place(replace(settings_of(gateway), base_url=f"https://127.0.0.1:{listener.getsockname()[1]}"))


@contextlib.contextmanager
def in_a_tunnel(_: Path) -> Iterator[Place]:
    with rogue_proxy(silent) as proxy, pytest.MonkeyPatch.context() as environment:
        environment.setenv("HTTPS_PROXY", f"http://me:of-the-proxy@127.0.0.1:{proxy.port}")
        yield Place(replace(settings_of(proxy), base_url="https://gateway.example.com"))


@contextlib.contextmanager
def sending(_: Path) -> Iterator[Place]:
    """More than the system takes for somebody who does not read."""
    with socket.create_server(("127.0.0.1", 0)) as listener, rogue_gateway(silent) as gateway:
        call = replace(GET, method="POST", body=b"x" * (24 * 2**20))
        yield Place(replace(settings_of(gateway), base_url=f"http://127.0.0.1:{listener.getsockname()[1]}"), call)


@contextlib.contextmanager
def answered_with(answer: Any) -> Iterator[Place]:
    with rogue_gateway(answer) as gateway:
        yield Place(settings_of(gateway))


def waiting_for_the_head(_: Path) -> Any:
    return answered_with(silent)


def reading_the_body(_: Path) -> Any:
    return answered_with(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{")


def pausing(_: Path) -> Any:
    return answered_with(b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n")


@contextlib.contextmanager
def waiting_for_a_token(_: Path) -> Iterator[Place]:
    with rogue_gateway(silent) as gateway:
        yield Place(settings_of(gateway), token="", busy=True)


@contextlib.contextmanager
def getting_a_token(_: Path) -> Iterator[Place]:
    with rogue_proxy(silent) as gateway:
        yield Place(settings_of(gateway), token="")


@contextlib.contextmanager
def reading_through_tls(folder: Path) -> Iterator[Place]:
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    held: list[socket.socket] = []

    def serve(listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            line = context.wrap_socket(listener.accept()[0], server_side=True)
            held.append(line)
            line.recv(65536)
            line.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{")

    with socket.create_server(("127.0.0.1", 0)) as listener, rogue_gateway(silent) as gateway:
        threading.Thread(target=serve, args=(listener,), daemon=True).start()
        url = f"https://127.0.0.1:{listener.getsockname()[1]}"
        yield Place(replace(settings_of(gateway), base_url=url, verify=str(folder / "ca.pem")))
        for line in held:
            line.close()


PLACES: dict[str, Callable[[Path], Any]] = {
    one.__name__: one
    for one in (
        connecting,
        shaking_hands,
        in_a_tunnel,
        sending,
        waiting_for_the_head,
        reading_the_body,
        reading_through_tls,
        pausing,
        waiting_for_a_token,
        getting_a_token,
    )
}


pytestmark = [
    # Of sockets that an interruption leaves to the garbage collector.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning"),
    pytest.mark.filterwarnings("ignore:Sending a large body:ResourceWarning"),
]


@pytest.fixture(params=PLACES.values(), ids=PLACES)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    with request.param(tmp_path) as found:
        gateway = sync.shared_gateway(found.settings)
        if found.token:
            gateway._hold(AccessToken(found.token, 7200))
        if found.busy:
            gateway._renewing.acquire()
        yield found
        gc.collect()


# ---- what a crash reporter sees -------------------------------------------------------------------------------------


def errors_of(error: BaseException | None, seen: list[BaseException]) -> list[BaseException]:
    """The error and all that it leads to, whether Python would print it or not."""
    if error is not None and not any(error is one for one in seen):
        seen.append(error)
        errors_of(error.__cause__, seen)
        errors_of(error.__context__, seen)
    return seen


def frames_of(error: BaseException) -> Iterator[types.FrameType]:
    for one in errors_of(error, []):
        step = one.__traceback__
        while step is not None:
            if not step.tb_frame.f_code.co_filename.startswith(str(TESTS)):
                yield step.tb_frame
            step = step.tb_next


def told(value: object, depth: int = 3) -> Iterator[str]:
    """Return its representation, and the representations of what it contains."""
    yield repr(value)
    if depth and isinstance(value, dict):
        for one in value.values():
            yield from told(one, depth - 1)
    elif depth and isinstance(value, (list, tuple, set)):
        for one in value:
            yield from told(one, depth - 1)
    elif type(value).__module__.startswith("airflow_provider_enos") and hasattr(value, "__dict__"):
        for one in vars(value).values():
            yield repr(one)


def assert_tells_nothing(error: BaseException, *, frames: bool) -> None:
    """``frames``: whether frames of this package may be left, of code that carries out several calls."""
    left = list(frames_of(error))
    names = {(frame.f_code.co_filename, frame.f_code.co_name) for frame in left}
    if frames:
        left = [frame for frame in left if "asyncio" not in frame.f_code.co_filename]
        assert all("airflow_provider_enos/client/" in frame.f_code.co_filename for frame in left), names
    else:
        assert {name for name in names if "asyncio" not in name[0]} == set()
    for frame in left:
        for name, value in frame.f_locals.items():
            for text in told(value):
                assert not SECRETS.search(text), f"{name} in {frame.f_code.co_qualname} tells {text[:200]}"
    for one in errors_of(error, []):
        assert not SECRETS.search(f"{one!r} {one} {vars(one)}")


def procedure(call: Call[Any]) -> Procedure[Any]:
    return (yield call)


# ---- interrupted ----------------------------------------------------------------------------------------------------


class TaskTimeout(BaseException):
    """As the one of Airflow, which lives in another place in each version."""


class OfSomebody(Exception):
    """What some signal handler raises."""


@contextlib.contextmanager
def alarm(error: BaseException, after: float) -> Iterator[None]:
    def handler(*_: object) -> None:
        raise error

    before = signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, after)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize(
    ("interruption", "several"),
    [(TaskTimeout, False), (TaskTimeout, True), (KeyboardInterrupt, False), (SystemExit, True), (OfSomebody, False)],
)
def test_a_task_that_is_interrupted(place: Place, interruption: Any, several: bool) -> None:
    """By the alarm of its ``execution_timeout``, or by a signal."""
    client = SyncClient(place.settings, retry=PATIENT)
    raised = interruption("enough")
    caught: BaseException | None = None
    try:
        with alarm(raised, STUCK):
            client.run(procedure(place.call)) if several else client.call(place.call)
    except BaseException as error:
        caught = error
    client.close()
    assert caught is raised
    assert caught.args == ("enough",)
    assert caught.__context__ is None
    assert_tells_nothing(caught, frames=several)


@pytest.mark.parametrize("several", [False, True], ids=["one call", "a procedure"])
@pytest.mark.parametrize("how", ["cancel", "timeout"])
def test_a_coroutine_that_is_cancelled(place: Place, how: str, several: bool) -> None:
    """The exception stays what it is: a cancellation with its message, or the timeout of its caller."""

    async def main() -> BaseException:
        async with AsyncClient(place.settings, retry=PATIENT) as client:
            carried_out = client.run(procedure(place.call)) if several else client.call(place.call)
            if how == "cancel":
                task = asyncio.ensure_future(carried_out)
                await asyncio.sleep(STUCK)
                task.cancel("enough")
                with pytest.raises(asyncio.CancelledError) as cancelled:
                    await task
                assert task.cancelled()
                assert cancelled.value.args == ("enough",)
                return cancelled.value
            with pytest.raises(TimeoutError) as late:
                async with asyncio.timeout(STUCK):
                    await carried_out
            current = asyncio.current_task()
            assert current is not None
            assert current.cancelling() == 0
            return late.value

    assert_tells_nothing(asyncio.run(main()), frames=several)


def test_a_group_of_tasks_ends_as_ever() -> None:
    """One fails, the others are cancelled by it, and nothing else gets out."""

    async def main() -> None:
        async def fail() -> None:
            await asyncio.sleep(0.1)
            raise OfSomebody

        with rogue_gateway(silent) as gateway:
            async with AsyncClient(settings_of(gateway)) as client:

                async def both() -> None:
                    async with asyncio.TaskGroup() as group:
                        group.create_task(client.call(GET))
                        group.create_task(fail())

                with pytest.raises(ExceptionGroup) as caught:
                    await both()
                assert [type(one) for one in caught.value.exceptions] == [OfSomebody]

    asyncio.run(main())


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n", b"nonsense\r\n\r\n"])
def test_errors_of_ours(answer: bytes) -> None:
    def reply(line: socket.socket) -> None:
        line.sendall(answer)
        line.shutdown(socket.SHUT_WR)

    async def with_aiohttp(gateway: RogueGateway) -> BaseException:
        async with AsyncClient(settings_of(gateway), retry=Retry(attempts=1)) as client:
            with pytest.raises(EnosError) as caught:
                await client.call(GET)
            return caught.value

    with rogue_gateway(reply) as gateway:
        with pytest.raises(EnosError) as caught:
            SyncClient(settings_of(gateway), retry=Retry(attempts=1)).call(GET)
        assert_tells_nothing(caught.value, frames=False)
        assert_tells_nothing(asyncio.run(with_aiohttp(gateway)), frames=False)


# ---- the block itself -----------------------------------------------------------------------------------------------


def raised_by(work: Callable[[], None]) -> BaseException | None:
    try:
        work()
    except OfSomebody as error:
        return error
    return None


def test_what_the_caller_handles_stays_the_context() -> None:
    before, raised = ValueError("before"), OfSomebody("now")

    def inside() -> None:
        try:
            raise KeyError("within")
        except KeyError:
            raise raised from TypeError("a cause")

    def caller() -> None:
        try:
            raise before
        except ValueError:
            with without_frames():
                inside()

    assert raised_by(caller) is raised
    assert raised.__context__ is before
    assert raised.__cause__ is None
    assert list(frames_of(raised)) == []


def test_an_error_that_is_thrown_on_is_not_its_own_context() -> None:
    raised = OfSomebody()

    def caller() -> None:
        try:
            raise raised
        except OfSomebody:
            with without_frames():
                raise

    assert raised_by(caller) is raised
    assert raised.__context__ is None


def test_what_ends_well_is_left_alone() -> None:
    with without_frames():
        ended = True
    assert ended
