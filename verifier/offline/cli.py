"""``stillwatch verify``: check what somebody hands over.

Bundles and single records take no network, no log and no more than the base install; a verdict takes a log, and what
audits take.
"""

import json
import re
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final, NoReturn

import click
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization

from statements.body import BODY_LIMIT
from statements.errors import PinsError, SignatureError, StatementError
from statements.offline_bundle import BUNDLE_LIMIT, decode_offline_bundle
from statements.options import output_option
from statements.pins import agreement_digest, read_pins
from statements.signing import VerifyingKey
from statements.tls import ClientTls
from statements.tls_option import tls_option
from tlog.errors import TlogError
from tlog.proof import PROOF_LIMIT, parse_proof
from tlog.tile import ENTRY_LIMIT
from verifier.errors import VerifierError
from verifier.offline.bundle import verify_bundle
from verifier.offline.outcome import Conclusion, Outcome, Remark
from verifier.offline.record import Exhibit, verify_record
from verifier.options import workers_option

_FILE = click.Path(path_type=Path, dir_okay=False, exists=True)
_DIGEST: Final = re.compile("sha256:([0-9a-f]{64})")
_MOST_SHOWN: Final = 20
_KEY_LIMIT: Final = 1 << 14
_EXITS: Final = {Conclusion.VERIFIED: 0, Conclusion.REFUTED: 1, Conclusion.INCOMPLETE: 3}


class _CouldNotRun(click.ClickException):
    exit_code = 4


def _digest(_context: click.Context, _parameter: click.Parameter, text: str | None) -> bytes | None:
    if text is None:
        return None
    found = _DIGEST.fullmatch(text)
    if found is None:
        raise click.BadParameter("it is sha256: and 64 hexadecimal digits")
    return bytes.fromhex(found[1])


class _Verifications(click.Group):
    """The group whose exit statuses are conclusions: a defect of ours refutes nothing, and must not exit with 1."""

    def invoke(self, ctx: click.Context) -> object:
        """Run a command; whatever stops it is exit status 4."""
        try:
            return super().invoke(ctx)
        except (click.ClickException, click.exceptions.Exit):
            raise
        except (KeyboardInterrupt, click.Abort):
            raise _CouldNotRun("interrupted: nothing is concluded") from None
        except OSError as error:
            raise _CouldNotRun(f"{error.strerror}: nothing is concluded") from error
        except Exception as error:
            traceback.print_exc()
            raise _CouldNotRun(
                f"{type(error).__name__}: a defect of this program; nothing is concluded. Please report the trace above"
            ) from error


@click.group(cls=_Verifications)
def verify() -> None:
    """Check bundles, single records and verdicts that somebody hands over.

    Exit status: 0 verified, 1 refuted, 2 usage, 3 nothing refuted but something missing, 4 could not run.

    \b
    Example:
      stillwatch verify bundle part.bundle.tar --agreement-digest sha256:HEX
      stillwatch verify record --agreement agreement.toml --proof 12.tlog-proof --record 12.record
      stillwatch verify report verdict.json --agreement agreement.toml --log mirror
    """


@verify.command()
@click.argument("file", type=_FILE)
@click.option(
    "--agreement-digest",
    "digest",
    metavar="sha256:HEX",
    callback=_digest,
    required=True,
    help="The agreement's digest, as you had it from elsewhere than the bundle.",
)
@output_option
def bundle(file: Path, digest: bytes, output: str) -> NoReturn:
    """Verify records that `stillwatch ledger export` wrote.

    \b
    Example:
      stillwatch verify bundle part.bundle.tar --agreement-digest sha256:HEX -o json
    """
    data = _read(file, BUNDLE_LIMIT)
    outcome = _tried(str(file), lambda: _verified(data, digest))
    _show(outcome, output)
    raise SystemExit(exit_status(outcome.conclusion))


