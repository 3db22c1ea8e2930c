"""notes.py PORT HOST DATABASE WORKERS: the reading part of the well-known FastAPI tutorial about notes, on uvicorn with uvloop
and httptools, and asyncpg without a query builder between. As many processes as WORKERS, each with a session."""

import os
import sys
from typing import List

import asyncpg
import uvicorn
from fastapi import FastAPI, HTTPException
from pydantic import BaseModel

app = FastAPI()


class Note(BaseModel):
    id: int
    title: str
    description: str


@app.on_event("startup")
async def connect():
    app.state.pool = await asyncpg.create_pool(host=os.environ["NOTES_HOST"], database=os.environ["NOTES_DATABASE"],
                                               user="application", min_size=1, max_size=1)


@app.get("/notes/", response_model=List[Note])
async def read_notes(skip: int = 0, take: int = 20):
    return await app.state.pool.fetch("SELECT id, title, description FROM notes ORDER BY id OFFSET $1 LIMIT $2", skip, take)


@app.get("/notes/{note_id}/", response_model=Note)
async def read_note(note_id: int):
    note = await app.state.pool.fetchrow("SELECT id, title, description FROM notes WHERE id = $1", note_id)
    if note is None:
        raise HTTPException(404)
    return note


if __name__ == "__main__":
    port, os.environ["NOTES_HOST"], os.environ["NOTES_DATABASE"], workers = sys.argv[1:]
    uvicorn.run("notes:app", host="127.0.0.1", port=int(port), workers=int(workers), log_level="warning", access_log=False,
                loop="uvloop", http="httptools", backlog=4096)
