"""A transparency log as bytes: Merkle tree, tiles, notes, checkpoints. No I/O."""
