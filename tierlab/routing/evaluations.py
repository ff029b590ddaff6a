"""Read evaluation logs that teams already have: Inspect, lm-evaluation-harness, promptfoo and Langfuse.

Every reader returns one row per answer: prompt_id (made from the content where a tool numbers its examples by position),
model_id, score, status, group (the example, where it was asked several times), the token buckets that the file has,
cost_usd, end_to_end_s, provenance. Prompts, answers and tracebacks are not kept. An answer that failed is a status, never
a score of 0; tokens that the file does not give are missing, never 0.
"""

import hashlib
import json
import sys
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd

from tierlab.core.untrusted import cited, regular, shown
from tierlab.core.vocabulary import unknown
from tierlab.routing.outcomes import merge_flags

_VALUES = {"c": 1.0, "p": 0.5, "i": 0.0, "n": 0.0, "yes": 1.0, "true": 1.0, "no": 0.0, "false": 0.0}
_JOURNAL = "_journal/start.json"
# Repeats of one configuration may differ in these.
_NO_SETTING = ("seed", "timeout", "connections", "retries", "key", "device", "cache")
_COLUMNS = {
    "input": "uncached_input_tokens",
    "read": "cache_read_tokens",
    "write": "cache_write_short_tokens",
    "write_long": "cache_write_long_tokens",
    "output": "output_tokens",
}
_LANGFUSE_KEYS = {  # keys that are not listed count by their first word
    "input_cached_tokens": "read",
    "input_cache_read": "read",
    "cache_read_input_tokens": "read",
    "input_cache_creation": "write",
    "cache_creation_input_tokens": "write",
    "input_cache_creation_5m": "write",
    "input_cache_creation_1h": "write_long",
    "output_reasoning_tokens": "reasoning",
    "output_reasoning": "reasoning",
    "promptTokens": "input",
    "completionTokens": "output",
}
TOOLS = ("Inspect", "lm-evaluation-harness", "promptfoo", "Langfuse scores")


def read_evaluation(path, *, metric=None, scale=None):
    """Read an evaluation log, or a folder of them, as a table of answers.

    Parameters
    ----------
    path : path
        An Inspect ``.eval`` log; ``samples_*.jsonl`` of lm-evaluation-harness with its ``results_*.json`` beside it;
        promptfoo's ``-o results.json``; JSON lines of Langfuse scores with the observations in the same folder. In a
        folder, and in folders below it, all logs are read.
    metric : str, optional
        Which score to take; needed where a log has several.
    scale : (float, float), optional
        The worst and the best possible score of a metric that is not on 0-1; the first is the larger one where lower is
        better.

    Returns
    -------
    DataFrame
        The columns that the module's docstring describes. `flags` says what a file leaves open.

    Raises
    ------
    ValueError
        If a file comes from no known tool or is damaged, has several metrics and `metric` is not given, or has a score
        outside the scale. The message names the file.
    """
    path = Path(path)
    files = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
    parts = []
    for file in files:
        try:
            part = _read(file, metric, named=not path.is_dir())
        except (ValueError, KeyError, TypeError, AttributeError, zipfile.BadZipFile) as error:
            what = f"has no field {error}" if isinstance(error, KeyError) else error
            raise ValueError(f"{file}: cannot be read as an evaluation log ({what})") from None
        if part is not None:
            parts.append(
                _scaled(part, scale, file).assign(provenance=f"{part.attrs['tool']}: {file.name}")
            )
    if not parts:
        raise ValueError(f"{path}: no evaluation log of {', '.join(TOOLS)} in this folder")
    table = _configurations(pd.concat(parts, ignore_index=True))
    table = _one_row_per_answer(table).assign(source="measured")
    for column in ("cost_usd", "end_to_end_s"):
        if column in table and table[column].isna().all():
            table = table.drop(columns=column)
    if "cost_usd" in table:
        lacking = np.where(table["cost_usd"].isna(), "no_cost", "")
        table = table.assign(cost_source="the file", flags=merge_flags(table, lacking))
    return table


