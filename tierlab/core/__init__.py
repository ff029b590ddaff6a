"""What every other folder builds on."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submodules=(
        "datasets",
        "explorer",
        "files",
        "finding",
        "format",
        "paths",
        "product",
        "style",
        "tables",
        "untrusted",
        "vocabulary",
        "workers",
    ),
)
