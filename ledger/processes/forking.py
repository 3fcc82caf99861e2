"""The nursery's process: ``python -m ledger.processes.forking FD PARENT MODULE...`` imports modules once, and forks.

A fork copies one thread, and what the others held stays locked for ever. So this process has no other: it imports
nothing that starts threads (no gRPC), opens no file, reads no key, and serves nobody but the ledger. What two processes
must not share, libraries renew in the child: Python its random numbers, OpenSSL its generator. A child keeps the three
standard descriptors and the socket that it was given, and closes the nursery's; the nursery keeps no child's.

The ledger sends, in packets of JSON, ``{"start": [MODULE, ARGUMENT...]}`` with the child's socket, ``{"kill": PID}``.
It hears ``{"started": PID}``, in the order in which it asked (``null`` with ``why``, where there was no fork), and
``{"ended": PID, "status": N}``, negative for a signal.
"""

import ctypes
import gc
import json
import os
import select
import signal
import socket
import sys
import traceback
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Final, NoReturn

MOST_BYTES: Final = 1 << 16
"""No packet is longer."""

_PR_SET_PDEATHSIG: Final = 1
_PR_SET_NAME: Final = 15
_LIBC: Final = ctypes.CDLL(None)


class Family:
    """The children of one nursery, for the ledger at the other end of a socket."""

    def __init__(self, ledger: socket.socket) -> None:
        self._ledger = ledger
        self._ended, self._wake = socket.socketpair()
        self._living: set[int] = set()
        self._pid = os.getpid()

    def tend(self) -> None:
        """Fork, kill and bury as the ledger says, until it hangs up or dies."""
        self._wake.setblocking(False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self._wake.fileno(), warn_on_full_buffer=False)
        poll = select.poll()
        poll.register(self._ledger, select.POLLIN)
        poll.register(self._ended, select.POLLIN)
        while True:
            ready = {descriptor for descriptor, _ in poll.poll()}
            if self._ended.fileno() in ready:
                self._ended.recv(MOST_BYTES)
                self._bury()
            if self._ledger.fileno() in ready and not self._obey():
                return

    def _obey(self) -> bool:
        """Do what the ledger says next; ``False`` when it has hung up."""
        data, given, _, _ = socket.recv_fds(self._ledger, MOST_BYTES, 1)
        if not data:
            return False
        told = json.loads(data)
        if "kill" in told:
            if told["kill"] in self._living:  # else it is another's by now
                os.kill(told["kill"], signal.SIGKILL)
            return True
        (descriptor,) = given
        try:
            child = os.fork()
            if child == 0:
                self._live(descriptor, *told["start"])
        except OSError as error:
            self._tell({"started": None, "why": error.strerror})
            return True
        finally:
            os.close(descriptor)
        self._living.add(child)
        self._tell({"started": child})
        return True

    def _live(self, descriptor: int, module: str, *arguments: str) -> NoReturn:
        """Be the child, from its first breath to its end."""
        status = 1
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            for one in (self._ledger, self._ended, self._wake):
                one.close()
            die_with(self._pid)
            name_process(module.rpartition(".")[2])
            import_module(module).main(descriptor, *arguments)
            status = 0
        except Exception:  # noqa: BLE001 - the process's edge: it shall never become a second nursery
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(status)

    def _bury(self) -> None:
        """Tell of every child that ended."""
        while self._living:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            self._living.discard(pid)
            self._tell({"ended": pid, "status": os.waitstatus_to_exitcode(status)})

    def _tell(self, what: object) -> None:
        self._ledger.send(json.dumps(what).encode())


def verify_alone() -> None:
    """Refuse to fork where another thread runs: RuntimeError."""
    threads = len(list(Path("/proc/self/task").iterdir()))
    if threads != 1:
        raise RuntimeError(f"{threads} threads run where children are forked: there may be one")


def die_with(parent: int) -> None:
    """Have the kernel kill this process when its parent's thread that made it ends, or end now if that has."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def name_process(name: str) -> None:
    """Have ``ps`` show a name, of at most 15 characters."""
    _LIBC.prctl(_PR_SET_NAME, name.encode())


def main(descriptor: str, parent: str, *modules: str) -> None:
    """Import modules, and fork for the ledger at the other end of a socket.

    Signals that end a ledger are its own: it drains, and hangs up on its children when it has.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    die_with(int(parent))
    name_process("nursery")
    ledger = socket.socket(fileno=int(descriptor))  # closed by the end, after any trace of it
    for module in modules:
        import_module(module)
    gc.collect()
    gc.freeze()  # what children share stays shared: nothing looks at it again
    verify_alone()
    with suppress(BrokenPipeError, ConnectionResetError):  # so ends a ledger that dies
        Family(ledger).tend()


if __name__ == "__main__":
    main(*sys.argv[1:])
