"""The bytes of an offline bundle: one spelling, which any tar reads, and nothing else is taken for one."""

import gzip
import io
import tarfile
import zipfile
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from statements import offline_bundle as module
from statements.body import BODY_LIMIT
from statements.errors import OfflineBundleError
from statements.offline_bundle import (
    BUNDLE_LIMIT,
    Everything,
    OfflineBundle,
    RangeOf,
    SaidBy,
    Selection,
    decode_offline_bundle,
    encode_offline_bundle,
)
from statements.record import RECORD_LENGTH

NAMES = [
    *("selection", "agreement.toml", "checkpoint", "indices"),
    *("records", "hashes", "lengths", "bodies"),
]


def made(
    bodies: tuple[bytes | None, ...] = (b"one", None, b""), selection: Selection | None = None
) -> OfflineBundle:
    count = len(bodies)
    return OfflineBundle(
        selection=selection or RangeOf(3, 9),
        agreement=b"[agreement]\n",
        note=b"log\n3\nroot\n\n\xe2\x80\x94 log x\n",
        indices=tuple(range(5, 5 + 2 * count, 2)),
        records=tuple(bytes([n]) * RECORD_LENGTH for n in range(count)),
        bodies=bodies,
        hashes=(b"h" * 32, b"i" * 32),
    )


WHOLE = encode_offline_bundle(made())


def reason(data: bytes) -> str:
    with pytest.raises(OfflineBundleError) as refused:
        decode_offline_bundle(data)
    return refused.value.reason


@given(
    st.lists(st.none() | st.binary(max_size=700), min_size=1, max_size=5),
    st.sampled_from([Everything(), RangeOf(0, 0), RangeOf(3, 2**62), SaidBy(b"\xab" * 32)]),
)
def test_a_bundle_survives_its_bytes(bodies: list[bytes | None], selection: Selection) -> None:
    bundle = made(tuple(bodies), selection)
    assert decode_offline_bundle(encode_offline_bundle(bundle)) == bundle


def test_any_tar_reads_it() -> None:
    with tarfile.open(fileobj=io.BytesIO(WHOLE), mode="r:") as archive:
        members = archive.getmembers()
        assert [member.name for member in members] == NAMES
        assert all(member.isfile() and member.mode == 0o644 for member in members)
        agreement = archive.extractfile("agreement.toml")
        assert agreement is not None
        assert agreement.read() == b"[agreement]\n"


@given(st.integers(0, 8 * len(WHOLE) - 1))
def test_any_flipped_bit_is_refused_or_makes_another_bundle(bit: int) -> None:
    changed = bytearray(WHOLE)
    changed[bit // 8] ^= 1 << bit % 8
    try:
        read = decode_offline_bundle(bytes(changed))
    except OfflineBundleError:
        return
    assert read != made()
    assert encode_offline_bundle(read) == changed, "a bundle has one spelling"


@given(st.integers(0, len(WHOLE) - 1))
def test_a_bundle_cut_anywhere_is_refused(length: int) -> None:
    assert reason(WHOLE[:length]) in {"BUNDLE_CUT", "NOT_A_BUNDLE", "BAD_MEMBER"}


def archive_of(*members: tuple[str, bytes], kind: bytes = tarfile.REGTYPE) -> bytes:
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size, info.type, info.linkname = len(data), kind, "/etc/passwd"
            archive.addfile(info, io.BytesIO(data))
    return sink.getvalue()


def zipped(data: bytes) -> bytes:
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("selection", data)
    return sink.getvalue()


def block(name: str) -> int:
    """Return where a file's header is."""
    with tarfile.open(fileobj=io.BytesIO(WHOLE)) as archive:
        return archive.getmember(name).offset


def inserted(data: bytes, before: str) -> bytes:
    at = block(before)
    return WHOLE[:at] + data + WHOLE[at:]


FILES = {
    name: WHOLE[block(name) : block(after) if after else -1024]
    for name, after in zip(NAMES, [*NAMES[1:], ""], strict=True)
}


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", "NOT_A_BUNDLE"),
        (b"selection", "NOT_A_BUNDLE"),
        (gzip.compress(WHOLE), "NOT_A_BUNDLE"),
        (zipped(bytes(1 << 24)), "NOT_A_BUNDLE"),
        (archive_of(("../selection", b"x")), "NOT_A_BUNDLE"),
        (archive_of(("/selection", b"x")), "NOT_A_BUNDLE"),
        (archive_of(("selection", b""), kind=tarfile.SYMTYPE), "NOT_A_BUNDLE"),
        (inserted(FILES["selection"], "agreement.toml"), "BAD_MEMBER"),
        (inserted(archive_of(("../../evil", b"x"))[:1024], "checkpoint"), "BAD_MEMBER"),
        (inserted(FILES["records"], "hashes"), "BAD_MEMBER"),
        (WHOLE.replace(FILES["hashes"], b""), "BAD_MEMBER"),
        (WHOLE + bytes(512), "TRAILING_BYTES"),
        (WHOLE[:-1024] + FILES["bodies"] + bytes(1024), "TRAILING_BYTES"),
        (WHOLE[:-1024], "BUNDLE_CUT"),
        (WHOLE[: block("bodies") + 512] + b"onx"[:2], "BUNDLE_CUT"),
    ],
)
def test_what_is_not_spelt_like_a_bundle_is_refused(data: bytes, expected: str) -> None:
    assert reason(data) == expected


