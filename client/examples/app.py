# pip install fastapi uvicorn websockets pyjwt; uvicorn app:app. Answers from rows that stay up to date, without a query, and gives
# pages of users who are logged in the tokens for connect(url, { token: async () => (await fetch('/token')).text() }).
import asyncio, os, time, jwt
from fastapi import FastAPI, Header, HTTPException
from fastapi.responses import PlainTextResponse
import orders

app = FastAPI()
users = {'secret of ann': 'ann'}  # in place of your sessions

@app.on_event('startup')
async def start():
    app.state.follower = asyncio.create_task(orders.follow(lambda params: None))

@app.get('/orders')
def read_orders():
    return sorted(orders.rows.values(), key=lambda row: row['id'])

@app.get('/token', response_class=PlainTextResponse)
def token(x_session: str = Header('')):
    if x_session not in users:
        raise HTTPException(401, 'log in first')
    return jwt.encode({'role': 'customer', 'sub': users[x_session], 'exp': time.time() + 600}, os.environ['JWT_SECRET'], 'HS256')
