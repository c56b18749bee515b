"""What `primus_io.testing` stands on: a world in virtual time, and what asyncio and trio have for sockets in it."""
