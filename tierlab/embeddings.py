"""What a small open model makes of a text, as numbers: computed here, or from the kit's recording of the intent messages."""

import numpy as np

from tierlab.local import HOST, smollm2
from tierlab.paths import DATA

EMBEDDINGS = DATA / "samples" / "intents_embeddings.npz"


def embed(texts, path=None):
    """What a model makes of each text: the mean of its last hidden states, as an array (texts x numbers).

    Parameters
    ----------
    texts : iterable of str
    path : path-like, optional
        A GGUF file; by default the SmolLM2-135M-Instruct that `make local` installs.
    """
    import xllamacpp

    settings = xllamacpp.CommonParams()
    settings.model.path, settings.offline, settings.ui = str(path or smollm2()), True, False
    settings.hostnames, settings.port, settings.n_ctx, settings.n_parallel = [HOST], 0, 512, 1
    settings.cpuparams.n_threads = settings.cpuparams_batch.n_threads = 1
    settings.embedding, settings.pooling_type = True, xllamacpp.llama_pooling_type.LLAMA_POOLING_TYPE_MEAN
    server = xllamacpp.Server(settings)
    return np.array([server.handle_embeddings({"input": text})["data"][0]["embedding"] for text in texts])


def recorded_embeddings(path=EMBEDDINGS):
    """`embed` of SmolLM2-135M-Instruct on the messages of `tierlab.load_intents`, from a recording.

    Returns
    -------
    callable
        Texts -> array (texts x 576), for `train`. It refuses a text that was not recorded.

    Notes
    -----
    Each of the 576 numbers is stored in 255 steps between its least and its greatest value over the messages.
    """
    with np.load(path) as file:
        vectors = dict(zip(file["text"].tolist(), file["step"] * file["scale"] + file["offset"], strict=True))

    def vectorise(texts):
        missing = [text for text in texts if text not in vectors]
        if missing:
            raise ValueError(f"{len(missing):,} texts have no recorded embedding; first {missing[0]!r}")
        return np.array([vectors[text] for text in texts])

    return vectorise
