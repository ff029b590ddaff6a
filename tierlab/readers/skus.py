"""Lines of a bill: which model and which token bucket a SKU's text speaks of."""

import re

from tierlab.names import canonical

_STOP = re.compile(
    r"\b(?:short|long|text|audio|image|video|input|output|global|regional|batch|cached|caching|token|tokens|count|for"
    r"|predictions|thinking|non-thinking|priority|flex|standard|cache_read|cache_write\w*|on|usage)\b|[:,]| - "
)
_MODEL = re.compile(r"\b(?:gemini|gemma|claude|gpt|o\d|mistral|llama|deepseek|command|nova)[-\s\d.]")
_MODALITY = re.compile(r"\b(?:audio|image|video|grounding|search|storage|embedding)\b")


def model_in(text):
    """The model that a description names, or None.

    Examples
    --------
    >>> model_in("Generate content input token count gemini 2.5 flash lite short input text")
    'gemini-2.5-flash-lite'
    """
    found = _MODEL.search(text.lower())
    if not found:
        return None
    name = _STOP.split(text.lower()[found.start() :].rsplit("/", 1)[-1], maxsplit=1)[0].strip()
    return canonical(name) or re.sub(r"\s+", "-", name)


def bucket_in(text):
    """The token bucket that a description speaks of; None for what is no text token (storage, search, pictures).

    "Cached input" comes before "input"; where both input and output stand, the first is meant (a real one reads
    "output token count gemini 2.5 flash short input text").

    Examples
    --------
    >>> bucket_in("Generate_content text cached input token count for gemini 3 pro short")
    'cache_read'
    """
    text = text.lower().replace("_", " ").replace("-", " ")
    if _MODALITY.search(text):
        return None
    if re.search(r"cache (?:write|creation)", text):
        return "cache_write_1h" if re.search(r"\b1 ?h", text) else "cache_write_5m"
    if re.search(r"cache|caching", text):
        return "cache_read"
    first = re.search(r"input|output", text)
    return first and {"input": "uncached_input", "output": "output"}[first[0]]
