"""Where a log's static files are read from: a folder, or a web server, over TLS unless it is on this machine.

A web server may be anybody's. What it is asked for is named by numbers alone, what it answers is bounded in bytes and
in time, and it is taken as it comes: no redirect is followed, and nothing is decompressed.
"""

import asyncio
import ssl
import threading
from concurrent.futures import CancelledError
from contextlib import suppress
from pathlib import Path
from typing import Final, Protocol, Self

import httpx

from statements.tls import ClientTls, verify_plain
from verifier.mirror.errors import MirrorError

TIMEOUT_S: Final = 30.0
"""How long a server may keep silent, and how long an answer may take however small it is."""
LEAST_BYTES_PER_S: Final = 16 << 10
"""What a server must send on average for an answer to take longer than that."""
MOST_CONNECTIONS: Final = 8


class Source(Protocol):
    """A place with a log's files; paths are relative, with ``/``, as C2SP tlog-tiles has them.

    Several threads may read at once.
    """

    @property
    def place(self) -> str:
        """Where it is, for people."""
        ...

    def read(self, path: str, limit: int) -> bytes | None:
        """Return a file's bytes, ``None`` when there is none.

        Raises :class:`MirrorError` when it has more than ``limit`` bytes, or cannot be read.
        """
        ...


class FolderSource:
    """A folder that holds what a log serves, such as a mirror."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @property
    def place(self) -> str:
        """The folder."""
        return str(self._folder)

    def read(self, path: str, limit: int) -> bytes | None:
        """Return a file's bytes; see :class:`Source`."""
        try:
            with (self._folder / path).open("rb") as file:
                data = file.read(limit + 1)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise MirrorError(
                "UNREADABLE", f"cannot read {self._folder / path}: {error.strerror}"
            ) from None
        if len(data) > limit:
            raise _too_large(f"{self._folder / path}", limit)
        return data


class HttpSource:
    """A log's web server. Redirects are not followed: a log is where the auditor said.

    ``tls`` says which CAs are believed, and who asks; without, those that everybody believes. Raises
    :class:`CertificateError` for an address that is neither https nor on this machine.
    Requests run on a loop of their own, in which each has a time by which it must be done whatever the server does.
    """

    def __init__(
        self,
        url: str,
        transport: httpx.AsyncBaseTransport | None = None,
        *,
        tls: ClientTls | None = None,
        timeout_s: float = TIMEOUT_S,
        least_bytes_per_s: float = LEAST_BYTES_PER_S,
    ) -> None:
        self._url = url.rstrip("/")
        try:
            parts = httpx.URL(self._url)
        except httpx.InvalidURL as error:
            raise MirrorError("BAD_ADDRESS", f"{url} is no address: {error}") from None
        if parts.scheme != "https":
            verify_plain(parts.host, url)
        self._tls = tls
        self._transport = transport
        self._timeout_s = timeout_s
        self._least = least_bytes_per_s
        self._credentials = None if tls is None else tls.credentials()
        self._clients = [self._make_client()]
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="http", daemon=True)
        self._thread.start()

    def _make_client(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(
            timeout=self._timeout_s,
            transport=self._transport,
            trust_env=False,
            verify=True if self._credentials is None else self._credentials.context(),
            headers={"Accept-Encoding": "identity"},
            limits=httpx.Limits(max_connections=MOST_CONNECTIONS),
        )

    def _client(self) -> httpx.AsyncClient:
        """Return what asks the server: another one when there are new credentials, while older ones finish."""
        if self._tls is not None and self._tls.credentials() is not self._credentials:
            self._credentials = self._tls.credentials()
            self._clients.append(self._make_client())
        return self._clients[-1]

    @property
    def place(self) -> str:
        """The address."""
        return self._url

    def read(self, path: str, limit: int) -> bytes | None:
        """Return a file's bytes; see :class:`Source`. At most a piece more than ``limit`` is taken from the server."""
        reading = self._read(f"{self._url}/{path}", limit)
        try:
            return asyncio.run_coroutine_threadsafe(reading, self._loop).result()
        except (CancelledError, RuntimeError):
            reading.close()
            raise MirrorError("STOPPED", f"reading from {self._url} was stopped") from None

    async def _read(self, url: str, limit: int) -> bytes | None:
        now = asyncio.get_running_loop().time
        due = now() + self._timeout_s
        try:
            async with (
                asyncio.timeout_at(due) as timeout,
                self._client().stream("GET", url) as answer,
            ):
                if answer.status_code in {404, 410}:
                    return None
                if answer.status_code in {401, 403}:
                    raise MirrorError(
                        "NOT_PERMITTED",
                        f"{url} answered {answer.status_code}: ask its operator to let you read, and give --tls DIR",
                    )
                if answer.status_code != 200:
                    raise MirrorError(
                        "SERVER_REFUSED", f"{url} answered {answer.status_code}: try again later"
                    )
                if answer.headers.get("Content-Encoding", "identity") != "identity":
                    raise MirrorError(
                        "SERVER_REFUSED", f"{url} is compressed, which nobody asked for"
                    )
                data = bytearray()
                async for part in answer.aiter_bytes():
                    data += part
                    if len(data) > limit:
                        raise _too_large(url, limit)
                    timeout.reschedule(due + len(data) / self._least)
        except TimeoutError:
            raise MirrorError(
                "TOO_SLOW",
                f"{url} came slower than {self._least / 1024:.0f} KiB a second: try again later",
            ) from None
        except (
            httpx.HTTPError,
            httpx.InvalidURL,
            ssl.SSLError,
        ) as error:  # the last: an alert after the handshake
            untrusted = "CERTIFICATE_VERIFY_FAILED" in str(error)
            raise MirrorError(
                "SERVER_NOT_TRUSTED" if untrusted else "UNREACHABLE",
                f"cannot read {url}: {error or type(error).__name__}",
            ) from None
        return bytes(data)

    def stop(self) -> None:
        """End what is being read, with an error; a signal's handler may call this."""
        with suppress(RuntimeError):  # it is closed
            self._loop.call_soon_threadsafe(
                lambda: [task.cancel() for task in asyncio.all_tasks(self._loop)]
            )

    def close(self) -> None:
        """Close the connections, and end what is being read."""
        if self._loop.is_closed():
            return
        self.stop()
        for client in self._clients:
            asyncio.run_coroutine_threadsafe(client.aclose(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def open_source(place: str, tls: ClientTls | None = None) -> FolderSource | HttpSource:
    """Return the source that a command line names: an http(s) URL, or a folder.

    Raises :class:`MirrorError` when it is neither, and as :class:`HttpSource` does.
    """
    if place.startswith(("http://", "https://")):
        return HttpSource(place, tls=tls)
    folder = Path(place)
    if not folder.is_dir():
        raise MirrorError(
            "NO_LOG", f"{place} is neither an http(s) address nor a folder: give one with --log"
        )
    return FolderSource(folder)


def _too_large(place: str, limit: int) -> MirrorError:
    return MirrorError("TOO_LARGE", f"{place} has more than the {limit} bytes that it may have")
