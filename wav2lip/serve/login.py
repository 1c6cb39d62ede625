"""A browser whose user has a key: typed once into a form, then a cookie."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import HTMLResponse, RedirectResponse, Response

from wav2lip.serve.clients import COOKIE, LOGGED_IN
from wav2lip.serve.door import set_cookie

FORM = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Wav2Lip: log in</title>
<style>
  :root { color-scheme: light dark; font-family: system-ui, sans-serif; }
  form { max-width: 22rem; margin: 20vh auto; padding: 0 1rem; display: grid; gap: .75rem; }
  input, button { font: inherit; padding: .6rem; }
</style>
<form method="post" action="login">
  <label for="key">Your key for this server</label>
  <input id="key" name="key" type="password" autocomplete="current-password" required autofocus>
  <p role="alert">PROBLEM</p>
  <button>Log in</button>
</form>
</html>
"""

router = APIRouter(include_in_schema=False)


@router.get("/login")
def form(request: Request) -> Response:
    """The form; where there are no keys, the page itself."""
    if request.app.state.clients.keys is None:
        return RedirectResponse("./", 303)
    return HTMLResponse(FORM.replace("PROBLEM", ""))


@router.post("/login")
async def log_in(request: Request) -> Response:
    """A cookie for a key."""
    async with request.form(max_files=0, max_fields=4, max_part_size=4096) as filled:
        key = filled.get("key", "")
    cookie = await run_in_threadpool(request.app.state.clients.login_cookie, key if isinstance(key, str) else "")
    if cookie is None:
        return HTMLResponse(FORM.replace("PROBLEM", "This is no key of this server."), 401)
    return RedirectResponse("./", 303, {"Set-Cookie": set_cookie(cookie, request.scope, LOGGED_IN)})


@router.post("/logout")
def log_out() -> Response:
    """The cookie goes."""
    gone = RedirectResponse("login", 303)
    gone.delete_cookie(COOKIE, httponly=True, samesite="lax")
    return gone
