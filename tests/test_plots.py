"""Figures: what is drawn equals the table, tiers look as the house says, labels do not collide, files repeat."""

import base64
import itertools
import re

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import tierlab as tl
from tierlab.article import figures as article_figures
from tierlab.core import finding, format, paths, style
from tierlab.prices import figures as prices_figures
from tierlab.scaling import costs
from tierlab.scaling import figures as scaling_figures

# The article's lineup: provider, tier, model, USD per million tokens in and out.
ARTICLE = [
    ("anthropic", "small", "claude-haiku-4-5", 1.00, 5.00),
    ("anthropic", "mid", "claude-sonnet-4-6", 3.00, 15.00),
    ("anthropic", "flagship", "claude-opus-4-8", 5.00, 25.00),
    ("openai", "small", "gpt-4o-mini", 0.15, 0.60),
    ("openai", "mid", "gpt-4o", 2.50, 10.00),
    ("openai", "flagship", "gpt-5.5", 5.00, 30.00),
    ("google", "small", "gemini-2.5-flash-lite", 0.10, 0.40),
    ("google", "mid", "gemini-3.5-flash", 0.30, 2.50),
    ("google", "flagship", "gemini-3.1-pro-preview", 2.00, 12.00),
]
TIER_LOOKS = {
    "small": ("#0173B2", "o", "-"),
    "mid": ("#DE8F05", "s", "--"),
    "flagship": ("#D55E00", "^", "-."),
}


def models():
    return pd.DataFrame(
        ARTICLE, columns=["provider", "tier", "model_id", "uncached_input", "output"]
    )


def daily():
    """A million requests of 500 and 300 tokens; the approximate price taken as a tenth either way."""
    table = models()
    cost = 500 * table["uncached_input"] + 300 * table["output"]
    rough = table["model_id"] == "gpt-5.5"
    table = table.assign(
        cost_usd=cost, low=cost.where(~rough, cost * 0.9), high=cost.where(~rough, cost * 1.1)
    )
    return table.assign(
        interval=np.where(rough, "price a tenth either way", ""),
        flags=np.where(rough, "approximate_price", ""),
    )


def by_bucket():
    table = models()
    shares = {"uncached_input_usd": 100, "cache_read_usd": 20, "cache_write_usd": 250}
    return table.assign(
        **{name: n * table["uncached_input"] for name, n in shares.items()},
        output_usd=300 * table["output"],
    )


def curve():
    days = [daily().assign(requests_per_day=n * 100_000) for n in range(21)]
    for n, day in enumerate(days):
        day[["cost_usd", "low", "high"]] *= n / 10
    return pd.concat(days, ignore_index=True)


def curve_to_window():
    """A day of 10,000 requests over input length; two models end at 128,000 tokens."""
    parts = []
    for tokens in (1_000, 64_000, 128_000, 128_001, 400_000, 800_000):
        table = models()
        cost = (tokens * table["uncached_input"] + 300 * table["output"]) / 100
        fits = ~table["model_id"].str.startswith("gpt-4o") | (tokens <= 128_000)
        parts.append(table.assign(input_tokens=tokens, cost_usd=cost.where(fits)))
    return pd.concat(parts, ignore_index=True)


def calendar():
    """Two scheduled rises; everything else stays."""
    lineup = [
        ("anthropic", "flagship", "claude-opus-5-5", 8000),
        ("google", "flagship", "gemini-4-argon", 4000),
        ("google", "mid", "gemini-3.8-flash", 1500),
        ("openai", "mid", "gpt-6.1-terra", 2000),
    ]
    days = pd.DataFrame({"on": pd.date_range("2026-11-01", "2027-02-01")})
    table = pd.DataFrame(lineup, columns=["provider", "tier", "model_id", "cost_usd"]).merge(
        days, how="cross"
    )
    table["change"] = ""
    for model_id, on in (("gemini-4-argon", "2026-12-01"), ("gemini-3.8-flash", "2027-01-01")):
        this = table["model_id"] == model_id
        cost = table.loc[this, "cost_usd"].iloc[0]
        table.loc[this & (table["on"] >= on), "cost_usd"] = 2 * cost
        table.loc[this & (table["on"] == on), "change"] = f"${cost:,} to ${2 * cost:,}"
    return table


