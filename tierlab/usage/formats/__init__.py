"""One module for each family of log formats."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submodules=(
        "anthropic",
        "focus",
        "gateways",
        "google",
        "mending",
        "openai",
        "otel",
        "plain",
        "sessions",
    ),
)
