"""Would the tests notice? A drawn sample of mutants of the folders that make numbers, made by mutmut.

Each mutant is one change in one function (an operator, a comparison, a number, a condition, a dropped argument), tried by
the tests of its own folder, the nearest first. Each has a process of its own: what an earlier run had cached, a catalogue
for one, would hide a mutant from the tests. One that does not end in time counts as not noticed. Not drawn is what changes
words only, and what breaks at once wherever it runs (a value that becomes None, a column that is misspelt): that would be
noticed by any test, and flatter. Run with `make mutants`; it works on a copy in build/mutants. The same sources and the
same seed draw the same mutants.
"""

import argparse
import ast
import os
import random
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

LIMIT_S = 1800
ROOT = Path(__file__).parents[1]
COPY = ROOT / "build" / "mutants"
FOLDERS = ["prices", "scaling", "evaluate", "routing", "speed", "decide", "quarter", "usage"]


class Numbers(ast.NodeTransformer):
    """A function without its words: no texts, and nothing of what is raised."""

    def visit_Raise(self, node):
        return ast.Raise()

    def visit_Constant(self, node):
        return ast.Constant("") if isinstance(node.value, str) else node

    def visit_JoinedStr(self, node):
        return ast.Constant("")


def copied(folders):
    """The tracked files in the copy, with a configuration for the folders; the mutants of the last run are gone."""
    shutil.rmtree(COPY, ignore_errors=True)
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True)
    for name in filter(None, listed.stdout.decode().split("\0")):
        target = COPY / name
        if (ROOT / name).is_file():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target)
    options = {
        "source_paths": "tierlab",
        "only_mutate": [f"tierlab/{folder}/*" for folder in folders],
        # pictures are compared in the notebooks; the harness runs alone, in a process without mutmut
        "do_not_mutate": ["*/figures.py", "*/control.py", "*/code_harness.py"],
        "also_copy": [path.name for path in COPY.iterdir() if path.name != "tierlab"],
    }
    lines = ["[mutmut]"]
    for name, value in options.items():
        listed = value if isinstance(value, str) else "\n  ".join(["", *value])
        lines.append(f"{name} = {listed}")
    (COPY / "setup.cfg").write_text("\n".join(lines))
    os.chdir(COPY)  # mutmut reads its configuration where it stands


def drawn(count, seed):
    """Names of the mutants to try: name -> change as a diff."""
    from mutmut import __main__ as mutmut
    from mutmut.mutation.diff_apply import get_diff_for_mutant, read_functions_from_index
    from mutmut.mutation.trampoline import set_mutant_under_test

    set_mutant_under_test("mutant_generation")
    Path("mutants").mkdir()
    mutmut.copy_src_dir()
    mutmut.copy_also_copy_files()
    mutmut.setup_source_paths()
    mutmut.create_mutants(os.cpu_count())
    found, _ = mutmut.collect_source_file_mutation_data(mutant_names=())
    names = sorted((name, data.path) for data, name, _ in found)
    random.Random(seed).shuffle(names)
    chosen = {}
    for name, path in names:
        before, after = (skeleton(part) for part in read_functions_from_index(name, path))
        if before != after and after.count("value=None") <= before.count("value=None"):
            chosen[name] = get_diff_for_mutant(name, path=path)
        if len(chosen) == count:
            break
    return chosen, len(names)


def skeleton(function):
    import libcst

    return ast.dump(Numbers().visit(ast.parse(libcst.Module([function]).code)))


def nearest(name):
    """Return the test files of a mutant's folder, first those that say most of its function and module."""
    _, folder, *_, module, function = name.split(".")
    words = [
        module,
        *filter(
            None, function.removeprefix("x_").removeprefix("xǁ").split("__mutmut")[0].split("ǁ")
        ),
    ]
    files = {path: path.read_text() for path in sorted(Path(f"tests/{folder}").rglob("test_*.py"))}
    said = {
        path: sum(bool(text.count(word)) + (word in path.stem) for word in words)
        for path, text in files.items()
    }
    return sorted(map(str, files), key=lambda path: -said[Path(path)])


def verdict(name, folders):
    """What the tests of its folder say of a mutant, or those of all folders of the code as it is, for an empty name."""
    where = nearest(name) if name else [f"tests/{folder}" for folder in folders]
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider"]
    command += ["-k", "not notebook and not isolation", *where]
    environment = os.environ | {"PYTHONPATH": str(COPY / "mutants"), "MUTANT_UNDER_TEST": name}
    try:
        ran = subprocess.run(
            command, cwd="mutants", env=environment, capture_output=True, timeout=LIMIT_S
        )
        said = "noticed" if ran.returncode else "survived"
    except subprocess.TimeoutExpired:
        said = "timeout"
    print(f"{said}: {name or 'the code as it is'}", flush=True)
    return said


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "folders", nargs="*", default=FOLDERS, help="by default all that make numbers"
    )
    parser.add_argument("--draw", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--children", type=int, default=os.cpu_count())
    parser.add_argument("--at-least", type=float, default=0.85, help="share noticed, 0-1")
    given = parser.parse_args()
    copied(given.folders)
    chosen, total = drawn(given.draw, given.seed)
    print(f"{len(chosen)} of {total:,} mutants drawn by seed {given.seed}", flush=True)
    with ThreadPoolExecutor(given.children) as pool:
        unchanged = pool.submit(verdict, "", given.folders)
        found = dict(
            zip(chosen, pool.map(lambda name: verdict(name, given.folders), chosen), strict=True)
        )
    if unchanged.result() != "survived":
        sys.exit("the tests fail on the code as it is")
    passed = [name for name, said in found.items() if said != "noticed"]
    for name in passed:
        print(f"\n{found[name]}: {name}\n{chosen[name]}")
    noticed = 1 - len(passed) / len(chosen)
    print(f"\n{len(chosen) - len(passed)} of {len(chosen)} noticed ({noticed:.0%})")
    sys.exit(noticed < given.at_least)


if __name__ == "__main__":
    main()
