"""Certificates that connections are secured with: ECDSA P-256 alone, valid now, with the key that belongs to them."""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from statements.errors import CertificateError, KeyFileError


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a process is on a connection: its certificate, those between it and its CA, and its key, all PEM."""

    chain: bytes
    key: bytes
    begins: datetime
    expires: datetime

    @property
    def renew_by(self) -> datetime:
        """When a tenth of its life is left."""
        return self.expires - (self.expires - self.begins) / 10


def parse_certificates(data: bytes, where: Path, now_s: float | None) -> list[x509.Certificate]:
    """Return the certificates of a PEM file, one or more; ``where`` names it in errors.

    Raises :class:`CertificateError` unless each is for an ECDSA P-256 key, and valid at ``now_s``, in Unix seconds, if
    that matters here.
    """
    try:
        found = x509.load_pem_x509_certificates(data)
        for one in found:
            _verify_p256(one, where)
            if now_s is not None:
                _verify_valid(one, where, datetime.fromtimestamp(now_s, UTC))
    except (ValueError, UnsupportedAlgorithm) as error:
        raise CertificateError(
            "NOT_A_CERTIFICATE", f"{where} holds no certificates in PEM: {error}"
        ) from None
    return found


def parse_identity(chain: bytes, key: bytes, where: tuple[Path, Path], now_s: float) -> Identity:
    """Return an identity; ``where`` names the files of certificate and key in errors.

    Raises :class:`CertificateError` as :func:`parse_certificates` does and when certificate and key are not of one
    another, :class:`KeyFileError` when the key is no P-256 key.
    """
    found = parse_certificates(chain, where[0], now_s)
    try:
        private = serialization.load_pem_private_key(key, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        private = None
    if not isinstance(private, ec.EllipticCurvePrivateKey) or private.curve.name != "secp256r1":
        raise KeyFileError(
            "NOT_A_KEY", f"{where[1]} holds no ECDSA P-256 key in PEM that is not encrypted"
        )
    if private.public_key() != found[0].public_key():
        raise CertificateError(
            "OTHER_KEY",
            f"{where[0]} is not the certificate of the key in {where[1]}: replace both together",
        )
    return Identity(chain, key, found[0].not_valid_before_utc, found[0].not_valid_after_utc)


def _verify_p256(one: x509.Certificate, where: Path) -> None:
    key = one.public_key()
    if not isinstance(key, ec.EllipticCurvePublicKey) or key.curve.name != "secp256r1":
        raise CertificateError(
            "NOT_P256",
            f"{where} holds a certificate of another key than ECDSA P-256: make one with such a key",
        )


def _verify_valid(one: x509.Certificate, where: Path, now: datetime) -> None:
    if now < one.not_valid_before_utc:
        raise CertificateError(
            "NOT_VALID_YET",
            f"{where}: valid from {one.not_valid_before_utc:%Y-%m-%dT%H:%M:%SZ} on: is this machine's clock right?",
        )
    if now > one.not_valid_after_utc:
        raise expired(where, one.not_valid_after_utc)


def expired(where: Path, at: datetime) -> CertificateError:
    """Return the error of a certificate that has expired; ``where`` names its file."""
    return CertificateError(
        "EXPIRED", f"{where}: expired at {at:%Y-%m-%dT%H:%M:%SZ}: put a new one there"
    )
