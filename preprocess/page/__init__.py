"""report.html: one self-contained file that shows why each second of a data set is in or out."""

from preprocess.page.document import PAGE, write_page

__all__ = ["PAGE", "write_page"]
