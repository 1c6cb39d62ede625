"""Self-contained HTML reports with inline SVG plots, for preprocessing, evaluation, the demo and the web page."""
