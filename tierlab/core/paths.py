"""Where data, figures, notebooks, build output and the cache are.

In a checkout they lie beside the package, and what is changed there counts. A wheel carries data and notebooks in
the package (`kit`), which is left as it is: output goes to the folder in which one stands.
"""

import os
from pathlib import Path

from platformdirs import user_cache_path

_PACKAGE = Path(__file__).resolve().parents[1]
IN_CHECKOUT = (_PACKAGE.parent / "data" / "prices_article.csv").is_file()
ROOT = _PACKAGE.parent if IN_CHECKOUT else _PACKAGE / "kit"
DATA = ROOT / "data"
NOTEBOOKS = ROOT / "notebooks"
BUILD = (ROOT if IN_CHECKOUT else Path.cwd()) / "build"
# A run with other parameters, or a test, must not overwrite the committed figures: `pages.run` redirects them.
FIGURES = Path(os.environ.get("TIERLAB_FIGURES_DIR", BUILD.parent / "figures"))
CACHE = Path(os.environ.get("TIERLAB_CACHE_DIR", user_cache_path("tierlab", appauthor=False)))
