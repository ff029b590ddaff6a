"""Cache writes where a provider has no fee for them: billed as input, flagged, in a batch too."""

import pandas as pd
import pytest

import tierlab as tl


@pytest.mark.parametrize("bucket", ["cache_write_short_tokens", "cache_write_long_tokens"])
@pytest.mark.parametrize(("batch", "usd"), [(False, 2.50), (True, 1.25)])
def test_a_write_without_a_fee_is_billed_as_input_and_flagged(maintained, bucket, batch, usd):
    """GPT-4o: 2.50 USD per million tokens of input, half of it in a batch; only one of the two buckets is written to."""
    tokens = {"uncached_input_tokens": 0, "output_tokens": 0, "cache_write_short_tokens": 0}
    row = {"model_id": "gpt-4o", "batch": batch, **tokens, "cache_write_long_tokens": 0}
    priced = tl.price(pd.DataFrame([row | {bucket: 10**6}]), maintained).iloc[0]
    assert priced["cost_usd"] == pytest.approx(usd)
    assert "assumed_write_rate" in priced["flags"].split(";")
