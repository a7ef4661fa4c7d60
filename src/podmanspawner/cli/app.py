"""The command's entry: its groups, its options, and errors as one line."""

from __future__ import annotations

import logging
import os
import pwd
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import get_completion_class

from podmanspawner.account import NOBODY, uid_min
from podmanspawner.answers import one_line
from podmanspawner.errors import PodmanSpawnerError

if TYPE_CHECKING:
    from collections.abc import Callable

_NAME = "podmanspawner"
_SHELLS = ("bash", "zsh", "fish")


class Group(click.Group):
    """Commands whose errors are one line that ends with the remedy."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command.

        Raises:
            ClickException: an error of the library's, in click's form.
        """
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            raise  # whoever read it has seen enough; click ends without a word
        except (PodmanSpawnerError, OSError) as error:
            raise click.ClickException(one_line(str(error))) from error


def _users(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[str]:
    """Return the accounts of people whose names begin so, for the shell."""
    lowest = uid_min()
    people = (entry.pw_name for entry in pwd.getpwall() if lowest <= entry.pw_uid < NOBODY)
    return [name for name in people if name.startswith(incomplete)]


config_option = click.option(
    "-f",
    "--config",
    "path",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="The Hub's configuration. Default: jupyterhub_config.py here, then in /etc/jupyterhub.",
)


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name=_NAME, prog_name=_NAME)
@click.option("-v", "--verbose", is_flag=True, help="Print the log too.")
@click.pass_context
def cli(ctx: click.Context, verbose: bool) -> None:
    """Look after a JupyterHub whose servers run in their users' own rootless Podman.

    As root for all accounts, as a user for one's own. The Hub's own configuration is read, so
    that the command sees what the Hub sees.

    \b
    Examples:
      podmanspawner doctor ada -f /etc/jupyterhub/jupyterhub_config.py
      podmanspawner servers
      podmanspawner exec -it ada -- bash
      podmanspawner images prepare ada bob
    """
    if os.environ.get("NO_COLOR"):
        ctx.color = False
    if not verbose:
        logging.disable(logging.WARNING)
        ctx.call_on_close(lambda: logging.disable(logging.NOTSET))


@cli.command()
@click.argument("users", nargs=-1, shell_complete=_users)
@config_option
@click.option("--try", "try_it", is_flag=True, help="Start and stop a real server too.")
@click.option("--json", "as_json", is_flag=True, help="Print all findings as JSON.")
def doctor(path: Path | None, users: tuple[str, ...], try_it: bool, as_json: bool) -> None:
    """Check all that a start needs, in the order in which it fails.

    Without USERS: oneself, or as root the first five users that the configuration names. A check
    that fails says what was seen, why it matters and what mends it. The account's Podman is
    woken, and a container of the image is run to ask for the Hub. Exit status 1 if a start
    cannot work.

    \b
    Examples:
      podmanspawner doctor
      podmanspawner doctor ada bob -f /etc/jupyterhub/jupyterhub_config.py
      podmanspawner doctor --try ada
      podmanspawner doctor --json ada | jq '.findings[] | select(.status == "failure")'
    """
    from .doctor import doctor as examine

    sys.exit(0 if examine(path, users, try_it=try_it, as_json=as_json) else 1)


name_option = click.option("--name", default="", help="A named server; else the default one.")
yes_option = click.option("-y", "--yes", is_flag=True, help="Do not ask.")


def _sure(yes: bool) -> Callable[[str], bool]:
    return (lambda _question: True) if yes else click.confirm


def _end(fine: bool) -> None:
    sys.exit(0 if fine else 1)


@cli.command()
@click.argument("users", nargs=-1, shell_complete=_users)
@config_option
@click.option("--json", "as_json", is_flag=True, help="Print them as JSON.")
def servers(path: Path | None, users: tuple[str, ...], as_json: bool) -> None:
    """List servers: those of USERS, or as root of all accounts, else one's own.

    Those of the configuration's Hub; of every Hub where no configuration is found.

    \b
    Examples:
      podmanspawner servers
      podmanspawner servers ada --json
    """
    from .servers import servers as show

    _end(show(path, users, as_json=as_json))


