"""The compared systems, one file each."""
