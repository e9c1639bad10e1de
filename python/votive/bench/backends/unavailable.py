"""The error of a backend that cannot run here."""


class Unavailable(Exception):
    """The backend cannot run here; the message says why, and how to install what is missing."""
