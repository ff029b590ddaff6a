"""Where data, figures, notebooks, build output and the cache are."""

import os
from pathlib import Path

from platformdirs import user_cache_path

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT / "data"
NOTEBOOKS = ROOT / "notebooks"
BUILD = ROOT / "build"
# A run with other parameters, or a test, must not overwrite the committed figures: `report` redirects them.
FIGURES = Path(os.environ.get("TIERLAB_FIGURES_DIR", ROOT / "figures"))
CACHE = Path(os.environ.get("TIERLAB_CACHE_DIR", user_cache_path("tierlab", appauthor=False)))
