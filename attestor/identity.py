"""Who a node is: its key, and the request by which its party enrols it.

A node's id is the SHA-256 of its first public key (SPKI DER), for ever. The party hands each node a
one-time token; the node's request proves that it holds its key, over that token and for that party
and agreement alone, so that a request can be used for nothing else.
"""

import hashlib
import json
from collections.abc import Collection
from dataclasses import asdict, dataclass
from typing import Final

from attestor.errors import IdentityError
from protos.stillwatch.statement.v1 import identity_pb2
from statements.enrolment import MOST_CHIPS, possession_digest, verify_enrolment
from statements.errors import BodyError, SignatureError
from statements.pins import Pins, Role
from statements.signing import SigningKey

FORMAT: Final = "stillwatch.enrolment-request/1"
_SOME_SITE: Final = "-"
"""Stands for the site while a request is verified: the party names it, not the node."""
_BINARY: Final = ("node_key", "token_digest", "possession", "agreement", "party")


@dataclass(frozen=True, slots=True)
class EnrolmentRequest:
    """What a node hands to its party, so that the party can enrol it.

    ``node_key`` is SPKI DER; ``token_digest``, ``agreement`` and ``party`` are SHA-256 digests;
    ``possession`` is 64 bytes; ``chip_model`` is empty where it was not said.
    """

    node_key: bytes
    name: str
    token_digest: bytes
    possession: bytes
    agreement: bytes
    party: bytes
    chips: int
    chip_model: str


def token_digest(token: str) -> bytes:
    """Return the SHA-256 by which a one-time token is named; space around it does not count."""
    return hashlib.sha256(token.strip().encode()).digest()


def party_author(pins: Pins, party: str) -> bytes:
    """Return the author digest of a party; raises IdentityError when the agreement has none."""
    known = {pin.id: pin.key_id for pin in pins.by_key.values() if pin.role is Role.PARTY}
    if party not in known:
        raise IdentityError(
            "UNKNOWN_PARTY",
            f"the agreement has no party {party!r}; it has {', '.join(sorted(known)) or 'none'}",
        )
    return known[party]


def request_enrolment(
    key: SigningKey,
    *,
    token: str,
    name: str,
    agreement: bytes,
    party: bytes,
    chips: int,
    chip_model: str = "",
) -> EnrolmentRequest:
    """Return a node's request to be enrolled by ``party`` under ``agreement`` (both digests)."""
    if not 1 <= len(name) <= 64:
        raise IdentityError("BAD_NAME", "the node's name must have 1 to 64 characters")
    if not token.strip():
        raise IdentityError("BAD_TOKEN", "the token is empty; ask your party for a one-time token")
    digest = token_digest(token)
    return EnrolmentRequest(
        node_key=key.spki,
        name=name,
        token_digest=digest,
        possession=key.sign(possession_digest(agreement, party, digest)),
        agreement=agreement,
        party=party,
        chips=chips,
        chip_model=chip_model,
    )


def verify_request(
    request: EnrolmentRequest, *, agreement: bytes, party: bytes, tokens: Collection[bytes]
) -> None:
    """Refuse a request that is not for this party and agreement, or not by who holds a token.

    ``tokens`` are the digests of the tokens that the party handed out and that were not used yet.
    Raises IdentityError.
    """
    if request.agreement != agreement:
        raise IdentityError(
            "OTHER_AGREEMENT", f"{request.name}: the request is for an agreement of another digest"
        )
    if request.party != party:
        raise IdentityError("OTHER_PARTY", f"{request.name}: the request is for another party")
    if request.token_digest not in tokens:
        raise IdentityError(
            "UNKNOWN_TOKEN",
            f"{request.name}: the request was not made with one of the tokens given, or the token "
            "was used already",
        )
    try:
        verify_enrolment(enrolment(request, site=_SOME_SITE), party, agreement)
    except SignatureError as error:
        raise IdentityError(
            "NOT_POSSESSED", f"{request.name}: the request does not prove that it holds its key"
        ) from error
    except BodyError as error:
        raise IdentityError(error.reason, f"{request.name}: {error}") from error


def enrolment(
    request: EnrolmentRequest, *, site: str, accounted_from_ms: int | None = None
) -> identity_pb2.Enrolment:
    """Return what the party says to enrol a node whose request it verified."""
    if not 1 <= len(site) <= 64:
        raise IdentityError("BAD_NAME", "the site's name must have 1 to 64 characters")
    return identity_pb2.Enrolment(
        node_key=request.node_key,
        site=site,
        name=request.name,
        token_digest=request.token_digest,
        possession=request.possession,
        agreement=request.agreement,
        chips=request.chips,
        chip_model=request.chip_model or None,
        accounted_from=accounted_from_ms,
    )


def encode_request(request: EnrolmentRequest) -> str:
    """Return a request as JSON text, binary values in hexadecimal."""
    fields = {
        name: value.hex() if isinstance(value, bytes) else value
        for name, value in asdict(request).items()
    }
    return json.dumps({"format": FORMAT, **fields}, indent=2) + "\n"


def decode_request(text: str, where: str) -> EnrolmentRequest:
    """Return the request in a JSON text; ``where`` names it in errors."""
    try:
        found = json.loads(text)
        if found["format"] != FORMAT:
            raise IdentityError("NOT_A_REQUEST", f"{where}: not of the format {FORMAT}")
        name, chips, chip_model = found["name"], found["chips"], found["chip_model"]
        binary = {name: bytes.fromhex(found[name]) for name in _BINARY}
        f"{name}{chip_model}".encode()  # a text that no message can hold is none
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise IdentityError(
            "NOT_A_REQUEST", f"{where}: not an enrolment request: {error!r}"
        ) from error
    if not isinstance(name, str) or not isinstance(chip_model, str):
        raise IdentityError("NOT_A_REQUEST", f"{where}: name and chip_model must be texts")
    if type(chips) is not int or not 0 <= chips <= MOST_CHIPS:
        raise IdentityError("NOT_A_REQUEST", f"{where}: chips must be from 0 to {MOST_CHIPS}")
    return EnrolmentRequest(name=name, chips=chips, chip_model=chip_model, **binary)
