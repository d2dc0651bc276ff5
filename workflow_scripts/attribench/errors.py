"""The one exception for bad input."""


class InputError(Exception):
    """Bad input: the message names the file or key, what was found and what was expected."""
