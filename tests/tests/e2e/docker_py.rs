//! docker-py, the library that most scripts use.

use dhow_tests::TestHost;

/// Runs a script with docker-py; `client` is there already.
fn python(host: &TestHost, script: &str) -> String {
    let python = std::env::var("DHOW_PYTHON").unwrap_or_else(|_| {
        format!(
            "{}/.cache/dhow/venv/docker-py/bin/python3",
            std::env::var("HOME").unwrap_or_default()
        )
    });
    std::fs::write(
        host.path("script.py"),
        format!("import docker, json, io, time\nclient = docker.from_env(timeout=60)\n{script}"),
    )
    .unwrap();
    host.sh(&format!("{python} script.py")).ok()
}

#[test]
fn run_and_look() {
    let host = TestHost::empty();
    python(
        &host,
        r#"
assert client.ping()
image = client.images.pull("busybox", "latest")
assert image.tags == ["busybox:latest"], image.tags
assert client.containers.run("busybox", "echo hi", remove=True) == b"hi\n"
try:
    client.containers.run("busybox", "sh -c 'echo out; echo err >&2; exit 3'", remove=True)
    assert False
except docker.errors.ContainerError as e:
    assert e.exit_status == 3 and e.stderr == b"err\n", (e.exit_status, e.stderr)
c = client.containers.run("busybox", "sleep 1000", detach=True, name="box", labels={"a": "b"},
    environment={"X": "1"}, mem_limit="64m", ports={"80/tcp": 8080}, volumes={"/tmp": {"bind": "/mnt", "mode": "ro"}})
c.reload()
assert c.status == "running" and c.labels["a"] == "b"
assert c.ports["80/tcp"][0]["HostPort"] == "8080", c.ports
# docker-py loses what comes with the answer's head, from any daemon: the commands take their time.
assert c.exec_run("sh -c 'sleep 1; echo $X; exit 4'") == (4, b"1\n")
code, output = c.exec_run("sh -c 'sleep 1; echo out; echo err >&2'", demux=True)
assert output == (b"out\n", b"err\n"), output
# The start says what the client reads: frames, though the process has a terminal.
made = client.api.exec_create(c.id, "sh -c 'sleep 1; echo out'", tty=True)
assert client.api.exec_start(made, demux=True) == (b"out\r\n", None)
client.api._general_configs["detachKeys"] = "ctrl-x"
made = client.api.exec_create(c.id, "cat", stdin=True, tty=True)
socket = client.api.exec_start(made, tty=True, socket=True)._sock
socket.sendall(b"\x18")
assert socket.recv(100) == b""
del client.api._general_configs["detachKeys"]
made = client.api.exec_create(c.id, "sh -c 'sleep 1; echo out'")
assert client.api.exec_start(made, tty=True) == b"out\n"
assert c.top()["Processes"][0][-1] == "sleep 1000"
assert [x.name for x in client.containers.list(filters={"label": "a=b"})] == ["box"]
c.rename("crate")
c.pause(); c.reload(); assert c.status == "paused"; c.unpause()
c.restart(timeout=0)
c.kill()
assert c.wait()["StatusCode"] == 137
c.remove()
try:
    client.containers.get("crate")
    assert False
except docker.errors.NotFound:
    pass
"#,
    );
}

#[test]
fn streams() {
    let host = TestHost::start();
    python(
        &host,
        r#"
c = client.containers.run("busybox", "sh -c 'for i in 1 2 3; do echo line $i; sleep 0.1; done'", detach=True)
assert list(c.logs(stream=True, follow=True)) == [b"line 1\n", b"line 2\n", b"line 3\n"] or b"".join(c.logs(stream=True)) == b"line 1\nline 2\nline 3\n"
assert c.logs(tail=1) == b"line 3\n"
assert c.logs(timestamps=True).endswith(b"Z line 3\n")
c.remove()
c = client.containers.create("busybox", "cat", stdin_open=True, tty=False)
socket = c.attach_socket(params={"stdin": 1, "stdout": 1, "stream": 1})
c.start()
socket._sock.sendall(b"ahoy\n")
assert socket.read(13)[8:] == b"ahoy\n"
socket.close()
c.remove(force=True)
c = client.containers.run("busybox", "sleep 1000", detach=True)
socket = c.exec_run("sh -c 'read x; echo got $x'", stdin=True, socket=True).output
socket._sock.sendall(b"it\n")
assert socket.read(15)[8:] == b"got it\n"
c.remove(force=True)
"#,
    );
}

