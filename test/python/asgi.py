"""ASGI applications with the notifier of DSN and URL: their page has the events that have come."""

import os

from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route

from pg_notifyd import ChangeEvent, Notifier, Operation

notifier = Notifier(os.environ['DSN'], os.environ['URL'])
notifier.watch('orders')
seen = []


@notifier.subscribe('orders', Operation.INSERT)
async def inserted(event: ChangeEvent):
    seen.append(event.id)


async def page(request):
    return JSONResponse(seen)


starlette = Starlette(lifespan=notifier.lifespan, routes=[Route('/', page)])
fastapi = FastAPI(on_startup=[notifier.astart], on_shutdown=[notifier.astop])
fastapi.add_route('/', page)