@cli.command()
@click.argument("user", shell_complete=_users)
@config_option
@name_option
@click.option("-n", "--lines", default=100, show_default=True, help="How many of the last lines.")
@click.option("--follow", is_flag=True, help="Print what comes too, until it ends.")
def logs(path: Path | None, user: str, name: str, lines: int, follow: bool) -> None:
    """Print what a user's server printed, without control characters.

    \b
    Examples:
      podmanspawner logs ada
      podmanspawner logs ada --name project -n 1000
      podmanspawner logs ada --follow
    """
    from .servers import logs as show

    show(path, user, name, lines=lines, follow=follow)


@cli.command("exec", context_settings={"ignore_unknown_options": True})
@config_option
@name_option
@click.option(
    "-i",
    "-t",
    "--terminal",
    is_flag=True,
    help="Give it a terminal, to type in. Typing Ctrl-] three times lets go of it.",
)
@click.argument("user", shell_complete=_users)
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
def execute(
    path: Path | None, user: str, name: str, terminal: bool, command: tuple[str, ...]
) -> None:
    """Run COMMAND in a user's server and print what it printed, when it has ended.

    The exit status is the command's. With -it it is typed to, as with 'podman exec -it'; what
    the user's Podman sends then reaches the terminal as it is, as over ssh.

    \b
    Examples:
      podmanspawner exec ada df -h /home/jovyan
      podmanspawner exec --name project ada -- sh -c 'ps | head'
      podmanspawner exec -it ada -- bash
    """
    from .servers import run, type_to

    if terminal and not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise click.UsageError("This is no terminal: leave -it out.")
    sys.exit((type_to if terminal else run)(path, user, name, command))


@cli.command()
@click.argument("users", nargs=-1, shell_complete=_users)
@config_option
@click.option("--name", default=None, help="Only the server of this name; '' is the default one.")
@click.option("--all", "everybody", is_flag=True, help="Of all users.")
@yes_option
def stop(
    path: Path | None, users: tuple[str, ...], name: str | None, everybody: bool, yes: bool
) -> None:
    """Stop the servers of USERS.

    The Hub notices it and removes the container; without a Hub it stays until the next start.

    \b
    Examples:
      podmanspawner stop ada
      podmanspawner stop --all --yes
    """
    from .servers import stop as end

    _demand_users(users, everybody)
    _end(end(path, users, name, _sure(yes)))


def _demand_users(users: tuple[str, ...], everybody: bool) -> None:
    if bool(users) == everybody:
        raise click.UsageError("Name users, or say --all.")


@cli.command()
@click.argument("users", nargs=-1, shell_complete=_users)
@config_option
@click.option(
    "--hub-url",
    "url",
    envvar="JUPYTERHUB_API_URL",
    default="",
    metavar="URL",
    help="The running Hub's API. Default: as configured, such as http://127.0.0.1:8081/hub/api.",
)
@click.option(
    "--token",
    envvar="JUPYTERHUB_API_TOKEN",
    default="",
    help="For the Hub's API; others see it among the processes, unlike JUPYTERHUB_API_TOKEN.",
)
@click.option("--dry-run", is_flag=True, help="Only list them.")
@click.option(
    "--json", "as_json", is_flag=True, help="Print them, and what became of each, as JSON."
)
@yes_option
def prune(
    path: Path | None, users: tuple[str, ...], yes: bool, as_json: bool, **options: Any
) -> None:
    """End containers that no server of the Hub owns, of USERS or of all accounts.

    By the rule by which the Hub does it at its start: they are removed, or stopped where the
    configuration keeps them. The running Hub is asked for its servers; the token needs the scopes
    admin:server_state, list:users and read:servers.

    \b
    Examples:
      export JUPYTERHUB_API_TOKEN=$(cat token)
      podmanspawner prune --dry-run
      podmanspawner prune ada --yes
    """
    from .prune import prune as end

    if as_json and not (yes or options["dry_run"]):
        raise click.UsageError("With --json nobody is asked: say --yes, or --dry-run.")
    _end(end(path, users, _sure(yes), as_json=as_json, **options))


