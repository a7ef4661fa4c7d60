"""Flags of ``podman run``, and the original's settings, to what the options hold."""

from __future__ import annotations

import pytest

from podmanspawner import SpecError, flags
from podmanspawner.builder import build
from podmanspawner.compat import Original
from podmanspawner.extra import ENGINE_FIELDS
from podmanspawner.flags.table import ALIASES, FLAGS, LETTERS
from podmanspawner.names import ServerName
from podmanspawner.settings import ServerSettings
from specs import ACCOUNT, JOVYAN

SECOND = 10**9
BIND = {"type": "bind", "source": "/a", "target": "/b", "read_only": False, "options": []}
LOG = {"healthLogDestination": "local", "healthMaxLogCount": 5, "healthMaxLogSize": 500}
CHECK = {"Interval": 30 * SECOND, "Timeout": 30 * SECOND, "Retries": 3}
SECRET = {"source": "a"}


def settings(**options):
    return ServerSettings(**{"image": "busybox", "server": ServerName("8081", "ada"), **options})


@pytest.mark.parametrize(
    ("words", "fields"),
    [
        (["-v", "/a:/b"], {"mounts": [BIND]}),
        (["-v=/a:/b"], {"mounts": [BIND]}),
        (["-v/a:/b"], {"mounts": [BIND]}),
        (["--volume", "/a:/b"], {"mounts": [BIND]}),
        (["--volume=/a:/b:rw"], {"mounts": [BIND]}),
        (["-v", "/a:/b", "-v", "/a:/c"], {"mounts": [BIND, {**BIND, "target": "/c"}]}),
        (
            ["-v", "/a:/b:ro,z"],
            {"mounts": [{**BIND, "read_only": True, "options": ["z"]}]},
        ),
        (["-v", "/{a}:/b"], {"mounts": [{**BIND, "source": "/{{a}}"}]}),
        (
            ["-v", "work:/b:noexec"],
            {"mounts": [{**BIND, "type": "volume", "source": "work", "options": ["noexec"]}]},
        ),
        (["-v", "/a:/b:O"], {"mounts": [{**BIND, "type": "overlay"}]}),
        (["--mount", "type=bind,src=/a,dst=/b"], {"mounts": [BIND]}),
        (["--mount=type=bind,source=/a,target=/b,ro=false"], {"mounts": [BIND]}),
        (
            ["--mount", "type=bind,src=/a,dst=/b,readonly,bind-propagation=rslave,relabel=shared"],
            {"mounts": [{**BIND, "read_only": True, "options": ["rslave", "z"]}]},
        ),
        (
            ["--mount", "type=tmpfs,destination=/b,tmpfs-size=1m,noexec"],
            {
                "mounts": [
                    {**BIND, "type": "tmpfs", "source": "", "options": ["size=1m", "noexec"]}
                ]
            },
        ),
        (
            ["--mount", "type=image,src=alpine,dst=/b"],
            {"mounts": [{**BIND, "type": "image", "source": "alpine", "read_only": True}]},
        ),
        (
            ["-e", "A=b", "--env=C=d=e f", "--env", "E="],
            {"environment": {"A": "b", "C": "d=e f", "E": ""}},
        ),
        (["--device=/dev/a,/dev/b:/dev/c:r"], {"devices": ["/dev/a", "/dev/b:/dev/c:r"]}),
        (["--gpus", "all"], {"devices": ["nvidia.com/gpu=all"]}),
        (["--net", "host"], {"network": "host"}),
        (["--network=slirp4netns"], {"network": "slirp4netns"}),
        (["-u", "1000:100"], {"container_user": "1000:100"}),
        (["--userns", "keep-id"], {"user_mapping": "keep-id"}),
        (["--userns=keep-id:gid=100,uid=1000"], {"user_mapping": "keep-id:uid=1000,gid=100"}),
        (["--userns=host"], {"user_mapping": "root"}),
        (["-w", "/{x}"], {"working_dir": "/{{x}}"}),
        (["-h", "lab"], {"hostname": "lab"}),
        (["-l", "a=b", "--label", "c"], {"extra_labels": {"a": "b", "c": ""}}),
        (["--annotation", "a=b,c"], {"extra_annotations": {"a": "b,c"}}),
        (["-m", "1.5g"], {"mem_limit": 3 << 29}),
        (["--memory=512MiB"], {"mem_limit": 512 << 20}),
        (["--cpus=.5"], {"cpu_limit": 0.5}),
        (["--pids-limit", "-1"], {"pids_limit": -1}),
        (["--shm-size", "64m"], {"shm_size": 64 << 20}),
        (["--ulimit", "nofile=1:2,core=0"], {"ulimits": {"nofile": (1, 2), "core": (0, 0)}}),
        (["--cap-add", "net_raw,SYS_TIME"], {"cap_add": ["CAP_NET_RAW", "CAP_SYS_TIME"]}),
        (["--cap-drop=ALL"], {"cap_drop": ["ALL"]}),
        (["--security-opt", "no-new-privileges:false"], {"no_new_privileges": False}),
        (
            ["--tmpfs", "/a:size=1m,noexec", "--tmpfs=/b"],
            {"tmpfs": {"/a": "size=1m,noexec", "/b": ""}},
        ),
        (["--read-only"], {"read_only": True}),
        (["--read-only=false"], {"read_only": False}),
        (["--init=0"], {"init": False}),
        (["--entrypoint", "tini"], {"entrypoint": ("tini",)}),
        (["--entrypoint", '["tini", "--"]'], {"entrypoint": ("tini", "--")}),
        (["--entrypoint="], {"entrypoint": ("",)}),
        (["--add-host", "a;b:::1"], {"extra_hosts": {"a": "::1", "b": "::1"}}),
        (["--dns", "192.0.2.1,192.0.2.2"], {"dns": ["192.0.2.1", "192.0.2.2"]}),
        (["--group-add", "keep-groups"], {"keep_groups": True}),
        (
            ["--stop-signal=INT", "--stop-timeout=3"],
            {"stop_signal": "INT", "delete_grace_period": 3},
        ),
        (["--umask", "027"], {"umask": "0027"}),
        (["--memory-swap", "-1"], {"memswap_limit": -1}),
        (["--dns-opt", "ndots:1"], {"dns_options": ["ndots:1"]}),
        (["--dns-search=a,b"], {"dns_search": ["a", "b"]}),
        (["--group-add", "100,video"], {"supplemental_gids": ["100", "video"]}),
        (["--secret", "a"], {"secrets": [SECRET]}),
        (
            ["--secret=a,target=b,uid=1,mode=0400"],
            {"secrets": [{**SECRET, "target": "b", "uid": 1, "mode": 0o400}]},
        ),
        (
            ["--secret", "a,type=env,target=B"],
            {"secrets": [{**SECRET, "type": "env", "target": "B"}]},
        ),
        (["--security-opt", "seccomp=/a.json"], {"seccomp_profile": "/a.json"}),
        (
            ["--security-opt", "label=type:a", "--security-opt=label:level:s0"],
            {"selinux_opts": ["type:a", "level:s0"]},
        ),
        (
            ["--security-opt=mask=/a:/b", "--security-opt=unmask=/c"],
            {"masked_paths": ["/a", "/b"], "unmasked_paths": ["/c"]},
        ),
        (["--security-opt", "systempaths=unconfined"], {"unmasked_paths": ["ALL"]}),
        (["-p", "80,127.0.0.1:9000:53/udp"], {"extra_ports": ["80", "127.0.0.1:9000:53/udp"]}),
        (["--network", "slirp4netns:mtu=1500"], {"network": "slirp4netns:mtu=1500"}),
        (["--userns=auto:size=1000"], {"user_mapping": "auto-userns:size=1000"}),
        (["--net="], {"network": "private"}),
        (["--network", "default"], {"network": "private"}),
        (["--memory", "0", "--cpus=0"], {"mem_limit": None, "cpu_limit": None}),
        (["--memory-reservation", "1m"], {"mem_guarantee": 1 << 20}),
        (["--umask", "2"], {"umask": "0002"}),
        (["--tmpfs", "/a:rw,mode=1777"], {"tmpfs": {"/a": "rw,mode=1777"}}),
    ],
)
def test_flags_that_are_options(words, fields):
    assert flags.parse(words) == flags.Changes(fields)


