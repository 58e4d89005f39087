"""Pipelines as a stranger builds them, for config_variants.py: drawn configs of diffusers' own classes."""
