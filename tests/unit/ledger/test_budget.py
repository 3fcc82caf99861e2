"""A budget of bytes that all share."""

import asyncio
from collections.abc import Coroutine

from ledger.budget import Budget


def run(scene: Coroutine[None, None, None]) -> None:
    asyncio.run(asyncio.wait_for(scene, 5))


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def test_what_fits_is_taken_at_once_and_what_does_not_waits_for_its_turn() -> None:
    async def scene() -> None:
        budget = Budget(100, 1000)
        assert await budget.take(60)
        order: list[str] = []

        async def wait(name: str, size: int) -> None:
            assert await budget.take(size)
            order.append(name)

        tasks = [asyncio.create_task(wait("large", 90)), asyncio.create_task(wait("small", 5))]
        await settle()
        assert order == [], "a small one does not overtake a large one"
        budget.give(60)
        await asyncio.gather(*tasks)
        assert order == ["large", "small"]
        assert (budget.taken, budget.awaited) == (95, 0)

    run(scene())


def test_the_line_has_an_end() -> None:
    async def scene() -> None:
        budget = Budget(10, 10)
        assert await budget.take(10)
        waiting = asyncio.create_task(budget.take(8))
        await settle()
        assert not await budget.take(3)
        budget.give(10)
        assert await waiting

    run(scene())


def test_one_that_is_larger_than_the_budget_goes_alone() -> None:
    async def scene() -> None:
        budget = Budget(10, 1000)
        assert await budget.take(500)
        waiting = asyncio.create_task(budget.take(1))
        await settle()
        assert not waiting.done()
        budget.give(500)
        assert await waiting

    run(scene())


def test_whoever_gives_up_waiting_takes_nothing_and_holds_up_nobody() -> None:
    async def scene() -> None:
        budget = Budget(10, 1000)
        assert await budget.take(5)
        large = asyncio.create_task(budget.take(9))
        small = asyncio.create_task(budget.take(5))
        await settle()
        large.cancel()
        assert await small
        assert (budget.taken, budget.awaited) == (10, 0)

    run(scene())


def test_whoever_gives_up_at_its_turn_gives_back() -> None:
    async def scene() -> None:
        budget = Budget(10, 1000)
        assert await budget.take(10)
        waiting = asyncio.create_task(budget.take(10))
        await settle()
        budget.give(10)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        assert (budget.taken, budget.awaited) == (0, 0)

    run(scene())
