"""Which optional package comes with which extra of the installation."""

EXTRAS = {
    "stats": ("statsmodels", "evalstats", "sklearn", "bpe_openai"),
    "live": ("anthropic", "openai", "google", "httpx2"),
    "usage": ("duckdb", "ibis", "pyarrow", "sqlglot"),
    "report": (
        "papermill",
        "nbconvert",
        "nbformat",
        "ipykernel",
        "ipywidgets",
        "IPython",
        "nh3",
        "mistune",
        "latex2mathml",
        "bs4",
    ),
    "lab": ("jupyterlab", "voila"),
}


def install_line(error):
    """What a ModuleNotFoundError means to a user: the package that is missing and the line that installs it.

    Examples
    --------
    >>> install_line(ModuleNotFoundError("No module named 'duckdb'", name="duckdb"))
    "this needs duckdb, which is not installed: pip install 'tierlab[usage]'"
    """
    package = (error.name or "").split(".")[0]
    extra = next((extra for extra, packages in EXTRAS.items() if package in packages), None)
    if extra is None:
        return str(error)
    return f"this needs {package}, which is not installed: pip install 'tierlab[{extra}]'"
