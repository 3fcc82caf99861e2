"""``stillwatch ledger``: run and check a transparency log."""

import secrets
from collections.abc import Sequence
from pathlib import Path

import click

from ledger.address import parse_address
from ledger.errors import ObjectError, SetupError
from ledger.examination import Examination
from ledger.folder import LedgerFolder
from ledger.forms import ENTRIES, read_form
from ledger.founding import found
from ledger.fsck import examine
from ledger.journal.registry import open_journal
from ledger.objects.directory import DirectoryStore
from ledger.objects.registry import open_store
from ledger.output import clock_option, log_as_json, output_option, show
from ledger.proofs import Prover
from ledger.publisher import CHECKPOINT, Publisher
from ledger.server import Serving, serve
from statements.clock import parse_clock
from tlog.checkpoint import parse_checkpoint
from tlog.errors import ProofError
from tlog.merkle import leaf_hash, verify_inclusion
from tlog.note import parse_note
from tlog.tile import WIDTH, bundle_path, decode_bundle

_MOST_SHOWN = 100

_folder = click.argument("folder", metavar="DIR", type=click.Path(path_type=Path, file_okay=False))


@click.group()
def ledger() -> None:
    """Run and check a transparency log.

    \b
    Example:
      stillwatch ledger init log --origin log.example/pause
      stillwatch ledger init log --agreement agreement.toml
      stillwatch ledger serve log
      stillwatch ledger fsck log
    """
    log_as_json()


@ledger.command()
@_folder
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


@ledger.command("serve")
@_folder
@click.option("--grpc", "grpc_text", default="127.0.0.1:7701", show_default=True, help="HOST:PORT")
@click.option("--http", "http_text", default="127.0.0.1:7702", show_default=True, help="HOST:PORT")
@click.option(
    "--ready-file", type=click.Path(path_type=Path, dir_okay=False), help="Written when serving."
)
@click.option(
    "--beat",
    type=click.FloatRange(0.01, 3600),
    default=1.0,
    show_default=True,
    help="Real seconds between checkpoints.",
)
@click.option(
    "--tick",
    type=click.FloatRange(1, 86_400),
    help="Seconds of the log's clock between ticks.  [default: the agreement's]",
)
@clock_option
def serve_command(
    *,
    folder: Path,
    grpc_text: str,
    http_text: str,
    ready_file: Path | None,
    beat: float,
    tick: float | None,
    clock_text: str | None,
) -> None:
    """Serve a log until stopped. SIGTERM drains: what was read is answered first.

    \b
    Example:
      stillwatch ledger serve log --grpc 127.0.0.1:7701 --http 127.0.0.1:7702
    """
    opened = LedgerFolder.open(folder)
    how = Serving(
        grpc=parse_address(grpc_text, "--grpc"),
        http=parse_address(http_text, "--http"),
        beat_s=beat,
        tick_ms=None if tick is None else round(tick * 1000),
        ready_file=ready_file,
    )
    serve(opened, parse_clock(clock_text, opened.origin), how)


@ledger.command()
@_folder
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


@ledger.command()
@_folder
@click.argument("index", type=click.IntRange(min=0))
@output_option
def prove(folder: Path, index: int, output: str) -> None:
    """Prove that a record is in the tree of the newest checkpoint.

    \b
    Example:
      stillwatch ledger prove log 12 -o json
    """
    objects = DirectoryStore(folder)
    note = _read(objects, CHECKPOINT)
    tree = parse_checkpoint(parse_note(note))
    if index >= tree.size:
        raise ProofError("OUT_OF_RANGE", f"there is no record {index} in a tree of {tree.size}")
    bundle, at = divmod(index, WIDTH)
    width = min(WIDTH, tree.size - bundle * WIDTH)
    read = read_form(objects, ENTRIES, bundle, width)
    if read is None:
        raise ObjectError("MISSING_FILE", f"{bundle_path(bundle, width)} is missing: run fsck")
    form, data = read
    record = decode_bundle(data, form.width)[at]
    hashes = Prover(objects, tree.size).inclusion(index, tree.size)
    verify_inclusion(index, tree.size, leaf_hash(record), hashes, tree.root)
    result = {
        "index": index,
        "size": tree.size,
        "record": record.hex(),
        "hashes": [value.hex() for value in hashes],
        "checkpoint": note.decode(),
    }
    show(
        output,
        result,
        [
            f"record {index} is in the tree of {tree.size} records; {len(hashes)} hashes lead to its root:",
            *(f"  {value.hex()}" for value in hashes),
        ],
    )


@ledger.command()
@_folder
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
