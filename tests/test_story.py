"""One story: the notebooks say the same of the running product, and what they say follows from its file."""

import re

import nbformat
import pytest

import tierlab as tl
from tierlab.core import paths
from tierlab.decide import words
from tierlab.pages import parameters

OTHER = paths.ROOT / "tests" / "data" / "product.yaml"
FORM = ["00_start_here", "03_match_tasks_to_tiers"]  # told as a story: answer, findings, appendix
VERDICT = re.compile(r"Start with the (\w+) tier, ([\w.-]+): (\$[\d,.]+) a day")
VOLUME = re.compile(r"chatbot: ([\d,]+) messages a day")
ERROR_COST = re.compile(r"an error costs (\$[\d.]+\d)")
PER_MESSAGE = re.compile(r"([\w.-]+) costs (\$[\d.]+) a request, all in")
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
        assert {"00_start_here", "03_match_tasks_to_tiers"} <= set(about_the_product())

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

    @pytest.mark.parametrize("stem", ["00_start_here", "03_match_tasks_to_tiers"])
    def test_tier_cost_and_error_cost_are_told(self, stem):
        text = texts(read(stem))
        assert VERDICT.search(text) and VOLUME.search(text) and ERROR_COST.search(text)

    def test_the_cost_of_a_message_is_told(self):
        assert PER_MESSAGE.search(texts(read("03_match_tasks_to_tiers")))

    def test_the_control_starts_with_the_prices_of_the_answer(self, product):
        (said,) = PRICES.findall(texts(read("00_start_here")))
        table = answer(product).table.set_index("tier")["price_usd"] * product.requests_per_day
        assert said == "; ".join(f"{tier} {tl.usd(table[tier])}" for tier in reversed(tl.TIERS))

    @pytest.mark.parametrize("stem", FORM)
    def test_another_file_moves_the_answer(self, stem):
        """The cells up to the answer, with another product in the parameters cell."""
        sources = [cell.source for cell in read(stem).cells[:4] if cell.cell_type == "code"]
        assert len(sources) == 3 and '"kit"' in sources[1]
        names = {}
        exec("\n".join(sources).replace('"kit"', repr(str(OTHER)), 1), names)
        other = answer(tl.load_product(OTHER))
        assert words.verdict(names["answer"]) == words.verdict(other)
        assert words.verdict(other) != words.verdict(answer(tl.load_product()))


@pytest.mark.parametrize("stem", FORM)
class TestForm:
    def test_it_is_short(self, stem):
        cells = read(stem).cells
        ends = [i for i, cell in enumerate(cells) if cell.source.startswith("## Appendix")]
        end = ends[0] if ends else len(cells)
        assert end <= 25 and len(cells) - end <= 8

    def test_a_code_cell_is_short(self, stem):
        code = [cell.source for cell in read(stem).cells if cell.cell_type == "code"]
        assert not [source for source in code if len(source.splitlines()) > 8]

    def test_the_answer_comes_first(self, stem):
        heads = re.findall(r"^## .+", "\n".join(cell.source for cell in read(stem).cells), re.M)
        assert heads[0] == "## The answer"

    def test_what_tells_a_finding_is_folded(self, stem):
        for cell in read(stem).cells:
            if re.match(r"tl\.(finding|say)\(", cell.source):
                assert cell.metadata.get("jupyter") == {"source_hidden": True}, cell.source
            assert "Markdown(" not in cell.source

    def test_few_tables_stand_by_themselves(self, stem):
        bare = [
            cell
            for cell in read(stem).cells
            if cell.cell_type == "code" and "tl.finding(" not in cell.source
            for output in cell.outputs
            if "<table" in output.get("data", {}).get("text/html", "")
        ]
        assert len(bare) <= 5
