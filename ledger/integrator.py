"""The integrator's process, forked by the nursery: turns the journal into files, and signs.

It reads the journal by itself, so that the process that answers clients does none of this; and since everything but
signatures follows from the journal, a crash of either is repaired by integrating again. Two never run at once: the
second waits until the first, whose ledger has died, has gone.
"""

import os
from collections.abc import Callable
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


def integrate(ledger: Parent, path: Path, tls: Path | None = None) -> None:
    """Publish whenever the ledger asks; its first question is whether the log could be opened.

    ``tls`` is the ledger's folder, which may say whose certificates witnesses must have.
    """
    folder = LedgerFolder.open(path)
    journal = open_journal(folder.journal, folder.private)
    policy = read_pins(read_agreement(journal)).policy
    objects = open_store(folder.objects, folder.path)
    questions = ledger.questions()
    next(questions, None)
    try:
        cosigning = _cosigning(policy, tls)
    except LedgerError as error:
        ledger.answer(encode_answer(Answer(None, error)))
        return
    publisher = Publisher(journal, objects, folder.signer, cosigning)
    ledger.answer(encode_answer(_attempt(publisher.open, publisher)))
    for question in questions:
        anew = decode_question(question)
        answer = _attempt(lambda: publisher.publish(anew=anew), publisher)  # noqa: B023
        ledger.answer(encode_answer(answer))
    if cosigning is not None:
        cosigning.close()


def main(descriptor: int, folder: str, tls: str | None = None) -> None:
    """Integrate the log in a folder for the ledger at the other end of a socket."""
    log_as_json()
    os.nice(_NICE)
    path = Path(folder)
    with parent(descriptor) as ledger, LedgerFolder.open(path).held(LOCK, _PATIENCE_S):
        integrate(ledger, path, None if tls is None else Path(tls))


def _cosigning(policy: Policy, tls: Path | None) -> Cosigning | None:
    """Return who asks the witnesses, if there are any; raises :class:`SetupError` when they cannot be asked."""
    if policy.quorum is None:
        return None
    try:
        own = ClientTls(tls) if tls is not None and (tls / CA).exists() else None
        return Cosigning(policy, tls=own)
    except StatementError as error:
        raise SetupError(error.reason, str(error)) from error


def _attempt(action: Callable[[], object], publisher: Publisher) -> Answer:
    try:
        action()
    except LedgerError as error:
        return Answer(publisher.published, error)
    return Answer(publisher.published, None)
