"""What `primus_io.threads` stands on: a monitor in place of a loop, a pool, a selector, streams on plain sockets."""
