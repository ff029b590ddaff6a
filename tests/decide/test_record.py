"""Decision records: what is filed is read back, is harmless, and is judged again by the same arithmetic."""

import datetime
import functools
import subprocess
import sys
import tempfile
from pathlib import Path

import pandas as pd
import pytest
import yaml
from hypothesis import Phase, example, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

import tierlab as tl
from tests.decide.decisions import recommend
from tierlab.cli import main
from tierlab.core.untrusted import in_markdown
from tierlab.decide.record import Record, load_record, workload_of
from tierlab.decide.review import review
from tierlab.decide.tasks import load_assumptions

JUNE = tl.load_prices("maintained", as_of="2026-06-12")
NOVEMBER = tl.load_prices("maintained", as_of="2026-11-23")
file_record = functools.partial(tl.file_record, decided_on="2026-06-12")
RATES = {"small": 0.10, "mid": 0.06, "flagship": 0.05}


def decide(**asked):
    usual = {
        "task": "customer_support",
        "error_cost_usd": 0.2,
        "provider": "anthropic",
        "prices": JUNE,
        "error_rates": RATES,
    }
    return recommend(**(usual | {"workload": tl.Workload(requests_per_day=10_000)} | asked))


def edit(path, change):
    """Change the numbers of a record, as a person with an editor would."""
    body, _, head = path.read_text("utf-8").rpartition("```yaml\n")
    head = yaml.safe_load(head.removesuffix("```\n"))
    change(head)
    path.write_text(f"{body}```yaml\n{yaml.safe_dump(head)}```\n", "utf-8")
    return path


@pytest.fixture
def filed(tmp_path):
    return file_record(decide(), tmp_path / "support.md", title="Support chatbot", owner="Ana")