#[test]
fn events_and_images() {
    let host = TestHost::start();
    python(
        &host,
        r#"
since = time.time() - 1
client.containers.run("busybox", "true", remove=True, name="short")
events = list(client.events(since=since, until=time.time() + 1, decode=True, filters={"container": "short"}))
actions = [e["Action"] for e in events]
assert "start" in actions and "die" in actions, actions
image = client.images.get("busybox")
assert image.tag("127.0.0.1:5000/py/busybox", "1")
lines = list(client.images.push("127.0.0.1:5000/py/busybox", "1", stream=True, decode=True))
assert any("digest: sha256:" in line.get("status", "") for line in lines), lines
assert not any("error" in line for line in lines), lines
client.images.remove("127.0.0.1:5000/py/busybox:1")
try:
    client.images.pull("nosuch/image", "latest")
    assert False
except docker.errors.NotFound:
    pass
assert client.info()["OSType"] == "linux"
assert client.version()["ApiVersion"]
assert "GoVersion" in client.version()
assert "bridge" in [n.name for n in client.networks.list()]
v = client.volumes.create("hold")
assert [x.name for x in client.volumes.list()] == ["hold"]
v.remove()
"#,
    );
}

#[test]
fn archives() {
    let host = TestHost::start();
    python(
        &host,
        r#"
import tarfile
def packed(name, data, **how):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, **how) as archive:
        info = tarfile.TarInfo(name)
        info.size = len(data)
        archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()
made = client.containers.create("busybox", "true")
running = client.containers.run("busybox", "sleep 1000", detach=True)
for c in made, running:
    for mode in "w", "w:gz":
        assert c.put_archive("/root", packed("file-" + mode[-1], b"cargo" * 1000, mode=mode))
    assert c.put_archive("/root", iter([packed("piece", b"x", mode="w")]))
    for encode in False, True:
        pieces, stat = c.get_archive("/root/file-z", chunk_size=2048, encode_stream=encode)
        assert stat["name"] == "file-z" and stat["size"] == 5000 and stat["linkTarget"] == "", stat
        assert not stat["mode"] >> 31, stat
        with tarfile.open(fileobj=io.BytesIO(b"".join(pieces))) as archive:
            assert archive.getnames() == ["file-z"]
            assert archive.extractfile("file-z").read() == b"cargo" * 1000
    pieces, stat = c.get_archive("/root")
    assert stat["mode"] >> 31 == 1, stat
    with tarfile.open(fileobj=io.BytesIO(b"".join(pieces))) as archive:
        assert archive.getnames() == ["root", "root/file-w", "root/file-z", "root/piece"], archive.getnames()
    for path in "/none", "/etc/passwd/x":
        try:
            c.put_archive(path, packed("f", b"x", mode="w"))
            assert False
        except docker.errors.APIError:
            pass
    try:
        c.get_archive("/none")
        assert False
    except docker.errors.NotFound as e:
        assert "Could not find the file /none in container " + c.id in str(e), e
    try:
        c.put_archive("/root", b"no archive" * 100)
        assert False
    except docker.errors.APIError:
        pass
    c.remove(force=True)
"#,
    );
}

