"""What `primus_io.testing` stands on: the streams and nodes of an event loop on a virtual network."""
