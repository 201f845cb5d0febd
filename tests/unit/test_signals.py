"""Signals that end a command."""

import signal

import pytest

from sca.cli.shared.signals import end_on_signals


@pytest.fixture
def handlers():
    """Restore the handlers."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("handlers")
def test_signal_that_nohup_ignores_stays_ignored():
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    end_on_signals()
    assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN


@pytest.mark.usefixtures("handlers")
@pytest.mark.parametrize("interrupts", [signal.SIG_IGN, signal.default_int_handler])
def test_second_signal_does_not_interrupt_the_end(interrupts, monkeypatch):
    registered = []
    monkeypatch.setattr("atexit.register", registered.append)
    signal.signal(signal.SIGINT, interrupts)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    end_on_signals()
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGTERM)
    signal.raise_signal(signal.SIGTERM)
    assert len(registered) == 1
