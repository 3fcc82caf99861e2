"""Verifying a bundle: some records of a log, from nothing but the digest of the agreement.

1. The agreement in the bundle has the digest that was named.
2. The checkpoint is of a log that it lists, signed by the log's key, and cosigned as it asks.
3. The records are in the checkpoint's tree, where the bundle has them. Nothing further is looked at before that holds.
4. What was selected is there: a whole range or log can be shown to be whole, an author's records cannot.
5. Each record is one, and its body, where it is there, has the digest in its header.
6. Each record is signed by the key that it names, as far as that key is shown.
7. Each key may speak for its author: the agreement pins it, a party enrolled it, or the key before it named it; and it
   has not ended.
8. The records follow one another as their chains say, and none contradicts another.
9. The log began with the agreement.

What one record is worth says nothing against the others: from step 4 on, everything is noted and nothing ends it.
"""

from collections.abc import Sequence

from protos.stillwatch.statement.v1 import governance_pb2
from statements.body import decode_body, verify_stored
from statements.errors import StatementError
from statements.kinds import Kind, parse_content
from statements.offline_bundle import Everything, OfflineBundle, RangeOf, SaidBy
from statements.pins import Pins, agreement_digest
from tlog.checkpoint import Checkpoint
from tlog.merkle import leaf_hash
from tlog.selection import verify_selection
from verifier.offline.chains import follow_chains
from verifier.offline.keys import Advance, find_keys, find_signed
from verifier.offline.lives import find_heard
from verifier.offline.outcome import Outcome, Remark
from verifier.offline.root_of_trust import read_root, tell_root
from verifier.offline.said import Said, read_said, verify_plain

_BEYOND = (
    Remark("LATER", "what was said after this checkpoint"),
    Remark(
        "VERDICT",
        "what follows from these records for the agreement: that takes an audit of the whole log",
    ),
    Remark("LOGGED_AT", "when exactly a record was logged: its own time is the ledger's hint"),
)


def verify_bundle(
    bundle: OfflineBundle, digest: bytes, advance: Advance = lambda _: None
) -> Outcome:
    """Return what came of verifying a bundle, in the steps of this module; ``digest`` is the agreement's, 32 bytes.

    ``advance`` is told of each record whose signature was looked at.

    Raises :class:`VerifierError`, :class:`StatementError` or :class:`TlogError` when one of the first three steps
    fails: then nothing in the bundle is to be believed.
    """
    # 1 and 2. The agreement, and the checkpoint.
    root = read_root(bundle.agreement, bundle.note, digest)
    seen = root.trust.believe(bundle.note)
    checkpoint = seen.checkpoint
    # 3. The records are in the tree.
    leaves = [leaf_hash(record) for record in bundle.records]
    verify_selection(bundle.indices, checkpoint.size, leaves, bundle.hashes, checkpoint.root)
    count = f"{len(leaves)} of the {checkpoint.size} records of {checkpoint.origin}"
    outcome = Outcome(subject=count, beyond=list(_BEYOND))
    tell_root(outcome, root, seen, named=True)
    outcome.hold(
        "INCLUSION", f"the {len(leaves)} records are in its tree, where the bundle has them"
    )
    # 4. The selection.
    _verify_whole(outcome, bundle, checkpoint)
    # 5. Records and bodies.
    records = _read(outcome, bundle)
    # 6. Signatures.
    signed = find_signed(outcome, records, find_keys(outcome, records), advance)
    # 7. Standing.
    ledger = root.pins.ledger(checkpoint.origin).key_id
    heard = find_heard(outcome, signed, root.pins, ledger)
    _verify_any(outcome, bundle, heard)
    # 8. Chains.
    follow_chains(outcome, heard, bundle.selection)
    # 9. The beginning.
    _verify_beginning(outcome, heard, root.pins, ledger)
    return outcome


def _verify_whole(outcome: Outcome, bundle: OfflineBundle, checkpoint: Checkpoint) -> None:
    selection = bundle.selection
    if not isinstance(selection, Everything):
        words = "that no key ended before it spoke: another record may revoke it or rotate it away"
        outcome.beyond.append(Remark("ENDED_KEYS", words))
    if isinstance(selection, SaidBy):
        words = f"that {selection.author.hex()} said no more than this in the log"
        outcome.beyond.append(Remark("MORE_SAID", words))
        return
    first, last = (0, checkpoint.size - 1)
    if isinstance(selection, RangeOf):
        first, last = selection.first, selection.last
    held = sum(first <= index <= last for index in bundle.indices)
    missing = last - first + 1 - held
    if missing:
        words = (
            f"{missing} of the records from {first} to {last}, which were selected, are not here"
        )
        outcome.miss("RECORDS_MISSING", words)
    else:
        outcome.hold("WHOLE", f"every record from {first} to {last} is here")


def _verify_any(outcome: Outcome, bundle: OfflineBundle, heard: Sequence[Said]) -> None:
    selection = bundle.selection
    if isinstance(selection, SaidBy) and not any(
        said.header.author == selection.author for said in heard
    ):
        words = f"nothing that {selection.author.hex()} said is here"
        outcome.miss("RECORDS_MISSING", words)


def _read(outcome: Outcome, bundle: OfflineBundle) -> list[Said]:
    """Return the records that are ones, each with its body where that is the right one."""
    records: list[Said] = []
    held = 0
    for index, leaf, body in zip(bundle.indices, bundle.records, bundle.bodies, strict=True):
        try:
            said = read_said(index, leaf, body)
        except StatementError as error:
            outcome.refute(error.reason, str(error), index)
            continue
        if body is None:
            words = f"the body of this {said.kind} is not here"
            outcome.miss("BODY_NOT_HELD", words, index)
        else:
            try:
                verify_stored(body, said.header.stored_digest)
                verify_plain(said)
                held += 1
            except StatementError as error:
                outcome.refute(error.reason, str(error), index)
                said = read_said(index, leaf, None)
        records.append(said)
    if held:
        outcome.hold("BODIES", f"{held} bodies have the digests in their records")
    return records


def _verify_beginning(outcome: Outcome, heard: Sequence[Said], pins: Pins, ledger: bytes) -> None:
    first = heard[0] if heard and heard[0].index == 0 else None
    if first is None or first.body is None:
        outcome.miss("BEGINNING_NOT_SHOWN", "leaf 0, with which the log began, is not shown")
        return
    try:
        content = parse_content(Kind.AGREEMENT, decode_body(first.body))
        assert isinstance(content, governance_pb2.Agreement)  # noqa: S101 - for the type checker
    except StatementError as error:
        outcome.refute(error.reason, str(error), 0)
        return
    found = (first.header.kind, first.header.author, agreement_digest(content.text))
    if found != (Kind.AGREEMENT, ledger, pins.digest):
        words = "the log did not begin with its ledger's statement of this agreement"
        outcome.refute("OTHER_BEGINNING", words, 0)
        return
    outcome.hold("BEGINNING", "the log began with this agreement, said by its ledger")
