"""The running product of the notebooks, from one file."""

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
    """One question and its answer, in tokens."""

    input_tokens: PositiveInt
    output_tokens: PositiveInt


class Conversation(Message):
    """The same as a conversation: input that is new in a turn, after a system prompt."""

    system_tokens: NonNegativeInt
    turns: PositiveInt


class Product(_Part):
    """What the notebooks decide for: its volume, what an error costs, and its two shapes."""

    name: str
    task: str
    requests_per_day: PositiveInt
    error_cost_usd: PositiveFloat
    message: Message
    conversation: Conversation


def load_product(path: str | Path = "kit") -> Product:
    """The running product: "kit" is data/product.yaml, anything else the path to a file like it.

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
