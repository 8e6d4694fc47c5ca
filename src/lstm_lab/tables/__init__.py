"""A file as it comes: how it is written, its columns as arrays, its times, gaps and missing values seen to."""
