"""Bindings: everything that waits. One module for each way of waiting; `primus_io.asyncio` is the first.

The rules of the protocol are all in `primus_proto`; here are only sockets, clocks, tasks and the objects users hold.
"""
