"""A container that is kept when its server stops, and started again: dockerspawner's default."""

c = get_config()  # noqa

c.JupyterHub.spawner_class = "podman"
c.PodmanSpawner.image = "quay.io/jupyter/base-notebook:latest"

# What users install in the container is there at the next start, until the image or this
# configuration changes. The default here is True: each start begins with the image.
c.PodmanSpawner.remove = False

c.PodmanSpawner.prefix = "lab"
c.PodmanSpawner.name_template = "{prefix}-{username}"
