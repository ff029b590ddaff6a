"""In a real browser: every notebook runs in JupyterLab, and a control that a hand moves shows what its arithmetic says.

What a page shows after a move is compared twice: with a twin of the control in this process (sentence, table, bytes of
the figure), which proves the wiring, and with arithmetic that is written out here, which proves the numbers.
"""

import base64
import re
import secrets
import shutil
from functools import cache

import nbformat
import pandas as pd
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_output

import tierlab as tl
from tierlab.app import tabs as app_tabs
from tierlab.article import control as article_control
from tierlab.core import paths
from tierlab.decide import control as decide_control
from tierlab.pages import page as pages_page
from tierlab.pages import printing, run
from tierlab.prices import control as prices_control
from tierlab.reasoning import control as reasoning_control
from tierlab.routing import control as routing_control
from tierlab.routing import policies
from tierlab.routing.simulated import one_task
from tierlab.sampling import control as sampling_control
from tierlab.scaling import control as scaling_control
from tierlab.speed import control as speed_control

sync_api = pytest.importorskip(
    "playwright.sync_api", reason="playwright is not installed: make setup"
)

from tests import browser  # noqa: E402
from tests.prices.test_catalog import ARTICLE  # noqa: E402

needs_browser = pytest.mark.skipif(printing.find_browser() is None, reason=printing.HOW_TO_GET_IT)
TIERS_USD = {
    "anthropic": "claude-haiku-4-5",
    "openai": "gpt-4o-mini",
    "google": "gemini-2.5-flash-lite",
}


@cache
def november():
    return tl.load_prices("maintained", as_of="2026-11-23")


def distillation():
    """As notebook 09 makes it: messages as they were recorded, and a machine of 0.05 USD an hour."""
    asked = tl.load_samples("intents").query("model_id == @tl.reasoning.student.TEACHER")
    inputs = round((asked["uncached_input_tokens"] + asked["cache_read_tokens"]).mean())
    shape = {"input_tokens": inputs, "output_tokens": round(asked["output_tokens"].mean())}
    student_usd = tl.reasoning.student.EMBEDDING_S * 0.05 / 3600
    return reasoning_control.DistillationExplorer(
        november(),
        student_usd=student_usd,
        hour_usd=60.0,
        requests_per_day=20_000,
        labels=2_000,
        start={"hours": 40.0, "relabel": 12.0, "gap": 0.01, "error_usd": 0.02},
        **shape,
    )


def thinking():
    """As notebook 08 makes it."""
    usd = {"error_cost_usd": 0.1, "second_usd": 0.001}
    shape = {"input_tokens": 500, "output_tokens": 300}
    return reasoning_control.ThinkingExplorer(
        november(), "anthropic", **shape, error_gap=0.05, **usd
    )


def number(text):
    return float(text.replace(",", "").replace("$", "").replace("%", ""))


def usd(model, requests, inputs, outputs):
    """The article's arithmetic; its nine models alone, below Google's step at 200,000 tokens."""
    rates = ARTICLE[model]
    return requests * (inputs * rates[0] + outputs * rates[1]) / 1e6


def november_usd(model, requests, inputs, outputs):
    """The same at the catalogue's rates of November, up to the lowest context step (100,000 tokens)."""
    rates = november().in_force().query("context_above == 0").set_index("model_id").loc[model]
    return requests * (inputs * rates["uncached_input"] + outputs * rates["output"]) / 1e6


# Each: facts that one shown table holds, as pairs (shown, expected), from what the page says the controls are set to.


def tier_facts(at, table):
    shape = at["requests_per_day"], at["input_tokens"], at["output_tokens"]
    return [
        (number(row["cost (USD per day)"]), usd(row["model"], *shape))
        for _, row in table.iterrows()
    ]


def cost_facts(at, table):
    if at["cache_hit_rate"] or at["batch_share"] or at["misses"] != "plain input":
        return []
    each = usd if "article" in at["catalogue"] else november_usd
    shape = at["requests_per_day"], at["input_tokens"], at["output_tokens"]
    return [
        (number(row["cost (USD per day)"]), each(row["model"], *shape))
        for _, row in table.iterrows()
    ]


