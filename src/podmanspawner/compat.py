"""The settings of the original podmanspawner (0.2), to those of today.

All of them are translated here and nowhere else. Only where one is set do the original's meanings
apply, such as its place for the home.
"""

from __future__ import annotations

import functools
import json
import shlex
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any

from . import checks, flags, privileges
from .errors import SpecError
from .settings import ServerSettings

if TYPE_CHECKING:
    import logging
    from collections.abc import Iterator, Mapping, Sequence

    from .account import Account
    from .flags import Changes
    from .images import PullPolicy

HOME = "/home/jovyan/home"
"""Where the original mounted the home."""
PORT = "PORT"
USERNAME = "USERNAME"

_FILE_BYTES = 65536
_READ = '[ -f "$1" ] && [ -r "$1" ] && echo yes && cat -- "$1"'

_told: set[str] = set()


@dataclass(frozen=True, kw_only=True)
class Original:
    """The original's settings, each under its own name."""

    podman_additional_cmds: Sequence[str] = ()
    jupyter_additional_cmds: Sequence[str] = ()
    https_proxy: str | None = None
    enable_lab: bool = False
    start_cmd: str = ""
    conthome: str = ""
    startatconthome: bool = False
    pull_image: str | None = None
    pull_image_first: bool = False
    standard_jupyter_port: int = 8888
    popen_kwargs: Mapping[str, Any] = field(default_factory=dict)
    preexec_fn_set: int = 0

    @classmethod
    def of(cls, options: object) -> Original:
        """Return the settings of an object that has them as attributes."""
        return cls(**{option.name: getattr(options, option.name) for option in fields(cls)})

    @property
    def used(self) -> list[str]:
        """Names of those that are set."""
        unset = Original()
        return [
            option.name
            for option in fields(self)
            if (getattr(self, option.name) or None) != (getattr(unset, option.name) or None)
        ]

    @property
    def changes(self) -> Changes:
        """What ``podman_additional_cmds`` say.

        Raises:
            SpecError: a flag cannot be honoured.
        """
        return _parsed(_words(self.podman_additional_cmds, flags.OPTION))

    @property
    def service_environment(self) -> dict[str, str]:
        """Variables of the account's service."""
        return {"https_proxy": self.https_proxy} if self.https_proxy else {}

    def settings(
        self, settings: ServerSettings, variables: Mapping[str, str] | None = None
    ) -> ServerSettings:
        """Return the settings with what the original's say.

        Args:
            settings: what the options of today say.
            variables: what :func:`read_variables` found in files that the flags name.

        Raises:
            SpecError: a setting cannot be honoured; it names the setting.
        """
        if not self.used:
            return settings
        changed = self._with_home(self._with_command(settings))
        environment: dict[str, Any] = {**settings.environment, "JUPYTER_IMAGE_SPEC": changed.image}
        if self.enable_lab:
            environment["JUPYTER_ENABLE_LAB"] = "yes"
        extra_spec = dict(settings.extra_spec)
        if self.https_proxy:
            extra_spec.setdefault("httpproxy", True)  # as podman run does
        changed = replace(
            changed,
            environment=environment,
            container_port=self._container_port(settings),
            extra_spec=extra_spec,
        )
        return self.changes.applied(changed, variables)

    def _container_port(self, settings: ServerSettings) -> int:
        usual = Original.standard_jupyter_port
        chosen = self.standard_jupyter_port
        return chosen if chosen != usual else settings.container_port

    def _with_command(self, settings: ServerSettings) -> ServerSettings:
        args = (*settings.args, *_words(self.jupyter_additional_cmds, "jupyter_additional_cmds"))
        if not self.start_cmd:
            return replace(settings, args=args)
        words = _split(self.start_cmd, "start_cmd")
        return replace(settings, cmd=words, args=args, port_word=PORT)

    def _with_home(self, settings: ServerSettings) -> ServerSettings:
        target = settings.home_target
        if self.conthome:
            checks.path("conthome", self.conthome)
        if self.conthome or target == ServerSettings.home_target:
            target = _template(self.conthome or HOME)
        working_dir = settings.working_dir or (target if self.startatconthome else "")
        return replace(settings, home_target=target, working_dir=working_dir)

    def pull_first(self, image: str) -> str:
        """Return the image to pull before the server's own is looked for; empty for none."""
        if self.pull_image:
            checks.image(self.pull_image, option="pull_image")
        return (self.pull_image or image) if self.pull_image_first else ""

    def pull_policy(self, usual: PullPolicy) -> PullPolicy:
        """Return when to pull, as the flags say."""
        return self.changes.pull_policy or usual

    def tell(self, log: logging.Logger | logging.LoggerAdapter[logging.Logger]) -> None:
        """Tell the names of today, each once in the life of the Hub."""
        for name, now in self._names_of_today():
            if name not in _told:
                _told.add(name)
                log.warning("%s is a setting of podmanspawner 0.2: %s", name, now)

    def _names_of_today(self) -> Iterator[tuple[str, str]]:
        for name in self.used:
            yield name, _NOW[name]
        for shown, to in flags.options(_words(self.podman_additional_cmds, flags.OPTION)):
            yield f"{flags.OPTION} {shown}", f"it is {to} now"


