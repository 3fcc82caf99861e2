"""Who holds which calls: streams that end with the permission for them, and rivals that cannot take all there are."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from pathlib import Path
from typing import Any

import grpc
import pytest

from ledger.access import Clients, parse_clients, read_clients
from ledger.guard import Guard
from ledger.limits import Limits
from ledger.service import SERVICE
from ledger.shares import CALLER
from tests.pki import Holder, alone, write_folder

FOLLOW, APPEND, GET_BODY = (f"/{SERVICE}/{name}" for name in ("Follow", "Append", "GetBody"))
Handler = Callable[[object, Any], Awaitable[object]]


class AbortedError(Exception):
    """What a call's context raises when it is ended."""


class Call:
    """The context of a call over a connection by some holder of a certificate."""

    def __init__(self, holder: Holder) -> None:
        self._holder = holder
        self._done: list[Callable[[object], None]] = []
        self.status: grpc.StatusCode | None = None

    def auth_context(self) -> Mapping[str, list[bytes]]:
        return {"ssl_tls_version": [b"TLSv1.3"], "x509_pem_cert": [self._holder.cert_pem]}

    def add_done_callback(self, callback: Callable[[object], None]) -> None:
        self._done.append(callback)

    async def abort(self, status: grpc.StatusCode, *_: object, **__: object) -> None:
        self.status = status
        raise AbortedError

    def end(self) -> None:
        for callback in self._done:
            callback(self)


class Scene:
    """A guard before handlers that answer nothing, a list of clients that may change, and calls."""

    def __init__(self, folder: Path, **limits: int) -> None:
        self.folder = folder
        self.holders = {name: alone(name) for name in ("rival", "lab")}
        self.clients = self.listed("rival", "lab")
        self.guard = Guard(lambda: self.clients, Limits(**limits), every_s=0.01)
        self.ended: list[str] = []

    def listed(self, *names: str) -> Clients:
        rows = {name: (self.holders[name], ["append", "read"]) for name in names}
        write_folder(self.folder, clients=rows)
        return parse_clients(read_clients(self.folder), self.folder)

    async def handler(self, method: str, make: Callable[..., Any]) -> Handler:
        async def open_for_ever(_: object, __: object) -> None:
            try:
                await asyncio.Event().wait()
            finally:
                self.ended.append(CALLER.get().name)

        async def found(_: object) -> Any:
            return make(open_for_ever)

        class Details:
            pass

        details: Any = Details()
        details.method = method
        guarded: Any = await self.guard.intercept_service(found, details)
        handle: Handler = guarded.unary_stream or guarded.stream_stream or guarded.unary_unary
        return handle

    async def call(self, handler: Handler, who: str) -> tuple[Call, "asyncio.Task[object]"]:
        """Begin a call, and let it get as far as it gets."""
        call = Call(self.holders[who])
        work: Coroutine[Any, Any, object] = handler(None, call)  # type: ignore[assignment]
        task = asyncio.create_task(work)
        for _ in range(5):
            await asyncio.sleep(0)
        return call, task


def run(scene: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(scene, 10))


@pytest.mark.parametrize(
    ("method", "make"),
    [
        (FOLLOW, grpc.unary_stream_rpc_method_handler),
        (APPEND, grpc.stream_stream_rpc_method_handler),
    ],
)
def test_a_stream_ends_once_its_client_is_taken_off_the_list_and_no_other_does(
    tmp_path: Path, method: str, make: Callable[..., Any]
) -> None:
    async def play() -> None:
        scene = Scene(tmp_path)
        handler = await scene.handler(method, make)
        rival, its = await scene.call(handler, "rival")
        lab, other = await scene.call(handler, "lab")
        scene.clients = scene.listed("lab")
        with pytest.raises(AbortedError):
            await asyncio.wait_for(its, 5)
        assert rival.status is grpc.StatusCode.UNAUTHENTICATED
        assert scene.ended == ["rival"], "what it was for was ended too"
        assert not other.done()
        assert lab.status is None
        other.cancel()
        with pytest.raises(asyncio.CancelledError):
            await other
        assert scene.ended == ["rival", "lab"]

    run(play())


@pytest.mark.parametrize(
    ("method", "make", "limit"),
    [
        (FOLLOW, grpc.unary_stream_rpc_method_handler, "followers"),
        (APPEND, grpc.stream_stream_rpc_method_handler, "streams"),
        (GET_BODY, grpc.unary_unary_rpc_method_handler, "questions"),
    ],
)
def test_a_rival_that_opens_all_the_calls_it_can_keeps_nobody_out(
    tmp_path: Path, method: str, make: Callable[..., Any], limit: str
) -> None:
    async def play() -> None:
        scene = Scene(tmp_path, **{limit: 8})
        handler = await scene.handler(method, make)
        begun = [await scene.call(handler, "rival") for _ in range(8)]
        assert [call.status for call, _ in begun] == [None] * 4 + [
            grpc.StatusCode.RESOURCE_EXHAUSTED
        ] * 4
        others = [await scene.call(handler, "lab") for _ in range(2)]
        assert [call.status for call, _ in others] == [None, None]
        begun[0][0].end()
        again, task = await scene.call(handler, "lab")
        assert again.status is grpc.StatusCode.RESOURCE_EXHAUSTED, "half of it is taken again"
        others[0][0].end()
        others.append(await scene.call(handler, "lab"))
        assert others[-1][0].status is None
        tasks = [task, *(task for _, task in (*begun, *others))]
        for one in tasks:
            one.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    run(play())