class TestRecord:
    def test_what_is_filed_is_read_back(self, filed):
        record = load_record(filed)
        assert (record.model_id, record.tier, record.task, record.owner) == (
            "claude-sonnet-4-6",
            "mid",
            "customer_support",
            "Ana",
        )
        assert (record.decided_on, record.review_on) == (
            datetime.date(2026, 6, 12),
            datetime.date(2026, 12, 12),
        )
        assert record.error_cost_usd == 0.2 and record.basis == "given"
        rates = {row["tier"]: row["error_rate"] for row in record.candidates}
        assert rates == RATES
        # 500 x 3 + 300 x 15 over a million, and 6% of 20 cents
        sonnet = next(row for row in record.candidates if row["tier"] == "mid")
        assert sonnet["price_usd"] == pytest.approx(0.006) and sonnet[
            "expected_usd"
        ] == pytest.approx(0.006 + 0.06 * 0.2)

    def test_it_is_markdown_with_the_sections_of_a_decision_record(self, filed):
        text = filed.read_text("utf-8")
        for head in (
            "## Decision",
            "## Why",
            "## What would change it",
            "## Next step",
            "## Context",
        ):
            assert f"\n{head}\n" in text
        # 10,000 requests of 0.018 a day, and 365 such days
        assert "| claude-sonnet-4-6 | mid | USD 180 | USD 65,700 |  | USD 0.006 |" in text
        assert "\\$" not in text and "\\_" not in text
        assert "[x] Say what an error costs" in text and "[ ] Run 50" in text

    def test_the_first_lines_say_what_by_whom_and_until_when(self, filed):
        title, head, said = filed.read_text("utf-8").split("\n\n", 2)
        assert title == "# Support chatbot"
        row = head.splitlines()[-1]
        assert row == "| 2026-06-12 | Ana | 2026-12-12 | 2026-06-12 | given |"
        assert "Use **claude-sonnet-4-6** (mid tier, anthropic). At 10,000 requests a day" in said

    def test_ranges_and_bases_are_in_words(self, tmp_path):
        workload = tl.Workload(requests_per_day=(10, 20), batch_share=0.25)
        found = decide(
            workload=workload,
            error_cost_usd=None,
            error_rates=None,
            error_counts={"mid": (6, 80)},
            tool_calls=2,
        )
        text = file_record(found, tmp_path / "a.md", title="x").read_text("utf-8")
        for said in (
            "Task: Customer support chatbot (stakes 2, complexity 2; 1 is low, 3 is high).",
            "as of 2026-06-12",
            "requests per day 10 to 20; input tokens 500; output tokens 300; batch share 25%",
            "An error costs USD 1.00 (USD 0.10 to USD 5.00)",
            "counted for mid (80 examples)",
            "95% interval of your counts; ends of an assumed range for",
            "6 of 80: 7.5%, taken as 8.0%, half an error added",
            "total per request (low to high)",
            "90% of 1,000 draws over the stated ranges",
        ):
            assert said in text, said
        assert "[10, 20]" not in text.split("```yaml")[0] and "`flips`" not in text

    def test_ratings_tool_calls_and_the_range_of_an_error_are_filed(self, tmp_path):
        rated = {"task": "triage", "stakes": 2, "complexity": 1}
        record = load_record(file_record(decide(error_cost_usd=None, **rated), tmp_path, title="x"))
        assert (record.stakes, record.complexity, record.tool_calls) == ([2, 2], [1, 1], 0)
        row = load_assumptions().query("quantity == 'error_cost' and rating == 2").iloc[0]
        ends = [record.error_cost_usd, record.error_cost_low, record.error_cost_high]
        assert ends == pytest.approx(row[["value", "low", "high"]].tolist())
        record = load_record(
            file_record(decide(task="agentic_tools", error_rates=None), tmp_path, title="y")
        )
        assert record.tool_calls == 5 and (record.stakes, record.complexity) == ([2, 3], [3, 3])

    def test_boxes_are_ticked_for_what_is_done(self, tmp_path):
        found = decide()
        found.done[:] = [1, 6]
        text = file_record(found, tmp_path / "a.md", title="x").read_text("utf-8")
        assert [line[:6] for line in text.splitlines() if line[1:5] in (". [x", ". [ ")] == [
            f"{n}. [{'x' if n in (1, 6) else ' '}]" for n in range(1, 8)
        ]

    @pytest.mark.parametrize(
        "shape",
        [
            {},
            {"cache_hit_rate": 0.5, "cache_ttl": "short"},
            {"input_tokens": (400, 600)},
            {"turns": 3, "batch_share": 0.2},
        ],
    )
    def test_the_workload_comes_back_as_it_was(self, tmp_path, shape):
        workload = tl.Workload(requests_per_day=50, **shape)
        record = load_record(file_record(decide(workload=workload), tmp_path, title="x"))
        assert workload_of(record.workload) == workload

    def test_a_table_of_requests_is_filed_as_its_means_and_says_so(self, tmp_path):
        table = pd.DataFrame({"uncached_input_tokens": [100, 300], "output_tokens": [10, 30]})
        record = load_record(
            file_record(
                decide(workload=tl.Workload(requests_per_day=5, table=table)), tmp_path, title="x"
            )
        )
        assert record.workload["input_tokens"] == 200 and record.workload["output_tokens"] == 20
        assert any("mean of a table of 2 requests" in line for line in record.grounds)

    def test_a_table_keeps_its_cache_and_its_reasoning(self, tmp_path):
        row = {"uncached_input_tokens": [100], "cache_read_tokens": [9_900], "output_tokens": [100]}
        workload = tl.Workload(requests_per_day=10, table=pd.DataFrame(row), reasoning_share=0.5)
        path = file_record(decide(workload=workload), tmp_path, title="x")
        kept = load_record(path).workload
        assert (
            kept["input_tokens"] == 10_000
            and kept["cache_hit_rate"] == 0.99
            and kept["reasoning_share"] == 0.5
        )
        assert kept["output_tokens"] == pytest.approx(100)  # visible; billed are 100 / (1 - 0.5)
        found = review(path, prices=JUNE)
        # Sonnet 4.6: 3 a million in, a tenth of it from the cache, 15 out
        assert found.money.at["kept", "bill_usd"] == pytest.approx(
            10 * (100 * 3 + 9_900 * 0.3 + 200 * 15) / 1e6
        )

    def test_a_table_that_writes_its_cache(self, tmp_path):
        row = {
            "uncached_input_tokens": [0],
            "cache_read_tokens": [300],
            "cache_write_long_tokens": [100],
            "output_tokens": [9],
        }
        path = file_record(
            decide(workload=tl.Workload(requests_per_day=10, table=pd.DataFrame(row))),
            tmp_path,
            title="x",
        )
        assert workload_of(load_record(path).workload).mean_tokens() == pytest.approx(
            {"uncached_input": 0, "cache_read": 300, "cache_write_long": 100, "output": 9}
        )

    def test_a_folder_takes_the_date_and_the_title(self, tmp_path):
        assert (
            file_record(decide(), tmp_path, title="Büro: what now?").name
            == "2026-06-12-b-ro-what-now.md"
        )

    def test_a_file_that_is_there_is_kept(self, filed):
        with pytest.raises(FileExistsError, match="exists already"):
            file_record(decide(), filed, title="other")
        assert load_record(filed).title == "Support chatbot"
        file_record(decide(), filed, title="other", replace=True)
        assert load_record(filed).title == "other"

    def test_words_of_others_are_data(self, tmp_path):
        nasty = "x\n---\nkind: other <script>alert(1)</script> | `rm`"
        path = file_record(
            decide(),
            tmp_path / "a.md",
            title=nasty,
            owner="[a](javascript:1)",
            notes="# not a head\n<b>",
        )
        record, text = load_record(path), path.read_text("utf-8")
        assert record.title == " ".join(nasty.split())
        body = text.split("```yaml")[0]
        assert (
            "<script>" not in body
            and "\\<script\\>" in body
            and "\n# not a head" not in body
            and "[a](" not in body
        )

    def test_a_model_of_any_name_stays_text(self, tmp_path):
        name = "<b>|my*model*"
        samples = pd.DataFrame(
            {
                "prompt_id": range(50),
                "model_id": name,
                "score": [1.0] * 49 + [0.0],
                "cost_usd": 0.01,
            }
        )
        found = recommend(error_cost_usd=1, prices=JUNE, samples=samples)
        body = (
            file_record(found, tmp_path / "a.md", title="x").read_text("utf-8").split("```yaml")[0]
        )
        assert (
            "<b>" not in body
            and "|my" not in body.replace("\\|my", "")
            and "\\<b\\>\\|my\\*model\\*" in body
        )

    @given(st.text(st.sampled_from("\\`*_[]<>#|&$~^{}!-+=:.()\"';@%,/?01a \t\n"), min_size=1))
    @example("&amp; &#42; ~~a~~ <b>1</b> [a](b) ![a](b) `a` **a**")
    @settings(deadline=None, max_examples=400)
    def test_words_are_text_wherever_they_stand(self, words):
        """Read by another library: as a paragraph, a heading, an item of a list and a cell of a table."""
        wanted = " ".join(words.split())
        if not wanted:
            return
        markdown, line = (
            MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"]),
            in_markdown(words),
        )
        places = {
            line: [],
            f"# {line}": ["heading"],
            f"- {line}": ["bullet_list", "list_item"],
            f"above\n{line}": [],
            f"| a |\n|---|\n| {line} |": ["table", "thead", "tbody", "tr", "th", "td"],
        }
        for text, kinds in places.items():
            tokens = markdown.parse(text)
            seen = {token.type.removesuffix("_open").removesuffix("_close") for token in tokens}
            assert seen - {"inline", "paragraph"} == set(kinds), text
            last = [token for token in tokens if token.type == "inline"][-1]
            assert {token.type for token in last.children} <= {"text", "softbreak"}, text
            assert "".join(token.content for token in last.children).removeprefix("above") == wanted

    def test_only_markdown_is_filed(self, tmp_path):
        with pytest.raises(ValueError, match=r"x\.txt.*ends in \.md"):
            file_record(decide(), tmp_path / "x.txt", title="x")
        assert not list(tmp_path.iterdir())

    def test_a_byte_order_mark_is_no_fault(self, filed):
        filed.write_bytes(b"\xef\xbb\xbf" + filed.read_bytes().replace(b"\n", b"\r\n"))
        assert load_record(filed).title == "Support chatbot"

    @pytest.mark.parametrize(
        "text", [b"\xff\xfe", b"---\na: [\n---\n", b"---\na: 2026-13-45\n---\n", b"---\n- a\n---\n"]
    )
    def test_what_is_no_record_is_named(self, tmp_path, text):
        (tmp_path / "bad.md").write_bytes(text)
        with pytest.raises(ValueError, match=r"bad\.md"):
            load_record(tmp_path / "bad.md")

    def test_a_decision_needs_a_title(self, tmp_path):
        with pytest.raises(ValueError, match="title"):
            file_record(decide(), tmp_path, title="  ")

    @pytest.mark.parametrize(
        ("change", "says"),
        [
            (lambda head: head.pop("error_cost_usd"), "'error_cost_usd' is missing"),
            (lambda head: head.update(error_cost="x"), "did you mean 'error_cost_usd'"),
            (
                lambda head: head.update(error_cost_usd="much"),
                "error_cost_usd = 'much'; input should be a valid number",
            ),
            (lambda head: head.update(model_id="gpt-4o"), "'gpt-4o' is not among the candidates"),
            (
                lambda head: head["workload"].update(reqests_per_day=1),
                "did you mean 'requests_per_day'",
            ),
            (
                lambda head: head["candidates"][0].pop("error_rate"),
                "candidates: 0: field 'error_rate' is missing",
            ),
            (lambda head: head.update(kind="other"), "the numbers have no line 'kind"),
            (
                lambda head: head.update(error_cost_low=1.0),
                "error_cost_low, error_cost_usd, error_cost_high are not in that order",
            ),
            (
                lambda head: head.update(second_usd=float("nan")),
                "second_usd = nan; input should be a finite number",
            ),
            (lambda head: head.update(examples=-1), "examples = -1"),
            (
                lambda head: head.update(examples=True),
                "examples = True; input should be a valid integer",
            ),
            (
                lambda head: head.update(decided_on="soon"),
                "decided_on = 'soon'; input should be a valid date",
            ),
            (lambda head: head["prices"].pop("as_of"), "a date as_of"),
            (
                lambda head: head["workload"].pop("requests_per_day"),
                "workload: field 'requests_per_day' is missing",
            ),
            (
                lambda head: head["workload"].update(batch_share=2),
                "batch_share=2; allowed",
            ),
            (
                lambda head: head["workload"].update(input_tokens="many"),
                "workload: input_tokens: int = 'many'",
            ),
            (lambda head: head["candidates"][0].update(error_low=0.9), "not in that order"),
            (
                lambda head: head["candidates"][0].update(error_rate=1.5),
                "error_rate = 1.5; input should be less than or equal to 1",
            ),
            (
                lambda head: head["candidates"][0].update(price_usd=-1.0),
                "price_usd = -1.0; input should be greater than or equal to 0",
            ),
            (lambda head: head["candidates"][0].update(seconds=float("inf")), "seconds = inf"),
            (
                lambda head: head["candidates"][0].update(price_basis="x"),
                "price_basis = 'x'; input should be 'catalogue'",
            ),
            (
                lambda head: head["candidates"].append(dict(head["candidates"][0])),
                "is listed 2 times",
            ),
            (
                lambda head: [row.update(price_usd=None) for row in head["candidates"]],
                "the choice 'claude-sonnet-4-6' has no price_usd",
            ),
        ],
    )
    def test_a_broken_head_names_file_and_field(self, filed, change, says):
        edit(filed, change)
        with pytest.raises(ValueError, match=r"support\.md") as caught:
            load_record(filed)
        assert says in str(caught.value)

    def test_a_text_without_head_is_no_record(self, tmp_path):
        (tmp_path / "a.md").write_text("# hello\n", "utf-8")
        with pytest.raises(ValueError, match="no YAML with the numbers"):
            load_record(tmp_path / "a.md")


