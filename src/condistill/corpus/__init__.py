"""C: conditions without images, in memory-mapped columns. This package can be called: `corpus("prompts.txt")`."""

from condistill.callable_package import make_callable
from condistill.corpus.base import Corpus, Listed, Selected
from condistill.corpus.labels import Labels
from condistill.corpus.mixture import Mixture
from condistill.corpus.selection import Holdout, HoldoutReport, Unique
from condistill.corpus.specs import SOURCES, corpus
from condistill.corpus.text import TextCorpus

__all__ = [
    "SOURCES",
    "Corpus",
    "Holdout",
    "HoldoutReport",
    "Labels",
    "Listed",
    "Mixture",
    "Selected",
    "TextCorpus",
    "Unique",
    "corpus",
]

make_callable(__name__, "condistill.corpus.specs:corpus")
