"""Wire: bytes of one channel <-> exchanges and WebSocket carriers. h11 and wsproto live here only."""