class TestReview:
    def test_new_models_flip_it_by_the_difference_of_their_prices(self, filed):
        found = review(filed, prices=NOVEMBER)
        # Sonnet 4.6 costs 3 / 15, Sonnet 5.5 2 / 10: 0.006 and 0.004 a request; both err in 6%, at 20 cents.
        assert not found.stands and found.money.at["best", "model_id"] == "claude-sonnet-5-5"
        saved = 10_000 * (0.006 - 0.004)
        assert found.money.at["kept", "expected_usd"] - found.money.at[
            "best", "expected_usd"
        ] == pytest.approx(saved)
        assert f"${saved:,.2f} a day" in found.verdict and set(found.changes["kind"]) == {"new"}
        assert (
            "claude-sonnet-5-5 is new: its error rate and time are those of claude-sonnet-4-6"
            in " ".join(found.grounds)
        )

    def test_on_the_same_day_nothing_changed(self, filed):
        found = review(filed, prices=JUNE)
        assert (
            found.stands and found.changes.empty and "as much as when it was filed" in found.verdict
        )
        assert found.money.loc["kept", "expected_usd"] == pytest.approx(
            found.money.loc["decided", "expected_usd"]
        )

    def test_a_price_change_is_named_with_both_prices(self, filed, tmp_path):
        rows = pd.DataFrame(
            {
                "model_id": ["claude-haiku-4-5", "claude-sonnet-4-6", "claude-opus-4-8"],
                "provider": "anthropic",
                "tier": ["small", "mid", "flagship"],
                "valid_from": "2026-07-01",
                "context_above": 0,
                "uncached_input": [1.0, 6.0, 5.0],
                "output": [5.0, 30.0, 25.0],
            }
        )
        rows.to_csv(tmp_path / "p.csv", index=False)
        found = review(filed, prices=tl.load_prices(tmp_path / "p.csv", as_of="2026-07-02"))
        change = found.changes.query("kind == 'price'")
        assert change["model_id"].tolist() == [
            "claude-sonnet-4-6"
        ]  # twice the price: 0.012 a request
        assert change[["before_usd", "after_usd"]].iloc[0].tolist() == pytest.approx([0.006, 0.012])
        # 0.012 + 6% of 20 cents is 0.024 now; Opus is 0.010 + 5% of it, 0.020.
        assert not found.stands and found.money.at["best", "model_id"] == "claude-opus-4-8"

    def test_a_model_that_retired_cannot_stand(self, tmp_path):
        found = decide(
            provider=None,
            models=["o4-mini", "gpt-5.5"],
            error_rates={"o4-mini": 0.05, "gpt-5.5": 0.05},
        )
        path = file_record(found, tmp_path, title="x")
        judged = review(path, prices=NOVEMBER)
        assert not judged.stands and "retired on 2026-10-23" in judged.verdict
        assert "retired on 2026-10-23" in judged.changes.query("kind == 'retired'")["what"].iloc[0]

    @pytest.mark.parametrize(
        ("day", "kind"), [("2026-10-22", "retires"), ("2026-10-23", "retired")]
    )
    def test_on_the_day_of_its_retirement_a_model_is_gone(self, tmp_path, day, kind):
        asked = {
            "models": ["o4-mini", "gpt-5.5"],
            "error_rates": {"o4-mini": 0.05, "gpt-5.5": 0.05},
        }
        path = file_record(decide(provider=None, **asked), tmp_path, title="x")
        found = review(path, prices=tl.load_prices("maintained", as_of=day))
        own = found.changes.query("model_id == 'o4-mini' and kind != 'price'")
        assert own["kind"].tolist() == [kind]
        assert found.table.set_index("model_id")["note"].eq("")["o4-mini"] == (kind == "retires")

    def test_a_model_that_will_retire_is_named_with_its_day(self, tmp_path):
        path = file_record(decide(provider="openai"), tmp_path, title="x")
        changes = review(path, prices=NOVEMBER).changes
        assert (
            "retires on 2027-01-14"
            in changes.set_index(["model_id", "kind"]).at[("gpt-4o", "retires"), "what"]
        )

    def test_prices_before_the_decision_are_refused(self, filed):
        with pytest.raises(ValueError, match="before those of the decision, 2026-06-12"):
            review(filed, prices=tl.load_prices("maintained", as_of="2026-06-11"))

    def test_a_record_in_memory_will_do(self, filed):
        assert (
            isinstance(load_record(filed), Record)
            and review(load_record(filed), prices=JUNE).stands
        )


