"""Pure functions and value objects: p(u), random conditioning, noise paths, distances, keyed draws."""

from condistill.maths.draws import generator, integers, normal, numbers, permuted, uniforms
from condistill.maths.noise_path import FlowPath, NoisePath, VPPath, noise_path
from condistill.maths.p_random import PRandom, describe, p_random
from condistill.maths.randomise import Key, Randomised, randomise

__all__ = [
    "FlowPath",
    "Key",
    "NoisePath",
    "PRandom",
    "Randomised",
    "VPPath",
    "describe",
    "generator",
    "integers",
    "noise_path",
    "normal",
    "numbers",
    "p_random",
    "permuted",
    "randomise",
    "uniforms",
]