def curve_facts(at, table):
    """Straight in the requests: at r requests a day, r times (500 input + 300 output tokens) at the catalogue's rates."""
    if at["over"] != "requests_per_day":
        return []
    each = {model: november_usd(model, 1, 500, 300) for model in at["models"]}
    requests = table["requests per day"].map(number)
    return [
        (number(shown), n * each[model])
        for model in at["models"]
        for n, shown in zip(requests, table[f"{model} (USD per day)"], strict=True)
    ]


def checklist_facts(at, table):
    """The draws have one cheapest model each; where k of n were counted, (k + 1/2) / (n + 1) is the mean under Jeffreys' prior."""
    facts = [(sum(number(row["cheapest in (% of draws)"]) for _, row in table.iterrows()), 100)]
    for _, row in table.iterrows():
        wrong, examples = at[f"{row['tier']}_wrong"], at[f"{row['tier']}_examples"]
        if examples:
            facts.append((number(row["errors (%)"]), 100 * (wrong + 0.5) / (examples + 1)))
    return facts


def router_facts(at, table):
    """Expected cost: the answer, and the share of wrong answers times the cost of one."""
    return [
        (
            number(row["with errors (USD per 1,000)"]),
            number(row["cost (USD per 1,000)"])
            + 1_000 * (1 - number(row["score (%)"]) / 100) * at["error_usd"],
        )
        for _, row in table.iterrows()
    ]


def payback_facts(_at, table):
    """A day is its price and its errors."""
    heads = [f"{part} (USD a day)" for part in ("total", "price", "errors")]
    rows = [[number(row[head]) for head in heads] for _, row in table.iterrows()]
    return [(total, price + errors) for total, price, errors in rows]


def conversation_facts(at, table):
    """A conversation that stays with its model keeps its promise."""
    if at["policy"] != "per conversation":
        return []
    return [
        tuple(number(table[f"saving, {kind} (%)"].iloc[0]) for kind in ("replayed", "promised"))
    ]


def sample_facts(at, table):
    """The mean score of the answers that finished and have one; where most did not finish, those are wrong."""
    if at["answers"] == "simulated intents":
        rows = tl.sampling.cases.simulated_intents()
    else:
        rows = tl.load_samples("open_models")
    if at["answers"] not in tl.sampling.cases.KIT.values():
        rows = rows[rows["task"].str.replace("_", " ") == at["answers"]]
    cut = rows["status"].ne("ok")
    failing = cut.groupby(rows["model_id"]).transform("mean") > 0.5
    means = 100 * rows["score"].mask(cut & failing, 0.0).groupby(rows["model_id"]).mean()
    return [(number(row["score (%)"]), means[row["model"]]) for _, row in table.iterrows()]


def product_limits():
    """As notebook 07 makes it: the turns of the product's conversation."""
    rows, tiers = tl.speed.limits.load_rate_limits(), november().in_force()
    rows["tier"] = rows["model_id"].map(
        tiers.drop_duplicates("model_id").set_index("model_id")["tier"]
    )
    shape = {"input_tokens": 7_200, "output_tokens": 300, "cache_hit_rate": 0.772}
    return speed_control.LimitExplorer(rows, requests_per_day=20_000, peak=0.1, **shape)


def limit_facts(_at, table):
    """The share used times the limit is the same minute for every model that has this limit."""
    names = {said: column for column, said in tl.speed.limits.LIMITS.items()}
    limits, found, first = tl.speed.limits.load_rate_limits(), [], {}
    known = table[table["smallest limit tier"] != "none"]
    rows = [row | {"used": number(row["used of it (%)"])} for row in known.to_dict("records")]
    for row in sorted(rows, key=lambda row: -row["used"]):
        of, name = limits[limits["model_id"] == row["model"]], row["nearest limit"]
        limit = of.set_index("limit_tier").at[row["smallest limit tier"], names[name]]
        amount = first.setdefault(name, row["used"] * limit)
        found.append((row["used"], amount / limit))
    return found


