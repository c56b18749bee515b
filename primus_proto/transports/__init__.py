"""Transports (Primus calls them transformers): pipes of messages over exchanges and WebSocket carriers."""
