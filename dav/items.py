"""Items of a collection, read and told a batch at a time: what PROPFIND and all reports have in common.

One that cannot be read is told as such and keeps none of the others from the client.
"""

from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from itertools import islice

from ..storage.api import CollectionId, Collections, Href, Item, NotFound, StoreError
from .plugin import Context, Rendering
from .values import Collection
from .xml import quote, status_response

BATCH = 200  # items told before others may run


async def tell_items(
    context: Context, collection: Collection, rendering: Rendering, items: Iterable[Item]
) -> AsyncIterator[str]:
    """<D:response> texts, a batch in one piece. What is gone by the time it is read is left out."""
    waiting = iter(items)
    render, collections = rendering.render, context.account.collections
    while batch := list(islice(waiting, BATCH)):
        if rendering.needs_data:
            read = read_each(collections, collection.info.id, [item.href for item in batch])
            yield "".join([damaged(collection, item) if data is None else render(item, data) for item, data in read])
        else:
            yield "".join([render(item, None) for item in batch])
        await context.pause()


def read_each(collections: Collections, id_: CollectionId, wanted: Sequence[Href]) -> Iterator[tuple[Item, bytes | None]]:
    """Items with their octets; None for one that cannot be read, which must not keep the others from the client."""
    try:
        yield from list(collections.read_items(id_, wanted))
        return
    except StoreError:
        pass
    for item in collections.items(id_, wanted):
        try:
            yield collections.read_item(id_, item.href)
        except NotFound:
            continue
        except StoreError:
            yield item, None


def damaged(collection: Collection, item: Item) -> str:
    """No 404: a client would throw its copy away, which may be the last one."""
    return status_response(collection.path + quote(item.href), 500)
