"""report.html: a self-contained page that shows why each second of a data set is kept or dropped."""

from preprocess.report.html.document import REPORT, write_report

__all__ = ["REPORT", "write_report"]
