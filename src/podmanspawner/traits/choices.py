"""Options of what users may choose for their servers, and how a choice comes to hold."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from jupyterhub.spawner import Spawner
from jupyterhub.utils import maybe_future
from tornado import web
from traitlets import (
    Callable,
    Dict,
    HasTraits,
    List,
    TraitError,
    Unicode,
    default,
    validate,
)

from podmanspawner import form, menu, options
from podmanspawner.errors import ChoiceError, SpecError

from .base import OneOf

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_OF_A_START = {
    *("args", "cmd", "cpu_guarantee", "cpu_limit", "debug", "default_url", "disable_user_config"),
    *("env_keep", "environment", "hub_connect_url", "mem_guarantee", "mem_limit", "notebook_dir"),
    "port",
}
"""Options of every spawner that are read while a server starts, and at no other time."""

_OF_MORE_THAN_A_START = {
    *("account_template", "activation", "service_idle_seconds", "image_stores"),
    *("prefix", "name_template", "hub_id"),
    *("remove", "delete_grace_period", "stop_timeout", "delete_volumes", "host_ip"),
    *("secrets", "token_as_secret"),
    *("allowed_images", "profile_list"),
}
"""Options of this one by which a server is found and ended, also by a Hub that was restarted."""


class ChoiceOptions(HasTraits):
    """What users may choose."""

    # what the Hub's own class has
    user: Any
    orm_spawner: Any
    user_options: Mapping[str, Any]
    options_form: Any
    options_from_form: Any
    log: Any
    _log_name: str
    image: Any

    allowed_images = OneOf(
        [List(Unicode()), Dict(key_trait=Unicode(), value_trait=Unicode()), Unicode(), Callable()],
        help="""
        Images among which users choose when they start a server.

        A list of references; a dictionary of names, which users see, to references; ``"*"`` for
        any reference they write; or a function that is called with the spawner and returns one
        of these (it may be a coroutine). With more than one image the spawner has a form for it.
        The first one, or ``image`` if it is among them, is what starts when nobody chooses.
        Default: none; a user who asks for an image is refused. Example:
        ``{"Python": "quay.io/jupyter/base-notebook:latest",
        "R": "quay.io/jupyter/r-notebook:latest"}``.

        .. versionadded:: 1.0
        """,
    ).tag(config=True)

    @validate("allowed_images")
    def _check_allowed_images(self, proposal: dict[str, Any]) -> Any:
        value = proposal["value"]
        if value and not callable(value):
            self._check(allowed_images=value)
        return value

    profile_list = OneOf(
        [List(Dict(key_trait=Unicode())), Callable()],
        help="""
        Profiles among which users choose when they start a server.

        A list of dictionaries, or a function that is called with the spawner and returns one (it
        may be a coroutine): so users and groups get profiles of their own. Keys, all but the
        first optional:

        - ``display_name``: what users see.
        - ``slug``: its name in ``user_options``; default: made from ``display_name``.
        - ``description``: a text below it.
        - ``default``: whether it holds when nobody chooses; default: the first one.
        - ``overrides``: options of the spawner, for this start only. Dictionaries are merged
          with what is configured (None takes a key out), all else replaces it; a function is
          called with the spawner and returns the value.
        - ``profile_options``: name to a dictionary with ``display_name``, ``choices`` (name to
          ``display_name``, ``default``, ``overrides``) and ``unlisted_choice`` (``enabled``,
          ``display_name``, ``display_name_in_choices``, ``validation_regex``,
          ``validation_message``, ``overrides``, in which ``"{value}"`` alone is what the user
          wrote).

        Default: none. Example::

            c.PodmanSpawner.profile_list = [
                {"display_name": "Small", "overrides": {"mem_limit": "2G"}},
                {"display_name": "Large", "overrides": {"mem_limit": "16G", "cpu_limit": 4}},
            ]

        .. versionadded:: 1.0
        """,
    ).tag(config=True)

    @validate("profile_list")
    def _check_profile_list(self, proposal: dict[str, Any]) -> Any:
        value = proposal["value"]
        if value and not callable(value):
            self._check(profile_list=value)
        return value

    def __init__(self, **given: Any) -> None:
        """Notice whether the Hub made this spawner, or another spawner that wraps it.

        A wrapper has its values of the Hub's database, which has None for a function.
        """
        self._wrapped = given.get("orm_spawner") is None
        if self._wrapped:
            given = {
                name: value for name, value in given.items() if not self._is_lost(name, value)
            }
        super().__init__(**given)

    @classmethod
    def _is_lost(cls, name: str, value: object) -> bool:
        trait = cls.class_traits().get(name)
        return value is None and trait is not None and not trait.allow_none

    # how the Hub asks

    @default("options_form")
    def _default_options_form(self) -> Any:
        return self._form

    @default("options_from_form")
    def _default_options_from_form(self) -> Any:
        return self._read_form

    @default("apply_user_options")
    def _default_apply_user_options(self) -> Any:
        return self._leave_to_the_start

    async def _form(self, _spawner: object) -> str:
        try:
            return form.form(await self._menu())
        except SpecError as error:
            raise _page_error(500, error) from error

    async def _read_form(self, posted: Mapping[str, Any]) -> dict[str, Any]:
        try:
            return options.from_form(await self._menu(), posted, left_out=self._is_left_out)
        except ChoiceError as error:
            raise self._refusal(error) from error
        except SpecError as error:
            raise _page_error(500, error) from error

    def _leave_to_the_start(self, _spawner: object, _user_options: object) -> None:
        """Keep the Hub from warning of options that the start will look at."""

    async def _menu(self) -> menu.Menu:
        return menu.menu(
            await self._called(self.allowed_images),
            await self._called(self.profile_list),
            image=self.image,
            changeable=self._why_not,
        )

    async def _called(self, value: Any) -> Any:
        return await maybe_future(value(self)) if callable(value) else value

    def _is_left_out(self, key: str) -> bool:
        """Whether a key may be for the administrator's own form, or own way to apply options."""
        hook = getattr(self, "apply_user_options", None)  # JupyterHub 5.3
        own_form = self.options_form != self._form or self.options_from_form != self._read_form
        if isinstance(hook, Mapping):
            return own_form or key in hook
        return own_form or hook not in (None, self._leave_to_the_start)

    # what becomes of it

    async def _chosen(self) -> Sequence[options.Step]:
        """Return what the user's options set at this start.

        Raises:
            ChoiceError: they choose what is not offered.
            SpecError: what is offered is not well-formed.
        """
        given = dict(self.user_options)
        if self._wrapped:
            given.pop(menu.PROFILE, None)  # it is the wrapper's, as ProfilesSpawner's
        return options.choose(await self._menu(), given, left_out=self._is_left_out)

    @contextmanager
    def _overridden(self, steps: Sequence[options.Step]) -> Iterator[None]:
        """Let a choice hold while the server starts, and be forgotten then.

        The options themselves are set, not copies: the Hub's own ``get_env``, ``get_args`` and
        hooks read them too.
        """
        before: dict[str, Any] = {}
        try:
            for step in steps:
                for name, value in step.overrides.items():
                    before.setdefault(name, getattr(self, name))
                    self._override(step, name, value(self) if callable(value) else value)
            yield
        finally:
            for name, value in before.items():
                setattr(self, name, value)

    def _override(self, step: options.Step, name: str, value: object) -> None:
        try:
            setattr(self, name, options.merged(getattr(self, name), value))
        except TraitError as error:
            if step.complaint:
                raise ChoiceError(step.complaint) from error
            raise SpecError("profile_list", f"{step.where}: {name}: {error}") from error

    def _refusal(self, error: ChoiceError) -> web.HTTPError:
        self.log.warning("Refused the options of %s: %s", self._log_name, error)
        return _page_error(400, error)

    def _forget_choice(self) -> None:
        """Let the next start, if it brings no choice of its own, begin with the defaults.

        The Hub has saved the options already, and would have them refused for ever.
        """
        if not self._wrapped:
            self.orm_spawner.user_options = {}
            self.user.db.commit()

    def _check(self, **offered: object) -> None:
        """Refuse a list when it is set, not when the first user comes."""
        given = {"allowed_images": (), "profile_list": (), **offered}
        try:
            menu.menu(**given, image="", changeable=self._why_not)
        except SpecError as error:
            raise TraitError(str(error)) from error

    @classmethod
    def _why_not(cls, name: str) -> str:
        """Return why an option of that name cannot be set for one start; "" if it can."""
        known = cls.class_traits(config=True)
        if name not in known:
            near = difflib.get_close_matches(str(name), known, 1)
            return f"{name!r} is no option" + (f"; did you mean {near[0]!r}?" if near else "")
        fixed = name in _OF_MORE_THAN_A_START
        if fixed or (name in Spawner.class_traits() and name not in _OF_A_START):
            return f"{name} cannot be set for one start: it is needed before or after it too"
        return ""


def _page_error(status: int, error: Exception) -> web.HTTPError:
    """Return an error whose text the Hub's page shows."""
    shown = web.HTTPError(status, "%s", error)
    shown.jupyterhub_message = str(error)  # type: ignore[attr-defined]  # the Hub's own
    return shown
