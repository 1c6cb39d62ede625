"""Flows of workflow engines; thin tasks that call the stages of the library."""
