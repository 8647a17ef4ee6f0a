"""What schemathesis has to be told to send what keylend takes."""

import schemathesis


@schemathesis.serializer("application/x-ndjson")
def lines(context, value):
    """Lines of text go as they are."""
    return value if isinstance(value, bytes) else str(value).encode()
