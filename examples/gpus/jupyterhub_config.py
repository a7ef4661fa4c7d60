"""GPUs for those who ask for one, through the Container Device Interface.

On the host, once and after each update of the driver:
``nvidia-ctk cdi generate --output=/etc/cdi/nvidia.yaml``.
"""

c = get_config()  # noqa

c.JupyterHub.authenticator_class = "pam"
c.PAMAuthenticator.allowed_groups = {"jupyter"}

c.JupyterHub.spawner_class = "podman"
c.PodmanSpawner.image = "quay.io/jupyter/base-notebook:latest"
c.Spawner.start_timeout = 1800

c.PodmanSpawner.profile_list = [
    {"display_name": "No GPU", "default": True},
    {
        "display_name": "The first GPU",
        "overrides": {
            "gpus": [0],
            "image": "quay.io/jupyter/pytorch-notebook:cuda12-latest",
            "shm_size": "4G",  # PyTorch's loaders share data through it
        },
    },
]
