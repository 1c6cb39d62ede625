"""Print time and cost of runs from their records: python -m wav2lip.costs RECORDS [--prices FILE] [--by user]"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from wav2lip.cli import run
from wav2lip.costs.ledger import GROUPS, read_usage, sum_groups, sum_jobs, total
from wav2lip.costs.prices import Prices, read_prices
from wav2lip.costs.table import format_csv, format_table


def build_parser() -> argparse.ArgumentParser:
    """Build the parser of the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m wav2lip.costs",
        description="Print time and cost of runs: of each job, or of each user, engine or day. Failed attempts count.",
    )
    records = "records of a run: a folder such as results/records or DATA/.stages, or a file STAGE.jsonl"
    parser.add_argument("records", nargs="+", type=Path, metavar="RECORDS", help=records)
    prices = "prices of the machines, like configs/prices/example.yaml; default: no cost, shown as -"
    parser.add_argument("--prices", type=Path, metavar="FILE", help=prices)
    parser.add_argument("--by", choices=GROUPS, help="sum over jobs; default: one row for each job")
    parser.add_argument("--csv", action="store_true", help="print CSV without the total")
    return parser


def costs(argv: list[str] | None = None) -> None:
    """Parse the command line, read the records and print the table."""
    args = build_parser().parse_args(argv)
    prices = Prices() if args.prices is None else read_prices(args.prices)
    jobs = sum_jobs(read_usage(args.records), prices)
    entries = jobs if args.by is None else sum_groups(jobs, args.by)
    priced = f"Prices in {prices.currency} of {prices.date}." if prices.classes else ""
    text = format_csv(entries, args.by) if args.csv else format_table(entries, total(jobs), args.by, priced) + "\n"
    sys.stdout.write(text)


def main() -> None:
    """Run the command."""
    run(costs)


if __name__ == "__main__":
    main()
