"""What a finding shows, and which part of it nbval compares."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

import tierlab as tl
from tierlab.core.finding import written
from tierlab.core.product import load_product


@pytest.fixture
def shown(monkeypatch):
    outputs = []
    monkeypatch.setattr(
        "IPython.display.display", lambda data, **kwargs: outputs.append((data, kwargs))
    )
    return outputs


def figure():
    return plt.figure()


FEW = pd.DataFrame({"policy": ["router", "always <b>mid</b>"], "a day (USD)": [301.4, 0.004]})


def test_a_finding_is_claim_picture_rows_and_a_folded_table(shown):
    whole = pd.DataFrame({"n": range(7)})
    tl.finding("It costs $301", figure(), FEW, alt="A bar.", caption="Simulated.", table=whole)
    claim, image, caption, numbers = (data for data, _ in shown)
    assert claim["text/plain"] == "It costs $301"
    assert set(image) == {"image/png", "text/plain"}
    assert image["text/plain"] == "A bar."
    assert caption["text/plain"] == "Simulated."
    assert numbers["text/html"].count("<table") == 2
    assert numbers["text/html"].count("<details>") == 1
    assert "<b>" not in numbers["text/html"]
    assert "always <b>mid</b> 0.004" in numbers["text/plain"]
    assert numbers["text/plain"].splitlines()[-1].strip() == "6"


@pytest.mark.parametrize("rows", [0, 6])
def test_a_finding_has_one_to_five_rows(rows):
    with pytest.raises(ValueError, match="one to five rows"):
        tl.finding("x", figure(), pd.DataFrame({"n": range(rows)}), alt="a", caption="c")


def test_a_sentence_is_compared_as_it_stands_and_has_no_formula_in_it():
    sentence = tl.say("From **$5** to $7.")
    assert repr(sentence) == "From **$5** to $7."
    page = r"From **<span>\$</span>5** to <span>\$</span>7."
    assert sentence._repr_markdown_() == page
    assert tl.say(r"From **\$5** to \$7.")._repr_markdown_() == page


def test_numbers_are_written_one_way():
    table = pd.DataFrame(
        {
            "n": [1_234_567, 2],
            "share": [0.12345, np.nan],
            "above": pd.array([100_000, None], dtype="Int64"),
            "day": pd.to_datetime(["2026-06-12", None]),
            "ok": [True, False],
        },
        index=pd.Index(["a", "b"], name="model"),
    )
    assert written(table).to_dict("list") == {
        "model": ["a", "b"],
        "n": ["1,234,567", "2"],
        "share": ["0.123", ""],
        "above": ["100,000", ""],
        "day": ["2026-06-12", ""],
        "ok": ["yes", "no"],
    }


def test_the_product_is_one_file(tmp_path):
    product = load_product()
    assert (product.requests_per_day, product.error_cost_usd, product.message.input_tokens) == (
        20_000,
        0.10,
        500,
    )
    (tmp_path / "p.yaml").write_text("name: x\ntask: y\nrequests_per_day: -1\n")
    with pytest.raises(ValueError, match=r"p\.yaml: requests_per_day: .*greater than 0, not -1"):
        load_product(tmp_path / "p.yaml")
