"""The `primus` command: ``serve``, ``connect``, ``spec`` and ``demo``, for persons and for scripts."""
