"""Options of calls to models, as the tests write them: flat, and put together here."""

from dataclasses import fields

import tierlab as tl


def together(**given):
    """Keyword arguments of `tierlab.sample`, `judge` and `LiveRouter`, with the fields of Limits and Setup among them."""
    limits, setup = (
        {f.name: given.pop(f.name) for f in fields(kind) if f.name in given}
        for kind in (tl.Limits, tl.Setup)
    )
    return given | {"limits": tl.Limits(**limits), "setup": tl.Setup(**setup)}