def ladder():
    """The article's nine models at 500 tokens in and 300 out: USD of 1,000 messages."""
    work = tl.Workload(requests_per_day=1_000, input_tokens=500, output_tokens=300)
    costs = tl.daily_cost(work, tl.load_prices("article"))
    return costs.assign(usd=costs["cost_usd"])


def cliff():
    return tl.load_prices("article").in_force().query("model_id == 'gemini-3.1-pro-preview'")


def offers():
    return pd.DataFrame(
        {
            "bought": ["sonnet, anthropic", "sonnet, bedrock, us-east-1", "sonnet, bedrock"],
            "tier": "mid",
            "usd": [4.0, 4.4, 4.4],
            "flags": ["", "", "assumed_region"],
        }
    )


WAYS = pd.DataFrame(
    {"flagship": [10_000, 2_000], "small": [0, 1_600], "router": [0, 560]},
    index=["all on Opus", "80/20, router paid"],
)


def bends():
    prices = tl.load_prices("maintained", as_of="2026-11-23")
    return costs.what_bends(tl.load_product(), prices, prices.models(), until="2027-11-23")


def sessions(turns):
    prices = tl.load_prices("maintained", as_of="2026-06-12")
    models = prices.lineup().loc["anthropic"]
    return costs.session_costs(tl.load_product().conversation, prices, models, turns=turns)


def one_session():
    return sessions(5).query("model_id == 'claude-sonnet-4-6'")


def write_multiples():
    """Hit rate h: h x 0.1 + (1 - h) x write; it pays above (write - 1)/(write - 0.1)."""
    hit = np.linspace(0, 1, 11)
    kinds = {"5-minute write (1.25x)": 1.25, "1-hour write (2x)": 2.0}
    parts = [
        {
            "cache_hit_rate": hit,
            "write": name,
            "cost_multiple": hit * 0.1 + (1 - hit) * fee,
            "break_even": (fee - 1) / (fee - 0.1),
        }
        for name, fee in kinds.items()
    ]
    return pd.concat([pd.DataFrame(part) for part in parts])


def trace():
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "uncached_input_tokens": rng.lognormal(6.5, 1, 501).astype(int),
            "cache_read_tokens": 512,
            "output_tokens": rng.lognormal(4.8, 1, 501).astype(int) + 1,
        }
    )


WINDOWS = pd.Series(
    {
        "gpt-4o": 128_000,
        "gpt-4o-mini": 128_000,
        "claude-haiku-4-5": 200_000,
        "claude-opus-4-8": 1_000_000,
        "gpt-5.5": 1_050_000,
        "gemini-3.5-flash": 1_048_576,
    }
)
HITS = pd.DataFrame(
    {"ttl_s": [10, 60, 300, 3600, np.inf], "cache_hit_rate": [0.02, 0.1, 0.22, 0.368, 0.374]}
)
CLAIMS = pd.DataFrame(
    {
        "section": ["Why It Matters"] * 3 + ["FAQ"] * 2,
        "verdict": ["supported", "contradicted", "supported", "not checkable", "contradicted"],
    }
)
READINGS = pd.DataFrame(
    {
        "stem": ["A costs 30 to 50 times B"] * 2 + ["C saves 40-60%"],
        "case": ["Anthropic", "Google, to 200,000 input tokens", "OpenAI"],
        "low": [30, 30, 0.4],
        "high": [50, 50, 0.6],
        "computed_low": [5, 33.3, 0.5],
        "computed_high": [5, 50, 0.667],
        "unit": ["x", "x", "share"],
        "verdict": ["contradicted", "supported", "contradicted"],
    }
)
FIGURES = {
    "tier_ladder_drawing": lambda: prices_figures.tier_ladder_drawing(ladder()),
    "context_cliff_drawing": lambda: prices_figures.context_cliff_drawing(cliff()),
    "routed_bill": lambda: prices_figures.routed_bill(WAYS),
    "bought": lambda: prices_figures.bought(offers()),
    "cost_bars": lambda: prices_figures.cost_bars(daily()),
    "cost_by_bucket": lambda: prices_figures.cost_by_bucket(by_bucket()),
    "cost_curve": lambda: scaling_figures.cost_curve(curve(), over="requests_per_day"),
    "cost_curve_one": lambda: scaling_figures.cost_curve(
        curve(), over="requests_per_day", ax=plt.subplots()[1]
    ),
    "cost_curve_window": lambda: scaling_figures.cost_curve(curve_to_window(), over="input_tokens"),
    "what_bends": lambda: scaling_figures.what_bends(bends()),
    "session_curves": lambda: scaling_figures.session_curves(sessions(20)),
    "cache_drawing": lambda: scaling_figures.cache_drawing(one_session()),
    "calendar": lambda: scaling_figures.calendar(calendar()),
    "break_even": lambda: scaling_figures.break_even(write_multiples()),
    "trace_lengths": lambda: scaling_figures.trace_lengths(trace(), windows=WINDOWS),
    "cache_hit_curve": lambda: scaling_figures.cache_hit_curve(HITS),
    "verdicts": lambda: article_figures.verdicts(CLAIMS),
    "ranges": lambda: article_figures.ranges(READINGS),
}


