"""Recorded answers in place of a provider: no network, no key, the times and costs of the recording."""

import json
from collections import Counter
from functools import lru_cache

import numpy as np

from tierlab.core.tables import TOKEN_COLUMNS
from tierlab.core.vocabulary import ANSWERED
from tierlab.sampling.providers import ProviderError, Reply, count, counted
from tierlab.sampling.samples import SAMPLE_COLUMNS, load_samples


def connect(chosen, *, timeout_s, transport=None):
    """Return an adapter that answers from the samples at the candidate's path."""
    return Replay(_recorded(chosen.path))


class Replay:
    """Finds answers by model and prompt; repeated answers come in the order in which they were recorded."""

    def __init__(self, recorded):
        self.recorded = recorded
        self._given = Counter()

    async def answer(self, prompt, chosen, stream=True):
        """Return the recorded `Reply`, or raise the recorded `ProviderError`, or one that says that there is none."""
        found = self.recorded.get((chosen.model_id, prompt.text))
        if found is None:
            raise ProviderError(
                "not_recorded", f"{chosen.path} has no answer of {chosen.model_id!r} to this prompt"
            )
        row = found[self._given[chosen.name, prompt.text] % len(found)]
        self._given[chosen.name, prompt.text] += 1
        if row["status"] not in ANSWERED:
            raise ProviderError(row["status"], f"recorded: {row['error']}", retried=False)
        return _reply(row)

    async def close(self):
        """Nothing to close."""


@lru_cache(maxsize=4)
def _recorded(path):
    """The recorded rows by (model_id, prompt)."""
    found, samples = {}, load_samples(path)
    if missing := [column for column in SAMPLE_COLUMNS if column not in samples]:
        raise ValueError(
            f"{path}: column {missing[0]!r} is missing; a replay needs all columns of a samples table"
        )
    for row in samples.to_dict("records"):
        found.setdefault((row["model_id"], row["prompt"]), []).append(row)
    return found


def _reply(row):
    stops = {"truncated": "length", "refused": "refusal", "content_filter": "content_filter"}
    found = [column for column in (*TOKEN_COLUMNS, "reasoning_tokens") if np.isfinite(row[column])]
    tokens = {"tokens": None}
    if set(TOKEN_COLUMNS) <= set(found):
        tokens = counted(lambda usage: {column: count(usage, column) for column in found}, row)
    usd = row["cost_usd"]
    return Reply(
        text=_text(row["answer"]),
        tool_calls=tuple(tuple(call) for call in json.loads(row["tool_calls"] or "[]")),
        stop=stops.get(row["status"], "stop"),
        stop_reason=_text(row["stop_reason"]),
        **tokens,
        reported_model=_text(row["reported_model"]),
        ttft_s=row["ttft_s"],
        end_to_end_s=row["end_to_end_s"],
        source="recorded",
        recorded_usd=usd if 0 <= usd < float("inf") else float("nan"),
    )


def _text(cell):
    return cell if isinstance(cell, str) else ""
