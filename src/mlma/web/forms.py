"""Forms: what a browser posts, once it is sure that the person meant it.

Takes the body of a request, gives its fields. The guard has looked at where it comes from already;
the token that each form carries, bound to the session, is the second lock.
"""

from collections.abc import Iterable
from typing import Annotated
from urllib.parse import parse_qsl

from fastapi import Depends, Request
from markupsafe import Markup
from starlette.datastructures import ImmutableMultiDict

from mlma.web.errors import RefusedError
from mlma.web.people import Person, people, person, person_of

FIELD = "csrf"
HEADER = "x-csrf-token"
LARGEST = 2 * 2**20
"""Bytes of a form."""
MOST_FIELDS = 20_000

Form = ImmutableMultiDict[str, str]
Fields = list[tuple[str, str]]


class StaleFormError(Exception):
    """A form was made before its sender signed in again; nothing was done.

    fields
        what was posted, without the token.
    """

    def __init__(self, fields: Fields) -> None:
        super().__init__("made in an earlier session")
        self.fields = fields


def csrf_token(request: Request) -> str:
    """Return the token that who looks at this page may send; empty = nobody looks."""
    who = person_of(request)
    return people(request).sessions.token(*_bound(who)) if who else ""


def csrf_field(request: Request) -> Markup:
    """Return the hidden field that every form which posts must hold."""
    told = Markup('<input type="hidden" name="{}" value="{}">')
    return told.format(FIELD, csrf_token(request))


async def checked_form(request: Request) -> Form:
    """Return the fields that were posted, in their order, after their token was checked.

    Raises
    ------
    RefusedError
        It is no form, it is too large, or its token is missing or somebody else's.
    StaleFormError
        Its token is of an earlier session of the same person.
    """
    fields = await posted(request)
    told = next((value for name, value in fields if name == FIELD), "")
    rest = without_token(fields)
    who = person(request)
    sessions = people(request).sessions
    if not (who.by_key or sessions.fits(told, *_bound(who))):
        if sessions.fitted(told, _bound(who)[0]):
            raise StaleFormError(rest)
        raise RefusedError(
            403, "This form does not come from a page of yours.", hint="open the page again"
        )
    return Form(rest)


CheckedForm = Annotated[Form, Depends(checked_form)]


def token_fits(request: Request, who: Person) -> bool:
    """Return whether a request carries the token of its session in a header.

    That is what a script of a page sends: with the cookie alone nothing is changed.
    """
    return people(request).sessions.fits(request.headers.get(HEADER, ""), *_bound(who))


async def posted(request: Request, largest: int = LARGEST) -> Fields:
    """Return the fields of a form as they were posted; nothing but their size is checked.

    Raises
    ------
    RefusedError
        It is no form, or it is too large.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/x-www-form-urlencoded":
        raise RefusedError(
            415, "A form must come as `application/x-www-form-urlencoded`.", column="Content-Type"
        )
    body = await request.body()
    if len(body) > largest:
        raise RefusedError(413, f"A form must be at most {largest} bytes. Got {len(body)}.")
    try:
        text = body.decode("ascii")
        return parse_qsl(text, keep_blank_values=True, max_num_fields=MOST_FIELDS, errors="strict")
    except ValueError:  # of Unicode, too
        raise RefusedError(
            400, f"The form cannot be read: it must be UTF-8, of at most {MOST_FIELDS} fields."
        ) from None


def without_token(fields: Iterable[tuple[str, str]]) -> Fields:
    """Return fields without the token."""
    return [(name, value) for name, value in fields if name != FIELD]


def _bound(who: Person) -> tuple[str, str]:
    """Return what a token is bound to: the person and the session.

    Where nobody signs in, this machine is one person, whichever of its addresses it uses.
    """
    return (who.who, who.session) if who.session or who.by_key else ("open", "")
