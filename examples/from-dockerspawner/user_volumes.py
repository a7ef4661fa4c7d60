"""Each user's work in a volume of their own, and data that all may read."""

c = get_config()  # noqa

c.JupyterHub.spawner_class = "podman"
c.PodmanSpawner.image = "quay.io/jupyter/base-notebook:latest"

# A volume of the user's own Podman: made at the first start, kept when the server is gone. Unlike
# with dockerspawner it belongs to the user's account, so {username} is not needed to tell users
# apart; {servername} tells a user's named servers apart.
c.PodmanSpawner.volumes = {"jupyter-{username}-{servername}": "/home/jovyan/work"}

# Folders of the host, with the account's own rights.
c.PodmanSpawner.read_only_volumes = {"/usr/share/dict": "/data"}

# dockerspawner mounts no home. Leave this line out to have the account's home in the container.
c.PodmanSpawner.home_target = ""