def with_file(name: str, data: bytes) -> bytes:
    """Return the archive with other contents in one file, correctly wrapped."""
    wrapped = module._header(name, len(data)) + data + bytes(-len(data) % 512)
    return WHOLE.replace(FILES[name], wrapped)


@pytest.mark.parametrize(
    ("name", "data", "expected"),
    [
        ("selection", b"", "BAD_SELECTION"),
        ("selection", b"stillwatch-bundle/v2\nselection all\n", "BAD_SELECTION"),
        ("selection", b"stillwatch-bundle/v1\nselection range 9 3\n", "BAD_SELECTION"),
        ("selection", b"stillwatch-bundle/v1\nselection range 03 9\n", "BAD_SELECTION"),
        ("selection", b"stillwatch-bundle/v1\nselection all\n\n", "BAD_SELECTION"),
        ("selection", b"stillwatch-bundle/v1\nall\n", "BAD_SELECTION"),
        ("selection", b"stillwatch-bundle/v1\nselection author AB\n", "BAD_SELECTION"),
        ("selection", b"x" * 129, "MEMBER_TOO_LARGE"),
        ("indices", b"", "BAD_INDICES"),
        ("indices", bytes(7), "BAD_INDICES"),
        ("indices", bytes(24), "BAD_INDICES"),
        ("indices", (1).to_bytes(8, "big"), "BAD_RECORDS"),
        ("records", bytes(RECORD_LENGTH * 2), "BAD_RECORDS"),
        ("hashes", bytes(31), "BAD_HASHES"),
        ("hashes", bytes(32 * 64 * 3 + 32), "BAD_HASHES"),
        ("lengths", bytes(8), "BAD_BODIES"),
        ("lengths", bytes(12), "BAD_BODIES"),
        ("lengths", b"\xff\xff\xff\xfe" * 3, "BAD_BODIES"),
        ("bodies", b"onetwo", "BAD_BODIES"),
        ("agreement.toml", bytes(BODY_LIMIT + 1), "MEMBER_TOO_LARGE"),
    ],
)
def test_a_file_that_does_not_fit_the_others_is_refused(
    name: str, data: bytes, expected: str
) -> None:
    assert reason(with_file(name, data)) == expected


def test_a_file_that_claims_gigabytes_is_refused_unread() -> None:
    claimed = module._header("selection", 8**11 - 1)
    assert reason(claimed + WHOLE[512:]) == "MEMBER_TOO_LARGE"


@pytest.mark.parametrize(
    "hide", [lambda padded: padded[:-1] + b"x", lambda padded: padded[:-512] + b"x" + padded[-511:]]
)
def test_nothing_hides_behind_a_file(hide: Callable[[bytes], bytes]) -> None:
    file = FILES["selection"]
    hidden = file[:512] + hide(file[512:])
    assert reason(WHOLE.replace(file, hidden)) in {"BAD_MEMBER", "BAD_SELECTION"}


def test_a_bundle_beyond_what_is_read_is_neither_written_nor_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert BUNDLE_LIMIT == 512 << 20
    monkeypatch.setattr(module, "BUNDLE_LIMIT", len(WHOLE) - 1)
    assert reason(WHOLE) == "BUNDLE_TOO_LARGE"
    with pytest.raises(OfflineBundleError, match="select fewer"):
        encode_offline_bundle(made())
    monkeypatch.undo()
    monkeypatch.setattr(module, "RECORDS_LIMIT", 2)
    with pytest.raises(OfflineBundleError, match="3 records"):
        encode_offline_bundle(made())
