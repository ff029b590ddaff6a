"""The app: one screen with a panel for the workload and a tab for each question."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, submodules=("answer", "page", "tabs"))
