"""Testcontainers for Python: the generic container with every wait strategy, files, commands and its reaper.

With `abort` as its argument it starts a session that nobody ends, and is killed: what is left is the reaper's."""

import os
import re
import signal
import sys
import urllib.error
import urllib.request
from pathlib import Path

import docker
from testcontainers.core import wait_strategies as wait
from testcontainers.core.container import DockerContainer, Reaper
from testcontainers.core.labels import LABEL_SESSION_ID, SESSION_ID
from testcontainers.core.network import Network

client = docker.from_env()
SERVE = "mkdir /www && echo hello >/www/index.html && exec httpd -f -p 8080 -h /www"


def box(script, **kwargs):
    return DockerContainer("busybox").with_command(["sh", "-c", script]).with_kwargs(**kwargs)


def fails(error, pattern, doing):
    try:
        doing()
    except error as e:
        assert re.search(pattern, str(e)), e
        return
    raise AssertionError(f"nothing failed with {error}")


def logs():
    waiting = wait.LogMessageWaitStrategy(re.compile(r"ready \d")).with_startup_timeout(30)
    with box("sleep 0.2; echo ready 1; echo err >&2; exec sleep 1000").waiting_for(waiting) as c:
        out, err = c.get_logs()
        assert (out, err) == (b"ready 1\n", b"err\n") or err == b"", (out, err)
        labels = c.get_wrapped_container().labels
        assert labels[LABEL_SESSION_ID] == SESSION_ID, labels
        kept = c.get_container_id()
    assert client.containers.list(all=True, filters={"id": kept}) == []
    # One that ends before it has said it, and one that never says it.
    ending = box("echo no; exit 3").waiting_for(wait.LogMessageWaitStrategy("yes"))
    fails(RuntimeError, "exit code: 3", ending.start)
    ending.stop()
    silent = box("exec sleep 1000").waiting_for(wait.LogMessageWaitStrategy("yes").with_startup_timeout(1))
    fails(TimeoutError, "yes", silent.start)
    silent.stop()


def ports():
    serving = box(SERVE).with_exposed_ports(8080)
    serving.waiting_for(wait.PortWaitStrategy(8080).with_startup_timeout(30))
    with serving as c:
        host, port = c.get_container_host_ip(), c.get_exposed_port(8080)
        assert host == "127.0.0.1", host
        with urllib.request.urlopen(f"http://{host}:{port}/", timeout=10) as answer:
            assert answer.read() == b"hello\n"
        try:
            urllib.request.urlopen(f"http://{host}:{port}/none", timeout=10)
            raise AssertionError("there is no such page")
        except urllib.error.HTTPError as e:
            assert e.code == 404
    fixed = box(SERVE).with_bind_ports(8080, 18080).waiting_for(wait.PortWaitStrategy(8080))
    with fixed as c:
        assert int(c.get_exposed_port(8080)) == 18080
        taken = box(SERVE).with_bind_ports(8080, 18080)
        fails(docker.errors.APIError, "port is already allocated", taken.start)
        taken.stop()


def http():
    waiting = wait.HttpWaitStrategy(8080, "/").for_status_code(200).with_startup_timeout(30)
    waiting.for_response_predicate(lambda body: "hello" in body)
    with box("sleep 0.2;" + SERVE).with_exposed_ports(8080).waiting_for(waiting):
        pass


def execs():
    waiting = wait.ExecWaitStrategy(["test", "-e", "/ready"]).with_startup_timeout(30)
    with box("sleep 0.3; touch /ready; exec sleep 1000").waiting_for(waiting) as c:
        # What a command says at once the library may lose, from any daemon.
        code, said = c.exec(["sh", "-c", "sleep 0.3; echo said; exit 4"])
        assert (code, said) == (4, b"said\n"), (code, said)


def health_and_others():
    check = {"test": ["CMD", "test", "-e", "/ready"], "interval": 200_000_000, "retries": 100}
    for waiting in (
        wait.HealthcheckWaitStrategy(),
        wait.ContainerStatusWaitStrategy(),
        wait.FileExistsWaitStrategy("seen/ready"),
        wait.CompositeWaitStrategy(wait.LogMessageWaitStrategy("ready"), wait.HealthcheckWaitStrategy()),
    ):
        Path("seen").mkdir(exist_ok=True)
        Path("seen/ready").unlink(missing_ok=True)
        c = box("sleep 0.2; touch /ready /seen/ready; echo ready; exec sleep 1000", healthcheck=check)
        c.with_volume_mapping(str(Path("seen").absolute()), "/seen", "rw")
        with c.waiting_for(waiting.with_startup_timeout(30)):
            pass
    sick = box("exec sleep 1000", healthcheck={"test": ["CMD", "false"], "interval": 100_000_000, "retries": 1})
    sick.waiting_for(wait.HealthcheckWaitStrategy().with_startup_timeout(30))
    fails(RuntimeError, "unhealthy", sick.start)
    sick.stop()


def files():
    c = DockerContainer("busybox").with_command(["sh", "-c", "cat /in/text; exec sleep 1000"])
    c.with_copy_into_container(b"carried in\n", "/in/text", 0o600).with_tmpfs_mount("/tmpfs", "size=1m")
    c.with_env("WORD", "said").with_name("named").with_kwargs(hostname="inside", user="0")
    with c.waiting_for(wait.LogMessageWaitStrategy("carried in")):
        c.copy_into_container(Path(__file__), "/in/self.py")
        c.copy_from_container("/in/self.py", Path("out.py"))
        assert Path("out.py").read_bytes() == Path(__file__).read_bytes()
        said = c.exec(["sh", "-c", "sleep 0.3; stat -c %a /in/text; echo $WORD $HOSTNAME; df -m /tmpfs | tail -n 1"]).output
        assert re.match(rb"600\nsaid inside\ntmpfs +1 ", said), said
        info = c.get_container_info()
        assert info.State.Status == "running" and info.Name == "/named", info
        again = DockerContainer("busybox").with_name("named")
        fails(docker.errors.APIError, "is already in use", again.start)


def networks():
    with Network() as network:
        serving = box(SERVE).with_network(network).with_network_aliases("web")
        with serving, box("exec sleep 1000").with_network(network) as asks:
            page = ["sh", "-c", "until wget -q -O - http://web:8080/; do sleep 0.1; done; sleep 0.3"]
            assert asks.exec(page).output.endswith(b"hello\n")
            fails(docker.errors.APIError, "has active endpoints", network.remove)
    assert client.networks.list(names=[network.name]) == []


def images():
    fails(docker.errors.NotFound, "nosuch/image", DockerContainer("nosuch/image").start)
    client.images.remove("busybox", force=True)
    with box("exec sleep 1000"):
        assert client.images.get("busybox")


def reaper():
    ryuk = client.containers.get(f"testcontainers-ryuk-{SESSION_ID}")
    assert ryuk.status == "running", ryuk.status
    assert b"client connected" in ryuk.logs(), ryuk.logs()
    Reaper.delete_instance()
    fails(docker.errors.NotFound, "No such container", ryuk.reload)


if sys.argv[1:] == ["abort"]:
    with Network() as network, box("exec sleep 1000").with_network(network), box("exec sleep 1000"):
        box("true").start()
        print("left", flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
for case in logs, ports, http, execs, health_and_others, files, networks, images, reaper:
    case()
    print(case.__name__, flush=True)
