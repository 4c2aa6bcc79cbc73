"""The login page: a form, no script, nothing loaded from anywhere."""

from __future__ import annotations

from html import escape
from typing import Final

from proxy.admin.page import STYLE, STYLE_SOURCE

LOGIN_POLICY: Final = (
    f"default-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; style-src {STYLE_SOURCE}"
)
_NO_USERS: Final = "<p>Nobody can log in yet: make a user with <code>glassline users add NAME --role admin</code>.</p>"


def login_page(form_token: str, problem: str = "", *, has_users: bool = True) -> str:
    """Return the document; `form_token` proves that the form is ours."""
    said = f'<p class="failing" role="alert">{escape(problem)}</p>' if problem else ""
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Glassline: log in</title>'
        f'<meta name="viewport" content="width=device-width"><style>{STYLE}</style></head>'
        f"<body><h1>Glassline</h1>{said}{'' if has_users else _NO_USERS}"
        '<form method="post" action="/login">'
        f'<input type="hidden" name="form" value="{escape(form_token)}">'
        '<p><label>User <input name="user" autocomplete="username" required autofocus></label></p>'
        '<p><label>Password <input name="password" type="password" autocomplete="current-password" required></label></p>'
        '<p><button type="submit">Log in</button></p></form></body></html>'
    )