@st.composite
def tables(draw):
    """Tables of requests with every kind of token, some past the context steps."""
    count = st.integers(0, 3_000) | st.integers(0, 400_000)
    columns = ("uncached_input", "cache_read", "cache_write_short", "cache_write_long")
    used = draw(st.lists(st.sampled_from(columns[1:]), unique=True))
    rows = draw(
        st.lists(
            st.tuples(
                *[count if c in ("uncached_input", *used) else st.just(0) for c in columns],
                st.integers(1, 2_000),
            ),
            min_size=1,
            max_size=5,
        )
    )
    return pd.DataFrame(rows, columns=[f"{column}_tokens" for column in (*columns, "output")])


class TestSameDay:
    """What was filed and is judged on the same day has not changed."""

    def assert_nothing_changed(self, **asked):
        with tempfile.TemporaryDirectory() as folder:
            path = file_record(decide(**asked), Path(folder), title="x")
            found, record = review(path, prices=JUNE), load_record(path)
        assert found.stands and set(found.changes["kind"]) <= {"retires"}, (
            found
        )  # a day to come is no change
        assert found.money.at["kept", "expected_usd"] == pytest.approx(
            found.money.at["decided", "expected_usd"]
        )
        assert "as much as when it was filed" in found.verdict and not any(
            "was it edited" in line for line in found.grounds
        )
        assert set(found.table["model_id"]) == {row["model_id"] for row in record.candidates}

    @given(
        tables(),
        st.sampled_from([0.0, 0.3]),
        st.sampled_from([0.0, 0.5]),
        st.sampled_from(["anthropic", "google", None]),
    )
    @settings(
        deadline=None, max_examples=25, phases=[Phase.explicit, Phase.reuse, Phase.generate]
    )  # shrinking takes minutes
    def test_tables(self, table, reasoning, batch, provider):
        cached = (
            table.filter(like="cache").to_numpy().any() and provider != "anthropic"
        )  # the others have no batch rates for it
        work = tl.Workload(
            requests_per_day=100,
            table=table,
            reasoning_share=reasoning,
            batch_share=0 if cached else batch,
        )
        self.assert_nothing_changed(workload=work, provider=provider)

    @pytest.mark.parametrize(
        "shape",
        [
            {"input_tokens": (400, 600), "requests_per_day": (10, 20)},
            {"input_spread": 0.5, "output_spread": 0.3, "turns": 3},
            {"cache_hit_rate": (0.2, 0.4), "cache_ttl": "long"},
            {"reasoning_share": 0.4, "batch_share": 0.5},
            {"monthly_growth": 0.1},
        ],
    )
    @pytest.mark.parametrize("second_usd", [0.0, 0.001])
    def test_shapes(self, shape, second_usd):
        self.assert_nothing_changed(
            workload=tl.Workload(**{"requests_per_day": 50} | shape), second_usd=second_usd
        )

    def test_a_table_past_a_context_step_keeps_its_bill(self, tmp_path):
        table = pd.DataFrame({"uncached_input_tokens": [100, 300_000], "output_tokens": [100, 100]})
        work = tl.Workload(requests_per_day=10, table=table)
        path = file_record(
            decide(workload=work, models=["gemini-3.1-pro-preview"], provider=None),
            tmp_path,
            title="x",
        )
        found = review(path, prices=JUNE)
        # up to 200,000 tokens 2 and 12 a million, above 4 and 18
        bill = 10 * ((100 * 2 + 100 * 12) + (300_000 * 4 + 100 * 18)) / 2 / 1e6
        assert found.stands and found.money.loc[
            ["decided", "kept"], "bill_usd"
        ].tolist() == pytest.approx([bill, bill])
        assert any("which a review keeps" in line for line in load_record(path).grounds)


