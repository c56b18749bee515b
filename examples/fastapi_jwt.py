"""FastAPI with REST routes and Primus side by side, both for users who have logged in.

    python -m pip install fastapi uvicorn pyjwt
    SECRET=$(python -c "import secrets; print(secrets.token_hex(32))") uvicorn fastapi_jwt:app --app-dir examples

``POST /login`` gives a token, ``GET /orders`` lists the user's orders, ``POST /orders`` adds one and tells all of the
user's open sessions. A session is opened with the same token: ``/primus?token=…``.
"""

from __future__ import annotations

import os
import time
from typing import Annotated, Any

import jwt
from fastapi import Depends, FastAPI, HTTPException
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import BaseModel

from primus_io.asgi import Primus, Spark
from primus_proto import Refused, Request

SECRET = os.environ["SECRET"]
LIFETIME = 3600  # of a token, seconds
PASSWORDS = {"ann": "secret", "ben": "hidden"}  # yours are in a database, and hashed

orders: dict[str, list[str]] = {}


def user_of(token: str) -> str:
    """The user whose token it is. Raises `jwt.InvalidTokenError`."""
    claims: dict[str, Any] = jwt.decode(token, SECRET, algorithms=["HS256"], options={"require": ["exp", "sub"]})
    return str(claims["sub"])


def authorize(request: Request) -> None:
    try:
        request.state["user"] = user_of(request.query.get("token", ""))
    except jwt.InvalidTokenError:
        raise Refused("log in first") from None


async def session(spark: Spark) -> None:
    spark.write({"orders": orders.get(spark.request.state["user"], [])})
    async for _ in spark:  # clients only listen
        pass


primus = Primus(session, authorize=authorize)
app = FastAPI(lifespan=primus.lifespan)


def current_user(credentials: Annotated[HTTPAuthorizationCredentials, Depends(HTTPBearer())]) -> str:
    try:
        return user_of(credentials.credentials)
    except jwt.InvalidTokenError:
        raise HTTPException(401, "log in first") from None


User = Annotated[str, Depends(current_user)]


class Login(BaseModel):
    user: str
    password: str


@app.post("/login")
async def login(given: Login) -> dict[str, str]:
    if PASSWORDS.get(given.user) != given.password:
        raise HTTPException(401, "wrong user or password")
    return {"token": jwt.encode({"sub": given.user, "exp": time.time() + LIFETIME}, SECRET, algorithm="HS256")}


@app.get("/orders")
async def list_orders(user: User) -> list[str]:
    return orders.get(user, [])


@app.post("/orders")
async def add_order(item: str, user: User) -> None:
    orders.setdefault(user, []).append(item)
    others = [spark for spark in primus.sparks.values() if spark.request.state["user"] != user]
    primus.write({"ordered": item}, exclude=others)


app.mount("/", primus)
