"""What a command raises when it cannot go on."""


class CommandFailed(Exception):
    """A message for the person at the terminal; the command ends with `exit_status`."""

    exit_status = 1


class UsageError(CommandFailed):
    """Arguments that are each well formed but make no sense together."""

    exit_status = 2
