"""The internals of `primus_io.testing`: asyncio connections on a virtual network."""