@pytest.fixture(autouse=True)
def house_style():
    with mpl.rc_context():
        mpl.use("agg")
        finding.use_style()
        yield
        plt.close("all")


def figure_of(drawn):
    return drawn if isinstance(drawn, mpl.figure.Figure) else drawn.figure


def words(ax):
    return [text.get_text() for text in ax.texts]


def lines(ax):
    """Model id -> its line, of the lines that carry a name."""
    return {line.get_label(): line for line in ax.lines if not line.get_label().startswith("_")}


@pytest.mark.parametrize("name", FIGURES)
class TestEveryFigure:
    def test_names_its_axes_in_lower_case_and_has_no_title(self, name):
        figure = figure_of(FIGURES[name]())
        labels = [ax.get_xlabel() + ax.get_ylabel() for ax in figure.axes] + [
            figure.get_supxlabel(),
            figure.get_supylabel(),
        ]
        text = " ".join(labels)
        assert re.search(r"USD|tokens|share|claims|day|date|multiple", text)
        assert text.replace("USD", "") == text.replace("USD", "").lower()
        assert figure.get_suptitle() == ""
        assert {ax.get_title(loc="left") for ax in figure.axes} <= {
            "",
            "Anthropic",
            "OpenAI",
            "Google",
            *READINGS["stem"],  # which promise a panel is about
        }

    def test_labels_lie_inside_the_figure_and_apart(self, name):
        figure = figure_of(FIGURES[name]())
        figure.draw_without_rendering()
        notes = [
            (text.get_text(), mpl.text.Text.get_window_extent(text))
            for ax in figure.axes
            for text in ax.texts
        ]
        assert notes or name == "verdicts"
        for text, box in notes:
            assert (
                box.x0 >= 0
                and box.y0 >= 0
                and box.x1 <= figure.bbox.x1 + 1
                and box.y1 <= figure.bbox.y1
            ), text
        for (one, a), (other, b) in itertools.combinations(notes, 2):
            overlap = min(a.x1, b.x1) - max(a.x0, b.x0), min(a.y1, b.y1) - max(a.y0, b.y0)
            assert min(overlap) <= 1, (one, other)

    def test_same_bytes_twice(self, name, tmp_path):
        files = [
            finding.save(FIGURES[name](), f"{run}.{kind}", alt="alt", folder=tmp_path)
            for kind in ("png", "svg")
            for run in "ab"
        ]
        contents = [file.read_bytes() for file in files]
        assert contents[0] == contents[1] and contents[2] == contents[3]
        assert len(contents[0]) > 5_000


def test_tier_is_colour_and_marker_and_line():
    for tier, look in TIER_LOOKS.items():
        assert tuple(style.tier_style(tier).values()) == look
    assert style.tier_style(None) == style.tier_style(np.nan)  # a reasoning model
    with pytest.raises(ValueError, match="unknown tier 'medium'; "):
        style.tier_style("medium")


@pytest.mark.parametrize("ax", [False, True])
def test_curve_lines_equal_the_table(ax):
    table = curve()
    drawn = scaling_figures.cost_curve(
        table, over="requests_per_day", ax=plt.subplots()[1] if ax else None
    )
    found = {}
    for panel in figure_of(drawn).axes:
        found |= lines(panel)
        assert panel.get_ylim()[0] == 0
    assert set(found) == set(table["model_id"])
    for (tier, model_id), rows in table.groupby(["tier", "model_id"]):
        line = found[model_id]
        np.testing.assert_array_equal(line.get_xdata(), rows["requests_per_day"])
        np.testing.assert_array_equal(line.get_ydata(), rows["cost_usd"])
        assert (line.get_color(), line.get_marker(), line.get_linestyle()) == TIER_LOOKS[tier]


