"""Usage logs, read into the requests table."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submodules=(
        "columns",
        "files",
        "formats",
        "read",
        "reader",
        "repeats",
        "sheet",
    ),
)
