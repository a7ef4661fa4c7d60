"""A spawner with the Hub's own objects around it, but no Hub process."""

from __future__ import annotations

from types import SimpleNamespace

from jupyterhub import orm
from jupyterhub.objects import Hub as HubInfo
from jupyterhub.objects import Server
from jupyterhub.user import User
from traitlets.config import Config

from accounts import TINY_JOVYAN
from podmanspawner import PodmanSpawner

ANSWERING = ["httpd", "-f", "-p", "8888", "-h", "/home/jovyan"]
"""A command that answers HTTP within milliseconds."""


def lone_spawner(username: str, **options):
    """Return a PodmanSpawner of a user, with options as the configuration would give them."""
    options = {
        "image": TINY_JOVYAN,
        "pull_policy": "never",
        "cmd": ANSWERING,
        "delete_grace_period": 1,
        **options,
    }
    return lone(PodmanSpawner, username, **options)


def memory_db():
    """Return a session of a Hub's database that is in memory."""
    return orm.new_session_factory("sqlite:///:memory:")()


def lone(kind, username: str, *, name: str = "", hub_port: int = 18081, db=None, **options):
    """Return a spawner of any kind, with options of its class, in a database of its own or not."""
    db = db or memory_db()
    orm_user = orm.User(name=username)
    db.add(orm_user)
    db.commit()
    hub = HubInfo(ip="127.0.0.1", port=hub_port, base_url="/hub/", connect_ip="127.0.0.1")
    user = User(orm_user, {"hub": hub, "base_url": "/"}, db)
    orm_spawner = orm.Spawner(name=name, user=orm_user)
    db.add(orm_spawner)
    orm_server = orm.Server(base_url=f"/user/{username}/{name}")
    db.add(orm_server)
    db.commit()
    spawner = kind(
        user=user,
        orm_spawner=orm_spawner,
        hub=hub,
        authenticator=SimpleNamespace(),
        oauth_client_id=f"client-{username}",
        config=Config({kind.__name__: options}),
    )
    spawner.server = Server(orm_server=orm_server)
    spawner.api_token = "a" * 32
    return spawner