def is_evaluation(path):
    """Tell whether a path looks like an evaluation log: a folder, ``.eval``, ``.json`` or ``.jsonl``."""
    return path.is_dir() or path.suffix in (".eval", ".json", ".jsonl")


def _read(file, metric, *, named):
    """Return the rows of a file, or None for a file of another kind that lies in the same folder."""
    if file.suffix == ".eval":
        return _inspect(file, metric)
    if file.suffix == ".jsonl":
        rows = _lines(file)
        first = rows[0] if rows else {}
        if "filtered_resps" in first:
            return _harness(file, rows, metric)
        if {"data_type", "trace_id", "value"} <= first.keys():
            return _langfuse(file, rows, metric)
    elif file.suffix == ".json" and (named or not file.name.startswith("results_")):
        whole = json.loads(regular(file).read_bytes())
        if isinstance(whole, dict) and "evalId" in whole:
            return _promptfoo(whole, metric)
    if named:
        raise ValueError(f"not from a known tool; known: {', '.join(TOOLS)}")
    return None


def _lines(file):
    with regular(file).open(encoding="utf-8") as text:
        rows = [json.loads(line) for line in text if line.strip()]
    if not all(isinstance(row, dict) for row in rows):
        raise ValueError("a line is not a JSON object")
    return rows


def _table(tool, rows):
    table = pd.DataFrame(rows)
    if table.empty:
        raise ValueError("it has no answers")
    table.attrs["tool"] = tool
    return table


def _content(*parts):
    """Return twelve characters that identify a content."""
    text = json.dumps(parts, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:12]


def _chosen(metric, names):
    """Return the metric that was asked for, or the only one."""
    names = list(dict.fromkeys(names))
    if metric is None and len(names) == 1:
        return names[0]
    if metric is None:
        raise ValueError(
            f"it has several metrics; choose one with metric=: {', '.join(map(shown, names))}"
        )
    if metric not in names:
        raise ValueError(unknown("metric", metric, names))
    return metric


def _scaled(table, scale, file):
    lower = table.attrs.get("lower_is_better", False)
    if scale is None:
        scale = (1, 0) if lower else (0, 1)
    low, high = map(float, scale)
    if lower and low < high:
        raise ValueError(
            f"{file}: lower is better, so the first number of the scale is the larger one: "
            f"({high:g}, {low:g})"
        )
    score = (pd.to_numeric(table["score"]) - low) / (high - low)
    outside = (score < 0) | (score > 1)
    if outside.any():
        value = table["score"][outside.idxmax()]
        raise ValueError(
            f"{file}: a score of {value:g} lies outside {min(low, high):g}-{max(low, high):g}; give the scale, such as scale=(1, 5), or "
            "(100, 0) where lower is better"
        )
    return table.assign(score=score)


def _settings(*parts):
    """Return the settings of a run that may change its answers, flat, as text; arguments may come as "a=1,b=2"."""
    found = {}
    for part in parts:
        if isinstance(part, str):
            part = dict(pair.partition("=")[::2] for pair in part.split(","))
        found |= {
            name: json.dumps(value, sort_keys=True).strip('"')
            for name, value in (part or {}).items()
            if value is not None and not any(word in name for word in _NO_SETTING)
        }
    return json.dumps(found, sort_keys=True)


def _configurations(table):
    """Make each configuration of a model a model of its own, named by the settings that differ."""
    if "settings" not in table:
        return table
    names = table["model_id"].copy()
    tasks = table["task"] if "task" in table else table["model_id"]
    for _, own in table.groupby(["model_id", tasks.fillna("").rename("of")])["settings"]:
        kinds = {text: json.loads(text) for text in own.dropna().unique()}
        if len(kinds) < 2:
            continue
        settings = sorted({name for kind in kinds.values() for name in kind})
        differ = [name for name in settings if len({kind.get(name) for kind in kinds.values()}) > 1]
        for text, kind in kinds.items():
            said = ", ".join(f"{name}={_short(kind.get(name, 'default'))}" for name in differ)
            names[own.index[own == text]] += f" ({said})"
    return table.assign(model_id=names).drop(columns="settings")


def _short(value):
    return value if len(value) <= 40 else _content(value)


