"""The commands of ``stillwatch ledger`` that work on a log's folder: each does what it does, and ends."""

import re
import secrets
from collections.abc import Sequence
from pathlib import Path

import click

from ledger.errors import ExportError, ObjectError, SetupError
from ledger.examination import Examination
from ledger.export import Served, export
from ledger.folder import LedgerFolder
from ledger.founding import found
from ledger.fsck import examine
from ledger.journal.registry import open_journal
from ledger.objects.directory import DirectoryStore
from ledger.objects.registry import open_store
from ledger.output import folder_argument, show, write_file
from ledger.publisher import CHECKPOINT, Publisher
from statements.clock import parse_clock
from statements.offline_bundle import (
    Everything,
    RangeOf,
    SaidBy,
    Selection,
    encode_offline_bundle,
)
from statements.options import clock_option, output_option
from statements.pins import agreement_digest
from tlog.checkpoint import parse_checkpoint
from tlog.errors import ProofError
from tlog.merkle import leaf_hash, verify_inclusion
from tlog.note import parse_note
from tlog.proof import LogProof

_MOST_SHOWN = 100

_FILE = click.Path(path_type=Path, dir_okay=False)


@click.command()
@folder_argument
@click.option("--origin", help="First step: the log's name, for ever; like log.example/pause.")
@click.option(
    "--agreement",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Second step: the agreement to log as leaf 0.",
)
@clock_option
@output_option
def init(
    folder: Path, origin: str | None, agreement: Path | None, clock_text: str | None, output: str
) -> None:
    """Make a ledger, in two steps.

    With --origin: draw its keys, and print what the agreement must say of it. With --agreement: check that the
    agreement says it, and log it as leaf 0.

    \b
    Example:
      stillwatch ledger init log --origin log.example/pause
      stillwatch ledger init log --agreement agreement.toml
    """
    if (origin is None) == (agreement is None):
        raise click.UsageError(
            "give --origin to make a ledger's keys, then --agreement to begin its log"
        )
    if origin is not None:
        made = LedgerFolder.create(folder, origin)
        result = {
            "origin": made.origin,
            "vkey": made.signer.vkey,
            "key": f"sha256:{made.key.key_id.hex()}",
        }
        show(output, result, ["Put this into the agreement:", "", made.stanza.rstrip()])
        return
    assert agreement is not None  # noqa: S101 - one of the two is given
    _begin(folder, agreement, clock_text, output)


def _begin(folder: Path, agreement: Path, clock_text: str | None, output: str) -> None:
    try:
        text = agreement.read_bytes()
    except OSError as error:
        raise SetupError("UNREADABLE", f"cannot read {agreement}: {error.strerror}") from error
    opened = LedgerFolder.open(folder)
    clock = parse_clock(clock_text, opened.origin)
    with opened.held():
        journal = open_journal(opened.journal, opened.private)
        try:
            pins = found(opened, journal, text, clock, secrets.token_bytes)
            size = journal.size()
            if pins.policy.quorum is None:
                publisher = Publisher(journal, open_store(opened.objects, folder), opened.signer)
                publisher.open()
                publisher.publish()
        finally:
            journal.close()
    result = {
        "origin": opened.origin,
        "agreement": pins.agreement_id,
        "digest": f"sha256:{pins.digest.hex()}",
        "size": size,
    }
    show(
        output,
        result,
        [
            f"{opened.origin} begins with the agreement {pins.agreement_id}",
            f"sha256:{pins.digest.hex()}",
            f"Next: stillwatch ledger serve {folder}",
        ],
    )


@click.command()
@folder_argument
@output_option
def checkpoint(folder: Path, output: str) -> None:
    """Print the newest checkpoint that a folder serves. Nothing is verified: see fsck.

    \b
    Example:
      stillwatch ledger checkpoint log
    """
    note = _read(DirectoryStore(folder), CHECKPOINT)
    tree = parse_checkpoint(parse_note(note))
    result = {
        "origin": tree.origin,
        "size": tree.size,
        "root": tree.root.hex(),
        "note": note.decode(),
    }
    show(output, result, [note.decode().rstrip()])


@click.command()
@folder_argument
@click.argument("index", type=click.IntRange(min=0))
@click.option("--out", type=_FILE, help="Write the proof here, as a C2SP tlog-proof.")
@click.option("--record", "record_path", type=_FILE, help="Write the record's 380 bytes here.")
@click.option("--body", "body_path", type=_FILE, help="Write the record's stored body here.")
@output_option
def prove(
    *,
    folder: Path,
    index: int,
    out: Path | None,
    record_path: Path | None,
    body_path: Path | None,
    output: str,
) -> None:
    """Prove that a record is in the tree of the newest checkpoint.

    What it writes is all that `stillwatch verify record` needs beside the agreement.

    \b
    Example:
      stillwatch ledger prove log 12 -o json
      stillwatch ledger prove log 12 --out 12.tlog-proof --record 12.record --body 12.body
    """
    served = Served(DirectoryStore(folder))
    tree = served.tree
    if index >= tree.size:
        raise ProofError("OUT_OF_RANGE", f"there is no record {index} in a tree of {tree.size}")
    record = served.record(index)
    hashes = served.prover().inclusion(index, tree.size)
    verify_inclusion(index, tree.size, leaf_hash(record), hashes, tree.root)
    body = None if body_path is None else served.body(index)
    if body_path is not None and body is None:
        raise ExportError("BODY_NOT_HELD", f"the log does not hold the body of record {index}")
    proof = LogProof(index, tuple(hashes), served.note).encode()
    for path, data in ((out, proof), (record_path, record), (body_path, body)):
        if path is not None and data is not None:
            write_file(path, data)
    result = {
        "index": index,
        "size": tree.size,
        "record": record.hex(),
        "hashes": [value.hex() for value in hashes],
        "checkpoint": served.note.decode(),
    }
    show(
        output,
        result,
        [
            f"record {index} is in the tree of {tree.size} records; {len(hashes)} hashes lead to its root:",
            *(f"  {value.hex()}" for value in hashes),
        ],
    )


