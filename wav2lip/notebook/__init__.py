"""What the notebooks in notebooks/ do behind their forms: steps that run the toolkit's commands and show what came out.

Needs IPython, which every notebook has. Nothing else imports it.
"""
