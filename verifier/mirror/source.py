"""Where a log's static files are read from: a folder, or a web server."""

from pathlib import Path
from typing import Protocol, Self

import httpx

from verifier.mirror.errors import MirrorError

TIMEOUT_S = 30.0
"""How long a server may keep silent."""


class Source(Protocol):
    """A place with a log's files; paths are relative, with ``/``, as C2SP tlog-tiles has them."""

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
    """A log's web server. Redirects are not followed: a log is where the auditor said."""

    def __init__(self, url: str, transport: httpx.BaseTransport | None = None) -> None:
        self._url = url.rstrip("/")
        self._client = httpx.Client(timeout=TIMEOUT_S, transport=transport, trust_env=False)

    @property
    def place(self) -> str:
        """The address."""
        return self._url

    def read(self, path: str, limit: int) -> bytes | None:
        """Return a file's bytes; see :class:`Source`. At most ``limit`` and one more are taken from the server."""
        url = f"{self._url}/{path}"
        try:
            with self._client.stream("GET", url) as answer:
                if answer.status_code in {404, 410}:
                    return None
                if answer.status_code != 200:
                    raise MirrorError(
                        "SERVER_REFUSED", f"{url} answered {answer.status_code}: try again later"
                    )
                data = bytearray()
                for part in answer.iter_bytes():
                    data += part
                    if len(data) > limit:
                        raise _too_large(url, limit)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise MirrorError(
                "UNREACHABLE", f"cannot read {url}: {error or type(error).__name__}"
            ) from None
        return bytes(data)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def open_source(place: str) -> FolderSource | HttpSource:
    """Return the source that a command line names: an http(s) URL, or a folder.

    Raises :class:`MirrorError` when it is neither.
    """
    if place.startswith(("http://", "https://")):
        return HttpSource(place)
    folder = Path(place)
    if not folder.is_dir():
        raise MirrorError(
            "NO_LOG", f"{place} is neither an http(s) address nor a folder: give one with --log"
        )
    return FolderSource(folder)


def _too_large(place: str, limit: int) -> MirrorError:
    return MirrorError("TOO_LARGE", f"{place} has more than the {limit} bytes that it may have")
