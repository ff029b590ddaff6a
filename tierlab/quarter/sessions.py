"""One model per session instead of one per turn: what a quarter's mixed sessions would have cost."""

import pandas as pd

from tierlab.core.format import usd
from tierlab.prices.pricing import price
from tierlab.quarter.aggregate import SESSION_ROWS
from tierlab.quarter.engine import TOKENS
from tierlab.routing.policies import Always, Rules
from tierlab.routing.route import route
from tierlab.routing.sessions import Caches, conversation_outcomes

AGREES = 0.10  # how far the replay of what was run may be from the log


def per_session(cube, period, rates):
    """What it saves to keep one model for a whole session, at list prices.

    Parameters
    ----------
    cube : Cube
    period : Period
        The quarter.
    rates : Prices
        At whose `as_of` tokens are priced.

    Returns
    -------
    dict or None
        rows (the turns), usd (US dollars a quarter), models, assumes (in words).
    str
        Why there is none though the log has such sessions; "" where it has none.

    Notes
    -----
    Each session is replayed as it ran and on each of its models alone (`tierlab.routing.sessions`): a change of model
    throws the cache away. A session then takes each of its models as often as that answered its turns, which keeps the
    shares of turns exactly; the first turn's model or the one most used would not. The share that this saves of the
    replay is taken of what the log says, and only if the replay of what was run is within a tenth of it.
    """
    if cube.mixed_turns > SESSION_ROWS:
        rows = f"{SESSION_ROWS:,} rows"
        return (
            None,
            f"needs at most {rows} of sessions that several models answered; there are {cube.mixed_turns:,}",
        )
    turns = cube.turns[cube.turns["quarter"] == str(period)].reset_index(drop=True)
    if turns.empty:
        return None, ""
    if not turns["cache_read_tokens"].sum() > 0:
        return (
            None,
            "needs sessions that read from a cache; those that several models answered never do",
        )
    turns = turns.assign(turn=turns.groupby("session_id").cumcount() + 1)
    models = sorted(turns["model_id"].unique())
    outcomes = conversation_outcomes(turns, dict.fromkeys(models, 1.0))
    outcomes["ran"] = turns["model_id"].to_numpy(object)[outcomes["prompt_id"]]
    caches = Caches(rates)
    ran = route(outcomes, Rules({name: name for name in models}, column="ran"), sessions=caches)
    replayed = float(ran["cost_usd"].sum())
    logged = float(price(turns[[*TOKENS, "model_id"]], rates)["cost_usd"].sum())
    if abs(replayed - logged) > AGREES * logged:
        told = f"{usd(replayed)} for what the log has as {usd(logged)}"
        return None, f"needs caches as the providers describe them: their replay comes to {told}"
    share = pd.crosstab(turns["session_id"], turns["model_id"], normalize="index")
    alone = {name: route(outcomes, Always(name), sessions=caches) for name in models}
    kept = sum(
        (costs.groupby("session_id")["cost_usd"].sum() * share[name]).sum()
        for name, costs in alone.items()
    )
    assumes = (
        "answers as good and as long from each of a session's models (an assumption: no log knows); each answers as "
        f"many turns as now; the replay of what was run comes to {usd(replayed)}, the log to {usd(logged)}"
    )
    saved = logged * (1 - float(kept) / replayed)
    return {"rows": turns, "usd": saved, "models": models, "assumes": assumes}, ""
