"""``stillwatch ledger serve``."""

import os
from pathlib import Path

import click

from ledger.output import folder_argument, serving_tls_option
from ledger.processes.nursery import Nursery
from statements.options import clock_option


@click.command("serve")
@folder_argument
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
@serving_tls_option
@click.option(
    "--screeners",
    type=click.IntRange(0, 256),
    help="Processes that verify signatures; 0: threads of this one.  [default: one a core]",
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
    tls: Path | None,
    screeners: int | None,
    clock_text: str | None,
) -> None:
    """Serve a log until stopped. SIGTERM drains: what was read is answered first.

    \b
    Example:
      stillwatch ledger serve log --grpc 127.0.0.1:7701 --http 127.0.0.1:7702
      stillwatch ledger serve log --grpc 192.0.2.7:7701 --http 192.0.2.7:7702 --tls tls
    """
    # What the ledger imports is imported once the nursery, which has as much to import, is on its way.
    with Nursery() as nursery:
        from ledger.address import parse_address  # noqa: PLC0415
        from ledger.folder import LedgerFolder  # noqa: PLC0415
        from ledger.server import Serving, serve  # noqa: PLC0415
        from statements.clock import parse_clock  # noqa: PLC0415
        from statements.daemon_log import log_as_json  # noqa: PLC0415

        log_as_json()
        opened = LedgerFolder.open(folder)
        how = Serving(
            grpc=parse_address(grpc_text, "--grpc", secured=tls is not None),
            http=parse_address(http_text, "--http", secured=tls is not None),
            beat_s=beat,
            tick_ms=None if tick is None else round(tick * 1000),
            ready_file=ready_file,
            tls=tls,
            screeners=len(os.sched_getaffinity(0)) if screeners is None else screeners,
        )
        serve(opened, parse_clock(clock_text, opened.origin), how, nursery)