#[test]
fn changes_commits_and_exports() {
    let host = TestHost::start();
    python(
        &host,
        r#"
import tarfile
c = client.containers.run("busybox", "sh -c 'echo hello > /test'", detach=True)
c.wait()
assert c.diff() == [{"Path": "/test", "Kind": 1}], c.diff()
image = c.commit(repository="made", tag="1", message="why", author="who", changes="EXPOSE 8000\nLABEL a=b", conf={"Cmd": ["cat", "/test"]})
assert image.tags == ["made:1"] and image.labels == {"a": "b"}, image.attrs
assert image.attrs["Parent"] == client.images.get("busybox").id
assert image.attrs["Comment"] == "why" and "8000/tcp" in image.attrs["Config"]["ExposedPorts"]
assert client.containers.run(image.id, remove=True) == b"hello\n"
with tarfile.open(fileobj=io.BytesIO(b"".join(c.export()))) as archive:
    assert archive.extractfile("test").read() == b"hello\n"
client.images.remove(image.id, force=True)
c.remove()
"#,
    );
}

#[test]
fn archives_of_images() {
    let host = TestHost::start();
    python(
        &host,
        r#"
image = client.images.get("busybox")
image.tag("alias", "1"); image.reload()
whole = b"".join(image.save())
loaded = client.images.load(whole)
assert [i.id for i in loaded] == [image.id], loaded
named = io.BytesIO(b"".join(image.save(named="alias:1")))
client.images.remove("alias:1")
loaded = client.images.load(named)
assert len(loaded) == 1 and loaded[0].id == image.id and "alias:1" in loaded[0].tags, loaded
try:
    image.save(named="nosuch")
    assert False
except docker.errors.InvalidArgument:
    pass
try:
    client.images.load(b"abc")
    assert False
except docker.errors.ImageLoadError as e:
    assert "not a tar archive" in str(e), e
assert b"".join(client.api.get_image("alias:1"))
"#,
    );
}

#[test]
fn attaches_over_a_websocket() {
    let host = TestHost::start();
    python(
        &host,
        r#"
import os, socket, websocket
def attach(name, query, version="1.56"):
    s = socket.socket(socket.AF_UNIX)
    s.connect(os.environ["DOCKER_HOST"].removeprefix("unix://"))
    s.settimeout(60)
    ws = websocket.WebSocket()
    ws.connect(f"ws://d/v{version}/containers/{name}/attach/ws?{query}", socket=s)
    return ws
def everything(ws):
    got = []
    while True:
        opcode, data = ws.recv_data()
        if opcode == websocket.ABNF.OPCODE_CLOSE:
            return b"".join(got)
        got.append(data)

# Both ways, and of both outputs, without frames: to the end of the process.
c = client.containers.create("busybox", "sh -c 'read a; echo out $a; read b; echo err $b >&2'", stdin_open=True, name="both")
ws = attach("both", "stdin=1&stdout=1&stderr=1&stream=1")
c.start()
ws.send("one\n")
assert ws.recv_data() == (websocket.ABNF.OPCODE_BINARY, b"out one\n")
ws.ping()
ws.send_binary(b"two\n")
assert everything(ws) == b"err two\n"
assert c.wait()["StatusCode"] == 0
# What there was, of a container that has ended.
assert everything(attach("both", "logs=1&stdout=1")) == b"out one\n"
# Old versions attach everything, and are sent text.
c = client.containers.create("busybox", "sh -c 'read a; echo $a; sleep 1000'", stdin_open=True, name="old")
ws = attach("old", "stream=1", "1.27")
c.start()
ws.send("again\n")
assert ws.recv_data() == (websocket.ABNF.OPCODE_TEXT, b"again\n")
# A client that goes away is not the end of what it was attached to.
ws.close()
c.reload()
assert c.status == "running"
# A terminal's bytes, and the keys that detach.
c = client.containers.create("busybox", "cat", stdin_open=True, tty=True, name="tty")
ws = attach("tty", "stdin=1&stdout=1&stream=1&detachKeys=ctrl-x")
c.start()
ws.send("x\n")
assert ws.recv_data()[1].startswith(b"x")
ws.send("\x18")
everything(ws)
c.reload()
assert c.status == "running"
# No container.
try:
    attach("nosuch", "stream=1")
    assert False
except websocket.WebSocketBadStatusException as e:
    assert e.status_code == 404, e
for c in client.containers.list():
    c.remove(force=True)
"#,
    );
    let refused = host.api("GET", "/v1.56/containers/both/attach/ws?stream=1", None);
    assert_eq!(refused.status, 400, "{refused:?}");
}
