"""The pure core: protocol and reconnection rules without threads, sockets, clocks or randomness of their own."""
