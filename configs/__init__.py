"""Hydra configs: one YAML file per entry point, groups in folders, types in `schema`, the start in `cli`."""
