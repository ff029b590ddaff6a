"""The article's claims, each with the verdict that follows from its number.

A row of data/claims.csv names a rule of `tierlab.article.rules` and has the claim's own figures as bounds. A verdict is
never stored: change a price and it changes. A rule may give several values (input, output, the mix of the article's own
request); a claim is supported only if every value lies within the bounds, ends included, and one value outside
contradicts it.
"""

import re

import numpy as np
import pandas as pd

from tierlab.article.rules import METRICS, Basis, NoFigure, approximate_models
from tierlab.core.paths import DATA
from tierlab.core.vocabulary import TIERS, known, unknown
from tierlab.prices.catalog import Prices, load_prices

# "gpt-4o from 28, gpt-4o to 30" becomes "gpt-4o 28 to 30".
_END = re.compile(r"(\S[^,]*) from ([^, ]+), \1 to ")
VERDICTS = SUPPORTED, CONTRADICTED, NOT_CHECKABLE = "supported", "contradicted", "not checkable"
COLUMNS = [
    "id",
    "section",
    "claim",
    "claimed_by",
    "figure",
    "basis",
    "computed",
    "computed_low",
    "computed_high",
    "unit",
    "bounds",
    "verdict",
    "why",
    "other",
    "other_computed",
    "other_verdict",
    "notebook",
    "evidence",
    "source",
]
KEPT = ["id", "section", "claim", "claimed_by", "figure", "unit", "notebook", "evidence"]


def load_claims(path=DATA / "claims.csv"):
    """Read the claims.

    Parameters
    ----------
    path : path
        A table like data/claims.csv.

    Returns
    -------
    DataFrame
        Every column as text; data/README.md says what each holds.
    """
    return pd.read_csv(path, dtype=str, keep_default_na=False)


def evaluate_claims(
    article: Prices | None = None,
    maintained: Prices | None = None,
    *,
    claims: pd.DataFrame | None = None,
    section: str = "all",
) -> pd.DataFrame:
    """Compute the number behind every claim and judge the claim by it.

    Parameters
    ----------
    article, maintained : Prices, optional
        The article's catalogue, and the one it is compared with; by default both on 2026-06-12. Rules that
        name a tier ("anthropic.small") take the lineup of each catalogue's own `as_of`.
    claims : DataFrame, optional
        Rows of data/claims.csv, by default all.
    section : str
        One section of the article, or "all".

    Returns
    -------
    DataFrame
        One row per claim, index id: section, claim, claimed_by; basis (the catalogue that the verdict comes
        from); computed (text), computed_low, computed_high (in `unit`); bounds (text); verdict: "supported",
        "contradicted" or "not checkable" (even if there is a number; `why` then says what it does not decide);
        why; other, other_computed, other_verdict (the same rule on the other catalogue, where it takes prices);
        notebook; evidence; source (of the basis, or of the rule's own data).

    Raises
    ------
    ValueError
        If the section or a rule is unknown, or a claim has more bounds than values.

    Examples
    --------
    >>> table = evaluate_claims(section="Why It Matters")
    >>> table.loc["C016", ["computed", "bounds", "verdict"]].tolist()
    ['$4,160', '$3,420 to $3,780', 'contradicted']
    """
    claims = load_claims() if claims is None else claims
    known("section", section, ["all", *claims["section"].drop_duplicates()])
    if section != "all":
        claims = claims[claims["section"] == section]
    catalogues = {"article": article or load_prices("article", as_of="2026-06-12")}
    catalogues["maintained"] = maintained or load_prices("maintained", as_of="2026-06-12")
    bases = {name: Basis(own, catalogues) for name, own in catalogues.items()}
    others = {"article": "maintained", "maintained": "article"}
    rows = []
    for row in claims.itertuples(index=False):
        record = dict.fromkeys(COLUMNS, "") | {column: getattr(row, column) for column in KEPT}
        record |= {"basis": row.prices, "bounds": _bounds_text(row)}
        record |= _judge(row, bases[row.prices or "article"])
        if row.prices:
            other = others[row.prices]
            seen = _judge(row, bases[other])
            record |= {
                "other": other,
                "other_computed": seen["computed"],
                "other_verdict": seen["verdict"],
                "source": catalogues[row.prices].source,
            }
        elif row.rule:
            record["source"] = METRICS[row.rule].source
        rows.append(record)
    return pd.DataFrame(rows, columns=COLUMNS).set_index("id")


def readings(table):
    """Return the general claims that are read for several cases each: what they promise and what comes out.

    Parameters
    ----------
    table : DataFrame
        Table of `evaluate_claims`.

    Returns
    -------
    DataFrame
        The rows of claims with at least three readings that each have a range: stem (the general sentence) and case
        (what it is read for), low and high of the claim, computed_low and computed_high, computed, unit, verdict.

    Examples
    --------
    >>> readings(evaluate_claims(section="Why It Matters"))["case"].tolist()[:2]
    ['Anthropic', 'OpenAI']
    """
    bounds = load_claims().set_index("id")[["low", "high"]].apply(pd.to_numeric, errors="coerce")
    parts = table["claim"].str.extract(r"^(?P<stem>.*?) \((?P<case>.*)\)$")
    rows = table.join(parts).join(bounds).dropna(subset=["stem", "low", "high", "computed_low"])
    return rows[rows.groupby("stem")["stem"].transform("size") > 2]


