"""Quotas and totals of a server's clients: python -m wav2lip.serve.usage totals --by day"""

from __future__ import annotations

import argparse
import csv
import sys
from dataclasses import astuple, fields
from pathlib import Path

from wav2lip.cli import run
from wav2lip.errors import InputError
from wav2lip.serve.process import report_missing_package
from wav2lip.serve.settings import Settings
from wav2lip.serve.usage import GROUPS

NAME = "client: the name of its key, or as the totals show it"


def build_parser() -> argparse.ArgumentParser:
    """Build the command line with its commands."""
    parser = argparse.ArgumentParser(
        prog="python -m wav2lip.serve.usage", description="Manage quotas of clients and print totals of their jobs."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    for command, text in {
        "totals": "print the totals of each user, day or engine as CSV",
        "quotas": "print the quotas of all clients as CSV",
        "quota": "set the quota of a client per day in UTC",
        "remove": "remove the name of a client from all records; totals stay",
    }.items():
        subparser = commands.add_parser(command, help=text, description=text)
        if command in ("quota", "remove"):
            subparser.add_argument("name", metavar="NAME", help=NAME)
        if command == "totals":
            subparser.add_argument("--by", choices=GROUPS, default="user", help="group; default: user")
        if command == "quota":
            subparser.add_argument("--jobs", type=int, metavar="N", help="jobs; default: no limit")
            subparser.add_argument("--video_seconds", type=float, metavar="S", help="video; default: no limit")
            subparser.add_argument("--upload_mib", type=int, metavar="N", help="uploads in MiB; default: no limit")
        subparser.add_argument("--data", type=Path, default=Path("serve"), metavar="FOLDER",
                               help="the server's --data; default: serve")  # fmt: skip
        subparser.add_argument("--database", metavar="URL", help="the server's --database; default: SQLite in --data")
    return parser


def usage(argv: list[str] | None = None) -> None:
    """Parse the command line and run the command. Raises: InputError."""
    args = build_parser().parse_args(argv)
    settings = Settings(data=args.data, database=args.database)
    if args.database is None and not args.data.is_dir():
        raise InputError(f"--data={args.data}: does not exist; give the folder of the server, or its --database")
    with report_missing_package():
        _run_command(args, settings)


def _run_command(args: argparse.Namespace, settings: Settings) -> None:
    from wav2lip.serve.db.database import Database
    from wav2lip.serve.usage.quotas import Quota, list_quotas, set_quota
    from wav2lip.serve.usage.removal import remove_name
    from wav2lip.serve.usage.statistics import format_csv, sum_totals

    database = Database(settings.database_url)
    try:
        if args.command == "totals":
            sys.stdout.write(format_csv(sum_totals(database, args.by), args.by))
        elif args.command == "quotas":
            writer = csv.writer(sys.stdout, lineterminator="\n")
            writer.writerow(["user", *(limit.name for limit in fields(Quota))])
            writer.writerows([client, *astuple(quota)] for client, quota in list_quotas(database).items())
        elif args.command == "quota":
            set_quota(database, args.name, Quota(args.jobs, args.video_seconds, args.upload_mib))
        else:
            sys.stdout.write(remove_name(database, args.name) + "\n")
    finally:
        database.close()


def main() -> None:
    """Run the entry point."""
    run(usage)


if __name__ == "__main__":
    main()
