"""Filters: which rows a call is about."""
