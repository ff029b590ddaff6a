"""What differs between machines and says nothing about the kit: inherited signals, the last bit of a sum."""

import math
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tierlab.core.format import usd

ROOT = Path(__file__).resolve().parent.parent


@pytest.mark.skipif(not hasattr(signal, "pthread_sigmask"), reason="Windows has no signal masks")
def test_a_run_started_with_blocked_and_ignored_signals_gets_them_back():
    """A runner or `nohup` hands down such signals; an interrupt and the limit on processor time need them."""
    code = (
        "import signal\n"
        "signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGXCPU})\n"
        "signal.signal(signal.SIGINT, signal.SIG_IGN); signal.signal(signal.SIGXCPU, signal.SIG_IGN)\n"
        "import conftest\n"
        "assert not signal.pthread_sigmask(signal.SIG_BLOCK, [])\n"
        "assert signal.getsignal(signal.SIGINT) == signal.default_int_handler\n"
        "assert signal.getsignal(signal.SIGXCPU) == signal.SIG_DFL\n"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


@given(
    st.integers(10, 99), st.integers(2, 6), st.integers(-3, 3)
)  # two digits are shown of each such amount
def test_money_in_the_middle_between_two_labels_does_not_hang_on_the_last_bit(number, places, bits):
    """Sums of the same dollars in another order differ in their last bits."""
    value = (number + 0.5) / 10**places
    other = value
    for _ in range(abs(bits)):
        other = math.nextafter(other, math.inf if bits > 0 else 0)
    assert usd(other) == usd(value)
