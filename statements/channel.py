"""gRPC channels to servers, secured as :mod:`statements.tls` says."""

import re
from collections.abc import Sequence
from typing import Final

import grpc

from statements.tls import Credentials, verify_plain

_TARGET: Final = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+):[0-9]{1,5}")


def channel_credentials(credentials: Credentials) -> grpc.ChannelCredentials:
    """Return credentials as gRPC takes them."""
    if credentials.own is None:
        return grpc.ssl_channel_credentials(credentials.authorities)
    return grpc.ssl_channel_credentials(
        credentials.authorities, credentials.own.key, credentials.own.chain
    )


def open_channel(
    target: str, credentials: Credentials | None, options: Sequence[tuple[str, int]]
) -> grpc.Channel:
    """Return a channel to a server: secured, or plain to this machine itself when there are no credentials.

    Raises :class:`CertificateError` for a plain one to anywhere else.
    """
    if credentials is not None:
        return grpc.secure_channel(target, channel_credentials(credentials), options=options)
    found = _TARGET.fullmatch(target)
    verify_plain(found[1].strip("[]") if found else "", target)
    # A proxy would carry what is meant to stay here to wherever it pleases.
    own = [*options, ("grpc.enable_http_proxy", 0)]
    return grpc.insecure_channel(target, options=own)