@pytest.mark.parametrize(
    ("words", "extra_spec"),
    [
        (["-c", "512"], {"resource_limits": {"cpu": {"shares": 512}}}),
        (["--cpuset-cpus=0-3"], {"resource_limits": {"cpu": {"cpus": "0-3"}}}),
        (
            ["--device-read-bps", "/dev/sda:1m"],
            {"throttleReadBpsDevice": {"/dev/sda": {"rate": 1 << 20}}},
        ),
        (["--tz", "UTC"], {"timezone": "UTC"}),
        (["--privileged"], {"privileged": True}),
        (["--security-opt", "apparmor=a"], {"apparmor_profile": "a"}),
        (
            ["--health-cmd", "curl a"],
            {"healthconfig": {**CHECK, "Test": ["CMD-SHELL", "curl a"]}, **LOG},
        ),
        (
            ["--health-cmd", '["curl", "a"]', "--health-interval=1m30s", "--health-retries", "1"],
            {
                "healthconfig": {
                    **CHECK,
                    "Test": ["CMD", "curl", "a"],
                    "Interval": 90 * SECOND,
                    "Retries": 1,
                },
                **LOG,
            },
        ),
        (["--health-cmd=none"], {"healthconfig": {"Test": ["NONE"]}}),
        (["--no-healthcheck"], {"healthconfig": {"Test": ["NONE"]}}),
        (
            ["--log-opt", "max-size=1m,tag=a"],
            {"log_configuration": {"size": 10**6, "options": {"tag": "a"}}},
        ),
        (["--ipc=private"], {"ipcns": {"nsmode": "private"}}),
        (["--dns", "none"], {"use_image_resolve_conf": True}),
        (["--unsetenv", "A", "--unsetenv-all"], {"unsetenv": ["A"], "unsetenvall": True}),
        (["--sysctl", "a=1"], {"sysctl": {"a": "1"}}),
        (["--http-proxy=false"], {"httpproxy": False}),
    ],
)
def test_flags_that_are_fields_of_the_request(words, extra_spec):
    assert flags.parse(words) == flags.Changes(extra_spec=extra_spec)
    assert set(extra_spec) <= ENGINE_FIELDS


