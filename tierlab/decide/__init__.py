"""Which tier a task calls for; the decision filed and reviewed (notebook 03)."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submodules=(
        "checklist",
        "control",
        "figures",
        "match",
        "options",
        "recommend",
        "record",
        "review",
        "tasks",
    ),
)
