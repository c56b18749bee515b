"""What `primus_io.testing` stands on: a world in virtual time, and what asyncio has for sockets in it."""
