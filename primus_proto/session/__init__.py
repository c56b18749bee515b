"""Sessions: open, write, end, heartbeats, reconnect. Nothing here knows WebSockets or bytes."""
