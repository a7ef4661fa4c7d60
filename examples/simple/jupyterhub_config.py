"""Each user's server in a container of that user's own Podman; users are Unix accounts."""

c = get_config()  # noqa

# People log in with their Unix passwords.
c.JupyterHub.authenticator_class = "pam"
c.Authenticator.allowed_users = {"ada", "bob"}

c.JupyterHub.spawner_class = "podman"
c.PodmanSpawner.image = "quay.io/jupyter/base-notebook:latest"
# The first start of an account pulls the image.
c.Spawner.start_timeout = 900
