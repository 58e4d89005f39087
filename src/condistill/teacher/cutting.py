"""Prompts that are longer than a teacher reads: found by watching what its pipeline asks of its tokenizers."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from condistill import processes
from condistill.errors import Remark
from condistill.teacher.calibration import Calibration
from condistill.teacher.padding import LONG
from condistill.teacher.running import parts_of, unheard

LOOKED_AT = 20_000  # rows of a larger corpus, spread over it: a second or so
AT_ONCE = 1000


@dataclass(frozen=True)
class Limit:
    """Where a tokenizer of the pipeline cuts a prompt.

    Attributes:
        component: its name in the pipeline.
        tokenizer: it.
        tokens: of the prompt itself that are read, without what the pipeline puts around it.
    """

    component: str
    tokenizer: Any
    tokens: int


def limits(teacher: Any) -> list[Limit]:
    """Where each tokenizer cuts; nothing for one that cuts nowhere, or for keys that are no text."""
    found = teacher.calibration if getattr(teacher, "is_calibrated", False) else None
    if not isinstance(found, Calibration) or not all(isinstance(key, str) for key in found.keys):
        return []
    tokenizers = {name: part for name, part in parts_of(found.runner.pipeline).items() if _is_tokenizer(part)}
    calls: list[tuple[str, list[str], dict[str, Any]]] = []
    with ExitStack() as watching:
        for name, tokenizer in tokenizers.items():
            watching.enter_context(_watched(name, tokenizer, calls))
        watching.enter_context(unheard())
        try:
            found.runner.first([LONG])
        except Exception:  # a pipeline that refuses a long prompt cuts none
            return []
    largest: dict[str, Limit] = {}
    for name, texts, options in calls:
        limit = _limit(name, tokenizers[name], texts, options)
        if limit is not None and (name not in largest or limit.tokens > largest[name].tokens):
            largest[name] = limit
    return list(largest.values())


def report_cut(teacher: Any, keys: Any, what: str) -> int:
    """How many of the keys are longer than the teacher reads; a warning says so, with the count, where there are any.

    Args:
        teacher: a Teacher.
        keys: a sequence or corpus; of more than LOOKED_AT rows as many are looked at.
        what: what they are called in the warning.
    """
    if not processes.is_main():
        return 0
    rows = np.unique(np.linspace(0, len(keys) - 1, min(len(keys), LOOKED_AT)).astype(np.int64))
    texts = [key for key in (keys[int(row)] for row in rows) if isinstance(key, str)]
    if not texts:
        return 0
    worst = 0
    for limit in limits(teacher):
        lengths = list(_lengths(limit, texts))
        count = sum(length > limit.tokens for length in lengths)
        if count:
            looked = "" if len(rows) == len(keys) else f" looked at, out of {len(keys)},"
            warnings.warn(
                f"{count} of {len(rows)} {what}{looked} are longer than the {limit.tokens} tokens that the teacher's "
                f"{limit.component} reads (the longest has {max(lengths)}); the rest of them is cut off",
                Remark,
                stacklevel=3,
            )
        worst = max(worst, count)
    return worst


def _lengths(limit: Limit, texts: Sequence[str]) -> Iterator[int]:
    # a token takes a byte at least: what is short is not tokenized
    long = [text for text in texts if len(text.encode(errors="replace")) > limit.tokens]
    with unheard():
        for start in range(0, len(long), AT_ONCE):
            some = limit.tokenizer(long[start : start + AT_ONCE], add_special_tokens=False, truncation=False)
            yield from map(len, some["input_ids"])


def _is_tokenizer(part: Any) -> bool:
    return callable(part) and hasattr(part, "model_max_length") and hasattr(part, "convert_tokens_to_ids")


@contextmanager
def _watched(name: str, tokenizer: Any, calls: list[tuple[str, list[str], dict[str, Any]]]) -> Iterator[None]:
    """A block in which calls of the tokenizer are noted; a call looks its method up on the class."""
    cls = type(tokenizer)

    def call(self: Any, text: Any = None, *args: Any, **kwargs: Any) -> Any:
        texts = [text] if isinstance(text, str) else text
        if isinstance(texts, list | tuple) and all(isinstance(one, str) for one in texts):
            calls.append((name, list(texts), kwargs))
        return cls.__call__(self, text, *args, **kwargs)

    tokenizer.__class__ = type(cls.__name__, (cls,), {"__call__": call, "__module__": cls.__module__})
    try:
        yield
    finally:
        tokenizer.__class__ = cls


def _limit(name: str, tokenizer: Any, texts: Sequence[str], options: dict[str, Any]) -> Limit | None:
    """The limit that a call with the long prompt shows; None where it does not cut."""
    whole = next((text for text in texts if LONG in text), None)
    if whole is None or options.get("truncation") in (None, False, "do_not_truncate"):
        return None
    special = options.get("add_special_tokens", True)
    with unheard():
        length = len(tokenizer(whole, add_special_tokens=special, truncation=False)["input_ids"])
        alone = len(tokenizer(LONG, add_special_tokens=False, truncation=False)["input_ids"])
    most = options.get("max_length") or tokenizer.model_max_length
    return Limit(name, tokenizer, most - (length - alone)) if length > most else None
