"""The one connection between a house and a lane: frames, handshake, and thin shells over a WebSocket."""
