"""The backend that is always there: it vouches for nothing, and so each signature is verified by itself."""

from collections.abc import Sequence


class Singly:
    """See :class:`statements.verification.interface.Backend`; ``cryptography`` verifies what nobody vouches for."""

    name = "cryptography"

    def vouch(
        self,
        points: Sequence[bytes],  # noqa: ARG002
        digests: Sequence[bytes],  # noqa: ARG002
        signatures: Sequence[bytes],  # noqa: ARG002
    ) -> Sequence[int]:
        """See :class:`Backend`."""
        return ()
