"""``stillwatch witness``: cosign logs, so that nobody can show two histories."""

from pathlib import Path

import click

from ledger.address import parse_address
from ledger.errors import SetupError
from ledger.output import serving_tls_option, show
from ledger.tls import ServerTls
from ledger.witness.folder import WitnessFolder
from ledger.witness.server import serve_witness
from statements.clock import REHEARSAL_PREFIX, parse_clock
from statements.daemon_log import log_as_json
from statements.options import clock_option, output_option
from statements.pins import read_pins
from tlog.note import encode_base64

_folder = click.argument("folder", metavar="DIR", type=click.Path(path_type=Path, file_okay=False))


@click.group()
def witness() -> None:
    """Witness logs: cosign their checkpoints when they extend all that was seen of them.

    \b
    Example:
      stillwatch witness init witness --name witness.example/aurora
      stillwatch witness add witness --agreement agreement.toml
      stillwatch witness serve witness
    """
    log_as_json()


@witness.command()
@_folder
@click.option(
    "--name", required=True, help="The name to cosign under; like witness.example/aurora."
)
@output_option
def init(folder: Path, name: str, output: str) -> None:
    """Draw a witness's keys, and print what an agreement's witness policy says of it.

    \b
    Example:
      stillwatch witness init witness --name witness.example/aurora
    """
    made = WitnessFolder.create(folder, name)
    ed25519, ml_dsa = (key.vkey for key in made.keys)
    result = {"name": name, "vkey": ed25519, "ml_dsa_vkey": ml_dsa}
    show(
        output,
        result,
        [
            "Put this into the agreement's witnesses.policy, with a name and an address of its own:",
            "",
            f"witness NAME {ed25519} https://HOST:PORT/",
        ],
    )


@witness.command()
@_folder
@click.option(
    "--agreement",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    required=True,
    help="The agreement whose logs are to be witnessed.",
)
@output_option
def add(folder: Path, agreement: Path, output: str) -> None:
    """Witness the logs that an agreement lists, from now on.

    \b
    Example:
      stillwatch witness add witness --agreement agreement.toml
    """
    opened = WitnessFolder.open(folder)
    pins = read_pins(agreement.read_bytes())
    memory = opened.memory()
    try:
        for ledger in pins.ledgers:
            memory.add_log(ledger.origin, ledger.vkey)
        origins = memory.origins()
    finally:
        memory.close()
    show(
        output,
        {"name": opened.name, "logs": list(origins)},
        [f"{opened.name} witnesses:", *(f"  {origin}" for origin in origins)],
    )


@witness.command()
@_folder
@output_option
def status(folder: Path, output: str) -> None:
    """Say what was cosigned last of each log, and whether one showed two histories. Exits 1 when one did.

    \b
    Example:
      stillwatch witness status witness -o json
    """
    opened = WitnessFolder.open(folder)
    memory = opened.memory()
    rows: list[dict[str, object]] = []
    lines: list[str] = []
    split = False
    try:
        for origin in memory.origins():
            log = memory.log(origin)
            pair = memory.split(origin)
            if log is None:
                continue
            split = split or pair is not None
            rows.append(
                {
                    "origin": origin,
                    "size": log.known.size,
                    "root": encode_base64(log.known.root),
                    "split": None if pair is None else [note.decode() for note in pair],
                }
            )
            lines.append(f"{origin}: cosigned {log.known.size} records")
            if pair is not None:
                lines += [
                    "it signed two trees of one size, which is the proof:",
                    *(n.decode() for n in pair),
                ]
    finally:
        memory.close()
    show(output, {"name": opened.name, "logs": rows}, lines or ["no log is witnessed: see `add`"])
    if split:
        raise SystemExit(1)


@witness.command()
@_folder
@click.option("--http", "http_text", default="127.0.0.1:7703", show_default=True, help="HOST:PORT")
@click.option(
    "--ready-file", type=click.Path(path_type=Path, dir_okay=False), help="Written when serving."
)
@serving_tls_option
@clock_option
def serve(
    *,
    folder: Path,
    http_text: str,
    ready_file: Path | None,
    tls: Path | None,
    clock_text: str | None,
) -> None:
    """Answer logs that ask for cosignatures, until stopped.

    \b
    Example:
      stillwatch witness serve witness --http 127.0.0.1:7703
      stillwatch witness serve witness --http 192.0.2.7:7703 --tls tls
    """
    opened = WitnessFolder.open(folder)
    memory = opened.memory()
    origins = memory.origins()
    memory.close()
    if not origins:
        raise SetupError(
            "NO_LOGS",
            f"{folder} witnesses no log yet: `stillwatch witness add {folder} --agreement FILE`",
        )
    # A scaled clock is for rehearsals: one log that is none, and the time cosigned must be the system's.
    real = next((one for one in origins if not one.startswith(REHEARSAL_PREFIX)), origins[0])
    clock = parse_clock(clock_text, real)
    address = parse_address(http_text, "--http", secured=tls is not None)
    secured = None if tls is None else ServerTls(tls, with_clients=False)
    serve_witness(opened, clock, address, ready_file, secured)
