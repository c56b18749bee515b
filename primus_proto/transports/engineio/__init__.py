"""The ``engine.io`` transport, protocols 3 and 4 (protocol 8): polls, or a WebSocket, or one after the other.

`server` and `client` begin sessions, `sessions` and `connection` have one each, and `pipe` is what the two share;
`packets` frames.
"""
