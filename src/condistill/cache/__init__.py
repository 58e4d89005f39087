"""D on disk: shards of latents, their rows, and the manifest of how they were made."""

from condistill.cache.batch import Batch
from condistill.cache.manifest import Manifest
from condistill.cache.shards import ShardPlan
from condistill.cache.store import Cache

__all__ = ["Batch", "Cache", "Manifest", "ShardPlan"]
