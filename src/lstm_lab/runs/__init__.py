"""The life of one run: prepared, begun, trained under observers, kept, ended; resumed, reproduced, forecast with."""