def evidence_kinds(table):
    """Say in a few words what the number of each claim stands on.

    Parameters
    ----------
    table : DataFrame
        Table of `evaluate_claims`.

    Returns
    -------
    Series
        By claim; "no number" where there is none.
    """
    kinds = {
        "data/(?:measured|samples)": "recorded answers",
        "data/(?:published|router|fine)": "public pages",
        "data/(?:efforts|speeds|tasks)": "assumptions and ratings of the kit",
        "the article": "the article's own words",
    }
    found = pd.Series("prices", table.index).mask(table["computed"] == "", "no number")
    for start, kind in kinds.items():
        found = found.mask(table["source"].str.match(start) & (table["computed"] != ""), kind)
    return found


def _judge(row, basis):
    """Return the verdict, the reason and the numbers of one claim on one catalogue."""
    empty = {"computed": "", "computed_low": np.nan, "computed_high": np.nan}
    if not row.rule:
        return empty | {"verdict": NOT_CHECKABLE, "why": row.note}
    if row.rule not in METRICS:
        raise ValueError(f"claim {row.id}: " + unknown("rule", row.rule, METRICS))
    args = dict(part.strip().split("=", 1) for part in row.args.split(";")) if row.args else {}
    try:
        found = METRICS[row.rule](basis, **args)
        values = found if isinstance(found, pd.Series) else pd.Series({"": found})
        values = values.astype(float)
        if values.isna().all():
            raise NoFigure(f"no figure in {METRICS[row.rule].source or basis.prices.source}")
    except NoFigure as error:
        return empty | {"verdict": NOT_CHECKABLE, "why": f"{error}. {row.note}".rstrip(" .")}
    missing, values = int(values.isna().sum()), values.dropna()
    verdict, reason = _compare(row, values)
    rough = ", ".join(approximate_models(basis.prices, row.args)) if row.prices else ""
    notes = [
        reason,
        f"{missing} more without a figure in the catalogue" if missing else "",
        row.note,
        f"the price of {rough} is approximate" if rough else "",
    ]
    return {
        "computed": _text(values, row.unit),
        "computed_low": values.min(),
        "computed_high": values.max(),
        "verdict": verdict,
        "why": "; ".join(filter(None, notes)),
    }


def _compare(row, values):
    if not row.low and not row.high:
        return NOT_CHECKABLE, ""
    low = _bound(row.low, len(values), -np.inf, row.id)
    high = _bound(row.high, len(values), np.inf, row.id)
    # 30/0.6 is 50.000000000000007 in floating point; a bound includes its end.
    slack = 1e-9 * np.maximum(1, np.abs(values.to_numpy()))
    outside = values[(values < low - slack) | (values > high + slack)]
    relation = _bounds_text(row)
    if not relation.startswith("at "):  # at least, at most
        relation = f"within {relation}" if " to " in relation else f"equal to {relation}"
    many = len(values) > 1
    if outside.empty:
        return SUPPORTED, f"all {len(values)} values {relation}" if many else relation
    named = _text(outside, row.unit, most=3)
    if many:
        named = f"{len(outside)} of {len(values)} values ({named})"
    return CONTRADICTED, f"{named} not {relation}"


def _bound(text, n, missing, claim_id):
    numbers = [float(number) for number in text.split(";")] if text else [missing]
    if len(numbers) not in (1, n):
        raise ValueError(
            f"claim {claim_id}: {len(numbers)} bounds ({text}) for {n} computed values"
        )
    return np.array(numbers)


def _format(value, unit):
    if unit == "tier":
        return TIERS[int(value) - 1]
    if unit.startswith("USD"):
        return f"${value:,.2f}" if abs(value) < 100 else f"${value:,.0f}"
    if unit == "points":
        return f"{100 * value:.1f}"
    if unit == "x":
        return f"{value:,.3g}x"
    return f"{value:.1%}" if unit == "share" else f"{value:,.0f}"


def _text(values, unit, most=6):
    if len(values) > max(1, most if values.nunique() > 1 else 1):
        low, high = _format(values.min(), unit), _format(values.max(), unit)
        return low if low == high else f"{low} to {high} ({len(values)} values)"
    text = ", ".join(f"{label} {_format(value, unit)}".strip() for label, value in values.items())
    return _END.sub(r"\1 \2 to ", text)


def _bounds_text(row):
    low, high = (
        [_format(float(bound), row.unit) for bound in text.split(";") if bound]
        for text in (row.low, row.high)
    )
    if low and high:
        parts = [str(a) if a == b else f"{a} to {b}" for a, b in np.broadcast(low, high)]
        return parts[0] if len(set(parts)) == 1 else ", ".join(parts)
    if low:
        return f"at least {', '.join(low)}"
    return f"at most {', '.join(high)}" if high else ""
