"""wrapspawner's ProfilesSpawner: users choose among spawners; two of them are this one."""

c = get_config()  # noqa

c.JupyterHub.authenticator_class = "pam"
c.PAMAuthenticator.allowed_groups = {"jupyter"}

c.JupyterHub.spawner_class = "wrapspawner.ProfilesSpawner"
c.ProfilesSpawner.profiles = [
    (
        "Python",
        "python",
        "podmanspawner.PodmanSpawner",
        {"image": "quay.io/jupyter/base-notebook:latest"},
    ),
    (
        "Science, with more shared memory",
        "science",
        "podmanspawner.PodmanSpawner",
        {"image": "quay.io/jupyter/scipy-notebook:latest", "shm_size": "1G"},
    ),
]

# For both; options that every spawner has are set as c.Spawner.
c.PodmanSpawner.pull_policy = "missing"
c.Spawner.start_timeout = 900