class TestJudgement:
    def test_a_model_left_out_on_purpose_stays_out(self, tmp_path):
        rates = {"claude-sonnet-4-6": 0.06, "gpt-4o-mini": 0.30}
        path = file_record(
            decide(models=list(rates), provider=None, error_rates=rates), tmp_path, title="x"
        )
        assert set(review(path, prices=JUNE).table["model_id"]) == set(
            rates
        )  # not Haiku 4.5, not GPT-4o
        later = review(path, prices=NOVEMBER)
        assert {"claude-haiku-4-5", "gpt-4o"}.isdisjoint(later.table["model_id"])
        assert {"claude-haiku-5-5", "gpt-6.1-terra"} <= set(later.table["model_id"])

    def test_a_decision_before_the_first_lineup_knows_the_first(self, filed):
        edit(filed, lambda head: head["prices"].update(as_of=datetime.date(2026, 1, 5)))
        assert review(filed, prices=JUNE).changes.empty
        assert "claude-sonnet-5-5" in set(review(filed, prices=NOVEMBER).table["model_id"])

    def test_a_choice_without_a_tier_says_what_was_not_compared(self, tmp_path):
        path = file_record(
            decide(models=["o3"], provider=None, error_rates={"o3": 0.01}), tmp_path, title="x"
        )
        found = review(path, prices=tl.load_prices("maintained", as_of="2026-06-20"))
        assert (
            "o3 has no tier: no model of today's lineup was compared in its place" in found.grounds
        )

    def test_a_new_model_borrows_from_its_own_place_else_from_the_tier(self, tmp_path):
        rates = {"claude-sonnet-4-6": 0.06, "gpt-4o": 0.10, "gemini-3.1-pro-preview": 0.05}
        seconds = {"claude-sonnet-4-6": 4.0, "gpt-4o": 2.0, "gemini-3.1-pro-preview": 9.0}
        asked = {
            "models": list(rates),
            "provider": None,
            "error_rates": rates,
            "seconds": seconds,
            "second_usd": 1e-6,
        }
        found = review(file_record(decide(**asked), tmp_path, title="x"), prices=NOVEMBER)
        own = found.table.set_index("model_id")
        assert own.loc[["claude-sonnet-5-5", "gpt-6.1-terra"], "error_rate"].tolist() == [
            0.06,
            0.10,
        ]
        assert own.loc[["claude-sonnet-5-5", "gpt-6.1-terra"], "seconds"].tolist() == [4.0, 2.0]
        # Google had no mid-tier candidate: the mean of the two others; Anthropic and OpenAI no flagship: Gemini's
        assert own.loc["gemini-3.8-flash", ["error_rate", "seconds"]].tolist() == pytest.approx(
            [0.08, 3.0]
        )
        assert own.loc["gpt-6-astra", ["error_rate", "seconds"]].tolist() == [0.05, 9.0]
        assert "those of gpt-4o" in next(
            line for line in found.grounds if line.startswith("gpt-6.1-terra")
        )

    def test_a_choice_that_stands_but_retires_says_when(self, tmp_path):
        rates = {"gpt-4o-mini": 0.3, "gpt-4o": 0.01}
        path = file_record(
            decide(models=list(rates), provider=None, error_rates=rates), tmp_path, title="x"
        )
        found = review(
            path, prices=tl.load_prices("maintained", as_of="2026-11-22")
        )  # the next lineup is of the 23rd
        assert found.stands and found.verdict.endswith("but it retires on 2027-01-14.")
        early = review(
            path, prices=tl.load_prices("maintained", as_of="2026-07-13")
        )  # six months before are the 14th
        assert early.stands and "retires" not in early.verdict

    def test_what_was_decided_follows_from_the_numbers_in_the_head(self, filed):
        edit(
            filed,
            lambda head: head.update(error_cost_usd=0.1, error_cost_low=0.1, error_cost_high=0.1),
        )
        found = review(filed, prices=JUNE)
        # 10,000 requests at 0.006, and 6% of them wrong at ten cents, not at the twenty of expected_usd
        row = found.money.loc["decided", ["bill_usd", "errors_usd", "time_usd", "expected_usd"]]
        assert row.tolist() == pytest.approx([60, 60, 0, 120]) and any(
            "was it edited" in line for line in found.grounds
        )

    @pytest.mark.parametrize(("batch", "waiting"), [(0.0, 20.0), (0.5, 10.0)])
    def test_waiting_is_seconds_times_their_value_for_what_is_not_in_batch(
        self, tmp_path, batch, waiting
    ):
        work = tl.Workload(requests_per_day=10_000, batch_share=batch)
        path = file_record(
            decide(workload=work, second_usd=0.001, seconds=dict.fromkeys(RATES, 2.0)),
            tmp_path,
            title="x",
        )
        assert review(path, prices=JUNE).money["time_usd"].tolist() == pytest.approx([waiting] * 3)

    def test_the_range_of_an_error_is_in_the_verdict(self, tmp_path):
        rates = {"claude-haiku-4-5": 0.10, "claude-opus-4-8": 0.05}
        asked = {
            "models": list(rates),
            "provider": None,
            "error_rates": rates,
            "error_cost_usd": None,
            "prices": JUNE,
        }
        path = file_record(decide(**asked), tmp_path, title="x")
        edit(path, lambda head: head.update(error_cost_low=0.1, error_cost_high=10.0))
        found = review(path, prices=JUNE)
        # Opus costs 0.008 more and errs 5 points less: it pays above 16 cents. The cost of an error is 1, from 0.1 to 10 evenly
        # in powers of ten: above 16 cents in (1 - log10 0.16) / 2 = 90% of cases.
        share = found.money.at["best", "best_share"]
        assert (
            share == pytest.approx(0.898, abs=0.03)
            and f"the cheapest in {share:.0%} of the draws" in found.verdict
        )
        # 5% of the draws lie below 10^-0.9, as many above 10^0.9
        ends = [10_000 * (0.010 + 0.05 * 10**power) for power in (-0.9, 0.9)]
        assert found.money.loc["best", ["low_usd", "high_usd"]].tolist() == pytest.approx(
            ends, rel=0.15
        )
        assert "in 90% of 1,000 draws" in found.verdict

    def test_growth_is_said_to_be_left_out(self, tmp_path):
        path = file_record(
            decide(workload=tl.Workload(requests_per_day=10, monthly_growth=0.1)),
            tmp_path,
            title="x",
        )
        assert any("volume on the first day" in line for line in review(path, prices=JUNE).grounds)

    def test_a_price_of_samples_stands(self, tmp_path):
        """My model is in no catalogue; Opus is, and cost in the samples what it did there."""
        rows = [
            {"prompt_id": i, "model_id": model, "score": float(i % 20 > 0), "cost_usd": cost}
            for model, cost in (("mine", 0.001), ("claude-opus-4-8", 0.004))
            for i in range(100)
        ]
        asked = {"samples": pd.DataFrame(rows), "provider": None, "error_rates": None}
        path = file_record(decide(**asked), tmp_path, title="x")
        assert {row["price_basis"] for row in load_record(path).candidates} == {"samples"}
        found = review(path, prices=JUNE)
        assert found.stands and found.changes.empty
        assert found.table.set_index("model_id")["price_usd"].to_dict() == pytest.approx(
            {"mine": 0.001, "claude-opus-4-8": 0.004}
        )
        said = " ".join(found.grounds)
        assert (
            "mine is not in the catalogue: its price as filed stands, $0.001 a request, from samples"
            in said
        )
        assert (
            "the price of claude-opus-4-8 as filed, from samples, moves with the catalogue's rates"
            in said
        )

    def test_only_a_model_of_the_catalogue_can_leave_it(self, filed, tmp_path):
        rows = pd.DataFrame(
            {
                "model_id": ["claude-sonnet-4-6"],
                "provider": "anthropic",
                "tier": "mid",
                "valid_from": "2026-07-01",
                "uncached_input": [3.0],
                "output": [15.0],
            }
        )
        rows.to_csv(tmp_path / "p.csv", index=False)
        found = review(filed, prices=tl.load_prices(tmp_path / "p.csv", as_of="2026-07-02"))
        gone = found.changes.query("kind == 'retired'")
        assert set(gone["model_id"]) == {"claude-haiku-4-5", "claude-opus-4-8"}
        assert set(gone["what"]) == {"no longer in the catalogue"}

    def test_display_names_are_resolved(self, filed):
        def rename(head):
            head["model_id"] = "Claude Sonnet 4.6"
            row = next(row for row in head["candidates"] if row["model_id"] == "claude-haiku-4-5")
            row["model_id"] = "anthropic/claude-haiku-4.5"

        found = review(edit(filed, rename), prices=JUNE)
        assert found.stands and found.money.at["kept", "model_id"] == "claude-sonnet-4-6"
        assert "claude-haiku-4-5" in set(found.table["model_id"]) and found.changes.empty