def test_curve_has_a_panel_per_provider_with_shared_cost():
    figure = scaling_figures.cost_curve(curve(), over="requests_per_day")
    assert [ax.get_title(loc="left") for ax in figure.axes] == ["Anthropic", "OpenAI", "Google"]
    assert len({ax.get_ylim() for ax in figure.axes}) == 1
    assert (
        figure.axes[0].get_ylim()[1] > 25_300
    )  # the upper end of the band of the most expensive model
    assert "20,000" in [tick.get_text() for tick in figure.axes[0].get_yticklabels()]


def test_curve_band_is_low_to_high_and_named():
    figure = scaling_figures.cost_curve(curve(), over="requests_per_day")
    bands = [band for ax in figure.axes for band in ax.collections]
    assert len(bands) == 1
    top = bands[0].get_paths()[0].vertices
    assert top[top[:, 0] == 2_000_000][:, 1].max() == pytest.approx(2 * 11_500 * 1.1)
    assert top[top[:, 0] == 2_000_000][:, 1].min() == pytest.approx(2 * 11_500 * 0.9)
    assert "bands: price a tenth either way" in figure.get_supxlabel()


def test_curve_ends_where_the_model_no_longer_fits():
    ax = scaling_figures.cost_curve(curve_to_window(), over="input_tokens", ax=plt.subplots()[1])
    crosses = sorted(line.get_xydata()[0].tolist() for line in ax.lines if line.get_marker() == "x")
    # (128,000 x 0.15 + 300 x 0.60) / 100 and (128,000 x 2.50 + 300 x 10) / 100
    np.testing.assert_allclose(crosses, [[128_000, 193.8], [128_000, 3230]])
    assert lines(ax)["gpt-4o"].get_xdata().max() == 128_000
    assert sorted(text for text in words(ax) if "does not fit" in text) == [
        "gpt-4o\ndoes not fit",
        "gpt-4o-mini\ndoes not fit",
    ]


def test_a_model_that_never_fits_is_still_named():
    table = curve_to_window()
    table = table[table["input_tokens"] > 128_000]
    ax = scaling_figures.cost_curve(table, over="input_tokens", ax=plt.subplots()[1])
    assert "gpt-4o\ndoes not fit" in words(ax)


def test_crossovers_are_ringed_where_both_lines_are_in_the_panel():
    """gpt-4o at 1,000 x n, opus at 500 + 500 x n: they meet at n = 1, at 1,000 USD."""
    rows = [("openai", "mid", "gpt-4o", n, 1000.0 * n) for n in range(4)]
    rows += [("openai", "flagship", "gpt-5.5", n, 500 + 500.0 * n) for n in range(4)]
    rows += [("google", "mid", "gemini-3.5-flash", n, 1500 - 500.0 * n) for n in range(4)]
    table = pd.DataFrame(rows, columns=["provider", "tier", "model_id", "turns", "cost_usd"])
    meet = pd.DataFrame(
        {
            "turns": [1.0, 1.0],
            "cost_usd": [1000.0, 1000.0],
            "cheaper_before": ["gpt-4o", "gpt-4o"],
            "cheaper_after": ["gpt-5.5", "gemini-3.5-flash"],
        }
    )
    figure = scaling_figures.cost_curve(table, over="turns", crossovers=meet)
    rings = [
        [line.get_xydata()[0].tolist() for line in ax.lines if line.get_markersize() == 10]
        for ax in figure.axes
    ]
    assert rings == [[[1.0, 1000.0]], []]
    assert "1" in words(figure.axes[0])


def test_bars_start_at_zero_and_end_at_the_cost():
    ax = prices_figures.cost_bars(daily())
    assert ax.get_xlim()[0] == 0 and ax.get_xscale() == "linear"
    assert {bar.get_x() for bar in ax.patches} == {0}
    assert sorted(bar.get_width() for bar in ax.patches) == pytest.approx(
        sorted(daily()["cost_usd"])
    )
    assert {"$10,000", "$2,000", "$11,500 (approximate price)"} <= set(words(ax))
    (whisker,) = ax.collections
    np.testing.assert_allclose(whisker.get_segments()[0][:, 0], [10_350, 12_650])
    assert ax.get_xlabel() == "cost (USD per day)\nwhiskers: price a tenth either way"


