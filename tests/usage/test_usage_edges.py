"""Logs at their edges: the last count that is one, the last second of a century, equal totals, spans above spans."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import tierlab as tl
from tierlab.usage.columns import buckets, statuses, tiers, units
from tierlab.usage.reader import added, children, has_field, loaded, picked, unfolded
from tierlab.usage.repeats import containers, covered, logged_and_reported, repeats, shared
from tierlab.usage.sheet import Sheet

NOTHING = np.uint64(0)


def sheet(**columns):
    return Sheet(pd.DataFrame(columns))


def numbers(found):
    return ["-" if np.isnan(x) else x for x in np.asarray(found, float)]


class TestCells:
    def test_numbers_up_to_a_thousand_million_millions(self):
        own = sheet(n=[1e15, 1.001e15, -1e15, -1.001e15, "7", "x", True, None, ""])
        found = own.numbers("n")
        assert numbers(found[[0, 2, 4, 7, 8]]) == [1e15, -1e15, 7, "-", "-"]
        assert [bool(why) for why in own.reason] == [
            False,
            True,
            False,
            True,
            False,
            True,
            True,
            False,
            False,
        ]

    def test_counts_are_whole_and_from_0_up(self):
        own = sheet(n=[0, 1, -1, 0.5, None])
        assert numbers(own.counts("n"))[:2] == [0, 1] and numbers(own.counts("n"))[4] == 0
        assert [bool(why) for why in own.reason] == [False, False, True, True, False]
        needed = sheet(n=[0, None])
        needed.counts("n", missing=None)
        assert needed.reason.tolist() == ["", "no n"]
        assert numbers(needed.counts("other")) == [0, 0]

    def test_times_from_2000_to_the_end_of_2099(self):
        text = ["2000-01-01T00:00:00Z", "1999-12-31T23:59:59.999999Z"]
        text += ["2099-12-31T23:59:59.999999Z", "2100-01-01T00:00:00Z", None, "soon"]
        own = sheet(at=text)
        own.times("at", missing=True)
        outside = "a time outside 2000-2099"
        assert own.reason.tolist() == ["", outside, "", outside, "", "not a time"]
        asked = sheet(at=[*text[:1], None])
        asked.times("at")
        assert asked.reason.tolist() == ["", "no at"]

    @pytest.mark.parametrize(("unit", "number"), [("s", 946_684_800.5), ("ns", 946684800.5e9)])
    def test_times_in_seconds_and_nanoseconds_since_1970(self, unit, number):
        found = sheet(at=[number]).times("at", unit=unit)
        assert found[0] == np.datetime64("2000-01-01T00:00:00.500000")

    def test_a_latency_may_be_0_and_never_negative(self):
        start = np.array(["2026-01-01T00:00:01"] * 3 + ["NaT"], "datetime64[us]")
        end = np.array(
            ["2026-01-01T00:00:01", "2026-01-01T00:00:02.5", "2026-01-01", "2026-01-01"],
            "datetime64[us]",
        )
        own = sheet(ms=[0, 1500, -1, "x"])
        assert numbers(own.seconds(start, end)) == [0, 1.5, "-", "-"]
        assert numbers(own.durations("ms", 0.001)) == [0, 1.5, "-", "-"]
        assert own.reason.tolist() == [""] * 4

    @pytest.mark.parametrize(
        ("code", "word"),
        [
            (99, "unavailable"),
            (100, "bad_request"),
            (404, "bad_request"),
            (429, "rate_limited"),
            (498, "bad_request"),
            (499, "cancelled"),
            (500, "unavailable"),
            (529, "overloaded"),
        ],
    )
    def test_the_word_of_a_status(self, code, word):
        assert statuses(sheet(code=[code]), "code", np.array([True])).tolist() == [word]

    def test_the_first_reason_stays(self):
        own = sheet(n=[1, 2])
        own.refuse([True, False], "one", "n")
        own.refuse([True, True], "two")
        assert own.reason.tolist() == ["one", "two"] and own.excerpt.tolist() == ["n=1", ""]

    def test_what_is_assumed_is_counted_by_row_with_its_size(self):
        own = sheet(n=[1, 2, 3])
        own.assume([True, False, True], "x", np.array([5.0, 7, 9]))
        own.assume([True, False, False], "x", 2)
        often, total = own.assumed["x"]
        assert often.tolist() == [2, 0, 1] and total.tolist() == [7, 0, 9]

    def test_money_is_in_dollars_and_has_a_unit(self):
        own = sheet(cents=[250, 100, None], currency=["usd", "EUR", "USD"])
        found = own.dollars("cents", per_usd=100)
        assert numbers(found["usd"]) == [2.5, 1, "-"] and own.money_only.all()
        assert own.reason.tolist() == ["", "a currency other than USD", "no cents"]
        assert sheet(usd=[1]).only_usd("currency").tolist() == [True]

    def test_an_id_names_a_row_within_its_scope_and_a_providers_id_everywhere(self):
        own = sheet(a=["x", "ab", "msg_1", "", None], b=["y", "", "", "", None])
        one, other = own.identity("one", "a", "b"), own.identity("two", "a", "b")
        assert (one[:2] != other[:2]).all() and one[3:].tolist() == [0, 0]
        assert own.identity("one", "a")[2] == own.identity("two", "a")[2] != 0
        split = sheet(a=["a", "ab"], b=["bc", "c"]).identity("s", "a", "b")
        assert split[0] != split[1]


class TestBuckets:
    def one(self, whole, output, *, total=None, **given):
        """Uncached, read, written, output (and reasoning) of one row, and its sheet."""
        own = sheet(n=[1])
        total = None if total is None else np.array([float(total)])
        whole, output = np.array([float(whole)]), np.array([float(output)])
        found = buckets(own, whole, output, total=total, **given)
        return [float(np.ravel(column)[0]) for column in found.values()], own

    def test_cached_tokens_inside_are_taken_out_once(self):
        cached = {"read": 600, "write_short": 200, "write_long": 100}
        found, own = self.one(1000, 50, cache_inside=True, **cached)
        assert found == [100, 600, 200, 100, 50] and own.reason[0] == ""
        found, own = self.one(900, 50, cache_inside=True, **cached)
        assert found[0] == 0 and own.reason[0] == ""
        assert self.one(899, 50, cache_inside=True, **cached)[1].reason[0] == (
            "more cached than input tokens"
        )
        assert self.one(899, 50, cache_inside=False, **cached)[0][0] == 899

    @pytest.mark.parametrize(
        ("total", "inside", "uncached", "told"),
        [
            (1050, True, 400, 0),
            (np.nan, True, 400, 0),
            (7, True, 400, 0),
            (1650, True, 1000, 1),
            (1650, False, 1000, 0),
            (1050, False, 400, 1),
        ],
    )
    def test_the_sources_own_total_says_where_the_cache_lies(self, total, inside, uncached, told):
        """1,000 of input, 600 read, 50 of output: 1,650 together, and 1,050 where the reads are inside."""
        found, own = self.one(1000, 50, total=total, read=600, cache_inside=inside)
        assert found[0] == uncached
        assert sum(often.sum() for often, _ in own.assumed.values()) == told

    @pytest.mark.parametrize(
        ("total", "inside", "output", "told"),
        [(150, True, 50, 0), (180, True, 80, 1), (180, False, 80, 0), (150, False, 50, 1)],
    )
    def test_and_where_the_reasoning_lies(self, total, inside, output, told):
        """100 of input, 50 of output, 30 of reasoning."""
        found, own = self.one(
            100, 50, total=total, cache_inside=True, reasoning=30, reasoning_inside=inside
        )
        assert found[4:] == [output, 30]
        assert sum(often.sum() for often, _ in own.assumed.values()) == told

    def test_a_total_that_fits_both_ways_tells_nothing(self):
        _, own = self.one(100, 50, total=150, cache_inside=True, reasoning=0)
        assert not sum(often.sum() for often, _ in own.assumed.values())

    @pytest.mark.parametrize(
        ("output", "reasoning", "memo", "refused"),
        [(50, 50, 50, False), (50, 51, 51, True), (0, np.nan, 0, False), (1, np.nan, "-", False)],
    )
    def test_reasoning_is_at_most_all_output(self, output, reasoning, memo, refused):
        found, own = self.one(100, output, cache_inside=True, reasoning=reasoning)
        assert numbers(found[5:]) == [memo] and bool(own.reason[0]) is refused

    def test_a_row_has_one_unit_the_largest(self):
        """Audio inside the input, searches beside it; of two alike the first."""
        audio, searches = np.array([5.0, 10, 0, 2, 11, 0]), np.array([3.0, 10, 0, 4, 0, 1])
        tokens = {"uncached_input_tokens": np.full(6, 10.0), "output_tokens": np.full(6, 4.0)}
        own = sheet(n=range(6))
        parts = {
            "input_audio_tokens": ("uncached_input_tokens", audio),
            "web_searches": (None, searches),
        }
        found = units(own, tokens, parts)
        assert found["unit"].tolist() == ["input_audio_tokens"] * 2 + [None, "web_searches"] + [
            "input_audio_tokens",
            "web_searches",
        ]
        assert numbers(found["quantity"]) == [5, 10, "-", 4, 11, 1]
        assert found["uncached_input_tokens"].tolist()[:4] == [5, 0, 10, 10]
        assert [bool(why) for why in own.reason] == [False] * 4 + [True, False]
        assert [often.sum() for often, _ in own.assumed.values()] == [1, 2]
        told = {what.split()[0]: size.tolist() for what, (_, size) in own.assumed.items()}
        assert told == {
            "input_audio_tokens": [0, 0, 0, 2, 0, 0],
            "web_searches": [3, 10, 0, 0, 0, 0],
        }

    def test_reasoning_is_no_more_than_the_output_that_is_left(self):
        tokens = {"output_tokens": np.array([10.0, 10]), "reasoning_tokens": np.array([8.0, 2])}
        parts = {"output_audio_tokens": ("output_tokens", np.array([6.0, 6]))}
        found = units(sheet(n=[1, 2]), tokens, parts)
        assert found["output_tokens"].tolist() == [4, 4]
        assert found["reasoning_tokens"].tolist() == [4, 2]

    @pytest.mark.parametrize(
        ("one", "two", "batch", "tier"),
        [
            ("flex", "batch", True, "flex"),
            ("batch", "priority", True, "priority"),
            ("default", "auto", False, "standard"),
            ("standard", "priority", False, "priority"),
            ("priority", "standard", False, "priority"),
            ("flex", "priority", False, "priority"),
            ("flex", None, False, "flex"),
            ("auto", "", False, None),
            ("true", "false", True, None),
        ],
    )
    def test_of_two_words_for_a_tier(self, one, two, batch, tier):
        found = tiers(sheet(a=[one], b=[two]), "a", "b")
        assert found["batch"].tolist() == [batch] and found["service_tier"].tolist() == [tier]


def reports(*rows):
    """(file, format, kind, provider, day, tokens or dollars) of rows of reports."""
    columns = ["file", "format", "kind", "provider", "at", "amount"]
    table = pd.DataFrame(rows, columns=columns)
    table["at"] = pd.to_datetime(table["at"])
    money = table["kind"].eq("money")
    table["uncached_input_tokens"] = table["amount"].mask(money, 0)
    table["usd"] = table["amount"].where(money, np.nan)
    return table.assign(model_id="m", key=NOTHING)


class TestReports:
    def dropped(self, *rows, order=("best", "other")):
        table = reports(*rows)
        twice, overlaps = covered(table, np.zeros(len(table), bool), list(order))
        return twice.tolist(), overlaps

    @pytest.mark.parametrize(("fuller", "dropped"), [(100, [False, True]), (101, [True, False])])
    def test_the_better_kind_counts_down_to_nine_tenths(self, fuller, dropped):
        rows = [
            (0, "best", "usage", "p", "2026-07-01", 90),
            (1, "other", "usage", "p", "2026-07-01", fuller),
        ]
        found, overlaps = self.dropped(*rows)
        assert found == dropped
        kept = ["best", "other"] if dropped[1] else ["other", "best"]
        assert overlaps[["kept", "dropped"]].to_numpy().tolist() == [kept]

    def test_other_days_providers_and_kinds_are_not_the_same_usage(self):
        first = (0, "best", "usage", "p", "2026-07-01", 90)
        for other in (
            (1, "other", "usage", "p", "2026-07-02", 90),
            (1, "other", "usage", "q", "2026-07-01", 90),
            (1, "other", "money", "p", "2026-07-01", 90),
        ):
            assert self.dropped(first, other)[0] == [False, False]

    def test_of_one_amount_in_two_groupings_the_finer_counts(self):
        """90 in one row, and in two files with two rows each: the first of the finer ones stays."""
        day = ("best", "usage", "p", "2026-07-01")
        rows = [(0, *day, 90), (1, *day, 40), (1, *day, 50), (2, *day, 45), (2, *day, 45)]
        found, overlaps = self.dropped(*rows)
        assert found == [True, False, False, True, True]
        assert overlaps["rows"].tolist() == [3]
        # amounts that differ are two accounts
        rows[0] = (0, *day, 91)
        assert self.dropped(*rows)[0] == [False, False, False, True, True]

    def test_of_one_bucket_the_file_that_holds_more_of_it_counts(self):
        """Bucket 1 is fuller in the second file, bucket 2 the same in both."""
        table = reports(
            (0, "f", "usage", "p", "2026-07-01", 10),
            (1, "f", "usage", "p", "2026-07-01", 12),
            (0, "f", "usage", "p", "2026-07-01", 7),
            (1, "f", "usage", "p", "2026-07-01", 7),
            (1, "f", "usage", "p", "2026-07-01", 7),
        )
        table["key"] = np.array([1, 1, 2, 2, 0], "uint64")
        for column in ("cache_read", "cache_write_short", "cache_write_long", "output"):
            table[f"{column}_tokens"] = 0
        table["usd"] = 0.0
        _, twice, again = repeats(table, np.zeros(5, bool))
        assert twice.tolist() == [True, False, False, True, False] and not again.any()

    def test_the_same_requests_in_two_files_of_one_format_are_told(self):
        at, tokens = pd.Timestamp("2026-07-01 12:00"), 5
        table = pd.DataFrame(
            {
                "at": at,
                "model_id": ["m", "m", "m", "n", "m"],
                "file": [0, 1, 2, 1, 0],
                "format": ["f", "f", "g", "f", "f"],
                "kind": "requests",
                "provider": "p",
                "key": np.array([0, 0, 0, 0, 9], "uint64"),
                "uncached_input_tokens": tokens,
            }
        )
        found = shared(table)
        assert found[["kept", "rows"]].to_numpy().tolist() == [["f", 2]]
        assert shared(table[table["file"] == 0]).empty
        assert shared(table[table["file"] != 1]).empty

    def test_days_with_requests_and_a_report_of_one_maker_are_told(self):
        table = pd.DataFrame(
            {
                "at": pd.to_datetime(
                    ["2026-07-01 05:00", "2026-07-01 00:00", "2026-07-02 05:00", "2026-07-01 00:00"]
                ),
                "model_id": ["gpt-4o", "", "gpt-4o", ""],
                "kind": ["requests", "usage", "requests", "usage"],
                "format": ["log", "openai_usage", "log", "anthropic_usage"],
                "provider": ["", "openai", "", "anthropic"],
            }
        )
        found = logged_and_reported(table)
        assert found[["provider", "rows"]].to_numpy().tolist() == [["openai", 2]]
        assert found["kept"].tolist() == ["log, openai_usage"]


class TestSpans:
    def found(self, rows, aside=()):
        columns = ["span", "parent", "uncached_input_tokens"]
        table = pd.DataFrame(rows, columns=columns).astype({"span": "uint64", "parent": "uint64"})
        rest = pd.DataFrame(list(aside), columns=columns[:2]).astype("uint64")
        above, more = containers(table, rest)
        return above.tolist(), more.tolist()

    def test_a_span_counts_what_is_below_it_and_the_rest_is_told(self):
        """100 above 60 and 30, and above those 5: 10 were its own or are missing; 30 has 5 below it."""
        rows = [(1, 0, 100), (2, 1, 60), (3, 1, 30), (4, 3, 5), (9, 0, 7)]
        assert self.found(rows) == ([True, False, True, False, False], [35, 0, 25, 0, 0])

    def test_a_span_without_usage_links_and_counts_nothing(self):
        assert self.found([(1, 0, 100), (3, 2, 100)], [(2, 1)]) == ([True, False], [0, 0])
        assert self.found([(1, 0, 90), (3, 2, 100)], [(2, 1)]) == ([True, False], [0, 0])
        assert self.found([(1, 0, 100), (3, 1, 0)]) == ([False, False], [0, 0])

    def test_spans_in_a_circle_are_above_none_of_each_other(self):
        assert self.found([(1, 2, 10), (2, 1, 10), (3, 3, 10)])[0] == [False, False, False]


class TestRecords:
    def test_sums_of_what_is_there(self):
        assert added([1, None, 2.5]) == 3.5 and added([None]) is None and added([]) is None
        assert added([1, "x", 2]) == "x" and added([True, 1]) is True and added([0, 0]) == 0
        assert added(["200", "50", 1]) == 251 and added(["nan", 1]) == "nan"

    def test_objects_of_a_list(self):
        assert children({"a": [{"b": 1}, 5]}, "a") == [{"b": 1}, None]
        assert children({"a": 5}, "a") == [None] and children({}, "a") == []
        assert list(unfolded({"x": 1, "a": [{"b": 2}, 3]}, ["a"])) == [
            {"x": 1, "a": [{"b": 2}, 3], "b": 2},
            None,
        ]
        assert loaded('{"a": 1}') == {"a": 1} and loaded("a") == {} and loaded("[1]", list) == [1]

    def test_marks_look_into_objects_and_the_first_twenty_of_a_list(self):
        record = {"a": {"b": [{}] * 19 + [{"c": 1}]}, "kind": "x"}
        assert has_field(record, "a.b.c") and not has_field(
            {"a": {"b": [{}] * 20 + [{"c": 1}]}}, "a.b.c"
        )
        assert (
            has_field(record, "kind=x")
            and not has_field(record, "kind=y")
            and has_field(record, "kind")
        )
        assert not has_field({"kinds": "x"}, "kind=x") and not has_field([], "kind")

    def test_the_first_place_that_holds_a_value_counts_and_of_a_counter_the_first_above_0(self):
        rows = picked({"id": ("id", "other.id"), "n": ("usage.n", "usage.m")}, usage=("usage",))
        records = [
            {"id": 0, "other": {"id": 7}, "usage": {"n": 0, "m": 5}},
            {"other": {"id": 7}, "usage": {"n": 4, "m": 4}},
            {"usage": {"n": 4, "m": 5, "new": 3}},
        ]
        found = [row for _, row in rows(enumerate(records))]
        assert [(row["id"], row["n"]) for row in found] == [(0, 5), (7, 4), (None, 4)]
        assert [row["unread"] for row in found] == [None, None, {"usage.m": 5.0, "new": 3.0}]


SAMPLES = Path(__file__).parent.parent / "data" / "usage"


class TestFormats:
    """One field of a source, and what it becomes."""

    def read(self, tmp_path, name, *lines):
        (tmp_path / name).write_text("\n".join(lines) + "\n")
        return tl.read_usage(tmp_path / name).requests

    @pytest.mark.parametrize("column", ["Provider Name", "Endpoint ID", "Slug", "Date"])
    def test_rows_of_a_day_that_differ_in_one_name_are_two(self, tmp_path, column):
        text = (SAMPLES / "openrouter_activity_daily.csv").read_text().splitlines()
        head, row = (
            f"{line},{more}"
            for line, more in zip(
                text, ('"Provider Name","Endpoint ID"', '"OpenAI","e1"'), strict=True
            )
        )
        changed = {
            "Provider Name": row.replace('"OpenAI"', '"Azure"'),
            "Endpoint ID": row.replace('"e1"', '"e2"'),
            "Slug": row.replace("gpt-5.5", "gpt-4o"),
            "Date": row.replace("09-01", "09-02"),
        }
        assert len(self.read(tmp_path, "days.csv", head, row, changed[column])) == 2
        assert len(self.read(tmp_path, "days.csv", head, row, row)) == 1

    def test_where_anthropic_ran_a_request_is_its_region(self, tmp_path):
        lines = (SAMPLES / "claude_code_session.jsonl").read_text().splitlines()[:2]
        placed = lines[1].replace('"service_tier"', '"inference_geo": "us", "service_tier"')
        found = self.read(tmp_path, "session.jsonl", lines[0], placed)
        assert found["region"].tolist() == ["us"]

    def test_a_source_that_tells_no_reasoning_has_none_to_show(self):
        """A source that does not say how much of the output was reasoning says not that it was nothing."""
        found = tl.read_usage(SAMPLES / "copilot.csv").requests
        assert "reasoning_tokens" not in found or found["reasoning_tokens"].isna().all()

    def test_a_charge_that_says_batch_is_one(self, tmp_path):
        head, line = (SAMPLES / "focus_ai.csv").read_text().splitlines()[:2]
        batch = line.replace(
            "claude-haiku-4-5-20251001 input", "claude-haiku-4-5-20251001 Batch input"
        )
        assert self.read(tmp_path, "focus.csv", head, line)["batch"].tolist() == [False]
        assert self.read(tmp_path, "focus.csv", head, batch)["batch"].tolist() == [True]