def run(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "tierlab", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
    )


class TestCommands:
    def test_recommend_files_what_review_judges(self, tmp_path):
        path = tmp_path / "triage.md"
        asked = [
            "recommend",
            "contract triage",
            "--stakes",
            2,
            "--complexity",
            1,
            "--error-cost-usd",
            5,
            "--provider",
            "openai",
        ]
        done = run(
            *asked,
            "--as-of",
            "2026-06-12",
            "--count",
            "mid",
            2,
            80,
            "--file",
            path,
            "--owner",
            "Ana",
        )
        assert done.returncode == 0, done.stderr
        assert str(path) in done.stdout and "What would change it" in done.stdout
        assert "low and high of total_usd: 90% of 1,000 draws" in done.stdout
        record = load_record(path)
        assert (record.task, record.owner, record.basis, record.examples) == (
            "contract triage",
            "Ana",
            "counted",
            80,
        )
        # 500 tokens in, 300 out, an error 5 USD. Error rates: 3% and 2% assumed at complexity 1, (2 + 1/2) / (80 + 1) counted.
        per = {
            "gpt-4o-mini": (500 * 0.15 + 300 * 0.6) / 1e6 + 5 * 0.03,
            "gpt-4o": (500 * 2.5 + 300 * 10) / 1e6 + 5 * 2.5 / 81,
            "gpt-5.5": (500 * 5 + 300 * 30) / 1e6 + 5 * 0.02,
        }
        assert record.model_id == min(per, key=per.get) == "gpt-5.5"
        # The three that are new in November, with the error rates of the three they follow.
        per |= {
            "gpt-6-luna": (500 * 0.1 + 300 * 0.5) / 1e6 + 5 * 0.03,
            "gpt-6.1-terra": (500 * 1 + 300 * 5) / 1e6 + 5 * 2.5 / 81,
            "gpt-6-astra": (500 * 10 + 300 * 50) / 1e6 + 5 * 0.02,
        }
        assert min(per, key=per.get) == "gpt-5.5"
        done = run("review", path, "--as-of", "2026-11-23")
        assert (
            done.returncode == 0
            and f"gpt-5.5 is still the cheapest, ${1_000 * per['gpt-5.5']:,.0f} a day"
            in done.stdout
        )

    def test_a_decision_that_flips_is_exit_status_1_and_a_bad_file_2(self, filed, tmp_path):
        done = run(
            "review", filed, "--as-of", "2026-11-23"
        )  # Sonnet 5.5 costs a third less, see above
        assert done.returncode == 1 and "flips on 2026-11-23" in done.stdout
        (tmp_path / "bad.md").write_text("# no head\n", "utf-8")
        done = run("review", tmp_path / "bad.md", filed, "--as-of", "2026-11-23")
        assert (
            done.returncode == 2
            and "bad.md: no YAML with the numbers" in done.stderr
            and "flips on 2026-11-23" in done.stdout
        )

    @pytest.mark.parametrize(
        ("options", "says"),
        [
            (("--count", "mid", 6, 80, "--count", "mid", 60, 80), "--count names 'mid' twice"),
            (("--count", "smal", 6, 80), "--count: unknown model or tier 'smal'; did you mean"),
            (("--margin", 5), "--margin 5.0; a share between 0 and 1"),
            (("--cache-hit-rate", 60), "--cache-hit-rate 60.0; allowed: a number from 0 to 1"),
            (("--as-of", "01/02/2026"), "'01/02/2026' is not a date; write it as 'YYYY-MM-DD'"),
            (("--file", ".", "--decided-on", "2026"), "'2026' is not a date"),
        ],
    )
    def test_a_fault_is_told_in_the_words_of_the_command(self, capsys, options, says):
        asked = ["recommend", "code_review", "--provider", "openai", *map(str, options)]
        assert main(asked) == 2
        told = capsys.readouterr()
        assert says in told.err and not told.out  # refused before anything is worked out

    def test_counts_are_whole_numbers(self):
        done = run(
            "recommend", "code_review", "--provider", "openai", "--count", "mid", "six", "80"
        )
        assert (
            done.returncode == 2 and "Invalid value for --count: unable to convert" in done.stderr
        )

    def test_only_markdown_is_filed(self, tmp_path):
        done = run("recommend", "code_review", "--error-cost-usd", 1, "--file", tmp_path / "x.txt")
        assert (
            done.returncode == 2 and "ends in .md" in done.stderr and not list(tmp_path.iterdir())
        )

    def test_a_mistake_is_one_line_and_exit_status_2(self, tmp_path):
        done = run("recommend", "code_revew")
        assert (
            done.returncode == 2
            and done.stderr.count("\n") == 1
            and "did you mean 'code_review'" in done.stderr
        )
        done = run("review", tmp_path / "nothing.md")
        assert done.returncode == 2 and "nothing.md" in done.stderr


