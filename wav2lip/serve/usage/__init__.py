"""Quotas of clients, and totals of their jobs."""

from typing import Literal, get_args

Group = Literal["user", "day", "engine"]  # of totals
GROUPS = get_args(Group)
