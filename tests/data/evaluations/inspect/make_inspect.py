"""Makes the Inspect logs beside this file: `python make_inspect.py` with inspect-ai 0.3.285 installed.

Six sums of our own, each asked twice, of two mock models whose answers and usage are written here. Tracebacks and the
folder of the run are taken out afterwards, and the files get short names.
"""

import json
import pathlib

from backports.zstd import zipfile
from inspect_ai import Task
from inspect_ai import eval as run
from inspect_ai.dataset import Sample
from inspect_ai.model import ModelOutput, ModelUsage, get_model
from inspect_ai.scorer import match

SUMS = {
    "q1": ("2+3?", "5"),
    "q2": ("2+4?", "6"),
    "q3": ("7+2?", "9"),
    "q4": ("8+8?", "16"),
    "q5": ("9+4?", "13"),
    "q6": ("1+1?", "2"),
}
WRONG = {"large": {("q5", 0)}, "small": {("q4", 0), ("q4", 1), ("q5", 0), ("q5", 1)}}


def outputs(kind):
    for epoch in range(2):
        for name, (_, answer) in SUMS.items():
            text = "17" if (name, epoch) in WRONG[kind] else answer
            out = ModelOutput.from_content("mockllm/" + kind, text)
            cached = 1000 if epoch else 0
            out.usage = ModelUsage(
                input_tokens=12,
                output_tokens=3,
                total_tokens=15 + cached,
                input_tokens_cache_read=cached,
            )
            yield out


for kind in ("large", "small"):
    task = Task(
        dataset=[
            Sample(id=name, input=text, target=answer) for name, (text, answer) in SUMS.items()
        ],
        scorer=match(),
        epochs=2,
        name="sums",
    )
    model = get_model("mockllm/" + kind, custom_outputs=list(outputs(kind)))
    run(task, model=model, log_dir=".", max_connections=1, max_samples=1, display="plain")

# one sample of four fails: no output is left for it
task = Task(
    dataset=[Sample(id=n, input=t, target=a) for n, (t, a) in list(SUMS.items())[:4]],
    scorer=match(),
    name="short",
)
model = get_model("mockllm/large", custom_outputs=list(outputs("large"))[:3])
run(
    task,
    model=model,
    log_dir=".",
    max_connections=1,
    max_samples=1,
    fail_on_error=False,
    display="plain",
)

HERE = str(pathlib.Path.cwd())
for number, path in enumerate(sorted(pathlib.Path().glob("20*.eval"))):
    name = ("sums_large", "sums_small", "short_large")[number]
    with (
        zipfile.ZipFile(path) as old,
        zipfile.ZipFile(f"{name}.eval", "w", zipfile.ZIP_ZSTANDARD) as new,
    ):
        for member in old.namelist():
            data = json.loads(old.read(member).decode().replace(HERE, "."))
            if isinstance(data, dict) and data.get("error"):
                data["error"] = {
                    "message": data["error"]["message"],
                    "traceback": "",
                    "traceback_ansi": "",
                }
                data["events"], data["error_retries"] = [], []
            new.writestr(member, json.dumps(data))
    path.unlink()