def test_bars_group_models_by_provider_and_tier():
    labels = [
        tick.get_text()
        for tick in prices_figures.cost_bars(
            daily().sample(frac=1, random_state=1)
        ).get_yticklabels()
    ]
    assert labels[:3] == [
        "claude-opus-4-8 \N{MIDDLE DOT} flagship",
        "claude-sonnet-4-6 \N{MIDDLE DOT} mid",
        "claude-haiku-4-5 \N{MIDDLE DOT} small",
    ]
    assert labels[-3:] == ["Anthropic", "OpenAI", "Google"]


def test_a_missing_bar_says_why():
    table = daily().assign(flags="", low=lambda t: t["cost_usd"], high=lambda t: t["cost_usd"])
    table.loc[0, ["cost_usd", "low", "high"]] = np.nan
    table.loc[1, ["cost_usd", "low", "high"]] = np.nan
    table.loc[0, "flags"] = "over_window"
    text = words(prices_figures.cost_bars(table))
    assert text.count("does not fit") == 1 and text.count("no figure") == 1


def test_buckets_stack_to_the_cost():
    ax = prices_figures.cost_by_bucket(by_bucket())
    bars = pd.DataFrame(
        {"y": bar.get_y(), "left": bar.get_x(), "width": bar.get_width()} for bar in ax.patches
    )
    ends = (bars["left"] + bars["width"]).groupby(bars["y"]).max()
    # Claude Opus 4.8: 5 x (100 + 20 + 250) + 25 x 300.
    assert ends.iloc[0] == pytest.approx(5 * 370 + 25 * 300)
    assert bars.groupby("y")["width"].sum().to_numpy() == pytest.approx(ends.to_numpy())
    assert bars.groupby("y")["left"].min().eq(0).all() and ax.get_xlim()[0] == 0
    assert [text.get_text() for text in ax.get_legend().get_texts()] == [
        "output",
        "uncached input",
        "cache write",
        "cache read",
    ]
    assert len({bar.get_facecolor() for bar in ax.patches}) == 3 * 4
    tier = {
        row: text.get_text().rsplit(" ", 1)[1]
        for row, text in zip(ax.get_yticks(), ax.get_yticklabels(), strict=True)
        if "\N{MIDDLE DOT}" in text.get_text()
    }
    marked = {
        y: (line.get_color(), line.get_marker())
        for line in ax.lines
        for y in line.get_ydata()
        if line.get_marker() != "None"
    }
    assert marked == {row: TIER_LOOKS[name][:2] for row, name in tier.items()}


def test_calendar_steps_on_the_day_of_the_change():
    figure = scaling_figures.calendar(calendar())
    line = lines(figure.axes[2])["gemini-4-argon"]
    assert line.get_drawstyle() == "steps-post"
    when = pd.to_datetime(line.get_xdata())
    first = when[line.get_ydata() == 8000].min()
    assert first == pd.Timestamp("2026-12-01")
    (note,) = [
        text
        for text in figure.axes[2].texts
        if text.get_text().endswith("gemini-4-argon: $4,000 to $8,000")
    ]
    assert not note.get_parse_math()  # two dollars are not a formula


def test_calendar_line_ends_on_the_day_of_retirement():
    days = pd.to_datetime(["2026-10-01", "2026-10-23", "2026-11-01"])
    table = pd.DataFrame(
        {
            "on": days,
            "provider": "openai",
            "tier": None,
            "model_id": "o4-mini",
            "cost_usd": [1870, np.nan, np.nan],
            "change": ["", "retires", ""],
        }
    )
    ax = scaling_figures.calendar(table, ax=plt.subplots()[1])
    (cross,) = [line for line in ax.lines if line.get_marker() == "x"]
    assert pd.to_datetime(cross.get_xdata()[0]) == days[1] and cross.get_ydata()[0] == 1870
    assert words(ax) == ["2026-10-23 o4-mini: retires", "o4-mini"]


def test_break_evens_are_ringed_where_the_formula_says():
    ax = scaling_figures.break_even(write_multiples())
    rings = [line.get_xydata()[0] for line in ax.lines if line.get_marker() == "o"]
    np.testing.assert_allclose(rings, [[0.25 / 1.15, 1], [1 / 1.9, 1]])
    assert {"pays above 21.7%", "pays above 52.6%"} <= set(
        words(ax)
    )  # the two rates the providers' fees imply


