"""Tiny real pipelines with random weights, built from configs alone: no download, a second each."""

from __future__ import annotations

from tests.tiny.pipelines import dit, sd, sdxl

__all__ = ["dit", "sd", "sdxl"]
