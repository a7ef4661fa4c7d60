"""What stands in dockerspawner's extra_create_kwargs and extra_host_config."""

c = get_config()  # noqa

c.JupyterHub.spawner_class = "podman"
c.PodmanSpawner.image = "quay.io/jupyter/base-notebook:latest"

# Most of it has an option of its own here.
c.PodmanSpawner.container_user = "root"  # user
c.PodmanSpawner.hostname = "{username}"
c.PodmanSpawner.working_dir = "/tmp"
c.PodmanSpawner.entrypoint = ["env", "BEGUN_BY=entrypoint"]
c.PodmanSpawner.extra_hosts = {"db.example.org": "192.0.2.7"}
c.PodmanSpawner.dns = ["192.0.2.53"]
c.PodmanSpawner.shm_size = "96M"
c.PodmanSpawner.ulimits = {"nofile": (512, 1024)}
c.PodmanSpawner.tmpfs = {"/scratch": "8m"}
c.PodmanSpawner.cap_drop = ["NET_RAW"]  # and cap_add
c.PodmanSpawner.init = True

# All else goes into Podman's own request, in its own words.
c.PodmanSpawner.extra_spec = {"oom_score_adj": 300, "timezone": "local"}

c.Spawner.args = ["--allow-root"]
