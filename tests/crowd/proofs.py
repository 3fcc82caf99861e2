"""A client that has nothing but a log's static files and its agreement: proves every record that receipts name.

``python -m tests.crowd.proofs LOG AGREEMENT RECEIPTS…``: prints how many records were proved; ends badly at the first
that is not where its receipt says, or at two receipts for one place.
"""

import sys
from pathlib import Path

from statements.log_trust import LogTrust
from statements.pins import read_pins
from statements.record import decode_record
from statements.signing import statement_id
from tlog.merkle import inclusion_proof, leaf_hash, verify_inclusion
from tlog.tile import (
    Tile,
    bundle_path,
    bundles_of,
    decode_bundle,
    subtrees_from_tiles,
)


def main(log: Path, agreement: Path, receipts: list[Path]) -> int:
    """Return how many receipts were proved."""
    pins = read_pins(agreement.read_bytes())
    trust = LogTrust.of(pins, pins.ledgers[0])
    tree = trust.believe((log / "checkpoint").read_bytes()).checkpoint
    records: list[bytes] = []
    for index, width in bundles_of(tree.size):
        records += decode_bundle((log / bundle_path(index, width)).read_bytes(), width)

    def read(tile: Tile) -> bytes:
        return (log / tile.path).read_bytes()

    subtrees = subtrees_from_tiles(tree.size, read)
    proved: set[int] = set()
    for path in receipts:
        for line in path.read_text().splitlines():
            place, wanted = line.split()
            index = int(place)
            if index in proved:
                raise SystemExit(f"two receipts name the place {index}")
            found = statement_id(decode_record(records[index]).header).hex()
            if found != wanted:
                raise SystemExit(
                    f"the record at {index} is {found}, and the receipt is for {wanted}"
                )
            path_up = inclusion_proof(index, tree.size, subtrees)
            verify_inclusion(index, tree.size, leaf_hash(records[index]), path_up, tree.root)
            proved.add(index)
    return len(proved)


if __name__ == "__main__":
    print(main(Path(sys.argv[1]), Path(sys.argv[2]), [Path(name) for name in sys.argv[3:]]))  # noqa: T201
