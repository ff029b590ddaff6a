"""One module for each way to score an answer."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submodules=(
        "answers",
        "code",
        "judge",
        "numeric",
        "structured",
        "text",
    ),
)
