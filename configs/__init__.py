"""Hydra configs: one root per entry point, groups beside them. `entry` starts an entry point from one."""
