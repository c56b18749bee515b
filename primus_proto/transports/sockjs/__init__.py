"""The ``sockjs`` transport, SockJS 0.3 (protocol 9): a WebSocket, or requests whose answers carry what the server says.

`server` begins sessions; `sessions` has those over requests, whose answers `receivers` frames, and `websocket` those
over a WebSocket. `pages` has what belongs to no session, and `frames` reads and makes frames.
"""
