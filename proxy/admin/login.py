"""The login page: a form in the look of the dashboard, no script."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import Final

LOGIN_POLICY: Final = (
    "default-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; style-src 'self'; font-src 'self'"
)
_NO_USERS: Final = (
    '<p class="caption">Nobody can log in yet: make a user with <code>glassline users add NAME --role admin</code>.</p>'
)


@dataclass(frozen=True, slots=True)
class LoginForm:
    """What the page shows."""

    token: str
    """Proves that the form is ours."""
    base: str = ""
    """The path under which we are mounted."""
    style: str = ""
    """Address of the style sheet."""
    wanted: str = "/"
    """Where to go then."""
    problem: str = ""
    has_users: bool = True


def login_page(form: LoginForm) -> str:
    """Return the document."""
    said = f'<p class="bad" role="alert">{escape(form.problem)}</p>' if form.problem else ""
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Log in · Glassline</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta name="color-scheme" content="light dark"><link rel="stylesheet" href="{escape(form.style)}"></head>'
        '<body class="door"><main class="card"><div class="brand"><i></i><h1>Glassline</h1></div>'
        f"{said}{'' if form.has_users else _NO_USERS}"
        f'<form method="post" action="{escape(form.base)}/login">'
        f'<input type="hidden" name="form" value="{escape(form.token)}">'
        f'<input type="hidden" name="next" value="{escape(form.wanted)}">'
        '<div class="field"><label for="user">User</label>'
        '<input class="input" id="user" name="user" autocomplete="username" autocapitalize="none" required autofocus></div>'
        '<div class="field"><label for="password">Password</label>'
        '<input class="input" id="password" name="password" type="password" autocomplete="current-password" required>'
        '</div><button class="btn primary" type="submit">Log in</button></form></main></body></html>'
    )
