"""Founding a log: leaf 0 is the agreement, leaf 1 the ledger's opening (docs/adr/0001-leaf-0-is-the-agreement.md)."""

from ledger.errors import SetupError
from ledger.folder import LedgerFolder
from ledger.journal.interface import Journal
from ledger.keyring import Keyring
from ledger.sequencer import Draw, Sequencer
from protos.stillwatch.statement.v1 import governance_pb2, identity_pb2
from statements.body import decode_body
from statements.clock import Clock
from statements.errors import BodyError
from statements.kinds import Kind, parse_content
from statements.pins import Pins, agreement_digest, read_pins

SOFTWARE = "stillwatch ledger"
FOUNDED = 2
"""Records of a log that was founded and says nothing yet."""


def found(
    folder: LedgerFolder, journal: Journal, agreement: bytes, clock: Clock, draw: Draw
) -> Pins:
    """Log an agreement as leaf 0 and the opening as leaf 1; one that stopped in between goes on.

    Raises :class:`PinsError` when the agreement does not parse, and :class:`SetupError` when it does not pin this
    ledger, or when the log has begun with another.
    """
    pins = read_pins(agreement)
    folder.verify_pinned(pins)
    if journal.size() > 1 or (journal.size() and read_agreement(journal) != agreement):
        raise SetupError(
            "LOG_BEGUN",
            f"the log in {folder.path} has begun already, with the agreement "
            f"sha256:{agreement_digest(read_agreement(journal)).hex()}: a log serves one agreement",
        )
    sequencer = Sequencer.open(journal, Keyring(pins, folder.key.key_id), clock)
    if sequencer.size == 0:
        sequencer.say(folder.key, governance_pb2.Agreement(text=agreement), draw=draw)
    opening = identity_pb2.Opening(
        key=folder.key.spki,
        logs=[folder.origin],
        agreements=[pins.digest],
        software=SOFTWARE,
    )
    sequencer.say(folder.key, opening, draw=draw)
    return pins


def read_agreement(journal: Journal) -> bytes:
    """Return the text of leaf 0.

    Raises :class:`SetupError` when the log has not begun, or begins with something else.
    """
    for _, stored in journal.read(0, 1):
        try:
            content = parse_content(Kind.AGREEMENT, decode_body(stored or b""))
        except BodyError:
            break
        if isinstance(content, governance_pb2.Agreement) and content.text:
            return content.text
        break
    raise SetupError(
        "NO_AGREEMENT",
        "the log does not begin with an agreement: `stillwatch ledger init DIR --agreement FILE` logs it",
    )
