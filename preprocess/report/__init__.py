"""Report of a data set: dataset.json, table, advice and HTML page."""
