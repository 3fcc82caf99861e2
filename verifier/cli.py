"""``stillwatch audit``: read a log, and say what each party kept, broke, or left open."""

import json
import traceback
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Final, NoReturn

import click

from protos.stillwatch.statement.v1 import governance_pb2
from statements.clock import parse_clock
from statements.errors import StatementError
from statements.keys import read_author, read_signing_key
from statements.ledger_client import LedgerClient
from statements.log_trust import LogTrust
from statements.options import clock_option, output_option
from statements.pins import Role
from statements.publication import publish
from statements.reading_keys import pinned_as, write_reading_key
from statements.sealing import ReadingKey
from statements.tls import ClientTls
from statements.tls_option import tls_option
from verifier.agreement.errors import AgreementError
from verifier.agreement.events import events_from
from verifier.agreement.model import Agreement, Stage
from verifier.agreement.parse import parse_agreement
from verifier.checks.interface import Span
from verifier.duties import read_calendar
from verifier.errors import VerifierError
from verifier.evidence.gather import Evidence, gather
from verifier.evidence.listed_readers import read_listed_readers
from verifier.forks_cli import forks
from verifier.instants import InstantError, parse_instant
from verifier.mirror.errors import InconsistentLogError, MirrorError
from verifier.mirror.handed import with_handed
from verifier.mirror.moment import Moment, as_it_was
from verifier.mirror.prefix import LogPrefix, fetch_prefix, served_log
from verifier.mirror.refresh import refresh
from verifier.mirror.shelf import Shelf
from verifier.mirror.source import FolderSource, HttpSource, open_source
from verifier.mirror.watch_cli import watch
from verifier.options import (
    agreement_digest_option,
    agreement_option,
    log_option,
    workers_option,
)
from verifier.report.document import Document, decode_document, encode_document, to_document
from verifier.report.registry import FORMATS
from verifier.ruleset import own_ruleset
from verifier.verdict import Conclusion, Verdict, conclude
from verifier.workers import open_workers

COULD_NOT_RUN: Final = 4
_EXITS: Final = {"compliant": 0, "violation": 1}
_INCONCLUSIVE: Final = 3
_FILE = click.Path(path_type=Path, dir_okay=False, exists=True)
_OUTPUT = click.option(
    "-o",
    "--output",
    type=click.Choice(list(FORMATS)),
    default="text",
    show_default=True,
    help="How to print the verdict.",
)


class _CouldNotRun(click.ClickException):
    exit_code = COULD_NOT_RUN


class _Audits(click.Group):
    """The group whose exit statuses are conclusions: what ends early concluded nothing, and must not exit with 1."""

    def invoke(self, ctx: click.Context) -> object:
        """Run a command; whatever stops it, a defect of ours included, is exit status 4."""
        try:
            return super().invoke(ctx)
        except (click.ClickException, click.exceptions.Exit):
            raise
        except (KeyboardInterrupt, click.Abort):
            raise _CouldNotRun("interrupted: nothing is concluded") from None
        except Exception as error:
            reason = getattr(error, "reason", None)
            if isinstance(reason, str):
                raise _CouldNotRun(f"{error} [{reason}]") from error
            traceback.print_exc()
            raise _CouldNotRun(
                f"{type(error).__name__}: a defect of this program; nothing is concluded. Please report the trace above"
            ) from error


@click.group(cls=_Audits)
def audit() -> None:
    """Audit a pause from its log.

    Exit status: 0 every party compliant, 1 a violation, 2 usage, 3 inconclusive, 4 the audit could not run.

    \b
    Example:
      stillwatch audit run --agreement agreement.toml --log https://log.example.org/ \\
        --period 2026-06-01T00:00:00Z/2026-07-01T00:00:00Z --mirror mirror/ --out verdict.json
      stillwatch audit show verdict.json
    """


audit.add_command(forks)
audit.add_command(watch)


