"""How many runs a proof takes: all of them in `make prove`, a part in `make test`."""

import os


def runs(number, part=10):
    """`number` where TIERLAB_PROVE is set, else one in `part` of it, at least one."""
    return number if os.environ.get("TIERLAB_PROVE") else max(1, number // part)
