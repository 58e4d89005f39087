"""Rows of a corpus by rule: hold-out by words or regex, with a report of what was cut, and de-duplication."""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from condistill.corpus.base import Corpus, Selected
from condistill.errors import UserError

EXAMPLES = 10


@dataclass(frozen=True)
class HoldoutReport:
    """What a hold-out cut.

    Attributes:
        num_rows: rows looked at.
        num_unseen: rows that match, and so are held out.
        by_word: matched word, as it is spelled in the rows (lower case) -> rows, most frequent first.
        examples: the first held-out rows.
    """

    num_rows: int
    num_unseen: int
    by_word: dict[str, int] = field(default_factory=dict)
    examples: tuple[str, ...] = ()

    def __str__(self) -> str:
        words = ", ".join(f"{word} {count}" for word, count in list(self.by_word.items())[:10])
        return f"held out {self.num_unseen} of {self.num_rows} rows ({words})"


def word_pattern(words: Sequence[str]) -> re.Pattern[str]:
    """A pattern for any of the words, whole, in any case, in the singular or a regular plural.

    >>> bool(word_pattern(["fox"]).search("Two FOXES")), bool(word_pattern(["cat"]).search("a catalogue"))
    (True, False)
    """
    cleaned = [word.strip() for word in words if word.strip()]
    if not cleaned:
        raise UserError("a hold-out by words needs at least one word, got none")
    forms = []
    for word in cleaned:
        forms.append(f"{re.escape(word)}(?:s|es)?")
        for singular, plural in (("y", "ies"), ("f", "ves"), ("fe", "ves")):
            if word.lower().endswith(singular):
                forms.append(re.escape(word[: -len(singular)]) + plural)
    return re.compile(rf"(?<!\w)(?:{'|'.join(forms)})(?!\w)", re.IGNORECASE)


def regex_pattern(text: str) -> re.Pattern[str]:
    """The compiled regular expression.

    Raises:
        UserError: it is none.
    """
    try:
        return re.compile(text)
    except re.error as error:
        raise UserError(f"the hold-out's regex {text!r} is not valid: {error}") from None


class Holdout(Selected):
    """The rows of a corpus that match a pattern ("unseen"), or all others ("seen").

    Attributes:
        report: what matched.
    """

    def __init__(self, source: Corpus, pattern: re.Pattern[str], *, keep: str = "seen"):
        if keep not in ("seen", "unseen"):
            raise UserError(f"keep must be 'seen' or 'unseen', got {keep!r}")
        words: Counter[str] = Counter()
        examples: list[str] = []
        is_unseen = np.zeros(len(source), dtype=bool)
        for k, text in enumerate(_texts(source)):
            match = pattern.search(text)
            if match:
                is_unseen[k] = True
                words[match.group(0).lower()] += 1
                examples += [text] if len(examples) < EXAMPLES else []
        unseen = np.flatnonzero(is_unseen)
        self.report = HoldoutReport(len(is_unseen), len(unseen), dict(words.most_common()), tuple(examples))
        chosen = unseen if keep == "unseen" else np.flatnonzero(~is_unseen)
        super().__init__(source, chosen, how={"holdout": pattern.pattern[:200], "keep": keep})

    def describe(self) -> dict[str, Any]:
        """The source's description, the rule, and how many rows it cut, by word."""
        words = dict(list(self.report.by_word.items())[:20])
        return {**super().describe(), "num_unseen": self.report.num_unseen, "by_word": words}


class Unique(Selected):
    """The first of each set of equal rows.

    Attributes:
        num_duplicates: rows that were left out.
    """

    def __init__(self, source: Corpus):
        # 16 bytes a row, whatever its length
        digests = np.empty((len(source), 2), dtype=np.uint64)
        for k, text in enumerate(_texts(source)):
            digest = hashlib.blake2b(text.encode(errors="surrogatepass"), digest_size=16).digest()
            digests[k] = np.frombuffer(digest, dtype=np.uint64)
        order = np.lexsort((digests[:, 1], digests[:, 0]))  # stable: of equal rows the first comes first
        is_first = np.ones(len(order), dtype=bool)
        is_first[1:] = (digests[order[1:]] != digests[order[:-1]]).any(axis=1)
        rows = np.sort(order[is_first])
        self.num_duplicates = len(source) - len(rows)
        super().__init__(source, rows, how={"unique": True})


def _texts(source: Corpus) -> Iterator[str]:
    keys = source if isinstance(source, Iterable) else (source[k] for k in range(len(source)))
    for key in keys:
        yield key if isinstance(key, str) else json.dumps(key, sort_keys=True, ensure_ascii=False, default=str)