def _one_row_per_answer(table):
    """Give repeats their own prompt ids and a common group; keep equal ids of different content apart."""
    if "content" in table:
        contents = table.groupby("prompt_id")["content"].transform("nunique")
        table["prompt_id"] = table["prompt_id"].where(
            contents == 1, table["prompt_id"] + " (" + table["content"].fillna("") + ")"
        )
    repeat = table.groupby(["prompt_id", "model_id"]).cumcount()
    if repeat.any():
        table = table.assign(
            group=table["prompt_id"], prompt_id=table["prompt_id"] + " #" + (repeat + 1).astype(str)
        )
    return table.drop(columns="content", errors="ignore")


def _buckets(counts, total, *, beside=False):
    """Return the token buckets and flags of one answer.

    Parameters
    ----------
    counts : dict of str to int
        By key of `_COLUMNS`, and reasoning where it may lie outside the output.
    total : int or None
        The tool's own total. It tells whether cached and reasoning tokens lie beside input and output or inside them.
    beside : bool
        Whether they lie beside where there is no total.
    """
    if not any(counts.values()):
        return {"flags": "no_tokens"}
    whole, output = counts["input"], counts["output"]
    if total is not None:
        beside = total == sum(counts.values())
        if not beside and total != whole + output:
            return {"flags": "tokens_do_not_add_up"}
    if beside:
        output += counts.get("reasoning", 0)
    else:
        whole -= counts["read"] + counts["write"] + counts.get("write_long", 0)
    if whole < 0:
        return {"flags": "tokens_do_not_add_up"}
    found = counts | {"input": whole, "output": output}
    tokens = {column: found[key] for key, column in _COLUMNS.items() if key in found}
    return {**tokens, "flags": "assumed_write_ttl" if found["write"] else ""}


def _number(value):
    """Return a score as a float, NaN for None."""
    if value is None:
        return np.nan
    if isinstance(value, str) and value.strip().lower() in _VALUES:
        return _VALUES[value.strip().lower()]
    try:
        return float(value)
    except (TypeError, ValueError):
        raise ValueError(f"a score is {cited(value)}, which is not a number") from None


def open_archive(file):
    """Open a zip archive whose members may be compressed with Zstandard."""
    if sys.version_info >= (3, 14):
        return zipfile.ZipFile(regular(file))
    from backports.zstd import zipfile as with_zstd

    try:
        return with_zstd.ZipFile(regular(file))
    except with_zstd.BadZipFile as error:
        raise ValueError(str(error)) from None


def _inspect(file, metric):
    with open_archive(file) as archive:
        members = set(archive.namelist())
        header = json.loads(archive.read("header.json")) if "header.json" in members else None
        if header is None and _JOURNAL not in members:
            raise ValueError("it has neither header.json nor a journal")
        about = header or json.loads(archive.read(_JOURNAL))
        names = sorted(name for name in members if name.startswith("samples/"))
        samples = [json.loads(archive.read(name)) for name in names]
    model = about["eval"]["model"]
    settings = _settings(
        about["eval"].get("model_args"),
        about["eval"].get("model_generate_config"),
        (about.get("plan") or {}).get("config"),
    )
    whole = header is not None and header["status"] == "success" and not header.get("invalidated")
    scores = [_inspect_scores(sample) for sample in samples]
    names = [name for own in scores for name in own]
    chosen, rows = _chosen(metric, names) if names else None, []
    for sample, own in zip(samples, scores, strict=True):
        usage = _inspect_usage(sample, model, about["eval"].get("model_roles") or {})
        counts = {
            "input": usage.get("input_tokens") or 0,
            "read": usage.get("input_tokens_cache_read") or 0,
            "write": usage.get("input_tokens_cache_write") or 0,
            "output": usage.get("output_tokens") or 0,
        }
        tokens = _buckets(counts, usage.get("total_tokens"))
        flags = [tokens.pop("flags"), "" if whole else "unfinished_run"]
        failed = bool(sample.get("error"))
        rows.append(
            {
                "prompt_id": str(sample["id"]),
                "content": _content(sample.get("input"), sample.get("target")),
                "model_id": model,
                "settings": settings,
                "task": about["eval"].get("task"),
                "score": np.nan if failed else _number(own.get(chosen)),
                "status": "error" if failed else "ok",
                "cost_usd": usage.get("total_cost", np.nan),
                "end_to_end_s": sample.get("working_time", np.nan),
                "flags": ";".join(filter(None, flags)),
                **tokens,
            }
        )
    return _table(f"Inspect, {chosen}", rows)