@cli.group(cls=Group)
def images() -> None:
    """List, preload, prepare and share images, so that nobody waits for them.

    \b
    Examples:
      podmanspawner images list ada
      podmanspawner images prepare --all
    """


image_option = click.option(
    "--image",
    "chosen",
    multiple=True,
    metavar="IMAGE",
    help="In place of the images that the configuration offers; may be repeated.",
)
all_option = click.option(
    "--all", "everybody", is_flag=True, help="All accounts that have used Podman."
)


@images.command("list")
@click.argument("users", nargs=-1, shell_complete=_users)
@config_option
def images_list(path: Path | None, users: tuple[str, ...]) -> None:
    """Tell which of the images that users may get their accounts have.

    \b
    Examples:
      podmanspawner images list ada bob
    """
    from .images import show

    _end(show(path, users))


@images.command()
@click.argument("users", nargs=-1, shell_complete=_users)
@config_option
@image_option
@click.option(
    "--from",
    "archive",
    type=click.Path(path_type=Path),
    metavar="ARCHIVE",
    help="Load this docker-archive or oci-archive; nothing is pulled.",
)
@all_option
def preload(
    path: Path | None,
    users: tuple[str, ...],
    chosen: tuple[str, ...],
    archive: Path | None,
    everybody: bool,
) -> None:
    """Get images into the accounts of USERS, as their first start would.

    \b
    Examples:
      podmanspawner images preload ada bob
      podmanspawner images preload --all --image quay.io/jupyter/scipy-notebook:latest
      podmanspawner images preload ada --from /srv/images/singleuser.tar
    """
    from .images import preload as get

    _demand_users(users, everybody)
    _end(get(path, users, chosen, archive))


@images.command()
@click.argument("users", nargs=-1, shell_complete=_users)
@config_option
@image_option
@all_option
def prepare(
    path: Path | None, users: tuple[str, ...], chosen: tuple[str, ...], everybody: bool
) -> None:
    """Get images and have the copy made that an account's first container would wait for.

    \b
    Examples:
      podmanspawner images prepare ada bob
    """
    from .images import prepare as make

    _demand_users(users, everybody)
    _end(make(path, users, chosen))


@images.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.argument("images", nargs=-1, required=True)
def share(folder: Path, images: tuple[str, ...]) -> None:
    """Make FOLDER a read-only store of IMAGES for every account; an image may be an archive.

    \b
    Examples:
      podmanspawner images share /var/lib/shared-images/2026-09 quay.io/jupyterhub/singleuser:5
    """
    from .images import share as make

    make(folder, images)


@cli.command()
@click.argument("file", type=click.Path(path_type=Path))
def migrate(file: Path) -> None:
    """Read a configuration of podmanspawner 0.2 or of dockerspawner, and print this one's.

    What has no counterpart is told in comments. All that is not about the spawner stays in FILE.

    \b
    Examples:
      podmanspawner migrate /etc/jupyterhub/jupyterhub_config.py >spawner_config.py
    """
    from .migrate import migrate as translate

    click.echo(translate(file), nl=False)


@cli.command()
@click.argument("shell", type=click.Choice(_SHELLS))
def completion(shell: str) -> None:
    """Print what lets a shell complete this command.

    \b
    Examples:
      podmanspawner completion bash >/etc/bash_completion.d/podmanspawner
      podmanspawner completion zsh >"${fpath[1]}/_podmanspawner"
      podmanspawner completion fish >~/.config/fish/completions/podmanspawner.fish
    """
    kind = get_completion_class(shell)
    assert kind is not None  # noqa: S101, it is one of those that click has
    click.echo(kind(cli, {}, _NAME, f"_{_NAME.upper()}_COMPLETE").source())


def main() -> None:
    """Run the command."""
    cli(prog_name=_NAME)
