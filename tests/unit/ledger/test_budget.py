"""A budget of bytes that all share."""

import asyncio
from collections.abc import Coroutine

from ledger.budget import Budget
from ledger.shares import ANYBODY, Caller


def run(scene: Coroutine[None, None, None]) -> None:
    asyncio.run(asyncio.wait_for(scene, 5))


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def test_what_fits_is_taken_at_once_and_what_does_not_waits_for_its_turn() -> None:
    async def scene() -> None:
        budget = Budget(100, 1000)
        assert await budget.take(60, ANYBODY)
        order: list[str] = []

        async def wait(name: str, size: int) -> None:
            assert await budget.take(size, ANYBODY)
            order.append(name)

        tasks = [asyncio.create_task(wait("large", 90)), asyncio.create_task(wait("small", 5))]
        await settle()
        assert order == [], "a small one does not overtake a large one"
        budget.give(60, ANYBODY)
        await asyncio.gather(*tasks)
        assert order == ["large", "small"]
        assert (budget.taken, budget.awaited) == (95, 0)

    run(scene())


def test_the_line_has_an_end() -> None:
    async def scene() -> None:
        budget = Budget(10, 10)
        assert await budget.take(10, ANYBODY)
        waiting = asyncio.create_task(budget.take(8, ANYBODY))
        await settle()
        assert not await budget.take(3, ANYBODY)
        budget.give(10, ANYBODY)
        assert await waiting

    run(scene())


def test_one_that_is_larger_than_the_budget_goes_alone() -> None:
    async def scene() -> None:
        budget = Budget(10, 1000)
        assert await budget.take(500, ANYBODY)
        waiting = asyncio.create_task(budget.take(1, ANYBODY))
        await settle()
        assert not waiting.done()
        budget.give(500, ANYBODY)
        assert await waiting

    run(scene())


def test_whoever_gives_up_waiting_takes_nothing_and_holds_up_nobody() -> None:
    async def scene() -> None:
        budget = Budget(10, 1000)
        assert await budget.take(5, ANYBODY)
        large = asyncio.create_task(budget.take(9, ANYBODY))
        small = asyncio.create_task(budget.take(5, ANYBODY))
        await settle()
        large.cancel()
        assert await small
        assert (budget.taken, budget.awaited) == (10, 0)

    run(scene())


def test_whoever_gives_up_at_its_turn_gives_back() -> None:
    async def scene() -> None:
        budget = Budget(10, 1000)
        assert await budget.take(10, ANYBODY)
        waiting = asyncio.create_task(budget.take(10, ANYBODY))
        await settle()
        budget.give(10, ANYBODY)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        assert (budget.taken, budget.awaited) == (0, 0)

    run(scene())


def test_whoever_brings_too_much_leaves_room_for_the_others() -> None:
    async def scene() -> None:
        budget = Budget(100, 1000)
        rival, lab = Caller("rival", 2), Caller("lab", 2)
        held = 0
        while await budget.take(10, rival):
            held += 1
        assert held == 5, "half of it is for whoever comes"
        assert await budget.take(20, lab)
        assert not await budget.take(10, lab), "its share of the other half"
        budget.give(10, rival)
        budget.give(20, lab)
        assert await budget.take(10, lab)

    run(scene())


def test_whoever_gives_up_waiting_is_charged_no_share() -> None:
    async def scene() -> None:
        budget = Budget(100, 1000)
        rival, lab = Caller("rival", 2), Caller("lab", 2)
        assert await budget.take(90, rival)
        waiting = asyncio.create_task(budget.take(20, lab))
        await settle()
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        budget.give(90, rival)
        assert await budget.take(50, lab)

    run(scene())
