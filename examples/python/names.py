"""Host names as networks write them."""

import idna
from markupsafe import escape


def written(name: str) -> str:
    """Returns the name in ASCII, safe in HTML."""
    return str(escape(idna.encode(name).decode("ascii")))
