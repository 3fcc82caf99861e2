"""Faults of a call: a gRPC status whose details say why, in a way that programs can read.

The details are a ``google.rpc.Status`` with one ``google.rpc.ErrorInfo``, whose reason is the name of a value of
``Reason`` without its prefix (https://cloud.google.com/apis/design/errors).
"""

from dataclasses import dataclass
from typing import Any, Final, NoReturn, TypeAlias

import grpc
from google.protobuf import any_pb2
from google.rpc import error_details_pb2, status_pb2

DOMAIN: Final = "ledger.stillwatch"
Context: TypeAlias = grpc.aio.ServicerContext[Any, Any]
"""A call as grpc hands it to its handler; of any request and response."""


@dataclass(frozen=True, slots=True)
class Fault:
    """Why a call ends: the status, the reason code, and words for people."""

    status: grpc.StatusCode
    reason: str
    message: str


class EndedCall(Exception):  # noqa: N818 - an answer on its way out, not a fault of ours
    """Carries a fault out of a handler."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.message)
        self.fault = fault


def malformed(message: str, reason: str = "MALFORMED_REQUEST") -> Fault:
    """Return the fault of a request that can never succeed."""
    return Fault(grpc.StatusCode.INVALID_ARGUMENT, reason, message)


def not_found(message: str) -> Fault:
    """Return the fault of a request for what is not there."""
    return Fault(grpc.StatusCode.NOT_FOUND, "NOT_FOUND", message)


def unavailable(reason: str, message: str) -> Fault:
    """Return the fault of a request that may succeed later."""
    return Fault(grpc.StatusCode.UNAVAILABLE, reason, message)


def busy(why: str) -> Fault:
    """Return the fault of a request for which there is no room now."""
    return Fault(grpc.StatusCode.RESOURCE_EXHAUSTED, "BUSY", f"{why}: try again later")


STORAGE_FAILED: Final = unavailable(
    "STORAGE",
    "the ledger's storage failed; what was not acknowledged may not be logged: send it again later",
)
"""Where and how is the operator's to know."""


async def end_call(context: Context, fault: Fault) -> NoReturn:
    """End a call with a fault's status and details."""
    words = f"{fault.message} [{fault.reason}]"
    info = any_pb2.Any()
    info.Pack(error_details_pb2.ErrorInfo(reason=fault.reason, domain=DOMAIN))
    code: int = fault.status.value[0]
    # Clients refuse details whose words are not those of the status itself.
    status = status_pb2.Status(code=code, message=words, details=[info])
    await context.abort(
        fault.status,
        words,
        trailing_metadata=(("grpc-status-details-bin", status.SerializeToString()),),
    )
    raise AssertionError("abort raises")  # pragma: no cover
