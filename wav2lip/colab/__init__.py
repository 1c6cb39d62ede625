"""Steps of the Colab notebooks in notebooks/: run the toolkit's commands and display their results.

Requires IPython, which every notebook has; no other package imports this one.
"""