def speed_facts(at, table):
    """A mix lies between its two tiers, in proportion."""
    low, high, mix = (table.iloc[place] for place in range(3))
    heads = ["within the limit (%)", "price (USD per 1,000)", "waiting (USD per 1,000)"]
    share = at["slow_share"]
    mixed = [
        (number(mix[head]), number(low[head]) * (1 - share) + number(high[head]) * share)
        for head in heads
    ]
    prices = [
        (number(row["price (USD per 1,000)"]), usd(row["model"], 1_000, 500, at["output_tokens"]))
        for row in (low, high)
    ]
    return mixed + prices


def distillation_facts(_at, table):
    """The days until it has paid, at the ends of the ranges, lie as far apart as the days of the calendar."""
    rows = table.set_index(table.columns[0])
    days, dates = rows.loc["days until it has paid"], rows.loc["on the day"]
    paid = [end for end in ("low", "middle", "high") if days[end] != "never"]
    return [
        (
            number(days[end]) - number(days[paid[0]]),
            (pd.Timestamp(dates[end]) - pd.Timestamp(dates[paid[0]])).days,
        )
        for end in paid
    ]


def thinking_facts(at, table):
    """A message at the rates of the catalogue; output is what is seen over one less the share. Written to three digits."""
    shares = pd.read_csv(paths.DATA / "efforts.csv", keep_default_na=False).set_index("effort")
    found = []
    for _, row in table.iterrows():
        billed = at["output_tokens"] / (1 - float(shares.at[row["effort"], "share"]))
        message = november_usd(row["model"], 1, at["input_tokens"], billed)
        found.append((1e4 * number(row["a message"]), 1e4 * float(f"{message:.3g}")))
    return found


def claim_facts(at, table):
    claims = pd.read_csv(paths.DATA / "claims.csv")
    total = (claims["section"] == at["section"]).sum() if at["section"] != "all" else len(claims)
    return (
        [(len(table), total)]
        if at["verdict"] == "all"
        else [((table["verdict"] == at["verdict"]).sum(), len(table))]
    )


def claims():
    return tl.evaluate_claims(maintained=tl.load_prices("maintained", as_of="2026-06-12"))


def product_claims():
    """As notebook 10 makes it."""
    where = {"section": "Routing and Hybrid Strategies", "verdict": "contradicted"}
    return article_control.ClaimExplorer(claims(), **where)


def simulated_router():
    outcomes = tl.simulate_outcomes(4_000, seed=7, prices=tl.load_prices("article"))
    score = outcomes.drop_duplicates("prompt_id").set_index("prompt_id")["router_signal"]
    return routing_control.RouterExplorer(
        outcomes, score, weak="claude-haiku-4-5", strong="claude-opus-4-8"
    )


def product_messages():
    shop, article = tl.load_product(), tl.load_prices("article")
    tasks = one_task(shop.task, shop.message)
    table = tl.simulate_outcomes(
        20_000, seed=7, tasks=tasks, prices=article, error_correlation=0.75
    )
    score = table.drop_duplicates("prompt_id").set_index("prompt_id")["router_signal"]
    return shop, table, score.rename("router_rank")


def product_payback():
    shop, table, score = product_messages()
    call_usd, pair = 0.00056, ("small", "flagship")
    said = {"simple": {"simple": 0.9, "complex": 0.1}, "complex": {"simple": 0.26, "complex": 0.74}}
    labels = dict(zip(said, pair, strict=True))
    choices = {f"always {tier}": policies.Always(tier) for tier in tl.TIERS}
    choices["router: threshold"] = policies.Threshold("router_rank", score.quantile(0.8), pair)
    choices["router: classifier"] = policies.LLMClassifier(labels, said, call_usd)
    judge = policies.NoisyJudge(0.2, 0.1)
    choices["router: cascade"] = policies.Cascade(pair, judge, judge_cost_usd=call_usd)
    compared = tl.compare_policies(
        table, choices, reference="always flagship", seed=7, features=score, resamples=2
    )
    return routing_control.PaybackExplorer(
        compared["estimate"].unstack("measure").loc[list(choices)],
        choices,
        requests_per_day=shop.requests_per_day,
        error_cost_usd=shop.error_cost_usd,
        build_cost_usd=20_000.0,
    )


