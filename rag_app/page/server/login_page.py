"""Where the password is typed: a page that loads nothing."""

from math import ceil

from rag_app.language import Say

_STYLE = """
:root { color-scheme: light dark; --text: #31333f; --back: #fff; --field: #f0f2f6; --accent: #c62828; --edge: #8a8d98 }
@media (prefers-color-scheme: dark) {
  :root { --text: #fafafa; --back: #0e1117; --field: #262730; --accent: #ff8a80; --edge: #8a8d98 } }
* { box-sizing: border-box }
body { margin: 0; min-height: 100vh; display: grid; place-items: center; padding: 1rem;
  font: 1rem/1.6 system-ui, "Noto Sans KR", "Apple SD Gothic Neo", "Malgun Gothic", sans-serif;
  color: var(--text); background: var(--back) }
main { width: min(24rem, 100%) }
h1 { font-size: 1.75rem; line-height: 1.3; margin: 0 0 1.5rem }
label { display: block; margin-bottom: .35rem }
input { width: 100%; font: inherit; color: inherit; background: var(--field); border: 1px solid var(--edge);
  border-radius: .5rem; padding: .6rem .75rem }
button { width: 100%; margin-top: 1rem; font: inherit; font-weight: 600; color: var(--back); background: var(--text);
  border: 0; border-radius: .5rem; padding: .65rem; cursor: pointer }
input:focus-visible, button:focus-visible { outline: 3px solid #4c8bf5; outline-offset: 2px }
p a { color: inherit }
[role=alert] { color: var(--accent); margin: .75rem 0 0 }
"""


def login_page(say: Say, wait: float | None = None) -> str:
    """Return it as HTML.

    Args:
        say: The visitor's language.
        wait: None before anything was tried; else the seconds until the next password may be.
    """
    alert = ""
    if wait is not None and wait < 1:
        alert = say("비밀번호가 맞지 않습니다.", "This is not the password.")
    elif wait is not None:
        seconds = ceil(wait)
        alert = say(
            f"틀린 비밀번호가 여러 번 들어왔습니다. {seconds}초 뒤에 다시 해 보세요.",
            f"Too many wrong passwords. Try again in {seconds} s.",
        )
    described = ' aria-invalid="true" aria-describedby="wrong"' if alert else ""
    field = f'<input id="password" name="password" type="password" autocomplete="current-password" {described}'
    return (
        f'<!doctype html><html lang="{say.lang}"><head><meta charset="utf-8"><meta name="robots" content="noindex">'
        '<meta name="viewport" content="width=device-width, initial-scale=1"><link rel="icon" href="data:,">'
        f"<title>{say('뉴스에 묻기', 'Ask the news')}</title><style>{_STYLE}</style></head><body><main>"
        f"<h1>{say('뉴스에 묻기', 'Ask the news')}</h1>"
        f'<form method="post"><label for="password">{say("비밀번호", "Password")}</label>{field} required autofocus>'
        + (f'<p id="wrong" role="alert">{alert}</p>' if alert else "")
        + f"<button>{say('들어가기', 'Enter')}</button></form>{_other_language(say)}</main></body></html>"
    )


def _other_language(say: Say) -> str:
    lang, name = ("en", "English") if say.lang == "ko" else ("ko", "한국어")
    return f'<p><a href="?lang={lang}" lang="{lang}" hreflang="{lang}">{name}</a></p>'
