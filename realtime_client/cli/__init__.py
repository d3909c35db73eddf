"""The command ``realtime-client``: to follow a feed, to serve one, or both at once, and to relay one to many processes.

Each command is a module with ``add_arguments(parser)`` and ``run(args) -> int``, so that another program can offer it
under its own roof; what goes wrong is raised, as `realtime_client.cli.exits.Failure` or as
the client's own error; `realtime_client.cli.ending.run_to_end` makes one line and an exit code of it.
"""

from realtime_client.cli.entry import main

__all__ = ["main"]