def product_router():
    _, table, score = product_messages()
    return routing_control.RouterExplorer(
        table, score, weak="claude-haiku-4-5", strong="claude-opus-4-8"
    )


def product_conversations():
    return routing_control.ConversationExplorer(
        tl.load_prices("maintained", as_of="2026-06-12"),
        tl.load_product().conversation,
        small="claude-haiku-4-5",
        flagship="claude-opus-4-8",
    )


def samples():
    cases = tl.sampling.cases.read_cases("kit", machine_usd_per_hour=0.05, seed=7)
    return sampling_control.SampleExplorer(cases, error_cost_usd=0.1)


# One line for each control: the twin, with the notebook's default parameters, and its facts. In the order of the pages.
CONTROLS = {
    "00_start_here": [
        (
            lambda: scaling_control.TierExplorer(
                tl.load_prices("article"), requests_per_day=20_000
            ),
            tier_facts,
        )
    ],
    "01_pricing": [
        (
            lambda: prices_control.CostExplorer(
                {"maintained": november(), "article": tl.load_prices("article")},
                requests_per_day=20_000,
            ),
            cost_facts,
        )
    ],
    "02_scaling_costs": [
        (lambda: scaling_control.CurveExplorer(november(), requests_per_day=20_000), curve_facts)
    ],
    "03_match_tasks_to_tiers": [
        (
            lambda: decide_control.DecisionChecklist(
                tl.load_prices("maintained", as_of="2026-06-12")
            ),
            checklist_facts,
        ),
    ],
    "04_routing": [
        (product_payback, payback_facts),
        (product_conversations, conversation_facts),
        (product_router, router_facts),
    ],
    "05_live_sampling": [(samples, sample_facts)],
    "06_speed_and_waiting": [
        (
            lambda: speed_control.LatencyExplorer(tl.load_prices("article"), hour_usd=20.0),
            speed_facts,
        )
    ],
    "07_limits_and_windows": [(product_limits, limit_facts)],
    "08_reasoning": [(thinking, thinking_facts)],
    "09_distillation": [(distillation, distillation_facts)],
    "10_article_claims": [(product_claims, claim_facts)],
}
FITS = (
    "document.documentElement.scrollHeight <= 800 && document.documentElement.scrollWidth <= 1280"
)
WORKSHOP = [
    path.relative_to(paths.NOTEBOOKS)
    for kind in ("solutions", "exercises")
    for path in sorted((paths.NOTEBOOKS / "workshop" / kind).glob("*.ipynb"))[:1]
]


