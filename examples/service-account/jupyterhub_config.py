"""All servers in one service account: for users who have no Unix accounts.

The account: ``useradd --create-home jupyter``. The Hub may run as it, or as root.
"""

c = get_config()  # noqa

# The authenticator is yours to choose: one whose users need no Unix accounts, such as OAuth.

c.JupyterHub.spawner_class = "podman"
c.PodmanSpawner.account_template = "jupyter"
c.PodmanSpawner.image = "quay.io/jupyter/base-notebook:latest"
c.Spawner.start_timeout = 900

# A folder of their own for each user. Without this all would get the account's home.
c.PodmanSpawner.home_source = "{home}/users/{username}"
c.PodmanSpawner.create_sources = True
