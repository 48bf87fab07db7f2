"""ID (RFC 2971): client and server tell each other what they are.

What the client says goes into logs and traces alone, cut; nothing depends on it.
"""

from ..encode import render_nstring
from ..session import Session
from ..steps import Steps
from ..values import Id

_LONGEST_CLIENT = 64


def handle_id(session: Session, args: Id) -> Steps:
    """Note the client's name and version; tell ours, the version only to who is signed in."""
    if args.fields is not None:
        fields = {name.lower(): value for name, value in args.fields if value}
        parts = [fields[name] for name in ("name", "version", "os") if name in fields]
        session.client = "".join(c for c in " ".join(parts) if c.isprintable())[:_LONGEST_CLIENT]
    site = session.site
    ours = {"name": site.settings.greeting}
    if session.account is not None:
        ours["version"] = site.version
    if site.settings.support:
        ours["support-url"] = site.settings.support
    pairs = (render_nstring(text.encode()) for pair in ours.items() for text in pair)
    yield b"* ID (" + b" ".join(pairs) + b")\r\n"
    return b"OK ID completed"
