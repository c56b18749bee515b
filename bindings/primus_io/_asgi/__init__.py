"""The parts of `primus_io.asgi`: a call, the exchange that the core makes of it, and what runs them all."""
