"""Runs listed and compared, in the terminal and on a page of their own."""
