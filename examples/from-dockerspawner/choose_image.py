"""Users choose their image in a form; as dockerspawner's allowed_images."""

c = get_config()  # noqa

c.JupyterHub.spawner_class = "podman"

# What users see, and what it stands for. A list of references does too; "*" lets users write any.
c.PodmanSpawner.allowed_images = {
    "Python": "quay.io/jupyter/base-notebook:latest",
    "Science": "quay.io/jupyter/scipy-notebook:latest",
    "R": "quay.io/jupyter/r-notebook:latest",
}

# A first pull takes its time.
c.Spawner.start_timeout = 900