@pytest.mark.parametrize(
    "words",
    [
        ["-dit"],
        ["--rm"],
        ["--rm=false", "--detach", "-i=true", "--tty"],
        ["--attach", "stdout", "--detach-keys", "ctrl-a"],
        ["--expose", "80", "--quiet", "--replace", "--sig-proxy", "--restart=no"],
        ["--publish-all=false", "--tls-verify", "--read-only-tmpfs", "--env-host=false"],
        [],
    ],
)
def test_flags_without_effect(words):
    assert flags.parse(words) == flags.Changes()


def test_flags_of_the_service_and_of_pulls():
    words = ["--hooks-dir", "/a", "--hooks-dir=/b,/c", "--runtime", "crun", "--pull=newer"]
    told = ("--hooks-dir=/a", "--hooks-dir=/b", "--hooks-dir=/c", "--runtime=crun")
    assert flags.parse(words) == flags.Changes(service_flags=told, pull_policy="newer")
    assert flags.parse(["--pull=ifnotpresent"]) == flags.Changes(pull_policy="missing")


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["--no-such"], "--no-such is no flag"),
        (["--volumes", "/a:/b"], "--volumes is no flag of podman run; did you mean --volume?"),
        (["-x"], "-x of '-x' is no flag"),
        (["-itx"], "-x of '-itx' is no flag"),
        (["image"], "'image' is no flag; the image is the option image"),
        (["--"], "'--' is no flag"),
        (["-"], "'-' is no flag"),
        ([""], "'' is no flag"),
        (["-v"], "-v needs a value"),
        (["--env"], "--env needs a value"),
        (["-itv"], "-v needs a value"),
        (["-v", "/a"], "-v /a: it must be SOURCE:TARGET"),
        (["-v", "/a:/b:ro:z"], "-v /a:/b:ro:z: it must be SOURCE:TARGET"),
        (["-v", "./a:/b"], "-v ./a:/b: .*neither an absolute path nor"),
        (["-v", "/a:b"], "-v /a:b: 'b' must be an absolute path"),
        (["-v", "/a:/b:idmap"], "-v /a:/b:idmap: 'idmap' is no option"),
        (["-v", "/a/../b:/b"], "-v .*without '..'"),
        (["--mount", "type=glob,src=/a,dst=/b"], "--mount .*'glob' is no kind"),
        (["--mount", "type=volume,dst=/b"], "--mount .*give the volume a name"),
        (["--mount", "type=bind,src=/a"], "--mount .*target=PATH"),
        (["--mount", "type=bind,src=/a,dst=/b,bind-create-src=x"], "--mount .*bind-create-src"),
        (["--mount", 'type=bind,"src=/a'], "--mount .*quotes"),
        (["-e", "=a"], "-e =a: name one variable"),
        (["-e", "A*"], r"-e A\*: name one variable"),
        (["--env-file", "a"], "--env-file a: .*absolute path"),
        (["--env-host"], "--env-host cannot be honoured: .*use environment"),
        (["--device", "/etc/shadow"], "--device /etc/shadow: .*is no device"),
        (["-p", "80:http"], "-p 80:http: .*is no port to publish"),
        (["-P"], "-P cannot be honoured"),
        (["--network", "container:a"], "--network container:a: .*Use 'private'"),
        (["--net=ns:/a"], "--net ns:/a: .*Use 'private'"),
        (["-u", "a b"], "-u a b: .*is no user"),
        (["--userns", "nomap"], "--userns nomap: .*user_mapping"),
        (["--userns", "keep-id:uid=1"], "--userns keep-id:uid=1: .*is no mapping"),
        (["--userns", "keep-id:uid=1,gid=2,size=3"], "--userns .*: keep-id has uid and gid"),
        (["-w", "a"], "-w a: .*absolute path"),
        (["-h", "a_b"], "-h a_b: .*is no host name"),
        (["-m", "much"], "-m much: it must be a size"),
        (["--cpus", "many"], "--cpus many: it must be a number of cores"),
        (["--pids-limit", "many"], "--pids-limit many: it must be a whole number"),
        (["--ulimit", "host"], "--ulimit host: name the limits"),
        (["--ulimit", "no=1"], "--ulimit no=1: 'no' is no limit"),
        (["--ulimit", "nofile=2:1"], "--ulimit nofile=2:1: .*above"),
        (["--cap-add", "NET_ROW"], "--cap-add NET_ROW: .*did you mean"),
        (["--security-opt", "a=b"], "--security-opt a=b: use no-new-privileges"),
        (["--security-opt", "seccomp=a"], "--security-opt seccomp=a: .*absolute path"),
        (["--tmpfs", "/a:size=x"], "--tmpfs /a:size=x: .*is no option"),
        (["--read-only=maybe"], "--read-only maybe: it is true or false"),
        (["--read-only-tmpfs=false"], "--read-only-tmpfs false: "),
        (["--add-host", "a:b"], "--add-host a:b: 'b' is no IP address"),
        (["--dns", "ns"], "--dns ns: .*is no IP address"),
        (["--add-host", "a:host-gateway"], "--add-host .*host.containers.internal without it"),
        (["--net", "a", "--net", "b"], "--net b: a server is in one network"),
        (["--group-add", "a b"], "--group-add a b: .*is no user"),
        (["--secret", "a,type=file"], "--secret a,type=file: 'file' is no type"),
        (["--secret", "a,mode=999"], "--secret a,mode=999: .*octal"),
        (
            ["--health-cmd", "a", "--health-interval", "often"],
            "--health-interval often: .*duration",
        ),
        (["--health-retries", "3"], "a health check needs a command; add --health-cmd"),
        (["--health-on-failure", "cry"], "--health-on-failure cry: it must be one of none"),
        (["--stop-signal", "KILLER"], "--stop-signal KILLER: .*is no signal"),
        (["--stop-timeout", "-1"], "--stop-timeout -1: .*0 or more seconds"),
        (["--umask", "rw"], "--umask rw: .*octal"),
        (["--pull", "sometimes"], "--pull sometimes: 'sometimes' is none of missing"),
        (["--hooks-dir", "a"], "--hooks-dir a: .*absolute path"),
        (["--name=a"], "--name cannot be honoured: .*name_template"),
        (["--pod", "a"], "--pod cannot be honoured"),
        (["--cidfile", "/a"], "--cidfile cannot be honoured"),
        (["--restart", "always"], "--restart always: the Hub starts servers"),
        (["--storage-opt", "a=b"], "--storage-opt cannot be honoured: .*storage.conf"),
        (["--tls-verify=false"], "--tls-verify false: .*registries.conf"),
        (["--log-driver", "none"], "--log-driver none: .*last lines"),
        (["--uidmap", "0:1:1"], "--uidmap cannot be honoured: use user_mapping"),
    ],
)
def test_a_flag_that_cannot_be_honoured_is_named(words, why):
    with pytest.raises(SpecError, match=f"^podman_additional_cmds: .*{why}"):
        flags.parse(words)


