"""The one exception that means: the user can mend this."""


class UserError(ValueError):
    """Bad data, file or option. The command line prints its one line and exits with 2.

    The message says what was expected, what was received and what to do.
    """
