"""What can be said about a piece of text, or about bytes that may be text."""

import hashlib
import re
from collections import Counter
from typing import Any

from charset_normalizer import from_bytes

WORD = re.compile(r"\w+(?:['’]\w+)*")
MOST_COMMON = 5


def describe(data: str | bytes) -> dict[str, Any]:
    if isinstance(data, str):
        return {"encoding": "utf-8", **describe_bytes(data.encode(errors="replace")), **count(data)}
    guess = from_bytes(data).best()
    facts = {"encoding": guess.encoding if guess else None, **describe_bytes(data)}
    return {**facts, **count(str(guess))} if guess else facts


def describe_bytes(data: bytes) -> dict[str, Any]:
    return {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}


def count(text: str) -> dict[str, Any]:
    words = [word.lower() for word in WORD.findall(text)]
    return {
        "characters": len(text),
        "words": len(words),
        "lines": len(text.splitlines()),
        "most_common": Counter(words).most_common(MOST_COMMON),
    }