def test_the_table_is_whole():
    assert set(ALIASES.values()) | set(LETTERS.values()) <= set(FLAGS)
    for name, flag in FLAGS.items():
        assert bool(flag.action) != bool(flag.reason), name
        assert flag.action is None or flag.to, name
        assert not flag.to.startswith("extra_spec") or flag.to.split('"')[1] in ENGINE_FIELDS, name


# with the options


def test_flags_come_on_top_of_the_options():
    own = settings(
        mounts=[{"target": "/own"}],
        environment={"A": "own", "B": "own"},
        extra_spec={"timezone": "local", "resource_limits": {"cpu": {"shares": 2}}},
        dns=["192.0.2.1"],
    )
    words = ["-v", "/a:/b", "-e", "A=flag", "--tz=UTC", "--cpuset-cpus=0", "--dns=192.0.2.2"]
    made = flags.parse(words).applied(own, {"B": "file", "C": "file"})
    assert list(made.mounts) == [{"target": "/own"}, BIND]
    assert made.environment == {"A": "flag", "B": "file", "C": "file"}
    limits = {"cpu": {"shares": 2, "cpus": "0"}}
    assert made.extra_spec == {"timezone": "local", "resource_limits": limits}
    assert list(made.dns) == ["192.0.2.1", "192.0.2.2"]