def test_trace_curve_is_the_share_up_to_a_length():
    ax = scaling_figures.trace_lengths(trace())
    table = trace()
    whole = table["uncached_input_tokens"] + 512
    for line, tokens in zip(ax.lines, (whole, table["output_tokens"]), strict=True):
        x, y = line.get_data()
        at = np.searchsorted(x, tokens.median() * (1 + 1e-9), side="right") - 1
        assert y[at] == pytest.approx((tokens <= tokens.median()).mean(), abs=1e-9)
    assert f"input\nmedian {whole.median():,.0f}" in words(ax)


def test_trace_windows_are_named_and_near_ones_together():
    text = words(scaling_figures.trace_lengths(trace(), windows=WINDOWS))
    assert {
        "128,000: gpt-4o, gpt-4o-mini",
        "200,000: claude-haiku-4-5",
        "1,000,000 to 1,050,000: 3 models",
    } <= set(text)


def test_trace_refuses_aggregates():
    with pytest.raises(ValueError, match="not a single request: 1 row; trace_lengths needs"):
        scaling_figures.trace_lengths(trace().assign(aggregate=[True] + [False] * 500))


def test_cache_hits_over_time_to_live():
    ax = scaling_figures.cache_hit_curve(HITS)
    np.testing.assert_array_equal(ax.lines[0].get_xydata(), HITS.iloc[:4].to_numpy())
    assert {"37.4% if nothing expires", "36.8%", "5 minutes", "1 hour"} <= set(words(ax))
    assert ax.get_ylim()[0] == 0


def test_verdict_counts():
    ax = article_figures.verdicts(CLAIMS)
    width = {bars.get_label(): [bar.get_width() for bar in bars] for bars in ax.containers}
    assert width == {"supported": [2, 0], "contradicted": [1, 1], "not checkable": [0, 1]}
    assert ax.get_xlim()[0] == 0
    with pytest.raises(ValueError, match=r"unknown verdict 'suported'; did you mean 'supported'\?"):
        article_figures.verdicts(CLAIMS.replace("not checkable", "suported"))


def test_a_range_is_a_band_and_what_comes_out_a_line_over_it():
    first, second = article_figures.ranges(READINGS).axes
    assert [(bar.get_x(), bar.get_width()) for bar in first.patches] == [(30, 20), (30, 20)]
    assert [list(line.get_xdata()) for line in first.lines] == [[5, 5], [33.3, 50]]
    assert [line.get_marker() for line in first.lines] == ["X", "o"]
    assert second.get_xlim()[0] == 0 and second.xaxis.get_major_formatter()(0.5, 0) == "50%"


@given(st.lists(st.tuples(st.floats(-1e3, 1e3), st.floats(1, 50)), min_size=1, max_size=12))
def test_spread_labels_never_overlap_and_keep_their_order(labels):
    at, size = map(np.array, zip(*labels, strict=True))
    moved = style.spread(at, size)
    order = np.argsort(at, kind="stable")
    gaps = np.diff(moved[order])
    assert (gaps >= (size[order][1:] + size[order][:-1]) / 2 - 1e-6).all()


def test_spread_moves_no_more_than_needed():
    assert style.spread([30, 0, 100], [10, 10, 10]).tolist() == [30, 0, 100]
    assert style.spread([0, 0], [10, 10], low=0, high=100).tolist() == [5, 15]


def test_money_labels():
    values = {
        10_000: "$10,000",
        99.5: "$99.50",
        0.151: "$0.151",
        0.5: "$0.50",
        0.0055: "$0.0055",
        0: "$0",
    }
    assert {value: format.usd(value) for value in values} == values


@pytest.fixture
def displayed(monkeypatch):
    calls = []
    monkeypatch.setattr(
        "IPython.display.display", lambda data, raw, metadata=None: calls.append((data, metadata))
    )
    return calls


