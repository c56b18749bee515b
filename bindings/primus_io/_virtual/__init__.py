"""The inside of `primus_io.testing`: asyncio's connections on a virtual network."""
