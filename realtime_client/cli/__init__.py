"""The command ``realtime-client``: follow a feed (``tail``), serve one (``serve``), or both at once (``demo``).

Each command is a module with ``add_arguments(parser)`` and ``run(args) -> int``, so that another program can offer it
under its own roof; what goes wrong is raised as `realtime_client.cli.exits.Failure`.
"""

from realtime_client.cli.entry import main

__all__ = ["main"]
