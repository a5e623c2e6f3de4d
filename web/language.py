"""Which language and appearance a page is shown in; the catalogues are read as they lie in the repository (.po).

English texts are their own keys. `?language=` and `?theme=` on any page set a cookie and lead back to the same page.
"""

from __future__ import annotations

import io
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from babel.support import NullTranslations, Translations
from flask import Flask, current_app, redirect, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import Babel, Domain, get_locale

from web.security import studio, user_or_none

FOLDER = Path(__file__).parent / "translations"
# by the name of its catalogue: (for <html lang>, its own name)
LANGUAGES = {"en": ("en", "English"), "zh_Hans_CN": ("zh-Hans-CN", "简体中文")}
THEMES = ("auto", "light", "dark")
LANGUAGE_COOKIE, THEME_COOKIE = "atelier_language", "atelier_theme"
YEAR = 365 * 86_400


class PoDomain(Domain):  # type: ignore[misc]
    """Reads .po files: nothing to compile is nothing to forget."""

    def get_translations(self) -> NullTranslations:
        return translations(str(get_locale() or "en"))


@cache
def translations(language: str) -> NullTranslations:
    """All catalogues of a language as one."""
    files = sorted((FOLDER / language / "LC_MESSAGES").glob("*.po"))
    if not files:
        return NullTranslations()
    with files[0].open("rb") as file:
        catalogue = read_po(file, locale=language)
    for path in files[1:]:
        with path.open("rb") as file:
            for message in read_po(file, locale=language):
                if message.id and message.id not in catalogue:
                    catalogue[message.id] = message
    compiled = io.BytesIO()
    write_mo(compiled, catalogue)
    compiled.seek(0)
    return Translations(compiled)


def init_app(app: Flask) -> None:
    babel = Babel(app, locale_selector=chosen_language)
    babel.domain_instance = PoDomain()
    for language in LANGUAGES:
        translations(language)
    app.before_request(_choose)
    app.jinja_env.globals.update(languages=LANGUAGES, themes=THEMES, here_with=here_with)
    app.jinja_env.filters.update(translated=translated)
    app.context_processor(_appearance)


def catalogue() -> NullTranslations:
    """All texts in the reader's language."""
    return PoDomain().get_translations()


def translated(text: str) -> str:
    """A text that is not written in a template: of an error, a family, a sample."""
    return str(catalogue().gettext(text)) if text else ""


def chosen_language() -> str:
    """What was chosen in this browser, by this person, or what the browser asks for."""
    user = user_or_none()
    for language in (request.cookies.get(LANGUAGE_COOKIE), user.language if user else ""):
        if language in LANGUAGES:
            return language
    for wanted in request.accept_languages.values():
        if wanted.lower().startswith("zh"):
            return "zh_Hans_CN"
        if wanted.lower().startswith("en"):
            return "en"
    return "en"


def chosen_theme() -> str:
    theme = request.cookies.get(THEME_COOKIE, "")
    return theme if theme in THEMES else "auto"


def here_with(**chosen: str) -> str:
    """This page with another language or theme; of what answered a form the page at its address, if there is one."""
    if request.method not in ("GET", "HEAD") and not _has_page():
        return f"{url_for('pages.home.index')}?{urlencode(chosen)}"
    kept = [pair for pair in request.args.items(multi=True) if pair[0] not in chosen]
    return f"{here()}?{urlencode([*kept, *chosen.items()])}"


def _has_page() -> bool:
    adapter = current_app.create_url_adapter(request)
    return adapter is not None and adapter.test(method="GET")


def here() -> str:
    """The path of this page as an address holds it: a dataset's id may be asked for with a line break in it."""
    return quote(request.path, safe="/:@")


def _appearance() -> dict[str, Any]:
    language = str(get_locale() or "en")
    return {"language": language, "html_lang": LANGUAGES[language][0], "theme": chosen_theme()}


def _choose() -> ResponseReturnValue | None:
    """Sets the cookies that the address asks for, unless another site sent the browser here."""
    language, theme = request.args.get("language"), request.args.get("theme")
    is_page = (request.endpoint or "").startswith("pages.") and request.method == "GET"
    if not is_page or (language not in LANGUAGES and theme not in THEMES):
        return None
    if request.headers.get("Sec-Fetch-Site") in ("cross-site", "same-site"):
        return None
    kept = [pair for pair in request.args.items(multi=True) if pair[0] not in ("language", "theme")]
    answer = redirect(here() + (f"?{urlencode(kept, safe='/')}" if kept else ""), 303)
    secure = studio().settings.public_url.startswith("https://")
    for name, value, known in (
        (LANGUAGE_COOKIE, language, LANGUAGES),
        (THEME_COOKIE, theme, THEMES),
    ):
        if value in known:
            assert value is not None
            answer.set_cookie(name, value, max_age=YEAR, secure=secure, samesite="Lax")
    return answer
