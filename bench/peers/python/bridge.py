"""bridge.py PORT HOST DATABASE CHANNEL: LISTENs to the channel and sends each payload to every WebSocket client that has
subscribed. FastAPI on uvicorn, with uvloop where that is installed, and asyncpg, as their documentation has it."""

import asyncio
import contextlib
import sys

import asyncpg
import uvicorn
from fastapi import FastAPI, WebSocket, WebSocketDisconnect

port, host, database, channel = sys.argv[1:]
app = FastAPI()
subscribers = {}


@app.on_event("startup")
async def listen():
    app.state.db = await asyncpg.connect(host=host, database=database, user="postgres")
    await app.state.db.add_listener(channel, on_notification)


def on_notification(connection, pid, name, payload):
    for queue in subscribers.values():
        queue.put_nowait(payload)


async def send(websocket, queue):
    """Each client has its own queue, so that a slow one holds up nobody else."""
    with contextlib.suppress(WebSocketDisconnect, RuntimeError):
        while True:
            await websocket.send_text(await queue.get())


@app.websocket("/ws")
async def serve(websocket: WebSocket):
    await websocket.accept()
    sender = None
    try:
        while True:
            request = await websocket.receive_json()
            if request.get("method") == "subscribe" and sender is None:
                await websocket.send_json({"id": request.get("id"), "result": {"channel": channel}})
                subscribers[websocket] = queue = asyncio.Queue()
                sender = asyncio.create_task(send(websocket, queue))
    except WebSocketDisconnect:
        pass
    finally:
        subscribers.pop(websocket, None)
        if sender is not None:
            sender.cancel()


uvicorn.run(app, host="127.0.0.1", port=int(port), log_level="warning", ws_per_message_deflate=False, backlog=4096)
