"""Simulated time, and the workers of real and simulated time."""

import threading

import anyio
import pytest

from sca.infer.clock import TICK_HZ, LoopClock, simulate
from sca.infer.device_worker import InlineWorker, ThreadWorker

MONTH = 30 * 24 * 3600 * TICK_HZ


def test_simulates_a_month_exactly():
    async def main():
        clock = LoopClock()
        for second in range(1, 3601):
            await clock.sleep_until(second * TICK_HZ)
            assert clock.now() == second * TICK_HZ
        await clock.sleep_until(MONTH)
        return clock.now()

    assert simulate(main) == MONTH


def test_tasks_wake_in_time_order():
    async def main():
        clock, order = LoopClock(), []

        async def sleeper(name, tick):
            await clock.sleep_until(tick)
            order.append((name, clock.now()))

        async with anyio.create_task_group() as tasks:
            for name, tick in (("c", 30), ("a", 10), ("b", 20), ("b2", 20), ("past", -5)):
                tasks.start_soon(sleeper, name, tick)
        return order

    assert simulate(main) == simulate(main) == [("past", 0), ("a", 10), ("b", 20), ("b2", 20), ("c", 30)]


def test_timeouts_are_simulated():
    async def main():
        with anyio.move_on_after(1000) as scope:
            await anyio.sleep_forever()
        return scope.cancelled_caught, anyio.current_time()

    assert simulate(main) == (True, 1000)


def test_loop_clock_runs_on_trio_mock_clock():
    import trio.testing

    async def main():
        clock = LoopClock()
        await clock.sleep_until(100 * TICK_HZ)
        return clock.now()

    clock = trio.testing.MockClock(autojump_threshold=0)
    assert anyio.run(main, backend="trio", backend_options={"clock": clock}) == 100 * TICK_HZ


def test_errors_propagate_from_a_simulation():
    async def main():
        await anyio.sleep(5)
        raise KeyError("x")

    with pytest.raises(KeyError):
        simulate(main)


def test_inline_jobs_run_one_after_the_other():
    async def main():
        worker, clock, done = InlineWorker(cost_ms=20), LoopClock(), []

        async def use(name):
            async with worker.job(lambda: name) as job:
                assert not await job.wait(0.005)
                assert await job.wait(10)
                done.append((job.result(), clock.now() / 48, job.ticks))

        async with anyio.create_task_group() as tasks:
            for name in "ab":
                tasks.start_soon(use, name)
        return done

    assert simulate(main) == [("a", 20, 960), ("b", 40, 960)]


def test_thread_worker_uses_one_other_thread():
    async def main():
        worker, seen = ThreadWorker(), set()
        for _ in range(20):
            async with worker.job(threading.get_ident) as job:
                await job.wait(60)
                seen.add(job.result())
        worker.close()
        return seen

    (thread,) = anyio.run(main)
    assert thread != threading.get_ident()


def test_job_result_raises_the_error():
    async def main():
        worker = ThreadWorker()
        async with worker.job(lambda: 1 / 0) as job:
            await job.wait(60)
            assert isinstance(job.error, ZeroDivisionError)
            with pytest.raises(ZeroDivisionError):
                job.result()
        worker.close()

    anyio.run(main)


def test_hanging_job_is_abandoned():
    async def main():
        worker, stuck = ThreadWorker(), threading.Event()
        async with worker.job(stuck.wait) as job:
            assert not await job.wait(0.01)
            job.abandoned = True
        async with worker.job(lambda: "next") as job:
            assert await job.wait(60)
            assert job.result() == "next"
        stuck.set()
        worker.close()

    anyio.run(main)


def test_cancelled_job_ends_before_the_next_starts():
    async def main():
        worker, order = ThreadWorker(), []
        began, go_on = threading.Event(), threading.Event()

        def slow():
            began.set()
            go_on.wait(60)
            order.append("slow")

        async def give_up(scope):
            while not began.is_set():
                await anyio.sleep(0.001)
            scope.cancel()
            await anyio.sleep(0.05)  # time in which the next job must not start
            go_on.set()

        async with anyio.create_task_group() as tasks:
            with anyio.CancelScope() as scope:
                tasks.start_soon(give_up, scope)
                async with worker.job(slow) as job:
                    await job.wait(60)
            async with worker.job(lambda: order.append("next")) as job:
                await job.wait(60)
        worker.close()
        return order

    assert anyio.run(main) == ["slow", "next"]