def test_a_field_that_is_taken_out_stays_out():
    made = flags.parse(["--tz=UTC"]).applied(settings(extra_spec={"timezone": None}))
    assert made.extra_spec == {"timezone": None}


def test_a_variable_without_a_value():
    changes = flags.parse(["-e", "A"])
    assert changes.applied(settings(environment={"A": "kept"})).environment == {"A": "kept"}
    assert changes.applied(settings(), {"A": "file"}).environment == {"A": "file"}
    with pytest.raises(SpecError, match="-e A: .*env_keep"):
        changes.applied(settings())


# the original's settings


def translated(**original):
    return Original(**original).settings(settings())


def test_nothing_of_the_original():
    assert Original().used == []
    assert translated() == settings()
    assert translated(podman_additional_cmds=[], conthome="", https_proxy="") == settings()


@pytest.mark.parametrize(
    ("original", "field", "value"),
    [
        ({"enable_lab": True}, "home_target", "/home/jovyan/home"),
        ({"preexec_fn_set": 1}, "home_target", "/home/jovyan/home"),
        ({"conthome": "/home/USERNAME/{a}"}, "home_target", "/home/{username}/{{a}}"),
        ({"conthome": "/home/USERNAME"}, "working_dir", ""),
        (
            {"conthome": "/home/USERNAME", "startatconthome": True},
            "working_dir",
            "/home/{username}",
        ),
        ({"startatconthome": True}, "working_dir", "/home/jovyan/home"),
        ({"startatconthome": True, "podman_additional_cmds": ["-w", "/a"]}, "working_dir", "/a"),
        ({"enable_lab": True}, "cmd", None),
        (
            {"start_cmd": "start-notebook.sh --debug 'a b'"},
            "cmd",
            ("start-notebook.sh", "--debug", "a b"),
        ),
        ({"jupyter_additional_cmds": ["--allow-root"]}, "args", ("--allow-root",)),
        ({"jupyter_additional_cmds": ["--a=b c", "--d e"]}, "args", ("--a=b c", "--d", "e")),
        ({"standard_jupyter_port": 9999}, "container_port", 9999),
        ({"https_proxy": "http://proxy"}, "extra_spec", {"httpproxy": True}),
        (
            {"enable_lab": True},
            "environment",
            {"JUPYTER_ENABLE_LAB": "yes", "JUPYTER_IMAGE_SPEC": "busybox"},
        ),
        ({"popen_kwargs": {"shell": True}}, "environment", {"JUPYTER_IMAGE_SPEC": "busybox"}),
    ],
)
def test_settings_of_the_original(original, field, value):
    assert getattr(translated(**original), field) == value


