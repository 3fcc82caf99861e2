"""The integrator's process, forked by the nursery: turns the journal into files, and signs.

It reads the journal by itself, so that the process that answers clients does none of this; and since everything but
signatures follows from the journal, a crash of either is repaired by integrating again. Two never run at once: the
second waits until the first, whose ledger has died, has gone.
"""

import os
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from ledger.cosigning import Cosigning
from ledger.errors import LedgerError, SetupError
from ledger.folder import LedgerFolder
from ledger.founding import read_agreement
from ledger.journal.registry import open_journal
from ledger.objects.registry import open_store
from ledger.processes.parent import Parent, parent
from ledger.publisher import Publisher
from ledger.publishing import Answer, decode_question, encode_answer
from statements.daemon_log import log_as_json
from statements.errors import StatementError
from statements.pins import read_pins
from statements.tls import CA, ClientTls
from tlog.policy import Policy

LOCK: Final = "integrator.lock"
_PATIENCE_S: Final = 30.0
_NICE: Final = 5
"""Clients are answered first; a checkpoint may come a moment later."""


def integrate(ledger: Parent, publisher: Publisher) -> None:
    """Publish whenever the ledger asks; what it hears first is whether the log could be opened.

    Where it could not, nothing was held against what was signed before: nothing is signed, and the process ends.
    """
    opened = _attempt(publisher.open, publisher)
    ledger.answer(encode_answer(opened))
    if opened.error is not None:
        return
    for question in ledger.questions():
        anew = decode_question(question)
        answer = _attempt(lambda: publisher.publish(anew=anew), publisher)  # noqa: B023
        ledger.answer(encode_answer(answer))


def main(descriptor: int, folder: str, tls: str | None = None) -> None:
    """Integrate the log in a folder for the ledger at the other end of a socket, whose first question opens it."""
    log_as_json()
    os.nice(_NICE)
    with parent(descriptor) as ledger, ExitStack() as closing:
        next(ledger.questions(), None)
        try:
            publisher = _publisher(closing, Path(folder), None if tls is None else Path(tls))
        except LedgerError as error:
            ledger.answer(encode_answer(Answer(None, error)))
            return
        integrate(ledger, publisher)


def _publisher(closing: ExitStack, path: Path, tls: Path | None) -> Publisher:
    """Return who publishes the log in a folder; raises :class:`LedgerError` when it cannot be had.

    ``tls`` is the ledger's folder, which may say whose certificates witnesses must have.
    """
    try:
        folder = LedgerFolder.open(path)
        closing.enter_context(folder.held(LOCK, _PATIENCE_S))
        journal = open_journal(folder.journal, folder.private)
        closing.callback(journal.close)
        cosigning = _cosigning(read_pins(read_agreement(journal)).policy, tls)
    except StatementError as error:
        raise SetupError(error.reason, str(error)) from error
    if cosigning is not None:
        closing.callback(cosigning.close)
    return Publisher(journal, open_store(folder.objects, folder.path), folder.signer, cosigning)


def _cosigning(policy: Policy, tls: Path | None) -> Cosigning | None:
    """Return who asks the witnesses, if there are any.

    Raises :class:`SetupError` or :class:`StatementError` when they cannot be asked.
    """
    if policy.quorum is None:
        return None
    own = ClientTls(tls) if tls is not None and (tls / CA).exists() else None
    return Cosigning(policy, tls=own)


def _attempt(action: Callable[[], object], publisher: Publisher) -> Answer:
    try:
        action()
    except LedgerError as error:
        return Answer(publisher.published, error)
    return Answer(publisher.published, None)
