"""One author, as a process of its own: opens its chain, says windows in batches, writes down every receipt.

``python -m tests.crowd.author GRPC AGREEMENT KEY COUNT OUT``: OUT gets a line ``INDEX STATEMENT_ID`` a receipt.
"""

import secrets
import sys
from collections.abc import Callable
from pathlib import Path

from protos.stillwatch.statement.v1 import identity_pb2, summary_pb2
from statements.author import Author, Statement
from statements.keys import read_signing_key
from statements.ledger_client import LedgerClient, Receipt
from statements.pins import read_pins

BATCH = 500
MINUTE = 60_000
T0 = 1_780_315_200_000


def main(grpc: str, agreement: str, key_path: str, count: int, out: Path) -> None:
    """Say so many windows, and stop at the first thing that is not a receipt."""
    key = read_signing_key(Path(key_path))
    pins = read_pins(Path(agreement).read_bytes())
    opening = identity_pb2.Opening(
        key=key.spki, logs=[pins.ledgers[0].origin], agreements=[pins.digest], software="a crowd"
    )
    place = Author.opening(key, secrets.token_bytes(16))
    said, place = place.say(opening, T0, T0, salt=secrets.token_bytes(16))
    batch = [said]
    with LedgerClient(grpc) as client, out.open("w") as receipts:
        for at in range(count):
            start = T0 + at * MINUTE
            window = summary_pb2.WorkloadSummary(feature_set=1, samples_taken=at)
            said, place = place.say(window, start, start + MINUTE, salt=secrets.token_bytes(16))
            batch.append(said)
            if len(batch) == BATCH:
                _send(client, batch, receipts.write)
                batch = []
        if batch:
            _send(client, batch, receipts.write)


def _send(client: LedgerClient, batch: list[Statement], write: Callable[[str], object]) -> None:
    for statement, result in zip(batch, client.append(batch), strict=True):
        if not isinstance(result, Receipt):
            raise SystemExit(f"refused: {result}")
        write(f"{result.index} {statement.id.hex()}\n")


if __name__ == "__main__":
    address, terms, key_file, windows, receipt_file = sys.argv[1:]
    main(address, terms, key_file, int(windows), Path(receipt_file))
