"""Every counter is used or reported: in no format does an unknown number beside the known ones pass in silence."""

import csv
import io
import json
import os
import re
from pathlib import Path

import pytest

import tierlab as tl
from tierlab.core.tables import TOKEN_COLUMNS

SAMPLES = Path(
    os.environ.get("TIERLAB_USAGE_SAMPLES") or Path(__file__).parent.parent / "data" / "usage"
)
COUNTER = re.compile(
    r"tokens?(\.\w+)*$|token_?count(\.\w+)*$|_tokens_|gen_ai\.usage\.|ai\.usage\.|amount_in_pricing",
    re.IGNORECASE,
)
SIZE = 777  # of the unknown counter: no sum of the samples comes near it by chance
FORMS = {
    "beside": lambda usage: usage | {"tokens_of_smell": SIZE},
    "one level deeper": lambda usage: usage | {"smell_details": {"tokens_of_smell": SIZE}},
    "two levels deeper": lambda usage: usage | {"smell": {"details": {"tokens_of_smell": SIZE}}},
    "inside a list": lambda usage: usage | {"smell": [{"kind": "ROSE", "tokens_of_smell": SIZE}]},
    "a number in a list": lambda usage: usage | {"tokens_of_smell": [SIZE]},
    "as text": lambda usage: usage | {"tokens_of_smell": str(SIZE)},
}


def loaded(value):
    """Return the object that a text holds; any other value stays as it is."""
    if isinstance(value, str) and value[:1] == "{":
        try:
            return json.loads(value)
        except ValueError:
            return value
    return value


def holds_counters(name, value):
    number = value is None or (isinstance(value, (int, float)) and not isinstance(value, bool))
    return number and COUNTER.search(name) is not None


def changed(value, change):
    """Return a record with `change` made to each usage object in it, and how many there were."""
    if isinstance(value, list):
        parts = [changed(item, change) for item in value]
        return [part for part, _ in parts], sum(n for _, n in parts)
    if not isinstance(value, dict):
        inner = loaded(value)
        if inner is value:
            return value, 0
        made, n = changed(inner, change)
        return json.dumps(made), n
    if {"key", "value"} <= set(value):  # an attribute of OTLP
        return value, 0
    attributes = value.get("attributes")
    if isinstance(attributes, list) and any(COUNTER.search(one["key"]) for one in attributes):
        return value | {"attributes": attributes_changed(attributes, change)}, 1
    if isinstance(attributes, dict) and any(map(COUNTER.search, attributes)):
        return value | {"attributes": dict(attributes, **plain_changed(attributes, change))}, 1
    parts = {
        name: (change(inner), 1) if name == "tokens" else changed(inner, change)
        for name, inner in value.items()
    }
    found = sum(n for _, n in parts.values())
    made = {name: part for name, (part, _) in parts.items()}
    if not found and any(holds_counters(name, inner) for name, inner in value.items()):
        return change(made), 1
    return made, found


def attributes_changed(attributes, change):
    plain = {one["key"]: one["value"] for one in attributes}
    made = plain_changed(plain, change)
    return [
        {"key": name, "value": value if name in plain else otlp(value)}
        for name, value in made.items()
    ]


def plain_changed(attributes, change):
    """Return attributes with what `change` adds, under the prefix of the counters that are there."""
    name = next(name for name in attributes if COUNTER.search(name))
    prefix = name[: name.index("usage.") + 6] if "usage." in name else name.rsplit(".", 1)[0] + "."
    prefix = prefix if "." in name else ""
    return attributes | {f"{prefix}{added}": value for added, value in change({}).items()}


def otlp(value):
    """Return a value as OTLP/JSON types it."""
    if isinstance(value, dict):
        inner = [{"key": name, "value": otlp(one)} for name, one in value.items()]
        return {"kvlistValue": {"values": inner}}
    if isinstance(value, list):
        return {"arrayValue": {"values": [otlp(one) for one in value]}}
    return {"stringValue": value} if isinstance(value, str) else {"intValue": str(value)}


