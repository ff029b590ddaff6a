"""Where data, figures, notebooks, build output and the cache are.

In a checkout they lie beside the package, and changes there take effect. A wheel carries data and notebooks inside the
package (`kit`), which is never written to: output goes to the working folder.
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
# A test, or a run with other parameters, must not overwrite the committed figures: `pages.run` redirects them.
FIGURES = Path(os.environ.get("TIERLAB_FIGURES_DIR", BUILD.parent / "figures"))
CACHE = Path(os.environ.get("TIERLAB_CACHE_DIR", user_cache_path("tierlab", appauthor=False)))
