"""What others may rely on: public names, the error tree, the options."""

from __future__ import annotations

import dataclasses
import inspect
from importlib.metadata import entry_points

import pytest
from jupyterhub.spawner import Spawner

import podmanspawner
from podmanspawner import PodmanSpawner, PodmanSpawnerError
from podmanspawner.settings import ServerSettings

PUBLIC = [
    "Account",
    "AccountError",
    "Container",
    "ContainerNotFound",
    "ContainerSpec",
    "ContainerState",
    "EngineInfo",
    "Event",
    "ExecResult",
    "HealthCheck",
    "Image",
    "ImageNotFound",
    "Mount",
    "PodmanError",
    "PodmanService",
    "PodmanSpawner",
    "PodmanSpawnerError",
    "Port",
    "PortTaken",
    "Resources",
    "RunResult",
    "Secret",
    "ServiceError",
    "SpecError",
    "UntrustedServiceError",
    "UserMapping",
    "UserPodman",
    "Volume",
    "VolumeNotFound",
    "__version__",
]


def test_public_names():
    assert podmanspawner.__all__ == PUBLIC
    for name in PUBLIC:
        assert getattr(podmanspawner, name)


def test_unknown_names():
    with pytest.raises(AttributeError, match="no attribute 'Podmanspawner'"):
        podmanspawner.Podmanspawner  # noqa: B018


@pytest.mark.parametrize("name", [name for name in PUBLIC if name != "__version__"])
def test_public_names_are_documented(name):
    public = getattr(podmanspawner, name)
    assert public.__doc__
    for attribute, member in vars(public).items():
        if not attribute.startswith("_") and inspect.isroutine(member):
            assert inspect.getdoc(getattr(public, attribute)), f"{name}.{attribute}"


@pytest.mark.parametrize(
    ("error", "parents"),
    [
        ("AccountError", ["PodmanSpawnerError"]),
        ("SpecError", ["PodmanSpawnerError", "ValueError"]),
        ("ServiceError", ["PodmanSpawnerError"]),
        ("UntrustedServiceError", ["PodmanSpawnerError"]),
        ("PodmanError", ["PodmanSpawnerError"]),
        ("ContainerNotFound", ["PodmanError"]),
        ("ImageNotFound", ["PodmanError"]),
        ("PortTaken", ["PodmanError"]),
    ],
)
def test_the_error_tree(error, parents):
    kind = getattr(podmanspawner, error)
    assert [parent.__name__ for parent in kind.__bases__] == parents
    assert issubclass(kind, PodmanSpawnerError)


@pytest.mark.parametrize(
    ("error", "attributes"),
    [
        (podmanspawner.AccountError("ada", "text"), {"account": "ada"}),
        (podmanspawner.SpecError("cmd", "text"), {"option": "cmd"}),
        (podmanspawner.ServiceError("text"), {"socket": "", "unit": "", "stderr": ""}),
        (
            podmanspawner.ServiceError("text", socket="/s", unit="u", stderr="e"),
            {"socket": "/s", "unit": "u", "stderr": "e"},
        ),
        (podmanspawner.UntrustedServiceError("text", reason="peer"), {"reason": "peer"}),
        (
            podmanspawner.PodmanError("text", operation="start", status=500),
            {"message": "text", "operation": "start", "status": 500},
        ),
        (podmanspawner.PortTaken("text"), {"operation": "", "status": None}),
    ],
)
def test_attributes_of_the_errors(error, attributes):
    assert str(error).endswith("text")
    assert {name: getattr(error, name) for name in attributes} == attributes


def test_the_entry_point():
    (found,) = entry_points(group="jupyterhub.spawners", name="podman")
    assert found.load() is PodmanSpawner


OWN = {
    name: trait
    for name, trait in PodmanSpawner.class_traits().items()
    if name not in Spawner.class_traits()
}


def test_there_are_options():
    assert {"image", "account_template", "volumes", "user_mapping"} <= set(OWN)


@pytest.mark.parametrize("name", OWN)
def test_an_option_is_configurable_and_has_help(name):
    assert OWN[name].metadata.get("config") is True
    text = inspect.cleandoc(OWN[name].help)
    assert text.partition("\n")[0].strip()[-1] in ".;:?"
    assert ".. versionadded:: " in text


def test_options_are_shown_by_the_hub():
    """``jupyterhub --help-all`` and generated configuration show them as the spawner's."""
    shown = PodmanSpawner.class_get_help()
    section = PodmanSpawner.class_config_section()
    for name in OWN:
        assert f"--PodmanSpawner.{name}=" in shown
        assert f"# c.PodmanSpawner.{name} = " in section


def test_settings_are_called_as_their_options():
    """What the builder is given is copied by name; a renamed option would be missed here."""
    found_out = {"server", "hub_port", "hub_everywhere", "engine", "container_port"}
    found_out |= {"one_account", "modify_spec", "port_word", "secret_labels", "certificates"}
    fields = {field.name for field in dataclasses.fields(ServerSettings)}
    assert fields - found_out <= set(PodmanSpawner.class_traits(config=True))
