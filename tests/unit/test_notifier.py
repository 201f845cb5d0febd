"""`Notifier` wakes the tasks that are waiting, once per wait."""

import anyio

from sca.infer.notifier import Notifier


def test_notify_wakes_all_current_waiters():
    change, woken = Notifier(), []

    async def waiter(name):
        await change.wait()
        woken.append(name)

    async def main():
        change.notify_all()  # no task is waiting
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(waiter, "a")
            tasks.start_soon(waiter, "b")
            await anyio.wait_all_tasks_blocked()
            assert woken == []
            change.notify_all()
            tasks.start_soon(waiter, "c")
            await anyio.wait_all_tasks_blocked()
            assert sorted(woken) == ["a", "b"]
            change.notify_all()
        assert sorted(woken) == ["a", "b", "c"]

    anyio.run(main)


def test_cancelled_wait_does_not_affect_others():
    change, woken = Notifier(), []

    async def main():
        async with anyio.create_task_group() as tasks:
            with anyio.move_on_after(0.01):
                await change.wait()
            tasks.start_soon(change.wait)
            await anyio.wait_all_tasks_blocked()
            change.notify_all()
        woken.append(True)

    anyio.run(main)
    assert woken == [True]
