"""Policy: what of an exchange may be kept. Pure: texts in, texts out.

`redaction` finds and replaces personal data and secrets, `sampling` decides which bodies are kept at all. Nothing here
is on the way of the traffic: what is relayed is never changed.
"""