def test_show_displays_once_with_alt_and_caption_and_closes(displayed):
    ax = article_figures.verdicts(CLAIMS)
    assert finding.show(ax, alt="Five claims.", caption="From $1 to $2 <a day>.") is None
    (image, metadata), (caption, _) = displayed
    assert base64.b64decode(image["image/png"]).startswith(b"\x89PNG")
    assert image["text/plain"] == "Five claims." and metadata == {
        "image/png": {"alt": "Five claims."}
    }
    assert caption["text/plain"] == "From $1 to $2 <a day>."
    assert (
        caption["text/html"]
        == '<p class="caption">From <span>$</span>1 to <span>$</span>2 &lt;a day&gt;.</p>'
    )
    assert not plt.get_fignums()


@pytest.mark.parametrize("missing", ["alt", "caption"])
def test_show_wants_words(displayed, missing):
    with pytest.raises(ValueError, match="alt text and a caption"):
        finding.show(article_figures.verdicts(CLAIMS), **{"alt": "a", "caption": "c", missing: " "})


def test_show_saves_only_where_the_environment_says_so(displayed, tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "FIGURES", tmp_path)
    monkeypatch.delenv("TIERLAB_FIGURES_DIR", raising=False)
    finding.show(article_figures.verdicts(CLAIMS), alt="a", caption="c", save_as="verdicts")
    assert not list(tmp_path.iterdir())
    monkeypatch.setenv("TIERLAB_FIGURES_DIR", str(tmp_path))
    finding.show(article_figures.verdicts(CLAIMS), alt="a", caption="c", save_as="verdicts")
    assert [file.name for file in tmp_path.iterdir()] == ["verdicts.png"]


def test_saved_file_carries_the_alt_text_and_no_version(tmp_path):
    file = finding.save(
        article_figures.verdicts(CLAIMS), "figure", alt="Five claims.", folder=tmp_path
    )
    assert file == tmp_path / "figure.png"
    with Image.open(file) as image:
        assert image.text == {"Description": "Five claims."}


def test_a_drawing_of_a_conversation_tells_tokens_and_dollars_to_scale():
    """Sonnet 4.6, USD 3 in, 0.30 read, 3.75 written, 15 out: the first turn writes 6,200 tokens and answers with 300."""
    ax = scaling_figures.cache_drawing(one_session())
    text = words(ax)
    assert "6,200 written" in text and "7,700 read" in text
    assert tl.usd((6_200 * 3.75 + 300 * 15) / 1e6) in text  # with the cache
    assert tl.usd((6_200 * 3 + 300 * 15) / 1e6) in text  # without
    assert [bar.get_width() for bar in ax.containers[1]] == [6_200, 500, 500, 500, 500]


def test_what_bends_marks_every_tier_that_has_a_number():
    figure = scaling_figures.what_bends(bends())
    assert [ax.get_title(loc="left") for ax in figure.axes] == ["Anthropic", "OpenAI", "Google"]
    marks = [x for line in figure.axes[0].lines[:3] for x in line.get_xdata()]
    found = bends().query("provider == 'anthropic'")["multiple"]
    assert sorted(marks) == sorted(found)


def test_a_ladder_has_a_rung_for_each_tier_at_its_price():
    ax = prices_figures.tier_ladder_drawing(ladder())
    rungs = sorted(line.get_ydata()[0] for line in ax.lines if len(line.get_ydata()) == 1)
    assert rungs == pytest.approx([0.17, 0.255, 0.9, 2, 4.25, 4.6, 6, 10, 11.5])
    assert "5 times from bottom to top" in words(ax)  # Haiku $2, Opus $10


def test_a_context_cliff_doubles_the_input_of_one_token_more():
    """Gemini 3.1 Pro: USD 2 to 200,000 tokens, 4 above; at 400,000 one pays 1.60 and might expect 1.20."""
    ax = prices_figures.context_cliff_drawing(cliff())
    paid, expected = ax.lines[0].get_ydata(), ax.lines[1].get_ydata()
    assert list(paid) == pytest.approx([0, 0.4, 0.8, 1.6])
    assert list(expected) == pytest.approx([0.4, 1.2])
    assert "200,001 tokens: $0.80" in words(ax)


def test_a_routed_bill_ends_at_the_sum_of_its_parts():
    assert "$4,160" in words(prices_figures.routed_bill(WAYS))


def test_an_assumed_price_is_hatched_and_says_what_was_assumed():
    ax = prices_figures.bought(offers())
    assert [bar.get_hatch() for bar in ax.patches] == [None, None, "////"]
    assert "$4.40 (assumed region)" in words(ax)
