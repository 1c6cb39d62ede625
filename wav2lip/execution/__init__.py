"""Work over many inputs: executors, the records of what is done, and what it used."""
