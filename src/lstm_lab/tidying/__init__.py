"""Keeping house: what runs have left behind that nobody owns any more is found, told and, if asked for, removed."""