@audit.command()
@agreement_option
@agreement_digest_option
@log_option
@click.option(
    "--period",
    "period_text",
    required=True,
    metavar="FROM/TO",
    help="Two RFC 3339 instants; or `stage`: the newest time in force, as far as it can be assessed.",
)
@click.option(
    "--mirror",
    "mirror_path",
    type=click.Path(path_type=Path, file_okay=False),
    help="Keep a verified copy of the log here, which never goes backwards.",
)
@click.option(
    "--bodies",
    "handed_places",
    metavar="URL_OR_DIR",
    multiple=True,
    help="Where bodies are that the log does not serve, such as a party's mirror; may be repeated.",
)
@click.option(
    "--at-size",
    type=click.IntRange(min=1),
    help="Audit the log as it was with so many records.  [default: as it is]",
)
@click.option(
    "--at-checkpoint",
    "checkpoint_path",
    type=_FILE,
    help="Audit the log as it was at a signed checkpoint.",
)
@click.option(
    "--out",
    "out_path",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write the verdict's JSON here.",
)
@click.option(
    "--open-with",
    "reader_paths",
    type=_FILE,
    multiple=True,
    help="A reader's key, to open what is sealed to it; may be repeated.",
)
@workers_option
@click.option("--publish", "ledger", metavar="HOST:PORT", help="Log the verdict at this ledger.")
@click.option("--key", "key_path", type=_FILE, help="A verifier's key, to publish with.")
@tls_option
@clock_option
@_OUTPUT
def run(
    *,
    agreement_path: Path,
    agreement_digest: str | None,
    place: str,
    period_text: str,
    mirror_path: Path | None,
    handed_places: tuple[str, ...],
    at_size: int | None,
    checkpoint_path: Path | None,
    out_path: Path | None,
    reader_paths: tuple[Path, ...],
    workers: int,
    ledger: str | None,
    key_path: Path | None,
    tls: ClientTls | None,
    clock_text: str | None,
    output: str,
) -> NoReturn:
    """Read a log, verify every byte, and conclude on every party.

    \b
    Example:
      stillwatch audit run --agreement agreement.toml --log mirror/ \\
        --period 2026-06-01T00:00:00Z/2026-07-01T00:00:00Z --workers 4 -o json
    """
    text = agreement_path.read_bytes()
    agreement = _agreement(text, agreement_path, agreement_digest)
    if (ledger is None) != (key_path is None):
        raise click.UsageError("--publish and --key go together")
    if key_path is not None:
        _verify_may_publish(agreement, key_path)
    readers = _readers(agreement, reader_paths)
    if at_size is not None and checkpoint_path is not None:
        raise click.UsageError("give --at-size or --at-checkpoint")
    moment = checkpoint_path.read_bytes() if checkpoint_path is not None else at_size
    named = None if period_text == "stage" else _period(period_text)
    try:
        places = [open_source(one, tls) for one in (place, *handed_places)]
        with open_workers(workers) as executor:
            evidence = _evidence(agreement, places, mirror_path, readers, moment)
            period = named or stage_period(agreement, evidence)
            verdict = conclude(text, evidence, period, own_ruleset(), executor)
        document = to_document(verdict)
        data = encode_document(document)
        if out_path is not None:
            out_path.write_bytes(data)
        if ledger is not None and key_path is not None:
            origin = evidence.prefix.origin
            now_ms = parse_clock(clock_text, origin).now_ms()
            message = verdict_message(verdict, data)
            with LedgerClient(ledger, tls) as client:
                published = publish(
                    client, key_path, message, now_ms=now_ms, pins=agreement.pins, origin=origin
                )
            click.echo(
                f"logged as statement {published.statement_id.hex()} at index {published.index}",
                err=True,
            )
    except InconsistentLogError as error:
        click.echo(error.spelt_out(), err=True, nl=False)
        raise _CouldNotRun(f"{error} [{error.reason}]: {error.advice}") from error
    except (VerifierError, StatementError) as error:
        raise _CouldNotRun(f"{error} [{error.reason}]") from error
    except OSError as error:
        raise _CouldNotRun(f"{error.filename or 'a file'}: {error.strerror}") from error
    click.echo(FORMATS[output].render(document), nl=False)
    raise SystemExit(exit_status(party.verdict for party in document.parties))


