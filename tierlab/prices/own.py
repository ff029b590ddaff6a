"""A model of one's own: what a token costs on machines that are paid by the hour."""

import pandas as pd

from tierlab.core.vocabulary import BUCKETS

_SECONDS = 3_600


def self_hosted(
    model_id: str,
    *,
    gpus: float,
    usd_per_gpu_hour: float,
    input_tokens_per_s: float,
    output_tokens_per_s: float,
    utilisation: float,
    provider: str = "in-house",
    tier: str | None = None,
    context_window: float | None = None,
    checked_on: str | None = None,
) -> pd.DataFrame:
    """Rates of a model on one's own machines, as a row for ``load_prices(extra=...)``.

    USD per million tokens = 1e6 x dollars per hour / (3,600 x tokens per second x utilisation), for the prefill (input)
    and the decoding (output, reasoning included) each at its own speed.

    Parameters
    ----------
    model_id : str
    gpus : float
        GPUs of the machine.
    usd_per_gpu_hour : float
        Price of one of them an hour, its share of the rest of the machine included.
    input_tokens_per_s, output_tokens_per_s : float
        Speed at saturation within the latency that is promised.
    utilisation : float
        Share of the paid hours at that speed, 0 to 1; idle time and start-up are paid too.
    provider : str
    tier : {"small", "mid", "flagship"}, optional
        Which tier it is to stand in for, where error rates are assumed per tier.
    context_window : int, optional
    checked_on : str, optional
        ISO date of these figures.

    Returns
    -------
    DataFrame
        One row of the prices table. A prefix-cache hit skips the prefill: cache reads cost nothing, writes are input.

    Raises
    ------
    ValueError
        If a figure is not above 0, or the utilisation is above 1.

    Examples
    --------
    >>> row = self_hosted("ours", gpus=2, usd_per_gpu_hour=3.0, input_tokens_per_s=25_000, output_tokens_per_s=2_500, utilisation=0.4)
    >>> row[["uncached_input", "output"]].round(4).iloc[0].tolist()
    [0.1667, 1.6667]
    """
    figures = {
        "gpus": gpus,
        "usd_per_gpu_hour": usd_per_gpu_hour,
        "input_tokens_per_s": input_tokens_per_s,
        "output_tokens_per_s": output_tokens_per_s,
        "utilisation": utilisation,
    }
    for name, value in figures.items():
        if not value > 0:
            raise ValueError(f"{name} is {value!r}; a number above 0 is needed")
    if utilisation > 1:
        raise ValueError(f"utilisation is {utilisation!r}; it is a share of the paid hours, 0 to 1")
    machine = 1e6 * gpus * usd_per_gpu_hour / (_SECONDS * utilisation)
    per_input, per_output = machine / input_tokens_per_s, machine / output_tokens_per_s
    rates = dict(zip(BUCKETS, (per_input, 0.0, per_input, per_input, per_output), strict=True))
    return pd.DataFrame(
        [
            {
                "model_id": model_id,
                "provider": provider,
                "tier": tier,
                **rates,
                **{f"batch_{bucket}": rate for bucket, rate in rates.items()},
                "context_window": context_window,
                "source": "own machines",
                "checked_on": checked_on,
            }
        ]
    )