@click.command("export")
@folder_argument
@click.option("--out", type=_FILE, required=True, help="Write the bundle here.")
@click.option("--from", "first", type=click.IntRange(min=0), help="The first record.")
@click.option("--to", "last", type=click.IntRange(min=0), help="The last record, included.")
@click.option("--author", "author_hex", metavar="HEX", help="One author: 64 hexadecimal digits.")
@output_option
def export_command(
    *,
    folder: Path,
    out: Path,
    first: int | None,
    last: int | None,
    author_hex: str | None,
    output: str,
) -> None:
    """Write records into one file that verifies offline, with all that shows whose they are.

    All records, or those from --from to --to, or those of one --author; of a log's folder or a mirror. Check it with
    `stillwatch verify bundle`.

    \b
    Example:
      stillwatch ledger export log --out all.bundle.tar
      stillwatch ledger export log --out part.bundle.tar --from 100 --to 199
    """
    selection = _selection(first, last, author_hex)
    bundle = export(DirectoryStore(folder), selection)
    data = encode_offline_bundle(bundle)
    write_file(out, data)
    tree = parse_checkpoint(parse_note(bundle.note))
    held = sum(body is not None for body in bundle.bodies)
    digest = f"sha256:{agreement_digest(bundle.agreement).hex()}"
    result = {
        "file": str(out),
        "bytes": len(data),
        "selection": str(selection),
        "records": len(bundle.records),
        "bodies": held,
        "origin": tree.origin,
        "size": tree.size,
        "root": tree.root.hex(),
        "agreement_digest": digest,
    }
    count = len(bundle.records)
    show(
        output,
        result,
        [
            f"{out}: {count} of the {tree.size} records of {tree.origin}, {held} bodies, {len(data)} bytes",
            "Whoever gets it needs the agreement's digest from elsewhere, and runs:",
            f"stillwatch verify bundle {out} --agreement-digest {digest}",
        ],
    )


def _selection(first: int | None, last: int | None, author_hex: str | None) -> Selection:
    if author_hex is not None:
        if first is not None or last is not None:
            raise click.UsageError("give --author, or --from and --to")
        if not re.fullmatch("[0-9a-f]{64}", author_hex):
            raise click.UsageError("--author is 64 hexadecimal digits: SHA-256 of its first key")
        return SaidBy(bytes.fromhex(author_hex))
    if first is None and last is None:
        return Everything()
    if first is None or last is None or first > last:
        raise click.UsageError("--from and --to go together, and --to is not before --from")
    return RangeOf(first, last)


@click.command()
@folder_argument
@click.option(
    "--vkey", help="The log's verifier key.  [default: as the log's own agreement pins it]"
)
@output_option
@click.pass_context
def fsck(context: click.Context, folder: Path, vkey: str | None, output: str) -> None:
    """Rebuild a log from the files that it serves, and say what is wrong. Exits 1 when anything is.

    \b
    Example:
      stillwatch ledger fsck log
    """
    if not folder.is_dir():
        raise SetupError("NO_FOLDER", f"there is no folder {folder}")
    found_ = examine(DirectoryStore(folder), folder, vkey)
    show(output, _as_json(found_), list(_as_text(found_)))
    if found_.flaws:
        context.exit(1)


def _as_json(examination: Examination) -> dict[str, object]:
    return {
        "origin": examination.origin,
        "size": examination.size,
        "bodies_held": examination.held,
        "clean": not examination.flaws,
        "flaws": [
            {"place": flaw.place, "reason": flaw.reason, "message": flaw.message}
            for flaw in examination.flaws
        ],
    }


def _as_text(examination: Examination) -> Sequence[str]:
    flaws = examination.flaws
    lines = [f"{flaw.place}: {flaw.message} [{flaw.reason}]" for flaw in flaws[:_MOST_SHOWN]]
    if len(flaws) > _MOST_SHOWN:
        lines.append(f"… and {len(flaws) - _MOST_SHOWN} more: -o json lists all")
    what = (
        f"{examination.size} records, {examination.held} bodies of {examination.origin or 'no log'}"
    )
    lines.append(f"{what}: {f'{len(flaws)} things are wrong' if flaws else 'clean'}")
    return lines


def _read(objects: DirectoryStore, path: str) -> bytes:
    data = objects.get(path)
    if data is None:
        raise ObjectError("MISSING_FILE", f"{path} is missing: is this a log's folder?")
    return data