def test_a_home_that_is_set_stays():
    made = Original(startatconthome=True).settings(settings(home_target="/work"))
    assert (made.home_target, made.working_dir) == ("/work", "/work")


@pytest.mark.parametrize(
    ("words", "environment"),
    [
        (["-e", "A=b c"], {"A": "b c"}),
        (["-e A=b"], {"A": "b"}),
        (["-e", "'A=b c'"], {"A": "b c"}),
        (["--env='A=b c'"], {"A": "b c"}),
        (["--env=A=b c"], {"A": "b c"}),
        (["-e", 'A=["a", "b"]'], {"A": '["a", "b"]'}),
    ],
)
def test_words_as_the_originals_command_line_had_them(words, environment):
    changes = Original(podman_additional_cmds=words).changes
    assert changes.fields == {"environment": environment}


def test_more_flags_in_one_text():
    """The original joined all texts, and split them again."""
    changes = Original(podman_additional_cmds=["--userns=keep-id --net=host", "-h=a -e A=b"])
    fields = {"user_mapping": "keep-id", "network": "host", "hostname": "a"}
    assert changes.changes.fields == {**fields, "environment": {"A": "b"}}
    made = translated(jupyter_additional_cmds=["--A.b=1 --C.d=2", "--E.f=g -h"])
    assert made.args == ("--A.b=1", "--C.d=2", "--E.f=g", "-h")


@pytest.mark.parametrize(("network", "port"), [("private", "8888"), ("host", "23456")])
def test_the_port_in_a_command(network, port):
    original = Original(start_cmd="serve --port=PORT", podman_additional_cmds=["--net", network])
    made = original.settings(settings(args=["PORT"]))
    assert build(made, JOVYAN, ACCOUNT, port=23456).command == ("serve", f"--port={port}", "PORT")


@pytest.mark.parametrize(
    ("original", "pulled"),
    [
        ({}, ""),
        ({"pull_image": "a"}, ""),
        ({"pull_image_first": True}, "busybox"),
        ({"pull_image_first": True, "pull_image": "dir:/a"}, "dir:/a"),
    ],
)
def test_what_is_pulled_first(original, pulled):
    assert Original(**original).pull_first("busybox") == pulled