@pytest.fixture(scope="module")
def chromium():
    # To the end of the module only: while Playwright runs, no other test could use asyncio.
    with sync_api.sync_playwright() as playwright:
        flags = [flag for flag in printing.FLAGS if flag != "--headless"]
        program = playwright.chromium.launch(executable_path=printing.find_browser(), args=flags)
        # One context: the twenty megabytes of JupyterLab's scripts are read once, not for every page.
        context = program.new_context(viewport={"width": 1280, "height": 900})
        context.set_default_timeout(1000 * browser.WAIT_S)
        yield context


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A copy of the notebooks: a test that is stopped must leave none of ours changed."""
    return shutil.copytree(
        paths.NOTEBOOKS,
        tmp_path_factory.mktemp("lab") / "notebooks",
        ignore=shutil.ignore_patterns(".*"),
    )


@pytest.fixture(scope="module")
def lab(folder):
    with browser.serving_lab(folder) as running:
        yield running


@pytest.fixture(scope="module")
def app():
    with browser.serving_app() as address:
        yield address


@pytest.fixture
def page(chromium, request):
    """A page that keeps what it asked for and logged; its picture is kept where a test fails."""
    page = chromium.new_page()
    page.asked, page.logged = [], []
    page.on("request", lambda asked: page.asked.append(asked.url))
    page.on("console", lambda said: page.logged.append(said.text) if said.type == "error" else None)
    page.on("pageerror", lambda error: page.logged.append(str(error)))
    failed = request.session.testsfailed
    yield page
    if request.session.testsfailed > failed:
        (paths.BUILD / "browser").mkdir(parents=True, exist_ok=True)
        page.screenshot(
            path=paths.BUILD / "browser" / f"{re.sub(r'[^a-z0-9_]+', '-', request.node.name)}.png"
        )
    page.close()


def foreign(page):
    """Addresses beyond this machine that a page asked for."""
    return [
        url
        for url in page.asked
        if not re.match(r"(data|blob|about):|http://127\.0\.0\.1:|file:", url)
    ]


def files(folder):
    found = {path.relative_to(folder): path for path in folder.rglob("*") if path.is_file()}
    return {
        name: path.read_bytes()
        for name, path in found.items()
        if ".ipynb_checkpoints" not in name.parts
    }  # Lab's own


def assert_facts(panel, facts):
    """The arithmetic of what a page shows; how many facts there were."""
    found = facts(panel.values(), panel.table())
    for shown, expected in found:
        assert shown == pytest.approx(expected, rel=2e-3, abs=0.011), (panel.values(), panel.text())
    return len(found)


def assert_moves(panel, facts, names=None):
    """Move every control, or those of `names`, by keyboard and by mouse; figure, sentence, table and arithmetic follow."""
    panel.check()
    checked, changed = assert_facts(panel, facts), {}
    for name in names or panel.twin.controls:
        for by in ("keyboard", "mouse"):
            changed[by] = panel.move(name, by) or changed.get(by, False)
            checked += assert_facts(panel, facts)
    assert changed == {"keyboard": True, "mouse": True}, "figure and text did not both change"
    assert checked, "no shown number was compared with arithmetic"


def open_in_lab(lab, page, folder, notebook):
    """Open and run a notebook; none of its cells fails, none is left out, and no file is changed by it."""
    before = files(folder)
    page.goto(lab.address(notebook))
    prompts = browser.run_all(page)
    cells = nbformat.read(folder / notebook, as_version=4).cells
    code = [cell for cell in cells if cell.cell_type == "code"]
    folded = [cell.metadata.get("jupyter", {}).get("source_hidden", False) for cell in code]
    # A cell whose source is folded shows no prompt; what it shows is compared below and by nbval.
    assert prompts == [f"[{n}]:" for n, hidden in enumerate(folded, 1) if not hidden]
    assert page.locator(browser.ERRORS).all_text_contents() == []
    assert files(folder) == before


@needs_browser
@pytest.mark.full
class TestLab:
    @pytest.mark.parametrize("stem", [path.stem for path in run.find_all()])
    def test_a_notebook_runs_and_its_controls_move(self, lab, page, folder, stem, tmp_path):
        open_in_lab(lab, page, folder, f"{stem}.ipynb")
        boxes = page.locator(browser.BOXES)
        assert boxes.count() == len(CONTROLS.get(stem, []))
        for place, (twin, facts) in enumerate(CONTROLS.get(stem, [])):
            panel = browser.Panel(page, boxes.nth(place), twin())
            if isinstance(panel.twin, decide_control.DecisionChecklist):
                walk_the_checklist(panel, facts, tmp_path)
            else:
                assert_moves(panel, facts)
            if stem == "02_scaling_costs":
                assert_differences_are_noticed(panel)
        assert foreign(page) == [] and page.logged == []
        lab.end_kernels(page)

    @pytest.mark.parametrize("notebook", WORKSHOP, ids=str)
    def test_a_workshop_notebook_runs(self, lab, page, folder, notebook):
        open_in_lab(lab, page, folder, notebook)
        assert foreign(page) == [] and page.logged == []
        lab.end_kernels(page)


def walk_the_checklist(panel, facts, folder):
    """Every step is opened, by keyboard and by mouse in turn, and moved through; the last one files a record."""
    onward = panel.box.get_by_role("button", name="Next step")
    steps = [
        [name for name, control in panel.twin.controls.items() if control in step.children]
        for step in panel.twin.steps.children
    ]
    for place, names in enumerate(steps):
        if place % 2:
            onward.press("Enter")
        elif place:
            onward.click()
        if names:
            panel.box.get_by_text(panel.twin.controls[names[0]].description, exact=True).wait_for()
            assert_moves(panel, facts, names)
    for label, text in {
        "title": "Tier of the chatbot",
        "owner": "platform",
        "folder": str(folder),
    }.items():
        panel.part(getattr(panel.twin, label)).locator("input").fill(text)
    panel.box.get_by_role("button", name="File the decision record").click()
    panel.box.get_by_text("Filed: ").wait_for()
    [file] = folder.glob("*.md")
    record = tl.load_record(file)
    assert (record.title, record.owner) == ("Tier of the chatbot", "platform")
    assert {row["tier"] for row in record.candidates if row["model_id"] == record.model_id} == {
        panel.twin.found.tier
    }
    assert record.workload["requests_per_day"] == panel.twin.controls["requests_per_day"].value


@needs_browser
@pytest.mark.full
class TestApp:
    def test_one_screen_answers_compares_and_files_a_decision(self, app, page, tmp_path):
        page.set_viewport_size({"width": 1280, "height": 800})
        page.goto(app)
        answer, cards = page.locator(".tl-answer h2"), page.locator(".tl-cards b")
        picture = page.locator(".tl-stage img")
        picture.wait_for()
        assert page.title() == "Which model tier does the job?"
        assert page.locator(".jp-CodeCell .jp-InputArea, .cm-editor").count() == 0  # no code
        assert page.evaluate(FITS)
        sync_api.expect(cards.first).to_have_text("$260")  # 20,000 x (0.006 + 0.07 x 0.10)
        page.get_by_role("button", name="Keep as scenario").click()
        handles = page.locator(".tl-panel .noUi-handle")
        handles.last.focus()
        page.keyboard.press("ArrowRight")
        sync_api.expect(cards.first).to_have_text("$400")  # 120 + 20,000 x 0.07 x 0.20
        sync_api.expect(page.locator(".tl-scenarios li").last).to_contain_text("-$140 a day")
        place = handles.first.bounding_box()
        page.mouse.move(place["x"] + 8, place["y"] + 8)
        page.mouse.down()
        page.mouse.move(place["x"] + 68, place["y"] + 8, steps=5)
        page.mouse.up()
        sync_api.expect(cards.first).not_to_have_text("$400")
        for name in app_tabs.TABS:
            before = answer.text_content()
            page.get_by_role("button", name=name, exact=True).press("Enter")
            sync_api.expect(answer).not_to_have_text(before)
            picture.wait_for()
            assert cards.count() == 3 and page.evaluate(FITS), name
        page.get_by_role("button", name="Decide", exact=True).click()
        self.file_a_decision(page, tmp_path / "record.md")
        page.set_viewport_size({"width": 400, "height": 800})
        assert page.evaluate("document.documentElement.scrollWidth") <= 400
        assert page.locator(browser.ERRORS).count() == 0
        assert foreign(page) == [] and page.logged == []

    @staticmethod
    def file_a_decision(page, path):
        title = f"Browser test {secrets.token_hex(8)}"
        page.get_by_role("button", name="Checklist and record").click()
        page.get_by_label("Title").fill(title)
        page.get_by_label("Title").press("Tab")
        page.get_by_role("button", name="File the record").click()
        with page.expect_download() as download:
            page.locator("a[download]").click()
        download.value.save_as(path)
        (paths.BUILD.parent / "decisions" / download.value.suggested_filename).unlink()
        assert tl.load_record(path).title == title


def assert_differences_are_noticed(panel):
    """These tests can fail: a twin with another sentence, or with another picture, is not what the page shows."""
    panel.check(seconds=1)
    tier_twin = CONTROLS["00_start_here"][0][0]
    words, picture = panel.twin.text.value, bytes(panel.twin.image.value)
    panel.twin.text.value = words.replace("</p>", ".</p>")
    with pytest.raises(AssertionError, match="another text"):
        panel.check(seconds=0.2)
    panel.twin.text.value, panel.twin.image.value = words, tier_twin().image.value
    with pytest.raises(AssertionError, match="another picture"):
        panel.check(seconds=0.2)
    panel.twin.image.value = picture
    panel.check(seconds=1)


@needs_browser
class TestReport:
    def test_pages_of_stored_outputs_log_and_ask_nothing(self, page, tmp_path):
        for notebook in run.find_all():
            text, _ = pages_page.page(nbformat.read(notebook, as_version=4), stem=notebook.stem)
            (tmp_path / f"{notebook.stem}.html").write_text(text, encoding="utf-8")
        self.look(page, tmp_path)

    @pytest.mark.full
    def test_reports_that_were_run_have_their_controls_and_cut_nothing_off(self, page, tmp_path):
        run.run(out=tmp_path)
        self.look(page, tmp_path)
        found = {}
        for file in sorted(tmp_path.glob("*.html")):
            found |= self.cut_off(page, file)
            assert page.locator(".control").count() == len(CONTROLS.get(file.stem, []))
        assert found == {}

    def test_nothing_is_cut_off_on_a_desktop_or_a_phone(self, page, tmp_path):
        """The widest of everything; the last lines show that what is cut off would be found."""
        words = {
            f"a_heading_without_a_gap_{n}": ["claude-sonnet-4-6", 1_234_567.8] for n in range(9)
        }
        ids = {f"id {n}": ["https://example.org/a/long/address/of/a/source"] for n in range(7)}
        outputs = [
            {"text/html": pd.DataFrame(columns).to_html(index=False)} for columns in (words, ids)
        ]
        picture = (paths.ROOT / "figures" / "03_answer.png").read_bytes()
        outputs += [{"image/png": base64.b64encode(picture).decode()}]
        outputs += [{"text/plain": "x" * 300}]
        cells = [new_markdown_cell("# Does it fit?\n\n" + "`long_`" * 60)]
        cells += [
            new_code_cell("y" * 300, outputs=[new_output("display_data", data)]) for data in outputs
        ]
        text, _ = pages_page.page(
            nbformat.v4.new_notebook(cells=cells), stem="wide", pages={"wide": "Does it fit?"}
        )
        (tmp_path / "wide.html").write_text(text, encoding="utf-8")
        assert self.cut_off(page, tmp_path / "wide.html") == {}
        page.evaluate("document.querySelector('table').className = ''")
        page.evaluate("document.querySelector('.figure').className = ''")
        page.evaluate("document.querySelector('main img').style.minWidth = '900px'")
        kinds = {words.split(" ")[0] for words in page.evaluate(browser.CUT_OFF)}
        assert kinds >= {"the", "TABLE", "IMG"}  # the page, and what is in it

    @staticmethod
    def cut_off(page, file):
        """What does not fit, by page and width."""
        found = {}
        for width, height in browser.WIDTHS.items():
            page.set_viewport_size({"width": width, "height": height})
            page.goto(file.as_uri())
            if parts := page.evaluate(browser.CUT_OFF):
                found[file.stem, width] = parts
        return found

    @staticmethod
    def look(page, folder):
        for file in sorted(folder.glob("*.html")):
            page.goto(file.as_uri())
            assert page.locator("h1").count() == 1
            assert page.evaluate(
                "[...document.images].every(image => image.complete && image.naturalWidth > 0)"
            )
        assert foreign(page) == [] and page.logged == []


def test_every_control_of_the_notebooks_is_moved():
    for path in run.find_all():
        source = "\n".join(
            cell.source
            for cell in nbformat.read(path, as_version=4).cells
            if cell.cell_type == "code"
        )
        named = re.findall(r"\bcontrol\.(\w+)\(", source)
        assert named == [type(twin()).__name__ for twin, _ in CONTROLS.get(path.stem, [])], (
            path.stem
        )
        assert named or not re.match(r"0[1-7]_", path.stem), f"{path.stem} has no control"
