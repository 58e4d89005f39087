"""Rows of a corpus by rule: hold-out by words or regex, with a report of what was cut, and de-duplication."""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

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
        stem = re.escape(word)
        forms.append(f"{stem}(?:s|es)?")
        if word.endswith("y"):
            forms.append(f"{re.escape(word[:-1])}ies")
        if word.endswith("f"):
            forms.append(f"{re.escape(word[:-1])}ves")
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
        matches = [pattern.search(text) for text in _texts(source)]
        is_unseen = np.array([match is not None for match in matches], dtype=bool)
        words = Counter(match.group(0).lower() for match in matches if match)
        unseen = np.flatnonzero(is_unseen)
        self.report = HoldoutReport(
            num_rows=len(is_unseen),
            num_unseen=len(unseen),
            by_word=dict(words.most_common()),
            examples=tuple(str(source[int(k)]) for k in unseen[:EXAMPLES]),
        )
        chosen = unseen if keep == "unseen" else np.flatnonzero(~is_unseen)
        super().__init__(source, chosen, how={"holdout": pattern.pattern[:200], "keep": keep})


class Unique(Selected):
    """The first of each set of equal rows.

    Attributes:
        num_duplicates: rows that were left out.
    """

    def __init__(self, source: Corpus):
        # 16 bytes a row, whatever its length
        seen: set[bytes] = set()
        rows = []
        for k, text in enumerate(_texts(source)):
            digest = hashlib.blake2b(text.encode(errors="surrogatepass"), digest_size=16).digest()
            if digest not in seen:
                seen.add(digest)
                rows.append(k)
        self.num_duplicates = len(source) - len(rows)
        super().__init__(source, np.array(rows, dtype=np.int64), how={"unique": True})


def _texts(source: Corpus) -> Iterator[str]:
    for k in range(len(source)):
        key = source[k]
        yield key if isinstance(key, str) else json.dumps(key, sort_keys=True, ensure_ascii=False, default=str)
