"""A course: data that all may read, a workshop for each to work on, limits, and two sizes."""

c = get_config()  # noqa

c.JupyterHub.authenticator_class = "pam"
c.PAMAuthenticator.allowed_groups = {"students", "teachers"}

c.JupyterHub.spawner_class = "podman"
c.PodmanSpawner.image = "quay.io/jupyter/scipy-notebook:latest"
c.Spawner.start_timeout = 900

# A student's own files are the account's home. The course is the same for everybody, and nobody
# can change it from a server.
c.PodmanSpawner.read_only_volumes = {"/srv/course": "/course"}
# What is there to be worked on is copied into the home, once.
c.PodmanSpawner.post_start_cmd = ["sh", "-c", "[ -e ~/workshop ] || cp -r /course/workshop ~"]

# For every server, unless a profile says otherwise.
c.Spawner.mem_limit = "2G"
c.Spawner.cpu_limit = 1.0
c.PodmanSpawner.pids_limit = 500

c.PodmanSpawner.profile_list = [
    {
        "display_name": "Lecture",
        "description": "2 GB of memory, one processor",
        "default": True,
    },
    {
        "display_name": "Project",
        "description": "8 GB of memory, four processors",
        "overrides": {"mem_limit": "8G", "cpu_limit": 4.0, "shm_size": "1G"},
    },
]

# Servers that nobody uses end after an hour.
c.Spawner.args = ["--ServerApp.shutdown_no_activity_timeout=3600"]
