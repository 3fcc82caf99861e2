"""Samples a single window of a node, without sending anything."""

import secrets
from collections.abc import Sequence

from attestor.agent import SOFTWARE
from attestor.chain import Chain
from attestor.errors import SourceError
from attestor.node import Windows
from attestor.preview import Preview
from attestor.sampler import NodeSampler
from attestor.sealer import Sealer
from attestor.sources.registry import Opener
from attestor.window import Span
from statements.author import NOTHING, Seen
from statements.clock import Clock
from statements.disclosure import DisclosureClass
from statements.sealing import CONTENT_KEY_LENGTH
from statements.signing import SigningKey


def observe(
    name: str,
    sources: Sequence[tuple[str, Opener]],
    clock: Clock,
    *,
    key: SigningKey,
    length_ms: int,
    start_ms: int | None = None,
    origin: str = "",
    agreement: bytes = bytes(32),
    author: bytes | None = None,
    sealed_to: DisclosureClass | None = None,
) -> Preview:
    """Return what the node would say of one window of ``length_ms``, starting now or at ``start_ms``.

    The statements are signed with ``key`` as they would be, and go nowhere; ``author`` as for :class:`Chain`.
    Summaries are sealed to ``sealed_to``, under a key made for the occasion.
    Raises SourceError when a source cannot be opened.
    """
    sampler = NodeSampler(name, sources, length_ms)
    start = clock.now_ms() if start_ms is None else start_ms
    due = sampler.poll(start)
    verify_opened(sampler, sources)
    end = start + length_ms
    while due < end:
        if start_ms is None:
            clock.sleep(max(0, due - clock.now_ms()) / 1000)
            due = sampler.poll(clock.now_ms())
        else:
            due = sampler.poll(due)
    if start_ms is None:
        clock.sleep(max(0, end - clock.now_ms()) / 1000)
        sampler.poll(max(end, clock.now_ms()), due_only=False)
    else:
        sampler.poll(end, due_only=False)
    sealer = None
    if sealed_to is not None:
        sealer = Sealer(sealed_to, secrets.token_bytes(CONTENT_KEY_LENGTH), author or key.key_id)
    chain = Chain(
        key,
        origin=origin,
        agreement=agreement,
        software=SOFTWARE,
        draw=secrets.token_bytes,
        author=author,
        sealer=sealer,
    )
    chain.begin(NOTHING)
    windows = Windows(sampler, chain, length_ms, start)
    windows.close_one()
    statements = tuple(statement for _, statement in chain.sign(end, Seen(), windows.life))
    sampler.close()
    telemetry = sampler.equipment.telemetry
    assert telemetry is not None  # noqa: S101 - a source was opened
    return Preview(
        node=name,
        telemetry=telemetry.name.lower(),
        span=Span(start, end),
        statements=statements,
        sealer=sealer,
    )


def verify_opened(sampler: NodeSampler, sources: Sequence[tuple[str, Opener]]) -> None:
    """Refuse a sampler none of whose sources could be opened when it was polled: SourceError that says why."""
    if sampler.equipment.telemetry is not None:
        return
    sampler.close()
    for _, opener in sources:
        opener().close()  # raises what was wrong
    raise SourceError("NOTHING_TO_READ", f"{sampler.name}: no source could be opened")
