"""How many runs a proof takes: all of them in `make prove`, a tenth in `make test`."""

import os


def runs(number):
    """`number` where TIERLAB_PROVE is set, else a tenth of it, at least one."""
    return number if os.environ.get("TIERLAB_PROVE") else max(1, number // 10)