class TestVersion1:
    """A record that the kit filed before its records said what their draws are made of."""

    FILE = Path(__file__).parent / "record_version_1.md"

    def test_it_is_read_with_every_number(self):
        record = load_record(self.FILE)
        assert (record.title, record.model_id) == ("Support chatbot", "claude-opus-4-8")
        rates = {row["model_id"]: row["error_rate"] for row in record.candidates}
        assert rates == pytest.approx(
            {"claude-opus-4-8": 0.05, "claude-sonnet-4-6": 6.5 / 81, "claude-haiku-4-5": 0.12}
        )
        assert (record.examples, record.examples_needed) == (80, 0)

    def test_it_is_judged_and_says_what_it_lacks(self):
        found = review(self.FILE, prices=JUNE)
        # Opus: 0.010 a request, 5% of 20 cents, 1.2 s and 299 tokens at 55 a second at 0.0005 USD
        paid = 10_000 * (0.010 + 0.05 * 0.2 + (1.2 + 299 / 55) * 0.0005)
        assert found.money["expected_usd"].tolist() == pytest.approx([paid] * 3)
        assert found.stands and found.changes.empty
        assert any("does not say how its error rates were counted" in x for x in found.grounds)
        assert review(self.FILE, prices=NOVEMBER).changes["kind"].eq("new").any()

    def test_it_is_replaced_by_one_of_today(self, tmp_path):
        path = tmp_path / "a.md"
        path.write_bytes(self.FILE.read_bytes())
        file_record(decide(), path, title="again", replace=True)
        assert load_record(path).kind.endswith("version 2")