def records_of(text):
    """Return the JSON values of a text, whether it is one value, one on each line, or several in a row."""
    found, decoder, text = [], json.JSONDecoder(), text.strip()
    while text:
        value, end = decoder.raw_decode(text)
        found.append(value)
        text = text[end:].strip()
    return found


def written(file, text, change):
    """Write the sample with the change in it; return how many usage objects were changed."""
    if text.lstrip()[:1] in "{[":
        made = [changed(record, change) for record in records_of(text)]
        file.write_text("\n".join(json.dumps(record) for record, _ in made) + "\n")
        return sum(n for _, n in made)
    rows = list(csv.DictReader(io.StringIO(text)))
    rows = [change(row) for row in rows]
    with file.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return len(rows)


def jsons():
    return sorted(
        file.name
        for file in SAMPLES.iterdir()
        if file.suffix not in (".csv", ".md") and file.is_file()
    )


def tables():
    return sorted(file.name for file in SAMPLES.glob("*.csv"))


def known(file):
    """Return the usage in a sample; skip the test if its format is one that is refused by name."""
    try:
        return tl.read_usage(file)
    except ValueError as error:
        assert "not a known format" in str(error)
        pytest.skip("a format that is refused")


def told(usage, size):
    """Return in how many rows the unknown counter is reported, and check its sum."""
    notes = usage.account.assumed.query("what.str.contains('smell')")
    # a row may have several usage objects in which the counter stands
    assert (notes["total"] % size == 0).all() and (notes["total"] >= notes["rows"] * size).all()
    words = "; ".join(usage.account.files["assumed"])
    assert all(f"{total:,.0f}" in words for total in notes["total"])
    return int(notes["rows"].sum())


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", jsons())
def test_an_unknown_counter_is_told_in_every_row(tmp_path, name, form):
    once = known(SAMPLES / name)
    if once.requests.empty:
        pytest.skip("a bill without tokens has no usage object")
    objects = written(tmp_path / name, (SAMPLES / name).read_text(), FORMS[form])
    assert objects, "no usage object was found in the sample"
    usage = tl.read_usage(tmp_path / name)
    lost = usage.account.files["set_aside"].sum() - once.account.files["set_aside"].sum()
    used = once.requests.reindex(columns=[*TOKEN_COLUMNS, "quantity"]).sum(axis=1) > 0
    assert told(usage, SIZE) + lost >= used.sum()


@pytest.mark.parametrize("name", tables())
def test_an_unknown_column_is_told(tmp_path, name):
    once = known(SAMPLES / name)
    written(tmp_path / name, (SAMPLES / name).read_text(), FORMS["as text"])
    usage = tl.read_usage(tmp_path / name)
    assert told(usage, SIZE) >= len(once.requests) + len(once.billed)


@pytest.mark.parametrize("name", [*jsons(), *tables()])
def test_a_renamed_counter_never_vanishes(tmp_path, name):
    """A counter under another name has the same tokens, or its number is reported, or its row is set aside."""
    text = (SAMPLES / name).read_text()
    once = known(SAMPLES / name)
    if once.requests.empty:
        pytest.skip("a bill without tokens has no usage object")
    names = sorted(
        set(
            re.findall(
                r"[\w.() /]*[tT]oken[\w.]*",
                text.partition("\n")[0] if name.endswith("csv") else text,
            )
        )
    )
    for counter in names:
        other = counter + "_of_smell"
        file = tmp_path / name
        file.write_text(re.sub(rf"(?<![\w.]){re.escape(counter)}(?![\w.])", other, text))
        try:
            usage = tl.read_usage(file)
        except ValueError:
            continue
        columns = [*TOKEN_COLUMNS, *{"unit", "quantity"} & set(once.requests)]
        same = usage.requests.reindex(columns=columns).equals(once.requests[columns])
        notes = usage.account.assumed["what"].str.contains("smell").any()
        fewer = usage.account.files["set_aside"].sum() > once.account.files["set_aside"].sum()
        assert same or notes or fewer, counter
