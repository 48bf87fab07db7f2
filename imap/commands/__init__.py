"""The IMAP commands, and the table of them: name, handler, where it is legal, what it brings along (RFC 9051 section 6).

A new command is a file in this folder and a row here; CAPABILITY follows from the row.
"""

from collections.abc import Iterable

from ..session import ANY, IN_MAILBOX, SIGNED_IN, SIGNED_OUT, CommandTable, Row
from .append import handle_append
from .capability import handle_capability
from .close import handle_close, handle_unselect
from .compress import handle_compress
from .copy import handle_copy, handle_move
from .create import handle_create
from .delete import handle_delete
from .enable import handle_enable
from .expunge import handle_expunge
from .fetch import handle_fetch
from .id import handle_id
from .idle import handle_idle
from .list import handle_list, handle_lsub
from .login import handle_authenticate, handle_login
from .logout import handle_logout
from .namespace import handle_namespace
from .noop import handle_check, handle_noop
from .quota import handle_getquota, handle_getquotaroot
from .rename import handle_rename
from .search import handle_search
from .select import handle_select
from .sort import handle_sort, handle_thread
from .starttls import handle_starttls
from .status import handle_status
from .store import handle_store
from .subscribe import handle_subscribe, handle_unsubscribe

THREADS = ("THREAD=ORDEREDSUBJECT", "THREAD=REFERENCES")


def _table(rows: Iterable[Row]) -> CommandTable:
    return {row.name: row for row in rows}


TABLE: CommandTable = _table(
    (
        # any state
        Row("CAPABILITY", handle_capability, ANY, "6.1.1"),
        Row("NOOP", handle_noop, ANY, "6.1.2"),
        Row("LOGOUT", handle_logout, ANY, "6.1.3", tells_nothing=True),
        Row("ID", handle_id, ANY, "RFC 2971", ("ID",)),
        # not authenticated
        Row("STARTTLS", handle_starttls, SIGNED_OUT, "6.2.1"),
        Row("AUTHENTICATE", handle_authenticate, SIGNED_OUT, "6.2.2"),
        Row("LOGIN", handle_login, SIGNED_OUT, "6.2.3"),
        # authenticated
        Row("ENABLE", handle_enable, SIGNED_IN, "6.3.1", ("ENABLE", "UTF8=ACCEPT")),
        Row("SELECT", handle_select, SIGNED_IN, "6.3.2", ("CONDSTORE", "QRESYNC"), tells_nothing=True),
        Row("EXAMINE", handle_select, SIGNED_IN, "6.3.3", tells_nothing=True),
        Row("CREATE", handle_create, SIGNED_IN, "6.3.4", ("CREATE-SPECIAL-USE",)),
        Row("DELETE", handle_delete, SIGNED_IN, "6.3.5"),
        Row("RENAME", handle_rename, SIGNED_IN, "6.3.6"),
        Row("SUBSCRIBE", handle_subscribe, SIGNED_IN, "6.3.7"),
        Row("UNSUBSCRIBE", handle_unsubscribe, SIGNED_IN, "6.3.8"),
        Row("LIST", handle_list, SIGNED_IN, "6.3.9", ("CHILDREN", "LIST-EXTENDED", "LIST-STATUS", "SPECIAL-USE")),
        Row("LSUB", handle_lsub, SIGNED_IN, "RFC 3501 6.3.9"),
        Row("NAMESPACE", handle_namespace, SIGNED_IN, "6.3.10", ("NAMESPACE",)),
        Row("STATUS", handle_status, SIGNED_IN, "6.3.11", ("STATUS=SIZE", "OBJECTID")),
        Row("APPEND", handle_append, SIGNED_IN, "6.3.12", ("UIDPLUS", "MULTIAPPEND"), begins_early=True),
        Row("IDLE", handle_idle, SIGNED_IN, "6.3.13", ("IDLE",)),
        Row("COMPRESS", handle_compress, SIGNED_IN, "RFC 4978", ("COMPRESS=DEFLATE",)),
        Row("GETQUOTA", handle_getquota, SIGNED_IN, "RFC 9208", ("QUOTA", "QUOTA=RES-STORAGE")),
        Row("GETQUOTAROOT", handle_getquotaroot, SIGNED_IN, "RFC 9208"),
        # selected
        Row("CHECK", handle_check, IN_MAILBOX, "RFC 3501 6.4.1"),
        Row("CLOSE", handle_close, IN_MAILBOX, "6.4.1", tells_nothing=True),
        Row("UNSELECT", handle_unselect, IN_MAILBOX, "6.4.2", ("UNSELECT",), tells_nothing=True),
        Row("EXPUNGE", handle_expunge, IN_MAILBOX, "6.4.3"),
        Row("UID EXPUNGE", handle_expunge, IN_MAILBOX, "6.4.9", answers_uids=True),
        Row("SEARCH", handle_search, IN_MAILBOX, "6.4.4", ("ESEARCH", "SEARCHRES", "WITHIN"), uses_sequence=True),
        Row("UID SEARCH", handle_search, IN_MAILBOX, "6.4.9", answers_uids=True),
        Row("SORT", handle_sort, IN_MAILBOX, "RFC 5256", ("SORT", "SORT=DISPLAY"), uses_sequence=True),
        Row("UID SORT", handle_sort, IN_MAILBOX, "RFC 5256", answers_uids=True),
        Row("THREAD", handle_thread, IN_MAILBOX, "RFC 5256", THREADS, uses_sequence=True),
        Row("UID THREAD", handle_thread, IN_MAILBOX, "RFC 5256", answers_uids=True),
        Row("FETCH", handle_fetch, IN_MAILBOX, "6.4.5", ("SAVEDATE", "BINARY", "PREVIEW"), uses_sequence=True),
        Row("UID FETCH", handle_fetch, IN_MAILBOX, "6.4.9", answers_uids=True),
        Row("STORE", handle_store, IN_MAILBOX, "6.4.6", uses_sequence=True),
        Row("UID STORE", handle_store, IN_MAILBOX, "6.4.9", answers_uids=True),
        Row("COPY", handle_copy, IN_MAILBOX, "6.4.7"),
        Row("UID COPY", handle_copy, IN_MAILBOX, "6.4.9", answers_uids=True),
        Row("MOVE", handle_move, IN_MAILBOX, "6.4.8", ("MOVE",)),
        Row("UID MOVE", handle_move, IN_MAILBOX, "6.4.9", answers_uids=True),
    )
)
