"""One story: the notebooks say the same of the running product, and what they say follows from its file."""

import re

import nbformat
import pytest

import tierlab as tl
from tierlab.core import paths
from tierlab.decide.recommend import verdict
from tierlab.pages import parameters

OTHER = paths.ROOT / "tests" / "data" / "product.yaml"
GIVES_THE_ANSWER = ["00_start_here", "03_match_tasks_to_tiers"]
VERDICT = re.compile(r"Start with the (\w+) tier, ([\w.-]+): (\$[\d,.]+) a day")
VOLUME = re.compile(r"chatbot: ([\d,]+) messages a day")
ERROR_COST = re.compile(r"an error costs (\$[\d.]+\d)")
PER_MESSAGE = re.compile(r"([\w.-]+) costs (\$[\d.]+) a request in total")
BEST_SINGLE = re.compile(r"\$(\d+) with the best single model \(always (\w+)\)")
PRICES = re.compile(r"Cost per day at the prices of article[^:]*: (.+?)\.(?:\n|$)")


def read(stem):
    return nbformat.read(paths.NOTEBOOKS / f"{stem}.ipynb", as_version=4)


def texts(notebook):
    """What the stored outputs say, as nbval compares it."""
    outputs = [o for cell in notebook.cells if cell.cell_type == "code" for o in cell.outputs]
    found = [o.get("text") or o.get("data", {}).get("text/plain", "") for o in outputs]
    return "\n".join(found)


def about_the_product():
    """The notebooks whose parameters cell names the product."""
    stems = sorted(path.stem for path in paths.NOTEBOOKS.glob("*.ipynb"))
    return [stem for stem in stems if "product" in parameters.declared(read(stem))]


def answer(product):
    workload = tl.Workload(
        requests_per_day=product.requests_per_day, **product.message.model_dump()
    )
    return tl.recommend(
        task=product.task,
        error_cost_usd=product.error_cost_usd,
        workload=workload,
        prices=tl.load_prices("article"),
        provider="anthropic",
    )


@pytest.fixture(scope="module")
def product():
    return tl.load_product()


@pytest.fixture(scope="module")
def best(product):
    return answer(product).table.iloc[0]


class TestConsistency:
    def test_the_notebooks_that_give_the_answer_are_about_the_product(self):
        assert set(GIVES_THE_ANSWER) <= set(about_the_product())

    @pytest.mark.parametrize("stem", about_the_product())
    def test_no_notebook_contradicts_the_product_or_the_answer(self, stem, product, best):
        text = texts(read(stem))
        day = tl.usd(best["expected_usd"] * product.requests_per_day)
        assert set(VERDICT.findall(text)) <= {(best["tier"], best["model_id"], day)}
        assert set(VOLUME.findall(text)) <= {f"{product.requests_per_day:,}"}
        assert set(ERROR_COST.findall(text)) <= {tl.usd(product.error_cost_usd)}
        message = (best["model_id"], tl.usd(best["expected_usd"]))
        assert set(PER_MESSAGE.findall(text)) <= {message}
        assert f"{product.requests_per_day:,}" in text

    @pytest.mark.parametrize("stem", GIVES_THE_ANSWER)
    def test_tier_cost_and_error_cost_are_told(self, stem):
        text = texts(read(stem))
        assert VERDICT.search(text) and VOLUME.search(text) and ERROR_COST.search(text)

    def test_the_best_single_model_of_the_router_is_the_answer(self, product, best):
        """Its answers are simulated at the same error rates: the same tier, and a day within a few per cent."""
        day = best["expected_usd"] * product.requests_per_day
        found = BEST_SINGLE.findall(texts(read("04_routing")))
        assert found and {tier for _, tier in found} == {best["tier"]}
        assert [float(usd) for usd, _ in found] == pytest.approx([day] * len(found), rel=0.04)

    def test_the_cost_of_a_message_is_told(self):
        assert PER_MESSAGE.search(texts(read("03_match_tasks_to_tiers")))

    def test_the_control_starts_with_the_prices_of_the_answer(self, product):
        (said,) = PRICES.findall(texts(read("00_start_here")))
        table = answer(product).table.set_index("tier")["price_usd"] * product.requests_per_day
        assert said == "; ".join(f"{tier} {tl.usd(table[tier])}" for tier in reversed(tl.TIERS))

    @pytest.mark.parametrize("stem", GIVES_THE_ANSWER)
    def test_another_file_moves_the_answer(self, stem):
        """The cells up to the answer, with another product in the parameters cell."""
        sources = [cell.source for cell in read(stem).cells[:4] if cell.cell_type == "code"]
        assert len(sources) == 3 and '"kit"' in sources[1]
        names = {}
        exec("\n".join(sources).replace('"kit"', repr(str(OTHER)), 1), names)
        other = answer(tl.load_product(OTHER))
        assert verdict(names["answer"]) == verdict(other)
        assert verdict(other) != verdict(answer(tl.load_product()))