def _inspect_usage(sample, model, roles):
    """Return what the model used when it answered, without what it used in another role, such as the grader."""
    usage = dict((sample.get("model_usage") or {}).get(model) or {})
    for role, other in (sample.get("role_usage") or {}).items():
        if roles.get(role, {}).get("model", model) != model:
            continue
        if role not in roles and len(sample["model_usage"]) > 1:
            return {}  # the log does not say which of the models used the tokens
        for name, value in other.items():
            if isinstance(value, int | float) and usage.get(name) is not None:
                usage[name] -= value
    return usage


def _inspect_scores(sample):
    """Return a sample's scores by name, as "scorer/key" if the value is a dict."""
    found = {}
    for name, score in (sample["scores"] or {}).items():
        value = score["value"]
        if isinstance(value, dict):
            found |= {f"{name}/{key}": part for key, part in value.items()}
        else:
            found[name] = value
    return found


def _harness(file, rows, metric):
    results = file.with_name(file.name.rsplit("_", 1)[-1].removesuffix(".jsonl") + ".json")
    results = results.with_name(f"results_{results.name}")
    if not results.is_file():
        raise ValueError(f"{results.name}, which names its model, is not beside it")
    about = json.loads(regular(results).read_bytes())
    names = [f"{name},{row['filter']}" for row in rows for name in row["metrics"]]
    chosen = _chosen(metric, names)
    name, kept = chosen.split(",", 1)
    task = file.name.removeprefix("samples_").rsplit("_", 1)[0]
    config = about.get("config") or {}
    settings = _settings(config.get("model_args"), config.get("gen_kwargs"))
    table = _table(
        f"lm-evaluation-harness, {chosen}",
        [
            {
                "prompt_id": f"{task} {row['doc_hash'][:12]}",
                "model_id": about["model_name"],
                "settings": settings,
                "task": task,
                "score": _number(row[name]),
                "status": "ok",
                "flags": "no_tokens",
            }
            for row in rows
            if row["filter"] == kept and name in row
        ],
    )
    better = about.get("higher_is_better", {}).get(task, {}).get(name, True)
    table.attrs["lower_is_better"] = not better
    return table


def _promptfoo(whole, metric):
    results = whole["results"]
    if results.get("version") != 3:
        raise ValueError(
            f"promptfoo's results have version {cited(results.get('version'))}; only version 3 can be read"
        )
    rows = []
    for row in results["results"]:
        usage = row.get("tokenUsage") or {}
        details = usage.get("completionDetails") or {}
        cached = bool((row.get("response") or {}).get("cached"))
        counts = {
            "input": usage.get("prompt") or 0,
            "read": details.get("cacheReadInputTokens") or 0,
            "write": details.get("cacheCreationInputTokens") or 0,
            "output": usage.get("completion") or 0,
        }
        tokens = _buckets(counts, usage.get("total"))
        if cached:
            tokens = {"flags": "from_promptfoos_cache"}
        unknown_cost = tokens["flags"] == "no_tokens" and not row.get("cost")
        failed = row["failureReason"] == 2
        scores = {**(row.get("namedScores") or {}), "score": row["score"]}
        provider = row["provider"]
        rows.append(
            {
                "prompt_id": _content(row["promptId"], row["vars"]),
                "model_id": provider["id"],
                "label": provider.get("label") or "",
                "prompt": row["promptId"],
                "column": row.get("promptIdx", 0),
                "score": np.nan if failed else _number(scores[_chosen(metric or "score", scores)]),
                "status": "error" if failed else "ok",
                "cost_usd": np.nan if unknown_cost else row.get("cost", np.nan),
                "end_to_end_s": np.nan if cached else row["latencyMs"] / 1000,
                **tokens,
            }
        )
    table = _table("promptfoo, " + (metric or "score"), rows)
    labels = table.groupby("model_id")["label"].transform("nunique")
    several = table["model_id"] + " (" + table["label"] + ")"
    table["model_id"] = table["model_id"].where(labels == 1, several)
    # A prompt and a provider make one column; two columns of the same pair are two configurations of the provider.
    column = table.groupby(["model_id", "prompt"])["column"].rank("dense").astype(int)
    several = column.groupby(table["model_id"]).transform("max") > 1
    numbered = table["model_id"] + " (configuration " + column.astype(str) + ")"
    table["model_id"] = table["model_id"].mask(several, numbered)
    return table.drop(columns=["label", "prompt", "column"])