@audit.command()
@click.option(
    "--key",
    "key_path",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    help="File to write; mode 0600.",
)
@output_option
def keygen(key_path: Path, output: str) -> None:
    """Draw a reader's key: who holds it opens what agreements have sealed to it.

    What is printed is what an agreement says of the reader, in [[disclosure.classes]]. Keep the file: what was sealed
    to a lost key opens no more.

    \b
    Example:
      stillwatch audit keygen --key reader.key
      stillwatch audit run --open-with reader.key ...
    """
    key = ReadingKey.generate()
    try:
        write_reading_key(key_path, key)
    except StatementError as error:
        raise _CouldNotRun(f"{error} [{error.reason}]") from error
    said = {"pinned_as": pinned_as(key.public), "key": str(key_path)}
    if output == "json":
        click.echo(json.dumps(said, indent=2))
    else:
        click.echo("\n".join(f"{name:<10} {value}" for name, value in said.items()))


@audit.command()
@click.argument("file", type=_FILE)
@_OUTPUT
def show(file: Path, output: str) -> NoReturn:
    """Show a verdict that was written before; the exit status is that of its audit.

    Nothing is verified: run the audit again for that.

    \b
    Example:
      stillwatch audit show verdict.json
    """
    try:
        document: Document = decode_document(file.read_bytes())
    except VerifierError as error:
        raise _CouldNotRun(f"{file}: {error} [{error.reason}]") from error
    click.echo(FORMATS[output].render(document), nl=False)
    raise SystemExit(exit_status(party.verdict for party in document.parties))


def exit_status(verdicts: Iterable[str]) -> int:
    """Return the exit status over parties: 4 > 1 > 3 > 0; 4 when there is nobody to conclude on."""
    statuses = {_EXITS.get(verdict, _INCONCLUSIVE) for verdict in verdicts} or {COULD_NOT_RUN}
    return next(status for status in (COULD_NOT_RUN, 1, _INCONCLUSIVE, 0) if status in statuses)


def stage_period(agreement: Agreement, evidence: Evidence) -> Span:
    """Return the newest time in force, suspension included, as far as it can be assessed.

    Raises :class:`VerifierError` when the agreement was not in force yet, or not for long enough.
    """
    calendar = read_calendar(agreement, events_from(agreement, evidence.said), evidence.as_of_ms)
    bound = [
        (span.from_ms, span.to_ms)
        for span in calendar.stages
        if span.stage in {Stage.IN_FORCE, Stage.SUSPENDED}
    ]
    joined: list[Span] = []
    for start, end in bound:
        if joined and joined[-1][1] == start:
            start = joined.pop()[0]  # noqa: PLW2901 - a suspension does not interrupt what is owed
        joined.append((start, end))
    assessable = evidence.as_of_ms - agreement.pins.late_grace_ms
    if not joined or min(joined[-1][1], assessable) <= joined[-1][0]:
        raise VerifierError(
            "NOT_IN_FORCE",
            "the agreement has not been in force for longer than the grace: give --period FROM/TO",
        )
    return joined[-1][0], min(joined[-1][1], assessable)


def _agreement(text: bytes, path: Path, digest: str | None) -> Agreement:
    try:
        agreement = parse_agreement(text)
    except AgreementError as error:
        raise click.UsageError(f"{path}: {error} [{error.reason}]") from None
    found = f"sha256:{agreement.digest.hex()}"
    if digest is not None and digest != found:
        raise click.UsageError(f"{path}: is {found}, not the agreement that you named")
    return agreement


def _period(text: str) -> Span:
    parts = text.split("/")
    if len(parts) != 2:
        raise click.UsageError(f"--period is FROM/TO or `stage`, not {text!r}")
    try:
        start, end = (parse_instant(part) for part in parts)
    except InstantError as error:
        raise click.UsageError(f"--period: {error}") from None
    if start >= end:
        raise click.UsageError("--period ends before it starts")
    return start, end


