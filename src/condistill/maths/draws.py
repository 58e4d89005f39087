"""Every random number of condistill, as a pure function of (seed, purpose, sample number).

No global state and no stream that has to be rewound: sample 17 is the same on one process or eight, in any batch,
after a resume or without one.

>>> bool((uniforms(0, "swap", numbers(0, 4))[2:] == uniforms(0, "swap", numbers(2, 2))).all())
True
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

_MASK = np.uint64(0xFFFFFFFFFFFFFFFF)


def numbers(start: int, count: int) -> np.ndarray:
    """Sample numbers start, start + 1, ..., as int64 (count,)."""
    return np.arange(start, start + count, dtype=np.int64)


def stream(seed: int, purpose: str) -> int:
    """A 64-bit key for one purpose of one seed; unrelated for any two different pairs."""
    digest = hashlib.blake2b(f"{int(seed)}/{purpose}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little")


def _mixed(key: int, counters: np.ndarray) -> np.ndarray:
    """Counter-based 64-bit hash: two rounds of splitmix64's finaliser over key + counter.

    Source: Steele, Lea and Flood, "Fast splittable pseudorandom number generators" (2014), mix64 variant 13.
    """
    with np.errstate(over="ignore"):
        z = counters.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(key)
        for _ in range(2):
            z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
            z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
            z = (z ^ (z >> np.uint64(31))) + np.uint64(key)
    return z & _MASK


def uniforms(seed: int, purpose: str, sample_numbers: np.ndarray) -> np.ndarray:
    """Uniform draws in [0, 1), float64 (b,), one per sample number."""
    bits = _mixed(stream(seed, purpose), np.asarray(sample_numbers, dtype=np.int64))
    return (bits >> np.uint64(11)).astype(np.float64) * 2.0**-53


def integers(seed: int, purpose: str, sample_numbers: np.ndarray, high: int) -> np.ndarray:
    """Uniform draws from range(high), int64 (b,)."""
    if high < 1:
        raise ValueError(f"integers: high must be at least 1, got {high}")
    drawn = (uniforms(seed, purpose, sample_numbers) * high).astype(np.int64)
    return np.minimum(drawn, high - 1)


def generator(seed: int, purpose: str, number: int) -> torch.Generator:
    """A CPU generator for one sample; on the CPU so that its draws do not depend on the device."""
    return torch.Generator("cpu").manual_seed(_seeds(seed, purpose, np.asarray([number]))[0])


def _seeds(seed: int, purpose: str, sample_numbers: np.ndarray) -> list[int]:
    """What each sample's generator is seeded with: at once, for small operations of numpy take longer than draws."""
    bits = _mixed(stream(seed, purpose), np.asarray(sample_numbers, dtype=np.int64))
    return (bits & np.uint64(0x7FFFFFFFFFFFFFFF)).tolist()


def normal(seed: int, purpose: str, sample_numbers: np.ndarray, shape: Sequence[int]) -> Float[Tensor, "b *latent"]:
    """Standard normal draws, float32 (b, *shape); row k depends on (seed, purpose, sample_numbers[k]) alone."""
    drawn, rows = torch.Generator("cpu"), torch.empty(len(sample_numbers), *shape)
    for row, own in zip(rows, _seeds(seed, purpose, sample_numbers), strict=True):
        torch.randn(tuple(shape), generator=drawn.manual_seed(own), out=row)
    return rows


def permuted(seed: int, purpose: str, sample_numbers: np.ndarray, size: int) -> np.ndarray:
    """Indices into range(size), int64 (b,): sample number n is place n % size of epoch n // size.

    Each epoch is a pseudo-random permutation, computed place by place with no table: a four-round Feistel network on
    the next power of four, walked until it lands inside (Black and Rogaway, "Ciphers with arbitrary finite domains",
    2002).
    """
    if size < 1:
        raise ValueError(f"permuted: size must be at least 1, got {size}")
    counted = np.asarray(sample_numbers, dtype=np.int64)
    epochs, places = counted // size, counted % size
    half_bits = max(1, ((size - 1).bit_length() + 1) // 2)
    key = stream(seed, purpose)
    out = _feistel(key, epochs, places, half_bits)
    outside = out >= size
    while outside.any():
        out[outside] = _feistel(key, epochs[outside], out[outside], half_bits)
        outside = out >= size
    return out


def _feistel(key: int, epochs: np.ndarray, places: np.ndarray, half_bits: int) -> np.ndarray:
    mask = np.int64((1 << half_bits) - 1)
    left, right = places >> half_bits, places & mask
    for turn in range(4):
        with np.errstate(over="ignore"):
            tweak = _mixed(key, epochs * np.int64(4) + turn)
            value = _mixed(key ^ 0x5DEECE66D, (tweak ^ right.astype(np.uint64)).astype(np.int64))
        left, right = right, left ^ (value.astype(np.int64) & mask)
    return (left << half_bits) | right