@verify.command()
@click.option("--agreement", "agreement_path", type=_FILE, required=True, help="The TOML file.")
@click.option(
    "--agreement-digest",
    "digest",
    metavar="sha256:HEX",
    callback=_digest,
    help="The agreement's digest, as you had it from elsewhere: another file is refused.",
)
@click.option("--proof", "proof_path", type=_FILE, required=True, help="A C2SP tlog-proof.")
@click.option("--record", "record_path", type=_FILE, required=True, help="The record's 380 bytes.")
@click.option("--body", "body_path", type=_FILE, help="The record's stored body.")
@click.option("--key", "key_path", type=_FILE, help="Its author's public key, PEM or DER.")
@output_option
def record(
    *,
    agreement_path: Path,
    digest: bytes | None,
    proof_path: Path,
    record_path: Path,
    body_path: Path | None,
    key_path: Path | None,
    output: str,
) -> NoReturn:
    """Verify one record that `stillwatch ledger prove` wrote.

    Exits with 0 when all that was given holds; what was not given is printed as not verified.

    \b
    Example:
      stillwatch verify record --agreement agreement.toml --agreement-digest sha256:HEX \\
        --proof 12.tlog-proof --record 12.record --body 12.body
    """
    agreement = _read(agreement_path, BODY_LIMIT)
    _verify_named(agreement_path, agreement, digest)
    key = None if key_path is None else _key(key_path)
    leaf, proof = _read(record_path, ENTRY_LIMIT), _read(proof_path, PROOF_LIMIT)
    body = None if body_path is None else _read(body_path, BODY_LIMIT)
    outcome = _tried(
        str(record_path),
        lambda: verify_record(Exhibit(leaf, parse_proof(proof), body, key), agreement, digest),
    )
    _show(outcome, output)
    raise SystemExit(1 if outcome.conclusion is Conclusion.REFUTED else 0)


@verify.command()
@click.argument("file", type=_FILE)
@click.option("--agreement", "agreement_path", type=_FILE, required=True, help="The TOML file.")
@click.option(
    "--agreement-digest",
    "digest",
    metavar="sha256:HEX",
    callback=_digest,
    help="The agreement's digest, as you had it from elsewhere: another file is refused.",
)
@click.option(
    "--log",
    "place",
    required=True,
    metavar="URL_OR_PATH",
    help="Where the log is served, a mirror of it, or a bundle of all of it.",
)
@click.option(
    "--open-with",
    "reader_paths",
    type=_FILE,
    multiple=True,
    help="A reader's key, to open what is sealed to it; may be repeated.",
)
@workers_option
@tls_option
@output_option
def report(
    *,
    file: Path,
    agreement_path: Path,
    digest: bytes | None,
    place: str,
    reader_paths: tuple[Path, ...],
    workers: int,
    tls: ClientTls | None,
    output: str,
) -> NoReturn:
    """Verify a verdict of somebody else's: whether it follows, byte for byte, from the log that it names.

    The log may have gone on since. Exits with 1 when it does not follow, and with 3 when that cannot be told from what
    is here: the log ends before, other bodies can be read, or this version of the software is another.

    \b
    Example:
      stillwatch verify report verdict.json --agreement agreement.toml --log mirror --open-with reader.key
    """
    verdict = _read(file, BODY_LIMIT)
    agreement = _read(agreement_path, BODY_LIMIT)
    _verify_named(agreement_path, agreement, digest)
    try:
        from verifier.report.beside_log import Beside  # noqa: PLC0415 - takes what audits take
        from verifier.report.document import ReportError  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise _CouldNotRun(
            f"`stillwatch verify report` needs {error.name}: pip install 'stillwatch[verifier]'"
        ) from None
    try:
        outcome = Beside(agreement, place, reader_paths, tls).verify(verdict, workers)
    except ReportError as error:
        outcome = Outcome(refuted=[Remark(error.reason, str(error))])
    except (StatementError, TlogError, VerifierError) as error:
        raise _CouldNotRun(f"{error} [{error.reason}]: nothing is concluded") from error
    outcome.subject = str(file)
    if digest is None:
        outcome.beyond.append(
            Remark(
                "AGREEMENT_NOT_NAMED",
                "whether this is the agreement that you mean: name its digest",
            )
        )
    _show(outcome, output)
    raise SystemExit(exit_status(outcome.conclusion))


