"""Images of one account: whether they are there, getting them, and who their user is."""

from __future__ import annotations

import logging
import threading
import time
import weakref
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal, get_args
from urllib.parse import quote

from . import answers, complaints, imports, metrics, users
from .answers import Image
from .errors import (
    ImageNotFound,
    PodmanError,
    ServiceError,
    SpecError,
    UntrustedServiceError,
)
from .pulls import Progress, PullStream
from .transport import MIB
from .transports import is_qualified, local_source, name_here, registry_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from .account import Account
    from .credentials import Credentials, Keyring
    from .transports import LocalSource
    from .users import Engine

log = logging.getLogger(__name__)

PullPolicy = Literal["missing", "always", "newer", "never"]
_OTHER_POLICIES = {"ifnotpresent": "missing", "skip": "never"}
"""When to pull: if the image is not there, always, if the registry has a newer one, never."""

PULL_SECONDS = 900.0
LOAD_SECONDS = 900.0
_PULL_BYTES = 64 * MIB
"""A line for each second and each of the layers that are copied at a time, six."""
_LOOK_SECONDS = 0.2

_turns: weakref.WeakValueDictionary[tuple[int, str], threading.Lock] = (
    weakref.WeakValueDictionary()
)
_turns_lock = threading.Lock()


class Images:
    """The images of one account."""

    def __init__(self, engine: Engine) -> None:
        """Use the account's client."""
        self._engine = engine

    @property
    def _account(self) -> Account:
        return self._engine.account

    def exists(self, reference: str) -> bool:
        """Whether the account has the image, in its own or a shared store."""
        path = f"images/{_quoted(reference)}/exists"
        try:
            self._engine.request(f"find image {reference}", "GET", path, missing=ImageNotFound)
        except ImageNotFound:
            return False
        return True

    def inspect(self, reference: str) -> Image:
        """Return what the engine says of an image.

        Raises:
            ImageNotFound: the account does not have it.
        """
        operation = f"inspect image {reference}"
        path = f"images/{_quoted(reference)}/json"
        try:
            found = self._engine.request_json(operation, "GET", path, missing=ImageNotFound)
        except ImageNotFound as error:
            raise ImageNotFound(
                f"There is no image {reference} here. Pull or load it for the account, or set "
                "pull_policy to 'missing'.",
                operation=operation,
                status=error.status,
            ) from error
        return Image.parse(found, operation)

    def must_pull(self, image: str, policy: PullPolicy = "missing") -> bool:
        """Whether the policy has the image pulled or imported now.

        Raises:
            SpecError: there is no such policy, or it is no image.
        """
        _demand_policy(policy)
        name = name_here(image)
        return policy in ("always", "newer") or (policy == "missing" and not self.exists(name))

    def demand_in_registry(self, image: str, *, keyring: Keyring | None = None) -> None:
        """Ask the registry for the image, or look for its file on the host; nothing is pulled.

        Engines before 5 ask without the credentials.

        Raises:
            ImageNotFound: a pull or an import would not find it either.
        """
        name = name_here(image)
        if source := local_source(image):
            imports.stamp(self._account, source)
            return
        found = keyring.find(name, self._account) if keyring else None
        try:
            self._engine.request(
                f"find image {name} in its registry",
                "GET",
                f"manifests/{_quoted(name)}/json",
                headers=found.headers() if found else {},
                missing=ImageNotFound,
            )
        except PodmanError as error:
            raise _not_pulled(name, error.message, found) from error

    def _here(self, image: str, policy: PullPolicy) -> Image | None:
        """Return the image if the policy takes the one that is here; None if it has it got."""
        _demand_policy(policy)
        name = name_here(image)
        if policy in ("always", "newer"):
            return None
        try:
            return self.inspect(name)
        except ImageNotFound as error:
            if policy != "never":
                return None
            if local_source(image):
                raise ImageNotFound(
                    f"{image} has not been imported for {self._account.name}. Set pull_policy to "
                    "'missing', or import it before, with 'podmanspawner images preload'.",
                    operation=error.operation,
                    status=error.status,
                ) from error
            raise

    def ensure(
        self,
        image: str,
        policy: PullPolicy = "missing",
        *,
        seconds: float = PULL_SECONDS,
        progress: Callable[[Progress], None] = lambda _progress: None,
        keyring: Keyring | None = None,
    ) -> Image:
        """Return the image; pull or import it first if the policy says so.

        For an account, one at a time: whoever comes second finds the image there.

        Args:
            image: name of the image, such as ``quay.io/jupyter/base-notebook:latest``, or its
                place on the host, such as ``dir:/srv/images/lab``.
            policy: when to pull; of an image on the host, ``newer`` means that its file has
                been changed.
            seconds: limit for all of it.
            progress: told how far it is.
            keyring: credentials; without them the account's own are used.

        Raises:
            ImageNotFound: it is not here and must not, or could not, be had.
            SpecError: there is no such policy, or it is no image, or there is something wrong
                with the credentials.
        """
        name = name_here(image)
        if here := self._here(image, policy):
            return here
        end = time.monotonic() + seconds
        with self._turn(name, end, progress) as waited:
            if waited and (here := self._here(image, policy)):
                return here
            try:
                source = local_source(image)
                with metrics.PULLS.timed(source="host" if source else "registry"):
                    if source:
                        return self._import(source, policy, end, progress)
                    return self._pull(name, end, progress, keyring)
            except ImageNotFound as error:
                if policy != "newer" or not self.exists(name):
                    raise
                log.warning("%s: using the image that is here: %s", self._account.name, error)
                return self.inspect(name)

    def pull(
        self,
        image: str,
        *,
        seconds: float = PULL_SECONDS,
        progress: Callable[[Progress], None] = lambda _progress: None,
        keyring: Keyring | None = None,
    ) -> str:
        """Pull or import an image whether it is here or not, and return its id.

        Arguments and errors as :meth:`ensure`.
        """
        options = {"seconds": seconds, "progress": progress, "keyring": keyring}
        return self.ensure(image, "always", **options).id  # type: ignore[arg-type]  # as they are

    @contextmanager
    def _turn(self, name: str, end: float, progress: Callable[[Progress], None]) -> Iterator[bool]:
        """Let one at a time get an image for the account; whether there was one before."""
        with _turns_lock:
            lock = _turns.setdefault((self._account.uid, name), threading.Lock())
        waited = not lock.acquire(blocking=False)
        if waited:
            progress(Progress("another server is getting it"))
        while waited and not lock.acquire(timeout=_LOOK_SECONDS):
            if self._engine.cancelled:
                raise ServiceError(f"Given up before: get image {name}.")
            if time.monotonic() > end:
                raise ImageNotFound(
                    f"The image {name} was not had in time: another server of "
                    f"{self._account.name} is still getting it. Raise pull_timeout, and "
                    "start_timeout with it.",
                    operation=f"pull image {name}",
                )
        try:
            yield waited
        finally:
            lock.release()

    def _pull(
        self,
        name: str,
        end: float,
        progress: Callable[[Progress], None],
        keyring: Keyring | None,
    ) -> Image:
        """Pull, with a figure for each layer where the engine has one.

        Docker's way of asking has had the figures in every version, but makes a name without a
        registry one of docker.io; libpod's has them since 4.8 (``compatMode``; before, an
        unknown parameter is ignored), and asks the account's configuration.

        ref: podman's pkg/api/handlers: compat/images.go, libpod/images_pull.go
        """
        operation = f"pull image {name}"
        path, params = "images/create", {"fromImage": name}
        if not is_qualified(name):
            path = "images/pull"
            params = {"reference": name, "policy": "always", "compatMode": "true"}
        found = keyring.find(name, self._account) if keyring else None
        stream = PullStream(operation, progress)
        seconds = max(end - time.monotonic(), 0.1)
        try:
            with self._engine.streaming(
                operation,
                "POST",
                path,
                params=params,
                headers=found.headers() if found else {},
                compatible=is_qualified(name),
                seconds=seconds,
                max_bytes=_PULL_BYTES,
                missing=ImageNotFound,
            ) as answer:
                for line in answers.lines(answer.raw):
                    stream.read(line)
        except PodmanError as error:
            raise _not_pulled(name, error.message, found) from error
        except UntrustedServiceError as error:
            if error.reason != "deadline" or time.monotonic() < end:
                raise
            why = f"it took more than {seconds:.0f} s. Raise pull_timeout, and start_timeout too"
            raise _not_pulled(name, why, found) from error
        if not stream.image_id:
            raise _not_pulled(name, "the engine told no image id", found)
        image = self.inspect(name)
        if not image.id.startswith(stream.image_id):
            raise _not_pulled(name, "the engine ended before it was complete", found)
        return image

    def _import(
        self,
        source: LocalSource,
        policy: PullPolicy,
        end: float,
        progress: Callable[[Progress], None],
    ) -> Image:
        """Import an image of the host, and note which date and size of its file it was."""
        date = f"{source.repository}:{imports.stamp(self._account, source)}"
        before = self.inspect(source.name) if self.exists(source.name) else None
        if policy == "newer" and before and date in before.names:
            return before
        made = imports.import_image(
            self._account,
            source,
            seconds=max(end - time.monotonic(), 0.1),
            progress=progress,
            given_up=lambda: self._engine.cancelled,
        )
        for name in (date, source.name):
            self._tag(made, name, "tag")
        if before:
            self._forget_dates(before, source, but=date)
        return self.inspect(source.name)

    def _forget_dates(self, image: Image, source: LocalSource, *, but: str) -> None:
        """Take its dates from an image that is not the last one any more: it may be pruned."""
        for name in image.names:
            if name.startswith(f"{source.repository}:") and name not in (but, source.name):
                self._tag(image.id, name, "untag")

    def _tag(self, image: str, name: str, verb: Literal["tag", "untag"]) -> None:
        repository, _, tag = name.rpartition(":")
        self._engine.request(
            f"{verb} image {name}",
            "POST",
            f"images/{image}/{verb}",
            params={"repo": repository, "tag": tag},
            missing=ImageNotFound,
        )

    def load(self, archive: Path | str, *, seconds: float = LOAD_SECONDS) -> list[str]:
        """Load a docker-archive or oci-archive and return the names of its images.

        Args:
            archive: a file that this process may read.
            seconds: limit for the whole of it.

        Raises:
            PodmanError: it is no such archive.
            OSError: the file cannot be read.
        """
        operation = f"load image archive {archive}"
        with open(archive, "rb") as file:  # noqa: PTH123, a str is welcome
            loaded = self._engine.request_json(
                operation, "POST", "images/load", data=file, seconds=seconds
            )
        return answers.strings(answers.obj(loaded, operation).get("Names"), operation)

    def user_ids(self, image: Image, user: str = "") -> tuple[int, int]:
        """Return uid and gid of the user that the image runs as, or of another one of it.

        Numbers are taken as they are. A name is looked up in the image's own ``/etc/passwd``,
        read from a container that is created for it, never started, and removed.

        Raises:
            SpecError: the image does not have that user.
        """
        return users.ids(self._engine, image, user)


def pull_policy(name: str) -> PullPolicy:
    """Return the policy of a name, also of one that Kubernetes or dockerspawner has for it.

    Raises:
        SpecError: there is none of that name.
    """
    policy: Any = _OTHER_POLICIES.get(name.lower(), name.lower())
    _demand_policy(policy)
    return policy  # type: ignore[no-any-return]


def _demand_policy(policy: PullPolicy) -> None:
    if policy not in get_args(PullPolicy):
        raise SpecError("pull_policy", f"{policy!r} is none of {', '.join(get_args(PullPolicy))}.")


def _quoted(reference: str) -> str:
    return quote(registry_name(reference), safe="/:@")


def _not_pulled(name: str, why: str, credentials: Credentials | None) -> ImageNotFound:
    return complaints.of_pull(name, why, credentials.scope if credentials else "")
