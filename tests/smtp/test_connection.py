import asyncio
import inspect

from aiosmtpd.smtp import SMTP

from preau.smtp.connection import Connection
from preau.smtp.modes import SessionLimits


def test_our_connection_sets_whatever_its_base_class_does() -> None:
    # Connection does not call SMTP.__init__ (it costs 0.4 ms): a release that sets something else must be noticed here.
    async def attributes() -> tuple[set[str], set[str]]:
        loop = asyncio.get_running_loop()
        theirs = SMTP(object(), hostname="x", loop=loop)
        ours = Connection(SessionLimits(), hostname="x", loop=loop)
        return set(vars(theirs)), set(vars(ours))

    theirs, ours = asyncio.run(attributes())
    # Only set and asked when limits on single commands are configured.
    assert theirs - ours <= {"_SMTP__ident__", "_call_limit_default", "_call_limit_base", "__ident__"}


def test_what_we_replace_and_what_we_rely_on_is_there() -> None:
    for name in (
        "connection_made",
        "connection_lost",
        "eof_received",
        "_handle_client",
        "_reset_timeout",
        "_timeout_cb",
        "_cb_client_connected",
        "_create_session",
        "_set_rset_state",
    ):
        assert callable(getattr(SMTP, name)), name
    source = inspect.getsource(SMTP.connection_made) + inspect.getsource(SMTP.connection_lost)
    for name in ("_handler_coroutine", "_timeout_handle", "_original_transport", "_handle_client"):
        assert name in source, name