_NOW = {
    "podman_additional_cmds": "each of its flags is an option of its own now",
    "jupyter_additional_cmds": "it is args now",
    "https_proxy": 'it is service_environment = {"https_proxy": …} now, and environment, if '
    "servers are to use the proxy too",
    "enable_lab": 'it is environment = {"JUPYTER_ENABLE_LAB": "yes"} now; images of today have '
    'JupyterLab without it, and default_url = "/lab" opens it',
    "start_cmd": "it is cmd now, a list of words; the server learns its port from the Hub",
    "conthome": "it is home_target now, with {username} for USERNAME",
    "startatconthome": "it is working_dir now",
    "pull_image": "it is image now, with pull_policy",
    "pull_image_first": "it is pull_policy = 'always' now",
    "standard_jupyter_port": "it is kept, but nothing needs it: the server learns its port from "
    "the Hub",
    "popen_kwargs": "it has no effect, since the Hub starts no process for a server; what the "
    "account's Podman service gets is service_environment",
    "preexec_fn_set": "it has no effect, since the Hub starts no process for a server",
}


def read_variables(account: Account, files: Sequence[str]) -> dict[str, str]:
    """Return the variables of files as ``podman run --env-file`` has them.

    The account reads them, as it did when it ran podman: its own rights count.

    Raises:
        SpecError: it cannot read a file, or a line names no value.
    """
    variables: dict[str, str] = {}
    for path in files:
        text = privileges.run(account, ["sh", "-c", _READ, "sh", path], max_bytes=_FILE_BYTES)
        said, _, text = text.partition("\n")
        if said != "yes":
            raise SpecError(
                flags.OPTION,
                f"--env-file {path}: {account.name} has no such file, or cannot read it",
            )
        for line in text.splitlines():
            name, equals, value = line.lstrip().partition("=")
            if not name or name.startswith("#"):
                continue
            if not equals:
                raise SpecError(
                    flags.OPTION, f"--env-file {path}: {name!r} has no value; write NAME=VALUE"
                )
            variables[name] = value
    return variables


def _template(path: str) -> str:
    return path.replace("{", "{{").replace("}", "}}").replace(USERNAME, "{username}")


@functools.lru_cache(maxsize=64)
def _parsed(words: tuple[str, ...]) -> Changes:
    return flags.parse(words)


def _words(given: Sequence[str], option: str) -> tuple[str, ...]:
    """Return words as the original's command line had them.

    It joined them and split them again as a shell does. So quotes count, and a flag may stand in
    one text with its value; but a text with spaces that is no flag stays what it is.
    """
    words: list[str] = []
    for text in given:
        parts = _split(text, option) if text.strip() and not _is_json(text) else (text,)
        words += parts if len(parts) == 1 or (text.startswith("-") and _is_line(text)) else [text]
    return tuple(words)


def _is_json(text: str) -> bool:
    """Whether a text is a list in JSON, as ``--entrypoint`` and ``--health-cmd`` may have it."""
    try:
        return isinstance(json.loads(text[text.index("[") :]), list)
    except (ValueError, RecursionError):
        return False


def _is_line(text: str) -> bool:
    """Whether a flag and its value, or more flags, stand in one text, as in ``-v /a:/b``."""
    first, _, rest = text.partition(" ")
    return bool(rest) and ("=" not in first or flags.begins_one(rest.lstrip()))


def _split(text: str, option: str) -> tuple[str, ...]:
    try:
        return tuple(shlex.split(text))
    except ValueError as error:
        raise SpecError(option, f"{text!r}: its quotes do not match ({error})") from None