def _readers(agreement: Agreement, paths: tuple[Path, ...]) -> list[ReadingKey]:
    """Return the keys in files; one that the agreement lists as nobody's opens nothing, and is a mistake."""
    try:
        return read_listed_readers(agreement.pins, paths)
    except (VerifierError, StatementError) as error:
        raise click.UsageError(f"{error} [{error.reason}]") from None


def _evidence(
    agreement: Agreement,
    places: Sequence[FolderSource | HttpSource],
    mirror: Path | None,
    readers: list[ReadingKey],
    moment: Moment | None,
) -> Evidence:
    """Return what the log at the first place shows, with bodies that it lacks from the others."""
    source, *handed = places
    with ExitStack() as stack:
        for one in places:
            if isinstance(one, HttpSource):
                stack.enter_context(one)
        trust = served_log(source, agreement.pins)
        shelf = None if mirror is None else stack.enter_context(Shelf.open(mirror))
        if mirror is None or shelf is None:
            prefix, folder = fetch_prefix(source, trust), Path(source.place)
        else:
            refresh(source, shelf, trust)
            prefix, folder = _mirrored(mirror, trust), mirror
        for one in handed:
            prefix = with_handed(prefix, one, shelf)
        prefix = _then(prefix, moment, trust, folder)
        if shelf is not None:
            shelf.keep_note(prefix.size, prefix.note)
    return gather(agreement.pins, prefix, readers)


def _then(prefix: LogPrefix, moment: Moment | None, trust: LogTrust, folder: Path) -> LogPrefix:
    """Return the log as it was at the moment that the command line names, if it does."""
    return prefix if moment is None else as_it_was(prefix, moment, trust, folder)


def _mirrored(mirror: Path, trust: LogTrust) -> LogPrefix:
    """Return what a mirror holds, every byte of it verified again."""
    try:
        return fetch_prefix(FolderSource(mirror), trust)
    except MirrorError as error:
        raise MirrorError(
            "MIRROR_DAMAGED",
            f"the mirror is not what was once checked ({error}) [{error.reason}]: `stillwatch audit watch --once "
            "--check-all` fetches anew what is damaged",
        ) from None


def _verify_may_publish(agreement: Agreement, key_path: Path) -> None:
    try:
        author = read_author(key_path, read_signing_key(key_path))
    except StatementError as error:
        raise click.UsageError(f"{error} [{error.reason}]") from None
    pin = agreement.pins.by_key.get(author)
    if pin is None or pin.role is not Role.VERIFIER:
        raise click.UsageError(
            f"{key_path}: the agreement does not list this key among [[verifiers]]"
        )


_CONCLUSIONS: Final = {
    Conclusion.COMPLIANT: governance_pb2.PartyOutcome.CONCLUSION_COMPLIANT,
    Conclusion.VIOLATION: governance_pb2.PartyOutcome.CONCLUSION_VIOLATION,
    Conclusion.ANOMALY: governance_pb2.PartyOutcome.CONCLUSION_ANOMALY,
    Conclusion.UNRESOLVED: governance_pb2.PartyOutcome.CONCLUSION_UNRESOLVED,
    Conclusion.NOT_ASSESSED: governance_pb2.PartyOutcome.CONCLUSION_NOT_ASSESSED,
}


def verdict_message(verdict: Verdict, data: bytes) -> governance_pb2.Verdict:
    """Return the statement's body for a verdict; ``data`` are the canonical bytes of its document."""
    return governance_pb2.Verdict(
        agreement=verdict.agreement,
        json=data,
        parties=[
            governance_pb2.PartyOutcome(
                party=party.party,
                conclusion=_CONCLUSIONS[party.conclusion],
                open_findings=party.open_findings,
            )
            for party in verdict.parties
        ],
    )