def _langfuse(file, scores, metric):
    chosen = _chosen(metric, [score["name"] for score in scores])
    seen = {}
    for other in sorted(file.parent.rglob("*.jsonl")):
        for row in _lines(other) if other != file else ():
            if row.get("type") == "GENERATION":
                before = seen.get(row["id"], row)
                if _updated(row) >= _updated(before):
                    seen[row["id"]] = row
    if not seen:
        raise ValueError("the observations, which name the models, are not in its folder")
    by_trace = {}
    for row in seen.values():
        by_trace.setdefault(row["trace_id"], []).append(row)
    rows, apart, sources = [], 0, {}
    for score in scores:
        if score["name"] != chosen:
            continue
        rated = (score["trace_id"], score.get("observation_id"))
        source = sources.setdefault(rated, score.get("source"))
        if source != score.get("source"):
            raise ValueError(
                f"trace {shown(score['trace_id'])} has scores {shown(chosen)} of two sources, "
                f"{cited(source)} and {cited(score.get('source'))}; keep the lines of one of them"
            )
        mine = (
            [seen[score["observation_id"]]]
            if score.get("observation_id") in seen
            else by_trace.get(score["trace_id"], [])
        )
        if len({row["provided_model_name"] for row in mine}) != 1:
            apart += 1  # no generation, or several models: the score belongs to none of them alone
            continue
        rows.append(_langfuse_row(score, mine))
    left_out = f", {apart:,} scores of no one model left out" if apart else ""
    return _table(f"Langfuse, {chosen}{left_out}", rows)


def _updated(row):
    return pd.to_datetime(row.get("updated_at") or row.get("updatedAt") or 0, utc=True)


def _langfuse_tokens(details):
    """Add up the token buckets of an answer's observations; without a total, Langfuse's counts lie beside each other."""
    parts = []
    for one in details:
        counts = dict.fromkeys((*_COLUMNS, "reasoning"), 0)
        for name, count in one.items():
            key = _LANGFUSE_KEYS.get(name, name.split("_")[0])
            if key in counts:
                counts[key] += int(count or 0)
        parts.append(_buckets(counts, one.get("total"), beside=True))
        if len(parts[-1]) == 1:  # a flag that says why there are no tokens
            return parts[-1]
    tokens = {column: sum(part[column] for part in parts) for column in _COLUMNS.values()}
    return {**tokens, "flags": max(part["flags"] for part in parts)}


def _langfuse_row(score, observations):
    kind, value = score["data_type"], score["value"]
    if kind == "TEXT":
        raise ValueError(f"the score {cited(score['name'])} is a text, not a number")
    tokens = _langfuse_tokens([row.get("usage_details") or {} for row in observations])
    cost = [row.get("total_cost") for row in observations]
    waits = [row.get("latency") for row in observations]
    return {
        "prompt_id": _content(*(row.get("input") for row in observations))
        if any(row.get("input") is not None for row in observations)
        else str(score["trace_id"]),
        "model_id": observations[0]["provided_model_name"],
        "score": _number(score.get("string_value") if kind == "CATEGORICAL" else value),
        "status": "ok",
        "cost_usd": np.nan if None in cost else sum(map(float, cost)),
        "end_to_end_s": np.nan if None in waits else sum(map(float, waits)),
        **tokens,
    }
