"""``UserPodman``: one account's Podman, in types.

Every answer is parsed once, here or in ``images``, into a frozen dataclass, or refused.
"""

from __future__ import annotations

import contextlib
import json
import logging
import re
import threading
import time
import weakref
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from . import answers, checks, commands, complaints, logs
from .account import Account
from .activation import Activation, PodmanService, service_for
from .answers import Container, EngineInfo, Event, ExecResult, RunResult
from .errors import (
    ContainerNotFound,
    ImageNotFound,
    PodmanError,
    ServiceError,
    SpecError,
    UntrustedServiceError,
)
from .images import Images
from .rest import RestClient, segment
from .secrets import Secrets
from .volumes import Volumes

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager

    from .commands import Terminal
    from .spec import ContainerSpec

log = logging.getLogger(__name__)

CREATE_SECONDS = 900.0
"""The first container with keep-id copies the image to shift its owners: that takes minutes."""

_LOOK_SECONDS = 0.2
_turns: weakref.WeakValueDictionary[int, threading.Lock] = weakref.WeakValueDictionary()
_turns_lock = threading.Lock()
_WARNINGS = 10
_SETTLE_SECONDS = (0.02, 0.1, 0.5)


class UserPodman(RestClient):
    """The Podman of one account.

    A context manager; use one instance in one thread. Connections are kept while it is open and
    closed at its end, so that the service may go idle. Example::

        with UserPodman.for_user("ada") as podman:
            result = podman.run(ContainerSpec(image="alpine", command=("date",)))
            print(result.output)
    """

    def __init__(self, service: PodmanService) -> None:
        """Use a service that is known already; :meth:`for_user` is the usual way.

        The first call connects.
        """
        super().__init__(service)
        self.images = Images(self)
        """Images of the account."""
        self.secrets = Secrets(self)
        """Secrets of the account."""
        self.volumes = Volumes(self)
        """Named volumes of the account."""

    @classmethod
    def for_user(
        cls,
        name: str,
        *,
        activation: Activation = "auto",
        idle_seconds: int = 5,
        enable_linger: bool = True,
    ) -> UserPodman:
        """Return the Podman of the account of that name.

        Args:
            name: the account's exact name.
            activation: how its service is reached, as the option ``activation``.
            idle_seconds: a service that had to be started directly ends itself after so long
                without work.
            enable_linger: whether the account is made to linger, on a host with systemd.

        Raises:
            AccountError: there is no such account, or it must not be served.
        """
        service = service_for(
            Account.lookup(name),
            activation=activation,
            idle_seconds=idle_seconds,
            enable_linger=enable_linger,
        )
        return cls(service)

    def info(self) -> EngineInfo:
        """Return what the engine says of itself and of its host; takes some tenths of a second."""
        operation = "ask the engine about itself"
        return EngineInfo.parse(self.request_json(operation, "GET", "info"), operation)

    def create(self, spec: ContainerSpec) -> str:
        """Create a container and return its id. The image must be there already.

        Raises:
            ImageNotFound: it is not.
            SpecError: a volume's source or a device does not exist.
            PodmanError: the engine refuses the spec.
        """
        operation = f"create container {spec.name}"
        body = json.dumps(spec.to_json())
        alone = spec.user_mapping.mode != "root"
        try:
            with self._alone(operation) if alone else contextlib.nullcontext():
                made = self.request_json(
                    operation, "POST", "containers/create", data=body, seconds=CREATE_SECONDS
                )
        except PodmanError as error:
            self._explain_create(error, spec)
            raise
        reply = answers.obj(made, operation)
        for warning in answers.strings(reply.get("Warnings"), operation)[:_WARNINGS]:
            log.warning("%s: %s: %s", self.account.name, spec.name, answers.one_line(warning))
        return answers.identifier(reply.get("Id"), operation)

    @contextmanager
    def _alone(self, operation: str) -> Iterator[None]:
        """Let one at a time make a container that needs the account's subordinate ids.

        The engine reads them with libsubid, which is not made for threads: of two at once one
        finds none, or the service crashes. ref: containers/storage, pkg/idtools
        """
        with _turns_lock:
            lock = _turns.setdefault(self.account.uid, threading.Lock())
        end = time.monotonic() + CREATE_SECONDS
        while not lock.acquire(timeout=_LOOK_SECONDS):
            if self.cancelled:
                raise ServiceError(f"Given up before: {operation}.")
            if time.monotonic() > end:
                raise ServiceError(
                    f"{self.account.name} is still making another container. Look at what its "
                    f"Podman service does, and try again ({operation})."
                )
        try:
            yield
        finally:
            lock.release()

    def _explain_create(self, error: PodmanError, spec: ContainerSpec) -> None:
        """Raise what was wrong, if that can be told."""
        if told := complaints.of_create(error.message, spec, self.account.name):
            raise told from error
        if not self.images.exists(spec.image):
            raise ImageNotFound(
                f"{self.account.name} has no image {spec.image}. Pull or load it first, or set "
                "pull_policy to 'missing'.",
                operation=error.operation,
                status=error.status,
            ) from error

    def start(self, container: str) -> None:
        """Start a container; one that runs is left alone.

        Raises:
            ContainerNotFound: there is none of that name or id.
            PortTaken: another process took its host port since it was created.
            PodmanError: the runtime could not start it, for example an unknown command.
        """
        operation = f"start container {container}"
        try:
            self.request(operation, "POST", f"containers/{segment(container)}/start")
        except PodmanError as error:
            if told := complaints.of_start(error):
                raise told from error
            raise

    def wait(self, container: str, *, seconds: float | None = None) -> int:
        """Wait until a container has ended and return its exit code.

        Args:
            container: name or id.
            seconds: how long to wait at most; None waits for ever.

        Raises:
            TimeoutError: it still runs after that time.
            ContainerNotFound: there is none of that name or id.
        """
        operation = f"wait for container {container}"
        path = f"containers/{segment(container)}/wait"
        try:
            code = self.request_json(
                operation,
                "POST",
                path,
                params={"interval": "250ms"},
                seconds=seconds,
                only_reads=True,
            )
        except UntrustedServiceError as error:
            if error.reason == "deadline":
                raise TimeoutError(f"{container} still runs after {seconds:g} s") from error
            raise
        return answers.integer(code, operation)

    def stop(self, container: str, *, seconds: int = 10) -> None:
        """Stop a container: its stop signal, then SIGKILL. One that has ended is left alone.

        Args:
            container: name or id.
            seconds: time between the two.

        Raises:
            ContainerNotFound: there is none of that name or id.
        """
        self._settle(
            f"stop container {container}",
            "POST",
            f"containers/{segment(container)}/stop",
            params={"timeout": seconds},
            seconds=seconds + 30.0,
        )

    def kill(self, container: str, *, signal: str | int = "SIGKILL") -> None:
        """Send a signal to a container, without waiting for what comes of it.

        Args:
            container: name or id.
            signal: its name or number.

        Raises:
            ContainerNotFound: there is none of that name or id.
            PodmanError: it does not run.
            SpecError: there is no such signal.
        """
        self.request(
            f"send a signal to container {container}",
            "POST",
            f"containers/{segment(container)}/kill",
            params={"signal": checks.signal_number(signal)},
        )

    def remove(self, container: str) -> bool:
        """Remove a container at once, running or not, with its anonymous volumes.

        Returns:
            whether there was one.
        """
        try:
            self._settle(
                f"remove container {container}",
                "DELETE",
                f"containers/{segment(container)}",
                # ref: without the timeout the engine waits the container's stop timeout
                params={"force": True, "timeout": 0, "v": True},
            )
        except ContainerNotFound:
            return False
        return True

    def _settle(self, operation: str, method: str, path: str, **options: Any) -> None:
        """Send what ends a container, and again if it ended by itself at that very moment.

        The engine then fails, since what it took for running has stopped.
        """
        for pause in _SETTLE_SECONDS:
            try:
                self.request(operation, method, path, **options)
            except PodmanError as error:
                if "container state improper" not in error.message:
                    raise
                time.sleep(pause)
            else:
                return
        self.request(operation, method, path, **options)

    def inspect(self, container: str) -> Container:
        """Return what the engine says of a container.

        Of one whose removal was broken off that is little more than name, labels and state.

        Raises:
            ContainerNotFound: there is none of that name or id.
        """
        operation = f"inspect container {container}"
        path = f"containers/{segment(container)}/json"
        try:
            return Container.parse(self.request_json(operation, "GET", path), operation)
        except PodmanError as error:
            if not complaints.without_storage(error.message):
                raise
        for filters in ({"id": [container]}, {"name": [f"^{re.escape(container)}$"]}):
            for found in self._listed(operation, filters):
                if container in (found.id, found.name):
                    return found
        raise ContainerNotFound(f"{container} has just been removed.", operation=operation)

    def containers(self, labels: Mapping[str, str] | None = None) -> list[Container]:
        """Return the account's containers in any state that carry all of these labels.

        As a list has them: without environment, runtime, limit of memory and stop signal.
        """
        pairs = [f"{key}={value}" for key, value in (labels or {}).items()]
        return self._listed("list containers", {"label": pairs})

    def _listed(self, operation: str, filters: Mapping[str, list[str]]) -> list[Container]:
        params = {"all": True, "filters": json.dumps(filters)}
        found = self.request_json(operation, "GET", "containers/json", params=params)
        return [answers.listed(item, operation) for item in answers.array(found, operation)]

    def network_is_internal(self, name: str) -> bool | None:
        """Whether nothing in a network reaches what is outside; None if there is no such one."""
        operation = f"inspect network {name}"
        try:
            found = self.request_json(operation, "GET", f"networks/{segment(name)}/json")
        except ContainerNotFound:  # what is not found is the network
            return None
        return answers.obj(found, operation).get("internal") is True

    def healthy(self, container: str, *, seconds: float = 30.0) -> bool:
        """Run a container's health check and return whether all is well.

        Args:
            container: name or id; it must run.
            seconds: limit for the check; one that takes longer has failed.

        Raises:
            ContainerNotFound: there is none of that name or id.
            SpecError: it has no health check.
            PodmanError: it does not run.
        """
        operation = f"check the health of {container}"
        path = f"containers/{segment(container)}/healthcheck"
        try:
            found = self.request_json(operation, "GET", path, seconds=seconds)
        except UntrustedServiceError as error:
            if error.reason == "deadline":
                return False
            raise
        except PodmanError as error:
            if "no defined healthcheck" in error.message:
                raise SpecError(
                    "healthy_timeout",
                    "the image has no health check; set healthcheck, or healthy_timeout to 0",
                ) from error
            raise
        return answers.obj(found, operation).get("Status") == "healthy"

    def put_archive(self, container: str, path: str, archive: bytes) -> None:
        """Unpack a tar in a folder of a container, which need not run.

        Everything in it gets the container's own user and group as owner; modes stay.

        Args:
            container: name or id.
            path: folder inside, made if there is none.
            archive: the tar, best without padding after its end.

        Raises:
            ContainerNotFound: there is none of that name or id.
        """
        self.request(
            f"write files to {container}",
            "PUT",
            f"containers/{segment(container)}/archive",
            params={"path": path, "copyUIDGID": True},
            data=archive,
        )

    def logs(self, container: str, *, tail: int | None = None) -> str:
        """Return what a container printed, at most its last 64 KiB or ``tail`` lines.

        Raises:
            ContainerNotFound: there is none of that name or id.
        """
        return logs.read(self, container, tail)

    def follow_logs(self, container: str, *, tail: int | None = None) -> Iterator[str]:
        """Yield what a container prints, as it comes, until it ends."""
        return logs.follow(self, container, tail)

    def exec(
        self,
        container: str,
        command: Sequence[str],
        *,
        environment: Mapping[str, str] | None = None,
        working_dir: str | None = None,
        user: str | None = None,
        seconds: float | None = 60.0,
    ) -> ExecResult:
        """Run a command in a running container and return what it printed and its exit code.

        Args:
            container: name or id.
            command: program and arguments, without a shell.
            environment: variables on top of the container's.
            working_dir: folder inside; the container's own if None.
            user: user inside; the container's own if None.
            seconds: limit for the whole of it; None has none.

        Raises:
            ContainerNotFound: there is none of that name or id.
            UntrustedServiceError: it took too long, with reason ``"deadline"``.
        """
        fields = {"Env": _variables(environment), "WorkingDir": working_dir, "User": user}
        return commands.run(
            self,
            container,
            command,
            {name: value for name, value in fields.items() if value is not None},
            seconds=seconds,
        )

    def terminal(
        self,
        container: str,
        command: Sequence[str],
        *,
        environment: Mapping[str, str] | None = None,
    ) -> AbstractContextManager[Terminal]:
        """Run a command in a running container with a terminal of its own there.

        Nobody's terminal here is given away: all goes over the account's checked connection.
        What is read comes as the account sends it, control sequences included.

        Args:
            container: name or id.
            command: program and arguments, without a shell; the exit code is 127 where there
                is no such program.
            environment: variables on top of the container's, such as ``TERM``.

        Raises:
            ContainerNotFound: there is none of that name or id.
            PodmanError: it does not run.
        """
        return commands.terminal(self, container, command, {"Env": _variables(environment)})

    def events(
        self,
        *,
        labels: Mapping[str, str] | None = None,
        since: float | None = None,
        seconds: float | None = None,
    ) -> Iterator[Event]:
        """Yield what happens to containers, as it happens.

        Args:
            labels: only containers that carry all of these.
            since: Unix time to begin at; now if None.
            seconds: end after that time; None goes on until the caller stops. An open stream
                keeps the service from going idle.
        """
        filters: dict[str, list[str]] = {"type": ["container"]}
        if labels:
            filters["label"] = [f"{key}={value}" for key, value in labels.items()]
        params: dict[str, Any] = {"stream": True, "filters": json.dumps(filters)}
        if since is not None:
            params["since"] = int(since)
        try:
            with self.streaming(
                "watch events", "GET", "events", params=params, seconds=seconds, paced=False
            ) as answer:
                for line in answers.lines(answer.raw):
                    yield Event.parse(line, "watch events")
        except UntrustedServiceError as error:
            if error.reason != "deadline":
                raise

    def run(self, spec: ContainerSpec, *, seconds: float | None = None) -> RunResult:
        """Run a container to its end, return its exit code and output, and remove it.

        Args:
            spec: what to run; its image must be there.
            seconds: limit for the run; None has none.

        Raises:
            TimeoutError: it still ran after that time; it has been removed.
            PodmanError: it could not be created or started; nothing is left of it.
        """
        container = self.create(spec)
        try:
            self.start(container)
            code = self.wait(container, seconds=seconds)
            return RunResult(exit_code=code, output=self.logs(container))
        finally:
            self.remove(container)


def _variables(environment: Mapping[str, str] | None) -> list[str]:
    return [f"{key}={value}" for key, value in (environment or {}).items()]
