"""Login form: exchange an API key for a cookie."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import HTMLResponse, RedirectResponse, Response

from wav2lip.serve.auth.identity import COOKIE, LOGIN_MAX_AGE_S
from wav2lip.serve.middleware.auth import build_cookie_header

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
  <label for="key">API key</label>
  <input id="key" name="key" type="password" autocomplete="current-password" required autofocus>
  <p role="alert">ERROR</p>
  <button>Log in</button>
</form>
</html>
"""

router = APIRouter(include_in_schema=False)


@router.get("/login")
def form(request: Request) -> Response:
    """Return the login form; redirect to the web page if the server has no keys."""
    if request.app.state.clients.keys is None:
        return RedirectResponse("./", 303)
    return HTMLResponse(FORM.replace("ERROR", ""))


@router.post("/login")
async def log_in(request: Request) -> Response:
    """Set a login cookie if the key is valid."""
    async with request.form(max_files=0, max_fields=4, max_part_size=4096) as fields:
        key = fields.get("key", "")
    create_cookie = request.app.state.clients.create_login_cookie
    cookie = await run_in_threadpool(create_cookie, key if isinstance(key, str) else "")
    if cookie is None:
        return HTMLResponse(FORM.replace("ERROR", "Invalid key."), 401)
    header = build_cookie_header(cookie, request.scope, LOGIN_MAX_AGE_S)
    return RedirectResponse("./", 303, {"Set-Cookie": header})


@router.post("/logout")
def log_out(request: Request) -> Response:
    """Delete the cookie."""
    response = RedirectResponse("login", 303)
    response.delete_cookie(COOKIE, path=request.scope.get("root_path") or "/", httponly=True, samesite="lax")
    return response
