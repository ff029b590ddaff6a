"""Questions to `tierlab.recommend` written flat: a test names only what it varies."""

from dataclasses import fields

import tierlab as tl


def recommend(**asked):
    """`tierlab.recommend`, with the fields of its evidence and of a task of one's own among the arguments."""
    of_evidence, of_task = (
        {field.name for field in fields(kind)} & set(asked) for kind in (tl.Evidence, tl.Task)
    )
    evidence = tl.Evidence(**{name: asked.pop(name) for name in of_evidence})
    task = {name: asked.pop(name) for name in of_task}
    if task:
        asked["task"] = tl.Task(asked.get("task") or "yours", **task)
    return tl.recommend(evidence=evidence, **asked)
