"""The data path: bytes in, bytes out, journal append. It understands no more than admission needs.

    client    the application's side of a connection: reads requests, holds deadlines
    upstream  the provider's side: a pool of connections, reads responses
    relay     one exchange between the two
    framing   what HTTP/1.1 allows, as functions over bytes
    routing   which upstream a path means
    identity  who asks, and what they say about the request
    refusal   answers made here, in the shape native to each wire
    service   the collaborators of one gateway process, and its clock tick

Invariants: a body is relayed byte for byte; BEGIN is in the journal before the first byte goes upstream, END before
the last byte goes to the client; a response is ended only if the upstream ended it.
"""
