"""Requests that become WebSockets: the handshake, the frames both ways, what they may cost, how they end.

The bytes of the frames pass as they are; a parser watches a copy. A frame of our own is only ever sent between two of
theirs: the refusal of a session whose budget is used up, and the close frame with which this process ends one.
"""