def _verified(data: bytes, digest: bytes) -> Outcome:
    """Verify a bundle's bytes; whoever watches on a terminal sees how far it is."""
    decoded = decode_offline_bundle(data)
    if not sys.stderr.isatty():
        return verify_bundle(decoded, digest)
    with click.progressbar(
        length=len(decoded.records), label="signatures", file=sys.stderr, update_min_steps=200
    ) as bar:
        return verify_bundle(decoded, digest, bar.update)


def exit_status(conclusion: Conclusion) -> int:
    """Return the exit status of a verification: never 0 on incomplete evidence."""
    return _EXITS[conclusion]


def _verify_named(path: Path, agreement: bytes, digest: bytes | None) -> None:
    """Refuse an agreement that cannot be used, or is not the one named, as a fault of the command line."""
    try:
        read_pins(agreement)
    except PinsError as error:
        raise click.UsageError(f"{path}: {error} [{error.reason}]") from None
    found = agreement_digest(agreement)
    if digest is not None and digest != found:
        raise click.UsageError(f"{path}: is sha256:{found.hex()}, not the agreement that you named")


def _key(path: Path) -> VerifyingKey:
    data = _read(path, _KEY_LIMIT)
    try:
        if data.startswith(b"-----BEGIN"):
            public = serialization.load_pem_public_key(data)
            data = public.public_bytes(
                serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
            )
        return VerifyingKey.from_spki(data)
    except (ValueError, UnsupportedAlgorithm, SignatureError):
        raise click.UsageError(f"{path} is no ECDSA P-256 public key in PEM or DER") from None


def _read(path: Path, most: int) -> bytes:
    """Return a file's bytes, or one more than ``most`` of a larger one, which whoever reads them refuses."""
    try:
        with path.open("rb") as file:
            return file.read(most + 1)
    except OSError as error:
        raise _CouldNotRun(f"cannot read {path}: {error.strerror}") from error


def _tried(subject: str, attempt: Callable[[], Outcome]) -> Outcome:
    """Return an outcome; one that is refuted when nothing else can be said any more."""
    try:
        return attempt()
    except (StatementError, TlogError, VerifierError) as error:
        return Outcome(subject, refuted=[Remark(error.reason, str(error))])


def _show(outcome: Outcome, output: str) -> None:
    if output == "json":
        tree = {
            "conclusion": outcome.conclusion.value,
            "subject": outcome.subject,
            "verified": _tree(outcome.verified),
            "refuted": _tree(outcome.refuted),
            "not_verified": _tree(outcome.missing),
            "cannot_show": _tree(outcome.beyond),
        }
        click.echo(json.dumps(tree, indent=2))
        return
    click.echo(_printable(f"{outcome.subject}: {outcome.conclusion.value}"))
    for heading, remarks in (
        ("verified", outcome.verified),
        ("REFUTED", outcome.refuted),
        ("not verified", outcome.missing),
        ("cannot be shown by this", outcome.beyond),
    ):
        if remarks:
            click.echo(f"\n{heading}")
            for line in _lines(remarks):
                click.echo(f"  {_printable(line)}")


def _printable(line: str) -> str:
    """Return a line in which nothing moves a terminal's cursor."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in line)


def _tree(remarks: Sequence[Remark]) -> list[dict[str, str | int]]:
    rows: list[dict[str, str | int]] = []
    for remark in remarks:
        row: dict[str, str | int] = {"reason": remark.reason, "message": remark.message}
        if remark.index is not None:
            row["index"] = remark.index
        rows.append(row)
    return rows


def _lines(remarks: Sequence[Remark]) -> Iterator[str]:
    for remark in remarks[:_MOST_SHOWN]:
        where = "" if remark.index is None else f"record {remark.index}: "
        yield f"{where}{remark.message} [{remark.reason}]"
    if len(remarks) > _MOST_SHOWN:
        yield f"… and {len(remarks) - _MOST_SHOWN} more: -o json lists all"
