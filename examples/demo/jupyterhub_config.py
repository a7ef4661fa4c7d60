"""The demo's Hub; `run` prepares the machine for it and tells who may log in."""

import os

c = get_config()  # noqa

port = int(os.environ.get("PODMANSPAWNER_DEMO_PORT", "8000"))
c.JupyterHub.bind_url = f"http://127.0.0.1:{port}"
# JupyterHub's own numbers (8081, 8001) for port 8000. Fixed, since servers that outlive a killed
# Hub go on asking for it at the address that they were started with.
c.JupyterHub.hub_port = port + 81
c.ConfigurableHTTPProxy.api_url = f"http://127.0.0.1:{port + 1}"
c.JupyterHub.upgrade_db = True

# Unix accounts and their passwords.
c.JupyterHub.authenticator_class = "pam"
c.Authenticator.allowed_users = set(os.environ["PODMANSPAWNER_DEMO_USERS"].split())

# Each user's server in that user's own rootless Podman.
c.JupyterHub.spawner_class = "podman"
c.PodmanSpawner.image = "localhost/podmanspawner/singleuser:latest"
c.PodmanSpawner.pull_policy = "never"
# The accounts of the demo linger by its own doing; nobody else is made to.
c.PodmanSpawner.enable_linger = False
