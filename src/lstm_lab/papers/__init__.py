"""What papers say of long memory and of forecasts, held against runs of this program."""
