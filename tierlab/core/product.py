"""The running product of the notebooks, read from one file."""

from pathlib import Path

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    ValidationError,
)

from tierlab.core.paths import DATA
from tierlab.core.untrusted import cited, read_text


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Message(_Part):
    """Sizes of one question and its answer in tokens."""

    input_tokens: PositiveInt
    output_tokens: PositiveInt


class Conversation(Message):
    """Sizes of a conversation in tokens: each turn adds its input and output to the system prompt and the turns before."""

    system_tokens: NonNegativeInt
    turns: PositiveInt


class Product(_Part):
    """The product for which the notebooks decide: its daily volume, what an error costs, and the two shapes of its requests."""

    name: str
    task: str
    requests_per_day: PositiveInt
    error_cost_usd: PositiveFloat
    message: Message
    conversation: Conversation


def load_product(path: str | Path = "kit") -> Product:
    """Load the running product of the notebooks.

    Parameters
    ----------
    path : path
        "kit" for data/product.yaml, or the path of a file like it.

    Returns
    -------
    Product

    Raises
    ------
    ValueError
        If a field is missing, unknown or of the wrong kind; names file and field.
    """
    path = DATA / "product.yaml" if path == "kit" else path
    try:
        return Product.model_validate(yaml.safe_load(read_text(path)))
    except ValidationError as error:
        fault = error.errors()[0]
        where = ".".join(str(part) for part in fault["loc"])
        raise ValueError(
            f"{path}: {where}: {fault['msg'].lower()}, not {cited(fault['input'])}"
        ) from None
