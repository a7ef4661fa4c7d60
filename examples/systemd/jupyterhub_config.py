"""For /etc/jupyterhub/jupyterhub_config.py, beside jupyterhub.service."""

c = get_config()  # noqa

c.JupyterHub.bind_url = "http://127.0.0.1:8000"
c.JupyterHub.db_url = "sqlite:////var/lib/jupyterhub/jupyterhub.sqlite"
c.JupyterHub.cookie_secret_file = "/var/lib/jupyterhub/cookie_secret"
c.ConfigurableHTTPProxy.pid_file = "/var/lib/jupyterhub/proxy.pid"
# A restart of the unit leaves the servers alone.
c.JupyterHub.cleanup_servers = False

c.JupyterHub.authenticator_class = "pam"
c.PAMAuthenticator.open_sessions = False
c.PAMAuthenticator.allow_all = True

c.JupyterHub.spawner_class = "podman"
# The unit's hardening leaves no other way: Podman cannot run inside it.
c.PodmanSpawner.activation = "systemd"
c.PodmanSpawner.image = "quay.io/jupyter/base-notebook:latest"
c.Spawner.start_timeout = 900
